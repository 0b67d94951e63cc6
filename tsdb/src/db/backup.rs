//! Backups of a directory that a process may be writing to, and clones of one that none does.
//!
//! A backup is a directory of blocks: those that there are get second names, and what the log holds
//! beyond them is written as blocks, as Prometheus's snapshots have it. So it holds every sample that
//! was acknowledged when the directory was read, needs no log that fits to it, and is opened by
//! everything that opens blocks. Exemplars and metadata, which blocks do not hold, are not in it.
//!
//! A clone is the directory itself once more, log and all.

use std::io;
use std::path::Path;
use std::sync::Arc;

use ferula_wal::fs::{Fs, StdFs};
use ulid::Ulid;

use super::copy::{CopyReport, make_dir};
use super::cut::{write_block, write_series};
use super::open::{WAL_DIR, WBL_DIR};
use super::read_only::ReadOnlyDb;
use crate::block::{Block, BlockMeta};
use crate::clock::new_ulid;
use crate::error::Error;
use crate::head::snapshot::SNAPSHOT_FILE;
use crate::head::{CHUNKS_HEAD_DIR, Era, Series, range_end};
use crate::lock::DirLock;
use crate::options::Options;
use crate::querier::HeadReader;
use crate::repair::open_blocks;
use crate::verify::Finding;

/// How often a directory is read again because a block has gone before it was linked.
const ATTEMPTS: usize = 5;

impl ReadOnlyDb {
    /// Reads the directory anew, as [`reload`](Self::reload) does, and writes all that it holds as
    /// blocks into the directory `target`, which must not exist or be empty. Whoever writes to the
    /// directory goes on; what was acknowledged before this is called is in the backup.
    ///
    /// Blocks are linked where the file system can do it, and copied otherwise
    /// ([`CopyReport::not_linked`]). The target has its name when all of it is durable.
    ///
    /// # Errors
    /// [`Error::NotEmpty`]; whatever keeps the directory from being read or a block from being written.
    pub fn backup(&self, target: impl AsRef<Path>) -> Result<CopyReport, Error> {
        let mut attempt = 1;
        loop {
            self.reload()?;
            match make_dir(&*self.fs, target.as_ref(), |dir| self.back_up(dir)) {
                // A block was compacted, or is beyond the retention: what is there now is read.
                Err(Error::Io { source, .. })
                    if attempt < ATTEMPTS && source.kind() == io::ErrorKind::NotFound =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn back_up(&self, dir: &Path) -> Result<CopyReport, Error> {
        let (head, newest, blocks, quarantined) = {
            let content = self.content.read();
            let newest = content.head.time_range().map(|(_, newest)| newest);
            let (head, blocks) = (content.view.reader(&content.head), &content.view.blocks);
            (head, newest, Arc::clone(blocks), content.report.quarantined.clone())
        };
        let mut report = CopyReport::default();
        let damaged = quarantined.into_iter();
        report.damaged.extend(damaged.map(|block| Finding::of_dir(block.dir, block.reason)));
        for block in blocks.iter() {
            let ulid = block.meta().ulid;
            report.link_dir(&*self.fs, block.dir(), &dir.join(ulid.to_string()))?;
            report.blocks.push(ulid);
        }
        // As those that are there, so that whoever reads these reads the others too.
        let block_format = blocks.last().map(|block| block.format()).unwrap_or_default();
        let options = Options { block_format, ..Options::default() };
        let late = Era(u64::MAX);
        let written = write_head(&*self.fs, dir, &options, &head, newest)?;
        report.blocks.extend(written);
        for range in head.late_ranges(options.block_range_ms, late)? {
            let (mint, maxt) = (range.start, range.end);
            let series = head.select_late(mint, maxt - 1, late)?;
            let chunks = |series: &Series| head.late_chunks(series, mint, maxt - 1, late);
            let ulid = new_ulid(&*options.clock);
            let describe = |_, stats| BlockMeta::out_of_order(ulid, mint, maxt, stats);
            let fs = &*self.fs;
            let block = write_series(fs, dir, ulid, &options, &head, &series, chunks, describe)?;
            report.blocks.extend(block.map(|block: Block| block.meta().ulid));
        }
        Ok(report)
    }
}

/// Writes what the head has in order as one block for each block range. The last one ends with its
/// newest sample, so that whoever opens the copy can go on from there.
fn write_head(
    fs: &dyn Fs,
    dir: &Path,
    options: &Options,
    head: &HeadReader,
    newest: Option<i64>,
) -> Result<Vec<Ulid>, Error> {
    let mut ulids = Vec::new();
    let mut from = head.guard().from();
    while let Some(oldest) = head.oldest_from(from) {
        let newest = newest.map_or(oldest, |newest| newest.max(oldest));
        let end = range_end(oldest, options.block_range_ms).min(newest.saturating_add(1));
        let ulid = new_ulid(&*options.clock);
        let block = write_block(fs, dir, ulid, options, head, oldest, end)?;
        ulids.extend(block.map(|block| block.meta().ulid));
        from = end;
    }
    Ok(ulids)
}

/// Makes the directory `target`, which must not exist or be empty, as the data directory `dir` is, which
/// nobody may write to meanwhile: it is locked, unless it has no log. Blocks are linked where the
/// file system can do it, log and files of the head are copied. This restores a backup, too.
///
/// ```
/// use ferula_tsdb::{Db, Options, clone_dir};
///
/// # let dir = tempfile::tempdir()?;
/// # let target = tempfile::tempdir()?;
/// Db::open(dir.path(), Options::default())?.close()?;
/// clone_dir(dir.path(), target.path())?;
/// Db::open(target.path(), Options::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Locked`] if a process writes to the directory; [`Error::NotEmpty`]; whatever keeps files
/// from being read or written.
pub fn clone_dir(dir: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<CopyReport, Error> {
    let (fs, dir): (&dyn Fs, &Path) = (&StdFs, dir.as_ref());
    let entries = fs.list(dir).map_err(Error::io("list", dir))?;
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    let _lock = (has(WAL_DIR) || has(WBL_DIR)).then(|| DirLock::acquire(fs, dir)).transpose()?;
    make_dir(fs, target.as_ref(), |to| {
        let mut report = CopyReport::default();
        let found = open_blocks(fs, dir)?;
        let damaged = found.quarantined.into_iter();
        report.damaged.extend(damaged.map(|block| Finding::of_dir(block.dir, block.reason)));
        for block in found.blocks {
            let ulid = block.meta().ulid;
            report.link_dir(fs, block.dir(), &to.join(ulid.to_string()))?;
            report.blocks.push(ulid);
        }
        // These are cut and written on in place.
        for name in [WAL_DIR, WBL_DIR, CHUNKS_HEAD_DIR].into_iter().filter(|name| has(name)) {
            report.copy_dir(fs, &dir.join(name), &to.join(name))?;
        }
        if has(SNAPSHOT_FILE) {
            report.copy_file(fs, &dir.join(SNAPSHOT_FILE), &to.join(SNAPSHOT_FILE))?;
        }
        Ok(report)
    })
}
