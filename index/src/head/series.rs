//! The label pairs of each series, by ref.

use std::iter;

use hashbrown::HashTable;
use parking_lot::RwLock;

use super::STRIPES;
use super::dictionary::PairId;
use super::page::{PAGE_SERIES, Page, Pairs};
use super::tight;
use crate::{Error, SeriesRef};

/// The label pairs of each series, in pages under striped locks.
#[derive(Debug)]
pub(super) struct SeriesTable {
    stripes: Box<[RwLock<Stripe>]>,
}

#[derive(Debug, Default)]
struct Stripe {
    pages: Vec<Page>,
    /// Pages by their number. Those without series are not there.
    by_number: HashTable<u32>,
    free: Vec<u32>,
}

/// Where a series is: the page in its stripe, the stripe, and the slot in the page, in 32 bits. It
/// stays as long as the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeriesPlace(pub(super) u32);

/// Stripes and slots take so many bits of a place.
const STRIPE_BITS: u32 = STRIPES.trailing_zeros();
const SLOT_BITS: u32 = PAGE_SERIES.trailing_zeros();

/// Pages of a stripe that a place can tell apart, less one, so that no place is `u32::MAX`.
const MAX_PAGES: u32 = (1 << (32 - STRIPE_BITS - SLOT_BITS)) - 1;

impl SeriesPlace {
    fn new(page: u32, at: At) -> Self {
        let narrow = |n| u32::try_from(n).expect("stripes and slots are few");
        Self(page << (STRIPE_BITS + SLOT_BITS) | narrow(at.stripe) << SLOT_BITS | narrow(at.slot))
    }

    fn page(self) -> usize {
        (self.0 >> (STRIPE_BITS + SLOT_BITS)) as usize
    }

    fn stripe(self) -> usize {
        (self.0 >> SLOT_BITS) as usize % STRIPES
    }

    fn slot(self) -> usize {
        self.0 as usize % PAGE_SERIES
    }
}

/// A ref, taken apart.
#[derive(Clone, Copy, Debug)]
struct At {
    page: u64,
    stripe: usize,
    slot: usize,
}

impl At {
    fn of(SeriesRef(series): SeriesRef) -> Self {
        // Remainders by numbers that fit every integer.
        let below = |n: u64| usize::try_from(n).expect("below a small number");
        let page = series / PAGE_SERIES as u64;
        let slot = below(series % PAGE_SERIES as u64);
        Self { page, stripe: below(page % STRIPES as u64), slot }
    }
}

impl Stripe {
    fn find(&self, number: u64) -> Option<u32> {
        let is_it = |&at: &u32| self.pages[at as usize].number() == number;
        self.by_number.find(hash(number), is_it).copied()
    }

    /// The page with a number that has this slot in use.
    fn find_used(&self, at: At) -> Option<&Page> {
        let page = &self.pages[self.find(at.page)? as usize];
        page.has(at.slot).then_some(page)
    }

    fn add_page(&mut self, number: u64) -> Result<u32, Error> {
        let at = match self.free.pop() {
            Some(at) => {
                self.pages[at as usize] = Page::new(number);
                at
            }
            None => {
                let at = u32::try_from(self.pages.len()).ok().filter(|at| *at < MAX_PAGES);
                let at = at.ok_or(Error::TooManySeries { limit_pages: MAX_PAGES })?;
                tight::push(&mut self.pages, Page::new(number));
                at
            }
        };
        let Self { pages, by_number, .. } = self;
        by_number.insert_unique(hash(number), at, |&at| hash(pages[at as usize].number()));
        Ok(at)
    }

    fn remove_page(&mut self, at: u32) {
        let number = self.pages[at as usize].number();
        if let Ok(entry) = self.by_number.find_entry(hash(number), |&other| other == at) {
            entry.remove();
        }
        self.pages[at as usize] = Page::new(number);
        self.free.push(at);
    }
}

