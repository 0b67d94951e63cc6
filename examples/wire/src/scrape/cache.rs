//! What is known of the series of one target: from the text of a line to the ref of its series.
//!
//! A target writes the name and labels of a series the same way every time, so a series that was
//! scraped before is found by that text, and its labels are not looked at. The cache also knows
//! which series the last scrape had, and so which ones are gone.

use std::collections::{HashMap, HashSet};

use ferula_index::SeriesRef;

/// Scrapes that failed may leave this many more series than twice those of a good one before the
/// cache is emptied of them.
const SPARE_COUNT: usize = 1000;

/// The series of one target.
#[derive(Debug)]
pub(super) struct SeriesCache {
    series: HashMap<Box<[u8]>, Known>,
    /// Number of the scrape under way.
    scrape: u64,
    /// Series of the last scrape whose disappearance matters.
    n_tracked_last: usize,
    /// How many of those this scrape has, too.
    n_kept: usize,
    n_tracked: usize,
    /// Series known after the last good scrape.
    good_count: usize,
    /// Series that the rules of the job drop, and the last scrape that had each.
    dropped: HashMap<Box<[u8]>, u64>,
    /// Series of the last scrape whose texts are to be looked at anew.
    orphans: Vec<SeriesRef>,
}

/// A series that was appended to before.
#[derive(Clone, Copy, Debug)]
struct Known {
    series: SeriesRef,
    /// Last scrape that had it.
    seen: u64,
    /// Last scrape after which its disappearance matters.
    tracked: u64,
    /// The one before that.
    tracked_before: u64,
}

/// What looking a series up yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) series: SeriesRef,
    /// Whether this scrape had the same text already.
    pub(super) is_repeated: bool,
}

impl SeriesCache {
    pub(super) fn new() -> Self {
        Self {
            series: HashMap::new(),
            // Zero stands for "never", and the first scrape does not follow that.
            scrape: 2,
            n_tracked_last: 0,
            n_kept: 0,
            n_tracked: 0,
            good_count: 0,
            dropped: HashMap::new(),
            orphans: Vec::new(),
        }
    }

    /// How many series are known.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// Tells whether a series is known to be dropped.
    pub(super) fn is_dropped(&mut self, text: &[u8]) -> bool {
        if self.dropped.is_empty() {
            return false;
        }
        let seen = self.dropped.get_mut(text);
        seen.map(|seen| *seen = self.scrape).is_some()
    }

    /// Notes that a series is dropped.
    pub(super) fn drop_series(&mut self, text: &[u8]) {
        self.dropped.insert(text.into(), self.scrape);
    }

    pub(super) fn get(&mut self, text: &[u8]) -> Option<Hit> {
        let known = self.series.get_mut(text)?;
        let is_repeated = known.seen == self.scrape;
        known.seen = self.scrape;
        Some(Hit { series: known.series, is_repeated })
    }

    /// Takes up a series that was appended to under a ref not known before.
    pub(super) fn insert(&mut self, text: &[u8], series: SeriesRef) {
        match self.series.get_mut(text) {
            Some(known) => known.series = series,
            None => {
                let known = Known { series, seen: self.scrape, tracked: 0, tracked_before: 0 };
                self.series.insert(text.into(), known);
            }
        }
    }

    /// Notes that the series has to be marked stale if the next scrape has it not.
    pub(super) fn track(&mut self, text: &[u8]) {
        let scrape = self.scrape;
        let Some(known) = self.series.get_mut(text) else { return };
        if known.tracked != scrape {
            self.n_tracked += 1;
            self.n_kept += usize::from(known.tracked + 1 == scrape);
            known.tracked_before = known.tracked;
            known.tracked = scrape;
        }
    }

    /// Forgets which series the texts stand for. Those that the next scrape has not are stale then.
    pub(super) fn relearn(&mut self) {
        self.orphans = self.all_stale();
        self.series.clear();
        self.dropped.clear();
        (self.n_tracked_last, self.n_kept, self.n_tracked) = (0, 0, 0);
    }

    /// Series that the last scrape had and this one has not.
    pub(super) fn stale(&self) -> Vec<SeriesRef> {
        if self.n_kept == self.n_tracked_last && self.orphans.is_empty() {
            return Vec::new();
        }
        let tracked = |scrape| self.series.values().filter(move |k| k.tracked == scrape);
        // The same series may be written in another way now.
        let current: HashSet<u64> = tracked(self.scrape).map(|known| known.series.0).collect();
        tracked(self.scrape - 1)
            .map(|known| known.series)
            .chain(self.orphans.iter().copied())
            .filter(|series| !current.contains(&series.0))
            .collect()
    }

