//! The index of the head: series come and go while it is read.
//!
//! Every label pair has a number; a series is the list of its pairs' numbers, and each pair has
//! its postings. All of it lies under striped locks that are held for one step at a time, so that
//! a long scan over label values does not keep appenders from creating series.
//!
//! Memory per series, for ten labels of which three are its own: 17 to 22 bytes in a page of the
//! series table, 8 in the table by hash, and 2 or 3 in the postings of each pair that is not shared
//! with its neighbours.
//!
//! Lock order: `releasing`, a table of `by_hash`, a stripe of `series`, `dictionary`, a stripe of
//! `postings`. `releasing` is only ever tried for writing, and read recursively, so that nobody
//! waits behind somebody who waits.

mod bulk;
mod by_hash;
mod cardinality;
mod dictionary;
mod memory;
mod order;
mod page;
mod pending;
mod postings;
mod project;
mod series;
mod tight;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use self::by_hash::HashIndex;
pub use self::cardinality::{Cardinality, Count};
use self::dictionary::{Dictionary, PairId};
pub use self::memory::IndexMemory;
pub use self::order::Ordered;
use self::pending::Pending;
use self::postings::PairPostings;
use self::series::{SeriesPlace, SeriesTable};
use crate::pace::Pace;
use crate::postings::Postings;
use crate::postings::select::{PostingsSource, select};
use crate::{Error, Labels, Matcher, SeriesRef};

/// Number of locks that each table is spread over.
const STRIPES: usize = 64;

/// How many label values are looked at before the lock is given up for a moment.
const SCAN_BATCH: usize = 1024;

/// For how many series labels are made before the lock is given up for a moment.
const LABELS_BATCH: usize = 128;

/// How long the removal of series waits for selections to end before it leaves the label pairs
/// that nobody uses any more to the next removal.
const RELEASE_PATIENCE: Duration = Duration::from_millis(10);

/// An index of series that many threads extend and read at once.
///
/// ```
/// use ferula_index::{Labels, Matcher, head::HeadIndex};
///
/// let index = HeadIndex::new();
/// let labels = Labels::from_pairs([("__name__", "up"), ("job", "api")])?;
/// let (series, is_new) = index.get_or_create(&labels)?;
/// assert!(is_new);
/// assert_eq!(index.get_or_create(&labels)?, (series, false));
///
/// let selected = index.select(&[Matcher::equal("job", "api")]);
/// assert!(selected.contains(series));
/// assert_eq!(index.labels(series), Some(labels));
/// # Ok::<(), ferula_index::Error>(())
/// ```
#[derive(Debug)]
pub struct HeadIndex {
    dictionary: RwLock<Dictionary>,
    series: SeriesTable,
    by_hash: HashIndex,
    postings: PairPostings,
    pending: Pending,
    /// Read while pair numbers are in use outside of the dictionary, written to release some.
    releasing: RwLock<()>,
    /// Pairs that had no series left when their last one was removed.
    emptied: Mutex<BTreeSet<PairId>>,
}

impl HeadIndex {
    /// Makes an empty index.
    pub fn new() -> Self {
        Self {
            dictionary: RwLock::new(Dictionary::new()),
            series: SeriesTable::new(),
            by_hash: HashIndex::new(),
            postings: PairPostings::new(),
            pending: Pending::new(),
            releasing: RwLock::default(),
            emptied: Mutex::default(),
        }
    }

    /// The series with these labels, if there is one.
    pub fn get(&self, labels: &Labels) -> Option<SeriesRef> {
        self.by_hash.find(labels.stable_hash(), |place| self.with_labels(place, labels))
    }

    /// The series with these labels, created if there is none; tells whether it was.
    ///
    /// Threads that ask for the same labels at the same time get the same series, and one of them
    /// is told that it is new.
    ///
    /// # Errors
    /// [`Error::TooManySymbols`] or [`Error::TooManySeries`] if there are no numbers left.
    pub fn get_or_create(&self, labels: &Labels) -> Result<(SeriesRef, bool), Error> {
        if let Some(series) = self.get(labels) {
            return Ok((series, false));
        }
        self.create(labels, None)
    }

