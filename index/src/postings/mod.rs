//! Postings: sets of series refs, in ascending order.
//!
//! Most label pairs are carried by one series or by those of one target, whose refs follow each
//! other: such a set is a run of numbers and takes no memory beside its two ends. Other short sets
//! are plain sorted lists, for a bitmap costs hundreds of bytes before it holds anything; longer
//! ones are roaring bitmaps.

mod ops;
pub(crate) mod select;

use std::fmt;
use std::ops::Range;

use roaring::{RoaringBitmap, RoaringTreemap, treemap};

use crate::SeriesRef;

/// Longest set that is kept as a list. At this length a list is about as large as the bitmap.
const LIST_LIMIT: usize = 64;

/// A bitmap is looked over for runs whenever it has doubled from this length on.
const COMPRESS_FROM: u64 = 4096;

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
    /// All numbers from `first` on; none at all if `len` is zero.
    Run { first: u64, len: u32 },
    /// Ascending, at most [`LIST_LIMIT`] long.
    List(Vec<u64>),
    /// Any number.
    Map(Box<Map>),
}

/// A bitmap that knows its length.
#[derive(Clone)]
struct Map {
    refs: RoaringTreemap,
    len: u64,
}

impl Map {
    fn new(refs: RoaringTreemap) -> Box<Self> {
        let len = refs.len();
        Box::new(Self { refs, len })
    }

    fn insert(&mut self, series: u64) -> bool {
        let is_new = self.refs.insert(series);
        if is_new {
            self.grown(1);
        }
        is_new
    }

    fn insert_range(&mut self, range: Range<u64>) {
        let n_new = self.refs.insert_range(range);
        self.grown(n_new);
    }

    /// Counts what was added, and looks for runs when the set has doubled since the last time.
    fn grown(&mut self, n_new: u64) {
        let before = self.len;
        self.len += n_new;
        if self.len >= COMPRESS_FROM && before.checked_ilog2() != self.len.checked_ilog2() {
            self.refs.optimize();
        }
    }
}

impl Repr {
    /// The run of a range, which is not the whole of 64 bits.
    fn run(range: Range<u64>) -> Self {
        match u32::try_from(range.end.saturating_sub(range.start)) {
            Ok(len) => Self::Run { first: range.start, len },
            Err(_) => {
                let mut refs = RoaringTreemap::new();
                refs.insert_range(range);
                Self::Map(Map::new(refs))
            }
        }
    }
}

/// The numbers of a run.
fn numbers(first: u64, len: u32) -> Range<u64> {
    // A run ends at the largest number at most, which is never given to a series by a store.
    first..first.saturating_add(u64::from(len))
}

impl Postings {
    /// Makes an empty set, without allocating.
    pub const fn new() -> Self {
        Self { repr: Repr::Run { first: 0, len: 0 } }
    }

    /// Adds `series`; tells whether it is new.
    pub fn insert(&mut self, series: SeriesRef) -> bool {
        let SeriesRef(series) = series;
        match &mut self.repr {
            Repr::Run { first, len: len @ 0 } if series < u64::MAX => {
                (*first, *len) = (series, 1);
                true
            }
            Repr::Run { first, len } if numbers(*first, *len).contains(&series) => false,
            Repr::Run { first, len }
                if numbers(*first, *len).end == series && *len < u32::MAX && series < u64::MAX =>
            {
                *len += 1;
                true
            }
            Repr::Run { .. } => {
                self.leave_run(1);
                self.insert(SeriesRef(series))
            }
            Repr::List(list) => {
                let Err(at) = list.binary_search(&series) else { return false };
                if list.len() < LIST_LIMIT {
                    if list.len() == list.capacity() {
                        // There may be millions of such lists, most of which stay short.
                        list.reserve_exact(1 + list.len() / 2);
                    }
                    list.insert(at, series);
                } else {
                    let mut map = Map::new(list.iter().copied().collect());
                    map.insert(series);
                    self.repr = Repr::Map(map);
                }
                true
            }
            Repr::Map(map) => map.insert(series),
        }
    }

