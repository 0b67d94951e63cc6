//! Handles by which series and chunks are addressed.

use std::fmt;

/// Handle of a series within one head or one block.
///
/// Refs are never zero in a store: zero stands for "not known yet" in write paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesRef(pub u64);

impl fmt::Display for SeriesRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Place of a chunk within the chunk files of a block: the number of the segment in the upper 32
/// bits, the offset in it in the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkRef(pub u64);

impl fmt::Display for ChunkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// Where a chunk is and what time it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Timestamp of the first sample, in milliseconds.
    pub mint: i64,
    /// Timestamp of the last sample, in milliseconds.
    pub maxt: i64,
    /// Where the chunk is.
    pub chunk: ChunkRef,
}
