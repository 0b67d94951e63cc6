//! And, or, and-not of postings, in place.

use roaring::RoaringTreemap;

use super::{Postings, Repr};
use crate::SeriesRef;

impl Postings {
    /// Keeps the refs that are in `other` too.
    pub fn intersect(&mut self, other: &Self) {
        match (&mut self.repr, &other.repr) {
            (Repr::List(list), _) => list.retain(|&series| other.contains(SeriesRef(series))),
            (Repr::Map(map), Repr::List(list)) => {
                let kept = list.iter().copied().filter(|&series| map.contains(series)).collect();
                self.repr = Repr::List(kept);
            }
            (Repr::Map(a), Repr::Map(b)) => *a &= b,
        }
    }

    /// Adds the refs of `other`.
    pub fn unite(&mut self, other: &Self) {
        match (&mut self.repr, &other.repr) {
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
            (Repr::Map(a), Repr::Map(b)) => *a |= b,
        }
    }

    /// Removes the refs of `other`.
    pub fn subtract(&mut self, other: &Self) {
        match (&mut self.repr, &other.repr) {
            (Repr::List(list), _) => list.retain(|&series| !other.contains(SeriesRef(series))),
            (Repr::Map(map), Repr::List(list)) => {
                for &series in list {
                    map.remove(series);
                }
            }
            (Repr::Map(a), Repr::Map(b)) => *a -= b,
        }
    }

    /// Tells whether no ref is in both.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        match (&self.repr, &other.repr) {
            (Repr::List(list), _) => !list.iter().any(|&s| other.contains(SeriesRef(s))),
            (_, Repr::List(list)) => !list.iter().any(|&s| self.contains(SeriesRef(s))),
            (Repr::Map(a), Repr::Map(b)) => a.is_disjoint(b),
        }
    }
}

fn extend(map: &mut RoaringTreemap, list: &[u64]) {
    for &series in list {
        map.insert(series);
    }
}
