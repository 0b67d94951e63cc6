//! Answers to parts of range queries, kept in memory.
//!
//! A range query is cut into parts of so many steps each, at places that depend on the step alone, so that
//! later queries meet the same parts. A part is kept only if it lies wholly before the time from
//! which on the storage may still take samples in order, and is used only as long as nothing else has
//! happened to what is older: no block came or went, no sample came out of order, nothing was deleted.
//! So an answer is the same with and without the cache.

mod split;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ferula_promql::MatrixSeries;
use ferula_tsdb::Stats;
use parking_lot::Mutex;

pub(super) use split::{Assembled, RangeQuery, evaluate};

/// Bytes that an entry takes beside its series.
const ENTRY_BYTES: usize = 256;

/// What is known of the samples that do not change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Time in milliseconds before which samples neither come in order nor are in the head.
    pub before: i64,
    /// Another number whenever samples before that time may have changed.
    pub version: u64,
}

impl Settled {
    /// What the numbers of a database tell.
    pub fn of(stats: &Stats) -> Self {
        let mut hasher = DefaultHasher::new();
        for block in &stats.blocks {
            (block.ulid, block.stats.num_tombstones).hash(&mut hasher);
        }
        let logs = (stats.wbl_bytes, stats.out_of_order);
        (stats.quarantined.len(), stats.head_from, logs).hash(&mut hasher);
        Self { before: stats.head_from, version: hasher.finish() }
    }
}

/// Tells what of a storage is settled.
pub(super) type SettledSource = Box<dyn Fn() -> Settled + Send + Sync>;

/// What is kept of range queries.
pub(super) struct QueryCache {
    max_bytes: usize,
    settled: SettledSource,
    /// Counts deletions.
    epoch: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    /// Which was used when.
    order: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

/// Which part of which query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    text: Arc<str>,
    step_ms: i64,
    /// Time of a step, less whole steps.
    phase_ms: i64,
    lookback_ms: i64,
    part: i64,
}

/// The answer to a part, and under which version of the storage it is right.
#[derive(Clone)]
struct Entry {
    version: (u64, u64),
    part: Arc<PartAnswer>,
    used: u64,
}

/// The answer to a part of a query.
struct PartAnswer {
    series: Vec<MatrixSeries>,
    warnings: Vec<String>,
    infos: Vec<String>,
}

impl PartAnswer {
    fn n_points(&self) -> usize {
        self.series.iter().map(|series| series.samples.len()).sum()
    }

    fn size_bytes(&self) -> usize {
        let of_series = |series: &MatrixSeries| {
            let samples = &series.samples;
            let histograms = (0..samples.len()).filter_map(|index| samples.histogram(index));
            let histograms: usize = histograms.map(|histogram| histogram.size_bytes()).sum();
            size_of::<MatrixSeries>() + series.labels.size_bytes() + samples.len() * 16 + histograms
        };
        let texts = self.warnings.iter().chain(&self.infos).map(String::len).sum::<usize>();
        ENTRY_BYTES + texts + self.series.iter().map(of_series).sum::<usize>()
    }
}

impl QueryCache {
    pub(super) fn new(max_bytes: usize, settled: SettledSource) -> Self {
        Self { max_bytes, settled, epoch: AtomicU64::new(0), kept: Mutex::default() }
    }

    /// Forgets everything, also what is being computed: samples are about to be deleted, or were.
    pub(super) fn clear(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        *self.kept.lock() = Kept::default();
    }

    /// What is settled now, and the version under which answers are kept.
    fn version(&self) -> (i64, (u64, u64)) {
        let epoch = self.epoch.load(Ordering::Acquire);
        let Settled { before, version } = (self.settled)();
        (before, (epoch, version))
    }

    fn get(&self, key: &Key, version: (u64, u64)) -> Option<Arc<PartAnswer>> {
        let mut kept = self.kept.lock();
        let kept = &mut *kept;
        let entry = kept.entries.get_mut(key).filter(|entry| entry.version == version)?;
        kept.uses += 1;
        kept.order.remove(&entry.used);
        entry.used = kept.uses;
        kept.order.insert(entry.used, key.clone());
        Some(entry.part.clone())
    }

    fn put(&self, key: Key, version: (u64, u64), part: Arc<PartAnswer>) {
        let bytes = key.text.len() + part.size_bytes();
        // A single answer must not displace all others.
        if bytes > self.max_bytes / 4 {
            return;
        }
        let mut kept = self.kept.lock();
        kept.remove(&key);
        kept.uses += 1;
        let used = kept.uses;
        kept.bytes += bytes;
        kept.order.insert(used, key.clone());
        kept.entries.insert(key, Entry { version, part, used });
        while kept.bytes > self.max_bytes {
            let Some((_, oldest)) = kept.order.first_key_value() else { break };
            let oldest = oldest.clone();
            kept.remove(&oldest);
        }
    }

    #[cfg(test)]
    fn len_and_bytes(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.entries.len(), kept.bytes)
    }
}

impl Kept {
    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= key.text.len() + entry.part.size_bytes();
        }
    }
}

#[cfg(test)]
mod tests;
