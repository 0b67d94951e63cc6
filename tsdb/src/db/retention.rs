//! Removing what is beyond the retention.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ferula_index::postings::Postings;
use ferula_wal::fs::Fs;
use ulid::Ulid;

use super::Shared;
use super::open::WAL_DIR;
use crate::block::{Block, BlockMeta, size_of_dir};
use crate::error::Error;
use crate::retention::{Retention, ages, beyond_size, beyond_time};

/// Names of what the head keeps in the data directory, or the beginnings of such.
const HEAD_NAMES: [&str; 5] = [WAL_DIR, "wbl", "chunks_head", "chunk_snapshot.", "head_snapshot"];

/// For each block which rules were applied to it.
pub(super) type Retained = BTreeMap<Ulid, Vec<bool>>;

impl Shared {
    /// Removes the blocks that are beyond the retention, and deletes the series from others that
    /// rules do not let stay.
    pub(super) fn apply_retention(&self) -> Result<(), Error> {
        let retention = &self.options.retention;
        let _compacting = self.compacting.lock();
        let _maintenance = self.maintenance.lock();
        self.check_open()?;
        self.remove_unwanted(&[])?;
        let blocks: Vec<Arc<Block>> = self.view.read().blocks.to_vec();
        let metas: Vec<&BlockMeta> = blocks.iter().map(|block| block.meta()).collect();
        let mut beyond = retention.longest_ms().map_or(Vec::new(), |ms| beyond_time(&metas, ms));
        if let Some(limit) = self.size_limit(retention)? {
            let sizes: Vec<(&BlockMeta, u64)> =
                blocks.iter().map(|block| (block.meta(), block.size_bytes())).collect();
            beyond.extend(beyond_size(&sizes, head_bytes(&*self.fs, &self.dir)?, limit));
        }
        beyond.sort_unstable();
        beyond.dedup();
        if !beyond.is_empty() {
            self.replace_blocks(&beyond, None);
            self.remove_unwanted(&beyond)?;
        }
        if retention.rules.is_empty() {
            return Ok(());
        }
        for (block, (meta, age)) in blocks.iter().zip(ages(&metas)) {
            if beyond.binary_search(&meta.ulid).is_err() && block.damage().is_none() {
                self.apply_rules(block, &retention.expired(age))?;
            }
        }
        self.retained.lock().retain(|ulid, _| metas.iter().any(|meta| meta.ulid == *ulid));
        Ok(())
    }

    /// Deletes from a block the series whose rule is among the `expired`.
    fn apply_rules(&self, block: &Block, expired: &[bool]) -> Result<(), Error> {
        let ulid = block.meta().ulid;
        let is_done = self.retained.lock().get(&ulid).is_some_and(|done| done == expired);
        if is_done || !expired.contains(&true) {
            return Ok(());
        }
        let mut left = block.select(&[])?;
        let mut gone = Postings::new();
        for (rule, is_expired) in self.options.retention.rules.iter().zip(expired) {
            let mut selected = block.select(&rule.matchers)?;
            selected.intersect(&left);
            left.subtract(&selected);
            if *is_expired {
                gone.unite(&selected);
            }
        }
        if expired.last() == Some(&true) {
            gone.unite(&left);
        }
        if let Some(left) = block.delete(&*self.fs, &gone, i64::MIN, i64::MAX)? {
            self.replace_blocks(&[ulid], [Arc::new(left)]);
        }
        self.retained.lock().insert(ulid, expired.to_vec());
        Ok(())
    }

    fn size_limit(&self, retention: &Retention) -> Result<Option<u64>, Error> {
        let disk = match retention.disk_percent {
            Some(_) => disk_bytes(&*self.fs, &self.dir)?,
            None => None,
        };
        let of_disk = disk.zip(retention.disk_percent);
        // Divided first: a disk of 2^57 bytes does not overflow, and what is lost is below a percent
        // of a hundred bytes.
        let of_disk = of_disk.map(|(bytes, percent)| bytes / 100 * u64::from(percent));
        Ok(of_disk.or(retention.size_bytes))
    }
}

/// Size of what the head keeps on the disk.
fn head_bytes(fs: &dyn Fs, dir: &Path) -> Result<u64, Error> {
    let mut size = 0;
    for entry in fs.list(dir).map_err(Error::io("list", dir))? {
        if HEAD_NAMES.iter().any(|name| entry.name.starts_with(name)) {
            let path = dir.join(&entry.name);
            let of_entry = match entry.is_dir {
                true => size_of_dir(fs, &path),
                false => fs.metadata(&path).map(|metadata| metadata.len),
            };
            // A file may go while it is looked at; it is counted at the next turn, or gone.
            size += of_entry.unwrap_or_default();
        }
    }
    Ok(size)
}

/// Size of the file system that `dir` is on, where the operating system knows it.
#[cfg(unix)]
fn disk_bytes(fs: &dyn Fs, dir: &Path) -> Result<Option<u64>, Error> {
    let Some(path) = fs.os_path(dir) else { return Ok(None) };
    let found = rustix::fs::statvfs(&path).map_err(std::io::Error::from);
    let found = found.map_err(Error::io("inspect the file system of", dir))?;
    Ok(Some(found.f_frsize.saturating_mul(found.f_blocks)))
}

/// Size of the file system that `dir` is on, where the operating system knows it.
#[cfg(not(unix))]
fn disk_bytes(_fs: &dyn Fs, _dir: &Path) -> Result<Option<u64>, Error> {
    Ok(None)
}
