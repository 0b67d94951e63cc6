//! The samples of a batch that waits for its commit.

use std::mem;
use std::ops::Range;

use ferula_chunkenc::Sample;
use ferula_index::SeriesRef;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::samples_v2::RefStartedSample;
use parking_lot::Mutex;

use super::is_valid_time;
use super::notes::Notes;
use super::series::{Newest, SeriesMut};
use crate::error::AppendError;
use crate::histogram::NativeHistogram;
use crate::options::MAX_TIME_MS;

/// Buffers kept for later batches.
const MAX_SPARE: usize = 64;

/// The bit that tells where a histogram stands from where a float stands.
const HISTOGRAM_BIT: usize = 1 << 31;

/// The bit that tells where a float with a start timestamp stands.
const STARTED_BIT: usize = 1 << 30;

/// Buffers of finished batches, for the next ones.
#[derive(Debug, Default)]
pub(super) struct SpareBatches {
    floats: Mutex<Vec<Vec<RefSample>>>,
    started: Mutex<Vec<Vec<RefStartedSample>>>,
}

impl SpareBatches {
    /// Makes an empty batch.
    pub(super) fn take(&self) -> Batch {
        Batch {
            floats: self.floats.lock().pop().unwrap_or_default(),
            started: self.started.lock().pop().unwrap_or_default(),
            ..Batch::default()
        }
    }

    /// Keeps the memory of a batch.
    pub(super) fn give_back(&self, batch: &mut Batch) {
        keep(&self.floats, mem::take(&mut batch.floats));
        keep(&self.started, mem::take(&mut batch.started));
    }

    /// Bytes of memory.
    pub(super) fn size_bytes(&self) -> usize {
        fn bytes<T>(spare: &Mutex<Vec<Vec<T>>>) -> usize {
            spare.lock().iter().map(|buffer| buffer.capacity() * size_of::<T>()).sum()
        }
        bytes(&self.floats) + bytes(&self.started)
    }
}

/// Keeps a buffer that has memory, if there are not too many.
fn keep<T>(spare: &Mutex<Vec<Vec<T>>>, mut buffer: Vec<T>) {
    buffer.clear();
    let mut spare = spare.lock();
    if buffer.capacity() > 0 && spare.len() < MAX_SPARE {
        spare.push(buffer);
    }
}

/// A histogram that waits for the commit.
#[derive(Clone, Debug)]
pub(crate) struct PendingHistogram {
    pub(crate) series: SeriesRef,
    /// Since when it has been counting; zero if that is unknown.
    pub(crate) start: i64,
    pub(crate) timestamp: i64,
    pub(crate) histogram: NativeHistogram,
}

impl PendingHistogram {
    /// What decides on the record of the log that it goes into.
    pub(super) fn kind(&self) -> (bool, bool, bool) {
        let is_started = self.start != 0;
        let (is_integer, is_custom) = self.histogram.kind();
        (is_started, is_integer, is_custom && !is_started)
    }
}

/// Where one part of a batch ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartEnd {
    pub(super) floats: usize,
    pub(super) started: usize,
    pub(super) histograms: usize,
}

/// From when on a batch takes samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In order.
    pub(super) in_order: i64,
    /// Out of order; `None` if none is taken.
    pub(super) out_of_order: Option<i64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { in_order: i64::MIN, out_of_order: None }
    }
}

/// The samples of one part of a batch.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) floats: Range<usize>,
    pub(super) started: Range<usize>,
    pub(super) histograms: Range<usize>,
}

/// The samples of a batch, by kind. The series of each is pinned until the batch ends.
///
/// A batch is logged and applied part by part, kind by kind, and nearly always has one part. A
/// series that goes on with samples of another kind begins another.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Without start timestamps.
    pub(super) floats: Vec<RefSample>,
    /// Floats with start timestamps.
    pub(super) started: Vec<RefStartedSample>,
    pub(super) histograms: Vec<PendingHistogram>,
    /// Bytes of buckets and spans of the histograms.
    pub(super) histogram_bytes: usize,
    /// Ends of all parts but the last.
    pub(super) ends: Vec<PartEnd>,
    pub(super) bounds: Bounds,
    /// What it holds beside samples.
    pub(super) notes: Notes,
    is_unpinned: bool,
}

