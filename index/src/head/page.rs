//! Pages: the label pairs of 64 series with refs in sequence, packed.
//!
//! Series with neighbouring refs are mostly those of one target and share most of their pairs. One
//! of them is written out, those behind it only say which of its pairs they have too, and list the
//! others:
//!
//! ```text
//! written out   n, then n pairs
//! by another    which of its pairs are used (16 bits) · which of the own positions are listed (16)
//!               then the listed pairs
//! ```
//!
//! Both are in the order of the label names, so the two lists are merged by position without
//! looking at names. Series with many labels are kept aside.

use super::dictionary::PairId;
use super::tight;

/// Series of a page.
pub(super) const PAGE_SERIES: usize = 64;

/// Most labels of a series that is written by another one, or that others are written by.
const MAX_SHARED: usize = 16;

/// Most labels of a series within the page: so many times 64 words have offsets of 16 bits.
const MAX_PACKED: usize = 500;

/// The label pairs of the series from `number` × 64 on.
#[derive(Debug)]
pub(super) struct Page {
    /// Which series there are, by bits.
    present: u64,
    number: u64,
    /// One for each series, in order.
    entries: Vec<Entry>,
    words: Vec<u32>,
    /// Series with more than [`MAX_PACKED`] labels, by slot.
    wide: Vec<Wide>,
    /// Where the newest series is that is written out.
    anchor: u16,
}

/// Where a series is in the words of its page.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u16,
    /// Where the series is by which this one is written; `start` if it is written out.
    anchor: u16,
}

/// A slot and the pairs of its series.
type Wide = (u8, Box<[u32]>);

/// Stands for no place in the words.
const NOWHERE: u16 = u16::MAX;

/// The label pairs of a series, in the order of the label names.
#[derive(Clone, Debug)]
pub(super) struct Pairs<'a> {
    /// Pairs that are listed.
    own: std::slice::Iter<'a, u32>,
    /// Whether the next positions are listed, from the lowest bit on; shifted with its sign, so that
    /// -1 says so of all.
    is_own: i32,
    /// Pairs of the other series, and which of them are used.
    shared: &'a [u32],
    used: u32,
}

impl Iterator for Pairs<'_> {
    type Item = PairId;

    fn next(&mut self) -> Option<PairId> {
        let is_own = self.is_own & 1 != 0;
        self.is_own >>= 1;
        if is_own {
            return self.own.next().map(|&pair| PairId(pair));
        }
        if self.used == 0 {
            return None;
        }
        let at = self.used.trailing_zeros() as usize;
        self.used &= self.used - 1;
        self.shared.get(at).map(|&pair| PairId(pair))
    }
}

impl Page {
    pub(super) fn new(number: u64) -> Self {
        Self {
            present: 0,
            number,
            entries: Vec::new(),
            words: Vec::new(),
            wide: Vec::new(),
            anchor: NOWHERE,
        }
    }

    /// Which page it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Tells whether a series is there.
    pub(super) fn has(&self, slot: usize) -> bool {
        self.present >> slot & 1 != 0
    }

    /// Tells whether no series is there.
    pub(super) fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Adds a series that is not there.
    pub(super) fn insert(&mut self, slot: usize, pairs: &[PairId]) {
        let entry = self.pack(slot, pairs);
        let rank = self.rank(slot);
        tight::reserve(&mut self.entries, 1);
        self.entries.insert(rank, entry);
        self.present |= 1 << slot;
        if self.present == u64::MAX {
            self.entries.shrink_to_fit();
            self.words.shrink_to_fit();
        }
    }

    /// Takes a series out. Its words stay until [`Page::tidy`].
    pub(super) fn remove(&mut self, slot: usize) {
        let rank = self.rank(slot);
        self.entries.remove(rank);
        self.present &= !(1 << slot);
    }

    /// Gives back what removed series took.
    pub(super) fn tidy(&mut self) {
        let mut tidied = Self::new(self.number);
        let mut pairs = Vec::new();
        for slot in (0..PAGE_SERIES).filter(|slot| self.has(*slot)) {
            pairs.clear();
            pairs.extend(self.pairs(slot));
            tidied.insert(slot, &pairs);
        }
        tidied.entries.shrink_to_fit();
        tidied.words.shrink_to_fit();
        *self = tidied;
    }

    /// The pairs of a series that is there.
    pub(super) fn pairs(&self, slot: usize) -> Pairs<'_> {
        let Entry { start, anchor } = self.entries[self.rank(slot)];
        if start == NOWHERE {
            let wide = self.wide.iter().find(|(at, _)| usize::from(*at) == slot);
            let pairs = wide.map(|(_, pairs)| pairs);
            return Pairs::listed(pairs.map_or(&[], |pairs| pairs));
        }
        let words = &self.words[usize::from(start)..];
        if start == anchor {
            return Pairs::listed(&words[1..][..words[0] as usize]);
        }
        let (used, own) = (words[0] >> 16, words[0] & 0xffff);
        let anchor = &self.words[usize::from(anchor)..];
        Pairs {
            own: words[1..][..own.count_ones() as usize].iter(),
            is_own: own.cast_signed(),
            shared: &anchor[1..][..anchor[0] as usize],
            used,
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let wide = self.wide.iter();
        tight::bytes(&self.entries)
            + tight::bytes(&self.words)
            + wide.map(|(_, pairs)| size_of_val(&**pairs) + 40).sum::<usize>()
    }

