//! Chunk segments of a block: `chunks/000001` and on.
//!
//! The format is Prometheus's, described in `docs/formats/block.md`. A chunk is addressed by the
//! index of its segment in the upper half of its ref and its offset in the lower one.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ferula_chunkenc::cursor::{Cursor, crc32c, put_u32_be, put_uvarint};
use ferula_chunkenc::{Chunk, Encoding};
use ferula_index::ChunkRef;
use ferula_wal::fs::Fs;

use super::chunk_stream::SegmentStream;
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

/// Bytes of a chunk behind its length, beside its data: encoding and checksum.
pub(super) const CHUNK_TAIL_BYTES: usize = 1 + 4;

/// Name of the segment at `index`, which counts from zero; names count from one.
pub(super) fn segment_name(index: u32) -> String {
    format!("{:06}", u64::from(index) + 1)
}

/// Index of the segment and offset in it that a ref stands for.
pub(super) fn split(chunk: ChunkRef) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = chunk.0.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
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
    pub(crate) fn write(&mut self, chunk: &Chunk) -> Result<ChunkRef, Error> {
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
        let chunk_ref = ChunkRef(u64::from(self.next - 1) << 32 | segment.len());

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

    /// Reads the chunk at `chunk` and checks its checksum. The data is not copied.
    pub(crate) fn read(&self, chunk: ChunkRef) -> Result<Chunk, Error> {
        let (index, offset) = split(chunk);
        let segment = usize::try_from(index).ok().and_then(|index| self.segments.get(index));
        let start = usize::try_from(offset).ok();
        match segment.zip(start).filter(|(segment, start)| *start <= segment.len()) {
            Some((segment, start)) => {
                parse(segment, start).map_err(|source| self.error(chunk, source))
            }
            None => Err(Error::ChunkRef { dir: self.dir.clone(), chunk }),
        }
    }

    /// Reads the chunks anew, front to back.
    pub(super) fn stream<'a>(&self, fs: &'a dyn Fs) -> SegmentStream<'a> {
        SegmentStream::new(fs, self.dir.clone())
    }

    /// Adds to an error of the chunk at `chunk` where that is.
    pub(crate) fn error(&self, chunk: ChunkRef, source: ferula_chunkenc::Error) -> Error {
        chunk_error(&self.dir, chunk, source)
    }
}

/// Adds to an error of the chunk at `chunk`, in the segments in `dir`, where that is.
pub(super) fn chunk_error(dir: &Path, chunk: ChunkRef, source: ferula_chunkenc::Error) -> Error {
    let (index, offset) = split(chunk);
    Error::Chunk { file: dir.join(segment_name(index)), offset: offset.into(), source }
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

/// Reads the chunk at `start`, which is not behind the end.
pub(super) fn parse(segment: &Bytes, start: usize) -> Result<Chunk, ferula_chunkenc::Error> {
    let mut cursor = Cursor::new(&segment[start..]);
    let len = cursor.uvarint()?;
    let covered_start = cursor.offset();
    let len = usize::try_from(len).unwrap_or(usize::MAX).saturating_add(1);
    let covered = cursor.bytes(len)?;
    cursor.check_crc32c(covered)?;
    let encoding = Encoding::from_byte(covered[0])?;
    let data_start = start + covered_start + 1;
    Ok(Chunk { encoding, data: segment.slice(data_start..data_start + len - 1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferula_chunkenc::XorAppender;
    use ferula_wal::fs::StdFs;

    fn chunk(n: i64) -> Chunk {
        let mut appender = XorAppender::new();
        for t in 0..n {
            appender.append(t, 0.5).unwrap();
        }
        appender.into_chunk()
    }

    fn write(dir: &Path, segment_bytes: u64, chunks: &[Chunk]) -> Vec<ChunkRef> {
        let mut writer = ChunkWriter::create(&StdFs, dir.to_path_buf(), segment_bytes).unwrap();
        let refs = chunks.iter().map(|chunk| writer.write(chunk).unwrap()).collect();
        writer.finish().unwrap();
        refs
    }

    #[test]
    fn chunks_are_read_back_across_segments() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("chunks");
        let chunks: Vec<Chunk> = (1..40).map(chunk).collect();
        let refs = write(&dir, 200, &chunks);
        assert!(refs.is_sorted() && refs[0] == ChunkRef(8));
        assert!(refs.last().unwrap().0 >> 32 > 2, "several segments");
        let reader = ChunkReader::open(&StdFs, dir.clone()).unwrap();
        for (chunk, at) in chunks.iter().zip(&refs) {
            assert_eq!(&reader.read(*at).unwrap(), chunk);
        }
        for nowhere in [ChunkRef(7 << 40), ChunkRef(0xffff_ffff), ChunkRef(u64::MAX)] {
            let refused = reader.read(nowhere).unwrap_err();
            assert!(matches!(refused, Error::ChunkRef { chunk, .. } if chunk == nowhere));
        }
        std::fs::remove_file(dir.join("000002")).unwrap();
        let gap = ChunkReader::open(&StdFs, dir.clone()).unwrap_err();
        assert!(matches!(gap, Error::Missing { file } if file == dir.join("000002")));
    }

    #[test]
    fn damaged_segments_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("chunks");
        let refs = write(&dir, 1 << 20, &[chunk(50)]);
        let file = dir.join("000001");
        let bytes = std::fs::read(&file).unwrap();
        for at in 0..bytes.len() {
            // The padding of the header is not covered.
            if (5..8).contains(&at) {
                continue;
            }
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(&file, &flipped).unwrap();
            let read = ChunkReader::open(&StdFs, dir.clone()).and_then(|r| r.read(refs[0]));
            assert!(read.is_err(), "flipped byte {at}");
            std::fs::write(&file, &bytes[..at]).unwrap();
            let read = ChunkReader::open(&StdFs, dir.clone()).and_then(|r| r.read(refs[0]));
            assert!(read.is_err(), "cut to {at} bytes");
        }
    }
}