    /// Adds a series under a ref that was given to it earlier, as replay does.
    ///
    /// Returns the ref under which the labels stand: `series`, or the one they had already.
    ///
    /// # Errors
    /// [`Error::SeriesRefTaken`] if `series` is zero or stands for other labels,
    /// [`Error::TooManySymbols`] or [`Error::TooManySeries`] if there are no numbers left.
    pub fn insert(&self, series: SeriesRef, labels: &Labels) -> Result<SeriesRef, Error> {
        self.create(labels, Some(series)).map(|(series, _)| series)
    }

    /// The labels of a series.
    pub fn labels(&self, series: SeriesRef) -> Option<Labels> {
        let mut buffer = String::new();
        self.series.read(series, |pairs| self.dictionary.read().labels(&mut buffer, pairs))
    }

    /// The labels of each of `series`; `None` for those that are gone. Many at once cost less than
    /// one by one.
    pub fn labels_of(&self, series: &[SeriesRef]) -> Vec<Option<Labels>> {
        let mut found = Vec::with_capacity(series.len());
        let (mut pairs, mut ends, mut buffer) = (Vec::new(), Vec::new(), String::new());
        for batch in series.chunks(LABELS_BATCH) {
            // Keeps the numbers of pairs from standing for others between the two steps.
            let _in_use = self.releasing.read_recursive();
            self.pairs_of_each(batch, &mut pairs, &mut ends);
            let dictionary = self.dictionary.read();
            let mut start = 0;
            for end in &ends {
                found.push(end.map(|end| {
                    let of_series = &pairs[std::mem::replace(&mut start, end)..end];
                    dictionary.labels(&mut buffer, of_series.iter().copied())
                }));
            }
        }
        found
    }

    /// The series that pass all `matchers`; without matchers, all of them.
    pub fn select(&self, matchers: &[Matcher]) -> Postings {
        self.select_paced(matchers, &Pace::steady()).unwrap_or_default()
    }

    /// Selects as [`select`](Self::select) does, as long as `pace` goes on; `None` if it did not to the end.
    pub fn select_paced(&self, matchers: &[Matcher], pace: &Pace<'_>) -> Option<Postings> {
        let _in_use = self.releasing.read_recursive();
        let incomplete = self.pending.incomplete();
        let Ok(selected) = select(self, matchers, pace);
        let mut selected = selected?;
        incomplete.drop_from(&mut selected);
        Some(selected)
    }

