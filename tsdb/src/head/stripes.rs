//! The series of the head by ref, in stripes with a lock each, so that appenders rarely meet.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use ferula_index::SeriesRef;
use parking_lot::RwLock;

use super::series::Series;

/// Number of stripes; a power of two.
const N_STRIPES: usize = 256;

type SeriesMap = HashMap<u64, Arc<Series>, BuildHasherDefault<RefHasher>>;

/// The series of the head by ref.
#[derive(Debug)]
pub(crate) struct Stripes {
    stripes: Box<[RwLock<SeriesMap>]>,
}

impl Stripes {
    /// Makes an empty map.
    pub(crate) fn new() -> Self {
        Self { stripes: (0..N_STRIPES).map(|_| RwLock::default()).collect() }
    }

    /// The series with this ref.
    pub(crate) fn get(&self, series: SeriesRef) -> Option<Arc<Series>> {
        self.stripe(series).read().get(&series.0).cloned()
    }

    /// Adds a series.
    pub(crate) fn insert(&self, series: Arc<Series>) {
        self.stripe(series.series_ref()).write().insert(series.series_ref().0, series);
    }

    /// Removes the series if nobody else holds it and `is_due` says so. Whoever holds it may be
    /// about to append to it.
    pub(crate) fn remove_if(
        &self,
        series: SeriesRef,
        is_due: impl FnOnce(&Series) -> bool,
    ) -> bool {
        let mut stripe = self.stripe(series).write();
        let is_removed = stripe
            .get(&series.0)
            .is_some_and(|found| Arc::strong_count(found) == 1 && is_due(found));
        if is_removed {
            stripe.remove(&series.0);
        }
        is_removed
    }

    /// Calls `visit` with every series, in no order. No lock of a stripe is held meanwhile.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Arc<Series>)) {
        let mut all: Vec<Arc<Series>> = Vec::new();
        for stripe in &self.stripes {
            all.extend(stripe.read().values().cloned());
            for series in all.drain(..) {
                visit(&series);
            }
        }
    }

    /// Number of series.
    pub(crate) fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.read().len()).sum()
    }

    fn stripe(&self, series: SeriesRef) -> &RwLock<SeriesMap> {
        // The remainder by the number of stripes, which fits every integer.
        let at = usize::try_from(series.0 % N_STRIPES as u64).expect("below the number of stripes");
        &self.stripes[at]
    }
}

/// Refs are numbered in sequence, which spreads well once the stripe's share is taken off and the
/// low bits reach the high ones.
#[derive(Clone, Copy, Debug, Default)]
struct RefHasher(u64);

impl Hasher for RefHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0 ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        // Fibonacci hashing, Knuth, The Art of Computer Programming 3, section 6.4.
        let product = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