    /// Writes a series behind the others.
    fn pack(&mut self, slot: usize, pairs: &[PairId]) -> Entry {
        if pairs.len() > MAX_PACKED || self.words.len() > usize::from(NOWHERE) - MAX_PACKED - 1 {
            let slot = u8::try_from(slot).expect("a page has 64 series");
            self.wide.retain(|(at, _)| *at != slot);
            self.wide.push((slot, pairs.iter().map(|pair| pair.0).collect()));
            return Entry { start: NOWHERE, anchor: NOWHERE };
        }
        let start = u16::try_from(self.words.len()).expect("checked above");
        if let Some((used, own)) = self.shared_with_anchor(pairs) {
            tight::reserve(&mut self.words, 1 + own.count_ones() as usize);
            self.words.push(used << 16 | own);
            let listed = pairs.iter().enumerate().filter(|(at, _)| own >> at & 1 != 0);
            self.words.extend(listed.map(|(_, pair)| pair.0));
            return Entry { start, anchor: self.anchor };
        }
        tight::reserve(&mut self.words, 1 + pairs.len());
        self.words.push(u32::try_from(pairs.len()).expect("checked above"));
        self.words.extend(pairs.iter().map(|pair| pair.0));
        if pairs.len() <= MAX_SHARED {
            self.anchor = start;
        }
        Entry { start, anchor: start }
    }

    /// Which pairs of the series written out last `pairs` has too, and which positions it has to
    /// list; `None` if it shares less than half.
    fn shared_with_anchor(&self, pairs: &[PairId]) -> Option<(u32, u32)> {
        if self.anchor == NOWHERE || pairs.len() > MAX_SHARED {
            return None;
        }
        let anchor = &self.words[usize::from(self.anchor)..];
        let anchor = &anchor[1..][..anchor[0] as usize];
        let (mut used, mut own, mut from) = (0_u32, 0_u32, 0);
        for (at, pair) in pairs.iter().enumerate() {
            match anchor[from..].iter().position(|other| *other == pair.0) {
                Some(further) => {
                    from += further + 1;
                    used |= 1 << (from - 1);
                }
                None => own |= 1 << at,
            }
        }
        (2 * own.count_ones() as usize <= pairs.len()).then_some((used, own))
    }

    /// How many series there are before a slot.
    fn rank(&self, slot: usize) -> usize {
        (self.present & ((1 << slot) - 1)).count_ones() as usize
    }
}

impl<'a> Pairs<'a> {
    fn listed(own: &'a [u32]) -> Self {
        Self { own: own.iter(), is_own: -1, shared: &[], used: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Series as they come: most are like the one before.
    fn series() -> impl Strategy<Value = Vec<PairId>> {
        let pair = prop_oneof![8 => 0..20_u32, 1 => 1000..100_000_u32];
        let own = prop::collection::btree_set(pair, 0..18);
        let many = prop_oneof![8 => Just(0), 1 => 20..40_u32, 1 => 480..600_u32];
        (own, many).prop_map(|(own, many)| {
            own.into_iter().chain(200_000..200_000 + many).map(PairId).collect()
        })
    }

    proptest! {
        #[test]
        fn a_page_gives_back_what_it_took(
            steps in prop::collection::vec((0..PAGE_SERIES, series(), 0..5_u8), 0..60)
        ) {
            let mut page = Page::new(7);
            let mut model: BTreeMap<usize, Vec<PairId>> = BTreeMap::new();
            for (slot, pairs, step) in steps {
                if model.remove(&slot).is_some() {
                    page.remove(slot);
                } else {
                    page.insert(slot, &pairs);
                    model.insert(slot, pairs);
                }
                if step == 0 {
                    page.tidy();
                }
                prop_assert_eq!(page.is_empty(), model.is_empty());
                for slot in 0..PAGE_SERIES {
                    let found = page.has(slot).then(|| page.pairs(slot).collect::<Vec<_>>());
                    prop_assert_eq!(found.as_ref(), model.get(&slot));
                }
            }
        }
    }

    #[test]
    fn series_alike_take_little() {
        let mut page = Page::new(0);
        for slot in 0..64_u32 {
            let own = [0, 100 + slot % 10, 3, 4, 5, 200 + slot % 4, 7, 8, 9, 300 + slot % 5];
            page.insert(slot as usize, &own.map(PairId));
        }
        let per_series = page.heap_bytes() / 64;
        assert!(per_series <= 4 + 4 + 3 * 4 + 1, "{per_series}");
    }
}
