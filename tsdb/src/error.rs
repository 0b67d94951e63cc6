//! What can go wrong with a database, and why a sample is refused.

use std::io;
use std::path::PathBuf;

use ferula_index::SeriesRef;

/// Errors of a database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of bounds.
    #[error("option {option} is {value}, its bound is {bound}")]
    InvalidOption {
        /// Name of the setting.
        option: &'static str,
        /// Value found.
        value: i64,
        /// The bound that it violates.
        bound: i64,
    },
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
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
    /// An earlier write or sync of the log failed, so nothing more is acknowledged until the
    /// database is opened again. Reads go on.
    #[error("an earlier write to the log failed; open the database again to write")]
    LogFailed,
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
    /// The sample lies before what the head still takes.
    #[error("sample at {timestamp} is too old, the head takes samples from {oldest} on")]
    TooOld {
        /// Time of the refused sample, in milliseconds.
        timestamp: i64,
        /// Earliest time that is accepted, in milliseconds.
        oldest: i64,
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
    /// The batch is full; commit it and go on with another.
    #[error("the batch holds {limit} samples, its limit")]
    BatchFull {
        /// Most samples that a batch takes.
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
