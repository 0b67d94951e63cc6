//! A process that can be killed: its file system goes dead, while the machine and what the machine
//! has not written to the disk yet go on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ferula_wal::fs::{DirEntry, FaultFs, File, Fs, Metadata, OpenMode};

/// The file system as one process sees it.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    fs: FaultFs,
    is_dead: Arc<AtomicBool>,
}

impl Process {
    /// A process on the machine that `fs` belongs to.
    pub(crate) fn new(fs: &FaultFs) -> Self {
        Self { fs: fs.clone(), is_dead: Arc::default() }
    }

    /// Kills it: nothing that it does has an effect any more.
    pub(crate) fn kill(&self) {
        self.is_dead.store(true, Ordering::Release);
    }

    fn alive(&self) -> io::Result<&FaultFs> {
        if self.is_dead.load(Ordering::Acquire) {
            Err(io::Error::other("the process was killed"))
        } else {
            Ok(&self.fs)
        }
    }
}

impl Fs for Process {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>> {
        let file = self.alive()?.open(path, mode)?;
        Ok(Box::new(ProcessFile { file, process: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.alive()?.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.alive()?.hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.alive()?.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.alive()?.remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.alive()?.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.alive()?.list(dir)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.alive()?.metadata(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.alive()?.sync_dir(dir)
    }
}

#[derive(Debug)]
struct ProcessFile {
    file: Box<dyn File>,
    process: Process,
}

impl File for ProcessFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.process.alive()?;
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.process.alive()?;
        self.file.write_at(buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.process.alive()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.process.alive()?;
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.process.alive()?;
        self.file.len()
    }
}
