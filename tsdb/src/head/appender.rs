//! The one way to write: a batch that is committed or rolled back.

use ferula_index::{Labels, SeriesRef};

use crate::error::{AppendError, Error};

/// A batch of samples. Nothing of it is visible, to queriers or after a crash, until
/// [`commit`](Self::commit) returns; dropping it is rolling it back.
#[derive(Debug)]
#[must_use = "a batch that is not committed is rolled back"]
pub struct Appender {}

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
    /// Adds a sample of the series with these `labels`, at `timestamp` milliseconds since the Unix
    /// epoch. The ref returned serves [`append_ref`](Self::append_ref), in this batch and later
    /// ones.
    ///
    /// # Errors
    /// Why this sample is refused; the batch goes on without it.
    pub fn append(
        &mut self,
        labels: &Labels,
        timestamp: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        let _ = (labels, timestamp, value);
        Err(AppendError::NoLabels)
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
        let _ = (timestamp, value);
        Err(AppendError::UnknownSeries { series })
    }

    /// Samples in the batch.
    pub fn len(&self) -> usize {
        0
    }

    /// Tells whether the batch holds no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the batch visible, all at once, and as durable as the sync policy of the database
    /// says.
    ///
    /// # Errors
    /// If the log cannot be written or synced; the batch is not visible then, and no later commit
    /// succeeds until the database is opened again.
    pub fn commit(self) -> Result<Committed, Error> {
        Err(Error::Closed)
    }

    /// Drops the batch; nothing of it was ever visible.
    pub fn rollback(self) {}
}
