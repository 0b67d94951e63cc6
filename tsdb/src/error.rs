//! What can go wrong with a database, and why a sample is refused.

use std::io;
use std::path::{Path, PathBuf};

use ferula_chunkenc::histogram::HistogramError;
use ferula_index::{ChunkRef, Labels, SeriesRef};
use ulid::Ulid;

/// Errors of a database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of bounds.
    #[error("option {option} is {value}, which is not within {min} to {max}")]
    InvalidOption {
        /// Name of the setting.
        option: &'static str,
        /// Value found, zero if it is negative.
        value: u64,
        /// Smallest value accepted.
        min: u64,
        /// Largest value accepted.
        max: u64,
    },
    /// Who asked for series or samples does not want them any more, or cannot take so many.
    #[error("reading was stopped")]
    Stopped(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file operation failed.
    #[error("cannot {op} {file}", file = file.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// The file or directory.
        file: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Another process, or another database of this process, holds the directory.
    #[error("{dir} is in use{by}", dir = dir.display(), by = match pid {
        Some(pid) => format!(" by process {pid}"),
        None => String::new(),
    })]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it, if it wrote its number.
        pid: Option<u32>,
    },
    /// Samples were deleted wherever they could be read, but a block is set aside and may hold more
    /// of them. It will serve them if it is mended.
    #[error(
        "{dir} is set aside and may keep samples that were deleted elsewhere: {reason}",
        dir = dir.display()
    )]
    OutOfReach {
        /// The block.
        dir: PathBuf,
        /// Why it is set aside.
        reason: String,
    },
    /// There is a native histogram where only floats are taken.
    #[error("{labels} has a native histogram at {timestamp}")]
    UnexpectedHistogram {
        /// The series.
        labels: Labels,
        /// When, in milliseconds.
        timestamp: i64,
    },
    /// The log refused an operation.
    #[error("cannot {op} the log")]
    Wal {
        /// What was tried.
        op: &'static str,
        /// Why it failed.
        #[source]
        source: ferula_wal::Error,
    },
    /// A record of the log does not decode.
    #[error("log segment {segment:08}, record at offset {offset}")]
    Replay {
        /// Number of the segment, or of the checkpoint.
        segment: u32,
        /// Where the record begins.
        offset: u64,
        /// What is wrong with it.
        #[source]
        source: ferula_wal::Error,
    },
    /// A series cannot be put into the index of the head.
    #[error("series {series} of the head")]
    HeadIndex {
        /// The series, or the first of those that were put there together.
        series: SeriesRef,
        /// Why not.
        #[source]
        source: ferula_index::Error,
    },
    /// The index of a block cannot be written or read.
    #[error("cannot {op} {file}", file = file.display())]
    Index {
        /// What was tried.
        op: &'static str,
        /// The index.
        file: PathBuf,
        /// Why it failed.
        #[source]
        source: ferula_index::Error,
    },
    /// A file starts with the wrong bytes.
    #[error("{file}: starts with {found:#010x}, expected {expected:#010x}", file = file.display())]
    Magic {
        /// The file.
        file: PathBuf,
        /// First four bytes.
        found: u32,
        /// What they should be.
        expected: u32,
    },
    /// A file has a version that is not read.
    #[error("{file}: version {found}, expected {expected}", file = file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is read.
        expected: u32,
    },
    /// A file is longer than it can reasonably be.
    #[error("{file}: {found} bytes, the limit is {limit}", file = file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its length, in bytes.
        found: u64,
        /// The longest that is read, in bytes.
        limit: u64,
    },
    /// The description of a block is malformed.
    #[error("{file}: malformed", file = file.display())]
    Meta {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A block is stored in a format, or in a version of one, that is not read.
    #[error("{file}: format {format} version {version} is not known", file = file.display())]
    BlockFormat {
        /// The description of the block.
        file: PathBuf,
        /// Name of the format.
        format: String,
        /// Version of the format.
        version: u32,
    },
    /// The time range of a block is inverted or empty.
    #[error("{file}: range from {mint} to {maxt} is empty", file = file.display())]
    MetaRange {
        /// The description of the block.
        file: PathBuf,
        /// Start of the range in milliseconds.
        mint: i64,
        /// End of the range in milliseconds, exclusive.
        maxt: i64,
    },
    /// A file is malformed; the source gives the offset.
    #[error("{file}: malformed", file = file.display())]
    Decode {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ferula_chunkenc::Error,
    },
    /// A chunk of a block cannot be read.
    #[error("{file}: chunk at offset {offset}", file = file.display())]
    Chunk {
        /// The chunk segment.
        file: PathBuf,
        /// Where the chunk begins.
        offset: u64,
        /// What is wrong with it.
        #[source]
        source: ferula_chunkenc::Error,
    },
    /// A chunk ref of an index leads nowhere.
    #[error("{dir}: no chunk at ref {chunk}", dir = dir.display())]
    ChunkRef {
        /// Directory of the chunk segments.
        dir: PathBuf,
        /// The ref.
        chunk: ChunkRef,
    },
    /// A block does not hold what it should.
    #[error("{dir}: {fault}", dir = dir.display())]
    Block {
        /// Directory of the block.
        dir: PathBuf,
        /// What is wrong with it.
        fault: BlockFault,
    },
    /// A snapshot of the head cannot be used.
    #[error("{file}: {fault}", file = file.display())]
    Snapshot {
        /// The snapshot.
        file: PathBuf,
        /// Why not.
        fault: SnapshotFault,
    },
    /// A record in a snapshot of the head does not decode.
    #[error("{file}: malformed", file = file.display())]
    SnapshotRecord {
        /// The snapshot.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ferula_wal::Error,
    },
    /// A snapshot would go into the directory of this database or another one.
    #[error("{dir} is the directory of a database", dir = dir.display())]
    SnapshotTarget {
        /// The directory.
        dir: PathBuf,
    },
    /// A directory is to be made that is there and holds something.
    #[error("{dir} is there and not empty", dir = dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// A file of a block is missing.
    #[error("{file} is missing", file = file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// A chunk in memory does not decode: a mistake of this crate, or of the memory.
    #[error("chunk of series {series} in the head")]
    HeadChunk {
        /// The series.
        series: SeriesRef,
        /// What is wrong with it.
        #[source]
        source: ferula_chunkenc::Error,
    },
    /// A sample that no store would take.
    #[error("sample of {labels} is refused")]
    Refused {
        /// Its series.
        labels: Labels,
        /// Why.
        #[source]
        source: AppendError,
    },
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
    /// The log has stopped after a failed write or sync: for lack of space, for example. Nothing is
    /// acknowledged until it can go on, which every commit tries. Reads go on.
    #[error("the log takes nothing at the moment")]
    LogStopped {
        /// Why it stopped.
        #[source]
        source: ferula_wal::Error,
    },
    /// An earlier batch could not be logged or indexed in whole, so nothing more is acknowledged until
    /// the database is opened again. Reads go on.
    #[error("an earlier batch failed half way; open the database again to write")]
    LogFailed,
}

