//! Chunk segments of a block as Prometheus stores it: every record is a chunk.
//!
//! The format is described in `docs/formats/block.md`. A chunk is addressed by the index of its
//! segment in the upper half of its ref and its offset in the lower one.

use std::path::PathBuf;

use ferula_chunkenc::{Chunk, Encoding};
use ferula_index::ChunkRef;
use ferula_wal::fs::Fs;

use super::chunk_stream::SegmentStream;
use super::format::ChunkStream;
use super::segments::{Place, Record, SegmentHeader, SegmentReader, SegmentWriter};
use super::stored::StoredChunk;
use crate::error::Error;

/// What a segment begins with.
const HEADER: SegmentHeader = SegmentHeader { magic: 0x85bd_40dd, version: 1 };

/// Index of the segment and offset in it that a ref stands for.
fn place_of(chunk: ChunkRef) -> Place {
    let [a, b, c, d, e, f, g, h] = chunk.0.to_be_bytes();
    let (segment, offset) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    Place { segment, offset }
}

/// The chunk that a record is.
pub(super) fn chunk_of(record: Record) -> Result<Chunk, ferula_chunkenc::Error> {
    Ok(Chunk { encoding: Encoding::from_byte(record.kind)?, data: record.data })
}

/// Writes chunks to segments.
#[derive(Debug)]
pub(crate) struct ChunkWriter<'a> {
    segments: SegmentWriter<'a>,
    segment_bytes: u64,
}

impl<'a> ChunkWriter<'a> {
    /// Makes the directory `dir`, into which segments of up to `segment_bytes` are written.
    pub(crate) fn create(fs: &'a dyn Fs, dir: PathBuf, segment_bytes: u64) -> Result<Self, Error> {
        Ok(Self { segments: SegmentWriter::create(fs, dir, HEADER)?, segment_bytes })
    }

    /// Writes one chunk and returns its ref. Refs ascend.
    pub(crate) fn write(&mut self, chunk: &Chunk) -> Result<ChunkRef, Error> {
        let len = self.segments.len_with(chunk.data.len());
        if len.is_some_and(|len| len > self.segment_bytes) {
            self.segments.end_segment(&[])?;
        }
        let place = self.segments.write(chunk.encoding.to_byte(), &chunk.data)?;
        Ok(ChunkRef(u64::from(place.segment) << 32 | u64::from(place.offset)))
    }

    /// Makes segments and their names durable.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.segments.finish(&[])
    }
}

/// Reads chunks by their refs.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    segments: SegmentReader,
}

impl ChunkReader {
    /// Opens the segments in `dir` and checks their headers.
    pub(crate) fn open(fs: &dyn Fs, dir: PathBuf) -> Result<Self, Error> {
        Ok(Self { segments: SegmentReader::open(fs, dir, HEADER)? })
    }

    /// Reads the chunk at `chunk` and checks its checksum. The data is not copied.
    pub(crate) fn read(&self, chunk: ChunkRef) -> Result<Chunk, Error> {
        let nowhere = || Error::ChunkRef { dir: self.segments.dir().to_path_buf(), chunk };
        let record = self.segments.read(place_of(chunk)).ok_or_else(nowhere)??;
        chunk_of(record).map_err(|source| self.error(chunk, source))
    }

    /// Reads the chunks anew, front to back.
    pub(super) fn stream<'a>(&self, fs: &'a dyn Fs) -> RecordStream<'a> {
        RecordStream(SegmentStream::new(fs, self.segments.dir().to_path_buf()))
    }

    /// Adds to an error of the chunk at `chunk` where that is.
    pub(crate) fn error(&self, chunk: ChunkRef, source: ferula_chunkenc::Error) -> Error {
        place_of(chunk).error(self.segments.dir(), source)
    }
}

/// Reads chunks front to back.
#[derive(Debug)]
pub(super) struct RecordStream<'a>(SegmentStream<'a>);

impl RecordStream<'_> {
    /// Reads a chunk, whose ref is above those read before.
    pub(super) fn chunk(&mut self, chunk: ChunkRef) -> Result<Chunk, Error> {
        let place = place_of(chunk);
        let dir = self.0.dir().to_path_buf();
        let record = self.0.read(place)?;
        let record = record.ok_or_else(|| Error::ChunkRef { dir: dir.clone(), chunk })?;
        chunk_of(record).map_err(|source| place.error(&dir, source))
    }
}

impl ChunkStream for RecordStream<'_> {
    fn read(&mut self, chunk: ChunkRef) -> Result<StoredChunk, Error> {
        self.chunk(chunk).map(StoredChunk::Encoded)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
