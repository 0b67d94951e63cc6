//! Copying directories: what does not change gets second names, the rest is copied.
//!
//! A copy is made under a temporary name beside its target and renamed when all of it is durable, so
//! that nobody takes a part for the whole.

use std::io;
use std::path::{Path, PathBuf};

use ferula_wal::fs::{Fs, OpenMode};
use serde::Serialize;
use ulid::Ulid;

use super::open::create_dir;
use crate::block::CREATION_SUFFIX;
use crate::error::Error;
use crate::verify::Finding;

/// Bytes copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// What a copy of a directory holds, and how it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CopyReport {
    /// Its blocks.
    pub blocks: Vec<Ulid>,
    /// Files that got a second name: they must not be changed in place any more.
    pub linked_files: u64,
    /// Files that were copied.
    pub copied_files: u64,
    /// Bytes of those.
    pub copied_bytes: u64,
    /// Why files of blocks were copied rather than linked, if they were: mostly because the target is on
    /// another file system.
    pub not_linked: Option<String>,
    /// Blocks that cannot be read and are left out.
    pub damaged: Vec<Finding>,
}

impl CopyReport {
    /// Gives all files in the directory `from` second names in `to`, or copies them to another file
    /// system.
    pub(super) fn link_dir(&mut self, fs: &dyn Fs, from: &Path, to: &Path) -> Result<(), Error> {
        self.walk(fs, from, to, |this, from, to| match fs.hard_link(from, to) {
            Ok(()) => {
                this.linked_files += 1;
                Ok(())
            }
            Err(error) => {
                this.copy_file(fs, from, to)?;
                this.not_linked.get_or_insert_with(|| error.to_string());
                Ok(())
            }
        })
    }

    /// Copies all files in the directory `from` to `to`.
    pub(super) fn copy_dir(&mut self, fs: &dyn Fs, from: &Path, to: &Path) -> Result<(), Error> {
        self.walk(fs, from, to, |this, from, to| this.copy_file(fs, from, to))
    }

    fn walk(
        &mut self,
        fs: &dyn Fs,
        from: &Path,
        to: &Path,
        each: impl Fn(&mut Self, &Path, &Path) -> Result<(), Error>,
    ) -> Result<(), Error> {
        fs.create_dir_all(to).map_err(Error::io("create", to))?;
        let mut pending = vec![(from.to_path_buf(), to.to_path_buf())];
        while let Some((from, to)) = pending.pop() {
            for entry in fs.list(&from).map_err(Error::io("list", &from))? {
                let (from, to) = (from.join(&entry.name), to.join(&entry.name));
                if entry.is_dir {
                    // Made here, so that the sync below covers its name.
                    fs.create_dir_all(&to).map_err(Error::io("create", &to))?;
                    pending.push((from, to));
                } else {
                    each(self, &from, &to)?;
                }
            }
            fs.sync_dir(&to).map_err(Error::io("sync", &to))?;
        }
        Ok(())
    }

    /// Copies a file and makes its bytes durable.
    pub(super) fn copy_file(&mut self, fs: &dyn Fs, from: &Path, to: &Path) -> Result<(), Error> {
        let source = fs.open(from, OpenMode::Read).map_err(Error::io("open", from))?;
        // What is there may be a second name of the source.
        let target = fs.open(to, OpenMode::CreateNew).map_err(Error::io("create", to))?;
        let (mut buf, mut at) = (vec![0; COPY_BYTES], 0);
        loop {
            let n = source.read_at(&mut buf, at).map_err(Error::io("read", from))?;
            if n == 0 {
                break;
            }
            target.write_at(&buf[..n], at).map_err(Error::io("write", to))?;
            at += n as u64;
        }
        target.sync_data().map_err(Error::io("sync", to))?;
        self.copied_files += 1;
        self.copied_bytes += at;
        Ok(())
    }
}

/// Makes the directory `target` with what `fill` puts into the directory that it is given. The target
/// must not exist, or be empty. What was made of one that fails is removed.
pub(super) fn make_dir<T>(
    fs: &dyn Fs,
    target: &Path,
    fill: impl FnOnce(&Path) -> Result<T, Error>,
) -> Result<T, Error> {
    match fs.list(target) {
        Ok(entries) if entries.is_empty() => {}
        Ok(_) => return Err(Error::NotEmpty { dir: target.to_path_buf() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("list", target)(error)),
    }
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    create_dir(fs, &parent)?;
    let mut tmp = target.as_os_str().to_owned();
    tmp.push(CREATION_SUFFIX);
    let tmp = PathBuf::from(tmp);
    let make = || {
        // What an earlier attempt has left.
        if fs.exists(&tmp).map_err(Error::io("inspect", &tmp))? {
            fs.remove_dir_all(&tmp).map_err(Error::io("remove", &tmp))?;
        }
        fs.create_dir_all(&tmp).map_err(Error::io("create", &tmp))?;
        let filled = fill(&tmp)?;
        fs.sync_dir(&tmp).map_err(Error::io("sync", &tmp))?;
        fs.rename(&tmp, target).map_err(Error::io("rename", &tmp))?;
        fs.sync_dir(&parent).map_err(Error::io("sync", &parent))?;
        Ok(filled)
    };
    make().inspect_err(|_| {
        // The error that counts is the first one.
        let _ = fs.remove_dir_all(&tmp);
    })
}