/// What is wrong with a block whose files are readable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockFault {
    /// The directory is not called as the block is.
    #[error("the block calls itself {ulid}")]
    Name {
        /// Name of the block by its description.
        ulid: Ulid,
    },
    /// Series do not ascend.
    #[error("series {labels} does not come after the one before it")]
    SeriesOrder {
        /// The series.
        labels: Labels,
    },
    /// The samples of a chunk lie elsewhere than the index says, or outside of the block.
    #[error("chunk {chunk} of {labels} does not hold the samples that the index names")]
    ChunkRange {
        /// The series.
        labels: Labels,
        /// The chunk.
        chunk: ChunkRef,
    },
    /// The values of a chunk are others than the index says: the first, the last, the smallest or
    /// the largest.
    #[error(
        "chunk {chunk} of {labels} has other first, last, smallest or largest values than the index says"
    )]
    ChunkBounds {
        /// The series.
        labels: Labels,
        /// The chunk.
        chunk: ChunkRef,
    },
    /// A page of chunks does not hold the samples that it was made from: a mistake of this crate, or
    /// of the memory.
    #[error("page at offset {offset} of segment {segment} holds other samples than it should")]
    Page {
        /// Index of the segment, from zero.
        segment: u32,
        /// Where in it the page would begin.
        offset: u32,
    },
    /// It does not hold as much as its description says.
    #[error("holds {found} {what}, its description says {expected}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many were found.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
}

