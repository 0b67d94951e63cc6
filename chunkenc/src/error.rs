//! What can go wrong when chunks are written or read.

use crate::Encoding;
use crate::columnar::ColumnField;
use crate::histogram::HistogramError;

/// Errors of this crate.
///
/// Decoding errors report the offset within the slice that was decoded; whoever knows where the
/// slice came from adds file and base offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data ends before what it announces.
    #[error("{needed} bytes needed at offset {offset}, {available} left")]
    Truncated {
        /// Where the bytes should have been, counted from the start of the slice.
        offset: usize,
        /// How many bytes should have been there.
        needed: usize,
        /// How many were.
        available: usize,
    },
    /// A variable-length integer does not fit 64 bits.
    #[error("variable-length integer at offset {offset} exceeds 64 bits")]
    VarintOverflow {
        /// Where the integer begins.
        offset: usize,
    },
    /// A checksum does not match the bytes it covers.
    #[error("checksum at offset {offset} is {expected:#010x}, of the data {found:#010x}")]
    Checksum {
        /// Where the stored checksum stands.
        offset: usize,
        /// The checksum as stored.
        expected: u32,
        /// The checksum of the data as found.
        found: u32,
    },
    /// No chunk encoding has this number.
    #[error("unknown chunk encoding {found}")]
    UnknownEncoding {
        /// The encoding byte.
        found: u8,
    },
    /// A chunk announces more samples than its bytes can hold.
    #[error("chunk of {size_bytes} bytes announces {count} samples, holds {held} at most")]
    SampleCount {
        /// Size of the chunk's data.
        size_bytes: usize,
        /// Number of samples announced.
        count: u16,
        /// The most that could be in there.
        held: usize,
    },
    /// The bits of a value lie outside of the 64 there are.
    #[error("value with {leading} leading zeros and {significant} significant bits at bit {bit}")]
    ValueWindow {
        /// Bit position in the chunk's data.
        bit: usize,
        /// Number of leading zero bits announced.
        leading: u8,
        /// Number of significant bits announced.
        significant: u8,
    },
    /// A sample does not come after the last one.
    #[error("timestamp {timestamp} does not exceed the last one, {last}")]
    OutOfOrder {
        /// Timestamp refused.
        timestamp: i64,
        /// Last timestamp in the chunk.
        last: i64,
    },
    /// A chunk holds as many samples as it can.
    #[error("chunk is full: it holds {limit} samples")]
    ChunkFull {
        /// The largest number of samples of one chunk.
        limit: u16,
    },
    /// A chunk holds something else than what it was asked for.
    #[error("a chunk of encoding {found} does not hold {wanted}")]
    WrongEncoding {
        /// What the chunk was asked for.
        wanted: Encoding,
        /// What it holds.
        found: Encoding,
    },
    /// A span of a histogram chunk has an offset or a length that histograms cannot have.
    #[error("span at bit {bit} has offset {offset} and length {length}")]
    SpanRange {
        /// Bit position behind the span in the chunk's data.
        bit: usize,
        /// Offset announced.
        offset: i64,
        /// Length announced.
        length: u64,
    },
    /// A histogram chunk announces more buckets than its bytes can hold.
    #[error("chunk of {size_bytes} bytes announces {needed} buckets, holds {held} at most")]
    BucketCount {
        /// Size of the chunk's data.
        size_bytes: usize,
        /// Number of buckets that the spans cover.
        needed: u64,
        /// The most that could be in there.
        held: usize,
    },
    /// A field of columnar data has a value that it cannot have.
    #[error("{found} at offset {offset} is no valid {field}")]
    Columnar {
        /// Where the field begins, counted from the start of the slice.
        offset: usize,
        /// Which field it is.
        field: ColumnField,
        /// What it holds.
        found: u64,
    },
    /// A column has no entries, or more than there may be, or not as many as the one beside it.
    #[error("a column has {found} entries, there must be 1 to {limit}")]
    ColumnLength {
        /// Number of entries.
        found: usize,
        /// The most there may be.
        limit: usize,
    },
    /// A histogram breaks a rule.
    #[error(transparent)]
    Histogram(#[from] HistogramError),
}
