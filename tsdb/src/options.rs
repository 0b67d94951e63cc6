//! How a database behaves: every setting with its default and its unit.

use std::sync::Arc;
use std::time::Duration;

use ferula_wal::{Compression, SyncPolicy};

use crate::block::BlockFormat;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::retention::Retention;

/// Time that one block cut from the head covers, in milliseconds: two hours.
pub const DEFAULT_BLOCK_RANGE_MS: i64 = 2 * 60 * 60 * 1000;

/// Shortest block range that is accepted, in milliseconds: one second.
pub const MIN_BLOCK_RANGE_MS: i64 = 1000;

/// Longest block range that is accepted, in milliseconds: some ten years.
pub const MAX_BLOCK_RANGE_MS: i64 = 3660 * 24 * 60 * 60 * 1000;

/// Size at which a block starts a new chunk segment, in bytes: 512 MiB.
pub const DEFAULT_CHUNK_SEGMENT_BYTES: u64 = 512 << 20;

/// Largest size that a chunk segment may be given, in bytes: offsets in it have 32 bits.
pub const MAX_CHUNK_SEGMENT_BYTES: u64 = 2 << 30;

/// Whether a database that is closed writes down what its head holds, unless told otherwise.
pub const DEFAULT_HEAD_SNAPSHOT: bool = true;

/// Whether floats without start timestamps are encoded as XOR2, too, unless told otherwise.
pub const DEFAULT_XOR2_ENCODING: bool = false;

/// How often the background threads look for work: one second.
pub const DEFAULT_MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);

/// Longest time that a block which others are compacted into covers, in milliseconds: 31 days, as in
/// Prometheus.
pub const DEFAULT_MAX_COMPACTED_RANGE_MS: i64 = 31 * 24 * 60 * 60 * 1000;

/// Most series of the head: 100 million.
pub const DEFAULT_MAX_SERIES: u64 = 100_000_000;

/// Largest value that [`Limits::series`] may take: the index numbers label pairs with 32 bits.
pub const MAX_SERIES: u64 = 1 << 32;

/// Most labels of one series.
pub const DEFAULT_MAX_LABELS: usize = 256;

/// Longest label name, in bytes.
pub const DEFAULT_MAX_LABEL_NAME_BYTES: usize = 1024;

/// Longest label value, in bytes: 64 KiB.
pub const DEFAULT_MAX_LABEL_VALUE_BYTES: usize = 64 << 10;

/// Most exemplars of the head: as many as Prometheus keeps.
pub const DEFAULT_MAX_EXEMPLARS: usize = 100_000;

/// Largest value that [`Limits::exemplars`] may take.
pub const MAX_EXEMPLARS: usize = 10_000_000;

/// Most characters that the label names and values of one exemplar may have together, as in
/// OpenMetrics.
pub const MAX_EXEMPLAR_LABEL_CHARS: usize = 128;

/// Most bytes of the log that the exemplars of one batch may take together: 8 MiB.
pub const MAX_BATCH_EXEMPLAR_BYTES: usize = 8 << 20;

/// Most bytes that unit and help of one series may have together: 64 KiB.
pub const MAX_METADATA_BYTES: usize = 64 << 10;

/// Most bytes of the log that the metadata of one batch may take: 8 MiB.
pub const MAX_BATCH_METADATA_BYTES: usize = 8 << 20;

/// Most bytes of buckets and spans that the histograms of one batch may have together: 64 MiB.
pub const MAX_BATCH_HISTOGRAM_BYTES: usize = 64 << 20;

/// Most samples of one batch.
pub const DEFAULT_MAX_BATCH_SAMPLES: usize = 1_000_000;

/// Largest value that [`Limits::batch_samples`] may take: the batch is one record of the log, which
/// must fit a segment whatever its samples are.
pub const MAX_BATCH_SAMPLES: usize = 4_000_000;

/// Largest value that [`Limits::labels`] may take.
pub const MAX_LABELS: usize = 4096;

/// Largest value that [`Limits::label_name_bytes`] and [`Limits::label_value_bytes`] may take, in
/// bytes.
pub const MAX_LABEL_BYTES: usize = 1 << 20;

/// Most bytes that the label names and values of one series may have together: 64 MiB. A series and
/// the samples of its batch must fit one write of the log.
pub const MAX_LABEL_SET_BYTES: usize = 64 << 20;

/// Largest distance of a sample's time from the Unix epoch, in milliseconds, either way: some 73
/// million years. Sums and differences of such times do not overflow.
pub const MAX_TIME_MS: i64 = 1 << 61;