    /// All series that the last scrape had: those to mark stale if this one failed.
    pub(super) fn all_stale(&self) -> Vec<SeriesRef> {
        let last = self.scrape - 1;
        let was_tracked = |known: &&Known| {
            known.tracked == last || (known.tracked == self.scrape && known.tracked_before == last)
        };
        let mut stale: Vec<_> =
            self.series.values().filter(was_tracked).map(|known| known.series).collect();
        stale.extend(&self.orphans);
        stale.sort_unstable();
        stale.dedup();
        stale
    }

    /// Ends a scrape that was stored: what it had not is forgotten.
    pub(super) fn end_good(&mut self) {
        if self.series.len() > self.n_tracked {
            let scrape = self.scrape;
            self.series.retain(|_, known| known.seen == scrape);
        }
        let scrape = self.scrape;
        self.dropped.retain(|_, seen| *seen == scrape);
        self.good_count = self.series.len();
        self.n_tracked_last = self.n_tracked;
        self.next();
    }

    /// Ends a scrape that failed: nothing is tracked any more, but refs stay known.
    pub(super) fn end_failed(&mut self) {
        let scrape = self.scrape;
        if self.series.len() > self.good_count * 2 + SPARE_COUNT {
            self.series.retain(|_, known| known.seen == scrape);
        }
        if self.dropped.len() > SPARE_COUNT {
            self.dropped.retain(|_, seen| *seen == scrape);
        }
        for known in self.series.values_mut() {
            known.tracked = 0;
        }
        self.n_tracked_last = 0;
        self.next();
    }

    fn next(&mut self) {
        self.orphans.clear();
        self.scrape += 1;
        self.n_kept = 0;
        self.n_tracked = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(cache: &mut SeriesCache, texts: &[(&str, u64)]) {
        for (text, series) in texts {
            if cache.get(text.as_bytes()).is_none() {
                cache.insert(text.as_bytes(), SeriesRef(*series));
            }
            cache.track(text.as_bytes());
        }
    }

    #[test]
    fn series_that_vanish_are_stale_once() {
        let mut cache = SeriesCache::new();
        scrape(&mut cache, &[("a", 1), ("b", 2)]);
        assert_eq!(cache.stale(), []);
        cache.end_good();
        scrape(&mut cache, &[("a", 1)]);
        assert_eq!(cache.stale(), [SeriesRef(2)]);
        cache.end_good();
        scrape(&mut cache, &[("a", 1)]);
        assert_eq!(cache.stale(), []);
        cache.end_good();
        assert!(cache.get(b"b").is_none());
        let hit = Some(Hit { series: SeriesRef(1), is_repeated: false });
        assert_eq!(cache.get(b"a"), hit);
        assert_eq!(cache.get(b"a").map(|hit| hit.is_repeated), Some(true));
    }

    #[test]
    fn a_series_written_in_another_way_is_not_stale() {
        let mut cache = SeriesCache::new();
        scrape(&mut cache, &[("a{x,y}", 1)]);
        cache.end_good();
        scrape(&mut cache, &[("a{y,x}", 1)]);
        assert_eq!(cache.stale(), []);
    }

    #[test]
    fn a_scrape_that_fails_half_way_makes_all_series_stale() {
        let mut cache = SeriesCache::new();
        scrape(&mut cache, &[("a", 1), ("b", 2)]);
        cache.end_good();
        scrape(&mut cache, &[("b", 2), ("c", 3)]);
        assert_eq!(cache.all_stale(), [SeriesRef(1), SeriesRef(2)]);
        cache.end_failed();
        assert_eq!(cache.all_stale(), []);
        scrape(&mut cache, &[("b", 2)]);
        assert_eq!(cache.stale(), []);
    }

    #[test]
    fn series_that_do_not_come_again_after_relearning_are_stale() {
        let mut cache = SeriesCache::new();
        scrape(&mut cache, &[("a", 1), ("b", 2)]);
        cache.end_good();
        cache.relearn();
        assert!(cache.get(b"a").is_none());
        // The same text is another series now.
        scrape(&mut cache, &[("a", 3), ("b", 2)]);
        assert_eq!(cache.stale(), [SeriesRef(1)]);
        cache.end_good();
        scrape(&mut cache, &[("a", 3), ("b", 2)]);
        assert_eq!(cache.stale(), []);
        cache.end_good();
        cache.relearn();
        assert_eq!(cache.all_stale(), [SeriesRef(2), SeriesRef(3)]);
        cache.end_failed();
        assert_eq!(cache.all_stale(), []);
    }
}
