//! The one way to write: a batch that is committed or rolled back.
//!
//! Samples are checked as they are added, against the head and against the batch itself, so that
//! each is refused with its reason. They are checked once more under the commit lock: another
//! batch or a block cut may have overtaken them.

mod notes;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_chunkenc::{Sample, stale};
use ferula_index::{Labels, SeriesRef};
use ferula_wal::record::samples::RefSample;

use super::batch::{Batch, PendingHistogram};
use super::series::{Newest, page_number};
use super::stripes::PageCursor;
use super::{Head, is_valid_time};
use crate::error::{AppendError, Error};
use crate::histogram::NativeHistogram;
use crate::options::{MAX_BATCH_HISTOGRAM_BYTES, MAX_TIME_MS};

/// A batch of samples. Nothing of it is visible, to queriers or after a crash, until
/// [`commit`](Self::commit) returns; dropping it is rolling it back.
///
/// ```
/// use ferula_index::Labels;
/// use ferula_tsdb::{AppendError, Db, Options};
///
/// # let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path(), Options::default())?;
/// let labels = Labels::from_pairs([("__name__", "requests_total"), ("code", "200")])?;
/// let mut appender = db.appender();
/// let series = appender.append(&labels, 1_000, 1.0)?;
/// appender.append_ref(series, 2_000, 2.0)?;
/// let refused = appender.append_ref(series, 500, 9.0);
/// assert_eq!(refused, Err(AppendError::OutOfOrder { timestamp: 500, newest: 2_000 }));
/// assert_eq!(appender.commit()?.samples, 2);
/// # db.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a batch that is not committed is rolled back"]
pub struct Appender {
    head: Arc<Head>,
    batch: Batch,
    /// The page of the series that was appended to last.
    cursor: PageCursor,
    /// Series that no committed batch has appended to yet.
    unpublished: Vec<SeriesRef>,
    /// Earliest time that is accepted.
    oldest_accepted: i64,
}

/// What a commit made visible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// Samples that are visible and logged now.
    pub samples: usize,
    /// Samples that were accepted into the batch but refused by the commit, because another batch
    /// or a block cut overtook them.
    pub refused: usize,
    /// Exemplars that are visible and logged now.
    pub exemplars: usize,
    /// Exemplars that were accepted into the batch but refused by the commit, because another one
    /// of their series came first or the series is gone.
    pub refused_exemplars: usize,
    /// Series whose metadata is another one now, and logged.
    pub metadata: usize,
}

impl Appender {
    pub(crate) fn new(head: Arc<Head>) -> Self {
        let batch = head.spare.take();
        let oldest_accepted = head.oldest_accepted();
        let (cursor, unpublished) = (PageCursor::default(), Vec::new());
        Self { head, batch, cursor, unpublished, oldest_accepted }
    }

    /// Adds a sample of the series with these `labels`, at `timestamp` milliseconds since the Unix
    /// epoch. The ref returned serves [`append_ref`](Self::append_ref), in this batch and later
    /// ones, until the database is closed.
    ///
    /// A staleness marker behind a native histogram becomes one of its kind.
    ///
    /// # Errors
    /// Why this sample is refused; the batch goes on without it.
    pub fn append(
        &mut self,
        labels: &Labels,
        timestamp: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        let sample = Sample::new(timestamp, value);
        if let Some(series) = self.head.index.get(labels)
            && let Some(added) = self.add(series, sample)
        {
            return added.map(|()| series);
        }
        loop {
            let series = self.get_or_create(labels)?;
            // Another batch may have made it, and dropped it at this very moment.
            if let Some(added) = self.add(series, sample) {
                return added.map(|()| series);
            }
        }
    }

    /// Adds a sample of the series `series`.
    ///
    /// # Errors
    /// Why this sample is refused; the batch goes on without it.
    /// [`AppendError::UnknownSeries`] if the series is gone: append by labels again.
    pub fn append_ref(
        &mut self,
        series: SeriesRef,
        timestamp: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        let added = self.add(series, Sample::new(timestamp, value));
        added.unwrap_or_else(|| self.refuse(AppendError::UnknownSeries { series }))
    }

