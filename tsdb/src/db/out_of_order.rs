//! Making blocks of samples that came out of order.
//!
//! As in Prometheus they become blocks of their own, one for each block range, with a note that they are
//! not all of their range; compaction merges them with those that they overlap. An era ends with
//! it: what came before is written, verified and named; readers switch to the blocks in one step; then
//! the samples leave the head, and the log of such samples. A crash in between leaves some of
//! them twice, which is resolved when they are read.

use std::path::Path;
use std::sync::Arc;

use ulid::Ulid;

use super::cut::write_series;
use super::{Shared, View};
use crate::block::{Block, BlockMeta};
use crate::clock::new_ulid;
use crate::error::Error;
use crate::head::{Era, Series};
use crate::querier::HeadReader;

impl Shared {
    /// Cuts what came out of order, and returns the blocks made. The lock of maintenance is held.
    pub(super) fn cut_late(&self) -> Result<Vec<Ulid>, Error> {
        let Some((era, segment)) = self.head.seal_out_of_order()? else { return Ok(Vec::new()) };
        let head = self.view.read().reader(&self.head);
        let (blocks, written) = self.write_late(&head, &self.dir, era);
        let ulids: Vec<Ulid> = blocks.iter().map(|block| block.meta().ulid).collect();
        // Nobody reads those that were written before one that could not be.
        written.inspect_err(|_| self.unwanted.lock().extend(&ulids))?;
        {
            let mut view = self.view.write();
            let all = view.blocks.iter().cloned().chain(blocks.into_iter().map(Arc::new));
            *view = View::new(all.collect(), view.head_from, era);
        }
        drop(head);
        self.head.truncate_out_of_order(era, segment)?;
        Ok(ulids)
    }

    /// Removes what is in blocks, and an open reader kept from being removed at an earlier turn.
    pub(super) fn release_out_of_order(&self) -> Result<Vec<Ulid>, Error> {
        let era = self.view.read().era;
        if era > Era(0) {
            self.head.remove_out_of_order(era)?;
        }
        Ok(Vec::new())
    }

    /// Writes what `head` sees of samples that came out of order before the era `until`, as blocks into
    /// the directory `parent`. Those that were written are returned in any case.
    pub(super) fn write_late(
        &self,
        head: &HeadReader,
        parent: &Path,
        until: Era,
    ) -> (Vec<Block>, Result<(), Error>) {
        let mut blocks = Vec::new();
        let mut write = || {
            for range in head.late_ranges(self.options.block_range_ms, until)? {
                let (mint, maxt) = (range.start, range.end);
                let series = head.select_late(mint, maxt - 1, until)?;
                let chunks = |series: &Series| head.late_chunks(series, mint, maxt - 1, until);
                let ulid = new_ulid(&*self.options.clock);
                let describe = |_, stats| BlockMeta::out_of_order(ulid, mint, maxt, stats);
                let (fs, options) = (&*self.fs, &self.options);
                let block =
                    write_series(fs, parent, ulid, options, head, &series, chunks, describe);
                // It may have its name, or get it back in a crash.
                let is_own = parent == self.dir;
                blocks.extend(block.inspect_err(|_| {
                    self.unwanted.lock().extend(is_own.then_some(ulid));
                })?);
            }
            Ok(())
        };
        let written = write();
        (blocks, written)
    }
}
