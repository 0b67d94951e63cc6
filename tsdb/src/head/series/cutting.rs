//! Where chunks end.
//!
//! Chunks are cut as Prometheus cuts them: at boundaries of the block range, and within a range
//! so that its chunks come out equally long, near [`SAMPLES_PER_CHUNK`] samples each. A chunk
//! therefore never crosses a boundary, and a block is cut from whole chunks.

/// Samples that a chunk should have.
pub(super) const SAMPLES_PER_CHUNK: u16 = 120;

/// Samples after which a chunk is cut although its predicted end was not reached.
pub(super) const MAX_SAMPLES_PER_CHUNK: u16 = 2 * SAMPLES_PER_CHUNK;

/// End of the block range that holds `timestamp`, exclusive.
pub(crate) fn range_end(timestamp: i64, block_range_ms: i64) -> i64 {
    timestamp.div_euclid(block_range_ms).saturating_add(1).saturating_mul(block_range_ms)
}

/// How long a chunk from `start` may last at most: to the boundary of the block range, and no
/// longer than 32 bits of milliseconds tell, some 49 days.
pub(super) fn longest_span(start: i64, block_range_ms: i64) -> u32 {
    u32::try_from(range_end(start, block_range_ms).saturating_sub(start)).unwrap_or(u32::MAX)
}

/// How long a chunk should last, so that the chunks up to `longest` after its start come out
/// equally long, if a quarter of its samples took until `taken` after its start.
pub(super) fn predicted_span(taken: u32, longest: u32) -> u32 {
    let taken = u64::from(taken).saturating_add(1).saturating_mul(4);
    match u64::from(longest) / taken {
        0 | 1 => longest,
        n => u32::try_from(u64::from(longest) / n).unwrap_or(longest),
    }
}

/// The same, if `ratio` times what there is makes a chunk of the size wanted.
pub(super) fn span_by_ratio(taken: u32, longest: u32, ratio: f64) -> u32 {
    let n = f64::from(longest) / ((f64::from(taken) + 1.0) * ratio);
    if n <= 1.0 {
        return longest;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a part of `longest`")]
    #[expect(clippy::cast_sign_loss, reason = "neither is negative")]
    let span = (f64::from(longest) / n.floor()) as u32;
    span
}