    /// Adds a native histogram of the series with these `labels`, at `timestamp` milliseconds since
    /// the Unix epoch. One with a staleness marker for its sum is such a marker.
    ///
    /// # Errors
    /// Why this histogram is refused; the batch goes on without it.
    pub fn append_histogram(
        &mut self,
        labels: &Labels,
        timestamp: i64,
        histogram: impl Into<NativeHistogram>,
    ) -> Result<SeriesRef, AppendError> {
        let mut histogram = histogram.into();
        loop {
            let series = match self.head.index.get(labels) {
                Some(series) => series,
                None => self.get_or_create(labels)?,
            };
            match self.add_histogram(series, timestamp, histogram) {
                Ok(added) => return added.map(|()| series),
                // It was removed at this very moment.
                Err(returned) => histogram = returned,
            }
        }
    }

    /// Adds a native histogram of the series `series`.
    ///
    /// # Errors
    /// Why this histogram is refused; the batch goes on without it.
    /// [`AppendError::UnknownSeries`] if the series is gone: append by labels again.
    pub fn append_histogram_ref(
        &mut self,
        series: SeriesRef,
        timestamp: i64,
        histogram: impl Into<NativeHistogram>,
    ) -> Result<(), AppendError> {
        let added = self.add_histogram(series, timestamp, histogram.into());
        added.unwrap_or_else(|_| self.refuse(AppendError::UnknownSeries { series }))
    }

    fn get_or_create(&self, labels: &Labels) -> Result<SeriesRef, AppendError> {
        self.head.get_or_create(labels).inspect_err(|_| self.count_refused())
    }

    /// Adds a sample. Returns nothing if there is no such series.
    #[inline]
    fn add(&mut self, series: SeriesRef, sample: Sample) -> Option<Result<(), AppendError>> {
        let Self { head, batch, cursor, unpublished, oldest_accepted } = self;
        let mut page = cursor.page_of(&head.stripes, series)?.lock();
        if page.series_mut(series).is_none() {
            drop(page);
            page = cursor.page_anew(&head.stripes, series)?.lock();
        }
        let mut found = page.series_mut(series)?;
        let pending = batch.newest(series, found.hint());
        let newest = pending.or_else(|| found.newest());
        let newest = match newest {
            None => None,
            Some(Newest::Float(newest)) => Some(newest),
            Some(newest @ Newest::Histogram { .. }) => {
                drop(page);
                return self.add_behind_histogram(series, newest, sample);
            }
        };
        if !found.is_published() && pending.is_none() {
            unpublished.push(series);
        }
        let limit = head.limits.batch_samples;
        let checked = match check(newest, sample, *oldest_accepted) {
            Ok(true) if batch.len() >= limit => Err(AppendError::BatchFull { limit }),
            Ok(true) => {
                found.pin(batch.float_hint());
                drop(page);
                let Sample { timestamp, value } = sample;
                batch.floats.push(RefSample { series, timestamp, value });
                return Some(Ok(()));
            }
            other => other.map(drop),
        };
        drop(page);
        Some(checked.inspect_err(|_| self.count_refused()))
    }

    /// Adds a float to a series whose newest sample is a histogram.
    #[cold]
    fn add_behind_histogram(
        &mut self,
        series: SeriesRef,
        newest: Newest,
        sample: Sample,
    ) -> Option<Result<(), AppendError>> {
        let Sample { timestamp, value } = sample;
        if let Newest::Histogram { is_integer, .. } = newest
            && stale::is_stale(value)
        {
            let marker = NativeHistogram::stale_marker(is_integer);
            return self.add_histogram(series, timestamp, marker).ok();
        }
        if let Err(error) = self.check_time(newest.timestamp(), timestamp) {
            return Some(self.refuse(error));
        }
        let Self { head, batch, cursor, .. } = self;
        let mut page = cursor.page_of(&head.stripes, series)?.lock();
        let mut found = page.series_mut(series)?;
        if batch.newest(series, found.hint()).is_some() {
            batch.end_part();
        }
        found.pin(batch.float_hint());
        drop(page);
        batch.floats.push(RefSample { series, timestamp, value });
        Some(Ok(()))
    }

