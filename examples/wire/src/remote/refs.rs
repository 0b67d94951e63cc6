//! From the bytes of a label set, as they stand in a request, to the ref of its series.
//!
//! A sender encodes the label set of a series the same way every time. So a hash of those bytes
//! tells the series without its labels being decoded, sorted or looked up. Only hashes are kept:
//! 128 bits with a secret of this process, of which two among ten million label sets agree with a
//! probability below 10⁻²⁴. The labels themselves would take ten times the memory.
//!
//! A request of 2.0 numbers its texts anew each time; there the bytes are the keys of these.
//!
//! A sender also comes round to its series in the same order every time. Entries are kept in the
//! order in which they came, with the length of their bytes, and the entry behind the one that was
//! found last is tried first: it is near in memory, and the labels of the next series need not be
//! walked through to know where they end.
//!
//! An entry that went unused for a whole generation is dropped. A generation ends when the table
//! has grown to twice what survived the last one, so what sweeping costs is spread over the
//! insertions; but it lasts long enough for a sender to come round to each of its series, however
//! many there are. So a table holds at most about twice the series of that time.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferula_index::SeriesRef;
use parking_lot::{RwLock, RwLockReadGuard};
use xxhash_rust::xxh3::xxh3_128_with_secret;

/// How long a generation lasts at least: twice the longest interval at which senders usually scrape.
pub(super) const MIN_GENERATION: Duration = Duration::from_mins(10);

/// A table smaller than this is not swept.
const MIN_SWEEP_COUNT: usize = 65_536;

/// Bytes of the secret that the hash is keyed with; as many as it takes.
const SECRET_BYTES: usize = 192;

/// Entries found elsewhere than expected before those left are looked up together, so that the
/// processor can have several of their cache misses under way at a time.
const MAX_SURPRISES: usize = 8;

/// Hash of the bytes of a label set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LabelsKey([u64; 2]);

impl LabelsKey {
    pub(super) fn to_bytes(self) -> [u8; 16] {
        let [low, high] = self.0.map(u64::to_le_bytes);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&low);
        bytes[8..].copy_from_slice(&high);
        bytes
    }
}

/// Refs of the series that were written to of late.
#[derive(Debug)]
pub(super) struct RefCache {
    secret: Box<[u8; SECRET_BYTES]>,
    min_generation: Duration,
    table: RwLock<Table>,
}

#[derive(Debug)]
struct Table {
    /// In the order in which they came.
    entries: Vec<Entry>,
    /// Open addressing with linear probing: numbers of entries, from 1 on, by the first word of the
    /// key; 0 where there is none. At most three quarters are taken.
    slots: Box<[u32]>,
    sweep_count: usize,
    /// When the generation began.
    begun: Instant,
}

#[derive(Debug)]
struct Entry {
    key: LabelsKey,
    state: AtomicU64,
}

/// What an entry knows, in one word: whether it was used in this generation in the lowest bit, how
/// many bytes the label set takes in the next 16, and the ref.
#[derive(Clone, Copy)]
struct State(u64);

impl State {
    const USED: u64 = 1;
    const LEN_BITS: u32 = 16;
    const REF_SHIFT: u32 = Self::LEN_BITS + 1;

    /// `None` for a ref or label bytes beyond what fits; their series are found by their labels.
    fn new(series: SeriesRef, n_bytes: usize) -> Option<Self> {
        let len = u64::from(u16::try_from(n_bytes).ok()?);
        let fits = series.0 < 1 << (u64::BITS - Self::REF_SHIFT);
        fits.then_some(Self(series.0 << Self::REF_SHIFT | len << 1 | Self::USED))
    }

    fn series(self) -> SeriesRef {
        SeriesRef(self.0 >> Self::REF_SHIFT)
    }

    fn n_bytes(self) -> usize {
        let len = self.0 >> 1 & ((1 << Self::LEN_BITS) - 1);
        usize::try_from(len).expect("16 bits")
    }
}

impl Entry {
    /// What it knows, and that it was used.
    #[inline]
    fn get(&self) -> State {
        let state = self.state.load(Ordering::Relaxed);
        if state & State::USED == 0 {
            self.state.fetch_or(State::USED, Ordering::Relaxed);
        }
        State(state)
    }
}

impl Table {
    fn new() -> Self {
        Self {
            entries: Vec::new(),
            slots: Box::default(),
            sweep_count: MIN_SWEEP_COUNT,
            begun: Instant::now(),
        }
    }

