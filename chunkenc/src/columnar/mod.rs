//! Columnar chunks, for samples that are not appended to any more.
//!
//! Up to 8,192 samples of a series are taken apart into a column of times and one of values, and
//! each column is written in whatever way is smallest: see `docs/formats/columnar.md`. Every bit of
//! every value is kept. A [`ColumnarChunk`] tells count, times and bounds of the values without
//! decoding, and decodes a part without the rest.
//!
//! ```
//! use ferula_chunkenc::SampleBatch;
//! use ferula_chunkenc::columnar::{ColumnarChunk, ColumnarEncoder};
//!
//! let times: Vec<i64> = (0..480).map(|i| 1_700_000_000_000 + i * 15_000).collect();
//! let values: Vec<f64> = (0..480).map(|i| f64::from(i % 7) / 10.0).collect();
//! let mut data = Vec::new();
//! ColumnarEncoder::new().encode(&times, &values, None, &mut data)?;
//! assert!(data.len() < 200);
//!
//! let chunk = ColumnarChunk::parse(&data)?;
//! assert_eq!((chunk.stats().values.min, chunk.stats().values.max), (0.0, 0.6));
//! let mut batch = SampleBatch::new();
//! chunk.decode_range(times[10], times[20], &mut batch)?;
//! assert_eq!(batch.values(), &values[10..=20]);
//! # Ok::<(), ferula_chunkenc::Error>(())
//! ```

mod binned;
mod chunk;
mod decimal;
mod dictionary;
mod exceptions;
mod histogram;
mod ints;
mod packed;
mod page;
mod page_reader;
mod parts;
mod pick;
mod time_table;
mod timestamps;
mod values;
mod zstd_memory;

use std::fmt;

pub use chunk::{ChunkContent, ChunkStats, ColumnarChunk, ColumnarEncoder};
pub use histogram::{ColumnarHistogram, MAX_BUCKETS, MAX_COUNTS};
pub use page::{MAX_PAGE_BYTES, Page, PageWriter};
pub use page_reader::{PageMemory, PageReader};
pub use parts::{PageColumn, PagePart};
pub use pick::ValueKind;
pub use time_table::{TimeRef, TimeTable, TimeTableWriter};
pub use values::ValueStats;
pub use zstd_memory::Decompressor;

/// Most samples of one chunk.
pub const MAX_SAMPLES: usize = 8192;

/// Integers that are coded together and decoded without others.
pub const VECTOR: usize = 1024;

/// A field of columnar data that has a value it cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnField {
    /// Version of the format.
    Version,
    /// Flags of a chunk.
    Flags,
    /// Number of samples.
    Count,
    /// What kind of column follows.
    Kind,
    /// How the residuals of a vector are coded.
    VectorCode,
    /// Frequencies of the classes of integers.
    Classes,
    /// Where a value is that does not fit its column.
    Exception,
    /// Which entry of a dictionary a value is.
    DictionaryIndex,
    /// Where the bits of floats are split.
    Cut,
    /// The column that another one is relative to.
    Reference,
    /// The columns that a chunk consists of.
    Parts,
    /// Buckets of histograms and which of them each has.
    Layout,
    /// Which column of times a chunk has.
    TimeColumn,
    /// Which chunk of a page it is.
    Chunk,
    /// Size of a page.
    PageSize,
    /// The frame that a page is compressed in.
    Compression,
}

impl fmt::Display for ColumnField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "version of columnar data",
            Self::Flags => "flags",
            Self::Count => "number of samples",
            Self::Kind => "kind of column",
            Self::VectorCode => "coding of a vector",
            Self::Classes => "table of classes",
            Self::Exception => "exception",
            Self::DictionaryIndex => "index of a dictionary",
            Self::Cut => "position to split bits at",
            Self::Reference => "reference to a column",
            Self::Parts => "parts of a column",
            Self::Layout => "layout of histograms",
            Self::TimeColumn => "column of times",
            Self::Chunk => "chunk of a page",
            Self::PageSize => "size of a page",
            Self::Compression => "size of a compressed page",
        })
    }
}

/// Runs `work` as compiled for the widest vectors that this machine has; whatever it calls must be
/// inlined to profit from that.
#[inline(always)]
fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// The eight bytes from `at` on, the first of them lowest; zeros past the end.
#[inline(always)]
fn u64_at(data: &[u8], at: usize) -> u64 {
    let rest = data.get(at..).unwrap_or_default();
    rest.first_chunk().map_or_else(|| padded(rest), |chunk| u64::from_le_bytes(*chunk))
}

#[cold]
fn padded(rest: &[u8]) -> u64 {
    let mut chunk = [0; 8];
    chunk[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(chunk)
}
