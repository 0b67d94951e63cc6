//! Series in label order, without making their labels.
//!
//! The label pairs that occur among the series are few compared with the series. They are sorted
//! once, by name and then by value, and numbered in that order; a series is the list of its pairs'
//! ranks then, and comparing two lists is comparing two label sets: where the first pairs that
//! differ have other names, the smaller name has the smaller rank, and a list that ends is smaller
//! than one that goes on, for ranks begin at one.
//!
//! Several ranks are packed into one number, the first in the highest bits, so that sorting compares
//! numbers. Large groups are split by one rank at a time first, with eight bytes for each series;
//! what is left below [`SCRATCH_SERIES`] is packed and sorted in a buffer of a few megabytes.

use std::cmp::Ordering;
use std::ops::Range;

use super::dictionary::{Dictionary, PairId};
use super::{HeadIndex, LABELS_BATCH};
use crate::pace::{Pace, sort_paced};
use crate::postings::Postings;
use crate::{Labels, SeriesRef};

/// Largest group that is sorted by packed ranks; small in tests, so that they split.
const SCRATCH_SERIES: usize = if cfg!(test) { 4 } else { 1 << 17 };

/// Most ranks that are packed into one number; few in tests, so that they go on to a second one.
const MAX_PACKED: u32 = if cfg!(test) { 2 } else { u128::BITS };

/// Most label pairs that are sorted under one hold of the dictionary's lock.
const SORT_BATCH: usize = 1 << 14;

/// Series in label order, each with its labels, which are made on the way.
///
/// Takes 12 bytes for each series.
#[derive(Debug)]
pub struct Ordered<'a> {
    index: &'a HeadIndex,
    series: Vec<SeriesRef>,
    /// Places in `series`.
    order: std::vec::IntoIter<u32>,
    batch: std::iter::Zip<std::vec::IntoIter<SeriesRef>, std::vec::IntoIter<Option<Labels>>>,
}

impl HeadIndex {
    /// The label order of `series`: places in the slice. Series that are gone are left out.
    ///
    /// Besides what is returned it takes sixteen bytes for each series, eight for each label pair of
    /// the index, and some megabytes.
    ///
    /// # Panics
    /// If there are 2³² or more.
    ///
    /// ```
    /// use ferula_index::{Labels, head::HeadIndex};
    ///
    /// let index = HeadIndex::new();
    /// let mut series = Vec::new();
    /// for job in ["db", "api", "web"] {
    ///     series.push(index.get_or_create(&Labels::from_pairs([("job", job)])?)?.0);
    /// }
    /// assert_eq!(index.order(&series), [1, 0, 2]);
    /// # Ok::<(), ferula_index::Error>(())
    /// ```
    pub fn order(&self, series: &[SeriesRef]) -> Vec<u32> {
        self.order_paced(series, &Pace::steady()).unwrap_or_default()
    }

    /// Finds what [`order`](Self::order) does, as long as `pace` goes on; `None` if it did not to the end.
    ///
    /// # Panics
    /// If there are 2³² or more.
    pub fn order_paced(&self, series: &[SeriesRef], pace: &Pace<'_>) -> Option<Vec<u32>> {
        // Keeps the numbers of pairs from standing for others until all is sorted.
        let _in_use = self.releasing.read_recursive();
        let mut present = Vec::with_capacity(series.len());
        let mut seen = PairSet::default();
        let mut places = 0_u32..;
        // Neighbours in a page are read under one lock; so the places of those that are gone are
        // found by comparing.
        for part in series.chunks(SORT_BATCH).take_while(|_| pace.asks()) {
            self.series.read_each(part.iter().copied(), |found, pairs| {
                seen.extend(pairs);
                let place = places.find(|place| series[*place as usize] == found);
                let place = place.expect("fewer than 2^32 series, read in their order");
                present.push(u64::from(place));
            });
        }
        let ranks = self.ranks(seen, pace)?;
        let mut sorter = Sorter::new(self, series, ranks, present, pace);
        sorter.sort();
        pace.found(sorter.keys).map(|keys| keys.into_iter().map(low).collect())
    }