    /// The label names of the series that pass all `matchers`, sorted.
    pub fn label_names(&self, matchers: &[Matcher]) -> Vec<String> {
        let _in_use = self.releasing.read_recursive();
        if matchers.is_empty() {
            let dictionary = self.dictionary.read();
            let has_series = |pair| self.postings.read(pair, |series| !series.is_empty());
            let mut names: Vec<String> = dictionary
                .names()
                .filter_map(|(name, mut pairs)| pairs.any(has_series).then(|| name.to_owned()))
                .collect();
            names.sort_unstable();
            return names;
        }
        let mut pairs = BTreeSet::new();
        self.series.read_each(self.select(matchers).iter(), |_, of_series| pairs.extend(of_series));
        let dictionary = self.dictionary.read();
        let names: BTreeSet<&str> = pairs.iter().map(|&pair| dictionary.text(pair).0).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The values that the label `name` has in the series that pass all `matchers`, sorted.
    pub fn label_values(&self, name: &str, matchers: &[Matcher]) -> Vec<String> {
        let _in_use = self.releasing.read_recursive();
        let mut pairs = self.dictionary.read().pairs_of(name);
        if matchers.is_empty() {
            pairs.retain(|&pair| self.postings.read(pair, |series| !series.is_empty()));
        } else {
            let selected = self.select(matchers);
            pairs.retain(|&pair| self.postings.read(pair, |series| !series.is_disjoint(&selected)));
        }
        let dictionary = self.dictionary.read();
        let mut values: Vec<String> =
            pairs.into_iter().map(|pair| dictionary.value(pair).to_owned()).collect();
        values.sort_unstable();
        values
    }

    /// Removes series, and with them the label pairs that no other series has. Returns how many
    /// there were to remove.
    pub fn remove(&self, series: &Postings) -> u64 {
        let refs: Vec<SeriesRef> = series.iter().collect();
        let mut gone = Vec::new();
        let mut by_pair: BTreeMap<PairId, Vec<u64>> = BTreeMap::new();
        let mut pairs = Vec::new();
        for page in refs.chunk_by(|a, b| SeriesTable::are_near(*a, *b)) {
            for (&series, labels) in page.iter().zip(self.labels_of(page)) {
                let Some(hash) = labels.map(|labels| labels.stable_hash()) else { continue };
                let mut held = self.by_hash.hold(hash);
                let Some(place) = self.series.remove(series, &mut pairs) else { continue };
                held.remove(hash, place);
                drop(held);
                gone.push(series.0);
                for &pair in &pairs {
                    by_pair.entry(pair).or_default().push(series.0);
                }
            }
            self.series.tidy(page[0]);
        }
        let n_gone = gone.len() as u64;
        self.postings.subtract_from_all(&Postings::from_ascending(gone));
        for (pair, gone) in by_pair {
            if self.postings.subtract(pair, &Postings::from_ascending(gone)) {
                self.emptied.lock().insert(pair);
            }
        }
        self.release_emptied();
        n_gone
    }

    /// Number of series.
    pub fn len(&self) -> u64 {
        self.postings.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of distinct label pairs.
    pub fn n_label_pairs(&self) -> usize {
        self.dictionary.read().len()
    }

    /// Number of distinct strings among label names and values.
    pub fn n_symbols(&self) -> usize {
        self.dictionary.read().n_symbols()
    }

    /// Creates a series unless it exists, under a given ref or the next one.
    fn create(
        &self,
        labels: &Labels,
        given: Option<SeriesRef>,
    ) -> Result<(SeriesRef, bool), Error> {
        let hash = labels.stable_hash();
        let _in_use = self.releasing.read_recursive();
        let pairs = self.intern(labels)?;
        let mut held = self.by_hash.hold(hash);
        if let Some(series) = held.find(hash, |place| self.with_pairs(place, &pairs)) {
            return Ok((series, false));
        }
        let (series, making) = match given {
            None => self.pending.begin(),
            Some(series) if series.0 == 0 || self.series.contains(series) => {
                self.emptied.lock().extend(pairs);
                return Err(Error::SeriesRefTaken { series });
            }
            Some(series) => (series, self.pending.begin_at([series].into_iter().collect())),
        };
        let inserted = self.series.insert(series, &pairs);
        if let Ok(Some(place)) = inserted {
            self.postings.insert(&pairs, series);
            held.insert(hash, place);
        }
        self.pending.end(making);
        match inserted {
            Ok(Some(_)) => Ok((series, true)),
            Ok(None) => Err(Error::SeriesRefTaken { series }),
            Err(error) => Err(error),
        }
    }

    fn intern(&self, labels: &Labels) -> Result<Vec<PairId>, Error> {
        let dictionary = self.dictionary.read();
        let known: Option<Vec<PairId>> =
            labels.iter().map(|(name, value)| dictionary.lookup(name, value)).collect();
        drop(dictionary);
        if let Some(known) = known {
            return Ok(known);
        }
        let mut dictionary = self.dictionary.write();
        labels.iter().map(|(name, value)| dictionary.intern(name, value)).collect()
    }

    /// Fills `pairs` with the label pairs of each of `series`, and `ends` with where those of each
    /// end, or with nothing for series that are gone.
    fn pairs_of_each(
        &self,
        series: &[SeriesRef],
        pairs: &mut Vec<PairId>,
        ends: &mut Vec<Option<usize>>,
    ) {
        pairs.clear();
        ends.clear();
        ends.extend(series.iter().map(|&series| {
            self.series.read(series, |of_series| {
                pairs.extend(of_series);
                pairs.len()
            })
        }));
    }

    /// The series at a place, if it has these labels.
    fn with_labels(&self, place: SeriesPlace, labels: &Labels) -> Option<SeriesRef> {
        self.series.read_at(place, |series, pairs| {
            let dictionary = self.dictionary.read();
            pairs.map(|pair| dictionary.text(pair)).eq(labels.iter()).then_some(series)
        })
    }

    /// The series at a place, if it has these label pairs.
    fn with_pairs(&self, place: SeriesPlace, expected: &[PairId]) -> Option<SeriesRef> {
        self.series
            .read_at(place, |series, pairs| pairs.eq(expected.iter().copied()).then_some(series))
    }

    /// Releases the pairs without series, unless their numbers are in use.
    fn release_emptied(&self) {
        let Some(_nobody) = self.releasing.try_write_for(RELEASE_PATIENCE) else { return };
        let emptied = std::mem::take(&mut *self.emptied.lock());
        let mut dictionary = self.dictionary.write();
        for pair in emptied {
            if self.postings.read(pair, Postings::is_empty) {
                dictionary.release(pair);
            }
        }
    }
}

impl Default for HeadIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl PostingsSource for HeadIndex {
    type Error = Infallible;

    fn all(&self) -> Result<Postings, Infallible> {
        Ok(self.postings.all())
    }

    fn with_pair(
        &self,
        name: &str,
        value: &str,
        read: &mut dyn FnMut(&Postings),
    ) -> Result<(), Infallible> {
        let pair = self.dictionary.read().lookup(name, value);
        if let Some(pair) = pair {
            self.postings.read(pair, read);
        }
        Ok(())
    }

    fn unite_matching(
        &self,
        name: &str,
        prefix: &str,
        accept: &dyn Fn(&str) -> bool,
        into: &mut Postings,
    ) -> Result<(), Infallible> {
        let pairs = self.dictionary.read().pairs_of(name);
        let mut accepted = Vec::new();
        for batch in pairs.chunks(SCAN_BATCH) {
            let dictionary = self.dictionary.read();
            accepted.extend(batch.iter().copied().filter(|&pair| {
                let value = dictionary.value(pair);
                value.starts_with(prefix) && accept(value)
            }));
        }
        for pair in accepted {
            self.postings.read(pair, |series| into.unite(series));
        }
        Ok(())
    }

    fn n_values(&self, name: &str) -> usize {
        self.dictionary.read().n_pairs_of(name)
    }

    fn retain_matching(
        &self,
        matcher: &Matcher,
        selected: &mut Postings,
        pace: &Pace<'_>,
    ) -> Result<(), Infallible> {
        let series: Vec<SeriesRef> = selected.iter().collect();
        let mut kept = Vec::new();
        let (mut pairs, mut ends) = (Vec::new(), Vec::new());
        // Many series have the value of the one before.
        let mut last: Option<(PairId, bool)> = None;
        for batch in series.chunks(LABELS_BATCH).take_while(|_| pace.asks()) {
            self.pairs_of_each(batch, &mut pairs, &mut ends);
            let dictionary = self.dictionary.read();
            let names = dictionary.symbols_among(&[matcher.name()]);
            let mut start = 0;
            for (series, end) in batch.iter().zip(&ends) {
                let Some(end) = *end else { continue };
                let of_series = &pairs[std::mem::replace(&mut start, end)..end];
                let pair = of_series.iter().find(|pair| names.contains(&dictionary.name(**pair)));
                let passes = match (pair, last) {
                    (None, _) => matcher.matches_empty(),
                    (Some(pair), Some((known, passes))) if known == *pair => passes,
                    (Some(pair), _) => {
                        let passes = matcher.matches(dictionary.value(*pair));
                        last = Some((*pair, passes));
                        passes
                    }
                };
                kept.extend(passes.then_some(series.0));
            }
        }
        *selected = Postings::from_ascending(kept);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