impl Batch {
    /// Samples of all kinds.
    pub(super) fn len(&self) -> usize {
        self.floats.len() + self.started.len() + self.histograms.len()
    }

    /// Tells whether there are no samples.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Notes that the series are unpinned by whoever applies the batch.
    pub(super) fn note_unpinned(&mut self) {
        self.is_unpinned = true;
    }

    /// The series to unpin, if nobody did: one for each sample.
    pub(super) fn pinned(&self) -> Vec<SeriesRef> {
        if self.is_unpinned {
            return Vec::new();
        }
        let floats = self.floats.iter().map(|sample| sample.series);
        let started = self.started.iter().map(|sample| sample.series);
        let histograms = self.histograms.iter().map(|pending| pending.series);
        floats.chain(started).chain(histograms).collect()
    }

    /// Adds a float that has been counting since `start`, zero for unknown, to a series, unless it is
    /// refused or there already, or the batch holds `limit` samples. A series that no committed batch
    /// has appended to is noted in `unpublished`. Gives back the newest sample of the series if it is
    /// a histogram.
    #[inline]
    pub(super) fn add_float(
        &mut self,
        mut found: SeriesMut<'_>,
        start: i64,
        sample: Sample,
        oldest_accepted: i64,
        limit: usize,
        unpublished: &mut Vec<SeriesRef>,
    ) -> Result<Result<(), AppendError>, Newest> {
        let series = found.series_ref();
        let hint = found.hint();
        let pending = self.newest(series, hint);
        let newest = match pending.or_else(|| found.newest()) {
            None => None,
            Some(Newest::Float(newest)) => Some(newest),
            Some(newest @ Newest::Histogram { .. }) => return Err(newest),
        };
        if !found.is_published() && pending.is_none() {
            unpublished.push(series);
        }
        Ok(match check(newest, sample, oldest_accepted) {
            Ok(true) if self.len() >= limit => Err(AppendError::BatchFull { limit }),
            Ok(true) => {
                let kind = if start == 0 { 0 } else { STARTED_BIT };
                self.take_turn(pending.is_some(), hint, kind);
                found.pin(self.put_float(series, start, sample));
                Ok(())
            }
            Err(AppendError::OutOfOrder { .. } | AppendError::TooOld { .. })
                if self.bounds.out_of_order.is_some() =>
            {
                self.add_late_float(found, start, sample, limit)
            }
            other => other.map(drop),
        })
    }

    /// Adds a float that comes out of order, unless it is refused.
    #[cold]
    fn add_late_float(
        &mut self,
        mut found: SeriesMut<'_>,
        start: i64,
        sample: Sample,
        limit: usize,
    ) -> Result<(), AppendError> {
        let series = found.series_ref();
        self.check_late(sample.timestamp, limit)?;
        found.pin_late(self.has_in_order(series, found.hint()));
        self.put_float(series, start, sample);
        Ok(())
    }

    /// Checks a sample that comes out of order, and whether there is room.
    #[cold]
    pub(super) fn check_late(&self, timestamp: i64, limit: usize) -> Result<(), AppendError> {
        check_bounds(timestamp, self.bounds.out_of_order.unwrap_or(i64::MAX))?;
        if self.len() >= limit { Err(AppendError::BatchFull { limit }) } else { Ok(()) }
    }

    /// Puts in a float that has been counting since `start`, zero for unknown. Returns where it stands.
    #[inline]
    pub(super) fn put_float(&mut self, series: SeriesRef, start: i64, sample: Sample) -> usize {
        let Sample { timestamp, value } = sample;
        if start == 0 {
            self.floats.push(RefSample { series, timestamp, value });
            return self.floats.len() - 1;
        }
        self.started.push(RefStartedSample { series, start_timestamp: start, timestamp, value });
        (self.started.len() - 1) | STARTED_BIT
    }

    /// Where the next histogram will stand.
    pub(super) fn histogram_hint(&self) -> usize {
        self.histograms.len() | HISTOGRAM_BIT
    }

