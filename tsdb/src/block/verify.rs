//! Reading a whole block back: does it hold what its description and its index say?
//!
//! This is done before the sources of a block are given up, so nothing is trusted: every checksum,
//! the order of series and chunks, the times of every sample that is newly encoded, all counts, and
//! what an index says of values.

use ferula_chunkenc::columnar::ValueStats;
use ferula_chunkenc::{Error as DecodeError, SampleBatch};
use ferula_index::ChunkMeta;
use ferula_index::ferula::ValueBounds;
use ferula_wal::fs::Fs;

use super::Block;
use super::stored::{ColumnValues, Columns, StoredChunk};
use crate::error::{BlockFault, Error};

/// How much of a block is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Everything, the times of all samples included: what is in the chunks is new.
    Samples,
    /// Everything that need not be decoded. For a block whose chunks were copied from others, or
    /// decoded again right after they were made: their checksums tell that they are the same.
    Chunks,
}

/// Verifies a block.
pub(crate) fn verify(fs: &dyn Fs, block: &Block, depth: Depth) -> Result<(), Error> {
    let fault = |fault| Err(Error::Block { dir: block.dir().to_path_buf(), fault });
    let (mut n_series, mut n_chunks, mut n_samples) = (0_u64, 0_u64, 0_u64);
    // As numbers, labels are in the same order as they are as text.
    let (mut labels, mut last) = (Vec::new(), Vec::new());
    let (mut chunks, mut entries) = (Vec::new(), Vec::new());
    let mut batch = SampleBatch::new();
    block.noting_damage(block.reader.verify())?;
    let mut stream = block.stream(fs);
    let mut cursor = block.cursor();
    for series in &block.noting_damage(block.reader.select(&[]))? {
        cursor.numbered_series(series, &mut labels, &mut chunks)?;
        cursor.entries(series, &mut entries)?;
        let labels_of = || block.cursor().series(series, &mut Vec::new());
        if labels <= last {
            return fault(BlockFault::SeriesOrder { labels: labels_of()? });
        }
        let mut after = None;
        for (at, chunk) in chunks.iter().enumerate() {
            let data = stream.read(chunk)?;
            let mut is_valid = has_range(block, chunk, after);
            if depth == Depth::Samples {
                let has_times =
                    |times: Option<&[i64]>| times.is_none_or(|times| has_times_of(chunk, times));
                is_valid &= block.of_chunk(chunk, data.with_times(&mut batch, has_times))?;
            } else if let StoredChunk::Paged(paged) = &data {
                // Where times stand apart from values, reading them is no decoding of these.
                let found = block.of_chunk(chunk, paged.time_bounds())?;
                is_valid &= found == (chunk.mint, chunk.maxt);
            }
            if !is_valid {
                return fault(BlockFault::ChunkRange { labels: labels_of()?, chunk: chunk.chunk });
            }
            after = Some(chunk.maxt);
            n_chunks += 1;
            let found = block.of_chunk(chunk, data.sample_count())?;
            n_samples += found;
            let Some(entry) = entries.get(at) else { continue };
            if u64::from(entry.n_samples) != found {
                return fault(BlockFault::ChunkRange { labels: labels_of()?, chunk: chunk.chunk });
            }
            if let Some(bounds) = &entry.bounds
                && !block.of_chunk(chunk, has_bounds(&data, bounds, depth))?
            {
                return fault(BlockFault::ChunkBounds { labels: labels_of()?, chunk: chunk.chunk });
            }
        }
        n_series += 1;
        std::mem::swap(&mut last, &mut labels);
    }
    let stats = &block.meta().stats;
    let counts = [
        ("series", n_series, stats.num_series),
        ("chunks", n_chunks, stats.num_chunks),
        ("samples", n_samples, stats.num_samples),
    ];
    match counts.into_iter().find(|(_, found, expected)| found != expected) {
        Some((what, found, expected)) => fault(BlockFault::Count { what, found, expected }),
        None => Ok(()),
    }
}

/// Tells whether a chunk lies in the block and after the chunk before.
fn has_range(block: &Block, chunk: &ChunkMeta, after: Option<i64>) -> bool {
    let meta = block.meta();
    after.is_none_or(|after| after < chunk.mint)
        && chunk.mint <= chunk.maxt
        && meta.mint <= chunk.mint
        && chunk.maxt < meta.maxt
}

/// Tells whether the values of a chunk are such as the index says.
fn has_bounds(data: &StoredChunk, bounds: &ValueBounds, depth: Depth) -> Result<bool, DecodeError> {
    match data {
        StoredChunk::Paged(paged) if depth == Depth::Chunks => {
            let ValueStats { first, last, min, max, .. } = paged.stats()?;
            // Zeros of both signs are the same here, and so are all NaNs.
            let is_like = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
            Ok((first.to_bits(), last.to_bits()) == (bounds.first.to_bits(), bounds.last.to_bits())
                && is_like(min, bounds.min)
                && is_like(max, bounds.max))
        }
        StoredChunk::Paged(paged) => {
            let values = paged.values(0..paged.n_samples())?;
            Ok(ValueBounds::of(&values).as_ref() == Some(bounds))
        }
        StoredChunk::Columns(Columns { values: ColumnValues::Floats(values), .. }) => {
            Ok(ValueBounds::of(values).as_ref() == Some(bounds))
        }
        // Of others nothing is said.
        StoredChunk::Columns(_) | StoredChunk::Encoded(_) => Ok(false),
    }
}

/// Tells whether the samples of a chunk ascend, and begin and end as the index says.
fn has_times_of(chunk: &ChunkMeta, times: &[i64]) -> bool {
    times.first() == Some(&chunk.mint)
        && times.last() == Some(&chunk.maxt)
        && times.is_sorted_by(|a, b| a < b)
}
