//! From the bytes of a label set, as they stand in a request, to the ref of its series.
//!
//! A sender encodes the label set of a series the same way every time. So a hash of those bytes
//! tells the series without its labels being decoded, sorted or looked up. Only hashes are kept:
//! 128 bits with a seed of this process, of which two among ten million label sets agree with a
//! probability below 10⁻²⁴. The labels themselves would take ten times the memory.
//!
//! An entry that went unused for a whole generation is dropped. A generation ends when the table
//! has grown to twice what survived the last one, so what sweeping costs is spread over the
//! insertions; but it lasts long enough for a sender to come round to each of its series, however
//! many there are. So a table holds at most about twice the series of that time.

use std::array;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferula_index::SeriesRef;
use parking_lot::{RwLock, RwLockReadGuard};
use xxhash_rust::xxh3::xxh3_128_with_seed;

const N_SHARDS: usize = 16;

/// How long a generation lasts at least: twice the longest interval at which senders usually scrape.
pub(super) const MIN_GENERATION: Duration = Duration::from_mins(10);

/// A shard smaller than this is not swept.
const MIN_SWEEP_COUNT: usize = 4096;

/// Hash of the bytes of a label set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LabelsKey([u64; 2]);

impl LabelsKey {
    fn shard(self) -> usize {
        usize::try_from(self.0[1] % N_SHARDS as u64).expect("below the shard count")
    }
}

impl std::hash::Hash for LabelsKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// Refs of the series that were written to of late.
#[derive(Debug)]
pub(super) struct RefCache {
    seed: u64,
    min_generation: Duration,
    shards: [RwLock<Shard>; N_SHARDS],
}

#[derive(Debug)]
struct Shard {
    entries: HashMap<LabelsKey, Entry, BuildHasherDefault<AsIs>>,
    sweep_count: usize,
    /// When the generation began.
    begun: Instant,
}

#[derive(Debug)]
struct Entry {
    /// The ref, doubled; the lowest bit tells whether it was used in this generation.
    bits: AtomicU64,
}

impl RefCache {
    /// Makes an empty table whose generations last `min_generation` at least.
    pub(super) fn new(min_generation: Duration) -> Self {
        let begun = Instant::now();
        let shard = || {
            let entries = HashMap::default();
            RwLock::new(Shard { entries, sweep_count: MIN_SWEEP_COUNT, begun })
        };
        let seed = RandomState::new().hash_one(0_u64);
        Self { seed, min_generation, shards: array::from_fn(|_| shard()) }
    }

    pub(super) fn key(&self, labels: &[u8]) -> LabelsKey {
        let hash = xxh3_128_with_seed(labels, self.seed);
        let low = hash & u128::from(u64::MAX);
        let half = |bits: u128| u64::try_from(bits).expect("half of the bits");
        LabelsKey([half(low), half(hash >> 64)])
    }

    /// Opens the table for many look-ups. Nothing can be inserted while it is open.
    pub(super) fn open(&self) -> OpenCache<'_> {
        OpenCache { shards: array::from_fn(|index| self.shards[index].read()) }
    }

    pub(super) fn insert(&self, key: LabelsKey, series: SeriesRef) {
        let mut shard = self.shards[key.shard()].write();
        if shard.entries.len() >= shard.sweep_count && shard.begun.elapsed() >= self.min_generation
        {
            shard.entries.retain(|_, entry| {
                let bits = entry.bits.get_mut();
                let was_used = *bits & 1 == 1;
                *bits &= !1;
                was_used
            });
            shard.sweep_count = (shard.entries.len() * 2).max(MIN_SWEEP_COUNT);
            shard.begun = Instant::now();
        }
        shard.entries.insert(key, Entry { bits: AtomicU64::new(series.0 << 1 | 1) });
    }

    /// Number of series known.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().entries.len()).sum()
    }
}

/// The table while it is read. Look-ups take no lock, so that the processor can have several of
/// their cache misses under way at a time.
pub(super) struct OpenCache<'a> {
    shards: [RwLockReadGuard<'a, Shard>; N_SHARDS],
}

impl OpenCache<'_> {
    #[inline]
    pub(super) fn get(&self, key: LabelsKey) -> Option<SeriesRef> {
        let entry = self.shards[key.shard()].entries.get(&key)?;
        let bits = entry.bits.load(Ordering::Relaxed);
        if bits & 1 == 0 {
            entry.bits.fetch_or(1, Ordering::Relaxed);
        }
        Some(SeriesRef(bits >> 1))
    }
}

/// Hands on the one word that it is given, which is a hash already.
#[derive(Default)]
struct AsIs {
    hash: u64,
}

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("label keys hash as one word");
    }

    fn write_u64(&mut self, hash: u64) {
        self.hash = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_series_are_forgotten_and_used_ones_are_not() {
        let cache = RefCache::new(Duration::ZERO);
        let key = |n: u64| cache.key(&n.to_le_bytes());
        let kept: Vec<u64> = (0..1000).collect();
        for &n in &kept {
            cache.insert(key(n), SeriesRef(n + 1));
        }
        for n in 1000..1_000_000 {
            cache.insert(key(n), SeriesRef(n + 1));
            if n % 1000 == 0 {
                let open = cache.open();
                assert!(kept.iter().all(|&k| open.get(key(k)) == Some(SeriesRef(k + 1))));
            }
        }
        assert!(cache.len() < 4 * N_SHARDS * MIN_SWEEP_COUNT, "{} left", cache.len());
    }

    /// As a sender does that comes round to its series again and again: were entries dropped by their
    /// number alone, each would be gone when its turn comes.
    #[test]
    fn all_series_of_one_generation_are_known() {
        let cache = RefCache::new(MIN_GENERATION);
        let key = |n: u64| cache.key(&n.to_le_bytes());
        for n in 0..200_000 {
            cache.insert(key(n), SeriesRef(n + 1));
        }
        let open = cache.open();
        assert!((0..200_000).all(|n| open.get(key(n)) == Some(SeriesRef(n + 1))));
    }
}
