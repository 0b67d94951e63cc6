//! Opening what is in a data directory, and setting aside what cannot be read.
//!
//! A block that does not open is left where it is, for whoever looks after it, and reported with
//! the reason; the others serve. Nothing is deleted but directories that are unfinished by name, and
//! blocks that another one says it was made of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_wal::fs::Fs;
use ulid::Ulid;

use crate::block::{Block, CREATION_SUFFIX, DELETION_SUFFIX};
use crate::error::{BlockFault, Error};
use crate::stats::Quarantined;

/// The blocks in a data directory.
#[derive(Debug, Default)]
pub(crate) struct FoundBlocks {
    /// Those that serve, by time.
    pub(crate) blocks: Vec<Arc<Block>>,
    /// Those that cannot.
    pub(crate) quarantined: Vec<Quarantined>,
    /// Those that others were made of: whoever did that was stopped before they were removed.
    pub(crate) replaced: Vec<Ulid>,
}

/// How often the blocks of a directory are listed again because some came or went meanwhile.
const SETTLE_ATTEMPTS: usize = 20;

/// Opens the blocks in the directory `dir`, to which another process may be writing.
///
/// # Errors
/// [`Error::Missing`] if blocks came or went all the time: a listing made while one takes the place of
/// others may have neither.
pub(crate) fn open_settled_blocks(fs: &dyn Fs, dir: &Path) -> Result<FoundBlocks, Error> {
    let mut attempt = 1;
    // What was opened once stays what it is.
    let mut opened = BTreeMap::new();
    let mut before = block_names(fs, dir)?;
    loop {
        let found = open_named_blocks(fs, dir, &before, &mut opened)?;
        let after = block_names(fs, dir)?;
        match before.symmetric_difference(&after).next() {
            None => return Ok(found),
            Some(ulid) if attempt == SETTLE_ATTEMPTS => {
                return Err(Error::Missing { file: dir.join(ulid.to_string()) });
            }
            Some(_) => attempt += 1,
        }
        before = after;
    }
}

fn block_names(fs: &dyn Fs, dir: &Path) -> Result<BTreeSet<Ulid>, Error> {
    let entries = fs.list(dir).map_err(Error::io("list", dir))?;
    let dirs = entries.iter().filter(|entry| entry.is_dir);
    Ok(dirs.filter_map(|entry| Ulid::from_string(&entry.name).ok()).collect())
}

/// Opens the blocks in the directory `dir`.
pub(crate) fn open_blocks(fs: &dyn Fs, dir: &Path) -> Result<FoundBlocks, Error> {
    open_named_blocks(fs, dir, &block_names(fs, dir)?, &mut BTreeMap::new())
}

/// Opens those of the blocks `names` in the directory `dir` that are not `opened` yet.
fn open_named_blocks(
    fs: &dyn Fs,
    dir: &Path,
    names: &BTreeSet<Ulid>,
    opened: &mut BTreeMap<Ulid, Arc<Block>>,
) -> Result<FoundBlocks, Error> {
    let mut found = Vec::new();
    for &ulid in names {
        let dir = dir.join(ulid.to_string());
        let block = match opened.get(&ulid) {
            Some(block) => Ok(Arc::clone(block)),
            None => open_block(fs, &dir, ulid).map(Arc::new).map_err(|error| (dir, error)),
        };
        if let Ok(block) = &block {
            opened.insert(ulid, Arc::clone(block));
        }
        found.push((ulid, block));
    }
    let intact = found.iter().filter_map(|(_, block)| block.as_ref().ok());
    let parents = intact.flat_map(|block| &block.meta().compaction.parents);
    let parents: BTreeSet<Ulid> = parents.map(|parent| parent.ulid).collect();
    let mut sorted = FoundBlocks::default();
    for (ulid, block) in found {
        match block {
            _ if parents.contains(&ulid) => sorted.replaced.push(ulid),
            Ok(block) => sorted.blocks.push(block),
            Err((dir, error)) => {
                let reason = error.to_string_with_causes();
                sorted.quarantined.push(Quarantined { dir, reason });
            }
        }
    }
    sorted.blocks.sort_by_key(|block| (block.meta().mint, block.meta().ulid));
    Ok(sorted)
}

fn open_block(fs: &dyn Fs, dir: &Path, name: Ulid) -> Result<Block, Error> {
    let block = Block::open(fs, dir.to_path_buf())?;
    let ulid = block.meta().ulid;
    if ulid == name {
        Ok(block)
    } else {
        Err(Error::Block { dir: dir.to_path_buf(), fault: BlockFault::Name { ulid } })
    }
}

/// End of the time that the blocks cover, exclusive: what the log has of it is in them.
pub(crate) fn covered_until(blocks: &[Arc<Block>]) -> i64 {
    let whole = blocks.iter().filter(|block| !block.meta().compaction.is_of_part());
    whole.map(|block| block.meta().maxt).max().unwrap_or(i64::MIN)
}

/// Removes the directories of blocks that nobody will open any more, those that are left of them if
/// an earlier attempt has failed.
pub(crate) fn remove_blocks(fs: &dyn Fs, parent: &Path, blocks: &[Ulid]) -> Result<(), Error> {
    let mut renamed = Vec::with_capacity(blocks.len());
    for ulid in blocks {
        let dir = parent.join(ulid.to_string());
        let tmp = parent.join(format!("{ulid}{DELETION_SUFFIX}"));
        if fs.exists(&dir).map_err(Error::io("inspect", &dir))? {
            fs.rename(&dir, &tmp).map_err(Error::io("rename", &dir))?;
        }
        renamed.push(tmp);
    }
    // A crash from here on leaves directories that the next opening removes, never half a block
    // under its own name.
    fs.sync_dir(parent).map_err(Error::io("sync", parent))?;
    for tmp in renamed {
        if fs.exists(&tmp).map_err(Error::io("inspect", &tmp))? {
            fs.remove_dir_all(&tmp).map_err(Error::io("remove", &tmp))?;
        }
    }
    Ok(())
}

/// Removes what interrupted work has left in the directory `dir`.
pub(crate) fn remove_leftovers(fs: &dyn Fs, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut removed = Vec::new();
    for entry in fs.list(dir).map_err(Error::io("list", dir))? {
        let suffixes = [CREATION_SUFFIX, DELETION_SUFFIX];
        if entry.is_dir && suffixes.iter().any(|suffix| entry.name.ends_with(suffix)) {
            let path = dir.join(&entry.name);
            fs.remove_dir_all(&path).map_err(Error::io("remove", &path))?;
            removed.push(path);
        }
    }
    Ok(removed)
}
