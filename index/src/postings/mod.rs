//! Postings: sets of series refs, in ascending order.
//!
//! A label pair that few series carry is the common case, and a bitmap costs hundreds of bytes
//! before it holds anything: short sets are plain sorted lists, longer ones roaring bitmaps.

mod ops;
pub(crate) mod select;

use std::fmt;

use roaring::{RoaringTreemap, treemap};

use crate::SeriesRef;

/// Longest set that is kept as a list. At this length a list is about as large as the bitmap.
const LIST_LIMIT: usize = 64;

/// A set of series refs, iterated in ascending order.
///
/// ```
/// use ferula_index::{SeriesRef, postings::Postings};
///
/// let mut evens: Postings = (0..100).filter(|n| n % 2 == 0).map(SeriesRef).collect();
/// let small: Postings = [1, 2, 4].map(SeriesRef).into_iter().collect();
/// evens.intersect(&small);
/// assert_eq!(evens.iter().collect::<Vec<_>>(), [SeriesRef(2), SeriesRef(4)]);
/// ```
#[derive(Clone)]
pub struct Postings {
    repr: Repr,
}

#[derive(Clone)]
enum Repr {
    /// Ascending, at most [`LIST_LIMIT`] long.
    List(Vec<u64>),
    /// Any number.
    Map(RoaringTreemap),
}

impl Postings {
    /// Makes an empty set, without allocating.
    pub const fn new() -> Self {
        Self { repr: Repr::List(Vec::new()) }
    }

    /// Adds `series`; tells whether it is new.
    pub fn insert(&mut self, series: SeriesRef) -> bool {
        match &mut self.repr {
            Repr::List(list) => {
                let Err(at) = list.binary_search(&series.0) else { return false };
                if list.len() < LIST_LIMIT {
                    if list.is_empty() {
                        // Most lists stay at one; the usual first growth is to four.
                        list.reserve_exact(1);
                    }
                    list.insert(at, series.0);
                } else {
                    let mut map: RoaringTreemap = list.iter().copied().collect();
                    map.insert(series.0);
                    self.repr = Repr::Map(map);
                }
                true
            }
            Repr::Map(map) => map.insert(series.0),
        }
    }

    /// Removes `series`; tells whether it was there.
    pub fn remove(&mut self, series: SeriesRef) -> bool {
        match &mut self.repr {
            Repr::List(list) => match list.binary_search(&series.0) {
                Ok(at) => {
                    list.remove(at);
                    true
                }
                Err(_) => false,
            },
            Repr::Map(map) => map.remove(series.0),
        }
    }

    /// Removes every ref from `first` on.
    pub fn remove_from(&mut self, first: SeriesRef) {
        match &mut self.repr {
            Repr::List(list) => list.truncate(list.partition_point(|&series| series < first.0)),
            Repr::Map(map) => {
                map.remove_range(first.0..);
            }
        }
    }

    /// Tells whether `series` is in the set.
    pub fn contains(&self, series: SeriesRef) -> bool {
        match &self.repr {
            Repr::List(list) => list.binary_search(&series.0).is_ok(),
            Repr::Map(map) => map.contains(series.0),
        }
    }

    /// Number of series.
    pub fn len(&self) -> u64 {
        match &self.repr {
            Repr::List(list) => list.len() as u64,
            Repr::Map(map) => map.len(),
        }
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        match &self.repr {
            Repr::List(list) => list.is_empty(),
            Repr::Map(map) => map.is_empty(),
        }
    }

    /// The smallest ref.
    pub fn first(&self) -> Option<SeriesRef> {
        match &self.repr {
            Repr::List(list) => list.first().copied(),
            Repr::Map(map) => map.min(),
        }
        .map(SeriesRef)
    }

    /// The largest ref.
    pub fn last(&self) -> Option<SeriesRef> {
        match &self.repr {
            Repr::List(list) => list.last().copied(),
            Repr::Map(map) => map.max(),
        }
        .map(SeriesRef)
    }

    /// Iterates in ascending order.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            repr: match &self.repr {
                Repr::List(list) => ReprIter::List(list.iter()),
                Repr::Map(map) => ReprIter::Map(Box::new(map.iter())),
            },
        }
    }

    /// Makes the set of a list in ascending order without repetitions.
    pub(crate) fn from_ascending(list: Vec<u64>) -> Self {
        debug_assert!(list.is_sorted_by(|a, b| a < b), "refs ascend");
        if list.len() <= LIST_LIMIT {
            return Self { repr: Repr::List(list) };
        }
        let map = RoaringTreemap::from_sorted_iter(list).expect("the list is sorted");
        Self { repr: Repr::Map(map) }
    }

    /// Gives memory back after much was removed.
    pub(crate) fn shrink(&mut self) {
        match &mut self.repr {
            Repr::List(list) => list.shrink_to_fit(),
            // Half the limit, so that sets around it do not change form at every step.
            Repr::Map(map) if map.len() <= LIST_LIMIT as u64 / 2 => {
                self.repr = Repr::List(map.iter().collect());
            }
            Repr::Map(_) => {}
        }
    }
}

impl Default for Postings {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Postings {
    fn eq(&self, other: &Self) -> bool {
        match (&self.repr, &other.repr) {
            (Repr::Map(a), Repr::Map(b)) => a == b,
            _ => self.len() == other.len() && self.iter().eq(other.iter()),
        }
    }
}

impl Eq for Postings {}

impl fmt::Debug for Postings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|series| series.0)).finish()
    }
}

impl FromIterator<SeriesRef> for Postings {
    fn from_iter<I: IntoIterator<Item = SeriesRef>>(refs: I) -> Self {
        let mut list: Vec<u64> = refs.into_iter().map(|series| series.0).collect();
        list.sort_unstable();
        list.dedup();
        Self::from_ascending(list)
    }
}

impl<'a> IntoIterator for &'a Postings {
    type Item = SeriesRef;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterator over the refs of [`Postings`], ascending.
#[derive(Clone)]
pub struct Iter<'a> {
    repr: ReprIter<'a>,
}

#[derive(Clone)]
enum ReprIter<'a> {
    List(std::slice::Iter<'a, u64>),
    Map(Box<treemap::Iter<'a>>),
}

impl Iter<'_> {
    /// Skips the refs below `series`.
    pub fn advance_to(&mut self, series: SeriesRef) {
        match &mut self.repr {
            ReprIter::List(list) => {
                let rest = list.as_slice();
                *list = rest[rest.partition_point(|&s| s < series.0)..].iter();
            }
            ReprIter::Map(map) => map.advance_to(series.0),
        }
    }
}

impl Iterator for Iter<'_> {
    type Item = SeriesRef;

    fn next(&mut self) -> Option<SeriesRef> {
        match &mut self.repr {
            ReprIter::List(list) => list.next().copied(),
            ReprIter::Map(map) => map.next(),
        }
        .map(SeriesRef)
    }
}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.clone().map(|series| series.0)).finish()
    }
}

#[cfg(test)]
mod tests;
