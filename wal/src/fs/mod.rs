//! The file system as the store sees it: two small traits, so that faults can be injected.
//!
//! Everything the log, the head and the blocks do with files goes through [`Fs`] and [`File`].
//! [`StdFs`] is the real one, `FaultFs` (feature `testing`) fails and crashes on demand. What may be assumed of a disk below it, and what may not, stands in
//! `docs/formats/README.md`; the short of it: bytes are durable after [`File::sync_data`], names
//! after [`Fs::sync_dir`] of the directory that holds them, nothing else is.

#[cfg(feature = "testing")]
mod fault;
mod std;

use ::std::fmt;
use ::std::io;
use ::std::path::{Path, PathBuf};

#[cfg(feature = "testing")]
pub use self::fault::{Fault, FaultFs, Survival};
pub use self::std::StdFs;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A file that must not exist yet, for reading and writing.
    CreateNew,
    /// A file that is made if it does not exist and emptied if it does, for reading and writing.
    Truncate,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Size in bytes; zero for a directory.
    pub len: u64,
    /// Whether the path is a directory.
    pub is_dir: bool,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A tree of files, as far as a store needs it.
///
/// # Contract
/// - Errors carry the [`io::ErrorKind`] that the same call of [`std::fs`](::std::fs) has:
///   `NotFound`, `AlreadyExists`, `DirectoryNotEmpty`, `StorageFull`.
/// - What a call has changed is visible to every later call at once.
/// - Created, renamed, linked and removed names are **durable only after [`Fs::sync_dir`]** of their
///   directory; before that a crash may keep any subset of them. A rename over both directories
///   needs both synced.
/// - A rename is atomic: a crash leaves the old name or the new one, never neither.
pub trait Fs: fmt::Debug + Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound` without the file (or, when creating, its directory), `AlreadyExists` for
    /// [`OpenMode::CreateNew`] over a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>>;

    /// Gives a file or directory another name; a file at `to` is replaced, so is an empty directory
    /// if `from` is a directory.
    ///
    /// # Errors
    /// `NotFound` without `from`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name.
    ///
    /// # Errors
    /// `AlreadyExists` if `to` is taken.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Open handles stay usable.
    ///
    /// # Errors
    /// `NotFound` without the file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `DirectoryNotEmpty` if something is in it.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory and its missing parents; one that exists is fine.
    ///
    /// # Errors
    /// Those of the file system.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory and its missing parents, and makes their names durable.
    ///
    /// All directories above are synced, because an earlier attempt may have made them without
    /// getting that far; those that may not be opened, or that are on a file system where nothing
    /// can be made or synced, are left out.
    ///
    /// # Errors
    /// Those of making and syncing directories.
    fn create_dir_durable(&self, path: &Path) -> io::Result<()> {
        self.create_dir_all(path)?;
        for dir in path.ancestors().skip(1) {
            let is_here = dir.as_os_str().is_empty();
            match self.sync_dir(if is_here { Path::new(".") } else { dir }) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::PermissionDenied
                            | io::ErrorKind::ReadOnlyFilesystem
                            | io::ErrorKind::InvalidInput
                            | io::ErrorKind::Unsupported
                    ) => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Names in a directory, sorted; those that are not UTF-8 are left out.
    ///
    /// # Errors
    /// `NotFound` without the directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Size and kind of a path.
    ///
    /// # Errors
    /// `NotFound` if there is nothing.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Makes the names in a directory durable, as they are now.
    ///
    /// # Errors
    /// After one, which names are durable is unknown.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Path under which the operating system knows a file, for mapping and locking it; `None` if
    /// it does not.
    fn os_path(&self, path: &Path) -> Option<PathBuf> {
        let _ = path;
        None
    }

    /// Tells whether there is a file or directory at `path`.
    ///
    /// # Errors
    /// Those of the file system, other than `NotFound`.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// Those of opening and reading.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Removes a directory with the files and directories in it.
    ///
    /// # Errors
    /// Those of listing and removing; what was removed before stays so.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        // An explicit stack: a path removed here may come from a damaged directory of any depth.
        let mut pending = vec![(path.to_path_buf(), false)];
        while let Some((dir, is_emptied)) = pending.pop() {
            if is_emptied {
                self.remove_dir(&dir)?;
                continue;
            }
            pending.push((dir.clone(), true));
            for entry in self.list(&dir)? {
                let child = dir.join(&entry.name);
                if entry.is_dir {
                    pending.push((child, false));
                } else {
                    self.remove_file(&child)?;
                }
            }
        }
        Ok(())
    }
}

/// An open file, read and written at explicit offsets, so that one handle serves many threads.
///
/// # Contract
/// - Writes are visible to every reader at once and **durable only after [`File::sync_data`]**;
///   before that a crash may keep any part of them, in any order, or zeros in their place.
/// - After a failed [`File::sync_data`] the bytes written since the last good one may be lost even
///   if a later call succeeds. A caller must stop relying on the file.
#[expect(clippy::len_without_is_empty, reason = "an empty file is nothing special here")]
pub trait File: fmt::Debug + Send + Sync {
    /// Reads up to `buf.len()` bytes from `offset`; zero bytes mean the end of the file.
    ///
    /// # Errors
    /// Those of the file system; never `Interrupted`.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `buf` at `offset`; a gap after the old end reads as zeros.
    ///
    /// # Errors
    /// After one, any part of `buf` may have been written.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// Those of the file system.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes the bytes and the length of the file durable; not its name.
    ///
    /// # Errors
    /// After one, what was written since the last good call may be lost.
    fn sync_data(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// Those of the file system.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends first.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            let n = self.read_at(buf, offset)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buf = &mut buf[n..];
            offset += n as u64;
        }
        Ok(())
    }
}