/// What the head, one batch and one series may be at most. What exceeds it is refused with a typed
/// reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most series of the head. Those that a log holds are taken in any case.
    pub series: u64,
    /// Most labels of one series.
    pub labels: usize,
    /// Longest label name, in bytes.
    pub label_name_bytes: usize,
    /// Longest label value, in bytes.
    pub label_value_bytes: usize,
    /// Most samples of one batch.
    pub batch_samples: usize,
    /// Most exemplars of the head, of all series together: beyond it the one that came first gives
    /// way. None are taken if this is zero.
    pub exemplars: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            series: DEFAULT_MAX_SERIES,
            labels: DEFAULT_MAX_LABELS,
            label_name_bytes: DEFAULT_MAX_LABEL_NAME_BYTES,
            label_value_bytes: DEFAULT_MAX_LABEL_VALUE_BYTES,
            batch_samples: DEFAULT_MAX_BATCH_SAMPLES,
            exemplars: DEFAULT_MAX_EXEMPLARS,
        }
    }
}

/// Settings of a database. Made by [`Options::builder`], or by [`Options::default`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How durable a commit is when it returns.
    pub sync: SyncPolicy,
    /// Time that one block cut from the head covers, in milliseconds.
    pub block_range_ms: i64,
    /// Size at which the log starts a new segment, in bytes.
    pub wal_segment_bytes: u64,
    /// How records of the log are compressed when that makes them smaller.
    pub wal_compression: Compression,
    /// Size at which a block starts a new chunk segment, in bytes.
    pub chunk_segment_bytes: u64,
    /// How blocks are stored that are cut, compacted or rewritten. Those of other formats are read
    /// all the same, and become this one when they are compacted.
    pub block_format: BlockFormat,
    /// Longest time that a block which others are compacted into covers, in milliseconds. Blocks
    /// become three times as long at each level as long as they do not exceed it; below three times
    /// [`block_range_ms`](Self::block_range_ms), only blocks that overlap are compacted.
    pub max_block_range_ms: i64,
    /// Bytes of chunks that compactions write per second at most; `None` sets no limit.
    pub compaction_bytes_per_second: Option<u64>,
    /// What is kept, and for how long.
    pub retention: Retention,
    /// Whether closing the database writes down what the head holds, so that the next opening need
    /// not make it from the log.
    pub head_snapshot: bool,
    /// Whether all floats of the head are encoded as XOR2 (Prometheus's `xor2-encoding`), which not
    /// every program that reads Prometheus's blocks knows. Floats with start timestamps always are.
    pub xor2_encoding: bool,
    /// How often the background threads look for work; `None` starts none, and the owner calls
    /// [`Db::maintain`](crate::Db::maintain).
    pub maintenance_interval: Option<Duration>,
    /// What the head, one batch and one series may be at most.
    pub limits: Limits,
    /// Where the time of day comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: SyncPolicy::Interval(Duration::from_secs(5)),
            block_range_ms: DEFAULT_BLOCK_RANGE_MS,
            wal_segment_bytes: ferula_wal::DEFAULT_SEGMENT_BYTES,
            wal_compression: Compression::Zstd,
            chunk_segment_bytes: DEFAULT_CHUNK_SEGMENT_BYTES,
            block_format: BlockFormat::default(),
            max_block_range_ms: DEFAULT_MAX_COMPACTED_RANGE_MS,
            compaction_bytes_per_second: None,
            retention: Retention::default(),
            head_snapshot: DEFAULT_HEAD_SNAPSHOT,
            xor2_encoding: DEFAULT_XOR2_ENCODING,
            maintenance_interval: Some(DEFAULT_MAINTENANCE_INTERVAL),
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl Options {
    /// Starts from the defaults.
    pub fn builder() -> OptionsBuilder {
        OptionsBuilder { options: Self::default() }
    }

    /// Checks the settings together; their fields are public, so this is done again at opening.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let within = |option, value: u64, min: u64, max: u64| {
            let is_valid = (min..=max).contains(&value);
            if is_valid { Ok(()) } else { Err(Error::InvalidOption { option, value, min, max }) }
        };
        let range = u64::try_from(self.block_range_ms).unwrap_or(0);
        within(
            "block_range_ms",
            range,
            MIN_BLOCK_RANGE_MS.cast_unsigned(),
            MAX_BLOCK_RANGE_MS.cast_unsigned(),
        )?;
        let chunk_segment = self.chunk_segment_bytes;
        within("chunk_segment_bytes", chunk_segment, 1, MAX_CHUNK_SEGMENT_BYTES)?;
        let max_range = u64::try_from(self.max_block_range_ms).unwrap_or(0);
        let most = MAX_BLOCK_RANGE_MS.cast_unsigned();
        within("max_block_range_ms", max_range, MIN_BLOCK_RANGE_MS.cast_unsigned(), most)?;
        let rate = self.compaction_bytes_per_second.unwrap_or(u64::MAX);
        within("compaction_bytes_per_second", rate, 1, u64::MAX)?;
        self.retention.check()?;
        let Limits {
            series,
            labels,
            label_name_bytes,
            label_value_bytes,
            batch_samples,
            exemplars,
        } = self.limits;
        within("limits.series", series, 1, MAX_SERIES)?;
        within("limits.labels", labels as u64, 1, MAX_LABELS as u64)?;
        within("limits.label_name_bytes", label_name_bytes as u64, 1, MAX_LABEL_BYTES as u64)?;
        within("limits.label_value_bytes", label_value_bytes as u64, 1, MAX_LABEL_BYTES as u64)?;
        within("limits.batch_samples", batch_samples as u64, 1, MAX_BATCH_SAMPLES as u64)?;
        within("limits.exemplars", exemplars as u64, 0, MAX_EXEMPLARS as u64)?;
        self.wal_options().map(drop)
    }

    /// The part that concerns the log.
    pub(crate) fn wal_options(&self) -> Result<ferula_wal::Options, Error> {
        ferula_wal::Options::builder()
            .segment_bytes(self.wal_segment_bytes)
            .compression(self.wal_compression)
            .sync(self.sync)
            .build()
            .map_err(|source| Error::Wal { op: "set up", source })
    }
}

