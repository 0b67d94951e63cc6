//! Counter resets that samples tell of by their start timestamps.
//!
//! A start timestamp says since when a sample has been counting; zero is unknown. What follows from
//! those of two samples in a row is what Prometheus makes of them (`isStartTimestampReset`,
//! `checkStartTimeOverlap`).

use std::ops::Range;

use ferula_chunkenc::SampleBatch;

/// The times of a run of samples, and since when they had been counting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts<'a> {
    timestamps: &'a [i64],
    /// Those of the first samples; of all behind them they are unknown.
    starts: &'a [i64],
}

impl<'a> Starts<'a> {
    /// Of samples of which nobody asks.
    pub(crate) const NONE: Self = Self { timestamps: &[], starts: &[] };

    /// Of samples at `timestamps`, the first of which have these `starts`.
    pub(crate) fn new(timestamps: &'a [i64], starts: &'a [i64]) -> Self {
        Self { timestamps, starts }
    }

    /// Of all samples of a batch.
    pub(crate) fn of(batch: &'a SampleBatch) -> Self {
        Self::new(batch.timestamps(), batch.start_timestamps())
    }

    /// Tells whether all are unknown.
    pub(crate) fn is_empty(self) -> bool {
        self.starts.is_empty()
    }

    /// Those of some of the samples.
    pub(crate) fn slice(self, samples: Range<usize>) -> Self {
        if self.is_empty() {
            return Self::NONE;
        }
        let end = samples.end.min(self.starts.len());
        let starts = &self.starts[samples.start.min(end)..end];
        Self { timestamps: &self.timestamps[samples], starts }
    }

    /// Since when the sample at `index` had been counting.
    pub(crate) fn get(self, index: usize) -> i64 {
        self.starts.get(index).copied().unwrap_or_default()
    }

    /// Since when the first sample had been counting, if it began behind `start` and had counted
    /// for a while: then the counter was zero at that time.
    pub(crate) fn zero_within(self, start: i64) -> Option<i64> {
        let (since, first) = (self.get(0), *self.timestamps.first()?);
        (since != 0 && since > start && since < first).then_some(since)
    }

    /// Tells whether the counter was reset between the sample at `before` and the next one.
    pub(crate) fn is_reset(self, before: usize) -> bool {
        let since = self.get(before + 1);
        // What starts at its own time or later is unknown or wrong.
        if since == 0 || since >= self.timestamps[before + 1] {
            return false;
        }
        let (before_since, before_at) = (self.get(before), self.timestamps[before]);
        if since != before_at {
            return since > before_at;
        }
        // A sample that starts where the last one ended is a delta, or goes on with a counter of
        // unknown start: then the one before says no start either, or one that cannot be.
        before_since != 0 && before_since < before_at
    }

    /// Tells whether the sample behind the one at `before` claims to have counted before that one
    /// was taken, and yet not since the same time.
    fn overlaps(self, before: usize) -> bool {
        let since = self.get(before + 1);
        since != 0 && since < self.timestamps[before] && since != self.get(before)
    }

    /// Tells whether any two samples in a row overlap.
    pub(crate) fn any_overlap(self) -> bool {
        (0..self.starts.len().saturating_sub(1)).any(|before| self.overlaps(before))
    }

    /// Indices of the samples that the ones behind them overlap.
    pub(crate) fn overlapped(self) -> impl Iterator<Item = usize> + 'a {
        (0..self.starts.len().saturating_sub(1)).filter(move |before| self.overlaps(*before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there is a reset, and an overlap, between two samples 60 s apart, at 60 s and 120 s.
    fn between(before: i64, since: i64) -> (bool, bool) {
        let (timestamps, starts) = ([60_000, 120_000], [before, since]);
        let starts = Starts::new(&timestamps, &starts);
        (starts.is_reset(0), starts.any_overlap())
    }

    #[test]
    fn a_later_start_is_a_reset() {
        assert_eq!(between(30_000, 30_000), (false, false));
        assert_eq!(between(30_000, 90_000), (true, false));
        assert_eq!(between(30_000, 119_999), (true, false));
        assert_eq!(between(0, 90_000), (true, false));
    }

    #[test]
    fn a_start_that_cannot_be_is_none() {
        assert_eq!(between(30_000, 0), (false, false));
        assert_eq!(between(30_000, 120_000), (false, false));
        assert_eq!(between(30_000, 120_001), (false, false));
        assert_eq!(between(30_000, 20_000), (false, true));
        assert_eq!(between(0, -5), (false, true));
    }

    #[test]
    fn a_delta_starts_where_the_last_one_ended() {
        assert_eq!(between(1, 60_000), (true, false));
        assert_eq!(between(0, 60_000), (false, false));
        assert_eq!(between(60_000, 60_000), (false, false));
        assert_eq!(between(60_001, 60_000), (false, false));
    }

    #[test]
    fn slices_know_their_first_start() {
        let timestamps = [10, 20, 30, 40];
        let starts = Starts::new(&timestamps, &[5, 15]);
        assert_eq!(starts.slice(1..4).zero_within(14), Some(15));
        assert_eq!(starts.slice(1..4).zero_within(15), None);
        assert_eq!(starts.slice(2..4).zero_within(0), None);
        assert_eq!(starts.slice(3..3).zero_within(0), None);
        assert_eq!(Starts::NONE.slice(3..9).zero_within(0), None);
    }
}
