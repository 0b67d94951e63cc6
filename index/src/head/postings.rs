//! The postings of a head: one set of series for each label pair, and one of all series.

use parking_lot::RwLock;

use super::STRIPES;
use super::dictionary::PairId;
use super::tight;
use crate::SeriesRef;
use crate::postings::Postings;

/// Postings by the number of the label pair, under striped locks.
#[derive(Debug)]
pub(super) struct PairPostings {
    stripes: Box<[RwLock<Vec<Postings>>]>,
    all: RwLock<Postings>,
}

impl PairPostings {
    pub(super) fn new() -> Self {
        let stripes = (0..STRIPES).map(|_| RwLock::default()).collect();
        Self { stripes, all: RwLock::default() }
    }

    /// Adds a series to the postings of its pairs and to all series.
    pub(super) fn insert(&self, pairs: &[PairId], series: SeriesRef) {
        for &pair in pairs {
            self.write(pair, |postings| postings.insert(series));
        }
        self.all.write().insert(series);
    }

    /// Adds `n` series from `first` on to the postings of a pair.
    pub(super) fn insert_range(&self, pair: PairId, first: SeriesRef, n: u64) {
        self.write(pair, |postings| postings.insert_range(first.0..first.0 + n));
    }

    /// Adds series to all series.
    pub(super) fn insert_into_all(&self, series: &Postings) {
        self.all.write().unite(series);
    }

    /// Removes series from the postings of a pair; tells whether none is left.
    pub(super) fn subtract(&self, pair: PairId, gone: &Postings) -> bool {
        self.write(pair, |postings| {
            postings.subtract(gone);
            postings.shrink();
            postings.is_empty()
        })
    }

    /// Removes series from the set of all.
    pub(super) fn subtract_from_all(&self, gone: &Postings) {
        self.all.write().subtract(gone);
    }

    /// Calls `read` with the postings of a pair.
    pub(super) fn read<R>(&self, pair: PairId, read: impl FnOnce(&Postings) -> R) -> R {
        let (stripe, at) = place(pair);
        match self.stripes[stripe].read().get(at) {
            Some(postings) => read(postings),
            // The pair was numbered a moment ago and has no series yet.
            None => read(&Postings::new()),
        }
    }

    /// All series.
    pub(super) fn all(&self) -> Postings {
        self.all.read().clone()
    }

    /// Number of all series.
    pub(super) fn len(&self) -> u64 {
        self.all.read().len()
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> u64 {
        let of_stripes = self.stripes.iter().map(|stripe| {
            let stripe = stripe.read();
            tight::bytes(&stripe) as u64 + stripe.iter().map(Postings::heap_bytes).sum::<u64>()
        });
        self.all.read().heap_bytes() + of_stripes.sum::<u64>()
    }

    fn write<R>(&self, pair: PairId, write: impl FnOnce(&mut Postings) -> R) -> R {
        let (stripe, at) = place(pair);
        let mut stripe = self.stripes[stripe].write();
        if at >= stripe.len() {
            let missing = at + 1 - stripe.len();
            tight::reserve(&mut stripe, missing);
            stripe.resize(at + 1, Postings::new());
        }
        write(&mut stripe[at])
    }
}

fn place(pair: PairId) -> (usize, usize) {
    let id = pair.0 as usize;
    (id % STRIPES, id / STRIPES)
}