/// Why a snapshot of the head cannot be used although its checksums are right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotFault {
    /// The log, the blocks or the chunk files are not as they were when it was made.
    #[error("the {what} changed since it was made")]
    Stale {
        /// What changed.
        what: &'static str,
    },
    /// A frame is of an unknown kind, or stands where it may not.
    #[error("frame at offset {offset} is out of place")]
    Frame {
        /// Where the frame begins.
        offset: u64,
    },
    /// A label name or value is not text, or the number of a name is not one.
    #[error("label pair at offset {offset} is malformed")]
    Text {
        /// Where the pair begins.
        offset: u64,
    },
    /// A series has a label pair that there is not.
    #[error("series {series} has the label pair {pair}, which is not there")]
    Pair {
        /// The series.
        series: SeriesRef,
        /// Number of the pair.
        pair: u32,
    },
    /// Refs of series do not ascend, or two series have the same labels.
    #[error("series {series} does not come after the one before it, or is there twice")]
    Order {
        /// The series.
        series: SeriesRef,
    },
    /// An exemplar is of a series that there is not.
    #[error("an exemplar is of series {series}, which is not there")]
    ExemplarSeries {
        /// The series.
        series: SeriesRef,
    },
    /// A series says something that is not there.
    #[error("series {series} has the metadata {number}, which is not there")]
    Description {
        /// The series.
        series: SeriesRef,
        /// Number of the metadata.
        number: u64,
    },
    /// It does not hold as much as it says.
    #[error("holds {found} {what}, says {expected}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many were found.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
}

impl Error {
    /// Tells whether what was read is to blame, so that trying again would fail again.
    pub(crate) fn is_of_data(&self) -> bool {
        match self {
            Self::Index { source, .. } => !matches!(source, ferula_index::Error::Write { .. }),
            Self::Magic { .. }
            | Self::Version { .. }
            | Self::TooLarge { .. }
            | Self::Meta { .. }
            | Self::BlockFormat { .. }
            | Self::MetaRange { .. }
            | Self::Decode { .. }
            | Self::Chunk { .. }
            | Self::ChunkRef { .. }
            | Self::Block { .. }
            | Self::Missing { .. } => true,
            _ => false,
        }
    }

    /// The file or directory that the error is about, and where in it, as far as that is known.
    pub fn location(&self) -> Option<(&Path, Option<u64>)> {
        use ferula_index::Error::Corrupt;
        match self {
            Self::Index { file, source: Corrupt { offset, .. }, .. } => Some((file, Some(*offset))),
            Self::Magic { file, .. } => Some((file, Some(0))),
            Self::Chunk { file, offset, .. } => Some((file, Some(*offset))),
            Self::Io { file, .. }
            | Self::Index { file, .. }
            | Self::Version { file, .. }
            | Self::TooLarge { file, .. }
            | Self::Meta { file, .. }
            | Self::BlockFormat { file, .. }
            | Self::MetaRange { file, .. }
            | Self::Decode { file, .. }
            | Self::Snapshot { file, .. }
            | Self::SnapshotRecord { file, .. }
            | Self::Missing { file } => Some((file, None)),
            Self::ChunkRef { dir, .. }
            | Self::Block { dir, .. }
            | Self::Locked { dir, .. }
            | Self::NotEmpty { dir }
            | Self::SnapshotTarget { dir } => Some((dir, None)),
            Self::Wal { source, .. } | Self::LogStopped { source } => source.location(),
            _ => None,
        }
    }

    /// The error and its causes in one line.
    pub(crate) fn to_string_with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// Makes a function that tells that series, of which `first` is the first one, cannot be put into
    /// the index of the head.
    pub(crate) fn index_all(first: SeriesRef) -> impl FnOnce(ferula_index::Error) -> Self {
        move |source| {
            let series = match source {
                ferula_index::Error::SeriesRefTaken { series } => series,
                _ => first,
            };
            Self::HeadIndex { series, source }
        }
    }