    /// Adds all numbers of `range`.
    pub(crate) fn insert_range(&mut self, range: Range<u64>) {
        let n = range.end.saturating_sub(range.start);
        if n <= 1 {
            if n == 1 {
                self.insert(SeriesRef(range.start));
            }
            return;
        }
        if let Repr::Run { first, len } = self.repr {
            let own = numbers(first, len);
            let both = own.start.min(range.start)..own.end.max(range.end);
            if own.is_empty() {
                self.repr = Repr::run(range);
                return;
            }
            if own.end >= range.start && range.end >= own.start {
                self.repr = Repr::run(both);
                return;
            }
            self.leave_run(n);
        }
        if let Repr::List(list) = &self.repr
            && list.len() as u64 + n > LIST_LIMIT as u64
        {
            self.repr = Repr::Map(Map::new(list.iter().copied().collect()));
        }
        match &mut self.repr {
            Repr::Map(map) => map.insert_range(range),
            _ => {
                for series in range {
                    self.insert(SeriesRef(series));
                }
            }
        }
    }

    /// Turns a run into a form that takes `n` other numbers too.
    fn leave_run(&mut self, n: u64) {
        let Repr::Run { first, len } = self.repr else { return };
        let range = numbers(first, len);
        self.repr = if u64::from(len).saturating_add(n) <= LIST_LIMIT as u64 {
            Repr::List(range.collect())
        } else {
            let mut refs = RoaringTreemap::new();
            refs.insert_range(range);
            Repr::Map(Map::new(refs))
        };
    }

    /// Removes `series`; tells whether it was there.
    pub fn remove(&mut self, series: SeriesRef) -> bool {
        let SeriesRef(series) = series;
        match &mut self.repr {
            Repr::Run { first, len } => {
                let range = numbers(*first, *len);
                if !range.contains(&series) {
                    return false;
                }
                if series + 1 == range.end {
                    *len -= 1;
                } else if series == range.start {
                    (*first, *len) = (series + 1, *len - 1);
                } else {
                    self.leave_run(0);
                    self.remove(SeriesRef(series));
                }
                true
            }
            Repr::List(list) => match list.binary_search(&series) {
                Ok(at) => {
                    list.remove(at);
                    true
                }
                Err(_) => false,
            },
            Repr::Map(map) => {
                let was_there = map.refs.remove(series);
                map.len -= u64::from(was_there);
                was_there
            }
        }
    }

    /// Removes every ref from `first` on.
    pub fn remove_from(&mut self, first: SeriesRef) {
        match &mut self.repr {
            Repr::Run { first: start, len } => {
                let range = numbers(*start, *len);
                self.repr = Repr::run(range.start..range.end.min(first.0));
            }
            Repr::List(list) => list.truncate(list.partition_point(|&series| series < first.0)),
            Repr::Map(map) => map.len -= map.refs.remove_range(first.0..),
        }
    }

    /// Tells whether `series` is in the set.
    pub fn contains(&self, series: SeriesRef) -> bool {
        match &self.repr {
            Repr::Run { first, len } => numbers(*first, *len).contains(&series.0),
            Repr::List(list) => list.binary_search(&series.0).is_ok(),
            Repr::Map(map) => map.refs.contains(series.0),
        }
    }

