//! What is deleted of samples out of order: intervals that concern what was there before them.
//!
//! A later sample may lie in such an interval and stays. So each interval has the era that begins with
//! it, and concerns chunks of earlier ones.

use std::collections::BTreeMap;

use ferula_index::SeriesRef;

use crate::head::series::Era;
use crate::tombstones::{Interval, unite};

/// Deleted intervals of samples out of order by series, each with the era that begins with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeletedOutOfOrder {
    intervals: BTreeMap<SeriesRef, Vec<(Interval, Era)>>,
}

impl DeletedOutOfOrder {
    /// Notes that what is there of a series before `era` is deleted from `mint` to `maxt`.
    pub(crate) fn add(&mut self, series: SeriesRef, mint: i64, maxt: i64, era: Era) {
        self.intervals.entry(series).or_default().push(((mint, maxt), era));
    }

    /// Tells whether nothing is deleted.
    pub(crate) fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// What is deleted of the samples of a series that are of an era.
    pub(crate) fn of(&self, series: SeriesRef, era: Era) -> Vec<Interval> {
        let all = self.intervals.get(&series).into_iter().flatten();
        let mut of_era: Vec<Interval> =
            all.filter(|(_, since)| era < *since).map(|(interval, _)| *interval).collect();
        unite(&mut of_era);
        of_era
    }

    /// Forgets what concerns eras before `until` only.
    pub(crate) fn truncate(&mut self, until: Era) {
        self.intervals.retain(|_, of_series| {
            of_series.retain(|(_, era)| *era > until);
            !of_series.is_empty()
        });
    }
}