    /// Adds a histogram, or gives it back if there is no such series.
    #[expect(clippy::result_large_err, reason = "what is given back is no error, and is rare")]
    fn add_histogram(
        &mut self,
        series: SeriesRef,
        timestamp: i64,
        mut histogram: NativeHistogram,
    ) -> Result<Result<(), AppendError>, NativeHistogram> {
        if let Err(source) = histogram.normalize() {
            return Ok(self.refuse(AppendError::InvalidHistogram { source }));
        }
        let Some(page) = self.cursor.page_anew(&self.head.stripes, series).cloned() else {
            return Err(histogram);
        };
        let mut page = page.lock();
        let Some(mut found) = page.series_mut(series) else { return Err(histogram) };
        let hint = found.hint();
        let pending = self.batch.newest(series, hint);
        if let Some(newest) = pending.or_else(|| found.newest()) {
            let checked = self.check_time(newest.timestamp(), timestamp);
            if newest.timestamp() == timestamp {
                let pending = hint.and_then(|hint| self.batch.histogram(series, hint));
                let newest = pending.map(|pending| &pending.histogram);
                if newest.or(found.newest_histogram()).is_some_and(|n| n.equals(&histogram)) {
                    return Ok(Ok(()));
                }
            }
            if let Err(error) = checked {
                return Ok(self.refuse(error));
            }
        } else if let Err(error) = self.check_time(i64::MIN, timestamp) {
            return Ok(self.refuse(error));
        }
        let histogram_bytes = self.batch.histogram_bytes.saturating_add(histogram.heap_bytes());
        if histogram_bytes > MAX_BATCH_HISTOGRAM_BYTES {
            let limit = MAX_BATCH_HISTOGRAM_BYTES;
            return Ok(self.refuse(AppendError::BatchTooLarge { limit }));
        }
        let is_of_other_kind = match hint.and_then(|hint| self.batch.histogram(series, hint)) {
            Some(pending) => pending.histogram.kind() != histogram.kind(),
            None => pending.is_some(),
        };
        if is_of_other_kind {
            self.batch.end_part();
        }
        if !found.is_published() && pending.is_none() {
            self.unpublished.push(series);
        }
        found.pin(self.batch.histogram_hint());
        drop(page);
        self.batch.histograms.push(PendingHistogram { series, timestamp, histogram });
        self.batch.histogram_bytes = histogram_bytes;
        Ok(Ok(()))
    }

    /// Checks the time of a sample that does not repeat the newest one, and whether there is room.
    fn check_time(&self, newest: i64, timestamp: i64) -> Result<(), AppendError> {
        check_bounds(timestamp, self.oldest_accepted)?;
        let limit = self.head.limits.batch_samples;
        if newest > timestamp {
            Err(AppendError::OutOfOrder { timestamp, newest })
        } else if newest == timestamp {
            Err(AppendError::DuplicateHistogram { timestamp })
        } else if self.batch.len() >= limit {
            Err(AppendError::BatchFull { limit })
        } else {
            Ok(())
        }
    }

    fn refuse(&self, error: AppendError) -> Result<(), AppendError> {
        self.count_refused();
        Err(error)
    }

    fn count_refused(&self) {
        self.head.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Samples in the batch.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Tells whether the batch holds no samples.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Makes the batch visible, all at once, and as durable as the sync policy of the database
    /// says.
    ///
    /// # Errors
    /// [`Error::LogStopped`] if the log cannot be written or synced. The batch is not visible then, but
    /// may have been logged: it becomes visible with the next commit that succeeds, or when the
    /// database is opened again, or never; whole in any case. Committing the same samples again is
    /// safe, for what is there already counts as accepted.
    pub fn commit(mut self) -> Result<Committed, Error> {
        self.head.commit(&mut self.batch)
    }

    /// Does the first half of a commit. Returns the samples that were not there already.
    #[cfg(test)]
    pub(super) fn stage(&mut self) -> Result<usize, Error> {
        self.head.stage(&mut self.batch).map(|staged| staged.done.samples)
    }

    /// Drops the batch; nothing of it was ever visible.
    pub fn rollback(self) {}

    /// Lets go of the series of a batch that was not applied.
    fn unpin(&self) {
        let pinned = self.batch.pinned();
        for of_page in pinned.chunk_by(|a, b| page_number(*a) == page_number(*b)) {
            let page = self.head.page_of_pinned(page_number(of_page[0]));
            let mut page = page.lock();
            for series in of_page {
                if let Some(mut series) = page.series_mut(*series) {
                    series.unpin();
                }
            }
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.unpin();
        if !self.unpublished.is_empty() {
            // The series of a committed batch are published by now and stay.
            self.head.drop_unpublished(&self.unpublished);
        }
        self.head.spare.give_back(&mut self.batch);
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
fn check_bounds(timestamp: i64, oldest_accepted: i64) -> Result<(), AppendError> {
    if !is_valid_time(timestamp) {
        return Err(AppendError::TimeOutOfRange { timestamp, limit: MAX_TIME_MS });
    }
    if timestamp < oldest_accepted {
        return Err(AppendError::TooOld { timestamp, oldest: oldest_accepted });
    }
    Ok(())
}

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender").field("samples", &self.batch.len()).finish_non_exhaustive()
    }
}