    /// The newest sample of a series, which `hint` leads to if there is one.
    #[inline]
    pub(super) fn newest(&self, series: SeriesRef, hint: Option<usize>) -> Option<Newest> {
        let hint = hint?;
        if hint & HISTOGRAM_BIT != 0 {
            let PendingHistogram { timestamp, histogram, .. } = self.histogram(series, hint)?;
            let (timestamp, is_integer) = (*timestamp, histogram.is_integer());
            return Some(Newest::Histogram { timestamp, is_integer });
        }
        if hint & STARTED_BIT != 0 {
            let found = self.started.get(hint - STARTED_BIT)?;
            let sample = Sample::new(found.timestamp, found.value);
            return (found.series == series).then_some(Newest::Float(sample));
        }
        let found = self.floats.get(hint).filter(|found| found.series == series)?;
        Some(Newest::Float(Sample::new(found.timestamp, found.value)))
    }

    /// The newest sample of a series, if it is a histogram that `hint` leads to.
    pub(super) fn histogram(&self, series: SeriesRef, hint: usize) -> Option<&PendingHistogram> {
        let found = self.histograms.get(hint.checked_sub(HISTOGRAM_BIT)?)?;
        (found.series == series).then_some(found)
    }

    /// Tells whether `hint` leads to a sample of a series that is not older than what the series has.
    pub(super) fn has_in_order(&self, series: SeriesRef, hint: Option<usize>) -> bool {
        self.newest(series, hint).is_some()
    }

    /// Ends the part that samples are put into, if the next float of a series would be applied before
    /// a sample that came before it: if that is of another kind. `hint` leads to it where it
    /// `is_known`; where it is not, another batch has a sample of the series, and so may this one.
    /// `kind` is the bit of where the next one will stand.
    fn take_turn(&mut self, is_known: bool, hint: Option<usize>, kind: usize) {
        let Some(hint) = hint else { return };
        let of_kind = |hint: usize| hint & (HISTOGRAM_BIT | STARTED_BIT);
        let is_out_of_turn = if is_known { of_kind(hint) != kind } else { self.has_other(kind) };
        if is_out_of_turn {
            self.end_part();
        }
    }

    /// Tells whether the last part holds samples of another kind than that of this bit.
    #[cold]
    fn has_other(&self, kind: usize) -> bool {
        let start = self.ends.last().copied().unwrap_or_default();
        (kind != 0 && self.floats.len() > start.floats)
            || (kind != STARTED_BIT && self.started.len() > start.started)
            || self.histograms.len() > start.histograms
    }

    /// Ends the part that samples are put into, if there are any.
    pub(super) fn end_part(&mut self) {
        let end = self.end();
        if self.ends.last().copied().unwrap_or_default() != end {
            self.ends.push(end);
        }
    }

    /// Where the last part ends.
    pub(super) fn end(&self) -> PartEnd {
        PartEnd {
            floats: self.floats.len(),
            started: self.started.len(),
            histograms: self.histograms.len(),
        }
    }

    /// The samples of each part.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        let mut start = PartEnd::default();
        self.ends.iter().copied().chain([self.end()]).map(move |end| {
            let start = mem::replace(&mut start, end);
            Part {
                floats: start.floats..end.floats,
                started: start.started..end.started,
                histograms: start.histograms..end.histograms,
            }
        })
    }
}

/// Checks a sample against the newest one of its series. False means that it is there already.
#[inline]
fn check(
    newest: Option<Sample>,
    sample: Sample,
    oldest_accepted: i64,
) -> Result<bool, AppendError> {
    let timestamp = sample.timestamp;
    check_bounds(timestamp, oldest_accepted)?;
    if let Some(newest) = newest.filter(|newest| newest.timestamp >= timestamp) {
        return if newest == sample {
            Ok(false)
        } else if newest.timestamp == timestamp {
            let (existing, offered) = (newest.value, sample.value);
            Err(AppendError::DuplicateTimestamp { timestamp, existing, offered })
        } else {
            Err(AppendError::OutOfOrder { timestamp, newest: newest.timestamp })
        };
    }
    Ok(true)
}

#[inline]
pub(super) fn check_bounds(timestamp: i64, oldest_accepted: i64) -> Result<(), AppendError> {
    if !is_valid_time(timestamp) {
        return Err(AppendError::TimeOutOfRange { timestamp, limit: MAX_TIME_MS });
    }
    if timestamp < oldest_accepted {
        return Err(AppendError::TooOld { timestamp, oldest: oldest_accepted });
    }
    Ok(())
}
