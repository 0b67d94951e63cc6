//! Chunk segments of a block: `chunks/000001` and on.
//!
//! The format is Prometheus's, described in `docs/formats/block.md`. A chunk is addressed by the
//! index of its segment in the upper half of its ref and its offset in the lower one.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ferula_chunkenc::cursor::{Cursor, crc32c, put_u32_be, put_uvarint};
use ferula_chunkenc::{Chunk, Encoding};
use ferula_wal::fs::Fs;

use super::output::OutputFile;
use crate::error::Error;
use crate::mmap::open_bytes;

/// First four bytes of a segment.
const MAGIC: u32 = 0x85bd_40dd;

/// Fifth byte of a segment.
const VERSION: u8 = 1;

/// Bytes before the first chunk: magic, version, padding.
const HEADER_BYTES: u64 = 8;

/// Directory of the segments within a block.
pub(crate) const CHUNKS_DIR: &str = "chunks";

/// Bytes of a chunk beside its data: length, encoding and checksum, at most.
const MAX_OVERHEAD_BYTES: u64 = 10 + 1 + 4;

/// Name of the segment at `index`, which counts from zero; names count from one.
fn segment_name(index: u32) -> String {
    format!("{:06}", u64::from(index) + 1)
}

/// Writes chunks to segments.
#[derive(Debug)]
pub(crate) struct ChunkWriter<'a> {
    fs: &'a dyn Fs,
    dir: PathBuf,
    segment_bytes: u64,
    /// Index of the next segment.
    next: u32,
    segment: Option<OutputFile>,
    scratch: Vec<u8>,
}

impl<'a> ChunkWriter<'a> {
    /// Makes the directory `dir`, into which segments of up to `segment_bytes` are written.
    pub(crate) fn create(fs: &'a dyn Fs, dir: PathBuf, segment_bytes: u64) -> Result<Self, Error> {
        fs.create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        Ok(Self { fs, dir, segment_bytes, next: 0, segment: None, scratch: Vec::new() })
    }

    /// Writes one chunk and returns its ref. Refs ascend.
    pub(crate) fn write(&mut self, chunk: &Chunk) -> Result<u64, Error> {
        let needed = chunk.data.len() as u64 + MAX_OVERHEAD_BYTES;
        let is_full = |open: &OutputFile| open.len() + needed > self.segment_bytes;
        let mut segment = match self.segment.take() {
            Some(open) if open.len() == HEADER_BYTES || !is_full(&open) => open,
            full => {
                if let Some(full) = full {
                    full.finish()?;
                }
                self.start_segment()?
            }
        };
        let chunk_ref = u64::from(self.next - 1) << 32 | segment.len();

        self.scratch.clear();
        put_uvarint(&mut self.scratch, chunk.data.len() as u64);
        let covered = self.scratch.len();
        self.scratch.push(chunk.encoding.to_byte());
        self.scratch.extend_from_slice(&chunk.data);
        let checksum = crc32c(&self.scratch[covered..]);
        put_u32_be(&mut self.scratch, checksum);
        segment.put(&self.scratch)?;
        self.segment = Some(segment);
        Ok(chunk_ref)
    }

    /// Makes segments and their names durable.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        if let Some(open) = self.segment.take() {
            open.finish()?;
        }
        self.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))
    }

    fn start_segment(&mut self) -> Result<OutputFile, Error> {
        let mut segment = OutputFile::create(self.fs, self.dir.join(segment_name(self.next)))?;
        let mut header = Vec::new();
        put_u32_be(&mut header, MAGIC);
        header.extend_from_slice(&[VERSION, 0, 0, 0]);
        segment.put(&header)?;
        self.next += 1;
        Ok(segment)
    }
}

/// Reads chunks by their refs.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    dir: PathBuf,
    segments: Vec<Bytes>,
}

impl ChunkReader {
    /// Opens the segments in `dir` and checks their headers.
    pub(crate) fn open(fs: &dyn Fs, dir: PathBuf) -> Result<Self, Error> {
        let mut segments = Vec::new();
        let entries = fs.list(&dir).map_err(Error::io("list", &dir))?;
        let is_segment = |name: &str| name.parse::<u64>().is_ok();
        for entry in entries.iter().filter(|entry| !entry.is_dir && is_segment(&entry.name)) {
            // A gap would make refs lead to the chunks of other series.
            let name = segment_name(u32::try_from(segments.len()).unwrap_or(u32::MAX));
            let path = dir.join(&name);
            if entry.name != name {
                return Err(Error::Missing { file: path });
            }
            let bytes = open_bytes(fs, &path)?;
            check_header(&bytes, &path)?;
            segments.push(bytes);
        }
        Ok(Self { dir, segments })
    }

    /// Reads the chunk at `chunk_ref` and checks its checksum. The data is not copied.
    pub(crate) fn read(&self, chunk_ref: u64) -> Result<Chunk, Error> {
        let (index, offset) = (chunk_ref >> 32, chunk_ref & 0xffff_ffff);
        let segment = usize::try_from(index).ok().and_then(|index| self.segments.get(index));
        let start = usize::try_from(offset).ok();
        let (Some(segment), Some(start)) = (segment, start) else {
            return Err(Error::ChunkRef { dir: self.dir.clone(), chunk_ref });
        };
        let Some(rest) = segment.get(start..) else {
            return Err(Error::ChunkRef { dir: self.dir.clone(), chunk_ref });
        };
        parse(segment, start, rest).map_err(|source| Error::Chunk {
            file: self.dir.join(segment_name(u32::try_from(index).unwrap_or(u32::MAX))),
            offset,
            source,
        })
    }

    /// Bytes of all segments.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len() as u64).sum()
    }
}

fn check_header(bytes: &[u8], path: &Path) -> Result<(), Error> {
    let malformed = |source| Error::Chunk { file: path.to_path_buf(), offset: 0, source };
    let mut cursor = Cursor::new(bytes);
    let magic = cursor.u32_be().map_err(malformed)?;
    if magic != MAGIC {
        return Err(Error::Magic { file: path.to_path_buf(), found: magic, expected: MAGIC });
    }
    let version = cursor.u8().map_err(malformed)?;
    if version != VERSION {
        let (file, found) = (path.to_path_buf(), u32::from(version));
        return Err(Error::Version { file, found, expected: u32::from(VERSION) });
    }
    cursor.skip(3).map_err(malformed)
}

fn parse(segment: &Bytes, start: usize, rest: &[u8]) -> Result<Chunk, ferula_chunkenc::Error> {
    let mut cursor = Cursor::new(rest);
    let len = cursor.uvarint()?;
    let covered_start = cursor.offset();
    let len = usize::try_from(len).unwrap_or(usize::MAX).saturating_add(1);
    let covered = cursor.bytes(len)?;
    cursor.check_crc32c(covered)?;
    let encoding = Encoding::from_byte(covered[0])?;
    let data_start = start + covered_start + 1;
    Ok(Chunk { encoding, data: segment.slice(data_start..data_start + len - 1) })
}
