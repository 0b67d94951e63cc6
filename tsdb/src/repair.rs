//! Opening what is in a data directory, and setting aside what cannot be read.
//!
//! A block that does not open is left where it is, for whoever looks after it, and reported with
//! the reason; the others serve. Nothing is deleted but directories that are unfinished by name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_wal::fs::Fs;
use ulid::Ulid;

use crate::block::{Block, CREATION_SUFFIX, DELETION_SUFFIX};
use crate::error::{BlockFault, Error};
use crate::stats::Quarantined;

/// Opens the blocks in the directory `dir`. Returns those that serve, by time, and those that
/// cannot.
pub(crate) fn open_blocks(
    fs: &dyn Fs,
    dir: &Path,
) -> Result<(Vec<Arc<Block>>, Vec<Quarantined>), Error> {
    let (mut blocks, mut quarantined) = (Vec::new(), Vec::new());
    for entry in fs.list(dir).map_err(Error::io("list", dir))? {
        let Ok(ulid) = Ulid::from_string(&entry.name) else { continue };
        if !entry.is_dir {
            continue;
        }
        let dir = dir.join(&entry.name);
        match open_block(fs, &dir, ulid) {
            Ok(block) => blocks.push(Arc::new(block)),
            Err(error) => {
                quarantined.push(Quarantined { dir, reason: error.to_string_with_causes() });
            }
        }
    }
    blocks.sort_by_key(|block| (block.meta().mint, block.meta().ulid));
    Ok((blocks, quarantined))
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
