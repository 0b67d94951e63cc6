//! Settings of a backfill.

use std::sync::Arc;

use crate::block::BlockFormat;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::options::{DEFAULT_BLOCK_RANGE_MS, DEFAULT_CHUNK_SEGMENT_BYTES, Options};

/// Memory for samples that are gathered, in bytes, unless the settings say otherwise.
pub const DEFAULT_BACKFILL_MEMORY_BYTES: usize = 256 << 20;

/// Least memory for samples that are gathered, in bytes.
pub const MIN_BACKFILL_MEMORY_BYTES: usize = 64 << 10;

/// How blocks are made of samples that come in any order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackfillOptions {
    /// The time that a block covers at most, in milliseconds; blocks are aligned to it.
    pub block_range_ms: i64,
    /// How blocks are stored.
    pub block_format: BlockFormat,
    /// Memory for samples that are gathered, in bytes.
    pub memory_bytes: usize,
    /// Size at which a block starts a new chunk segment, in bytes.
    pub chunk_segment_bytes: u64,
    /// Where the time in the names of blocks comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for BackfillOptions {
    fn default() -> Self {
        Self {
            block_range_ms: DEFAULT_BLOCK_RANGE_MS,
            block_format: BlockFormat::default(),
            memory_bytes: DEFAULT_BACKFILL_MEMORY_BYTES,
            chunk_segment_bytes: DEFAULT_CHUNK_SEGMENT_BYTES,
            clock: Arc::new(SystemClock),
        }
    }
}

impl BackfillOptions {
    pub(super) fn check(&self) -> Result<(), Error> {
        let (found, least) = (self.memory_bytes, MIN_BACKFILL_MEMORY_BYTES);
        if found < least {
            let (value, min, max) = (found as u64, least as u64, u64::MAX);
            return Err(Error::InvalidOption { option: "memory_bytes", value, min, max });
        }
        // Those that a database has, too.
        let builder = Options::builder().block_range_ms(self.block_range_ms);
        builder.chunk_segment_bytes(self.chunk_segment_bytes).build().map(drop)
    }
}
