//! What the series of the head say of their metrics: a number for each series that says something,
//! and each text once.
//!
//! A series has the newest metadata that was committed for it, and loses it when it leaves the head.
//! What a batch changes is in place when the batch is logged; until it is visible, readers are shown
//! what was there before.

mod table;

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use ferula_index::SeriesRef;
use ferula_index::postings::Postings;
use parking_lot::RwLock;

use self::table::Table;
pub(crate) use self::table::{Described, Description};
use super::isolation::BatchId;
use super::series::{PAGE_LEN, page_number};
use super::stripes::NumberHasher;
use crate::metadata::{Metadata, MetricMetadata};

/// Stands for a series that says nothing.
const NONE: u32 = u32::MAX;

/// What the allocator adds to a page, and the map that leads to it beside key and value, about.
const PAGE_BYTES: usize = 24;

/// A part of what is said.
#[derive(Debug)]
pub(crate) enum Said<'a> {
    /// A description; they are numbered from zero as they come.
    Description(&'a Described),
    /// A series, and the number of what it says.
    By(SeriesRef, u32),
}

/// The numbers of the series with consecutive refs.
#[derive(Debug)]
struct Page {
    numbers: [u32; PAGE_LEN],
    n_set: usize,
}

/// What a series said before a batch that may not be visible yet.
#[derive(Clone, Copy, Debug)]
struct Unseen {
    batch: BatchId,
    series: SeriesRef,
    before: u32,
}

/// What the series of the head say of their metrics. Its lock is taken behind all others of the
/// head.
#[derive(Debug, Default)]
pub(crate) struct SeriesMetadata {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    table: Table,
    pages: HashMap<u64, Box<Page>, BuildHasherDefault<NumberHasher>>,
    /// In the order of batches.
    unseen: Vec<Unseen>,
}

impl SeriesMetadata {
    /// Tells whether the newest batch has a series say this already.
    pub(crate) fn is_current(&self, series: SeriesRef, metadata: &Metadata) -> bool {
        let state = self.state.read();
        let number = state.number(series);
        number != NONE && state.table.get(number).metadata == *metadata
    }

    /// The description, shared with series that say the same.
    pub(crate) fn share(&self, description: Description<'_>) -> Arc<Described> {
        let state = self.state.read();
        match state.table.find(description) {
            Some(number) => Arc::clone(state.table.get(number)),
            None => Arc::new(description.to_described()),
        }
    }

    /// Has a series say something from the batch `batch` on. Tells whether it said something else
    /// before. All batches up to `visible` are visible.
    pub(crate) fn update(
        &self,
        series: SeriesRef,
        described: &Arc<Described>,
        batch: BatchId,
        visible: BatchId,
    ) -> bool {
        let Described { metric, metadata } = &**described;
        let description = Description::new(metric, metadata);
        let mut state = self.state.write();
        let number = state.table.hold(description, || Arc::clone(described));
        let before = state.replace(series, number);
        if before == number {
            state.table.release(number);
            return false;
        }
        state.forget_seen(visible);
        state.unseen.push(Unseen { batch, series, before });
        true
    }

    /// Forgets what series said before batches that are visible: all up to `visible`.
    pub(crate) fn settle(&self, visible: BatchId) {
        self.state.write().forget_seen(visible);
    }

    /// Has a series say something, as the log tells it.
    pub(crate) fn restore(&self, series: SeriesRef, description: Description<'_>) {
        let mut state = self.state.write();
        let number = state.table.hold(description, || Arc::new(description.to_described()));
        let before = state.replace(series, number);
        if before != NONE {
            state.table.release(before);
        }
    }

    /// Forgets series that are removed.
    pub(crate) fn remove(&self, gone: &Postings) {
        let mut state = self.state.write();
        if state.pages.is_empty() && state.unseen.is_empty() {
            return;
        }
        state.forget_unseen(|unseen| gone.contains(unseen.series));
        for series in gone.iter() {
            let before = state.replace(series, NONE);
            if before != NONE {
                state.table.release(before);
            }
        }
        if state.pages.len() < state.pages.capacity() / 4 {
            state.pages.shrink_to_fit();
        }
    }

    /// What a series says to a reader of `seen`.
    pub(crate) fn of(&self, series: SeriesRef, seen: BatchId) -> Option<Metadata> {
        let state = self.state.read();
        let is_of_series = |unseen: &&Unseen| unseen.series == series && unseen.batch > seen;
        let before = state.unseen.iter().find(is_of_series).map(|unseen| unseen.before);
        let number = before.unwrap_or_else(|| state.number(series));
        (number != NONE).then(|| state.table.get(number).metadata.clone())
    }

