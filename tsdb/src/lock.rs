//! The lock on a data directory: one database at a time writes to it.
//!
//! As in Prometheus it is `flock` on the file `lock`, so that neither opens a directory that the
//! other holds. The holder writes its process number into the file for the message that the next
//! one gets. The file stays when the lock is released: removing it would race with another process
//! that has just opened it.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use ferula_wal::fs::Fs;

use crate::error::Error;

/// Name of the file that is locked.
const LOCK_FILE: &str = "lock";

/// Longest process number that is looked for, in bytes.
const MAX_PID_BYTES: u64 = 16;

/// A held lock; released when dropped.
#[derive(Debug)]
pub(crate) struct DirLock {
    /// None on a file system that the operating system does not know: no other process sees it.
    file: Option<File>,
}

impl DirLock {
    /// Takes the lock on `dir`.
    pub(crate) fn acquire(fs: &dyn Fs, dir: &Path) -> Result<Self, Error> {
        let Some(path) = fs.os_path(&dir.join(LOCK_FILE)) else {
            return Ok(Self { file: None });
        };
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(Error::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { dir: dir.to_path_buf(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
        }
        write_pid(&mut file).map_err(Error::io("write", &path))?;
        Ok(Self { file: Some(file) })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // The number is a courtesy to others.
            let _ = file.set_len(0);
            // The lock would end with the handle, but a child that another thread is starting has a copy
            // of that until its program begins.
            let _ = file.unlock();
        }
    }
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(MAX_PID_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use ferula_wal::fs::StdFs;

    use super::*;

    #[test]
    fn a_copy_of_the_handle_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::acquire(&StdFs, dir.path()).unwrap();
        let _copy = lock.file.as_ref().unwrap().try_clone().unwrap();
        assert!(matches!(DirLock::acquire(&StdFs, dir.path()), Err(Error::Locked { .. })));
        drop(lock);
        DirLock::acquire(&StdFs, dir.path()).unwrap();
    }
}
