//! What the thread that decodes the log knows of its series, in a few bytes for each.
//!
//! Whether a sample's series was named before it must not depend on how far the workers are. And
//! most samples of a log are in chunks that were taken over already: whether one is shows here,
//! without looking for its series.

use std::collections::HashMap;

use ferula_index::SeriesRef;

use crate::head::series::{PAGE_LEN, page_number};
use crate::head::stripes::NumberHasher;

/// What a ref in the log stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// Nothing that the log has named before.
    Unknown,
    /// A series whose sample at that time is in a chunk.
    InChunk,
    /// This series.
    Series(SeriesRef),
}

/// The series that the log has named, and what their chunks in files hold.
#[derive(Debug, Default)]
pub(crate) struct KnownSeries {
    pages: HashMap<u64, Known, std::hash::BuildHasherDefault<NumberHasher>>,
    aliases: HashMap<SeriesRef, SeriesRef>,
    /// The page looked at last, which is not in the map meanwhile.
    page: Known,
    number: u64,
}

/// The refs of one page, a bit for each.
#[derive(Debug, Default)]
struct Known {
    series: u64,
    aliases: u64,
    /// Series of which the log has the last sample of their chunks.
    vouched: u64,
    /// Times of the last samples of chunks, `i64::MIN` without any.
    until: Option<Box<[i64; PAGE_LEN]>>,
}

impl Known {
    fn is_empty(&self) -> bool {
        self.series | self.aliases == 0 && self.until.is_none()
    }
}

impl KnownSeries {
    /// Notes that the log names a series.
    pub(super) fn add(&mut self, series: SeriesRef) {
        self.turn_to(series).series |= bit(series);
    }

    /// Notes that `alias` stands for `series`, which is known, and gets its chunks.
    pub(super) fn add_alias(&mut self, alias: SeriesRef, series: SeriesRef) {
        let until = self.until(alias);
        let page = self.turn_to(alias);
        page.aliases |= bit(alias);
        if let Some(until) = &mut page.until {
            until[slot(alias)] = i64::MIN;
        }
        self.aliases.insert(alias, series);
        if let Some(until) = until {
            self.add_chunk(series, until);
        }
    }

    /// Notes that the chunks of a series go to the time `until`.
    pub(super) fn add_chunk(&mut self, series: SeriesRef, until: i64) {
        let page = self.turn_to(series);
        let untils = page.until.get_or_insert_with(|| Box::new([i64::MIN; PAGE_LEN]));
        let of_series = &mut untils[slot(series)];
        if until > *of_series {
            *of_series = until;
            page.vouched &= !bit(series);
        }
    }

    /// To which time the chunks of a series go, if it has some.
    pub(super) fn until(&mut self, series: SeriesRef) -> Option<i64> {
        let until = self.turn_to(series).until.as_ref()?[slot(series)];
        (until != i64::MIN).then_some(until)
    }

    /// What a ref stands for that comes with a sample at `timestamp`.
    #[inline]
    pub(super) fn find(&mut self, series: SeriesRef, timestamp: i64) -> Named {
        let page = self.turn_to(series);
        if page.series & bit(series) == 0 {
            return self.find_alias(series, timestamp);
        }
        if let Some(until) = &page.until {
            let until = until[slot(series)];
            if timestamp <= until {
                page.vouched |= if timestamp == until { bit(series) } else { 0 };
                return Named::InChunk;
            }
        }
        Named::Series(series)
    }

    #[cold]
    fn find_alias(&mut self, alias: SeriesRef, timestamp: i64) -> Named {
        let is_alias = self.turn_to(alias).aliases & bit(alias) != 0;
        match self.aliases.get(&alias).copied().filter(|_| is_alias) {
            // It stands for one that is known.
            Some(series) => self.find(series, timestamp),
            None => Named::Unknown,
        }
    }

    /// The series that a ref stands for.
    pub(super) fn resolve(&mut self, series: SeriesRef) -> Option<SeriesRef> {
        match self.find(series, i64::MAX) {
            Named::Series(series) => Some(series),
            Named::InChunk | Named::Unknown => None,
        }
    }

    /// Tells whether the log has the last sample of the chunks of a series.
    pub(super) fn has_vouched(&mut self, series: SeriesRef) -> bool {
        self.turn_to(series).vouched & bit(series) != 0
    }

    #[inline]
    fn turn_to(&mut self, series: SeriesRef) -> &mut Known {
        let number = page_number(series);
        if self.number != number {
            self.change_page(number);
        }
        &mut self.page
    }

    fn change_page(&mut self, number: u64) {
        let next = self.pages.remove(&number).unwrap_or_default();
        let before = std::mem::replace(&mut self.page, next);
        if !before.is_empty() {
            self.pages.insert(self.number, before);
        }
        self.number = number;
    }
}

fn slot(series: SeriesRef) -> usize {
    usize::try_from(series.0 % PAGE_LEN as u64).expect("below the length of a page")
}

fn bit(series: SeriesRef) -> u64 {
    1 << (series.0 % PAGE_LEN as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_are_known_once_they_are_named() {
        let mut known = KnownSeries::default();
        let series = [0, 1, 63, 64, 100_000, u64::MAX].map(SeriesRef);
        for (i, &added) in series.iter().enumerate() {
            assert_eq!(known.resolve(added), None);
            known.add(added);
            for (j, &other) in series.iter().enumerate() {
                assert_eq!(known.resolve(other), (j <= i).then_some(other));
            }
        }
        known.add_alias(SeriesRef(2), SeriesRef(64));
        assert_eq!(known.resolve(SeriesRef(2)), Some(SeriesRef(64)));
        assert_eq!(known.resolve(SeriesRef(3)), None);
    }

    #[test]
    fn samples_in_chunks_are_passed_over_up_to_the_last_one() {
        let mut known = KnownSeries::default();
        let (a, b, alias) = (SeriesRef(1), SeriesRef(2), SeriesRef(700));
        known.add_chunk(a, 10);
        assert_eq!(known.find(a, 5), Named::Unknown, "the log has not named it");
        known.add(a);
        known.add(b);
        assert_eq!(known.find(a, 9), Named::InChunk);
        assert!(!known.has_vouched(a));
        assert_eq!(known.find(a, 10), Named::InChunk);
        assert!(known.has_vouched(a));
        assert_eq!(known.find(a, 11), Named::Series(a));
        assert_eq!(known.find(b, 0), Named::Series(b));
        // The chunks that were found under an alias are the series' own.
        known.add_chunk(alias, 20);
        known.add_alias(alias, a);
        assert!(!known.has_vouched(a));
        assert_eq!(known.find(alias, 20), Named::InChunk);
        assert!(known.has_vouched(a));
        assert_eq!([known.find(alias, 21), known.find(a, 21)], [Named::Series(a); 2]);
    }
}
