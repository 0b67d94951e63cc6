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

use super::series::Series;
use super::{Head, is_valid_time};
use crate::error::{AppendError, Error};
use crate::options::MAX_TIME_MS;

/// Buffers kept for later batches.
const MAX_SPARE: usize = 64;

/// A sample that waits for the commit.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) series: Arc<Series>,
    pub(super) sample: Sample,
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
    pending: Vec<Pending>,
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
        let pending = head.spare.lock().pop().unwrap_or_default();
        let oldest_accepted = head.oldest_accepted();
        Self { head, pending, unpublished: Vec::new(), oldest_accepted }
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
        let series = self.head.get_or_create(labels).inspect_err(|_| self.count_refused())?;
        let series_ref = series.series_ref();
        self.add(series, Sample::new(timestamp, value))?;
        Ok(series_ref)
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
        match self.head.stripes.get(series) {
            Some(found) => self.add(found, Sample::new(timestamp, value)),
            None => {
                self.count_refused();
                Err(AppendError::UnknownSeries { series })
            }
        }
    }

    fn add(&mut self, series: Arc<Series>, sample: Sample) -> Result<(), AppendError> {
        let mut state = series.lock();
        let pending = usize::try_from(state.slot).ok().and_then(|slot| self.pending.get(slot));
        let pending = pending.filter(|pending| Arc::ptr_eq(&pending.series, &series));
        let newest = pending.map(|pending| pending.sample).into_iter().chain(state.newest());
        let newest = newest.max_by_key(|newest| newest.timestamp);
        if !state.is_published && pending.is_none() {
            self.unpublished.push(series.series_ref());
        }
        match self.check(newest, sample) {
            Ok(true) => {
                state.slot = u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
                drop(state);
                self.pending.push(Pending { series, sample });
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => {
                self.count_refused();
                Err(error)
            }
        }
    }

    /// Checks a sample against the newest one of its series. False means that it is there already.
    fn check(&self, newest: Option<Sample>, sample: Sample) -> Result<bool, AppendError> {
        let timestamp = sample.timestamp;
        if !is_valid_time(timestamp) {
            return Err(AppendError::TimeOutOfRange { timestamp, limit: MAX_TIME_MS });
        }
        if timestamp < self.oldest_accepted {
            return Err(AppendError::TooOld { timestamp, oldest: self.oldest_accepted });
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
        let limit = self.head.limits.batch_samples;
        if self.pending.len() >= limit {
            return Err(AppendError::BatchFull { limit });
        }
        Ok(true)
    }

    fn count_refused(&self) {
        self.head.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Samples in the batch.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Tells whether the batch holds no samples.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Makes the batch visible, all at once, and as durable as the sync policy of the database
    /// says.
    ///
    /// # Errors
    /// If the log cannot be written or synced; the batch is not visible then, and no later commit
    /// succeeds until the database is opened again.
    pub fn commit(self) -> Result<Committed, Error> {
        self.head.commit(&self.pending)
    }

    /// Drops the batch; nothing of it was ever visible.
    pub fn rollback(self) {}
}

impl Drop for Appender {
    fn drop(&mut self) {
        let mut pending = mem::take(&mut self.pending);
        pending.clear();
        if !self.unpublished.is_empty() {
            // The series of a committed batch are published by now and stay.
            self.head.drop_unpublished(self.unpublished.drain(..));
        }
        let mut spare = self.head.spare.lock();
        if spare.len() < MAX_SPARE {
            spare.push(pending);
        }
    }
}

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender").field("samples", &self.pending.len()).finish_non_exhaustive()
    }
}