    /// What metrics say to a reader of `seen`, in the order of their names: all of them, or the one
    /// that is named.
    pub(crate) fn of_metrics(&self, metric: Option<&str>, seen: BatchId) -> Vec<MetricMetadata> {
        let mut found: Vec<Arc<Described>> = {
            let state = self.state.read();
            let hidden = state.hidden(seen);
            let is_seen = |number: u32, n_held: u64| {
                hidden.get(&number).is_none_or(|n_hidden| *n_hidden < n_held)
            };
            let is_wanted =
                |described: &Described| metric.is_none_or(|metric| described.metric == metric);
            let descriptions = state.table.iter();
            let descriptions = descriptions.filter(|(_, described, _)| is_wanted(described));
            let seen = descriptions.filter(|(number, _, n_held)| is_seen(*number, *n_held));
            seen.map(|(_, described, _)| Arc::clone(described)).collect()
        };
        found.sort_unstable_by(|a, b| (&a.metric, &a.metadata).cmp(&(&b.metric, &b.metadata)));
        let of_metric = |of_metric: &[Arc<Described>]| MetricMetadata {
            metric: of_metric[0].metric.clone(),
            metadata: of_metric.iter().map(|described| described.metadata.clone()).collect(),
        };
        found.chunk_by(|a, b| a.metric == b.metric).map(of_metric).collect()
    }

    /// Shows each description, and then each series that says something, in the order of refs.
    /// Nothing changes meanwhile.
    pub(crate) fn for_each<E>(
        &self,
        mut visit: impl FnMut(Said<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let state = self.state.read();
        let mut places = HashMap::new();
        for (place, (number, described, _)) in (0..).zip(state.table.iter()) {
            places.insert(number, place);
            visit(Said::Description(described))?;
        }
        let mut numbers: Vec<u64> = state.pages.keys().copied().collect();
        numbers.sort_unstable();
        for page in numbers {
            let first = page * PAGE_LEN as u64;
            for (series, number) in (first..).zip(state.pages[&page].numbers) {
                if number != NONE {
                    visit(Said::By(SeriesRef(series), places[&number]))?;
                }
            }
        }
        Ok(())
    }

    /// Bytes of memory.
    pub(crate) fn size_bytes(&self) -> usize {
        let state = self.state.read();
        state.pages.len() * (size_of::<Page>() + PAGE_BYTES)
            + state.pages.capacity() * size_of::<(u64, Box<Page>)>()
            + state.unseen.capacity() * size_of::<Unseen>()
            + state.table.size_bytes()
    }
}

impl State {
    fn number(&self, series: SeriesRef) -> u32 {
        self.pages.get(&page_number(series)).map_or(NONE, |page| page.numbers[slot(series)])
    }

    /// Gives a series another number, and returns the one before.
    fn replace(&mut self, series: SeriesRef, number: u32) -> u32 {
        let at = page_number(series);
        if number == NONE {
            let Some(page) = self.pages.get_mut(&at) else { return NONE };
            let before = std::mem::replace(&mut page.numbers[slot(series)], NONE);
            page.n_set -= usize::from(before != NONE);
            if page.n_set == 0 {
                self.pages.remove(&at);
            }
            return before;
        }
        let empty = || Box::new(Page { numbers: [NONE; PAGE_LEN], n_set: 0 });
        let page = self.pages.entry(at).or_insert_with(empty);
        let before = std::mem::replace(&mut page.numbers[slot(series)], number);
        page.n_set += usize::from(before == NONE);
        before
    }

    /// Forgets what series said before batches that are visible.
    fn forget_seen(&mut self, visible: BatchId) {
        if self.unseen.first().is_some_and(|unseen| unseen.batch <= visible) {
            self.forget_unseen(|unseen| unseen.batch <= visible);
        }
    }

    fn forget_unseen(&mut self, is_gone: impl Fn(&Unseen) -> bool) {
        let Self { unseen, table, .. } = self;
        unseen.retain(|unseen| {
            let is_gone = is_gone(unseen);
            if is_gone && unseen.before != NONE {
                table.release(unseen.before);
            }
            !is_gone
        });
        if unseen.is_empty() {
            *unseen = Vec::new();
        }
    }

    /// How often each description is held without a reader of `seen` being shown it: by series that
    /// say it since a batch the reader does not see, and by what they said before but one of those.
    fn hidden(&self, seen: BatchId) -> HashMap<u32, u64> {
        let mut hidden = HashMap::new();
        let mut shown = HashSet::new();
        for unseen in &self.unseen {
            if unseen.batch > seen && shown.insert(unseen.series) {
                let now = self.number(unseen.series);
                if now != NONE {
                    *hidden.entry(now).or_default() += 1;
                }
            } else if unseen.before != NONE {
                *hidden.entry(unseen.before).or_default() += 1;
            }
        }
        hidden
    }
}

fn slot(series: SeriesRef) -> usize {
    usize::try_from(series.0 % PAGE_LEN as u64).expect("below the length of a page")
}

#[cfg(test)]
mod tests;
