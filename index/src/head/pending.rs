//! Which series are being created right now.
//!
//! A series enters the postings of its pairs one after the other. A selection that runs meanwhile
//! may find it under one pair and miss it under another that would have excluded it. So a
//! selection notes beforehand which series are not complete yet, and drops them from its result.

use parking_lot::Mutex;

use crate::SeriesRef;
use crate::postings::Postings;

/// Hands out refs and knows which of them are in the making.
#[derive(Debug)]
pub(super) struct Pending {
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
struct State {
    next: SeriesRef,
    making: Vec<SeriesRef>,
}

/// The series that were not complete at one moment.
pub(super) struct Incomplete(State);

impl Pending {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { next: SeriesRef(1), making: Vec::new() }) }
    }

    /// Begins a series with the next ref.
    pub(super) fn begin(&self) -> SeriesRef {
        let mut state = self.state.lock();
        let series = state.next;
        state.next.0 += 1;
        state.making.push(series);
        series
    }

    /// Begins a series with a given ref; later ones get larger refs.
    pub(super) fn begin_at(&self, series: SeriesRef) {
        let mut state = self.state.lock();
        state.next.0 = state.next.0.max(series.0.saturating_add(1));
        state.making.push(series);
    }

    /// Ends what was begun.
    pub(super) fn end(&self, series: SeriesRef) {
        let mut state = self.state.lock();
        if let Some(at) = state.making.iter().position(|&s| s == series) {
            state.making.swap_remove(at);
        }
    }

    /// Notes which series are not complete now.
    pub(super) fn incomplete(&self) -> Incomplete {
        Incomplete(self.state.lock().clone())
    }
}

impl Incomplete {
    /// Removes the series that were not complete.
    pub(super) fn drop_from(&self, selected: &mut Postings) {
        selected.remove_from(self.0.next);
        for &series in &self.0.making {
            selected.remove(series);
        }
    }
}
