//! What metrics say of themselves, each text held once and numbered, as long as some series says it.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::metadata::{Metadata, MetricType};

/// Bytes of an entry beside the table and its texts: counts of the shared allocation, a list of
/// entries with the same hash, and what the allocator adds.
const ENTRY_BYTES: usize = 64;

/// Metadata and the metric that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) metric: String,
    pub(crate) metadata: Metadata,
}

impl Described {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.metric.len() + self.metadata.size_bytes() + ENTRY_BYTES
    }
}

/// The parts of [`Described`], borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Description<'a> {
    pub(crate) metric: &'a str,
    pub(crate) metric_type: MetricType,
    pub(crate) unit: &'a str,
    pub(crate) help: &'a str,
}

impl<'a> Description<'a> {
    /// What the metric `metric` says.
    pub(crate) fn new(metric: &'a str, metadata: &'a Metadata) -> Self {
        let Metadata { metric_type, unit, help } = metadata;
        Self { metric, metric_type: *metric_type, unit, help }
    }

    /// The same, owned.
    pub(crate) fn to_described(self) -> Described {
        let Self { metric, metric_type, unit, help } = self;
        Described { metric: metric.to_owned(), metadata: Metadata::new(metric_type, unit, help) }
    }
}

#[derive(Debug)]
struct Entry {
    described: Arc<Described>,
    /// Series that say it, and those that said it before a batch that is not visible yet.
    n_held: u64,
}

/// Descriptions by number.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_hash: HashMap<u64, Vec<u32>>,
    state: RandomState,
    described_bytes: usize,
}

impl Table {
    /// The number of a description.
    pub(super) fn find(&self, description: Description<'_>) -> Option<u32> {
        let numbers = self.by_hash.get(&self.state.hash_one(description))?;
        numbers.iter().copied().find(|number| {
            let Described { metric, metadata } = &**self.get(*number);
            Description::new(metric, metadata) == description
        })
    }

    /// The description with this number.
    pub(super) fn get(&self, number: u32) -> &Arc<Described> {
        &self.entry(number).described
    }

    fn entry(&self, number: u32) -> &Entry {
        self.entries[number as usize].as_ref().expect("held as long as its number is known")
    }

    fn entry_mut(&mut self, number: u32) -> &mut Entry {
        self.entries[number as usize].as_mut().expect("held as long as its number is known")
    }

    /// Holds a description once more, which is made if it is new. Returns its number.
    pub(super) fn hold(
        &mut self,
        description: Description<'_>,
        make: impl FnOnce() -> Arc<Described>,
    ) -> u32 {
        if let Some(number) = self.find(description) {
            self.entry_mut(number).n_held += 1;
            return number;
        }
        let described = make();
        self.described_bytes += described.size_bytes();
        let entry = Some(Entry { described, n_held: 1 });
        let number = match self.free.pop() {
            Some(number) => {
                self.entries[number as usize] = entry;
                number
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("no more than series")
            }
        };
        self.by_hash.entry(self.state.hash_one(description)).or_default().push(number);
        number
    }

    /// Gives up one hold of a description.
    pub(super) fn release(&mut self, number: u32) {
        let entry = self.entry_mut(number);
        entry.n_held -= 1;
        if entry.n_held > 0 {
            return;
        }
        let gone = self.entries[number as usize].take().expect("it was just there").described;
        self.described_bytes -= gone.size_bytes();
        let hash = self.state.hash_one(Description::new(&gone.metric, &gone.metadata));
        if let Some(numbers) = self.by_hash.get_mut(&hash) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_hash.remove(&hash);
            }
        }
        self.free.push(number);
    }

    /// All descriptions with their numbers and how often they are held, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Described>, u64)> {
        let entries = (0..).zip(&self.entries);
        entries.filter_map(|(number, entry)| {
            let Entry { described, n_held } = entry.as_ref()?;
            Some((number, described, *n_held))
        })
    }

    /// Bytes of memory.
    pub(super) fn size_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Option<Entry>>()
            + self.free.capacity() * size_of::<u32>()
            + self.by_hash.capacity() * (size_of::<(u64, Vec<u32>)>() + 1)
            + self.described_bytes
    }
}
