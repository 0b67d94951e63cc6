//! Making a database from its directory: leftovers, blocks, log.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferula_wal::fs::Fs;
use ferula_wal::{LogReader, LogRecord};

use super::View;
use super::recover::{recover, recover_read_only};
use crate::error::Error;
use crate::head::{Era, Head};
use crate::options::{DEFAULT_BLOCK_RANGE_MS, Limits, Options};
use crate::repair::{
    FoundBlocks, covered_until, open_blocks, open_settled_blocks, remove_blocks, remove_leftovers,
};
use crate::stats::OpenReport;

/// Directory of the log.
pub(crate) const WAL_DIR: &str = "wal";

/// Directory of the log of samples that came out of order.
pub(crate) const WBL_DIR: &str = "wbl";

/// How often a directory is read again because its writer has changed it meanwhile.
const READ_ATTEMPTS: u32 = 8;

/// How long it is left alone before the second attempt, and twice as long before each later one.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// What a directory holds.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) head: Head,
    pub(super) view: View,
    pub(super) report: OpenReport,
}

/// Opens the directory `dir`, which is locked, for writing.
pub(super) fn open(fs: &Arc<dyn Fs>, dir: &Path, options: &Options) -> Result<Opened, Error> {
    let start = Instant::now();
    let removed = remove_leftovers(&**fs, dir)?;
    // The name of a block that is there may not be durable yet, if the process that gave it was
    // stopped right then; and what the log holds of it is about to be left out.
    fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
    let FoundBlocks { blocks, quarantined, replaced } = open_blocks(&**fs, dir)?;
    remove_blocks(&**fs, dir, &replaced)?;
    let from = covered_until(&blocks);

    let mut report = OpenReport::default();
    let head = recover(fs, dir, options, from, &mut report)?;
    report.removed = removed;
    report.removed.extend(replaced.iter().map(|ulid| dir.join(ulid.to_string())));
    report.blocks = blocks.len();
    report.quarantined = quarantined;
    report.duration = start.elapsed();
    Ok(Opened { head, view: View::new(blocks, from, Era(0)), report })
}

/// Makes a directory whose name is durable, with its missing parents.
pub(crate) fn create_dir(fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
    let mut is_new = false;
    let mut parents = Vec::new();
    for path in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        if fs.exists(path).map_err(Error::io("inspect", path))? {
            break;
        }
        is_new = true;
        parents.extend(path.parent().map(|parent| match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        }));
    }
    if is_new {
        fs.create_dir_all(dir).map_err(Error::io("create", dir))?;
    }
    for parent in parents {
        fs.sync_dir(parent).map_err(Error::io("sync", parent))?;
    }
    Ok(())
}

/// Reads the directory `dir`, to which another process may be writing. Nothing is changed in it.
pub(super) fn read(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Opened, Error> {
    let mut attempt = 1;
    loop {
        match try_read(fs, dir) {
            // A segment or a block went while it was about to be read: it is elsewhere now.
            Err(_) if attempt < READ_ATTEMPTS => {
                std::thread::sleep(FIRST_PAUSE * (1 << attempt));
                attempt += 1;
            }
            result => return result,
        }
    }
}

fn try_read(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Opened, Error> {
    let start = Instant::now();
    let blocks = open_settled_blocks(&**fs, dir)?.blocks;
    let from = covered_until(&blocks);
    let mut report = OpenReport::default();
    let new_head = || Head::new(Limits::default(), DEFAULT_BLOCK_RANGE_MS, from);
    let head = recover_read_only(fs, dir, from, new_head, &mut report)?;
    // A block that was cut meanwhile holds what the log may not hold any more.
    let FoundBlocks { blocks, quarantined, .. } = open_settled_blocks(&**fs, dir)?;
    report.blocks = blocks.len();
    report.quarantined = quarantined;
    report.duration = start.elapsed();
    let from = covered_until(&blocks);
    Ok(Opened { head, view: View::new(blocks, from, Era(0)), report })
}

/// Reads the log in `log_dir`, if there is one, to which another process may be writing. `apply` tells
/// whether it wants more.
pub(super) fn read_log(
    fs: &Arc<dyn Fs>,
    log_dir: &Path,
    mut apply: impl FnMut(&LogRecord<'_>) -> Result<bool, Error>,
) -> Result<(), Error> {
    walk_log(fs, log_dir, |log| match log.next_record() {
        Ok(Some(record)) => apply(&record).map(Ok),
        Ok(None) => Ok(Ok(false)),
        Err(error) => Ok(Err(error)),
    })
}

/// The same with what `next` does, until that is false.
pub(super) fn walk_log(
    fs: &Arc<dyn Fs>,
    log_dir: &Path,
    mut next: impl FnMut(&mut LogReader) -> Result<Result<bool, ferula_wal::Error>, Error>,
) -> Result<(), Error> {
    if !fs.exists(log_dir).map_err(Error::io("inspect", log_dir))? {
        return Ok(());
    }
    let failed = |source| Error::Wal { op: "read", source };
    let mut log = LogReader::open(Arc::clone(fs), log_dir).map_err(failed)?;
    loop {
        match next(&mut log)? {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // The end of the last segment is what its writer is about to write, or was when it
            // crashed.
            Err(ferula_wal::Error::Damaged { file, .. }) if is_last(&**fs, log_dir, &file)? => {
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

fn is_last(fs: &dyn Fs, wal_dir: &Path, file: &Path) -> Result<bool, Error> {
    let entries = fs.list(wal_dir).map_err(Error::io("list", wal_dir))?;
    let last = entries.iter().rfind(|entry| !entry.is_dir && entry.name.parse::<u32>().is_ok());
    Ok(last.is_some_and(|last| wal_dir.join(&last.name) == file))
}
