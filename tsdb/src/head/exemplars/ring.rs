//! The exemplars themselves: a ring in the order in which they came, and through it a list for each
//! series in the order of their times.
//!
//! Which ones are taken is what Prometheus takes (`tsdb/exemplar.go`, release 3.14), with one
//! difference: of two that are alike but for their labels, Prometheus has that with the larger hash
//! come later, and this that with the larger labels, for the hash depends on how it was built.

use std::collections::HashMap;
use std::mem;

use ferula_index::{Labels, SeriesRef};

use crate::exemplar::{Exemplar, ExemplarError};
use crate::head::isolation::BatchId;

/// Stands for no entry in a list.
const NONE: u32 = u32::MAX;

/// Places that the ring grows by at least.
const MIN_GROWTH: usize = 16;

/// Bytes that a map takes for an entry beside key and value, about.
const ENTRY_BYTES: usize = 8;

/// Bytes of an allocation of labels beside them: its counts, and what the allocator adds.
const LABELS_BYTES: usize = 32;

/// What is known of an exemplar that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is new.
    New,
    /// It is there already, or another one of its time is, before the newest one.
    Present,
}

/// An exemplar with what the log needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    /// The ref under which it was logged, which may be one that its series has no more.
    pub(crate) logged_as: SeriesRef,
    pub(crate) exemplar: Exemplar,
}

/// A place of the ring.
#[derive(Debug)]
struct Entry {
    logged: Logged,
    /// The batch it became visible with.
    batch: BatchId,
    /// Its series, by place.
    series: u32,
    /// Neighbours of the same series.
    prev: u32,
    next: u32,
}

/// A series that has exemplars.
#[derive(Debug)]
struct SeriesEntry {
    labels: Labels,
    /// The ref by which it is found.
    series: SeriesRef,
    oldest: u32,
    newest: u32,
}

/// Exemplars, and the series they are of.
#[derive(Debug)]
pub(super) struct Ring {
    capacity: usize,
    /// How far behind the newest one of its series an exemplar may lie, in milliseconds.
    window_ms: i64,
    entries: Vec<Entry>,
    /// Where the oldest entry is, once all places are taken.
    start: usize,
    series: Vec<Option<SeriesEntry>>,
    /// Places of `series` that are free.
    free: Vec<u32>,
    by_labels: HashMap<Labels, u32>,
    by_ref: HashMap<SeriesRef, u32>,
    /// Bytes of all labels.
    label_bytes: usize,
}

impl Ring {
    pub(super) fn new(capacity: usize, window_ms: i64) -> Self {
        Self {
            capacity: capacity.min(NONE as usize),
            window_ms,
            entries: Vec::new(),
            start: 0,
            series: Vec::new(),
            free: Vec::new(),
            by_labels: HashMap::new(),
            by_ref: HashMap::new(),
            label_bytes: 0,
        }
    }

    /// Number of exemplars.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of series that have some.
    pub(super) fn n_series(&self) -> usize {
        self.by_labels.len()
    }

    /// Bytes of memory.
    pub(super) fn size_bytes(&self) -> usize {
        let by_labels = self.by_labels.capacity() * (size_of::<(Labels, u32)>() + ENTRY_BYTES);
        let by_ref = self.by_ref.capacity() * (size_of::<(SeriesRef, u32)>() + ENTRY_BYTES);
        self.entries.capacity() * size_of::<Entry>()
            + self.series.capacity() * size_of::<Option<SeriesEntry>>()
            + self.free.capacity() * size_of::<u32>()
            + by_labels
            + by_ref
            + self.label_bytes
    }

    /// Tells whether an exemplar of the series that is found by `series` would be taken.
    pub(super) fn check(
        &self,
        series: SeriesRef,
        offered: &Exemplar,
    ) -> Result<Offer, ExemplarError> {
        match self.by_ref.get(&series) {
            Some(&place) => self.offer(place, offered),
            None => Ok(Offer::New),
        }
    }

