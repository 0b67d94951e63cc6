//! Reading a whole block back: does it hold what its description and its index say?
//!
//! This is done before the sources of a block are given up, so nothing is trusted: every checksum,
//! the order of series and chunks, the times of every sample that is newly encoded, and all counts.

use ferula_chunkenc::SampleBatch;
use ferula_index::ChunkMeta;
use ferula_wal::fs::Fs;

use super::Block;
use crate::error::{BlockFault, Error};

/// How much of a block is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Everything, the times of all samples included: what is in the chunks is new.
    Samples,
    /// Everything but what is in the chunks. For a block whose chunks were copied from others, or
    /// decoded again right after they were made: their checksums tell that they are the same.
    Chunks,
}

/// Verifies a block.
pub(crate) fn verify(fs: &dyn Fs, block: &Block, depth: Depth) -> Result<(), Error> {
    let fault = |fault| Err(Error::Block { dir: block.dir().to_path_buf(), fault });
    let (mut n_series, mut n_chunks, mut n_samples) = (0_u64, 0_u64, 0_u64);
    // As numbers, labels are in the same order as they are as text.
    let (mut labels, mut last) = (Vec::new(), Vec::new());
    let mut chunks = Vec::new();
    let mut batch = SampleBatch::new();
    block.noting_damage(block.reader.verify())?;
    let mut stream = block.stream(fs);
    let mut cursor = block.cursor();
    for series in &block.noting_damage(block.reader.select(&[]))? {
        cursor.numbered_series(series, &mut labels, &mut chunks)?;
        let labels_of = || block.cursor().series(series, &mut Vec::new());
        if labels <= last {
            return fault(BlockFault::SeriesOrder { labels: labels_of()? });
        }
        let mut after = None;
        for chunk in &chunks {
            let data = stream.read(chunk)?;
            let mut is_valid = has_range(block, chunk, after);
            if depth == Depth::Samples {
                let has_times =
                    |times: Option<&[i64]>| times.is_none_or(|times| has_times_of(chunk, times));
                is_valid &= block.of_chunk(chunk, data.with_times(&mut batch, has_times))?;
            }
            if !is_valid {
                return fault(BlockFault::ChunkRange { labels: labels_of()?, chunk: chunk.chunk });
            }
            after = Some(chunk.maxt);
            n_chunks += 1;
            n_samples += block.of_chunk(chunk, data.sample_count())?;
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

/// Tells whether the samples of a chunk ascend, and begin and end as the index says.
fn has_times_of(chunk: &ChunkMeta, times: &[i64]) -> bool {
    times.first() == Some(&chunk.mint)
        && times.last() == Some(&chunk.maxt)
        && times.is_sorted_by(|a, b| a < b)
}
