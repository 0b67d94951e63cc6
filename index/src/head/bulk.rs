//! Taking in many series at once, as replay and the scrape of a new target bring them.
//!
//! The series of a target share most of their pairs and have refs in sequence. So a pair is looked
//! up only where it differs from that of the series before, and postings are given whole runs of
//! refs: for labels like those of a target, this is what most of the time goes to otherwise.

use super::HeadIndex;
use super::dictionary::{Dictionary, PairId};
use crate::postings::Postings;
use crate::{Error, Labels, SeriesRef};

impl HeadIndex {
    /// Adds many series under given refs, as [`insert`](Self::insert) does with one. Several threads
    /// may do so at once.
    ///
    /// Returns the refs that were given to series which stand under another one, with that one.
    /// Until it returns, a series may be found by its labels and not be selected yet.
    ///
    /// # Errors
    /// As for [`insert`](Self::insert), at the first series that is refused; those before it are
    /// there.
    ///
    /// ```
    /// use ferula_index::{Labels, Matcher, SeriesRef, head::HeadIndex};
    ///
    /// let index = HeadIndex::new();
    /// let up = |job| Labels::from_pairs([("__name__", "up"), ("job", job)]);
    /// let series = [(SeriesRef(5), up("api")?), (SeriesRef(6), up("db")?), (SeriesRef(9), up("api")?)];
    /// assert_eq!(index.insert_all(&series)?, [(SeriesRef(9), SeriesRef(5))]);
    /// assert_eq!(index.select(&[Matcher::equal("__name__", "up")]).len(), 2);
    /// # Ok::<(), ferula_index::Error>(())
    /// ```
    pub fn insert_all(
        &self,
        series: &[(SeriesRef, Labels)],
    ) -> Result<Vec<(SeriesRef, SeriesRef)>, Error> {
        let _in_use = self.releasing.read_recursive();
        let pairs = self.intern_all(series)?;
        let making = self.pending.begin_at(series.iter().map(|(series, _)| *series).collect());
        let mut known = Vec::new();
        let mut made: Vec<u64> = Vec::with_capacity(series.len());
        let mut runs = Runs::default();
        let mut failure = None;
        for ((series, labels), pairs) in series.iter().zip(pairs.iter()) {
            match self.place(labels, pairs, *series) {
                Ok(None) => {
                    made.push(series.0);
                    runs.add(*series, pairs);
                }
                Ok(Some(found)) if found == *series => {}
                Ok(Some(found)) => known.push((*series, found)),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        for run in runs.finish() {
            self.postings.insert_range(run.pair, run.first, run.len);
        }
        made.sort_unstable();
        self.postings.insert_into_all(&Postings::from_ascending(made));
        self.pending.end(making);
        match failure {
            None => Ok(known),
            Some(error) => {
                self.emptied.lock().extend(pairs.pairs);
                Err(error)
            }
        }
    }

    /// Puts a series where it is found by its ref and by its labels, unless the labels stand under
    /// some ref already, which is returned then.
    fn place(
        &self,
        labels: &Labels,
        pairs: &[PairId],
        series: SeriesRef,
    ) -> Result<Option<SeriesRef>, Error> {
        let hash = labels.stable_hash();
        let mut held = self.by_hash.hold(hash);
        if let Some(known) = held.find(hash, |place| self.with_pairs(place, pairs)) {
            return Ok(Some(known));
        }
        let place = if series.0 == 0 { None } else { self.series.insert(series, pairs)? };
        held.insert(hash, place.ok_or(Error::SeriesRefTaken { series })?);
        Ok(None)
    }

    /// The numbers of the pairs of all `series`.
    fn intern_all(&self, series: &[(SeriesRef, Labels)]) -> Result<PairLists, Error> {
        let mut lists = PairLists::default();
        let mut last: Option<&Labels> = None;
        let mut rest = series.iter();
        let dictionary = self.dictionary.read();
        let mut is_known = true;
        for (_, labels) in rest.by_ref() {
            is_known = lists.add(labels, last, |n, v| Ok(dictionary.lookup(n, v)))?;
            if !is_known {
                break;
            }
            last = Some(labels);
        }
        drop(dictionary);
        if is_known {
            return Ok(lists);
        }
        // The rest is mostly new too.
        let n_done = lists.ends.len();
        let mut dictionary = self.dictionary.write();
        let dictionary: &mut Dictionary = &mut dictionary;
        for (_, labels) in &series[n_done..] {
            lists.add(labels, last, |n, v| dictionary.intern(n, v).map(Some))?;
            last = Some(labels);
        }
        Ok(lists)
    }
}

/// The pairs of several series, one list behind the other.
#[derive(Default)]
struct PairLists {
    pairs: Vec<PairId>,
    ends: Vec<usize>,
}

impl PairLists {
    /// Adds a series, for whose pairs those of the series before are taken where the text is the
    /// same. Tells whether `number` knew all others; if it did not, nothing is added.
    fn add(
        &mut self,
        labels: &Labels,
        last: Option<&Labels>,
        mut number: impl FnMut(&str, &str) -> Result<Option<PairId>, Error>,
    ) -> Result<bool, Error> {
        let end = self.pairs.len();
        let mut start = match self.ends.len() {
            0 | 1 => 0,
            n => self.ends[n - 2],
        };
        let mut last = last.into_iter().flatten().peekable();
        for (name, value) in labels {
            while last.next_if(|(other, _)| *other < name).is_some() {
                start += 1;
            }
            let same = last.peek().is_some_and(|other| *other == (name, value));
            let pair = if same { Some(self.pairs[start]) } else { number(name, value)? };
            let Some(pair) = pair else {
                self.pairs.truncate(end);
                return Ok(false);
            };
            self.pairs.push(pair);
        }
        self.ends.push(self.pairs.len());
        Ok(true)
    }

    fn iter(&self) -> impl Iterator<Item = &[PairId]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.pairs[start..*end])
    }
}

/// Series in sequence that have a pair.
#[derive(Clone, Copy)]
struct Run {
    pair: PairId,
    first: SeriesRef,
    len: u64,
}

/// Gathers which pairs are had by series in sequence.
#[derive(Default)]
struct Runs {
    /// Those that the last series has, in the order of its pairs.
    open: Vec<Run>,
    done: Vec<Run>,
    spare: Vec<Run>,
}

impl Runs {
    fn add(&mut self, series: SeriesRef, pairs: &[PairId]) {
        let Self { open, done, spare } = self;
        let goes_on = |run: &Run| run.first.0 + run.len == series.0;
        let is_same = open.len() == pairs.len() && open.iter().all(goes_on);
        if is_same {
            // Mostly a label or two differ, and stand where they stood.
            for (run, &pair) in open.iter_mut().zip(pairs) {
                if run.pair == pair {
                    run.len += 1;
                } else {
                    done.push(std::mem::replace(run, Run { pair, first: series, len: 1 }));
                }
            }
            return;
        }
        std::mem::swap(open, spare);
        for &pair in pairs {
            let before = spare.iter().position(|run| run.pair == pair && goes_on(run));
            open.push(match before.map(|at| spare.swap_remove(at)) {
                Some(run) => Run { len: run.len + 1, ..run },
                None => Run { pair, first: series, len: 1 },
            });
        }
        done.append(spare);
    }

    fn finish(mut self) -> Vec<Run> {
        self.done.append(&mut self.open);
        self.done
    }
}