impl SeriesTable {
    pub(super) fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| RwLock::default()).collect() }
    }

    /// Adds a series; `None` if the ref is taken.
    ///
    /// # Errors
    /// [`Error::TooManySeries`] if there is no place left.
    pub(super) fn insert(
        &self,
        series: SeriesRef,
        pairs: &[PairId],
    ) -> Result<Option<SeriesPlace>, Error> {
        let at = At::of(series);
        let mut stripe = self.stripes[at.stripe].write();
        let page = match stripe.find(at.page) {
            Some(page) => page,
            None => stripe.add_page(at.page)?,
        };
        let place = SeriesPlace::new(page, at);
        let page = &mut stripe.pages[place.page()];
        if page.has(at.slot) {
            return Ok(None);
        }
        page.insert(at.slot, pairs);
        Ok(Some(place))
    }

    /// Removes a series; `pairs` is filled with what it had. Tells where it was. What it took is
    /// given back by [`SeriesTable::tidy`].
    pub(super) fn remove(&self, series: SeriesRef, pairs: &mut Vec<PairId>) -> Option<SeriesPlace> {
        let at = At::of(series);
        let mut stripe = self.stripes[at.stripe].write();
        let place = SeriesPlace::new(stripe.find(at.page)?, at);
        let page = &mut stripe.pages[place.page()];
        if !page.has(at.slot) {
            return None;
        }
        pairs.clear();
        pairs.extend(page.pairs(at.slot));
        page.remove(at.slot);
        Some(place)
    }

    /// Gives back what was taken by series removed near `series`.
    pub(super) fn tidy(&self, series: SeriesRef) {
        let at = At::of(series);
        let mut stripe = self.stripes[at.stripe].write();
        let Some(found) = stripe.find(at.page) else { return };
        let page = &mut stripe.pages[found as usize];
        if page.is_empty() {
            stripe.remove_page(found);
        } else {
            page.tidy();
        }
    }

    /// Tells whether two series are in the same page, so that one [`SeriesTable::tidy`] is enough.
    pub(super) fn are_near(a: SeriesRef, b: SeriesRef) -> bool {
        At::of(a).page == At::of(b).page
    }

    /// Tells whether there is a series.
    pub(super) fn contains(&self, series: SeriesRef) -> bool {
        self.read(series, |_| ()).is_some()
    }

    /// Calls `read` with the label pairs of a series.
    pub(super) fn read<R>(
        &self,
        series: SeriesRef,
        read: impl FnOnce(Pairs<'_>) -> R,
    ) -> Option<R> {
        let at = At::of(series);
        let stripe = self.stripes[at.stripe].read();
        Some(read(stripe.find_used(at)?.pairs(at.slot)))
    }

    /// Calls `read` with each of `series` and its label pairs, in order; those that are gone are left
    /// out. The lock of a page is held for its series.
    pub(super) fn read_each(
        &self,
        series: impl Iterator<Item = SeriesRef>,
        mut read: impl FnMut(SeriesRef, Pairs<'_>),
    ) {
        let mut series = series.peekable();
        while let Some(first) = series.next() {
            let at = At::of(first);
            let stripe = self.stripes[at.stripe].read();
            let page = stripe.find(at.page).map(|page| &stripe.pages[page as usize]);
            let rest = iter::from_fn(|| series.next_if(|next| Self::are_near(first, *next)));
            for series in iter::once(first).chain(rest) {
                let slot = At::of(series).slot;
                if let Some(page) = page.filter(|page| page.has(slot)) {
                    read(series, page.pairs(slot));
                }
            }
        }
    }

    /// Calls `read` with the series at a place, which must be there, and its label pairs.
    pub(super) fn read_at<R>(
        &self,
        place: SeriesPlace,
        read: impl FnOnce(SeriesRef, Pairs<'_>) -> R,
    ) -> R {
        let stripe = self.stripes[place.stripe()].read();
        let page = &stripe.pages[place.page()];
        let series = SeriesRef(page.number() * PAGE_SERIES as u64 + place.slot() as u64);
        read(series, page.pairs(place.slot()))
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let of_stripes = self.stripes.iter().map(|stripe| {
            let stripe = stripe.read();
            tight::bytes(&stripe.pages)
                + tight::bytes(&stripe.free)
                + stripe.by_number.capacity() * 8 / 7 * 5
                + stripe.pages.iter().map(Page::heap_bytes).sum::<usize>()
        });
        size_of_val(&*self.stripes) + of_stripes.sum::<usize>()
    }
}

/// Pages count up: one multiplication spreads them over the table.
fn hash(page: u64) -> u64 {
    page.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
