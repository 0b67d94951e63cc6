//! The series of a head: label pairs by ref, and refs by the hash of the labels.

use hashbrown::HashTable;
use parking_lot::{RwLock, RwLockWriteGuard};

use super::STRIPES;
use super::dictionary::PairId;
use crate::SeriesRef;

/// The label pairs of each series, under striped locks.
#[derive(Debug)]
pub(super) struct SeriesTable {
    stripes: Box<[RwLock<HashTable<Entry>>]>,
}

#[derive(Debug)]
struct Entry {
    series: SeriesRef,
    /// In the order of the label names.
    pairs: Box<[PairId]>,
}

impl SeriesTable {
    pub(super) fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| RwLock::default()).collect() }
    }

    /// Adds a series. Returns whether it was added: false if the ref is taken.
    pub(super) fn insert(&self, series: SeriesRef, pairs: Box<[PairId]>) -> bool {
        let mut table = self.stripe(series).write();
        if table.find(hash(series), |entry| entry.series == series).is_some() {
            return false;
        }
        table.insert_unique(hash(series), Entry { series, pairs }, |entry| hash(entry.series));
        true
    }

    /// Removes a series.
    pub(super) fn remove(&self, series: SeriesRef) -> Option<Box<[PairId]>> {
        let mut table = self.stripe(series).write();
        let entry = table.find_entry(hash(series), |entry| entry.series == series).ok()?;
        let (entry, _) = entry.remove();
        Some(entry.pairs)
    }

    /// Calls `read` with the label pairs of a series.
    pub(super) fn read<R>(
        &self,
        series: SeriesRef,
        read: impl FnOnce(&[PairId]) -> R,
    ) -> Option<R> {
        let table = self.stripe(series).read();
        let entry = table.find(hash(series), |entry| entry.series == series)?;
        Some(read(&entry.pairs))
    }

    fn stripe(&self, series: SeriesRef) -> &RwLock<HashTable<Entry>> {
        &self.stripes[low(series.0)]
    }
}

/// Refs by the hash of their labels. Whoever creates a series holds its stripe for writing, so
/// that no two threads create the same one.
#[derive(Debug)]
pub(super) struct HashIndex {
    stripes: Box<[RwLock<HashTable<Key>>]>,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    hash: u64,
    series: SeriesRef,
}

/// A stripe that is held for writing.
pub(super) struct HeldStripe<'a>(RwLockWriteGuard<'a, HashTable<Key>>);

impl HashIndex {
    pub(super) fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| RwLock::default()).collect() }
    }

    /// Finds the series with this hash that `is_it` accepts.
    pub(super) fn find(
        &self,
        hash: u64,
        is_it: impl FnMut(SeriesRef) -> bool,
    ) -> Option<SeriesRef> {
        find(&self.stripes[low(hash)].read(), hash, is_it)
    }

    /// Keeps others from changing the stripe of this hash.
    pub(super) fn hold(&self, hash: u64) -> HeldStripe<'_> {
        HeldStripe(self.stripes[low(hash)].write())
    }
}

impl HeldStripe<'_> {
    /// Finds the series with this hash that `is_it` accepts.
    pub(super) fn find(
        &self,
        hash: u64,
        is_it: impl FnMut(SeriesRef) -> bool,
    ) -> Option<SeriesRef> {
        find(&self.0, hash, is_it)
    }

    /// Adds a series.
    pub(super) fn insert(&mut self, hash: u64, series: SeriesRef) {
        self.0.insert_unique(hash, Key { hash, series }, |key| key.hash);
    }

    /// Removes a series.
    pub(super) fn remove(&mut self, hash: u64, series: SeriesRef) {
        if let Ok(entry) = self.0.find_entry(hash, |key| key.series == series) {
            entry.remove();
        }
    }
}

fn find(
    table: &HashTable<Key>,
    hash: u64,
    mut is_it: impl FnMut(SeriesRef) -> bool,
) -> Option<SeriesRef> {
    table.find(hash, |key| key.hash == hash && is_it(key.series)).map(|key| key.series)
}

/// Refs count up: one multiplication spreads them over the table.
fn hash(series: SeriesRef) -> u64 {
    series.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The stripe for a number.
fn low(number: u64) -> usize {
    usize::from(number.to_le_bytes()[0]) % STRIPES
}