/// Changes settings and checks them together.
///
/// ```
/// use ferula_tsdb::{Options, SyncPolicy};
///
/// let options = Options::builder().sync(SyncPolicy::Always).block_range_ms(60_000).build()?;
/// assert_eq!(options.block_range_ms, 60_000);
/// # Ok::<(), ferula_tsdb::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OptionsBuilder {
    options: Options,
}

impl OptionsBuilder {
    /// Sets how durable a commit is when it returns.
    pub fn sync(mut self, sync: SyncPolicy) -> Self {
        self.options.sync = sync;
        self
    }

    /// Sets the time that one block cut from the head covers, in milliseconds.
    pub fn block_range_ms(mut self, block_range_ms: i64) -> Self {
        self.options.block_range_ms = block_range_ms;
        self
    }

    /// Sets the size at which the log starts a new segment, in bytes.
    pub fn wal_segment_bytes(mut self, wal_segment_bytes: u64) -> Self {
        self.options.wal_segment_bytes = wal_segment_bytes;
        self
    }

    /// Sets how records of the log are compressed.
    pub fn wal_compression(mut self, wal_compression: Compression) -> Self {
        self.options.wal_compression = wal_compression;
        self
    }

    /// Sets the size at which a block starts a new chunk segment, in bytes.
    pub fn chunk_segment_bytes(mut self, chunk_segment_bytes: u64) -> Self {
        self.options.chunk_segment_bytes = chunk_segment_bytes;
        self
    }

    /// Sets how blocks are stored that are cut, compacted or rewritten.
    pub fn block_format(mut self, format: BlockFormat) -> Self {
        self.options.block_format = format;
        self
    }

    /// Sets the longest time that a block which others are compacted into covers, in milliseconds.
    pub fn max_block_range_ms(mut self, max_block_range_ms: i64) -> Self {
        self.options.max_block_range_ms = max_block_range_ms;
        self
    }

    /// Sets how many bytes of chunks compactions write per second at most; `None` sets no limit.
    pub fn compaction_bytes_per_second(mut self, bytes_per_second: Option<u64>) -> Self {
        self.options.compaction_bytes_per_second = bytes_per_second;
        self
    }

    /// Sets what is kept, and for how long.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.options.retention = retention;
        self
    }

    /// Sets whether closing the database writes down what the head holds.
    pub fn head_snapshot(mut self, head_snapshot: bool) -> Self {
        self.options.head_snapshot = head_snapshot;
        self
    }

    /// Sets whether floats without start timestamps are encoded as XOR2, too.
    pub fn xor2_encoding(mut self, xor2_encoding: bool) -> Self {
        self.options.xor2_encoding = xor2_encoding;
        self
    }

    /// Sets how often the background threads look for work; `None` starts none.
    pub fn maintenance_interval(mut self, interval: Option<Duration>) -> Self {
        self.options.maintenance_interval = interval;
        self
    }

    /// Sets what the head, one batch and one series may be at most.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// Sets how many exemplars are kept, of all series together; none if it is zero.
    pub fn max_exemplars(mut self, exemplars: usize) -> Self {
        self.options.limits.exemplars = exemplars;
        self
    }

    /// Sets where the time of day comes from.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.options.clock = clock;
        self
    }

    /// Checks the settings together.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for the first setting that is out of bounds, [`Error::Wal`] for
    /// those of the log.
    pub fn build(self) -> Result<Options, Error> {
        let options = self.options;
        options.check()?;
        Ok(options)
    }
}
