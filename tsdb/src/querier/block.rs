//! Reading blocks: which series there are in the range, and their samples.

use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_index::{ChunkMeta, Labels, Matcher, SeriesRef};

use super::{Draw, MakeRoom};
use crate::block::Block;
use crate::error::Error;

/// What a block has of a series: its chunks that overlap the range.
#[derive(Debug)]
pub(crate) struct BlockPart {
    block: Arc<Block>,
    series: SeriesRef,
    chunks: Box<[ChunkMeta]>,
}

/// The series of a block that pass all `matchers` and have chunks from `mint` to `maxt`, both
/// inclusive, in label order.
pub(crate) fn select(
    block: &Arc<Block>,
    matchers: &[Matcher],
    mint: i64,
    maxt: i64,
    draw: &mut Draw<'_>,
) -> Result<Vec<(Labels, BlockPart)>, Error> {
    let mut found = Vec::new();
    let mut chunks = Vec::new();
    let mut cursor = block.cursor();
    for series in &block.select(matchers)? {
        let labels = cursor.series(series, &mut chunks)?;
        let is_needed = |chunk: &&ChunkMeta| {
            let ChunkMeta { mint: from, maxt: to, .. } = **chunk;
            let (from, to) = (from.max(mint), to.min(maxt));
            from <= to && !block.tombstones().covers(series, from, to)
        };
        let chunks: Box<[ChunkMeta]> = chunks.iter().filter(is_needed).copied().collect();
        if !chunks.is_empty() {
            // The list may have grown to twice its size, and is merged with others.
            let entry = 3 * size_of::<(Labels, BlockPart)>() + labels.size_bytes();
            draw(entry + size_of_val(&*chunks))?;
            found.push((labels, BlockPart { block: Arc::clone(block), series, chunks }));
        }
    }
    Ok(found)
}

impl BlockPart {
    /// Appends the samples from `mint` to `maxt`, both inclusive, to `batch`.
    pub(crate) fn read(
        &self,
        mint: i64,
        maxt: i64,
        batch: &mut SampleBatch,
        room: &mut MakeRoom<'_>,
    ) -> Result<(), Error> {
        let start = batch.len();
        for meta in &self.chunks {
            // How many samples a chunk has is known when it is decoded, and counted before the next one.
            room(batch, 0)?;
            self.block.read(meta, mint, maxt, batch)?;
        }
        self.block.tombstones().apply(self.series, batch, start);
        Ok(())
    }
}