    /// Makes a function that wraps an IO error with what was tried on which file.
    pub(crate) fn io<'a>(op: &'static str, file: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { op, file: file.to_path_buf(), source }
    }
}

/// Why one sample was refused. The rest of its batch stands.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The series already has a later sample.
    #[error("sample at {timestamp} is out of order, the series is at {newest}")]
    OutOfOrder {
        /// Time of the refused sample, in milliseconds.
        timestamp: i64,
        /// Time of the newest sample of the series, in milliseconds.
        newest: i64,
    },
    /// The series already has another value at this time. The same value is accepted silently.
    #[error("sample at {timestamp} has value {offered}, the series has {existing} there")]
    DuplicateTimestamp {
        /// Time of both samples, in milliseconds.
        timestamp: i64,
        /// Value that the series has.
        existing: f64,
        /// Value that was refused.
        offered: f64,
    },
    /// The series already has another sample at this time, and one of the two is a native histogram.
    /// An equal histogram is accepted silently.
    #[error("histogram at {timestamp} differs from what the series has there")]
    DuplicateHistogram {
        /// Time of both samples, in milliseconds.
        timestamp: i64,
    },
    /// The parts of a native histogram do not fit together.
    #[error("the histogram is not valid")]
    InvalidHistogram {
        /// What is wrong with it.
        #[source]
        source: HistogramError,
    },
    /// The sample lies before what the head still takes.
    #[error("sample at {timestamp} is too old, the head takes samples from {oldest} on")]
    TooOld {
        /// Time of the refused sample, in milliseconds.
        timestamp: i64,
        /// Earliest time that is accepted, in milliseconds.
        oldest: i64,
    },
    /// The sample lies farther from the Unix epoch than [`MAX_TIME_MS`](crate::MAX_TIME_MS).
    #[error("sample at {timestamp} is more than {limit} ms away from the Unix epoch")]
    TimeOutOfRange {
        /// Time of the refused sample, in milliseconds.
        timestamp: i64,
        /// Largest distance, in milliseconds.
        limit: i64,
    },
    /// The label set is empty.
    #[error("a series needs at least one label")]
    NoLabels,
    /// A label name is empty.
    #[error("a label name is empty")]
    EmptyLabelName,
    /// The label set has too many labels.
    #[error("a series has {found} labels, the limit is {limit}")]
    TooManyLabels {
        /// Labels found.
        found: usize,
        /// Most that are accepted.
        limit: usize,
    },
    /// A label name is too long.
    #[error("a label name has {found} bytes, the limit is {limit}")]
    LabelNameTooLong {
        /// Length found, in bytes.
        found: usize,
        /// Longest that is accepted, in bytes.
        limit: usize,
    },
    /// A label value is too long.
    #[error("the value of label {name:?} has {found} bytes, the limit is {limit}")]
    LabelValueTooLong {
        /// The label.
        name: String,
        /// Length found, in bytes.
        found: usize,
        /// Longest that is accepted, in bytes.
        limit: usize,
    },
    /// The labels of a series are too long together.
    #[error("labels of {found} bytes, at most {limit} are accepted")]
    LabelSetTooLong {
        /// Length of all names and values, in bytes.
        found: usize,
        /// Most that is accepted, in bytes.
        limit: usize,
    },
    /// The head has as many series as it may; those that it has are still appended to.
    #[error("the head has {limit} series and takes no more")]
    TooManySeries {
        /// Most series that the head takes.
        limit: u64,
    },
    /// The batch is full; commit it and go on with another.
    #[error("the batch holds {limit} samples, its limit")]
    BatchFull {
        /// Most samples that a batch takes.
        limit: usize,
    },
    /// The histograms of the batch are too large together; commit it and go on with another.
    #[error("the batch holds {limit} bytes of histograms, its limit")]
    BatchTooLarge {
        /// Most bytes of buckets and spans that a batch takes.
        limit: usize,
    },
    /// The head knows no series by this ref: it was never given out, or the series had no samples
    /// left and was removed. Append by labels again.
    #[error("no series has the ref {series}")]
    UnknownSeries {
        /// The ref.
        series: SeriesRef,
    },
}
