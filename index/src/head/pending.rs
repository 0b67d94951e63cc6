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
    /// What is being made, by whom.
    making: Vec<(Making, Postings)>,
    next_making: Making,
}

/// Stands for what one thread is making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Making(u64);

/// The series that were not complete at one moment.
pub(super) struct Incomplete {
    next: SeriesRef,
    making: Vec<(Making, Postings)>,
}

impl Pending {
    pub(super) fn new() -> Self {
        let state = State { next: SeriesRef(1), making: Vec::new(), next_making: Making(0) };
        Self { state: Mutex::new(state) }
    }

    /// Begins a series with the next ref.
    pub(super) fn begin(&self) -> (SeriesRef, Making) {
        let mut state = self.state.lock();
        let series = state.next;
        state.next.0 += 1;
        let making = state.begin([series].into_iter().collect());
        (series, making)
    }

    /// Begins series with given refs; later ones get larger refs.
    pub(super) fn begin_at(&self, series: Postings) -> Making {
        let mut state = self.state.lock();
        let last = series.last().unwrap_or_default();
        state.next.0 = state.next.0.max(last.0.saturating_add(1));
        state.begin(series)
    }

    /// Ends what was begun.
    pub(super) fn end(&self, making: Making) {
        let mut state = self.state.lock();
        if let Some(at) = state.making.iter().position(|(other, _)| *other == making) {
            state.making.swap_remove(at);
        }
    }

    /// Notes which series are not complete now.
    pub(super) fn incomplete(&self) -> Incomplete {
        let state = self.state.lock();
        Incomplete { next: state.next, making: state.making.clone() }
    }
}

impl State {
    fn begin(&mut self, series: Postings) -> Making {
        let making = self.next_making;
        self.next_making.0 += 1;
        self.making.push((making, series));
        making
    }
}

impl Incomplete {
    /// Removes the series that were not complete.
    pub(super) fn drop_from(&self, selected: &mut Postings) {
        selected.remove_from(self.next);
        for (_, series) in &self.making {
            selected.subtract(series);
        }
    }
}
