//! Writing files of a block: front to back, or in the place of another one.

use std::io;
use std::path::{Path, PathBuf};

use ferula_wal::fs::{File, Fs, OpenMode};

use crate::error::Error;

/// Bytes collected before they are handed to the file system.
const BUFFER_BYTES: usize = 256 << 10;

/// A new file that is written front to back and synced at its end.
#[derive(Debug)]
pub(crate) struct OutputFile {
    path: PathBuf,
    file: Box<dyn File>,
    flushed: u64,
    buffer: Vec<u8>,
}

impl OutputFile {
    /// Creates the file, which must not exist.
    pub(crate) fn create(fs: &dyn Fs, path: PathBuf) -> Result<Self, Error> {
        let file = fs.open(&path, OpenMode::CreateNew).map_err(Error::io("create", &path))?;
        Ok(Self { path, file, flushed: 0, buffer: Vec::new() })
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Appends `bytes`.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        io::Write::write_all(self, bytes).map_err(Error::io("write", &self.path))
    }

    /// Writes what is left and makes the bytes durable.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        io::Write::flush(&mut self).map_err(Error::io("write", &self.path))?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))
    }
}

/// Replaces the file `name` in the directory `dir`: a crash leaves the old content or the new one.
/// Who has the old file open goes on to read it.
pub(crate) fn replace_file(
    fs: &dyn Fs,
    dir: &Path,
    name: &str,
    content: &[u8],
) -> Result<(), Error> {
    let tmp = dir.join(format!("{name}.tmp"));
    let file = fs.open(&tmp, OpenMode::Truncate).map_err(Error::io("create", &tmp))?;
    file.write_at(content, 0).map_err(Error::io("write", &tmp))?;
    file.sync_data().map_err(Error::io("sync", &tmp))?;
    drop(file);
    fs.rename(&tmp, &dir.join(name)).map_err(Error::io("rename", &tmp))?;
    fs.sync_dir(dir).map_err(Error::io("sync", dir))
}

/// Size of the files in a directory and below, in bytes.
pub(crate) fn size_of_dir(fs: &dyn Fs, dir: &Path) -> io::Result<u64> {
    let mut size = 0;
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs.list(&dir)? {
            let path = dir.join(&entry.name);
            if entry.is_dir {
                pending.push(path);
            } else {
                size += fs.metadata(&path)?.len;
            }
        }
    }
    Ok(size)
}

impl io::Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.flushed)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
