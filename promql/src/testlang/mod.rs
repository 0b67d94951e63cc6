//! Scripts that load samples, evaluate queries and say what must come out.
//!
//! The language is that of Prometheus's own test suite (`promql/promqltest`), so that suite runs
//! over any storage. [`parse`] makes commands of a script's text, [`run`] carries them out over a
//! [`TestStorage`], [`suite`] runs whole directories and compares with what passed before.
//!
//! An evaluation passes only if everything upstream's runner tries passes: an instant query is also
//! run with every selector pinned by `@` at several other times, and as a range query. Where a
//! storage takes no native histograms or no start timestamps, an evaluation that touches a series
//! that has any fails, so that nothing passes for want of data.

mod classic;
mod compare;
pub mod generate;
mod histogram;
mod memory;
pub mod parse;
pub mod run;
pub mod series;
pub mod suite;

use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_index::Labels;

pub use memory::MemoryStorage;

use crate::storage::{Queryable, StorageError};
use crate::{EngineOptions, Features};

/// A storage that scripts can fill and query.
pub trait TestStorage {
    /// Removes all samples; called before each script too.
    ///
    /// # Errors
    /// Whatever keeps the storage from it.
    fn clear(&mut self) -> Result<(), StorageError>;

    /// Tells whether histograms can be appended.
    fn stores_histograms(&self) -> bool {
        false
    }

    /// Tells whether samples can have start timestamps.
    fn stores_start_timestamps(&self) -> bool {
        false
    }

    /// Appends samples of one series, in time order. There are histograms among them only if
    /// [`stores_histograms`](Self::stores_histograms) says that there may be, and start timestamps
    /// only if [`stores_start_timestamps`](Self::stores_start_timestamps) does.
    ///
    /// # Errors
    /// Whatever keeps the storage from taking them; the command that loads them then fails.
    fn append(&mut self, labels: &Labels, samples: &SampleBatch) -> Result<(), StorageError>;

    /// Makes what was appended visible; called at the end of each load.
    ///
    /// # Errors
    /// Whatever keeps the storage from it.
    fn commit(&mut self) -> Result<(), StorageError>;

    /// What queries are run over.
    ///
    /// # Errors
    /// Whatever keeps the storage from being read.
    fn queryable(&mut self) -> Result<Arc<dyn Queryable>, StorageError>;
}

/// The options that Prometheus's own scripts are written for: all that is experimental is on, and
/// a query may hold 10,000 samples.
pub fn engine_options() -> EngineOptions {
    let features = Features { type_and_unit_labels: false, ..Features::ALL };
    EngineOptions::default().max_samples(10_000).features(features)
}
