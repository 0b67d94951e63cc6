//! The series of the head by ref: pages, in stripes with a lock each, so that appenders rarely
//! meet.
//!
//! A page goes when its last series does, and nothing is added to it after that: whoever found it
//! before and looks for a series that was added since looks again. Lock order: a stripe, a page.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use ferula_index::SeriesRef;
use parking_lot::RwLock;

use super::memory::Counters;
use super::series::{Page, SeriesView, page_number};

/// Number of stripes; a power of two.
const N_STRIPES: usize = 256;

type Pages = HashMap<u64, Arc<Page>, BuildHasherDefault<NumberHasher>>;

/// The series of the head by ref.
#[derive(Debug)]
pub(crate) struct Stripes {
    stripes: Box<[RwLock<Pages>]>,
    counters: Arc<Counters>,
}

impl Stripes {
    /// Makes an empty map.
    pub(crate) fn new() -> Self {
        let stripes = (0..N_STRIPES).map(|_| RwLock::default()).collect();
        Self { stripes, counters: Arc::default() }
    }

    /// What the pages take.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    fn stripe(&self, page: u64) -> &RwLock<Pages> {
        let stripe = usize::try_from(page % N_STRIPES as u64).expect("below a small number");
        &self.stripes[stripe]
    }

    /// The page with this number.
    pub(crate) fn page(&self, number: u64) -> Option<Arc<Page>> {
        self.stripe(number).read().get(&number).cloned()
    }

    /// Tells whether there is a series with this ref.
    pub(crate) fn has(&self, series: SeriesRef) -> bool {
        let page = self.page(page_number(series));
        page.is_some_and(|page| page.lock().view(series).is_some())
    }

    /// Adds a series without samples. Does nothing if there is one.
    pub(crate) fn insert(&self, series: SeriesRef) {
        let number = page_number(series);
        let mut stripe = self.stripe(number).write();
        let page = stripe.entry(number);
        let page = page.or_insert_with(|| Arc::new(Page::new(number, Arc::clone(&self.counters))));
        page.change(|page| page.insert(series));
    }

    /// Removes those of `series` of which `is_due` says so, and returns them. All are of the page
    /// with this number.
    pub(crate) fn remove_of_page(
        &self,
        number: u64,
        series: impl IntoIterator<Item = SeriesRef>,
        is_due: impl Fn(SeriesView<'_>) -> bool,
    ) -> Vec<SeriesRef> {
        let mut stripe = self.stripe(number).write();
        let Entry::Occupied(page) = stripe.entry(number) else { return Vec::new() };
        let (gone, is_empty) = page.get().change(|page| {
            let mut gone = Vec::new();
            for series in series {
                if page.view(series).is_some_and(&is_due) && page.remove(series) {
                    gone.push(series);
                }
            }
            if !gone.is_empty() {
                page.shrink();
            }
            (gone, page.is_empty())
        });
        if is_empty {
            page.remove();
            if stripe.len() < stripe.capacity() / 4 {
                stripe.shrink_to_fit();
            }
        }
        gone
    }

    /// Calls `visit` with every page, in no order. No lock is held meanwhile.
    pub(crate) fn for_each_page(&self, mut visit: impl FnMut(&Arc<Page>)) {
        let mut pages: Vec<Arc<Page>> = Vec::new();
        for stripe in &self.stripes {
            pages.extend(stripe.read().values().cloned());
            for page in pages.drain(..) {
                visit(&page);
            }
        }
    }

    /// Bytes of the map itself.
    pub(crate) fn size_bytes(&self) -> u64 {
        let entry = size_of::<(u64, Arc<Page>)>() + 1;
        let capacity: usize = self.stripes.iter().map(|stripe| stripe.read().capacity()).sum();
        (capacity * entry + size_of_val(&*self.stripes)) as u64
    }
}

/// The page that was looked at last, so that neighbours are found without the map.
#[derive(Debug, Default)]
pub(crate) struct PageCursor {
    page: Option<Arc<Page>>,
}

impl PageCursor {
    /// The page of a series.
    #[inline]
    pub(crate) fn page_of(&mut self, stripes: &Stripes, series: SeriesRef) -> Option<&Arc<Page>> {
        let number = page_number(series);
        if self.page.as_ref().is_none_or(|page| page.number() != number) {
            self.page = stripes.page(number);
        }
        self.page.as_ref()
    }

    /// The same, looked up again: the page may have gone and come anew.
    #[cold]
    pub(crate) fn page_anew(&mut self, stripes: &Stripes, series: SeriesRef) -> Option<&Arc<Page>> {
        self.page = stripes.page(page_number(series));
        self.page.as_ref()
    }
}

/// Pages are numbered in sequence, which spreads well once the low bits reach the high ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
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

    fn remove(stripes: &Stripes, series: u64, is_due: bool) -> bool {
        let series = SeriesRef(series);
        let is_due = |view: SeriesView<'_>| is_due && !view.is_pinned();
        !stripes.remove_of_page(page_number(series), [series], is_due).is_empty()
    }

    #[test]
    fn series_come_and_go_wherever_their_refs_lie() {
        let stripes = Stripes::new();
        let far = [u64::MAX, u64::MAX - 1, 1 << 40, 1 << 63];
        let refs: Vec<u64> = (0..20_000).chain(far).collect();
        for &series in &refs {
            stripes.insert(SeriesRef(series));
            stripes.insert(SeriesRef(series));
        }
        assert_eq!(stripes.counters().n_series(), refs.len() as u64);
        for &series in &refs {
            assert!(stripes.has(SeriesRef(series)));
        }
        assert!(!stripes.has(SeriesRef(20_000)));

        let page = stripes.page(0).unwrap();
        page.lock().series_mut(SeriesRef(7)).unwrap().pin(0);
        assert!(!remove(&stripes, 7, true), "a batch needs it");
        page.lock().series_mut(SeriesRef(7)).unwrap().unpin();
        assert!(!remove(&stripes, 8, false), "it is not due");
        let is_kept = |series: &u64| matches!(series, 7 | 8 | 0x8000_0000_0000_0000);
        for &series in refs.iter().filter(|series| !is_kept(series)) {
            assert!(remove(&stripes, series, true), "{series}");
            assert!(!remove(&stripes, series, true), "{series} is gone");
        }
        let mut left = Vec::new();
        stripes.for_each_page(|page| {
            left.extend(page.lock().views().map(|series| series.series_ref().0));
        });
        left.sort_unstable();
        assert_eq!(left, [7, 8, 1 << 63]);
        assert_eq!(stripes.counters().n_series(), 3);
        let n_pages: usize = stripes.stripes.iter().map(|stripe| stripe.read().len()).sum();
        assert_eq!(n_pages, 2, "empty pages are given back");
    }

    #[test]
    fn a_page_that_came_anew_is_found() {
        let stripes = Stripes::new();
        stripes.insert(SeriesRef(1));
        let mut cursor = PageCursor::default();
        assert!(cursor.page_of(&stripes, SeriesRef(1)).is_some());
        assert!(remove(&stripes, 1, true));
        stripes.insert(SeriesRef(2));
        let old = cursor.page_of(&stripes, SeriesRef(2)).unwrap();
        assert!(old.lock().view(SeriesRef(2)).is_none());
        let new = cursor.page_anew(&stripes, SeriesRef(2)).unwrap();
        assert!(new.lock().view(SeriesRef(2)).is_some());
    }
}
