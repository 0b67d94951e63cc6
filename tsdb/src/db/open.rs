//! Making a database from its directory: leftovers, blocks, log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ferula_wal::Wal;
use ferula_wal::fs::Fs;

use crate::error::Error;
use crate::head::{Head, Replay};
use crate::options::Options;
use crate::stats::OpenReport;

/// Directory of the log.
pub(super) const WAL_DIR: &str = "wal";

/// How the directory of a block ends while it is written.
pub(crate) const CREATION_SUFFIX: &str = ".tmp-for-creation";

/// How the directory of a block ends while it is removed.
const DELETION_SUFFIX: &str = ".tmp-for-deletion";

/// Opens the directory `dir`, which is locked.
pub(super) fn open(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    options: &Options,
) -> Result<(Head, OpenReport), Error> {
    let start = Instant::now();
    let removed = remove_leftovers(&**fs, dir)?;
    let mut head = Head::new(options.limits.clone(), options.block_range_ms, i64::MIN);

    let failed = |source| Error::Wal { op: "open", source };
    let (wal, mut recovery) =
        Wal::open(Arc::clone(fs), dir.join(WAL_DIR), options.wal_options()?).map_err(failed)?;
    let mut replay = Replay::new(&mut head);
    while let Some(record) = recovery.next_record().map_err(failed)? {
        replay.apply(&record)?;
    }
    let replayed = replay.finish();
    head.set_wal(wal);

    let report = OpenReport {
        segments: replayed.segments,
        records: replayed.records,
        series: head.sizes().0,
        samples: replayed.samples,
        covered_samples: replayed.covered_samples,
        skipped_records: replayed.skipped_records,
        cut_bytes: recovery.report.cut.map_or(0, |cut| cut.bytes),
        removed,
        duration: start.elapsed(),
        ..OpenReport::default()
    };
    Ok((head, report))
}

/// Removes what interrupted work has left in the directory `dir`.
fn remove_leftovers(fs: &dyn Fs, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut removed = Vec::new();
    for entry in fs.list(dir).map_err(Error::io("list", dir))? {
        let is_leftover =
            [CREATION_SUFFIX, DELETION_SUFFIX].iter().any(|s| entry.name.ends_with(s));
        if entry.is_dir && is_leftover {
            let path = dir.join(&entry.name);
            fs.remove_dir_all(&path).map_err(Error::io("remove", &path))?;
            removed.push(path);
        }
    }
    if !removed.is_empty() {
        fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
    }
    Ok(removed)
}
