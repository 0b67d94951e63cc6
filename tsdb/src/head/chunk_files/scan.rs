//! Reading head chunk files through when they are opened, up to the first thing that is wrong.
//!
//! What is skipped in the log because a chunk holds it must be in a chunk. So what is read is
//! always a beginning of what was written: nothing after the first damage, the first missing file,
//! or the first file that does not go on where the one before it ends.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ferula_chunkenc::Encoding;
use ferula_chunkenc::cursor::Cursor;
use ferula_index::{ChunkRef, SeriesRef};
use ferula_wal::fs::Fs;

use super::ChunkFileEnd;
use super::layout::{
    HEADER_BYTES, MAGIC, VERSION, chunk_ref, file_name, file_number, parse_mark, read_chunk,
};
use crate::error::Error;
use crate::mmap::open_bytes;

/// A chunk found in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundChunk {
    /// Its series.
    pub(crate) series: SeriesRef,
    /// Where it is.
    pub(crate) at: ChunkRef,
    /// Time of the first sample.
    pub(crate) mint: i64,
    /// Time of the last sample.
    pub(crate) maxt: i64,
    /// How the samples are encoded.
    pub(crate) encoding: Encoding,
    /// Whether the samples came out of order.
    pub(crate) is_ooo: bool,
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct ScannedFile {
    pub(super) number: u32,
    pub(super) bytes: Bytes,
    /// End of the last chunk.
    pub(super) end: u64,
    /// Time of the latest sample.
    pub(super) maxt: i64,
}

/// Where reading had to end before the last file did.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) number: u32,
    /// What lies before it in the file is good.
    pub(super) offset: u64,
    pub(super) error: Error,
}

/// What reading found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) files: Vec<ScannedFile>,
    pub(super) damage: Option<Damage>,
    /// Files that do not count, because they come at or after the damage, ascending.
    pub(super) lost: Vec<u32>,
    pub(super) n_chunks: u64,
    /// Chunks passed over because their encoding is not known.
    pub(super) n_skipped: u64,
}

/// Reads the files in `dir` and shows each chunk to `visit`, in the order in which they were written.
/// Another process may be adding to and removing from a directory that is `live`.
pub(super) fn scan(
    fs: &dyn Fs,
    dir: &Path,
    is_live: bool,
    visit: &mut dyn FnMut(FoundChunk),
) -> Result<Scan, Error> {
    let mut scan = Scan::default();
    let numbers = numbers(fs, dir)?;
    for (i, &number) in numbers.iter().enumerate() {
        let path = dir.join(file_name(number));
        let bytes = match open_bytes(fs, &path) {
            Err(Error::Io { source, .. })
                if is_live && source.kind() == io::ErrorKind::NotFound =>
            {
                // Files go from the front.
                if scan.files.is_empty() { continue } else { break }
            }
            bytes => bytes?,
        };
        if let Some(damage) = scan.read(dir, number, bytes, visit) {
            scan.damage = Some(damage);
            // The file with the damage is among the good ones if there is something before it.
            let is_kept = scan.files.last().is_some_and(|file| file.number == number);
            scan.lost = numbers[i + usize::from(is_kept)..].to_vec();
            break;
        }
    }
    Ok(scan)
}

/// Finds the files in `dir`, which go as far as `ends` says. `None` if they are others, or shorter.
pub(super) fn known(fs: &dyn Fs, dir: &Path, ends: &[ChunkFileEnd]) -> Result<Option<Scan>, Error> {
    if !numbers(fs, dir)?.into_iter().eq(ends.iter().map(|end| end.number)) {
        return Ok(None);
    }
    let mut scan = Scan::default();
    for &ChunkFileEnd { number, end, maxt } in ends {
        let path = dir.join(file_name(number));
        let bytes = open_bytes(fs, &path)?;
        if (bytes.len() as u64) < end || check_header(&bytes, &path).is_err() {
            return Ok(None);
        }
        scan.files.push(ScannedFile { number, bytes, end, maxt });
    }
    Ok(Some(scan))
}

