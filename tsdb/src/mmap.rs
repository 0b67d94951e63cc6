//! Files as bytes: mapped into memory where the operating system knows them, read otherwise.
//!
//! The only unsafe code of the crate is here. Readers get `Bytes` and never see the map.

#![expect(unsafe_code, reason = "mapping a file is unsafe by nature; the argument stands below")]

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use ferula_wal::fs::Fs;
use memmap2::Mmap;

use crate::error::Error;

/// The content of an immutable file of a block.
pub(crate) fn open_bytes(fs: &dyn Fs, path: &Path) -> Result<Bytes, Error> {
    let Some(os_path) = fs.os_path(path) else {
        return fs.read(path).map(Bytes::from).map_err(Error::io("read", path));
    };
    let file = File::open(&os_path).map_err(Error::io("open", path))?;
    if file.metadata().map_err(Error::io("inspect", path))?.len() == 0 {
        // An empty map is an error on some systems.
        return Ok(Bytes::new());
    }
    // SAFETY: the bytes of a map must not change while it is read. Files of a block are written
    // under a temporary name, synced and renamed, and from then on neither this crate nor
    // Prometheus writes to or truncates them; they are only unlinked, which leaves the map whole.
    // The data directory is locked against a second writer. Whoever edits a block in place while
    // it is open breaks this condition, as with any program that maps its files.
    let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
    Ok(Bytes::from_owner(map))
}
