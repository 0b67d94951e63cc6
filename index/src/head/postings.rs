//! The postings of a head: one set of series for each label pair, and one of all series.

use parking_lot::RwLock;

use super::STRIPES;
use super::dictionary::PairId;
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
            let (stripe, at) = place(pair);
            let mut stripe = self.stripes[stripe].write();
            if at >= stripe.len() {
                stripe.resize(at + 1, Postings::new());
            }
            stripe[at].insert(series);
        }
        self.all.write().insert(series);
    }

    /// Removes series from the postings of a pair; tells whether none is left.
    pub(super) fn subtract(&self, pair: PairId, gone: &Postings) -> bool {
        let (stripe, at) = place(pair);
        let mut stripe = self.stripes[stripe].write();
        let postings = &mut stripe[at];
        postings.subtract(gone);
        postings.shrink();
        postings.is_empty()
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
}

fn place(pair: PairId) -> (usize, usize) {
    let id = pair.0 as usize;
    (id % STRIPES, id / STRIPES)
}
