//! Repairing blocks that are damaged.
//!
//! What can be read of a damaged block becomes a new one, and the damaged one is moved to the directory
//! [`DAMAGED_DIR`] as it is: nothing is removed. What is deleted of a block stays deleted. The new
//! block has its name before the old one is moved, so that a crash in between leaves some samples
//! twice, which is resolved when they are read. What the log still has of the time of the newest block is
//! read from it again. A damaged log is left alone: a snapshot of the head
//! or chunk files may have what it lacks, and fit to nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_index::ChunkMeta;
use ferula_wal::fs::{Fs, StdFs};
use serde::Serialize;
use ulid::Ulid;

use crate::backfill::{Backfill, BackfillOptions};
use crate::block::{Block, Depth, walk};
use crate::error::Error;
use crate::lock::DirLock;
use crate::options::MAX_BLOCK_RANGE_MS;
use crate::recode::Recoder;
use crate::verify::{Finding, MAX_FINDINGS};

/// Directory in a data directory that damaged blocks are moved to.
pub const DAMAGED_DIR: &str = "damaged";

/// What was done about damage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// Blocks that were damaged, by name.
    pub repaired: Vec<Repaired>,
}

/// A block that was damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Repaired {
    /// Where it is now, as it was.
    pub moved_to: PathBuf,
    /// What is wrong with it, at most [`MAX_FINDINGS`].
    pub damage: Vec<Finding>,
    /// Blocks that were made of what can be read of it.
    pub blocks: Vec<Ulid>,
    /// Samples in these.
    pub rescued: u64,
}

/// Reads all blocks of the data directory `dir`, which nobody may write to meanwhile, and rescues what can
/// be read of those that are damaged. Others are left as they are. `on_progress` is called now and
/// then with how many blocks were read, and of how many.
///
/// # Errors
/// [`Error::Locked`]; whatever keeps files from being read for another reason than their content, or a
/// block from being written. The damaged one is where it was then.
pub fn repair_blocks(
    dir: impl AsRef<Path>,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<RepairReport, Error> {
    let (fs, dir): (Arc<dyn Fs>, &Path) = (Arc::new(StdFs), dir.as_ref());
    let entries = fs.list(dir).map_err(Error::io("list", dir))?;
    let _lock = DirLock::acquire(&*fs, dir)?;
    let mut report = RepairReport::default();
    let dirs = entries.iter().filter(|entry| entry.is_dir);
    let blocks: Vec<Ulid> = dirs.filter_map(|entry| entry.name.parse().ok()).collect();
    for (done, ulid) in (0..).zip(&blocks) {
        on_progress(done, blocks.len() as u64);
        report.repaired.extend(repair_block(&fs, dir, *ulid)?);
    }
    Ok(report)
}

/// Moves the block `ulid` in `dir` to where damaged ones are.
fn move_aside(fs: &dyn Fs, dir: &Path, ulid: Ulid) -> Result<PathBuf, Error> {
    let damaged = dir.join(DAMAGED_DIR);
    fs.create_dir_all(&damaged).map_err(Error::io("create", &damaged))?;
    let name = ulid.to_string();
    let (from, to) = (dir.join(&name), damaged.join(&name));
    fs.rename(&from, &to).map_err(Error::io("rename", &from))?;
    fs.sync_dir(&damaged).map_err(Error::io("sync", &damaged))?;
    fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
    Ok(to)
}

fn repair_block(fs: &Arc<dyn Fs>, dir: &Path, ulid: Ulid) -> Result<Option<Repaired>, Error> {
    let path = dir.join(ulid.to_string());
    let mut damage: Vec<Finding> = Vec::new();
    let mut note = |error: Error| {
        let finding = Finding::new(&error, &path);
        if !error.is_of_data() {
            return Err(error);
        }
        if damage.last() != Some(&finding) && damage.len() < MAX_FINDINGS {
            damage.push(finding);
        }
        Ok(())
    };
    let block = match Block::open(&**fs, path.clone()) {
        Ok(block) => {
            walk(&**fs, &block, Depth::Samples, &mut |_, _| {}, &mut note)?;
            Some(block)
        }
        Err(error) => {
            note(error)?;
            None
        }
    };
    if damage.is_empty() {
        return Ok(None);
    }
    let rescued = block.map(|block| rescue(fs, dir, &block)).transpose()?.unwrap_or_default();
    let moved_to = move_aside(&**fs, dir, ulid)?;
    let (blocks, rescued) = rescued;
    Ok(Some(Repaired { moved_to, damage, blocks, rescued }))
}

/// Makes blocks of the chunks that can be read.
fn rescue(fs: &Arc<dyn Fs>, dir: &Path, block: &Block) -> Result<(Vec<Ulid>, u64), Error> {
    let options = BackfillOptions {
        block_range_ms: MAX_BLOCK_RANGE_MS,
        block_format: block.format(),
        ..BackfillOptions::default()
    };
    let mut backfill = Backfill::under_lock(Arc::clone(fs), dir, options, Some(block.meta().ulid))?;
    let Ok(selected) = block.select(&[]) else { return Ok(Default::default()) };
    let mut stream = block.stream(&**fs);
    let mut cursor = block.cursor();
    let mut chunks: Vec<ChunkMeta> = Vec::new();
    for series in &selected {
        let Ok(labels) = cursor.series(series, &mut chunks) else { continue };
        for chunk in &chunks {
            let mut recoder = Recoder::default();
            let read = stream.read(chunk).map(|stored| recoder.decode_stored(&stored));
            if let Ok(Ok(())) = read {
                recoder.merge(block.tombstones().of(series));
                for sample in recoder.into_samples() {
                    backfill.push(&labels, sample)?;
                }
            }
        }
    }
    let report = backfill.finish(&mut |_, _| {})?;
    Ok((report.blocks.iter().map(|meta| meta.ulid).collect(), report.samples))
}
