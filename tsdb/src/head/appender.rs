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

use super::Head;
use super::batch::{Batch, Bounds, PendingHistogram, check_bounds};
use super::series::{Newest, page_number};
use super::stripes::PageCursor;
use crate::error::{AppendError, Error};
use crate::histogram::NativeHistogram;
use crate::options::MAX_BATCH_HISTOGRAM_BYTES;

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
    /// Those of them that are native histograms.
    pub refused_histograms: usize,
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
        let mut batch = head.spare.take();
        let oldest_accepted = head.oldest_accepted();
        let out_of_order = head.oldest_out_of_order();
        batch.bounds = Bounds { in_order: oldest_accepted, out_of_order };
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
        self.append_with_start(labels, 0, timestamp, value)
    }

    /// Adds a sample that has been counting since `start`, in milliseconds since the Unix epoch; zero
    /// for unknown. See [`append`](Self::append).
    ///
    /// Samples with start timestamps are logged and encoded in forms of their own, which Prometheus
    /// knows as `st-storage`. Of a sample that is there already the start timestamp is not compared.
    ///
    /// ```
    /// use ferula_chunkenc::SampleBatch;
    /// use ferula_index::Labels;
    /// use ferula_tsdb::{Db, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path(), Options::default())?;
    /// let labels = Labels::from_pairs([("__name__", "requests_total")])?;
    /// let mut appender = db.appender();
    /// let series = appender.append_with_start(&labels, 500, 1_000, 7.0)?;
    /// appender.append_ref_with_start(series, 500, 2_000, 9.0)?;
    /// appender.commit()?;
    /// let mut batch = SampleBatch::new();
    /// db.querier(0, 2_000)?.select(&[])?.read(0, &mut batch)?;
    /// assert_eq!(batch.start_timestamps(), [500, 500]);
    /// # db.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_with_start(
        &mut self,
        labels: &Labels,
        start: i64,
        timestamp: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        let sample = Sample::new(timestamp, value);
        if let Some(series) = self.head.index.get(labels)
            && let Some(added) = self.add(series, start, sample)
        {
            return added.map(|()| series);
        }
        loop {
            let series = self.get_or_create(labels)?;
            // Another batch may have made it, and dropped it at this very moment.
            if let Some(added) = self.add(series, start, sample) {
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
        let added = self.add(series, 0, Sample::new(timestamp, value));
        added.unwrap_or_else(|| self.refuse(AppendError::UnknownSeries { series }))
    }

    /// Adds a sample of the series `series` that has been counting since `start`. See
    /// [`append_with_start`](Self::append_with_start).
    ///
    /// # Errors
    /// As [`append_ref`](Self::append_ref).
    pub fn append_ref_with_start(
        &mut self,
        series: SeriesRef,
        start: i64,
        timestamp: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        let added = self.add(series, start, Sample::new(timestamp, value));
        added.unwrap_or_else(|| self.refuse(AppendError::UnknownSeries { series }))
    }

    /// Adds many samples, as [`append_ref`](Self::append_ref) does with one. Those of series that were
    /// made one after the other cost least next to each other.
    ///
    /// Samples that are refused are added to `refused`: their places in `samples`, ascending, with the
    /// reasons.
    ///
    /// ```
    /// use ferula_index::Labels;
    /// use ferula_tsdb::{AppendError, Db, Options, RefSample};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path(), Options::default())?;
    /// let mut appender = db.appender();
    /// let series = appender.append(&Labels::from_pairs([("__name__", "up")])?, 1_000, 1.0)?;
    /// let at = |timestamp| RefSample { series, timestamp, value: 1.0 };
    /// let mut refused = Vec::new();
    /// appender.append_refs(&[at(2_000), at(1_500), at(3_000)], &mut refused);
    /// assert_eq!(refused, [(1, AppendError::OutOfOrder { timestamp: 1_500, newest: 2_000 })]);
    /// assert_eq!(appender.commit()?.samples, 3);
    /// # db.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_refs(&mut self, samples: &[RefSample], refused: &mut Vec<(usize, AppendError)>) {
        let mut place = 0;
        while let Some(&RefSample { series, timestamp, value }) = samples.get(place) {
            place += match self.add_near(&samples[place..], refused, place) {
                0 => {
                    let added = self.append_ref(series, timestamp, value);
                    refused.extend(added.err().map(|error| (place, error)));
                    1
                }
                n_added => n_added,
            };
        }
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
        self.append_histogram_with_start(labels, 0, timestamp, histogram)
    }

    /// Adds a native histogram that has been counting since `start`. See
    /// [`append_histogram`](Self::append_histogram) and
    /// [`append_with_start`](Self::append_with_start).
    ///
    /// # Errors
    /// As [`append_histogram`](Self::append_histogram).
    pub fn append_histogram_with_start(
        &mut self,
        labels: &Labels,
        start: i64,
        timestamp: i64,
        histogram: impl Into<NativeHistogram>,
    ) -> Result<SeriesRef, AppendError> {
        let mut histogram = histogram.into();
        loop {
            let series = match self.head.index.get(labels) {
                Some(series) => series,
                None => self.get_or_create(labels)?,
            };
            match self.add_histogram(series, start, timestamp, histogram) {
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
        self.append_histogram_ref_with_start(series, 0, timestamp, histogram)
    }

    /// Adds a native histogram of the series `series` that has been counting since `start`. See
    /// [`append_with_start`](Self::append_with_start).
    ///
    /// # Errors
    /// As [`append_histogram_ref`](Self::append_histogram_ref).
    pub fn append_histogram_ref_with_start(
        &mut self,
        series: SeriesRef,
        start: i64,
        timestamp: i64,
        histogram: impl Into<NativeHistogram>,
    ) -> Result<(), AppendError> {
        let added = self.add_histogram(series, start, timestamp, histogram.into());
        added.unwrap_or_else(|_| self.refuse(AppendError::UnknownSeries { series }))
    }

    fn get_or_create(&self, labels: &Labels) -> Result<SeriesRef, AppendError> {
        self.head.get_or_create(labels).inspect_err(|_| self.count_refused())
    }

    /// Adds a sample. Returns nothing if there is no such series.
    #[inline]
    fn add(
        &mut self,
        series: SeriesRef,
        start: i64,
        sample: Sample,
    ) -> Option<Result<(), AppendError>> {
        let Self { head, batch, cursor, unpublished, oldest_accepted } = self;
        let mut page = cursor.page_of(&head.stripes, series)?.lock();
        if page.series_mut(series).is_none() {
            drop(page);
            page = cursor.page_anew(&head.stripes, series)?.lock();
        }
        let found = page.series_mut(series)?;
        let limit = head.limits.batch_samples;
        let added = batch.add_float(found, start, sample, *oldest_accepted, limit, unpublished);
        drop(page);
        match added {
            Ok(added) => Some(added.inspect_err(|_| self.count_refused())),
            Err(newest) => self.add_behind_histogram(series, newest, start, sample),
        }
    }

    /// Adds the samples up to the first one that is not of the page of the first one, or not of a
    /// series of floats that is there. Returns how many these are.
    fn add_near(
        &mut self,
        samples: &[RefSample],
        refused: &mut Vec<(usize, AppendError)>,
        place: usize,
    ) -> usize {
        let Self { head, batch, cursor, unpublished, oldest_accepted } = self;
        let Some(first) = samples.first() else { return 0 };
        let Some(page) = cursor.page_of(&head.stripes, first.series) else { return 0 };
        let number = page.number();
        let limit = head.limits.batch_samples;
        let mut page = page.lock();
        let before = refused.len();
        let mut n_added = 0;
        for &RefSample { series, timestamp, value } in samples {
            if page_number(series) != number {
                break;
            }
            let Some(found) = page.series_mut(series) else { break };
            let sample = Sample::new(timestamp, value);
            match batch.add_float(found, 0, sample, *oldest_accepted, limit, unpublished) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => refused.push((place + n_added, error)),
                Err(_) => break,
            }
            n_added += 1;
        }
        drop(page);
        let n_refused = refused.len() - before;
        if n_refused > 0 {
            self.head.refused.fetch_add(n_refused as u64, Ordering::Relaxed);
        }
        n_added
    }

    /// Adds a float to a series whose newest sample is a histogram.
    #[cold]
    fn add_behind_histogram(
        &mut self,
        series: SeriesRef,
        newest: Newest,
        start: i64,
        sample: Sample,
    ) -> Option<Result<(), AppendError>> {
        let Sample { timestamp, value } = sample;
        if let Newest::Histogram { is_integer, .. } = newest
            && stale::is_stale(value)
        {
            let marker = NativeHistogram::stale_marker(is_integer);
            return self.add_histogram(series, start, timestamp, marker).ok();
        }
        let is_late = match self.check_time(newest.timestamp(), timestamp) {
            Ok(is_late) => is_late,
            Err(error) => return Some(self.refuse(error)),
        };
        let Self { head, batch, cursor, .. } = self;
        let mut page = cursor.page_of(&head.stripes, series)?.lock();
        let mut found = page.series_mut(series)?;
        if is_late {
            found.pin_late(batch.has_in_order(series, found.hint()));
            batch.put_float(series, start, sample);
            return Some(Ok(()));
        }
        if found.hint().is_some() {
            batch.end_part();
        }
        found.pin(batch.put_float(series, start, sample));
        Some(Ok(()))
    }

    /// Adds a histogram, or gives it back if there is no such series.
    #[expect(clippy::result_large_err, reason = "what is given back is no error, and is rare")]
    fn add_histogram(
        &mut self,
        series: SeriesRef,
        start: i64,
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
        let checked = if let Some(newest) = pending.or_else(|| found.newest()) {
            let checked = self.check_time(newest.timestamp(), timestamp);
            let is_taken_late = self.batch.bounds.out_of_order.is_some();
            if newest.timestamp() == timestamp
                && (timestamp >= self.oldest_accepted || !is_taken_late)
            {
                let pending = hint.and_then(|hint| self.batch.histogram(series, hint));
                let newest = pending.map(|pending| &pending.histogram);
                if newest.or(found.newest_histogram()).is_some_and(|n| n.equals(&histogram)) {
                    return Ok(Ok(()));
                }
            }
            checked
        } else {
            self.check_time(i64::MIN, timestamp)
        };
        let is_late = match checked {
            Ok(is_late) => is_late,
            Err(error) => return Ok(self.refuse(error)),
        };
        let histogram_bytes = self.batch.histogram_bytes.saturating_add(histogram.heap_bytes());
        if histogram_bytes > MAX_BATCH_HISTOGRAM_BYTES {
            let limit = MAX_BATCH_HISTOGRAM_BYTES;
            return Ok(self.refuse(AppendError::BatchTooLarge { limit }));
        }
        if !found.is_published() && pending.is_none() {
            self.unpublished.push(series);
        }
        let offered = PendingHistogram { series, start, timestamp, histogram };
        if is_late {
            found.pin_late(self.batch.has_in_order(series, hint));
            drop(page);
            self.batch.histograms.push(offered);
            self.batch.histogram_bytes = histogram_bytes;
            return Ok(Ok(()));
        }
        // Where the hint leads to no sample of the batch, there may be one all the same.
        let is_out_of_turn = match hint.and_then(|hint| self.batch.histogram(series, hint)) {
            Some(pending) => pending.kind() != offered.kind(),
            None => hint.is_some(),
        };
        if is_out_of_turn {
            self.batch.end_part();
        }
        found.pin(self.batch.histogram_hint());
        drop(page);
        self.batch.histograms.push(offered);
        self.batch.histogram_bytes = histogram_bytes;
        Ok(Ok(()))
    }

    /// Checks the time of a sample that does not repeat the newest one, and whether there is room.
    /// Tells whether it comes out of order.
    fn check_time(&self, newest: i64, timestamp: i64) -> Result<bool, AppendError> {
        let limit = self.head.limits.batch_samples;
        let bounds = check_bounds(timestamp, self.oldest_accepted);
        let is_late = newest > timestamp || matches!(bounds, Err(AppendError::TooOld { .. }));
        if is_late && self.batch.bounds.out_of_order.is_some() {
            return self.batch.check_late(timestamp, limit).map(|()| true);
        }
        bounds?;
        if newest > timestamp {
            Err(AppendError::OutOfOrder { timestamp, newest })
        } else if newest == timestamp {
            Err(AppendError::DuplicateHistogram { timestamp })
        } else if self.batch.len() >= limit {
            Err(AppendError::BatchFull { limit })
        } else {
            Ok(false)
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

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender").field("samples", &self.batch.len()).finish_non_exhaustive()
    }
}
