//! The files into which full chunks leave the memory of the head: `chunks_head/000001` and on.
//!
//! The format is Prometheus's, described in `docs/formats/head_chunks.md`. Chunks are collected in
//! [`staging`] and written in runs of a mebibyte by whoever adds the chunk that completes one; others
//! go on meanwhile. What is in a file is read through a map of it, so it takes page cache and no
//! memory of the process.
//!
//! The files are a cache of the log, which keeps every sample until it is in a block. So nothing is
//! synced while they are written, and after a crash any part of them may be missing: [`scan`] takes
//! what is whole from the beginning, and the rest comes from the log.

mod layout;
mod scan;
mod staging;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ferula_chunkenc::{Chunk, Encoding};
use ferula_index::{ChunkRef, SeriesRef};
use ferula_wal::fs::{File, Fs, OpenMode};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use self::layout::{ChunkHeader, MAX_OVERHEAD_BYTES, chunk_len, file_name, read_chunk, split};
pub(crate) use self::scan::FoundChunk;
use self::scan::{Scan, known, scan};
use self::staging::{Part, Sizes, Staging};
use crate::error::Error;
use crate::mmap::map_start;

/// Directory of the files.
pub(crate) const CHUNKS_HEAD_DIR: &str = "chunks_head";

/// The files of full chunks. Shared by reference between threads.
#[derive(Debug)]
pub(crate) struct ChunkFiles {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// Taken before `files` where both are needed.
    staging: Mutex<Staging>,
    /// Signalled whenever a write ends.
    written: Condvar,
    files: RwLock<BTreeMap<u32, OpenFile>>,
    /// How many chunks that came out of order are in use in each file, which stays for them.
    pinned: Mutex<BTreeMap<u32, u64>>,
    is_read_only: bool,
}

#[derive(Debug)]
struct OpenFile {
    /// Bytes that are written.
    len: u64,
    /// Time of the latest sample.
    maxt: i64,
    /// What was mapped so far; empty on a file system that the operating system does not know.
    map: Bytes,
    /// Absent until it is needed in a file that was there before.
    file: Option<Arc<dyn File>>,
    is_synced: bool,
}

/// How far a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkFileEnd {
    /// Number of the file.
    pub(crate) number: u32,
    /// Where its last chunk ends.
    pub(crate) end: u64,
    /// Time of its latest sample.
    pub(crate) maxt: i64,
}

/// A chunk as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredChunk {
    /// Its series.
    pub(crate) series: SeriesRef,
    /// Time of the first sample.
    pub(crate) mint: i64,
    /// Time of the last sample.
    pub(crate) maxt: i64,
    /// Whether the samples came out of order.
    pub(crate) is_ooo: bool,
    /// The samples.
    pub(crate) chunk: Chunk,
}

/// What was found when the files were opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkFilesReport {
    /// Files that are used.
    pub(crate) n_files: usize,
    /// Chunks in them.
    pub(crate) n_chunks: u64,
    /// Chunks passed over because their encoding is not known.
    pub(crate) n_skipped: u64,
    /// Why chunks were given up, causes included.
    pub(crate) damage: Option<String>,
    /// Bytes given up.
    pub(crate) cut_bytes: u64,
}

/// How much the files take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkFilesSize {
    pub(crate) n_files: usize,
    /// Bytes in files.
    pub(crate) disk_bytes: u64,
    /// Bytes of files that are mapped: page cache, not memory of the process.
    pub(crate) mapped_bytes: u64,
    /// Bytes of memory in buffers.
    pub(crate) buffer_bytes: usize,
}