    /// The number of the entry with this key.
    #[inline]
    fn find(&self, key: LabelsKey) -> Option<usize> {
        let mut at = self.home(key)?;
        // A quarter of the slots is free, so this ends.
        while self.slots[at] != 0 {
            let number = self.slots[at] as usize - 1;
            if self.entries[number].key == key {
                return Some(number);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }

    /// The slot at which the search for a key begins; `None` without slots.
    #[inline]
    fn home(&self, key: LabelsKey) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let [low, ..] = key.0;
        Some(usize::try_from(low & mask as u64).expect("below the length"))
    }

    fn insert(&mut self, key: LabelsKey, state: State) {
        if let Some(known) = self.find(key) {
            *self.entries[known].state.get_mut() = state.0;
            return;
        }
        if u32::try_from(self.entries.len() + 1).is_err() {
            return;
        }
        if (self.entries.len() + 1) * 4 > self.slots.len() * 3 {
            self.make_slots();
        }
        if self.entries.len() == self.entries.capacity() {
            // A million entries take 24 MB, so this does not double.
            self.entries.reserve_exact(self.entries.len() / 4 + 1024);
        }
        self.entries.push(Entry { key, state: AtomicU64::new(state.0) });
        self.put(self.entries.len() - 1);
    }

    /// Makes as many slots as the entries need, and one more.
    fn make_slots(&mut self) {
        let n_slots = ((self.entries.len() + 1) * 4 / 3 + 1).next_power_of_two();
        self.slots = vec![0; n_slots].into();
        for number in 0..self.entries.len() {
            self.put(number);
        }
    }

    /// Has a slot lead to an entry.
    fn put(&mut self, number: usize) {
        let mut at = self.home(self.entries[number].key).expect("there are slots");
        while self.slots[at] != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = u32::try_from(number + 1).expect("no more entries are taken");
    }

    /// Drops what was not used in this generation, and begins another.
    fn sweep(&mut self) {
        self.entries.retain_mut(|entry| {
            let state = entry.state.get_mut();
            let was_used = *state & State::USED != 0;
            *state &= !State::USED;
            was_used
        });
        self.entries.shrink_to_fit();
        self.make_slots();
        self.sweep_count = (self.entries.len() * 2).max(MIN_SWEEP_COUNT);
        self.begun = Instant::now();
    }
}

impl RefCache {
    /// Makes an empty table whose generations last `min_generation` at least.
    pub(super) fn new(min_generation: Duration) -> Self {
        let random = RandomState::new();
        let mut secret = Box::new([0; SECRET_BYTES]);
        for (word, number) in secret.chunks_exact_mut(8).zip(0_u64..) {
            word.copy_from_slice(&random.hash_one(number).to_le_bytes());
        }
        Self { secret, min_generation, table: RwLock::new(Table::new()) }
    }

    /// The key of the bytes of a label set, or of a symbol.
    #[inline]
    pub(super) fn key(&self, labels: &[u8]) -> LabelsKey {
        let hash = xxh3_128_with_secret(labels, &*self.secret);
        let low = hash & u128::from(u64::MAX);
        let half = |bits: u128| u64::try_from(bits).expect("half of the bits");
        LabelsKey([half(low), half(hash >> 64)])
    }

    /// Opens the table for many look-ups, which go on behind `last`. Nothing can be inserted while it
    /// is open.
    pub(super) fn open(&self, last: Last) -> OpenCache<'_> {
        OpenCache { cache: self, table: self.table.read(), last, n_surprises: 0 }
    }

    /// Notes the ref of the series whose labels take `n_bytes` bytes.
    pub(super) fn insert(&self, key: LabelsKey, n_bytes: usize, series: SeriesRef) {
        let Some(state) = State::new(series, n_bytes) else { return };
        let mut table = self.table.write();
        if table.entries.len() >= table.sweep_count && table.begun.elapsed() >= self.min_generation
        {
            table.sweep();
        }
        table.insert(key, state);
    }

    /// Number of series known.
    pub(super) fn len(&self) -> usize {
        self.table.read().entries.len()
    }
}

/// The entry that was found last, so that the next one is expected behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Last {
    /// Number of the entry behind it.
    next: usize,
}

/// The table while it is read.
pub(super) struct OpenCache<'a> {
    cache: &'a RefCache,
    table: RwLockReadGuard<'a, Table>,
    last: Last,
    n_surprises: usize,
}