    fn offer(&self, place: u32, offered: &Exemplar) -> Result<Offer, ExemplarError> {
        let of_series = self.of(place);
        let newest = self.exemplar(of_series.newest);
        if newest == offered {
            return Ok(Offer::Present);
        }
        let timestamp = offered.timestamp;
        let is_too_late = if timestamp == newest.timestamp {
            offered.value < newest.value
                || (offered.value == newest.value && offered.labels < newest.labels)
        } else {
            timestamp < newest.timestamp
                && timestamp <= newest.timestamp.saturating_sub(self.window_ms)
        };
        if is_too_late {
            let newest = newest.timestamp;
            return Err(ExemplarError::OutOfOrder { timestamp, newest });
        }
        if timestamp < newest.timestamp
            && self
                .last_until(of_series, timestamp)
                .is_some_and(|at| self.exemplar(at).timestamp == timestamp)
        {
            // As in Prometheus one of the time stands for all of them.
            return Ok(Offer::Present);
        }
        Ok(Offer::New)
    }

    /// Takes an exemplar of the series that is found by `series`, unless it is there already or may
    /// not be taken. The labels of the series are asked for if it has none yet under this ref;
    /// without them nothing is taken.
    pub(super) fn add(
        &mut self,
        series: SeriesRef,
        labels: impl FnOnce() -> Option<Labels>,
        offered: Logged,
        batch: BatchId,
    ) -> Result<Offer, ExemplarError> {
        if self.capacity == 0 {
            return Err(ExemplarError::Disabled);
        }
        let place = match self.by_ref.get(&series) {
            Some(&place) => place,
            None => {
                let labels = labels().ok_or(ExemplarError::UnknownSeries { series })?;
                let Some(&place) = self.by_labels.get(&labels) else {
                    self.insert(labels, series, offered, batch);
                    return Ok(Offer::New);
                };
                self.rename(place, series);
                place
            }
        };
        let offer = self.offer(place, &offered.exemplar)?;
        if offer == Offer::New {
            self.put(place, offered, batch);
        }
        Ok(offer)
    }

    /// Takes an exemplar that was taken before, whatever there is of its series.
    pub(super) fn restore(&mut self, labels: &Labels, logged: Logged) {
        let series = logged.logged_as;
        if self.capacity == 0 {
            return;
        }
        let Some(&place) = self.by_labels.get(labels) else {
            return self.insert(labels.clone(), series, logged, BatchId::REPLAYED);
        };
        if self.of(place).series != series {
            self.rename(place, series);
        }
        self.put(place, logged, BatchId::REPLAYED);
    }

    /// Has a series be found by another ref from now on.
    fn rename(&mut self, place: u32, series: SeriesRef) {
        let of_series = self.series[place as usize].as_mut().expect("a series that is found");
        let before = mem::replace(&mut of_series.series, series);
        self.by_ref.remove(&before);
        self.by_ref.insert(series, place);
    }

