//! What can go wrong with label sets, matchers and index files.

use std::io;

use crate::block::Section;
use crate::{ChunkRef, Labels, SeriesRef};

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A label name occurs twice in one label set.
    #[error("label name {name:?} is not unique")]
    DuplicateLabel {
        /// The repeated name.
        name: String,
    },
    /// A label name or value is longer than a label set can hold.
    #[error("label name or value of {len} bytes exceeds the limit of {limit}")]
    LabelTooLong {
        /// Length found, in bytes.
        len: usize,
        /// Longest length that is accepted, in bytes.
        limit: usize,
    },
    /// A regular expression of a matcher does not compile.
    #[error("invalid regular expression {pattern:?}: {reason}")]
    Regex {
        /// The expression as given.
        pattern: String,
        /// What is wrong with it, in one line.
        reason: String,
    },
    /// A series ref that is to be inserted is zero or stands for other labels already.
    #[error("series ref {series} is zero or stands for other labels")]
    SeriesRefTaken {
        /// The ref.
        series: SeriesRef,
    },
    /// There are more strings or label pairs than can be numbered.
    #[error("more than {limit} different strings or label pairs")]
    TooManySymbols {
        /// How many can be numbered.
        limit: u32,
    },
    /// There are more series than can be kept apart.
    #[error("series in more than {limit_pages} pages of one stripe")]
    TooManySeries {
        /// Pages of 64 refs in sequence that each of the 64 stripes can have.
        limit_pages: u32,
    },
    /// A part of an index file is not what it should be.
    #[error("{section} of the index is corrupt at byte {offset}")]
    Corrupt {
        /// The part of the file.
        section: Section,
        /// Where in the file what was read begins.
        offset: u64,
        /// What is wrong there.
        source: Corruption,
    },
    /// An index has no series under a ref.
    #[error("no series {series} in the index")]
    UnknownSeries {
        /// The ref.
        series: SeriesRef,
    },
    /// Symbols for an index file do not ascend.
    #[error("symbol {symbol:?} does not come after the one before it")]
    SymbolOrder {
        /// The symbol refused.
        symbol: String,
    },
    /// A label name or value is not among the symbols of the index file that is written.
    #[error("{symbol:?} is not among the symbols of the index")]
    UnknownSymbol {
        /// The name or value.
        symbol: String,
    },
    /// Series for an index file do not ascend.
    #[error("series {labels} does not come after {last}")]
    SeriesOrder {
        /// The series refused.
        labels: Labels,
        /// The series before it.
        last: Labels,
    },
    /// Chunks of a series overlap, or refs of chunks do not ascend.
    #[error("chunk {chunk} of series {labels} does not come after the one before it")]
    ChunkOrder {
        /// The series.
        labels: Labels,
        /// The chunk refused.
        chunk: ChunkRef,
    },
    /// A part of an index file is larger than the format allows.
    #[error("{section} of {size_bytes} bytes exceeds the limit of {limit_bytes}")]
    TooLarge {
        /// The part of the file.
        section: Section,
        /// Its size.
        size_bytes: u64,
        /// The largest size.
        limit_bytes: u64,
    },
    /// Writing an index file failed.
    #[error("cannot write the index")]
    Write {
        /// Why.
        #[from]
        source: io::Error,
    },
}

/// What is wrong with a part of an index file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// Bytes are missing, a number is malformed, or a checksum does not match. Offsets count from
    /// the start of what was read.
    #[error(transparent)]
    Bytes(#[from] ferula_chunkenc::Error),
    /// The file does not begin like an index.
    #[error("magic number {found:#010x}")]
    Magic {
        /// What it begins with.
        found: u32,
    },
    /// The file has a version that is not read.
    #[error("version {found} is not supported")]
    Version {
        /// The version.
        found: u8,
    },
    /// An offset lies outside of the file or of its section.
    #[error("offset out of range")]
    Offset,
    /// What must ascend does not.
    #[error("not in order")]
    Order,
    /// A string is not UTF-8.
    #[error("string is not UTF-8")]
    Utf8,
    /// There is no symbol with a number.
    #[error("unknown symbol")]
    Symbol,
    /// A time does not fit 64 bits.
    #[error("time out of range")]
    Time,
    /// A number of items does not go with the size of the whole.
    #[error("wrong number of items: {found}")]
    Count {
        /// The number.
        found: u64,
    },
}