impl OpenCache<'_> {
    /// The series that is expected next, if `message` begins with its labels: its key, how many bytes
    /// they take, and its ref. Further labels may follow.
    #[inline]
    pub(super) fn expected(&self, message: &[u8]) -> Option<(LabelsKey, usize, SeriesRef)> {
        let entry = self.table.entries.get(self.last.next)?;
        let state = entry.get();
        let key = self.cache.key(message.get(..state.n_bytes())?);
        (entry.key == key).then_some((key, state.n_bytes(), state.series()))
    }

    /// Goes on behind the series that was expected.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.last.next += 1;
    }

    /// The key of a label set that was not expected, and its series, if it is known and it does not
    /// pay to look it up with others later.
    pub(super) fn surprise(&mut self, labels: &[u8]) -> (LabelsKey, Option<SeriesRef>) {
        let key = self.cache.key(labels);
        self.n_surprises += 1;
        let known = if self.n_surprises > MAX_SURPRISES { None } else { self.find(key) };
        (key, known)
    }

    /// Looks a series up, behind which the next one is expected.
    #[inline]
    pub(super) fn find(&mut self, key: LabelsKey) -> Option<SeriesRef> {
        let number = self.table.find(key)?;
        self.last.next = number + 1;
        Some(self.table.entries[number].get().series())
    }

    /// Tells which entry was found last.
    pub(super) fn last(&self) -> Last {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(cache: &RefCache, n: u64) {
        let labels = n.to_le_bytes();
        cache.insert(cache.key(&labels), labels.len(), SeriesRef(n + 1));
    }

    fn find(cache: &RefCache, n: u64) -> Option<SeriesRef> {
        cache.open(Last::default()).find(cache.key(&n.to_le_bytes()))
    }

    #[test]
    fn unused_series_are_forgotten_and_used_ones_are_not() {
        let cache = RefCache::new(Duration::ZERO);
        let kept: Vec<u64> = (0..1000).collect();
        for &n in &kept {
            insert(&cache, n);
        }
        for n in 1000..1_000_000 {
            insert(&cache, n);
            if n % 1000 == 0 {
                assert!(kept.iter().all(|&k| find(&cache, k) == Some(SeriesRef(k + 1))));
            }
        }
        assert!(cache.len() < 4 * MIN_SWEEP_COUNT, "{} left", cache.len());
    }

    /// As a sender does that comes round to its series again and again: were entries dropped by their
    /// number alone, each would be gone when its turn comes.
    #[test]
    fn all_series_of_one_generation_are_known() {
        let cache = RefCache::new(MIN_GENERATION);
        for n in 0..200_000 {
            insert(&cache, n);
        }
        assert!((0..200_000).all(|n| find(&cache, n) == Some(SeriesRef(n + 1))));
        assert_eq!(find(&cache, 200_000), None);
    }

    #[test]
    fn series_are_expected_in_the_order_in_which_they_came() {
        let cache = RefCache::new(MIN_GENERATION);
        for n in 0..100 {
            insert(&cache, n);
        }
        let mut open = cache.open(Last::default());
        let message = |n: u64| [&n.to_le_bytes()[..], b"and a sample"].concat();
        for n in 0..50 {
            let (key, len, series) = open.expected(&message(n)).expect("it is next");
            assert_eq!((len, series), (8, SeriesRef(n + 1)));
            assert_eq!(cache.key(&n.to_le_bytes()), key);
            open.advance();
        }
        assert!(open.expected(&message(70)).is_none());
        assert!(open.expected(&[50, 0]).is_none(), "shorter than what is expected");
        assert_eq!(open.surprise(&70_u64.to_le_bytes()).1, Some(SeriesRef(71)));
        assert!(open.expected(&message(71)).is_some());
        // Further surprises are left for later, and then found.
        let late = (0..20).map(|n: u64| open.surprise(&n.to_le_bytes()));
        let late: Vec<_> = late.collect();
        assert_eq!(late[19].1, None);
        assert_eq!(open.find(late[19].0), Some(SeriesRef(20)));
        let open = cache.open(open.last());
        assert!(open.expected(&message(20)).is_some());
    }

    #[test]
    fn a_series_that_was_made_anew_has_its_new_ref() {
        let cache = RefCache::new(MIN_GENERATION);
        insert(&cache, 1);
        let labels = 1_u64.to_le_bytes();
        cache.insert(cache.key(&labels), labels.len(), SeriesRef(500));
        assert_eq!((find(&cache, 1), cache.len()), (Some(SeriesRef(500)), 1));
        // What does not fit an entry is not kept.
        cache.insert(cache.key(b"a"), 1, SeriesRef(1 << 60));
        cache.insert(cache.key(b"b"), 1 << 16, SeriesRef(2));
        assert_eq!(cache.len(), 1);
    }
}