/// Numbers of the files in `dir`, ascending.
fn numbers(fs: &dyn Fs, dir: &Path) -> Result<Vec<u32>, Error> {
    let entries = match fs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("list", dir))?,
    };
    let files = entries.iter().filter(|entry| !entry.is_dir);
    let mut numbers: Vec<u32> = files.filter_map(|entry| file_number(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl Scan {
    /// Reads the next file. Returns what is wrong with it.
    fn read(
        &mut self,
        dir: &Path,
        number: u32,
        bytes: Bytes,
        visit: &mut dyn FnMut(FoundChunk),
    ) -> Option<Damage> {
        let path = dir.join(file_name(number));
        if let Some(before) = self.files.last()
            && before.number.checked_add(1) != Some(number)
        {
            let missing = dir.join(file_name(before.number.saturating_add(1)));
            return Some(Damage { number, offset: 0, error: Error::Missing { file: missing } });
        }
        if let Err(error) = check_header(&bytes, &path) {
            return Some(Damage { number, offset: 0, error });
        }
        let mut file = ScannedFile { number, bytes, end: HEADER_BYTES, maxt: i64::MIN };
        let mut error = None;
        loop {
            match self.next(dir, &path, &mut file, visit) {
                Ok(true) => {}
                Ok(false) => break,
                Err(found) => {
                    error = Some(found);
                    break;
                }
            }
        }
        let offset = file.end;
        if error.is_none() || offset > HEADER_BYTES {
            self.files.push(file);
        }
        error.map(|error| Damage { number, offset, error })
    }

    /// Reads the next chunk of a file, and moves its end. False at the end of the file.
    fn next(
        &mut self,
        dir: &Path,
        path: &Path,
        file: &mut ScannedFile,
        visit: &mut dyn FnMut(FoundChunk),
    ) -> Result<bool, Error> {
        let offset = file.end;
        let failed = |source| Error::Chunk { file: path.to_path_buf(), offset, source };
        let rest = &file.bytes[usize::try_from(offset).expect("within a file in memory")..];
        let Some(entry) = read_chunk(rest).map_err(failed)? else {
            // Prometheus takes space in advance, which reads as zeros.
            return match rest.iter().position(|&byte| byte != 0) {
                Some(at) => {
                    let (needed, available) = (at, 0);
                    Err(failed(ferula_chunkenc::Error::Truncated { offset: 0, needed, available }))
                }
                None => Ok(false),
            };
        };
        let position = u32::try_from(offset).map_err(|_| Error::TooLarge {
            file: path.to_path_buf(),
            found: offset,
            limit: u32::MAX.into(),
        })?;
        let (header, data) = (&entry.header, &rest[entry.data.clone()]);
        if let Some((before, end)) = parse_mark(header, data) {
            self.check_mark(dir, before, end)?;
        } else if let Ok(encoding) = header.encoding() {
            let (series, at) = (header.series, chunk_ref(file.number, position));
            let (mint, maxt, is_ooo) = (header.mint, header.maxt, header.is_ooo());
            visit(FoundChunk { series, at, mint, maxt, encoding, is_ooo });
            self.n_chunks += 1;
            file.maxt = file.maxt.max(maxt);
        } else {
            self.n_skipped += 1;
            file.maxt = file.maxt.max(header.maxt);
        }
        file.end += entry.len() as u64;
        Ok(true)
    }

    /// Checks that the file before is as long as it was when its successor was begun.
    fn check_mark(&self, dir: &Path, number: u32, end: u64) -> Result<(), Error> {
        match self.files.last() {
            Some(before) if before.number == number && before.end != end => {
                let file = dir.join(file_name(number));
                let needed = usize::try_from(end.abs_diff(before.end)).unwrap_or(usize::MAX);
                let source = ferula_chunkenc::Error::Truncated { offset: 0, needed, available: 0 };
                Err(Error::Chunk { file, offset: before.end, source })
            }
            // The file before may have been removed, when nothing in it was wanted any more.
            _ => Ok(()),
        }
    }
}

fn check_header(bytes: &[u8], path: &Path) -> Result<(), Error> {
    let file = || PathBuf::from(path);
    let failed = |source| Error::Chunk { file: file(), offset: 0, source };
    let mut cursor = Cursor::new(bytes);
    let magic = cursor.u32_be().map_err(failed)?;
    if magic != MAGIC {
        return Err(Error::Magic { file: file(), found: magic, expected: MAGIC });
    }
    let version = cursor.u8().map_err(failed)?;
    if version != VERSION {
        let (found, expected) = (u32::from(version), u32::from(VERSION));
        return Err(Error::Version { file: file(), found, expected });
    }
    cursor.skip(3).map_err(failed)
}
