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
#[derive(Debug)]
pub(crate) struct KnownSeries {
    /// Where in `pages` each page is, by its number.
    places: HashMap<u64, usize, std::hash::BuildHasherDefault<NumberHasher>>,
    pages: Vec<Known>,
    aliases: HashMap<SeriesRef, SeriesRef>,
    /// The page looked at last.
    number: u64,
    place: usize,
}

impl Default for KnownSeries {
    fn default() -> Self {
        let pages = vec![Known::default()];
        Self { places: HashMap::default(), pages, aliases: HashMap::new(), number: 0, place: NONE }
    }
}

/// Where a page is of which nothing is known; it stays empty.
const NONE: usize = 0;

/// The refs of one page, a bit for each. It fills a cache line: what most samples are asked of it
/// is answered without looking at `until`.
#[derive(Debug)]
#[repr(align(64))]
struct Known {
    number: u64,
    series: u64,
    aliases: u64,
    /// Series with chunks.
    chunked: u64,
    /// Series of which the log has the last sample of their chunks.
    vouched: u64,
    /// The earliest and the latest time at which the chunks of one of the series end.
    first_until: i64,
    last_until: i64,
    /// Times of the last samples of chunks, `i64::MAX` without any.
    until: Option<Box<[i64; PAGE_LEN]>>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            number: 0,
            series: 0,
            aliases: 0,
            chunked: 0,
            vouched: 0,
            first_until: i64::MAX,
            last_until: i64::MIN,
            until: None,
        }
    }
}

impl Known {
    /// To which time the chunks of a series go, if it has some.
    fn until(&self, series: SeriesRef) -> Option<i64> {
        let until = self.until.as_deref().filter(|_| self.chunked & bit(series) != 0)?;
        Some(until[slot(series)])
    }

    /// Whether a sample at `timestamp` of a series is in a chunk.
    #[inline(always)]
    fn is_in_chunk(&mut self, series: SeriesRef, timestamp: i64) -> bool {
        if timestamp > self.last_until || self.chunked & bit(series) == 0 {
            return false;
        }
        timestamp < self.first_until || self.is_in_chunk_of(series, timestamp)
    }

    #[cold]
    fn is_in_chunk_of(&mut self, series: SeriesRef, timestamp: i64) -> bool {
        let until = self.until(series).unwrap_or(i64::MIN);
        self.vouched |= if timestamp == until { bit(series) } else { 0 };
        timestamp <= until
    }

    /// Notes that the chunks of a series go to the time `until`.
    fn add_chunk(&mut self, series: SeriesRef, until: i64) {
        let before = self.until(series);
        if before.is_some_and(|before| before >= until) {
            return;
        }
        self.chunked |= bit(series);
        self.vouched &= !bit(series);
        let untils = self.until.get_or_insert_with(|| Box::new([i64::MAX; PAGE_LEN]));
        untils[slot(series)] = until;
        self.last_until = self.last_until.max(until);
        self.first_until = if before == Some(self.first_until) {
            untils.iter().copied().min().unwrap_or(until)
        } else {
            self.first_until.min(until)
        };
    }
}

impl KnownSeries {
    /// Notes that the log names a series.
    pub(super) fn add(&mut self, series: SeriesRef) {
        self.page_mut(series).series |= bit(series);
    }

    /// Notes that `alias` stands for `series`, which is known, and gets its chunks.
    pub(super) fn add_alias(&mut self, alias: SeriesRef, series: SeriesRef) {
        let until = self.until(alias);
        let page = self.page_mut(alias);
        page.aliases |= bit(alias);
        page.chunked &= !bit(alias);
        if let Some(until) = &mut page.until {
            until[slot(alias)] = i64::MAX;
        }
        self.aliases.insert(alias, series);
        if let Some(until) = until {
            self.add_chunk(series, until);
        }
    }

    /// Notes that the chunks of a series go to the time `until`.
    pub(super) fn add_chunk(&mut self, series: SeriesRef, until: i64) {
        self.page_mut(series).add_chunk(series, until);
    }

    /// To which time the chunks of a series go, if it has some.
    pub(super) fn until(&mut self, series: SeriesRef) -> Option<i64> {
        self.turn_to(series).until(series)
    }

    /// What a ref stands for that comes with a sample at `timestamp`.
    #[inline(always)]
    pub(super) fn find(&mut self, series: SeriesRef, timestamp: i64) -> Named {
        let page = self.turn_to(series);
        if page.series & bit(series) == 0 {
            return self.find_alias(series, timestamp);
        }
        if page.is_in_chunk(series, timestamp) { Named::InChunk } else { Named::Series(series) }
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

    /// The page of a series, to look at and to note what it vouches for.
    #[inline(always)]
    fn turn_to(&mut self, series: SeriesRef) -> &mut Known {
        let number = page_number(series);
        if self.number != number {
            self.turn_page(number);
        }
        &mut self.pages[self.place]
    }

    #[cold]
    fn turn_page(&mut self, number: u64) {
        self.number = number;
        // Most logs name series in the order of their refs, and have samples of them in that order.
        let next = self.place + 1;
        self.place = match self.pages.get(next) {
            Some(page) if page.number == number => next,
            _ => self.places.get(&number).copied().unwrap_or(NONE),
        };
    }

    /// The page of a series, to note something of it.
    fn page_mut(&mut self, series: SeriesRef) -> &mut Known {
        self.turn_to(series);
        if self.place == NONE {
            self.place = self.pages.len();
            self.pages.push(Known { number: self.number, ..Known::default() });
            self.places.insert(self.number, self.place);
        }
        &mut self.pages[self.place]
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
