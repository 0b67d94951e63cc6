//! Deleting samples: noted as tombstones at once, removed when blocks are rewritten.

use std::sync::Arc;

use ferula_index::Matcher;

use super::Shared;
use super::compaction::Deletion;
use crate::block::{Block, BlockMeta};
use crate::error::Error;
use crate::stats::Quarantined;

impl Shared {
    /// Deletes the samples from `mint` to `maxt`, both inclusive, of the series that pass all
    /// `matchers`.
    pub(super) fn delete(&self, matchers: &[Matcher], mint: i64, maxt: i64) -> Result<(), Error> {
        let _maintenance = self.maintenance.lock();
        self.check_open()?;
        // A block that nobody reads would not learn of the deletion, and could be back after a crash.
        self.remove_unwanted(&[])?;
        self.head.delete(matchers, mint, maxt)?;
        // First, for a compaction that has read a block already learns of it from here.
        if let Some(deletions) = &mut *self.deletions.lock() {
            deletions.push(Deletion { matchers: matchers.to_vec(), mint, maxt });
        }
        // One block that fails does not keep the others from losing their samples. What could not be
        // read before may be read now.
        let blocks: Vec<Arc<Block>> = self.view.read().blocks.to_vec();
        let overlapping = blocks.iter().filter(|block| block.overlaps(mint, maxt));
        let failures =
            overlapping.filter_map(|block| self.delete_of(block, matchers, mint, maxt).err());
        let failure = failures.fold(None, |first, failure| first.or(Some(failure)));
        match failure.or_else(|| self.out_of_reach(mint, maxt)) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Deletes what a block has of the samples from `mint` to `maxt`.
    fn delete_of(
        &self,
        block: &Block,
        matchers: &[Matcher],
        mint: i64,
        maxt: i64,
    ) -> Result<(), Error> {
        let selected = block.select(matchers)?;
        if let Some(left) = block.delete(&*self.fs, &selected, mint, maxt)? {
            self.replace_blocks(&[block.meta().ulid], [Arc::new(left)]);
        }
        Ok(())
    }

    /// The first block that was set aside when the database was opened and is still there, and that
    /// may hold samples from `mint` to `maxt`: once somebody has mended it, it serves them.
    fn out_of_reach(&self, mint: i64, maxt: i64) -> Option<Error> {
        let may_hold = |aside: &&Quarantined| match BlockMeta::read(&*self.fs, &aside.dir) {
            Ok(meta) => meta.mint <= maxt && mint < meta.maxt,
            Err(_) => self.fs.list(&aside.dir).is_ok(),
        };
        let Quarantined { dir, reason } = self.quarantined.iter().find(may_hold)?.clone();
        Some(Error::OutOfReach { dir, reason })
    }
}
