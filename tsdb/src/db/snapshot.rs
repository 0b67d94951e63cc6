//! Copies of a database as a directory of blocks, which this crate and Prometheus can open.

use std::path::Path;
use std::sync::Arc;

use ferula_wal::fs::Fs;
use ulid::Ulid;

use super::Shared;
use super::copy::CopyReport;
use super::cut::write_block;
use super::open::{WAL_DIR, create_dir};
use crate::block::{Block, CREATION_SUFFIX};
use crate::clock::new_ulid;
use crate::error::Error;
use crate::head::{Era, range_end};
use crate::querier::HeadReader;

impl Shared {
    /// Writes everything committed as blocks into `dir`.
    pub(super) fn snapshot(&self, dir: &Path) -> Result<Vec<Ulid>, Error> {
        // Blocks come and go under this lock only.
        let _maintenance = self.maintenance.lock();
        self.check_open()?;
        // Blocks beside a log count as what covers it, so they would hide what only that has.
        let wal_dir = dir.join(WAL_DIR);
        if self.fs.exists(&wal_dir).map_err(Error::io("inspect", &wal_dir))? {
            return Err(Error::SnapshotTarget { dir: dir.to_path_buf() });
        }
        create_dir(&*self.fs, dir)?;
        let (head, blocks) = self.read();
        let mut ulids = Vec::new();
        for block in blocks.iter().filter(|block| block.damage().is_none()) {
            link_block(&*self.fs, block, dir)?;
            ulids.push(block.meta().ulid);
        }
        ulids.extend(self.snapshot_head(&head, dir)?);
        let (late, written) = self.write_late(&head, dir, Era(u64::MAX));
        written?;
        ulids.extend(late.iter().map(|block| block.meta().ulid));
        Ok(ulids)
    }

    /// Writes the head as one block for each block range that it has samples in. The last one ends
    /// with its newest sample, so that whoever opens the copy can go on from there.
    fn snapshot_head(&self, head: &HeadReader, dir: &Path) -> Result<Vec<Ulid>, Error> {
        let mut ulids = Vec::new();
        let mut from = head.guard().from();
        while let Some(oldest) = head.oldest_from(from) {
            let newest = self.head.time_range().map_or(oldest, |(_, newest)| newest);
            let end = range_end(oldest, self.options.block_range_ms).min(newest.saturating_add(1));
            let ulid = new_ulid(&*self.options.clock);
            let block = write_block(&*self.fs, dir, ulid, &self.options, head, oldest, end)?;
            ulids.extend(block.map(|block| block.meta().ulid));
            from = end;
        }
        Ok(ulids)
    }

    pub(super) fn read(&self) -> (HeadReader, Arc<[Arc<Block>]>) {
        let view = self.view.read();
        (view.reader(&self.head), Arc::clone(&view.blocks))
    }
}

/// Gives the files of a block second names in `parent`, or copies them to another file system.
fn link_block(fs: &dyn Fs, block: &Block, parent: &Path) -> Result<(), Error> {
    let name = block.meta().ulid.to_string();
    let (target, tmp) = (parent.join(&name), parent.join(format!("{name}{CREATION_SUFFIX}")));
    CopyReport::default().link_dir(fs, block.dir(), &tmp)?;
    fs.rename(&tmp, &target).map_err(Error::io("rename", &tmp))?;
    fs.sync_dir(parent).map_err(Error::io("sync", parent))
}
