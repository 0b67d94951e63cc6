//! What can go wrong with a log.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::record::RecordKind;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused something.
    #[error("cannot {op} {file}", file = file.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// On which file or directory.
        file: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A part of the log that had been made durable cannot be read. Nothing was changed.
    #[error("{file}: record at offset {offset}: {reason}", file = file.display())]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the unreadable part begins.
        offset: u64,
        /// What is wrong with it.
        reason: DamageReason,
    },
    /// A segment is missing between others.
    #[error("{dir}: segment {missing:08} is missing before {next:08}", dir = dir.display())]
    MissingSegment {
        /// The directory of the log.
        dir: PathBuf,
        /// Number of the first segment that is missing.
        missing: u32,
        /// Number of the segment found after it.
        next: u32,
    },
    /// A tail was to go on behind the end of a segment: what it had read was lost in a crash.
    #[error("{file}: position {offset} is behind the end at {len}", file = file.display())]
    PositionLost {
        /// The segment.
        file: PathBuf,
        /// Where the tail was to go on.
        offset: u64,
        /// Where the segment ends.
        len: u64,
    },
    /// All segment numbers are used up.
    #[error("{dir}: no segment number is left", dir = dir.display())]
    SegmentNumbers {
        /// The directory of the log.
        dir: PathBuf,
    },
    /// A record has no bytes.
    #[error("a record must have at least one byte")]
    EmptyRecord,
    /// A record, or a batch of them, is longer than the log takes.
    #[error("{len} bytes of records exceed the limit of {limit}")]
    TooLarge {
        /// Bytes found.
        len: u64,
        /// Most bytes accepted.
        limit: u64,
    },
    /// The bytes of a record are not what its type says.
    #[error("{kind} record does not decode")]
    RecordBytes {
        /// Which kind of record.
        kind: RecordKind,
        /// What is wrong with them; offsets are those within the record.
        #[source]
        source: ferula_chunkenc::Error,
    },
    /// A field of a record has a value that it cannot have.
    #[error("{kind} record: {field} before byte {offset} is out of its range")]
    RecordField {
        /// Which kind of record.
        kind: RecordKind,
        /// Which field.
        field: &'static str,
        /// Offset in the record behind the field, in bytes.
        offset: usize,
    },
    /// A string in a record is not UTF-8.
    #[error("{kind} record: string before byte {offset} is not UTF-8")]
    RecordText {
        /// Which kind of record.
        kind: RecordKind,
        /// Offset in the record behind the string, in bytes.
        offset: usize,
    },
    /// The labels of a series in a record are no label set.
    #[error("{kind} record: entry before byte {offset} has invalid labels")]
    RecordLabels {
        /// Which kind of record.
        kind: RecordKind,
        /// Offset in the record behind the labels, in bytes.
        offset: usize,
        /// What is wrong with them.
        #[source]
        source: ferula_index::Error,
    },
    /// A checkpoint was asked for over segments that are still written.
    #[error("checkpoint through segment {through}, but {current} is still written")]
    CheckpointRange {
        /// Last segment the checkpoint was to replace.
        through: u32,
        /// The segment being written.
        current: u32,
    },
    /// Segments were to be removed that come after the log's checkpoint.
    #[error("cannot remove segments up to {segment}, there is a checkpoint of {checkpoint}")]
    TruncateRange {
        /// First segment that was to stay.
        segment: u32,
        /// Number of the checkpoint.
        checkpoint: u32,
    },
    /// An option is out of its range.
    #[error("option {option} is {value}, which is not {expected}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: u64,
        /// What it should be.
        expected: &'static str,
    },
    /// A write or sync failed, now or before. The log takes nothing until it can go on:
    /// [`Wal::try_resume`](crate::Wal::try_resume).
    #[error("the log stopped after a failure")]
    Stopped {
        /// The failure.
        #[source]
        cause: Arc<Error>,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl Error {
    /// Tells whether this comes from a disk without space left: something to wait for.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::Stopped { cause } => cause.is_storage_full(),
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// The file or directory that the error is about, and where in it, as far as that is known.
    pub fn location(&self) -> Option<(&Path, Option<u64>)> {
        match self {
            Self::Io { file, .. } => Some((file, None)),
            Self::Damaged { file, offset, .. } | Self::PositionLost { file, offset, .. } => {
                Some((file, Some(*offset)))
            }
            Self::MissingSegment { dir, .. } | Self::SegmentNumbers { dir } => Some((dir, None)),
            Self::Stopped { cause } => cause.location(),
            _ => None,
        }
    }

    /// Makes a function that wraps an IO error with what was tried on which file.
    pub(crate) fn io<'a>(op: &'static str, file: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { op, file: file.to_path_buf(), source }
    }
    /// Makes a function that says in which kind of record bytes do not decode.
    pub(crate) fn in_record(kind: RecordKind) -> impl Fn(ferula_chunkenc::Error) -> Self {
        move |source| Self::RecordBytes { kind, source }
    }
}

/// Why a part of a segment cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageReason {
    /// The checksum of a fragment does not match.
    Checksum {
        /// Checksum of the bytes found.
        found: u32,
        /// Checksum in the header.
        expected: u32,
    },
    /// The segment ends within a fragment, a record or a batch of records.
    CutShort,
    /// A fragment's header has bits that mean nothing, or its kind is unknown.
    Header {
        /// First byte of the header.
        byte: u8,
    },
    /// A fragment is longer than its page.
    Length {
        /// Length in the header.
        len: u16,
        /// Bytes left in the page.
        left: u16,
    },
    /// A fragment follows that cannot: a middle without a first, a first within a record.
    Order,
    /// A page is padded where only its last bytes may be, or padded with something else than zeros.
    Padding,
    /// A record does not decompress.
    Compression,
    /// A record is longer than a log holds.
    TooLarge {
        /// Bytes found so far.
        len: u64,
    },
}

impl fmt::Display for DamageReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum { found, expected } => {
                write!(f, "checksum {found:#010x}, expected {expected:#010x}")
            }
            Self::CutShort => f.write_str("the segment ends within it"),
            Self::Header { byte } => write!(f, "unknown fragment header {byte:#04x}"),
            Self::Length { len, left } => {
                write!(f, "fragment of {len} bytes with {left} left in its page")
            }
            Self::Order => f.write_str("fragment out of order"),
            Self::Padding => f.write_str("padding within the segment"),
            Self::Compression => f.write_str("does not decompress"),
            Self::TooLarge { len } => write!(f, "{len} bytes exceed the limit"),
        }
    }
}
