//! Reading blocks: which series there are in the range, and their samples.

use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_index::postings::Postings;
use ferula_index::{ChunkMeta, Labels, SeriesRef};

use super::{Draw, MakeRoom, make_room};
use crate::block::Block;
use crate::error::Error;

/// The selected series of a block that have chunks in the range, in label order, and these chunks. What is
/// kept of a series are numbers; there may be very many of them.
#[derive(Debug)]
pub(crate) struct BlockSeries {
    block: Arc<Block>,
    /// All that pass the matchers.
    selected: Postings,
    /// Those with chunks in the range.
    series: Vec<SeriesRef>,
    /// Where the chunks of each of them end; they begin where those of the one before end.
    ends: Vec<usize>,
    chunks: Vec<ChunkMeta>,
}

impl BlockSeries {
    /// Of the series of `block` that were `selected`, none yet.
    pub(crate) fn new(block: &Arc<Block>, selected: Postings) -> Self {
        let (series, ends, chunks) = (Vec::new(), Vec::new(), Vec::new());
        Self { block: Arc::clone(block), selected, series, ends, chunks }
    }

    /// Finds the series that have chunks from `mint` to `maxt`, both inclusive, and yields their labels.
    pub(crate) fn find<'a>(
        &'a mut self,
        mint: i64,
        maxt: i64,
        draw: &'a Draw<'a>,
    ) -> impl Iterator<Item = Result<Labels, Error>> + 'a {
        let Self { block, selected, series, ends, chunks } = self;
        let block: &'a Block = block;
        let mut cursor = block.cursor();
        let mut of_series = Vec::new();
        let mut next = move |found| -> Result<Option<Labels>, Error> {
            let labels = cursor.series(found, &mut of_series)?;
            let is_needed = |chunk: &&ChunkMeta| {
                let ChunkMeta { mint: from, maxt: to, .. } = **chunk;
                let (from, to) = (from.max(mint), to.min(maxt));
                from <= to && !block.tombstones().covers(found, from, to)
            };
            let n_before = chunks.len();
            for chunk in of_series.iter().filter(is_needed) {
                make_room(chunks, size_of::<ChunkMeta>(), draw)?;
                chunks.push(*chunk);
            }
            if chunks.len() == n_before {
                return Ok(None);
            }
            make_room(series, size_of::<SeriesRef>(), draw)?;
            series.push(found);
            make_room(ends, size_of::<usize>(), draw)?;
            ends.push(chunks.len());
            Ok(Some(labels))
        };
        selected.iter().filter_map(move |found| next(found).transpose())
    }

    /// Appends the samples from `mint` to `maxt`, both inclusive, of the series at a place among those that
    /// were found.
    pub(crate) fn read(
        &self,
        at: usize,
        mint: i64,
        maxt: i64,
        batch: &mut SampleBatch,
        room: &mut MakeRoom<'_>,
    ) -> Result<(), Error> {
        let start = batch.len();
        let first = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        for meta in &self.chunks[first..self.ends[at]] {
            // How many samples a chunk has is known when it is decoded, and counted before the next one.
            room(batch, 0)?;
            self.block.read(meta, mint, maxt, batch)?;
        }
        self.block.tombstones().apply(self.series[at], batch, start);
        Ok(())
    }
}
