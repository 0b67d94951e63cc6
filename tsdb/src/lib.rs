//! An embedded time-series database for metrics, compatible with Prometheus's data directories.
//!
//! It keeps samples in a log, a head in memory and immutable blocks, and is queried by matchers and
//! time, or with PromQL through `ferula-promql`. For the codecs, the index or the log alone see
//! `ferula-chunkenc`, `ferula-index` and `ferula-wal`; for a server see the programs of the project.
//!
//! ```
//! use ferula_chunkenc::SampleBatch;
//! use ferula_index::{Labels, Matcher};
//! use ferula_tsdb::{Db, Options};
//!
//! # let dir = tempfile::tempdir()?;
//! let db = Db::open(dir.path(), Options::default())?;
//! let labels = Labels::from_pairs([("__name__", "temperature_celsius"), ("room", "kitchen")])?;
//! let mut batch = db.appender();
//! let series = batch.append(&labels, 1_700_000_000_000, 21.5)?;
//! batch.append_ref(series, 1_700_000_015_000, 21.6)?;
//! batch.commit()?;
//!
//! let querier = db.querier(1_700_000_000_000, 1_700_000_060_000)?;
//! let found = querier.select(&[Matcher::equal("room", "kitchen")])?;
//! assert_eq!(found.labels(0), labels);
//! let mut samples = SampleBatch::new();
//! found.read(0, &mut samples)?;
//! assert_eq!(samples.values(), [21.5, 21.6]);
//! db.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/embedded.rs` does the same with PromQL.
//!
//! # Concepts
//!
//! - A [`Db`] owns a directory, laid out as Prometheus's: `wal/`, `chunks_head/`, blocks named by ULID,
//!   `lock`.
//! - An [`Appender`] is a batch of samples, committed or rolled back as a whole. A series is appended
//!   to by labels once and by its ref from then on. Samples that cannot be stored are refused one by
//!   one with an [`AppendError`]; the rest of the batch stands.
//! - The **head** holds the newest samples: chunks that are being filled in memory, full ones in files.
//!   [`Db::memory`] tells what it takes. When it spans one and a half block ranges, its
//!   oldest range is cut into a **block**, and the log is condensed. A thread of the database does
//!   that; [`Db::maintain`] does all upkeep at once.
//! - **Exemplars** come in batches, too ([`Appender::append_exemplar`]). The newest ones of all series
//!   together are kept, and selected by matchers and time ([`Db::exemplars`]).
//! - **Metadata** is what a series says of its metric: type, unit and help
//!   ([`Appender::update_metadata`], [`Db::metadata`]). It goes when the series leaves the head.
//! - Blocks become fewer and longer by **compaction**, in another thread; [`Db::compact`] does it at
//!   once. [`Db::delete`] deletes samples by matchers and time, [`Retention`] what is too old or too
//!   much.
//! - A [`Querier`] is a view of what was committed when it was opened, over head and blocks. Its
//!   [`SeriesSet`]s decode samples when they are read, from any number of threads.
//! - A [`ReadOnlyDb`] reads a directory that another process owns.
//! - [`Db::snapshot`] copies everything committed as a directory of blocks, [`ReadOnlyDb::backup`] does so
//!   with a directory that another process writes to, and [`clone_dir`] with one that is closed.
//! - A [`Backfill`] makes blocks of old samples in any order; [`Db::import_blocks`] takes over those of
//!   another directory.
//! - [`verify`] reads a whole directory and names what is damaged, [`repair_blocks`] rescues what can be read
//!   of damaged blocks, [`Db::analyze`] tells what takes the room.
//!
//! # Guarantees
//!
//! - A batch is visible as a whole or not at all, to every reader and after a crash.
//! - A commit that returned is as durable as the [`SyncPolicy`] says. After a write or sync of the log
//!   has failed, commits are refused ([`Error::LogStopped`]) until it can go on; reads go on meanwhile.
//! - A block is read back whole before the head gives up what it holds. A block that cannot be read is
//!   set aside with the reason ([`OpenReport::quarantined`], [`Stats::quarantined`]); the rest serves.
//! - What [`Db::delete`] acknowledged is gone for every querier that is opened from then on, and after
//!   a crash. A compaction changes no answer; one that fails leaves everything as it was.
//! - Files of blocks are mapped into memory. A block may be removed while it is open, but whoever
//!   cuts one of its files short, in place, ends the process (`SIGBUS`), and one that is changed in
//!   place is read wrongly or set aside. This holds for every name of a linked file, those in a
//!   snapshot included.
//! - What a series was acknowledged to say of its metric it says until it leaves the head.
//! - An exemplar that was acknowledged is there until newer ones have displaced it, after a crash too.
//! - Values are kept bit for bit, NaN payloads included.
//! - Blocks and log are read by Prometheus 3.14 and its tools, and theirs are read here, as far as
//!   they hold float samples and native histograms.
//! - Everything has a limit: see [`Limits`] and `docs/limits.md`.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `arrow` | no | scans as Apache Arrow record batches: [`RecordBatches`] |
//! | `promql` | yes | the storage traits of `ferula-promql` for [`Db`] and [`ReadOnlyDb`] |

