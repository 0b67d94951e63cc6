//! Files as bytes: mapped into memory where the operating system knows them, read otherwise.
//!
//! The only unsafe code of the crate is here. Readers get `Bytes` and never see the map.

#![expect(unsafe_code, reason = "mapping a file is unsafe by nature; the argument stands below")]

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ferula_wal::fs::Fs;
use memmap2::{Mmap, MmapOptions};

use crate::error::Error;

/// The content of a file that does not change any more.
pub(crate) fn open_bytes(fs: &dyn Fs, path: &Path) -> Result<Bytes, Error> {
    match fs.os_path(path) {
        Some(os_path) => map(&os_path, path, u64::MAX),
        None => fs.read(path).map(Bytes::from).map_err(Error::io("read", path)),
    }
}

/// The first `len` bytes of a file that is only added to, or fewer if it is shorter; `None` if the
/// operating system does not know it.
pub(crate) fn map_start(fs: &dyn Fs, path: &Path, len: u64) -> Result<Option<Bytes>, Error> {
    fs.os_path(path).map(|os_path| map(&os_path, path, len)).transpose()
}

fn map(os_path: &Path, path: &Path, limit: u64) -> Result<Bytes, Error> {
    let file = File::open(os_path).map_err(Error::io("open", path))?;
    let found = file.metadata().map_err(Error::io("inspect", path))?.len();
    let len = usize::try_from(found.min(limit)).map_err(|_| Error::TooLarge {
        file: path.to_path_buf(),
        found,
        limit: usize::MAX as u64,
    })?;
    map_options(&MmapOptions::new(), &file, path, len)
}

/// A file of a block that is looked at through a window.
#[derive(Debug)]
pub(crate) struct WindowedFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl WindowedFile {
    /// Opens a file that does not change any more; `None` if the operating system does not know it.
    pub(crate) fn open(fs: &dyn Fs, path: &Path) -> Result<Option<Self>, Error> {
        let Some(os_path) = fs.os_path(path) else { return Ok(None) };
        let file = File::open(os_path).map_err(Error::io("open", path))?;
        let len = file.metadata().map_err(Error::io("inspect", path))?.len();
        Ok(Some(Self { path: path.to_path_buf(), file, len }))
    }

    /// Length in bytes, when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// `len` bytes from `offset` on, or fewer if there are not as many.
    pub(crate) fn window(&self, offset: u64, len: usize) -> Result<Bytes, Error> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut options = MmapOptions::new();
        // All of it is about to be read.
        options.offset(offset).populate();
        map_options(&options, &self.file, &self.path, len.min(left))
    }
}

/// Maps `len` bytes of a file, which has as many.
fn map_options(
    options: &MmapOptions,
    file: &File,
    path: &Path,
    len: usize,
) -> Result<Bytes, Error> {
    if len == 0 {
        // An empty map is an error on some systems.
        return Ok(Bytes::new());
    }
    // SAFETY: the bytes of a map must not change while it is read. Files of a block are written
    // under a temporary name, synced and renamed, and from then on neither this crate nor
    // Prometheus writes to or truncates them. Head chunk files are added to, and nothing is written
    // twice but what a failed write may have left: `map_start` is asked only for what was written
    // without an error, and files are mapped whole before they are added to or after it. All of
    // them are only unlinked, which leaves the map whole. The data directory is locked against a
    // second writer. Whoever edits a file in place while it is open breaks this condition, as with
    // any program that maps its files.
    let map: Mmap =
        unsafe { options.clone().len(len).map(file) }.map_err(Error::io("map", path))?;
    Ok(Bytes::from_owner(map))
}
