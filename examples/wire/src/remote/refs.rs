//! From the bytes of a label set, as they stand in a request, to the ref of its series.
//!
//! A sender encodes the label set of a series the same way every time. So a hash of those bytes
//! tells the series without its labels being decoded, sorted or looked up. Only hashes are kept:
//! 128 bits with a seed of this process, of which two among ten million label sets agree with a
//! probability below 10⁻²⁴. The labels themselves would take ten times the memory.
//!
//! An entry that went unused for a whole generation is dropped. A generation ends when the table
//! has grown to twice what survived the last one, so a table holds at most about twice the series
//! in use, and what sweeping costs is spread over the insertions.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use ferula_index::SeriesRef;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_128_with_seed;

const N_SHARDS: usize = 64;

/// A shard smaller than this is not swept.
const MIN_SWEEP_COUNT: usize = 1024;

/// Hash of the bytes of a label set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LabelsKey([u64; 2]);

impl std::hash::Hash for LabelsKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// Refs of the series that were written to of late.
#[derive(Debug)]
pub(super) struct RefCache {
    seed: u64,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug)]
struct Shard {
    entries: HashMap<LabelsKey, Entry, BuildHasherDefault<AsIs>>,
    sweep_count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The ref, doubled; the lowest bit tells whether it was used in this generation.
    bits: u64,
}

impl RefCache {
    pub(super) fn new() -> Self {
        let shard =
            || Mutex::new(Shard { entries: HashMap::default(), sweep_count: MIN_SWEEP_COUNT });
        Self {
            seed: RandomState::new().hash_one(0_u64),
            shards: (0..N_SHARDS).map(|_| shard()).collect(),
        }
    }

    pub(super) fn key(&self, labels: &[u8]) -> LabelsKey {
        let hash = xxh3_128_with_seed(labels, self.seed);
        let low = hash & u128::from(u64::MAX);
        let half = |bits: u128| u64::try_from(bits).expect("half of the bits");
        LabelsKey([half(low), half(hash >> 64)])
    }

    pub(super) fn get(&self, key: LabelsKey) -> Option<SeriesRef> {
        let mut shard = self.shard(key).lock();
        let entry = shard.entries.get_mut(&key)?;
        entry.bits |= 1;
        Some(SeriesRef(entry.bits >> 1))
    }

    pub(super) fn insert(&self, key: LabelsKey, series: SeriesRef) {
        let mut shard = self.shard(key).lock();
        if shard.entries.len() >= shard.sweep_count {
            shard.entries.retain(|_, entry| {
                let was_used = entry.bits & 1 == 1;
                entry.bits &= !1;
                was_used
            });
            shard.sweep_count = (shard.entries.len() * 2).max(MIN_SWEEP_COUNT);
        }
        shard.entries.insert(key, Entry { bits: series.0 << 1 | 1 });
    }

    /// Number of series known.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }

    fn shard(&self, key: LabelsKey) -> &Mutex<Shard> {
        let index = usize::try_from(key.0[1] % N_SHARDS as u64).expect("below the shard count");
        &self.shards[index]
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
        let cache = RefCache::new();
        let key = |n: u64| cache.key(&n.to_le_bytes());
        let kept: Vec<u64> = (0..1000).collect();
        for &n in &kept {
            cache.insert(key(n), SeriesRef(n + 1));
        }
        for n in 1000..1_000_000 {
            cache.insert(key(n), SeriesRef(n + 1));
            if n % 1000 == 0 {
                assert!(kept.iter().all(|&k| cache.get(key(k)) == Some(SeriesRef(k + 1))));
            }
        }
        assert!(cache.len() < 4 * N_SHARDS * MIN_SWEEP_COUNT, "{} left", cache.len());
    }
}
