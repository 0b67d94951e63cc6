//! The exemplars of the head: the newest ones of all series together, a bounded number.
//!
//! They belong to series by their labels, not by ref, and stay when blocks are cut and when their
//! series has no samples left in the head, until newer ones take their place ([`ring`]). The log
//! keeps those that are here, and the series they are of, for as long ([`Wanted`]). Each is visible
//! with its batch.

mod ring;

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use ferula_index::{Labels, Matcher, SeriesRef};
use ferula_wal::record::exemplars::RefExemplar;
use parking_lot::RwLock;

use self::ring::Ring;
pub(crate) use self::ring::{Logged, Offer};
use super::isolation::BatchId;
use crate::exemplar::{Exemplar, ExemplarError, SeriesExemplars};

/// Series that are looked at under one hold of the lock.
const SERIES_AT_ONCE: usize = 1024;

/// The exemplars of the head. Its lock is taken behind all others of the head.
#[derive(Debug)]
pub(crate) struct Exemplars {
    ring: RwLock<Ring>,
    is_enabled: bool,
}

impl Exemplars {
    /// Keeps at most `capacity` exemplars, and takes those that are less than `window_ms`
    /// milliseconds behind the newest one of their series.
    pub(crate) fn new(capacity: usize, window_ms: i64) -> Self {
        Self { ring: RwLock::new(Ring::new(capacity, window_ms)), is_enabled: capacity > 0 }
    }

    /// Number of exemplars, and of series that have some.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let ring = self.ring.read();
        (ring.len(), ring.n_series())
    }

    /// Bytes of memory.
    pub(crate) fn size_bytes(&self) -> usize {
        self.ring.read().size_bytes()
    }

    /// Tells whether an exemplar of a series would be taken now, as far as its ref tells.
    pub(crate) fn check(
        &self,
        series: SeriesRef,
        offered: &Exemplar,
    ) -> Result<Offer, ExemplarError> {
        if !self.is_enabled {
            return Err(ExemplarError::Disabled);
        }
        self.ring.read().check(series, offered)
    }

    /// Takes an exemplar of a series unless it is there already or may not be taken.
    pub(crate) fn add(
        &self,
        series: SeriesRef,
        labels: impl FnOnce() -> Option<Labels>,
        offered: Logged,
        batch: BatchId,
    ) -> Result<Offer, ExemplarError> {
        self.ring.write().add(series, labels, offered, batch)
    }

    /// Takes an exemplar that was taken before.
    pub(crate) fn restore(&self, labels: &Labels, logged: Logged) {
        self.ring.write().restore(labels, logged);
    }

    /// The exemplars from `mint` to `maxt`, both inclusive, of the series that pass all matchers of
    /// one of the `sets`, as far as a reader of `seen` may see them; in the order of labels.
    ///
    /// No lock is held while labels are matched, nor for long while they are gathered: an exemplar
    /// that gives way to another one meanwhile may be left out.
    pub(crate) fn select<S: AsRef<[Matcher]>>(
        &self,
        sets: &[S],
        mint: i64,
        maxt: i64,
        seen: BatchId,
    ) -> Vec<SeriesExemplars> {
        let passes = |labels: &Labels| {
            let value = |matcher: &Matcher| labels.get(matcher.name()).unwrap_or_default();
            let all = |set: &S| set.as_ref().iter().all(|matcher| matcher.matches(value(matcher)));
            sets.iter().any(all)
        };
        let mut selected = Vec::new();
        for start in (0..).step_by(SERIES_AT_ONCE) {
            let labels = self.ring.read().labels_from(start, SERIES_AT_ONCE);
            let Some(labels) = labels else { break };
            selected.extend(labels.into_iter().filter(|labels| passes(labels)));
        }
        selected.sort_unstable();
        // A series that went and came meanwhile may be met at two places.
        selected.dedup();
        let mut found = Vec::new();
        for labels in selected.chunks(SERIES_AT_ONCE) {
            let ring = self.ring.read();
            for labels in labels {
                let exemplars = ring.between(labels, mint, maxt, seen);
                if !exemplars.is_empty() {
                    found.push(SeriesExemplars { labels: labels.clone(), exemplars });
                }
            }
        }
        found
    }

    /// What of the log is to be kept for the exemplars that there are now.
    pub(crate) fn wanted(&self) -> Wanted {
        let ring = self.ring.read();
        let mut wanted =
            Wanted { series: HashSet::new(), exemplars: HashSet::new(), state: RandomState::new() };
        for (_, Logged { logged_as, exemplar }) in ring.iter() {
            wanted.series.insert(*logged_as);
            let print =
                wanted.print(*logged_as, exemplar.timestamp, exemplar.value, &exemplar.labels);
            wanted.exemplars.insert(print);
        }
        wanted
    }

    /// Shows each exemplar in the order in which they came, with the labels of its series. Nothing is
    /// added meanwhile.
    pub(crate) fn for_each<E>(
        &self,
        mut visit: impl FnMut(&Labels, &Logged) -> Result<(), E>,
    ) -> Result<(), E> {
        self.ring.read().iter().try_for_each(|(labels, logged)| visit(labels, logged))
    }
}

/// What of the log is to be kept for exemplars.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Refs that exemplars are logged under.
    series: HashSet<SeriesRef>,
    /// Hashes of the exemplars: one too many kept does no harm.
    exemplars: HashSet<u64>,
    state: RandomState,
}

impl Wanted {
    /// Tells whether the record of a series is to be kept.
    pub(crate) fn has_series(&self, series: SeriesRef) -> bool {
        self.series.contains(&series)
    }

    /// Tells whether an exemplar is to be kept.
    pub(crate) fn has(&self, exemplar: &RefExemplar) -> bool {
        let RefExemplar { series, timestamp, value, labels } = exemplar;
        self.exemplars.contains(&self.print(*series, *timestamp, *value, labels))
    }

    fn print(&self, series: SeriesRef, timestamp: i64, value: f64, labels: &Labels) -> u64 {
        self.state.hash_one((series, timestamp, value.to_bits(), labels))
    }
}
