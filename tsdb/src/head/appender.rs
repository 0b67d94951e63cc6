//! The one way to write: a batch that is committed or rolled back.
//!
//! Samples are checked as they are added, against the head and against the batch itself, so that
//! each is refused with its reason. They are checked once more under the commit lock: another
//! batch or a block cut may have overtaken them.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_chunkenc::Sample;
use ferula_index::{Labels, SeriesRef};
use ferula_wal::record::samples::RefSample;
use parking_lot::Mutex;

use super::series::page_number;
use super::stripes::PageCursor;
use super::{Head, is_valid_time};
use crate::error::{AppendError, Error};
use crate::options::MAX_TIME_MS;

/// Buffers kept for later batches.
const MAX_SPARE: usize = 64;

/// Buffers of finished batches, for the next ones.
#[derive(Debug, Default)]
pub(super) struct SpareBatches {
    floats: Mutex<Vec<Vec<RefSample>>>,
}

impl SpareBatches {
    fn take(&self) -> Batch {
        Batch { floats: self.floats.lock().pop().unwrap_or_default(), is_unpinned: false }
    }

    fn give_back(&self, batch: &mut Batch) {
        let mut floats = mem::take(&mut batch.floats);
        floats.clear();
        let mut spare = self.floats.lock();
        if spare.len() < MAX_SPARE {
            spare.push(floats);
        }
    }

    /// Bytes of memory.
    pub(super) fn size_bytes(&self) -> usize {
        let spare = self.floats.lock();
        spare.iter().map(|floats| floats.capacity() * size_of::<RefSample>()).sum()
    }
}

/// The samples of a batch, by kind. The series of each is pinned until the batch ends.
#[derive(Debug, Default)]
pub(super) struct Batch {
    floats: Vec<RefSample>,
    is_unpinned: bool,
}

impl Batch {
    /// Samples of all kinds.
    pub(super) fn len(&self) -> usize {
        self.floats.len()
    }

    /// Tells whether there are no samples.
    pub(super) fn is_empty(&self) -> bool {
        self.floats.is_empty()
    }

    /// The float samples.
    pub(super) fn floats(&self) -> &[RefSample] {
        &self.floats
    }

    /// The float samples, for the commit that unpins their series.
    pub(super) fn unpinned(&mut self) -> &mut Vec<RefSample> {
        self.is_unpinned = true;
        &mut self.floats
    }

    /// The newest sample of a series, which `hint` leads to if there is one.
    #[inline]
    fn newest(&self, series: SeriesRef, hint: Option<usize>) -> Option<Sample> {
        let found = self.floats.get(hint?).filter(|found| found.series == series)?;
        Some(Sample::new(found.timestamp, found.value))
    }
}

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
            let series = self.head.get_or_create(labels);
            let series = series.inspect_err(|_| self.count_refused())?;
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
        added.unwrap_or_else(|| {
            self.count_refused();
            Err(AppendError::UnknownSeries { series })
        })
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
        if !found.is_published() && pending.is_none() {
            unpublished.push(series);
        }
        let limit = head.limits.batch_samples;
        let checked = match check(newest, sample, *oldest_accepted) {
            Ok(true) if batch.len() >= limit => Err(AppendError::BatchFull { limit }),
            Ok(true) => {
                found.pin(batch.floats.len());
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
        let is_near = |a: &RefSample, b: &RefSample| page_number(a.series) == page_number(b.series);
        for of_page in self.batch.floats.chunk_by(is_near) {
            let page = self.head.page_of_pinned(page_number(of_page[0].series));
            let mut page = page.lock();
            for sample in of_page {
                if let Some(mut series) = page.series_mut(sample.series) {
                    series.unpin();
                }
            }
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if !self.batch.is_unpinned {
            self.unpin();
        }
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
    if !is_valid_time(timestamp) {
        return Err(AppendError::TimeOutOfRange { timestamp, limit: MAX_TIME_MS });
    }
    if timestamp < oldest_accepted {
        return Err(AppendError::TooOld { timestamp, oldest: oldest_accepted });
    }
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

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender").field("samples", &self.batch.len()).finish_non_exhaustive()
    }
}
