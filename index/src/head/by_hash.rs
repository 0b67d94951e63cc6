//! Series by the hash of their labels.
//!
//! Open addressing with linear probing, six bytes a slot: where the series is, and 16 bits of its
//! hash. Slots are in the order of these bits, which makes the table grow without asking for the
//! hashes again, and by a quarter at a time.

use parking_lot::{RwLock, RwLockWriteGuard};

use super::series::SeriesPlace;

/// Number of tables, each under its lock; 10 bits of the hash choose one.
const TABLES: usize = 1024;

/// Refs by the hash of their labels. Whoever creates a series holds its table for writing, so that
/// no two threads create the same one.
#[derive(Debug)]
pub(super) struct HashIndex {
    tables: Box<[RwLock<Table>]>,
}

/// A table that is held for writing.
pub(super) struct HeldTable<'a>(RwLockWriteGuard<'a, Table>);

#[derive(Debug, Default)]
struct Table {
    /// Zero where there is no series.
    tags: Box<[u16]>,
    places: Box<[u32]>,
    len: usize,
}

impl HashIndex {
    pub(super) fn new() -> Self {
        Self { tables: (0..TABLES).map(|_| RwLock::default()).collect() }
    }

    /// Finds the series with this hash for which `is_it` returns something.
    pub(super) fn find<R>(
        &self,
        hash: u64,
        is_it: impl FnMut(SeriesPlace) -> Option<R>,
    ) -> Option<R> {
        self.tables[table(hash)].read().find(tag(hash), is_it)
    }

    /// Keeps others from changing the table of this hash.
    pub(super) fn hold(&self, hash: u64) -> HeldTable<'_> {
        HeldTable(self.tables[table(hash)].write())
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let of_tables = self.tables.iter().map(|table| {
            let table = table.read();
            size_of_val(&*table.tags) + size_of_val(&*table.places)
        });
        size_of_val(&*self.tables) + of_tables.sum::<usize>()
    }
}

impl HeldTable<'_> {
    /// Finds the series with this hash for which `is_it` returns something.
    pub(super) fn find<R>(
        &self,
        hash: u64,
        is_it: impl FnMut(SeriesPlace) -> Option<R>,
    ) -> Option<R> {
        self.0.find(tag(hash), is_it)
    }

    /// Adds a series.
    pub(super) fn insert(&mut self, hash: u64, series: SeriesPlace) {
        self.0.insert(tag(hash), series.0);
    }

    /// Removes a series.
    pub(super) fn remove(&mut self, hash: u64, series: SeriesPlace) {
        self.0.remove(tag(hash), series.0);
    }
}

impl Table {
    fn find<R>(&self, tag: u16, mut is_it: impl FnMut(SeriesPlace) -> Option<R>) -> Option<R> {
        let mut at = self.home(tag)?;
        // One slot is free at least, so this ends.
        while self.tags[at] != 0 {
            if self.tags[at] == tag
                && let Some(found) = is_it(SeriesPlace(self.places[at]))
            {
                return Some(found);
            }
            at = self.after(at);
        }
        None
    }

    fn insert(&mut self, tag: u16, place: u32) {
        // Beyond seven eighths the ways become long.
        if self.len + 1 > self.tags.len() / 8 * 7 {
            self.resize(self.len + self.len / 4);
        }
        let Some(mut at) = self.home(tag) else { return };
        while self.tags[at] != 0 {
            at = self.after(at);
        }
        (self.tags[at], self.places[at]) = (tag, place);
        self.len += 1;
    }

    fn remove(&mut self, tag: u16, place: u32) {
        let Some(mut at) = self.home(tag) else { return };
        while self.tags[at] != 0 && (self.tags[at], self.places[at]) != (tag, place) {
            at = self.after(at);
        }
        if self.tags[at] == 0 {
            return;
        }
        // Those behind it move up, as far as their home allows; Knuth, The Art of Computer
        // Programming 3, section 6.4, algorithm R.
        let mut next = self.after(at);
        while let Some(home) = self.home(self.tags[next]).filter(|_| self.tags[next] != 0) {
            let stays = if at <= next {
                (at + 1..=next).contains(&home)
            } else {
                home > at || home <= next
            };
            if !stays {
                (self.tags[at], self.places[at]) = (self.tags[next], self.places[next]);
                at = next;
            }
            next = self.after(next);
        }
        self.tags[at] = 0;
        self.len -= 1;
        if self.len < self.tags.len() / 2 {
            self.resize(self.len);
        }
    }

    /// Makes room for `len` series, and some more.
    fn resize(&mut self, len: usize) {
        // What is more than a fixed number of slots is a multiple of eight, for the check above.
        let capacity = (len * 8 / 7 + 8).next_multiple_of(8);
        let tags = std::mem::replace(&mut self.tags, vec![0; capacity].into());
        let places = std::mem::replace(&mut self.places, vec![0; capacity].into());
        self.len = 0;
        for (tag, place) in tags.iter().zip(&places).filter(|(tag, _)| **tag != 0) {
            self.insert(*tag, *place);
        }
    }

    /// The slot where the search for a tag begins; `None` in a table without slots.
    fn home(&self, tag: u16) -> Option<usize> {
        let home = (usize::from(tag) * self.tags.len()) >> 16;
        (home < self.tags.len()).then_some(home)
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.tags.len() { 0 } else { at + 1 }
    }
}

fn table(hash: u64) -> usize {
    let [low, high, ..] = hash.to_le_bytes();
    usize::from(u16::from_le_bytes([low, high])) % TABLES
}

fn tag(hash: u64) -> u16 {
    let [.., low, high] = hash.to_le_bytes();
    u16::from_le_bytes([low, high]).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_holds_what_was_put_in(
            steps in prop::collection::vec((0..4_u8, 0..600_u32, any::<bool>()), 0..800)
        ) {
            let mut table = Table::default();
            let mut model: BTreeSet<(u16, u32)> = BTreeSet::new();
            for (spread, place, is_removed) in steps {
                // Some tags are shared by many, some lie at the end, where the table wraps around.
                let tag = [1, 7, u16::MAX, u16::try_from(place * 101 % 65_000 + 1).unwrap()];
                let key = (tag[usize::from(spread)], place);
                if is_removed {
                    table.remove(key.0, key.1);
                    model.remove(&key);
                } else if model.insert(key) {
                    table.insert(key.0, key.1);
                }
                prop_assert_eq!(table.len, model.len());
            }
            prop_assert!(table.len < table.tags.len().max(1));
            for &(tag, place) in &model {
                let is_it = |found: SeriesPlace| (found.0 == place).then_some(());
                prop_assert!(table.find(tag, is_it).is_some());
            }
            let mut n_found = 0;
            for tag in model.iter().map(|key| key.0).collect::<BTreeSet<_>>() {
                table.find(tag, |_| { n_found += 1; None::<()> });
            }
            prop_assert_eq!(n_found, model.len());
        }
    }
}
