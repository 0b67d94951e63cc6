//! Taking over the blocks of another directory.
//!
//! Each is read whole first. Its files get second names here, or are copied to another file system;
//! only its description is made anew. It gives up its parents: those would be left aside here, should
//! they be here too. A block that reaches beyond what the blocks here cover must not count as one that
//! covers its range, for the log has samples of that range; it is marked as one of a part.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use ulid::Ulid;

use super::Shared;
use super::copy::CopyReport;
use super::open::{WAL_DIR, WBL_DIR};
use crate::block::{Block, BlockMeta, CREATION_SUFFIX, Depth, walk};
use crate::error::Error;
use crate::repair::{covered_until, open_settled_blocks};
use crate::verify::Finding;

/// What became of the blocks of another directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// Blocks that were taken over.
    pub blocks: Vec<Ulid>,
    /// Blocks that were here already, or of which one here was made.
    pub known: Vec<Ulid>,
    /// Blocks that cannot be read, with the first reason of each.
    pub damaged: Vec<Finding>,
    /// Whether the directory has a log as well, which is left where it is.
    pub has_log: bool,
}

impl Shared {
    /// Takes over the blocks in the directory `from`. Reading and linking them, which takes long, goes on
    /// beside all upkeep; only what gives a block its name waits for that.
    pub(super) fn import_blocks(
        &self,
        from: &Path,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<ImportReport, Error> {
        let _importing = self.importing.lock();
        self.check_open()?;
        let found = open_settled_blocks(&*self.fs, from)?;
        let has = |dir: &str| {
            let path = from.join(dir);
            self.fs.exists(&path).map_err(Error::io("inspect", &path))
        };
        let mut report =
            ImportReport { has_log: has(WAL_DIR)? || has(WBL_DIR)?, ..ImportReport::default() };
        let unopened = found.quarantined.into_iter();
        report.damaged.extend(unopened.map(|block| Finding::of_dir(block.dir, block.reason)));
        let total: u64 = found.blocks.iter().map(|block| block.size_bytes()).sum();
        let mut done = 0;
        for block in &found.blocks {
            // Closing waits no longer than for one block.
            self.check_open()?;
            let (ulid, size) = (block.meta().ulid, block.size_bytes());
            if self.is_known(ulid) {
                report.known.push(ulid);
            } else {
                let mut advance = |n: u64, of: u64| {
                    let part = u128::from(size) * u128::from(n) / u128::from(of.max(1));
                    on_progress(done + u64::try_from(part).unwrap_or(size), total);
                };
                let read = walk(&*self.fs, block, Depth::Samples, &mut advance, &mut Err);
                match read {
                    Ok(_) => {
                        self.import(block)?;
                        report.blocks.push(ulid);
                    }
                    Err(error) if error.is_of_data() => {
                        report.damaged.push(Finding::new(&error, block.dir()));
                    }
                    Err(error) => return Err(error),
                }
            }
            done += size;
            on_progress(done, total);
        }
        Ok(report)
    }

    /// Whether a block is here, or one that was made of it. Only taking over makes blocks known that
    /// were not.
    fn is_known(&self, ulid: Ulid) -> bool {
        self.view.read().blocks.iter().any(|block| {
            let BlockMeta { ulid: name, compaction, .. } = block.meta();
            let mut parents = compaction.parents.iter().map(|parent| parent.ulid);
            *name == ulid || compaction.sources.contains(&ulid) || parents.any(|p| p == ulid)
        })
    }

    fn import(&self, block: &Block) -> Result<(), Error> {
        let ulid = block.meta().ulid;
        let tmp = self.dir.join(format!("{ulid}{CREATION_SUFFIX}"));
        // What an earlier attempt has left.
        if self.fs.exists(&tmp).map_err(Error::io("inspect", &tmp))? {
            self.fs.remove_dir_all(&tmp).map_err(Error::io("remove", &tmp))?;
        }
        let linked = CopyReport::default().link_dir(&*self.fs, block.dir(), &tmp);
        linked.and_then(|()| self.publish_import(block.meta().clone(), &tmp)).inspect_err(|_| {
            // The next opening would do it too; the error that counts is the first one.
            let _ = self.fs.remove_dir_all(&tmp);
        })
    }

    /// Gives the block that was made in `tmp` its name.
    fn publish_import(&self, mut meta: BlockMeta, tmp: &Path) -> Result<(), Error> {
        let _maintenance = self.maintenance.lock();
        self.check_open()?;
        self.remove_unwanted(&[])?;
        let dir = self.dir.join(meta.ulid.to_string());
        // One that cannot be read and is set aside: it stays for whoever looks after it.
        if self.fs.exists(&dir).map_err(Error::io("inspect", &dir))? {
            return Err(Error::NotEmpty { dir });
        }
        meta.compaction.parents.clear();
        if meta.maxt > covered_until(&self.view.read().blocks) {
            meta.compaction.mark_as_part();
        }
        let publish = || -> Result<Block, Error> {
            meta.replace(&*self.fs, tmp)?;
            self.fs.rename(tmp, &dir).map_err(Error::io("rename", tmp))?;
            self.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
            Block::open(&*self.fs, dir.clone())
        };
        let published = publish().inspect_err(|_| {
            // It may have its name, or get it back in a crash.
            self.unwanted.lock().push(meta.ulid);
        })?;
        self.replace_blocks(&[], [Arc::new(published)]);
        Ok(())
    }
}