impl ChunkFiles {
    /// Opens the files in `dir` for writing, and shows what is in them to `visit`, each series' chunks
    /// in the order in which they were written. Damage is cut off and reported.
    ///
    /// The directory need not exist; it is made with the first chunk.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: PathBuf,
        visit: &mut dyn FnMut(FoundChunk),
    ) -> Result<(Self, ChunkFilesReport), Error> {
        Self::open_with(fs, dir, Sizes::default(), visit)
    }

    fn open_with(
        fs: Arc<dyn Fs>,
        dir: PathBuf,
        sizes: Sizes,
        visit: &mut dyn FnMut(FoundChunk),
    ) -> Result<(Self, ChunkFilesReport), Error> {
        let mut scan = scan(&*fs, &dir, false, visit)?;
        let cut_bytes = cut(&*fs, &dir, &mut scan)?;
        let report = ChunkFilesReport { cut_bytes, ..report(&scan) };
        Ok((Self::new(fs, dir, scan, sizes), report))
    }

    /// Opens the files in `dir` for reading; another process may be writing them. Nothing is changed,
    /// and chunks are refused.
    pub(crate) fn open_read_only(
        fs: Arc<dyn Fs>,
        dir: PathBuf,
        visit: &mut dyn FnMut(FoundChunk),
    ) -> Result<(Self, ChunkFilesReport), Error> {
        let scan = scan(&*fs, &dir, true, visit)?;
        let report = report(&scan);
        Ok((Self { is_read_only: true, ..Self::new(fs, dir, scan, Sizes::default()) }, report))
    }

    /// Opens the files in `dir` without reading them, for somebody who knows what is in them and how
    /// far they go. `None` if they are others, or shorter.
    pub(crate) fn open_known(
        fs: Arc<dyn Fs>,
        dir: PathBuf,
        ends: &[ChunkFileEnd],
    ) -> Result<Option<Self>, Error> {
        let scan = known(&*fs, &dir, ends)?;
        Ok(scan.map(|scan| Self::new(fs, dir, scan, Sizes::default())))
    }

    fn new(fs: Arc<dyn Fs>, dir: PathBuf, scan: Scan, sizes: Sizes) -> Self {
        let (last, end) = scan.files.last().map_or((0, 0), |file| (file.number, file.end));
        let files = scan.files.into_iter().map(|found| {
            // Bytes that are not a map would be a copy in memory.
            let is_mapped = fs.os_path(&dir.join(file_name(found.number))).is_some();
            let len = usize::try_from(found.end).unwrap_or(usize::MAX).min(found.bytes.len());
            let map = if is_mapped { found.bytes.slice(..len) } else { Bytes::new() };
            let (len, maxt) = (found.end, found.maxt);
            (found.number, OpenFile { len, maxt, map, file: None, is_synced: false })
        });
        Self {
            files: RwLock::new(files.collect()),
            fs,
            dir,
            staging: Mutex::new(Staging::after(last, end, sizes)),
            written: Condvar::new(),
            pinned: Mutex::default(),
            is_read_only: false,
        }
    }

    /// Adds a chunk and returns where it is read from now on.
    ///
    /// Chunks of a series must be written in the order of their times and without a gap, those out
    /// of order apart: what is found later stands for all of the series' samples before it. So a
    /// chunk that is refused stays in memory, and with it the later ones of its series until it was
    /// written.
    ///
    /// # Errors
    /// If earlier chunks cannot be written, and as many wait as may; [`flush`](Self::flush) tries
    /// again.
    pub(crate) fn write(
        &self,
        series: SeriesRef,
        (mint, maxt): (i64, i64),
        encoding: Encoding,
        is_ooo: bool,
        data: &[u8],
    ) -> Result<ChunkRef, Error> {
        let header = ChunkHeader::new(series, (mint, maxt), encoding, is_ooo);
        if self.is_read_only || header.is_end() {
            return Err(self.refused(io::ErrorKind::InvalidInput));
        }
        let mut staging = self.staging.lock();
        while staging.is_full() {
            if let Some(kind) = staging.failure {
                return Err(self.refused(kind));
            }
            if staging.is_writing {
                self.written.wait(&mut staging);
            } else {
                self.write_full(&mut staging)?;
            }
        }
        let at = staging.put(&header, data);
        let at = at.ok_or_else(|| self.refused(io::ErrorKind::StorageFull))?;
        if !staging.is_writing && staging.failure.is_none() && staging.first_full().is_some() {
            // The chunk is staged and can be read; whether it reaches its file is not its matter.
            let _ = self.write_full(&mut staging);
        }
        Ok(at)
    }

    /// Reads the chunk at `chunk` and checks its checksum. What is mapped is not copied.
    pub(crate) fn read(&self, chunk: ChunkRef) -> Result<StoredChunk, Error> {
        let (number, offset) = split(chunk);
        if let Some(map) = self.mapped(number, offset) {
            return self.parse(chunk, &map);
        }
        let staged = self.staging.lock().find(chunk).map(|bytes| {
            let len = chunk_len(bytes).and_then(|len| usize::try_from(len).ok());
            Bytes::copy_from_slice(&bytes[..len.unwrap_or(0).min(bytes.len())])
        });
        match staged {
            Some(bytes) => self.parse(chunk, &bytes),
            None => self.read_file(chunk),
        }
    }

    /// The map of a file from where a chunk begins.
    fn mapped(&self, number: u32, offset: u32) -> Option<Bytes> {
        let files = self.files.read();
        let map = &files.get(&number)?.map;
        let offset = usize::try_from(offset).ok().filter(|&offset| offset < map.len())?;
        Some(map.slice(offset..))
    }

    /// Reads a chunk that is in its file and not mapped yet.
    fn read_file(&self, chunk: ChunkRef) -> Result<StoredChunk, Error> {
        let (number, offset) = split(chunk);
        let path = self.dir.join(file_name(number));
        let mut files = self.files.write();
        let nowhere = || self.nowhere(chunk);
        let file = files.get_mut(&number).filter(|file| u64::from(offset) < file.len);
        let file = file.ok_or_else(nowhere)?;
        if let Some(map) = map_start(&*self.fs, &path, file.len)? {
            file.map = map;
            drop(files);
            let map = self.mapped(number, offset).ok_or_else(nowhere)?;
            return self.parse(chunk, &map);
        }
        let handle = self.handle(file, &path)?;
        let left = file.len - u64::from(offset);
        drop(files);
        let read = |len: u64| {
            let mut bytes = vec![0; usize::try_from(len.min(left)).unwrap_or(0)];
            let read = handle.read_exact_at(&mut bytes, offset.into());
            read.map_err(Error::io("read", &path)).map(|()| Bytes::from(bytes))
        };
        let start = read(MAX_OVERHEAD_BYTES as u64)?;
        self.parse(chunk, &read(chunk_len(&start).unwrap_or(0))?)
    }

    fn parse(&self, chunk: ChunkRef, bytes: &Bytes) -> Result<StoredChunk, Error> {
        let (number, offset) = split(chunk);
        let failed = |source| {
            let file = self.dir.join(file_name(number));
            Error::Chunk { file, offset: offset.into(), source }
        };
        let Some(entry) = read_chunk(bytes).map_err(failed)? else {
            return Err(self.nowhere(chunk));
        };
        let header = entry.header;
        let encoding = header.encoding().map_err(failed)?;
        let chunk = Chunk { encoding, data: bytes.slice(entry.data) };
        let (series, mint, maxt) = (header.series, header.mint, header.maxt);
        Ok(StoredChunk { series, mint, maxt, is_ooo: header.is_ooo(), chunk })
    }

    /// Writes everything added so far to its files, without a sync.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut staging = self.staging.lock();
        staging.close_part();
        while staging.is_writing {
            self.written.wait(&mut staging);
        }
        self.write_full(&mut staging)
    }

    /// Makes everything added so far durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.flush()?;
        let mut unsynced = Vec::new();
        for (&number, file) in self.files.write().iter_mut().filter(|(_, file)| !file.is_synced) {
            let path = self.dir.join(file_name(number));
            unsynced.push((number, file.len, self.handle(file, &path)?, path));
        }
        for (number, len, file, path) in unsynced {
            file.sync_data().map_err(Error::io("sync", &path))?;
            if let Some(file) = self.files.write().get_mut(&number) {
                file.is_synced = file.len == len;
            }
        }
        self.sync_dir()
    }

    fn sync_dir(&self) -> Result<(), Error> {
        if self.files.read().is_empty() {
            return Ok(());
        }
        self.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))
    }

    /// Keeps the file of a chunk of samples out of order, whose times do not tell whether they are
    /// needed.
    pub(crate) fn pin(&self, chunk: ChunkRef) {
        *self.pinned.lock().entry(split(chunk).0).or_default() += 1;
    }

    /// Ends what one [`pin`](Self::pin) did.
    pub(crate) fn unpin(&self, chunk: ChunkRef) {
        let mut pinned = self.pinned.lock();
        if let Some(n) = pinned.get_mut(&split(chunk).0) {
            *n -= 1;
            if *n == 0 {
                pinned.remove(&split(chunk).0);
            }
        }
    }

    /// Removes the files, from the first one on, whose samples all lie before `mint`. No chunk of
    /// them may be read any more. The next chunk begins a file, so that this one can go next time.
    /// Returns how many files are gone.
    pub(crate) fn truncate(&self, mint: i64) -> Result<usize, Error> {
        let first_open = {
            let mut staging = self.staging.lock();
            staging.finish_file();
            staging.first_open_file()
        };
        let due: Vec<u32> = {
            let files = self.files.read();
            let pinned = self.pinned.lock();
            let is_due = |(number, file): &(&u32, &OpenFile)| {
                **number < first_open && file.maxt < mint && !pinned.contains_key(number)
            };
            files.iter().take_while(is_due).map(|(number, _)| *number).collect()
        };
        if !due.is_empty() {
            // Whether a file is missing before those that stay can only be told while one is there:
            // the names of what stays must be durable before what tells it goes.
            self.sync_dir()?;
        }
        for &number in &due {
            // One by one: removals that reach the disk out of order would leave a gap.
            self.remove(number)?;
        }
        Ok(due.len())
    }

    /// Removes all files. No chunk of them may be read any more.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        self.staging.lock().finish_file();
        let numbers: Vec<u32> = self.files.read().keys().copied().collect();
        // The last ones first, so that no gap is left if this is interrupted.
        for &number in numbers.iter().rev() {
            self.remove(number)?;
        }
        Ok(())
    }

    /// Removes a file, durably.
    fn remove(&self, number: u32) -> Result<(), Error> {
        let path = self.dir.join(file_name(number));
        self.fs.remove_file(&path).map_err(Error::io("remove", &path))?;
        self.sync_dir()?;
        self.files.write().remove(&number);
        Ok(())
    }

    /// How far the files go; what was not [flushed](Self::flush) is not counted.
    pub(crate) fn ends(&self) -> Vec<ChunkFileEnd> {
        let files = self.files.read();
        let ends = files.iter();
        ends.map(|(&number, file)| ChunkFileEnd { number, end: file.len, maxt: file.maxt })
            .collect()
    }

    /// How much the files take.
    pub(crate) fn size(&self) -> ChunkFilesSize {
        let buffer_bytes = self.staging.lock().memory_bytes();
        let files = self.files.read();
        ChunkFilesSize {
            n_files: files.len(),
            disk_bytes: files.values().map(|file| file.len).sum(),
            mapped_bytes: files.values().map(|file| file.map.len() as u64).sum(),
            buffer_bytes,
        }
    }

    /// Writes all full parts. Nobody else may be writing.
    fn write_full(&self, staging: &mut MutexGuard<'_, Staging>) -> Result<(), Error> {
        while let Some(part) = staging.first_full() {
            staging.is_writing = true;
            let written = MutexGuard::unlocked(staging, || self.write_part(&part));
            drop(part);
            staging.is_writing = false;
            staging.failure = written.as_ref().err().map(kind);
            if written.is_ok() {
                staging.pop_full();
            }
            self.written.notify_all();
            written?;
        }
        Ok(())
    }

    /// Writes a part into its file, which is made for the first one.
    fn write_part(&self, part: &Part) -> Result<(), Error> {
        let path = self.dir.join(file_name(part.file));
        let known = self.files.read().get(&part.file).and_then(|file| file.file.clone());
        let file = match known {
            Some(file) => file,
            None => self.create(part.file, &path)?,
        };
        file.write_at(&part.bytes, part.at).map_err(Error::io("write", &path))?;
        if let Some(open) = self.files.write().get_mut(&part.file) {
            open.len = part.end();
            open.maxt = open.maxt.max(part.maxt);
            open.is_synced = false;
        }
        Ok(())
    }

    fn create(&self, number: u32, path: &Path) -> Result<Arc<dyn File>, Error> {
        let is_first = self.files.read().is_empty();
        if is_first {
            let created = self.fs.create_dir_durable(&self.dir);
            created.map_err(Error::io("create", &self.dir))?;
        }
        // An attempt that failed may have left it.
        let file = self.fs.open(path, OpenMode::Truncate).map_err(Error::io("create", path))?;
        if is_first {
            // That a later one is missing shows by the gap.
            self.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        }
        let file: Arc<dyn File> = file.into();
        let open = OpenFile {
            len: 0,
            maxt: i64::MIN,
            map: Bytes::new(),
            file: Some(Arc::clone(&file)),
            is_synced: false,
        };
        self.files.write().insert(number, open);
        Ok(file)
    }

    /// The open file, which is opened if it was not.
    fn handle(&self, open: &mut OpenFile, path: &Path) -> Result<Arc<dyn File>, Error> {
        if let Some(file) = &open.file {
            return Ok(Arc::clone(file));
        }
        let mode = if self.is_read_only { OpenMode::Read } else { OpenMode::Write };
        let file: Arc<dyn File> = self.fs.open(path, mode).map_err(Error::io("open", path))?.into();
        open.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// What is wrong with a ref that does not lead to the chunk that was written under it.
    pub(crate) fn nowhere(&self, chunk: ChunkRef) -> Error {
        Error::ChunkRef { dir: self.dir.clone(), chunk }
    }

    /// Tells whether chunks are refused.
    pub(crate) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    fn refused(&self, kind: io::ErrorKind) -> Error {
        Error::io("write to", &self.dir)(kind.into())
    }
}

