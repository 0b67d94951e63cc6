//! The postings of an index file that is being written, as gaps.
//!
//! Series come in label order, so those of a pair are near to each other: the difference of their
//! numbers mostly takes one byte, two where a target has one series in each metric.

use ferula_chunkenc::cursor::put_uvarint;
use hashbrown::HashTable;

use crate::Error;

/// The series of each label pair, by the number that the pair was given here.
#[derive(Debug, Default)]
pub(crate) struct GapPostings {
    /// Ref of each series.
    refs: Vec<u32>,
    pairs: Vec<Pair>,
    by_symbols: HashTable<u32>,
}

/// A label pair and its series.
#[derive(Debug)]
struct Pair {
    name: u32,
    value: u32,
    /// Number of the last series.
    last: u32,
    n_series: u32,
    /// The number of its first series and the differences from one to the next, base 128; empty while
    /// there is one series only, as with many a pair.
    gaps: Vec<u8>,
}

impl GapPostings {
    /// The number of the pair of two symbols, which is added if it is new.
    pub(crate) fn number(&mut self, (name, value): (u32, u32)) -> Result<u32, Error> {
        let Self { pairs, by_symbols, .. } = self;
        let is_it =
            |&at: &u32| (pairs[at as usize].name, pairs[at as usize].value) == (name, value);
        if let Some(known) = by_symbols.find(hash(name, value), is_it) {
            return Ok(*known);
        }
        let too_many = |_| Error::TooManySymbols { limit: u32::MAX };
        let number = u32::try_from(pairs.len()).map_err(too_many)?;
        reserve(pairs);
        pairs.push(Pair { name, value, last: 0, n_series: 0, gaps: Vec::new() });
        by_symbols.insert_unique(hash(name, value), number, |&at| {
            hash(pairs[at as usize].name, pairs[at as usize].value)
        });
        Ok(number)
    }

    /// The symbols of a pair.
    pub(crate) fn pair(&self, pair: u32) -> (u32, u32) {
        let Pair { name, value, .. } = self.pairs[pair as usize];
        (name, value)
    }

    /// Adds the next series with its pairs.
    pub(crate) fn add(&mut self, series: u32, pairs: &[u32]) {
        let number = u32::try_from(self.refs.len()).expect("refs of 32 bits ascend");
        reserve(&mut self.refs);
        self.refs.push(series);
        for &pair in pairs {
            let Pair { last, n_series, gaps, .. } = &mut self.pairs[pair as usize];
            if *n_series > 0 {
                // The first one is a gap to zero, and written once there is a second.
                let first = (*n_series == 1).then_some(*last);
                for gap in first.into_iter().chain([number - *last]) {
                    put_uvarint(gaps, u64::from(gap));
                }
            }
            (*last, *n_series) = (number, *n_series + 1);
        }
    }

    /// Number of all series.
    pub(crate) fn n_series(&self) -> u32 {
        u32::try_from(self.refs.len()).expect("refs of 32 bits ascend")
    }

    /// The refs of all series.
    pub(crate) fn all(&self) -> impl Iterator<Item = u32> {
        self.refs.iter().copied()
    }

    /// Number of series of a pair.
    pub(crate) fn n_series_of(&self, pair: u32) -> u32 {
        self.pairs[pair as usize].n_series
    }

    /// The refs of the series of a pair.
    pub(crate) fn series(&self, pair: u32) -> impl Iterator<Item = u32> {
        let Pair { last, n_series, gaps, .. } = &self.pairs[pair as usize];
        let single = (*n_series == 1).then_some(*last);
        let mut bytes = gaps.iter();
        let mut number = 0;
        let many = std::iter::from_fn(move || {
            let (mut gap, mut shift) = (0, 0);
            loop {
                let byte = bytes.next()?;
                gap |= u32::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
                shift += 7;
            }
            number += gap;
            Some(number)
        });
        single.into_iter().chain(many).map(|number| self.refs[number as usize])
    }

    /// The pairs that have series, in the order of their symbols, which is that of their text.
    pub(crate) fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> =
            (0..).zip(&self.pairs).filter(|(_, pair)| pair.n_series > 0).map(|(n, _)| n).collect();
        order.sort_unstable_by_key(|pair| self.pair(*pair));
        order
    }
}

/// Makes room for one more item, by a quarter rather than by doubling.
fn reserve<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(16.max(list.len() / 4));
    }
}

/// Symbols count up: one multiplication spreads them over the table.
fn hash(name: u32, value: u32) -> u64 {
    (u64::from(name) << 32 | u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn postings_come_out_as_they_went_in(
            series in prop::collection::vec((1..1000_u32, prop::collection::btree_set(0..40_u32, 0..8)), 0..300)
        ) {
            let mut postings = GapPostings::default();
            let mut model: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
            let (mut all, mut series_ref) = (Vec::new(), 0);
            for (gap, values) in series {
                series_ref += gap;
                all.push(series_ref);
                let symbols: Vec<(u32, u32)> = values.iter().map(|v| (v % 3, v * v)).collect();
                let pairs: Vec<u32> =
                    symbols.iter().map(|pair| postings.number(*pair).unwrap()).collect();
                postings.add(series_ref, &pairs);
                for pair in symbols {
                    model.entry(pair).or_default().push(series_ref);
                }
            }
            prop_assert!(postings.all().eq(all));
            let order = postings.order();
            prop_assert!(order.iter().map(|pair| postings.pair(*pair)).eq(model.keys().copied()));
            for (pair, expected) in order.into_iter().zip(model.values()) {
                prop_assert_eq!(postings.n_series_of(pair) as usize, expected.len());
                prop_assert!(postings.series(pair).eq(expected.iter().copied()));
            }
        }
    }
}