#![deny(unsafe_code)]

mod analyze;
#[cfg(feature = "arrow")]
mod arrow;
mod backfill;
mod block;
mod clock;
mod compact;
mod db;
mod error;
mod exemplar;
mod head;
mod histogram;
mod lock;
mod mend;
mod metadata;
mod mmap;
mod options;
#[cfg(feature = "promql")]
mod promql;
mod querier;
#[cfg(feature = "promql")]
mod query_threads;
mod recode;
mod repair;
mod retention;
mod stats;
mod tombstones;
mod verify;

pub use analyze::{Analysis, AnalysisRequest, Counted, DEFAULT_ANALYSIS_TOP};
#[cfg(feature = "arrow")]
pub use arrow::{
    ArrowOptions, COLUMN_CONFLICT_PREFIX, DEFAULT_BATCH_ROWS, HISTOGRAM_COLUMN, RecordBatches,
    TIMESTAMP_COLUMN, VALUE_COLUMN,
};
pub use backfill::{
    Backfill, BackfillOptions, BackfillReport, DEFAULT_BACKFILL_MEMORY_BYTES,
    MIN_BACKFILL_MEMORY_BYTES,
};
pub use block::{
    BlockCompaction, BlockFormat, BlockMeta, BlockParent, BlockStats, FerulaSection, META_VERSION,
};
pub use clock::{Clock, SystemClock};
pub use compact::Progress;
pub use db::{CopyReport, Db, ImportReport, ReadOnlyDb, clone_dir};
pub use error::{AppendError, BlockFault, Error, SnapshotFault};
pub use exemplar::{Exemplar, ExemplarError, SeriesExemplars};
pub use ferula_wal::record::samples::RefSample;
pub use ferula_wal::{Compression, SyncPolicy};
pub use head::{Appender, Committed};
pub use histogram::NativeHistogram;
pub use mend::{DAMAGED_DIR, RepairReport, Repaired, repair_blocks};
pub use metadata::{Metadata, MetadataError, MetricMetadata, MetricType};
pub use options::{
    DEFAULT_BLOCK_RANGE_MS, DEFAULT_CHUNK_SEGMENT_BYTES, DEFAULT_HEAD_SNAPSHOT,
    DEFAULT_MAINTENANCE_INTERVAL, DEFAULT_MAX_BATCH_SAMPLES, DEFAULT_MAX_COMPACTED_RANGE_MS,
    DEFAULT_MAX_EXEMPLARS, DEFAULT_MAX_LABEL_NAME_BYTES, DEFAULT_MAX_LABEL_VALUE_BYTES,
    DEFAULT_MAX_LABELS, DEFAULT_MAX_SERIES, DEFAULT_OUT_OF_ORDER_WINDOW_MS, DEFAULT_XOR2_ENCODING,
    Limits, MAX_BATCH_EXEMPLAR_BYTES, MAX_BATCH_HISTOGRAM_BYTES, MAX_BATCH_METADATA_BYTES,
    MAX_BATCH_SAMPLES, MAX_BLOCK_RANGE_MS, MAX_CHUNK_SEGMENT_BYTES, MAX_EXEMPLAR_LABEL_CHARS,
    MAX_EXEMPLARS, MAX_LABEL_BYTES, MAX_LABEL_SET_BYTES, MAX_LABELS, MAX_METADATA_BYTES,
    MAX_SERIES, MAX_TIME_MS, MIN_BLOCK_RANGE_MS, Options, OptionsBuilder,
};
pub use querier::{Querier, SeriesSet};
#[cfg(feature = "promql")]
pub use query_threads::QueryThreads;
pub use retention::{Retention, RetentionRule};
pub use stats::{CompactionStats, MemoryUsage, OpenReport, Quarantined, Stats};
pub use verify::{Finding, MAX_FINDINGS, Verification, verify};