fn kind(error: &Error) -> io::ErrorKind {
    match error {
        Error::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    }
}

fn report(scan: &Scan) -> ChunkFilesReport {
    ChunkFilesReport {
        n_files: scan.files.len(),
        n_chunks: scan.n_chunks,
        n_skipped: scan.n_skipped,
        damage: scan.damage.as_ref().map(|damage| damage.error.to_string_with_causes()),
        cut_bytes: 0,
    }
}

/// Cuts off what cannot be used, durably, and returns how many bytes that was.
fn cut(fs: &dyn Fs, dir: &Path, scan: &mut Scan) -> Result<u64, Error> {
    let Some(damage) = &scan.damage else { return Ok(0) };
    let mut cut_bytes = 0;
    // The last ones first, so that no gap is left if this is interrupted.
    for &number in scan.lost.iter().rev() {
        let path = dir.join(file_name(number));
        cut_bytes += fs.metadata(&path).map_err(Error::io("inspect", &path))?.len;
        fs.remove_file(&path).map_err(Error::io("remove", &path))?;
        fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
    }
    if let Some(kept) = scan.files.last_mut().filter(|file| file.number == damage.number) {
        // It is mapped anew, not longer than it is then.
        kept.bytes = Bytes::new();
        let path = dir.join(file_name(damage.number));
        let file = fs.open(&path, OpenMode::Write).map_err(Error::io("open", &path))?;
        let len = file.len().map_err(Error::io("inspect", &path))?;
        file.set_len(damage.offset).map_err(Error::io("cut", &path))?;
        file.sync_data().map_err(Error::io("sync", &path))?;
        cut_bytes += len.saturating_sub(damage.offset);
    }
    Ok(cut_bytes)
}