    /// Iterates over `series` in label order. Labels are made on the way, some at a time, so that
    /// even all series of a large index can be walked over. Series that are gone are left out.
    pub fn ordered(&self, series: &Postings) -> Ordered<'_> {
        let series: Vec<SeriesRef> = series.iter().collect();
        let order = self.order(&series).into_iter();
        Ordered { index: self, series, order, batch: Vec::new().into_iter().zip(Vec::new()) }
    }

    /// The labels of `series`, in label order. Series that are gone are left out.
    pub fn sorted(&self, series: &Postings) -> Vec<(Labels, SeriesRef)> {
        self.ordered(series).collect()
    }

    /// All label names and values of `series`, sorted, each once: what an index file of them begins
    /// with.
    pub fn symbols_of(&self, series: &Postings) -> Vec<String> {
        let _in_use = self.releasing.read_recursive();
        let mut seen = PairSet::default();
        self.series.read_each(series.iter(), |_, pairs| seen.extend(pairs));
        let mut symbols = Vec::new();
        for batch in seen.into_pairs().chunks(SORT_BATCH) {
            let dictionary = self.dictionary.read();
            let texts = batch.iter().map(|&pair| dictionary.text(pair));
            symbols.extend(texts.flat_map(|(name, value)| [name.to_owned(), value.to_owned()]));
            drop(dictionary);
            // Names and common values come again and again.
            symbols.sort_unstable();
            symbols.dedup();
        }
        symbols
    }

    /// The rank of each pair by its number; zero for those that were not seen.
    fn ranks(&self, seen: PairSet, pace: &Pace<'_>) -> Option<Ranks> {
        let mut pairs = seen.into_pairs();
        if pairs.len() <= SORT_BATCH {
            let dictionary = self.dictionary.read();
            pairs.sort_unstable_by(|a, b| compare(&dictionary, *a, *b));
        } else {
            // Nobody shall wait for so many.
            let by_text = |a: &PairId, b: &PairId| compare(&self.dictionary.read(), *a, *b);
            if !sort_paced(&mut pairs, SORT_BATCH, by_text, pace) {
                return None;
            }
        }
        let n_numbers = pairs.iter().map(|pair| pair.0 as usize + 1).max().unwrap_or_default();
        let mut by_pair = vec![0; n_numbers];
        for (rank, pair) in (1..).zip(&pairs) {
            by_pair[pair.0 as usize] = rank;
        }
        Some(Ranks { by_pair, n_ranks: pairs.len() })
    }
}

impl Iterator for Ordered<'_> {
    type Item = (Labels, SeriesRef);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for (series, labels) in self.batch.by_ref() {
                if let Some(labels) = labels {
                    return Some((labels, series));
                }
            }
            let places = self.order.by_ref().take(LABELS_BATCH);
            let series: Vec<SeriesRef> = places.map(|at| self.series[at as usize]).collect();
            if series.is_empty() {
                return None;
            }
            let labels = self.index.labels_of(&series);
            self.batch = series.into_iter().zip(labels);
        }
    }
}

fn compare(dictionary: &Dictionary, a: PairId, b: PairId) -> Ordering {
    dictionary.text(a).cmp(&dictionary.text(b))
}

/// A set of label pairs.
#[derive(Default)]
struct PairSet {
    words: Vec<u64>,
}

impl PairSet {
    fn extend(&mut self, pairs: impl Iterator<Item = PairId>) {
        for PairId(pair) in pairs {
            let word = (pair / 64) as usize;
            if word >= self.words.len() {
                self.words.resize(word + 1 + word / 4, 0);
            }
            self.words[word] |= 1 << (pair % 64);
        }
    }

    fn into_pairs(self) -> Vec<PairId> {
        let mut pairs =
            Vec::with_capacity(self.words.iter().map(|w| w.count_ones() as usize).sum());
        for (first, mut word) in (0..).step_by(64).zip(self.words) {
            while word != 0 {
                pairs.push(PairId(first + word.trailing_zeros()));
                word &= word - 1;
            }
        }
        pairs
    }
}

/// Label pairs by number, in the order of their names and values.
struct Ranks {
    by_pair: Vec<u32>,
    n_ranks: usize,
}

impl Ranks {
    fn of(&self, pair: PairId) -> u32 {
        self.by_pair.get(pair.0 as usize).copied().unwrap_or_default()
    }
}

