//! The series of several storages, in the order of labels.

use std::ops::Range;

use ferula_chunkenc::SampleBatch;
use ferula_index::Labels;
use ferula_promql::storage::{Budget, Drawn, Room, SelectHints, SeriesSet, StorageError};

use super::Merge;
use super::penalty::{self, with_hint};

/// Functions that read counters as such. `resets` is none of them: adding resets back would leave it
/// nothing to count.
const COUNTER_FUNCTIONS: [&str; 3] = ["rate", "increase", "irate"];

/// Bytes that a sample takes while its series is merged.
const SAMPLE_BYTES: usize = 16;

/// A series of one storage.
pub(super) struct Member {
    /// Labels of the series that it is a part of.
    pub(super) labels: Labels,
    /// Place of its storage.
    pub(super) set: usize,
    /// Place among the series of its storage.
    pub(super) index: usize,
}

/// The series that several storages have.
pub(super) struct UnionSet {
    sets: Vec<Box<dyn SeriesSet>>,
    /// Sorted by labels, so that the members of a series stand together.
    members: Vec<Member>,
    /// Where each series begins among the members, and the end.
    starts: Vec<usize>,
    merge: Merge,
    are_counters: bool,
    budget: Budget,
    _drawn: Drawn,
}

impl UnionSet {
    pub(super) fn new(
        sets: Vec<Box<dyn SeriesSet>>,
        members: Vec<Member>,
        hints: &SelectHints,
        merge: Merge,
        drawn: Drawn,
    ) -> Self {
        let is_first = |at: &usize| *at == 0 || members[*at - 1].labels != members[*at].labels;
        let starts = (0..members.len()).filter(is_first).chain([members.len()]).collect();
        let are_counters = COUNTER_FUNCTIONS.contains(&hints.function.as_str());
        let budget = hints.budget.clone();
        Self { sets, members, starts, merge, are_counters, budget, _drawn: drawn }
    }

    fn members(&self, index: usize) -> &[Member] {
        &self.members[self.starts[index]..self.starts[index + 1]]
    }
}

/// Takes room for the samples of a member from the budget.
struct Scratch(Drawn);

impl Room for Scratch {
    fn make(&mut self, _: &SampleBatch, n_samples: usize) -> Result<(), StorageError> {
        self.0.add(n_samples.saturating_mul(SAMPLE_BYTES))
    }
}

/// Room that is there.
struct Unbounded;

impl Room for Unbounded {
    fn make(&mut self, _: &SampleBatch, _: usize) -> Result<(), StorageError> {
        Ok(())
    }
}

impl SeriesSet for UnionSet {
    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn labels(&self, index: usize) -> Labels {
        self.members[self.starts[index]].labels.clone()
    }

    fn labels_in(&self, range: Range<usize>, _: Option<&[&str]>) -> Vec<Labels> {
        range.map(|index| self.labels(index)).collect()
    }

    fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError> {
        self.read_within(index, batch, &mut Unbounded)
    }

    fn read_within(
        &self,
        index: usize,
        batch: &mut SampleBatch,
        room: &mut dyn Room,
    ) -> Result<(), StorageError> {
        if let [only] = self.members(index) {
            return self.sets[only.set].read_within(only.index, batch, room);
        }
        let mut scratch = Scratch(self.budget.draw(0)?);
        let mut parts = Vec::new();
        for member in self.members(index) {
            let mut part = SampleBatch::new();
            self.sets[member.set].read_within(member.index, &mut part, &mut scratch)?;
            parts.push(part);
        }
        let n_samples = parts.iter().map(SampleBatch::len).sum::<usize>();
        scratch.make(batch, n_samples)?;
        let merged = match self.merge {
            Merge::Penalty => penalty::merge(&parts, self.are_counters),
            Merge::Chain => chain(&parts),
        };
        room.make(batch, merged.len())?;
        batch.extend_from_batch(&merged, 0..merged.len());
        Ok(())
    }
}

/// All samples of the parts in order; of those at one time that of the first part.
fn chain(parts: &[SampleBatch]) -> SampleBatch {
    let mut places: Vec<(i64, usize, usize)> = Vec::new();
    for (part, batch) in parts.iter().enumerate() {
        let samples = batch.timestamps().iter().enumerate();
        places.extend(samples.map(|(index, time)| (*time, part, index)));
    }
    places.sort_unstable();
    places.dedup_by_key(|place| place.0);
    let mut out = SampleBatch::new();
    let mut last = None;
    for (time, part, index) in places {
        match parts[part].histogram(index) {
            Some(histogram) => {
                let is_next =
                    index.checked_sub(1).is_some_and(|before| last == Some((part, before)));
                out.push_histogram(time, with_hint(histogram, is_next));
            }
            None => out.push(time, parts[part].values()[index]),
        }
        let start = parts[part].start_timestamp(index);
        if start != 0 {
            out.set_last_start_timestamp(start);
        }
        last = Some((part, index));
    }
    out
}
