//! Compacting blocks, and putting the result in the place of its sources.
//!
//! The order makes every step safe against a crash. The new block is written under a temporary name
//! and verified. With its name it lists its sources as parents: from then on an opening leaves
//! them aside and removes them. Readers switch in one step; those that have a source open go on to
//! read it. Only then are the sources removed.
//!
//! The long part runs beside everything else. What is deleted meanwhile is noted, and deleted of
//! the new block too before it gets its name.

use std::sync::Arc;

use ferula_index::Matcher;
use ulid::Ulid;

use super::{Shared, View};
use crate::block::{Block, BlockMeta, CREATION_SUFFIX, WrittenBlock};
use crate::clock::new_ulid;
use crate::compact::{Compaction, plan, ranges};
use crate::error::Error;
use crate::repair::{covered_until, remove_blocks};

/// Samples that were deleted while a compaction was running.
#[derive(Debug)]
pub(super) struct Deletion {
    pub(super) matchers: Vec<Matcher>,
    pub(super) mint: i64,
    pub(super) maxt: i64,
}

/// What compactions have done since the database was opened.
#[derive(Debug, Default)]
pub(super) struct CompactionCounts {
    pub(super) done: u64,
    pub(super) failed: u64,
    /// Why the last one that failed did.
    pub(super) failure: Option<String>,
}

/// Those of `blocks` that may be compacted. Of a range that the head still has samples of, a block of
/// samples out of order would become one that seems to cover it.
fn ripe<'a>(blocks: &[&'a Arc<Block>]) -> Vec<&'a Arc<Block>> {
    let whole = blocks.iter().filter(|block| !block.meta().compaction.is_of_part());
    let covered = whole.map(|block| block.meta().maxt).max().unwrap_or(i64::MIN);
    let is_ripe = |block: &&&Arc<Block>| {
        let meta = block.meta();
        !meta.compaction.is_of_part() || meta.maxt <= covered
    };
    blocks.iter().filter(is_ripe).copied().collect()
}

