//! A data directory opened to be read, perhaps while another process writes to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ferula_wal::LogReader;
use ferula_wal::fs::{Fs, StdFs};
use parking_lot::RwLock;

use super::open::WAL_DIR;
use crate::error::Error;
use crate::head::{Head, Replay};
use crate::options::{DEFAULT_BLOCK_RANGE_MS, Limits};
use crate::querier::{HeadReader, Querier};
use crate::stats::{OpenReport, Stats};

/// A data directory opened to be read, perhaps while another process writes to it. It is seen as
/// it was when it was read; [`reload`](Self::reload) reads it again.
#[derive(Debug)]
pub struct ReadOnlyDb {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    content: RwLock<Content>,
}

#[derive(Clone, Debug)]
struct Content {
    head: Arc<Head>,
    report: OpenReport,
}

impl ReadOnlyDb {
    /// Reads the directory `path`: takes no lock and writes nothing.
    ///
    /// # Errors
    /// Whatever keeps its log from being read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(Arc::new(StdFs), path)
    }

    /// Reads the directory `path` of the file system `fs`.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(fs: Arc<dyn Fs>, path: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = path.as_ref().to_path_buf();
        let content = RwLock::new(read(&fs, &dir)?);
        Ok(Self { fs, dir, content })
    }

    /// What opening, or the last [`reload`](Self::reload), read.
    pub fn open_report(&self) -> OpenReport {
        self.content.read().report.clone()
    }

    /// Opens a consistent view of the samples from `mint` to `maxt`, both inclusive, in
    /// milliseconds.
    ///
    /// # Errors
    /// Whatever keeps the view from being opened.
    pub fn querier(&self, mint: i64, maxt: i64) -> Result<Querier, Error> {
        let head = Arc::clone(&self.content.read().head);
        Ok(Querier::new(mint, maxt, HeadReader::new(head, i64::MIN)))
    }

    /// Reads the directory again, as it is now. Queriers opened before keep their view.
    ///
    /// # Errors
    /// Whatever keeps it from being read; the old view stays then.
    pub fn reload(&self) -> Result<(), Error> {
        let content = read(&self.fs, &self.dir)?;
        *self.content.write() = content;
        Ok(())
    }

    /// What the directory held when it was read.
    pub fn stats(&self) -> Stats {
        let head = Arc::clone(&self.content.read().head);
        let (n_series, n_chunks) = head.sizes();
        let (head_mint, head_maxt) = head.time_range().unzip();
        Stats { n_series, n_chunks, head_mint, head_maxt, ..Stats::default() }
    }
}

fn read(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Content, Error> {
    let start = Instant::now();
    let mut head = Head::new(Limits::default(), DEFAULT_BLOCK_RANGE_MS, i64::MIN);
    let failed = |source| Error::Wal { op: "read", source };
    let mut log = LogReader::open(Arc::clone(fs), &dir.join(WAL_DIR)).map_err(failed)?;
    let mut replay = Replay::new(&mut head);
    while let Some(record) = log.next_record().map_err(failed)? {
        replay.apply(&record)?;
    }
    let replayed = replay.finish();
    let report = OpenReport {
        segments: replayed.segments,
        records: replayed.records,
        series: head.sizes().0,
        samples: replayed.samples,
        covered_samples: replayed.covered_samples,
        skipped_records: replayed.skipped_records,
        duration: start.elapsed(),
        ..OpenReport::default()
    };
    Ok(Content { head: Arc::new(head), report })
}