/// Sorts series by the ranks of their pairs.
struct Sorter<'a> {
    index: &'a HeadIndex,
    series: &'a [SeriesRef],
    ranks: Ranks,
    /// Bits that a rank takes, and how many of them a packed number holds.
    rank_bits: u32,
    per_number: usize,
    /// Places in `series`, in the lower half; in the upper one some rank.
    keys: Vec<u64>,
    scratch: Vec<(u128, u32)>,
    /// Groups of series whose first pairs are the same, with the number of these.
    groups: Vec<(Range<usize>, usize)>,
    pace: &'a Pace<'a>,
}

impl<'a> Sorter<'a> {
    fn new(
        index: &'a HeadIndex,
        series: &'a [SeriesRef],
        ranks: Ranks,
        keys: Vec<u64>,
        pace: &'a Pace<'a>,
    ) -> Self {
        let rank_bits = usize::BITS - ranks.n_ranks.leading_zeros();
        let rank_bits = rank_bits.max(1);
        let per_number = (u128::BITS / rank_bits).min(MAX_PACKED) as usize;
        let (scratch, groups) = (Vec::new(), Vec::new());
        Self { index, series, ranks, rank_bits, per_number, keys, scratch, groups, pace }
    }

    fn sort(&mut self) {
        self.groups.push((0..self.keys.len(), 0));
        while let Some((group, depth)) = self.groups.pop() {
            // What is left of groups is small; the others ask on the way.
            if !self.pace.goes_on() {
                return;
            }
            match group.len() {
                0 | 1 => {}
                2..=SCRATCH_SERIES => self.sort_small(group, depth),
                _ => self.split(group, depth),
            }
        }
    }

    /// Sorts a group by its next rank.
    fn split(&mut self, group: Range<usize>, depth: usize) {
        let Self { index, series, ranks, keys, pace, .. } = self;
        let group_keys = &mut keys[group.clone()];
        for key in group_keys.iter_mut().take_while(|_| pace.goes_on()) {
            let at = low(*key);
            let rank = index.series.read(series[at as usize], |mut pairs| {
                pairs.nth(depth).map_or(0, |pair| ranks.of(pair))
            });
            *key = u64::from(rank.unwrap_or_default()) << 32 | u64::from(at);
        }
        if !sort_paced(group_keys, SCRATCH_SERIES, u64::cmp, pace) {
            return;
        }
        let mut start = group.start;
        for same in group_keys.chunk_by(|a, b| a >> 32 == b >> 32) {
            // What has no rank here has ended: nothing is left to compare.
            if same[0] >> 32 != 0 {
                self.groups.push((start..start + same.len(), depth + 1));
            }
            start += same.len();
        }
    }

    /// Sorts a group by as many ranks as fit one number.
    fn sort_small(&mut self, group: Range<usize>, depth: usize) {
        let Self { index, series, ranks, keys, scratch, .. } = self;
        let (bits, per_number) = (self.rank_bits, self.per_number);
        scratch.clear();
        for key in &keys[group.clone()] {
            let at = low(*key);
            let packed = index.series.read(series[at as usize], |pairs| {
                let mut packed = 0_u128;
                let mut left = per_number;
                for pair in pairs.skip(depth).take(per_number) {
                    packed = packed << bits | u128::from(ranks.of(pair));
                    left -= 1;
                }
                // In two steps, for the width may be all there is.
                let shift = bits * u32::try_from(left).expect("at most 128");
                if shift < u128::BITS { packed << shift } else { 0 }
            });
            scratch.push((packed.unwrap_or_default(), at));
        }
        scratch.sort_unstable();
        for (key, (_, at)) in keys[group.clone()].iter_mut().zip(scratch.iter()) {
            *key = u64::from(*at);
        }
        let mut start = group.start;
        let last_rank = (1_u128 << bits) - 1;
        for same in scratch.chunk_by(|a, b| a.0 == b.0) {
            // Those that ended within the number are the same series.
            if same.len() > 1 && same[0].0 & last_rank != 0 {
                self.groups.push((start..start + same.len(), depth + per_number));
            }
            start += same.len();
        }
    }
}

/// The place in a key.
fn low(key: u64) -> u32 {
    u32::try_from(key & 0xffff_ffff).expect("cut to 32 bits")
}
