//! What the head holds, written down when the database is closed, so that it need not be made from
//! the log again.
//!
//! The format is this crate's own, described in `docs/formats/snapshot.md`: Prometheus's knows nothing
//! of where its chunk files end and of series that the log has two refs for, and repeats the labels
//! of every series in full. The codec knows no head: [`writer`] takes what there is piece by piece,
//! [`reader`] gives it back, series by series from many threads, and [`file`] has it there whole or
//! not at all. [`head`] goes between the codec and the head.
//!
//! A snapshot is used only if the log, the blocks and the chunk files are as they were when it was
//! made, which [`Origin`] tells.

mod file;
mod head;
mod layout;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use ferula_chunkenc::Encoding;
use ferula_index::{ChunkRef, SeriesRef};

use self::file::SnapshotFile;
pub(crate) use self::file::{SNAPSHOT_FILE, open, remove};
pub(crate) use self::reader::SnapshotReader;
use self::writer::SnapshotWriter;
use super::chunk_files::ChunkFileEnd;

/// Where a log ends; all zeros where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// Number of its last segment.
    pub(crate) segment: u32,
    /// Length of that.
    pub(crate) len: u64,
    /// Checksum of its last bytes, so that another log of the same length is told apart.
    pub(crate) tail: u32,
}

/// What a snapshot was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Where the log ends.
    pub(crate) log: LogEnd,
    /// Where the log of samples out of order ends.
    pub(crate) out_of_order: LogEnd,
    /// End of the time that blocks cover, exclusive.
    pub(crate) covered_until: i64,
    /// The files of full chunks.
    pub(crate) chunk_files: Vec<ChunkFileEnd>,
}

/// What a snapshot holds beside series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// What it was made of.
    pub(crate) origin: Origin,
    /// The ref that the next new series gets.
    pub(crate) next_ref: u64,
    /// Whether the log has records that are not decoded.
    pub(crate) has_opaque_records: bool,
    /// Refs that the log knows a series by beside its own, each with that one, ascending.
    pub(crate) aliases: Vec<(SeriesRef, SeriesRef)>,
    /// What is deleted: series, first and last time.
    pub(crate) deleted: Vec<(SeriesRef, i64, i64)>,
}

/// A series in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotSeries<'a> {
    /// Its ref.
    pub(crate) series: SeriesRef,
    /// Numbers of its label pairs, in label order.
    pub(crate) pairs: &'a [u32],
    /// The full chunks in files, in time order.
    pub(crate) full: &'a [SnapshotChunk],
    /// The chunk appended to.
    pub(crate) open: Option<SnapshotOpen<'a>>,
}

/// A full chunk, which is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotChunk {
    /// Time of the first sample.
    pub(crate) mint: i64,
    /// Time of the last sample.
    pub(crate) maxt: i64,
    /// Where it is.
    pub(crate) at: ChunkRef,
}

/// The chunk appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotOpen<'a> {
    /// How the samples are encoded.
    pub(crate) encoding: Encoding,
    /// Time of the first sample.
    pub(crate) mint: i64,
    /// How long after it the chunk is cut, in milliseconds.
    pub(crate) cut_span_ms: u64,
    /// The samples.
    pub(crate) data: &'a [u8],
}
