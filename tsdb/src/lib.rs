//! An embedded time-series database for metrics, compatible with Prometheus's data directories.

#![deny(unsafe_code)]

mod block;
mod clock;
mod db;
mod error;
mod head;
mod lock;
mod mmap;
mod options;
#[cfg(feature = "promql")]
mod promql;
mod querier;
mod repair;
mod stats;
mod tombstones;

pub use block::{BlockCompaction, BlockMeta, BlockParent, BlockStats, META_VERSION};
pub use clock::{Clock, SystemClock};
pub use db::{Db, ReadOnlyDb};
pub use error::{AppendError, BlockFault, Error};
pub use ferula_wal::{Compression, SyncPolicy};
pub use head::{Appender, Committed};
pub use options::{
    DEFAULT_BLOCK_RANGE_MS, DEFAULT_CHUNK_SEGMENT_BYTES, DEFAULT_MAINTENANCE_INTERVAL,
    DEFAULT_MAX_BATCH_SAMPLES, DEFAULT_MAX_LABEL_NAME_BYTES, DEFAULT_MAX_LABEL_VALUE_BYTES,
    DEFAULT_MAX_LABELS, Limits, MAX_BATCH_SAMPLES, MAX_BLOCK_RANGE_MS, MAX_CHUNK_SEGMENT_BYTES,
    MAX_LABEL_BYTES, MAX_LABELS, MIN_BLOCK_RANGE_MS, Options, OptionsBuilder,
};
pub use querier::{Querier, SeriesSet};
pub use stats::{OpenReport, Quarantined, Stats};
