//! A data directory opened to be read, perhaps while another process writes to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_wal::fs::{Fs, StdFs};
use parking_lot::RwLock;

use super::View;
use super::open::{Opened, read};
use crate::analyze::{Analysis, AnalysisRequest, analyze};
use crate::error::Error;
use crate::head::Head;
use crate::querier::Querier;
use crate::stats::{OpenReport, Stats};

/// A data directory opened to be read, perhaps while another process writes to it. It is seen as
/// it was when it was read; [`reload`](Self::reload) reads it again.
#[derive(Debug)]
pub struct ReadOnlyDb {
    pub(super) fs: Arc<dyn Fs>,
    dir: PathBuf,
    pub(super) content: RwLock<Content>,
}

#[derive(Debug)]
pub(super) struct Content {
    pub(super) head: Arc<Head>,
    pub(super) view: View,
    pub(super) report: OpenReport,
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
        let content = RwLock::new(Content::new(read(&fs, &dir)?));
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
    /// None so far.
    pub fn querier(&self, mint: i64, maxt: i64) -> Result<Querier, Error> {
        let content = self.content.read();
        Ok(content.view.querier(&content.head, mint, maxt))
    }

    /// Reads the directory again, as it is now. Queriers opened before keep their view.
    ///
    /// # Errors
    /// Whatever keeps it from being read; the old view stays then.
    pub fn reload(&self) -> Result<(), Error> {
        let content = Content::new(read(&self.fs, &self.dir)?);
        *self.content.write() = content;
        Ok(())
    }

    /// Counts series, samples and bytes by metric, label and label pair, over blocks and head. Every
    /// chunk is looked at, a series at a time. `on_progress` is called now and then with how many
    /// series were read, and of how many.
    ///
    /// # Errors
    /// Whatever keeps a block from being read.
    pub fn analyze(
        &self,
        request: &AnalysisRequest,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Analysis, Error> {
        let (reader, blocks) = {
            let content = self.content.read();
            (content.view.reader(&content.head), Arc::clone(&content.view.blocks))
        };
        analyze(&reader, &blocks, request, on_progress)
    }

    /// What the directory held when it was read.
    pub fn stats(&self) -> Stats {
        let content = self.content.read();
        content.view.stats(&content.head, &content.report.quarantined)
    }
}

impl Content {
    fn new(opened: Opened) -> Self {
        let Opened { head, view, report } = opened;
        Self { head: Arc::new(head), view, report }
    }
}