impl Shared {
    /// Compacts blocks until none are due, and returns those made.
    pub(super) fn compact(&self) -> Result<Vec<Ulid>, Error> {
        let _compacting = self.compacting.lock();
        let ranges = ranges(self.options.block_range_ms, self.options.max_block_range_ms);
        let mut made = Vec::new();
        let mut failure = None;
        let mut last = Vec::new();
        loop {
            let planned = self.begin(|blocks| {
                let ripe = ripe(blocks);
                let metas: Vec<&BlockMeta> = ripe.iter().map(|block| block.meta()).collect();
                let planned = plan(&metas, &ranges).unwrap_or_default();
                let mut planned: Vec<Arc<Block>> =
                    planned.into_iter().map(|place| Arc::clone(ripe[place])).collect();
                // Of two samples at the same time the one that came in order stays.
                planned.sort_by_key(|block| block.meta().compaction.is_of_part());
                planned
            })?;
            let ulids: Vec<Ulid> = planned.iter().map(|block| block.meta().ulid).collect();
            // The same again: a block that is kept for where it ends, though it holds nothing.
            if planned.is_empty() || ulids == last {
                return failure.map_or(Ok(made), Err);
            }
            last = ulids;
            match self.compact_begun(&planned) {
                Ok(block) => made.extend(block),
                // What will fail again the next time is not tried again; the rest goes on.
                Err(error) if error.is_of_data() => {
                    self.note_failed(&planned)?;
                    failure.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Rewrites the blocks of which something is deleted, one after the other, and returns those
    /// made. Takes the room of one block beside those that there are.
    pub(super) fn clean_tombstones(&self) -> Result<Vec<Ulid>, Error> {
        self.rewrite(|block| !block.tombstones().is_empty())
    }

    /// Rewrites the blocks of other formats than the one set, one after the other, and returns those
    /// made. Takes the room of one block beside those that there are.
    pub(super) fn convert_blocks(&self) -> Result<Vec<Ulid>, Error> {
        self.rewrite(|block| block.format() != self.options.block_format)
    }

    /// A block that cannot be read does not keep the others from being rewritten.
    fn rewrite(&self, is_due: impl Fn(&Block) -> bool) -> Result<Vec<Ulid>, Error> {
        let _compacting = self.compacting.lock();
        let blocks: Vec<Arc<Block>> = self.view.read().blocks.to_vec();
        let (mut made, mut failure) = (Vec::new(), None);
        for block in blocks.iter().filter(|block| is_due(block)) {
            let ulid = block.meta().ulid;
            // As it is now: more of it may be deleted.
            let begun = self.begin(|blocks| {
                let found = blocks.iter().find(|block| block.meta().ulid == ulid);
                found.map(|block| Arc::clone(block)).into_iter().collect()
            })?;
            if begun.is_empty() {
                continue;
            }
            match self.compact_begun(&begun) {
                Ok(block) => made.extend(block),
                // What cannot be read of one block says nothing of the others.
                Err(error) if error.is_of_data() || block.damage().is_some() => {
                    failure = failure.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        failure.map_or(Ok(made), Err)
    }

    /// Chooses blocks that can be read, and notes from then on what is deleted.
    fn begin(
        &self,
        choose: impl FnOnce(&[&Arc<Block>]) -> Vec<Arc<Block>>,
    ) -> Result<Vec<Arc<Block>>, Error> {
        let _maintenance = self.maintenance.lock();
        self.check_open()?;
        self.remove_unwanted(&[])?;
        let view = self.view.read();
        let intact: Vec<&Arc<Block>> =
            view.blocks.iter().filter(|block| block.damage().is_none()).collect();
        let chosen = choose(&intact);
        *self.deletions.lock() = (!chosen.is_empty()).then(Vec::new);
        Ok(chosen)
    }

    /// Makes one block of those that [`begin`](Self::begin) has chosen.
    fn compact_begun(&self, sources: &[Arc<Block>]) -> Result<Option<Ulid>, Error> {
        self.control.set_running(sources.len());
        let compacted = self.try_compact(sources);
        self.control.set_running(0);
        *self.deletions.lock() = None;
        let mut counts = self.compactions.lock();
        match &compacted {
            Ok(_) => counts.done += 1,
            Err(Error::Closed) => {}
            Err(error) => {
                counts.failed += 1;
                counts.failure = Some(error.to_string_with_causes());
            }
        }
        compacted
    }

    fn try_compact(&self, sources: &[Arc<Block>]) -> Result<Option<Ulid>, Error> {
        let compaction = Compaction {
            fs: &*self.fs,
            parent: &self.dir,
            ulid: new_ulid(&*self.options.clock),
            format: self.options.block_format,
            chunk_segment_bytes: self.options.chunk_segment_bytes,
            sources,
            control: &self.control,
        };
        let written = compaction.run()?;
        let _maintenance = self.maintenance.lock();
        let published = written.map(|written| self.publish(written)).transpose()?;
        let made = published.as_ref().map(|block| block.meta().ulid);
        // Where the newest block ends tells an opening which samples of the log are in blocks, or
        // were before they were deleted. So that one stays even if it holds nothing any more.
        let covered = covered_until(&self.view.read().blocks);
        let mut ulids: Vec<Ulid> = sources.iter().map(|source| source.meta().ulid).collect();
        let newest = sources.iter().rposition(|source| {
            !source.meta().compaction.is_of_part() && source.meta().maxt == covered
        });
        if let Some(newest) = newest.filter(|_| made.is_none()) {
            ulids.remove(newest);
        }
        self.replace_blocks(&ulids, published);
        self.remove_unwanted(&ulids)?;
        Ok(made)
    }

    fn publish(&self, mut written: WrittenBlock<'_>) -> Result<Arc<Block>, Error> {
        let ulid = written.ulid();
        let publish = || {
            for Deletion { matchers, mint, maxt } in self.deletions.lock().iter().flatten() {
                written.delete(matchers, *mint, *maxt)?;
            }
            written.publish().map(Arc::new)
        };
        publish().inspect_err(|_| {
            // It may have its name, or get it back in a crash.
            self.unwanted.lock().push(ulid);
            let tmp = self.dir.join(format!("{ulid}{CREATION_SUFFIX}"));
            let _ = self.fs.remove_dir_all(&tmp);
        })
    }

    /// Removes the directories of `blocks`, which readers do not see any more. What cannot be removed
    /// is tried again first whenever others are to go: a block that stays longer than the one made
    /// of it would come back at the next opening.
    pub(super) fn remove_unwanted(&self, blocks: &[Ulid]) -> Result<(), Error> {
        let mut unwanted = self.unwanted.lock();
        let earlier = unwanted.clone();
        unwanted.extend(blocks);
        if !earlier.is_empty() {
            remove_blocks(&*self.fs, &self.dir, &earlier)?;
            unwanted.drain(..earlier.len());
        }
        if !blocks.is_empty() {
            remove_blocks(&*self.fs, &self.dir, blocks)?;
            unwanted.clear();
        }
        Ok(())
    }

    /// Lets readers from now on see `new` blocks in the place of those with the names `old`.
    pub(super) fn replace_blocks(&self, old: &[Ulid], new: impl IntoIterator<Item = Arc<Block>>) {
        let mut view = self.view.write();
        let kept = view.blocks.iter().filter(|block| !old.contains(&block.meta().ulid)).cloned();
        let blocks = kept.chain(new).collect();
        *view = View::new(blocks, view.head_from, view.era);
    }

    /// Notes in the descriptions of blocks that compacting them failed.
    fn note_failed(&self, sources: &[Arc<Block>]) -> Result<(), Error> {
        let _maintenance = self.maintenance.lock();
        let ulids: Vec<Ulid> = sources.iter().map(|source| source.meta().ulid).collect();
        let blocks: Vec<Arc<Block>> = self.view.read().blocks.to_vec();
        for block in blocks.iter().filter(|block| ulids.contains(&block.meta().ulid)) {
            let failed = Arc::new(block.with_failure(&*self.fs)?);
            self.replace_blocks(&[block.meta().ulid], [failed]);
        }
        Ok(())
    }
}
