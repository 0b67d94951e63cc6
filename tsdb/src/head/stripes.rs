//! The series of the head by ref, in stripes with a lock each, so that appenders rarely meet.
//!
//! Refs are numbered in sequence, and batches mostly go through them in that order. So series lie
//! in pages of consecutive refs: neighbours are found in the same lines of memory, and the map
//! from refs to pages is small enough to stay near. A page goes when its last series does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use ferula_index::SeriesRef;
use parking_lot::RwLock;

use super::series::Series;

/// Number of stripes; a power of two.
const N_STRIPES: usize = 256;

/// Consecutive refs that share a page, and with it a stripe; a power of two. A page with only one
/// series left takes 8 bytes for each.
const PAGE_REFS: usize = 32;

type Pages = HashMap<u64, Page, BuildHasherDefault<RefHasher>>;

/// The series of the head by ref.
#[derive(Debug)]
pub(crate) struct Stripes {
    stripes: Box<[RwLock<Stripe>]>,
}

#[derive(Debug, Default)]
struct Stripe {
    /// By what all refs of a page have in common. None is empty.
    pages: Pages,
    len: usize,
}

#[derive(Debug, Default)]
struct Page {
    slots: Box<[Option<Arc<Series>>; PAGE_REFS]>,
}

/// Where a series belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    stripe: usize,
    page: u64,
    slot: usize,
}

impl Place {
    fn of(SeriesRef(series): SeriesRef) -> Self {
        let page = series / PAGE_REFS as u64;
        // Remainders by numbers that fit every integer.
        let below = |n: u64| usize::try_from(n).expect("below a small number");
        Self {
            stripe: below(page % N_STRIPES as u64),
            page,
            slot: below(series % PAGE_REFS as u64),
        }
    }
}

impl Stripes {
    /// Makes an empty map.
    pub(crate) fn new() -> Self {
        Self { stripes: (0..N_STRIPES).map(|_| RwLock::default()).collect() }
    }

    /// The series with this ref.
    pub(crate) fn get(&self, series: SeriesRef) -> Option<Arc<Series>> {
        let at = Place::of(series);
        self.stripes[at.stripe].read().pages.get(&at.page)?.slots[at.slot].clone()
    }

    /// Adds a series.
    pub(crate) fn insert(&self, series: Arc<Series>) {
        let at = Place::of(series.series_ref());
        let mut stripe = self.stripes[at.stripe].write();
        let before = stripe.pages.entry(at.page).or_default().slots[at.slot].replace(series);
        stripe.len += usize::from(before.is_none());
    }

    /// Removes the series if nobody else holds it and `is_due` says so. Whoever holds it may be
    /// about to append to it.
    pub(crate) fn remove_if(
        &self,
        series: SeriesRef,
        is_due: impl FnOnce(&Series) -> bool,
    ) -> bool {
        let at = Place::of(series);
        let mut stripe = self.stripes[at.stripe].write();
        let Entry::Occupied(mut page) = stripe.pages.entry(at.page) else { return false };
        let slot = &mut page.get_mut().slots[at.slot];
        let is_removed =
            slot.take_if(|found| Arc::strong_count(found) == 1 && is_due(found)).is_some();
        if is_removed {
            if page.get().slots.iter().all(Option::is_none) {
                page.remove();
            }
            stripe.len -= 1;
            if stripe.pages.len() < stripe.pages.capacity() / 4 {
                stripe.pages.shrink_to_fit();
            }
        }
        is_removed
    }

    /// Calls `visit` with every series, in no order. No lock of a stripe is held meanwhile.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Arc<Series>)) {
        let mut all: Vec<Arc<Series>> = Vec::new();
        for stripe in &self.stripes {
            all.extend(
                stripe.read().pages.values().flat_map(|page| &*page.slots).flatten().cloned(),
            );
            for series in all.drain(..) {
                visit(&series);
            }
        }
    }

    /// Number of series.
    pub(crate) fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.read().len).sum()
    }
}

/// Pages are numbered in sequence, which spreads well once the low bits reach the high ones.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_come_and_go_wherever_their_refs_lie() {
        let stripes = Stripes::new();
        let far = [u64::MAX, u64::MAX - 1, 1 << 40, 1 << 63];
        let refs: Vec<u64> = (0..20_000).chain(far).collect();
        for &series in &refs {
            stripes.insert(Arc::new(Series::new(SeriesRef(series))));
        }
        assert_eq!(stripes.len(), refs.len());
        for &series in &refs {
            let found = stripes.get(SeriesRef(series)).map(|found| found.series_ref());
            assert_eq!(found, Some(SeriesRef(series)));
        }
        assert!(stripes.get(SeriesRef(20_000)).is_none());

        let held = stripes.get(SeriesRef(7));
        assert!(!stripes.remove_if(SeriesRef(7), |_| true), "somebody holds it");
        drop(held);
        assert!(!stripes.remove_if(SeriesRef(8), |_| false), "it is not due");
        let is_kept = |series: &u64| matches!(series, 7 | 8 | 0x8000_0000_0000_0000);
        for &series in refs.iter().filter(|series| !is_kept(series)) {
            assert!(stripes.remove_if(SeriesRef(series), |_| true), "{series}");
            assert!(!stripes.remove_if(SeriesRef(series), |_| true), "{series} is gone");
        }
        let mut left = Vec::new();
        stripes.for_each(|series| left.push(series.series_ref().0));
        left.sort_unstable();
        assert_eq!(left, [7, 8, 1 << 63]);
        assert_eq!(stripes.len(), 3);
        let n_pages: usize = stripes.stripes.iter().map(|stripe| stripe.read().pages.len()).sum();
        assert_eq!(n_pages, 2, "empty pages are given back");
    }
}
