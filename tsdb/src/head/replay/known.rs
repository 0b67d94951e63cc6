//! Which series the log has named so far, a bit for each.
//!
//! Whether a sample's series was named before it must not depend on how far the workers are, so the
//! thread that reads the log keeps account of its own.

use std::collections::HashMap;

use ferula_index::SeriesRef;

use crate::head::series::{PAGE_LEN, page_number};

/// The series that the log has named.
#[derive(Debug, Default)]
pub(super) struct KnownSeries {
    /// By page.
    pages: HashMap<u64, Known>,
    aliases: HashMap<SeriesRef, SeriesRef>,
    /// The page looked at last, its changes written back when another one is.
    last: (u64, Known),
}

/// The refs of one page.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    series: u64,
    aliases: u64,
}

impl KnownSeries {
    /// Notes a series.
    pub(super) fn add(&mut self, series: SeriesRef) {
        self.turn_to(page_number(series));
        self.last.1.series |= bit(series);
    }

    /// Notes that `alias` stands for `series`, which is known.
    pub(super) fn add_alias(&mut self, alias: SeriesRef, series: SeriesRef) {
        self.turn_to(page_number(alias));
        self.last.1.aliases |= bit(alias);
        self.aliases.insert(alias, series);
    }

    /// The series that a ref stands for.
    #[inline]
    pub(super) fn find(&mut self, series: SeriesRef) -> Option<SeriesRef> {
        self.turn_to(page_number(series));
        let Known { series: known, aliases } = self.last.1;
        if known & bit(series) != 0 {
            Some(series)
        } else if aliases & bit(series) != 0 {
            self.aliases.get(&series).copied()
        } else {
            None
        }
    }

    #[inline]
    fn turn_to(&mut self, page: u64) {
        if self.last.0 != page {
            self.change_page(page);
        }
    }

    fn change_page(&mut self, page: u64) {
        let (before, known) = self.last;
        if known.series | known.aliases != 0 {
            self.pages.insert(before, known);
        }
        self.last = (page, self.pages.get(&page).copied().unwrap_or_default());
    }
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
            assert_eq!(known.find(added), None);
            known.add(added);
            for (j, &other) in series.iter().enumerate() {
                assert_eq!(known.find(other), (j <= i).then_some(other));
            }
        }
        known.add_alias(SeriesRef(2), SeriesRef(64));
        assert_eq!(known.find(SeriesRef(2)), Some(SeriesRef(64)));
        assert_eq!(known.find(SeriesRef(3)), None);
    }
}