    /// Number of series.
    pub fn len(&self) -> u64 {
        match &self.repr {
            Repr::Run { len, .. } => u64::from(*len),
            Repr::List(list) => list.len() as u64,
            Repr::Map(map) => map.len,
        }
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The smallest ref.
    pub fn first(&self) -> Option<SeriesRef> {
        match &self.repr {
            Repr::Run { first, len } => (*len > 0).then_some(*first),
            Repr::List(list) => list.first().copied(),
            Repr::Map(map) => map.refs.min(),
        }
        .map(SeriesRef)
    }

    /// The largest ref.
    pub fn last(&self) -> Option<SeriesRef> {
        match &self.repr {
            Repr::Run { first, len } => numbers(*first, *len).next_back(),
            Repr::List(list) => list.last().copied(),
            Repr::Map(map) => map.refs.max(),
        }
        .map(SeriesRef)
    }

    /// Iterates in ascending order.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            repr: match &self.repr {
                Repr::Run { first, len } => ReprIter::Run(numbers(*first, *len)),
                Repr::List(list) => ReprIter::List(list.iter()),
                Repr::Map(map) => ReprIter::Map(Box::new(map.refs.iter())),
            },
        }
    }

    /// Makes the set of a list in ascending order without repetitions.
    pub(crate) fn from_ascending(list: Vec<u64>) -> Self {
        debug_assert!(list.is_sorted_by(|a, b| a < b), "refs ascend");
        let repr = match (list.first(), list.last()) {
            (None, _) | (_, None) => return Self::new(),
            (Some(first), Some(last)) if last - first < list.len() as u64 && *last < u64::MAX => {
                Repr::run(*first..last + 1)
            }
            _ if list.len() <= LIST_LIMIT => Repr::List(list),
            _ => {
                let refs = RoaringTreemap::from_sorted_iter(list).expect("the list is sorted");
                Repr::Map(Map::new(refs))
            }
        };
        Self { repr }
    }

    /// Makes the set of a bitmap.
    pub(crate) fn from_bitmap(refs: RoaringBitmap) -> Self {
        if refs.len() <= LIST_LIMIT as u64 {
            return Self::from_ascending(refs.iter().map(u64::from).collect());
        }
        Self { repr: Repr::Map(Map::new(RoaringTreemap::from_bitmaps([(0, refs)]))) }
    }

    /// Gives memory back after much was removed.
    pub(crate) fn shrink(&mut self) {
        let (Some(first), Some(last)) = (self.first(), self.last()) else {
            *self = Self::new();
            return;
        };
        if last.0 - first.0 < self.len() && last.0 < u64::MAX {
            self.repr = Repr::run(first.0..last.0 + 1);
        }
        match &mut self.repr {
            Repr::Run { .. } => {}
            Repr::List(list) => list.shrink_to_fit(),
            // Half the limit, so that sets around it do not change form at every step.
            Repr::Map(map) if map.len <= LIST_LIMIT as u64 / 2 => {
                self.repr = Repr::List(map.refs.iter().collect());
            }
            Repr::Map(_) => {}
        }
    }

    /// Bytes on the heap, about.
    pub(crate) fn heap_bytes(&self) -> u64 {
        /// What a container of a bitmap and its buffer take beside their content.
        const CONTAINER_BYTES: u64 = 32 + 16;
        /// The boxed map and a node of its tree of bitmaps.
        const MAP_BYTES: u64 = 48 + 400;
        match &self.repr {
            Repr::Run { .. } => 0,
            Repr::List(list) => 16 + 8 * list.capacity() as u64,
            Repr::Map(map) => map.refs.bitmaps().fold(MAP_BYTES, |bytes, (_, bitmap)| {
                let stats = bitmap.statistics();
                bytes
                    + u64::from(stats.n_containers) * CONTAINER_BYTES
                    + stats.n_bytes_array_containers
                    + stats.n_bytes_run_containers
                    + stats.n_bytes_bitset_containers
            }),
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
            (Repr::Map(a), Repr::Map(b)) => a.len == b.len && a.refs == b.refs,
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
    Run(Range<u64>),
    List(std::slice::Iter<'a, u64>),
    Map(Box<treemap::Iter<'a>>),
}

impl Iter<'_> {
    /// Skips the refs below `series`.
    pub fn advance_to(&mut self, series: SeriesRef) {
        match &mut self.repr {
            ReprIter::Run(range) => range.start = range.start.max(series.0).min(range.end),
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
            ReprIter::Run(range) => range.next(),
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
