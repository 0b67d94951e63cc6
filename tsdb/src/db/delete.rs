//! Deleting samples: noted as tombstones at once, removed when blocks are rewritten.

use std::sync::Arc;

use ferula_index::Matcher;

use super::Shared;
use super::compaction::Deletion;
use crate::block::Block;
use crate::error::Error;

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
        let blocks: Vec<Arc<Block>> = self.view.read().blocks.to_vec();
        let intact = blocks.iter().filter(|block| block.damage().is_none());
        for block in intact.filter(|block| block.overlaps(mint, maxt)) {
            let selected = block.select(matchers)?;
            if let Some(left) = block.delete(&*self.fs, &selected, mint, maxt)? {
                self.replace_blocks(&[block.meta().ulid], [Arc::new(left)]);
            }
        }
        Ok(())
    }
}