    /// Makes a series with its first exemplar.
    fn insert(&mut self, labels: Labels, series: SeriesRef, logged: Logged, batch: BatchId) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.series.push(None);
            u32::try_from(self.series.len() - 1).expect("no more series than exemplars")
        });
        self.label_bytes += labels_bytes(&labels);
        self.by_labels.insert(labels.clone(), place);
        self.by_ref.insert(series, place);
        let of_series = SeriesEntry { labels, series, oldest: NONE, newest: NONE };
        self.series[place as usize] = Some(of_series);
        self.put(place, logged, batch);
    }

    /// Puts an exemplar where the oldest one is, and into the list of its series by its time.
    fn put(&mut self, place: u32, logged: Logged, batch: BatchId) {
        let timestamp = logged.exemplar.timestamp;
        self.label_bytes += labels_bytes(&logged.exemplar.labels);
        let entry = Entry { logged, batch, series: place, prev: NONE, next: NONE };
        let at = if self.entries.len() < self.capacity {
            let len = self.entries.len();
            if len == self.entries.capacity() {
                self.entries.reserve_exact(len.max(MIN_GROWTH).min(self.capacity - len));
            }
            self.entries.push(entry);
            len
        } else {
            let at = self.start;
            self.start = (at + 1) % self.capacity;
            self.unlink(at, place);
            self.entries[at] = entry;
            at
        };
        let at = u32::try_from(at).expect("below the capacity");
        let prev = self.last_until(self.of(place), timestamp).unwrap_or(NONE);
        let next = match prev {
            NONE => self.of(place).oldest,
            prev => self.entries[prev as usize].next,
        };
        let entry = &mut self.entries[at as usize];
        (entry.prev, entry.next) = (prev, next);
        match prev {
            NONE => self.of_mut(place).oldest = at,
            prev => self.entries[prev as usize].next = at,
        }
        match next {
            NONE => self.of_mut(place).newest = at,
            next => self.entries[next as usize].prev = at,
        }
    }

    /// Takes an entry out of the list of its series, and with its last one the series, unless that
    /// is `kept`.
    fn unlink(&mut self, at: usize, kept: u32) {
        let Entry { ref logged, series: place, prev, next, .. } = self.entries[at];
        self.label_bytes -= labels_bytes(&logged.exemplar.labels);
        match prev {
            NONE => self.of_mut(place).oldest = next,
            prev => self.entries[prev as usize].next = next,
        }
        match next {
            NONE => self.of_mut(place).newest = prev,
            next => self.entries[next as usize].prev = prev,
        }
        if self.of(place).oldest == NONE && place != kept {
            let gone = self.series[place as usize].take().expect("a series that has exemplars");
            self.by_labels.remove(&gone.labels);
            self.by_ref.remove(&gone.series);
            self.label_bytes -= labels_bytes(&gone.labels);
            self.free.push(place);
        }
    }

    /// The last entry of a series that is not after a time. Late ones are rarely far behind.
    fn last_until(&self, of_series: &SeriesEntry, timestamp: i64) -> Option<u32> {
        let mut at = of_series.newest;
        while at != NONE && self.exemplar(at).timestamp > timestamp {
            at = self.entries[at as usize].prev;
        }
        (at != NONE).then_some(at)
    }

    fn of(&self, place: u32) -> &SeriesEntry {
        self.series[place as usize].as_ref().expect("a series that has exemplars")
    }

    fn of_mut(&mut self, place: u32) -> &mut SeriesEntry {
        self.series[place as usize].as_mut().expect("a series that has exemplars")
    }

    fn exemplar(&self, at: u32) -> &Exemplar {
        &self.entries[at as usize].logged.exemplar
    }

    /// Labels of the series at the places from `start` on, `n` places at most; `None` behind the
    /// last one.
    pub(super) fn labels_from(&self, start: usize, n: usize) -> Option<Vec<Labels>> {
        let places = self.series.get(start..)?;
        let labels = places.iter().take(n).flatten().map(|of_series| of_series.labels.clone());
        (!places.is_empty()).then(|| labels.collect())
    }

    /// The exemplars of a series from `mint` to `maxt`, both inclusive, that are of the batch `seen`
    /// or one before, in their order.
    pub(super) fn between(
        &self,
        labels: &Labels,
        mint: i64,
        maxt: i64,
        seen: BatchId,
    ) -> Vec<Exemplar> {
        let mut found = Vec::new();
        let Some(&place) = self.by_labels.get(labels) else { return found };
        let mut at = self.last_until(self.of(place), maxt).unwrap_or(NONE);
        while at != NONE && self.exemplar(at).timestamp >= mint {
            let entry = &self.entries[at as usize];
            if entry.batch <= seen {
                found.push(entry.logged.exemplar.clone());
            }
            at = entry.prev;
        }
        found.reverse();
        found
    }

    /// All exemplars in the order in which they came, each with the labels of its series.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Labels, &Logged)> {
        let (newer, older) = self.entries.split_at(self.start);
        older.iter().chain(newer).map(|entry| (&self.of(entry.series).labels, &entry.logged))
    }
}

/// What a label set takes.
fn labels_bytes(labels: &Labels) -> usize {
    labels.size_bytes() + LABELS_BYTES
}

#[cfg(test)]
mod tests;
