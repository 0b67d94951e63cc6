//! And, or, and-not of postings, in place.

use std::ops::Range;

use super::{LIST_LIMIT, Map, Postings, Repr, numbers};
use crate::SeriesRef;

impl Postings {
    /// Keeps the refs that are in `other` too.
    pub fn intersect(&mut self, other: &Self) {
        match (&mut self.repr, &other.repr) {
            (_, Repr::Run { first, len }) => self.keep_range(numbers(*first, *len)),
            (Repr::List(list), _) => list.retain(|&series| other.contains(SeriesRef(series))),
            (_, Repr::List(list)) => {
                let kept = list.iter().copied().filter(|&series| self.contains(SeriesRef(series)));
                *self = Self::from_ascending(kept.collect());
            }
            (Repr::Run { first, len }, Repr::Map(map)) => {
                let range = numbers(*first, *len);
                if u64::from(*len) < map.len / 2 {
                    *self = Self::from_ascending(other.within(range).collect());
                } else {
                    *self = other.clone();
                    self.keep_range(range);
                }
            }
            (Repr::Map(a), Repr::Map(b)) => {
                a.refs &= &b.refs;
                a.len = a.refs.len();
            }
        }
    }

    /// Adds the refs of `other`.
    pub fn unite(&mut self, other: &Self) {
        match (&mut self.repr, &other.repr) {
            (_, Repr::Run { first, len }) => self.insert_range(numbers(*first, *len)),
            (Repr::Run { first, len }, _) => {
                let range = numbers(*first, *len);
                *self = other.clone();
                self.insert_range(range);
            }
            (Repr::List(a), Repr::List(b)) => {
                let both = a.iter().chain(b).map(|&series| SeriesRef(series));
                *self = both.collect();
            }
            (Repr::List(list), Repr::Map(map)) => {
                let mut map = map.clone();
                extend(&mut map, list);
                self.repr = Repr::Map(map);
            }
            (Repr::Map(map), Repr::List(list)) => extend(map, list),
            (Repr::Map(a), Repr::Map(b)) => {
                a.refs |= &b.refs;
                a.len = a.refs.len();
            }
        }
    }

    /// Removes the refs of `other`.
    pub fn subtract(&mut self, other: &Self) {
        if let (Repr::Run { .. }, Repr::List(_) | Repr::Map(_)) = (&self.repr, &other.repr) {
            self.leave_run(0);
        }
        match (&mut self.repr, &other.repr) {
            (_, Repr::Run { first, len }) => self.remove_range(numbers(*first, *len)),
            (Repr::List(list), _) => list.retain(|&series| !other.contains(SeriesRef(series))),
            (Repr::Map(map), Repr::List(list)) => {
                for &series in list {
                    map.len -= u64::from(map.refs.remove(series));
                }
            }
            (Repr::Map(a), Repr::Map(b)) => {
                a.refs -= &b.refs;
                a.len = a.refs.len();
            }
            (Repr::Run { .. }, _) => unreachable!("left its form above"),
        }
    }

    /// Tells whether no ref is in both.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        match (&self.repr, &other.repr) {
            (Repr::Run { first, len }, _) => other.within(numbers(*first, *len)).next().is_none(),
            (_, Repr::Run { first, len }) => self.within(numbers(*first, *len)).next().is_none(),
            (Repr::List(list), _) => !list.iter().any(|&s| other.contains(SeriesRef(s))),
            (_, Repr::List(list)) => !list.iter().any(|&s| self.contains(SeriesRef(s))),
            (Repr::Map(a), Repr::Map(b)) => a.refs.is_disjoint(&b.refs),
        }
    }

    /// The numbers that lie in a range, ascending.
    fn within(&self, range: Range<u64>) -> impl Iterator<Item = u64> {
        let mut iter = self.iter();
        iter.advance_to(SeriesRef(range.start));
        iter.map(|series| series.0).take_while(move |series| *series < range.end)
    }

    /// Keeps the refs that lie in a range.
    fn keep_range(&mut self, range: Range<u64>) {
        match &mut self.repr {
            Repr::Run { first, len } => {
                let own = numbers(*first, *len);
                self.repr = Repr::run(own.start.max(range.start)..own.end.min(range.end));
            }
            Repr::List(list) => list.retain(|series| range.contains(series)),
            Repr::Map(_) if range.end.saturating_sub(range.start) <= LIST_LIMIT as u64 => {
                *self = Self::from_ascending(self.within(range).collect());
            }
            Repr::Map(map) => {
                map.refs.remove_range(..range.start);
                map.refs.remove_range(range.end..);
                map.len = map.refs.len();
            }
        }
    }

    /// Removes the refs that lie in a range.
    fn remove_range(&mut self, range: Range<u64>) {
        if let Repr::Run { first, len } = self.repr {
            let own = numbers(first, len);
            if range.is_empty() || own.end <= range.start || range.end <= own.start {
                return;
            }
            if range.start <= own.start || own.end <= range.end {
                // One end is left, or nothing.
                let left = if range.start <= own.start {
                    own.end.min(range.end)..own.end
                } else {
                    own.start..range.start
                };
                self.repr = Repr::run(left);
                return;
            }
            self.leave_run(0);
        }
        match &mut self.repr {
            Repr::List(list) => list.retain(|series| !range.contains(series)),
            Repr::Map(map) => map.len -= map.refs.remove_range(range),
            Repr::Run { .. } => unreachable!("left its form above"),
        }
    }
}

fn extend(map: &mut Map, list: &[u64]) {
    for &series in list {
        map.insert(series);
    }
}
