//! The file of a snapshot: written aside, and there whole or not at all.

use std::io;
use std::path::Path;

use ferula_index::{Labels, SeriesRef};
use ferula_wal::fs::Fs;

use super::{Snapshot, SnapshotChunk, SnapshotOpen, SnapshotReader, SnapshotWriter};
use crate::block::OutputFile;
use crate::error::Error;
use crate::head::exemplars::Logged;
use crate::head::metadata::Described;
use crate::mmap::open_bytes;

/// Name of the file in a data directory.
pub(crate) const SNAPSHOT_FILE: &str = "head_snapshot";

/// Name of a file that is not complete.
const UNFINISHED_FILE: &str = "head_snapshot.tmp";

/// A snapshot that is being written into a data directory. It does not exist before
/// [`finish`](Self::finish).
#[derive(Debug)]
pub(crate) struct SnapshotFile<'a> {
    fs: &'a dyn Fs,
    dir: &'a Path,
    writer: SnapshotWriter<OutputFile>,
}

impl<'a> SnapshotFile<'a> {
    /// Begins a snapshot in the data directory `dir`.
    pub(crate) fn create(
        fs: &'a dyn Fs,
        dir: &'a Path,
        snapshot: &Snapshot,
    ) -> Result<Self, Error> {
        let path = dir.join(UNFINISHED_FILE);
        remove_file(fs, &path)?;
        let out = OutputFile::create(fs, path.clone())?;
        let writer = SnapshotWriter::new(out, snapshot).map_err(Error::io("write", &path))?;
        Ok(Self { fs, dir, writer })
    }

    /// Writes a series. Refs ascend.
    pub(crate) fn add(
        &mut self,
        series: SeriesRef,
        labels: &Labels,
        full: impl ExactSizeIterator<Item = SnapshotChunk>,
        open: Option<SnapshotOpen<'_>>,
    ) -> Result<(), Error> {
        let added = self.writer.add(series, labels, full, open);
        added.map_err(Error::io("write", &self.dir.join(UNFINISHED_FILE)))
    }

    /// Writes an exemplar, behind all series.
    pub(crate) fn add_exemplar(&mut self, labels: &Labels, logged: &Logged) -> Result<(), Error> {
        let added = self.writer.add_exemplar(labels, logged);
        added.map_err(Error::io("write", &self.dir.join(UNFINISHED_FILE)))
    }

    /// Writes what a metric says, behind all series.
    pub(crate) fn add_description(&mut self, described: &Described) -> Result<(), Error> {
        let added = self.writer.add_description(described);
        added.map_err(Error::io("write", &self.dir.join(UNFINISHED_FILE)))
    }

    /// Writes which description a series has, behind all of them.
    pub(crate) fn add_described(&mut self, series: SeriesRef, number: u32) -> Result<(), Error> {
        let added = self.writer.add_described(series, number);
        added.map_err(Error::io("write", &self.dir.join(UNFINISHED_FILE)))
    }

    /// Makes the snapshot durable and gives it its name.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let path = self.dir.join(UNFINISHED_FILE);
        let out = self.writer.finish().map_err(Error::io("write", &path))?;
        out.finish()?;
        let renamed = self.fs.rename(&path, &self.dir.join(SNAPSHOT_FILE));
        renamed.map_err(Error::io("rename", &path))?;
        self.fs.sync_dir(self.dir).map_err(Error::io("sync", self.dir))
    }
}

/// Opens the snapshot in the data directory `dir`, if there is one.
pub(crate) fn open(fs: &dyn Fs, dir: &Path) -> Result<Option<SnapshotReader>, Error> {
    let path = dir.join(SNAPSHOT_FILE);
    match open_bytes(fs, &path) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => SnapshotReader::open(&path, bytes?).map(Some),
    }
}

/// Removes the snapshot in the data directory `dir`, and one that was not finished.
pub(crate) fn remove(fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
    let is_removed = remove_file(fs, &dir.join(SNAPSHOT_FILE))?;
    if remove_file(fs, &dir.join(UNFINISHED_FILE))? || is_removed {
        fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
    }
    Ok(())
}

/// Removes a file. Tells whether there was one.
fn remove_file(fs: &dyn Fs, path: &Path) -> Result<bool, Error> {
    match fs.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true).map_err(Error::io("remove", path)),
    }
}
