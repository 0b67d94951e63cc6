//! What the wire needs of a store: batches that are committed whole, and snapshots.
//!
//! The database is the one store of the programs. The traits keep scraping and remote write from
//! depending on it, so that both are tested against stores that fail on demand.

#[cfg(test)]
pub(crate) mod memory;

use std::error::Error as StdError;
use std::path::Path;

use ferula_index::{Labels, SeriesRef};

/// Any error of a store that is not about one sample.
pub type StoreError = Box<dyn StdError + Send + Sync>;

/// A place that takes samples. Shared by all writers.
pub trait Store: Send + Sync {
    /// Starts a batch; dropping it uncommitted rolls it back.
    fn batch(&self) -> Box<dyn Batch + '_>;

    /// Writes everything the store holds to the new directory `dir`, as blocks.
    ///
    /// # Errors
    /// Whatever keeps the snapshot from being complete.
    fn snapshot(&self, dir: &Path) -> Result<(), StoreError>;

    /// Counts what the head of the store holds.
    fn head(&self) -> HeadCounts;
}

/// Samples that become visible together or not at all.
pub trait Batch {
    /// Appends a sample to the series with these labels, which is created if it is new.
    ///
    /// # Errors
    /// Why this sample is refused; the batch goes on.
    fn append(&mut self, labels: &Labels, timestamp: i64, value: f64)
    -> Result<SeriesRef, Refusal>;

    /// Appends a sample to a series known by its ref.
    ///
    /// # Errors
    /// Why this sample is refused; the batch goes on. [`Refusal::UnknownSeries`] asks for
    /// [`append`](Self::append).
    fn append_ref(&mut self, series: SeriesRef, timestamp: i64, value: f64) -> Result<(), Refusal>;

    /// Makes the batch durable and visible.
    ///
    /// # Errors
    /// Whatever keeps it from being durable; nothing of it is acknowledged then.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// Why a store takes a sample not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The series has a later sample already.
    #[error("out of order sample")]
    OutOfOrder,
    /// The series has another value at this time.
    #[error("duplicate sample for timestamp")]
    Duplicate,
    /// The sample is older than the store accepts, or too far in the future.
    #[error("out of bounds")]
    OutOfBounds,
    /// The ref stands for no series, or no longer.
    #[error("unknown series reference")]
    UnknownSeries,
    /// The label set is one the store does not take.
    #[error("invalid labels")]
    Labels(#[source] StoreError),
    /// The store cannot take samples at all.
    #[error("storage failure")]
    Storage(#[source] StoreError),
}

/// What the head of a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadCounts {
    /// Number of series.
    pub n_series: u64,
    /// Number of chunks.
    pub n_chunks: u64,
    /// Number of different label pairs.
    pub n_label_pairs: u64,
    /// Time of the first sample in milliseconds, if there is one.
    pub mint: Option<i64>,
    /// Time of the last sample in milliseconds, if there is one.
    pub maxt: Option<i64>,
    /// Samples appended since the store was opened.
    pub samples_appended: u64,
}
