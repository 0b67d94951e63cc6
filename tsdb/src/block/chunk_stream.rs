//! Reading the segments of a block front to back, through a window of its files.
//!
//! Whoever reads a whole block has no use for a map of it: its pages would count as memory of the
//! process until the system takes them back. So a part is mapped at a time, where the operating
//! system knows the file, and read otherwise.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ferula_chunkenc::Error as DecodeError;
use ferula_chunkenc::cursor::Cursor;
use ferula_wal::fs::{File, Fs, OpenMode};

use super::segments::{Place, RECORD_TAIL_BYTES, Record, parse, segment_name};
use crate::error::Error;
use crate::mmap::WindowedFile;

/// Bytes of a file that are looked at.
const WINDOW_BYTES: usize = 512 << 10;

/// Reads the records of segments whose places ascend; others too, but slowly.
#[derive(Debug)]
pub(super) struct SegmentStream<'a> {
    fs: &'a dyn Fs,
    dir: PathBuf,
    segment: Option<Segment>,
}

/// The segment that is read, and a part of it.
#[derive(Debug)]
struct Segment {
    index: u32,
    source: Source,
    len: u64,
    window: Bytes,
    window_start: u64,
}

#[derive(Debug)]
enum Source {
    Mapped(WindowedFile),
    Read(PathBuf, Box<dyn File>),
}

impl<'a> SegmentStream<'a> {
    /// Reads the segments in `dir`, whose headers were checked.
    pub(super) fn new(fs: &'a dyn Fs, dir: PathBuf) -> Self {
        Self { fs, dir, segment: None }
    }

    /// The directory of the segments.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn segment(&mut self, index: u32) -> Result<&mut Segment, Error> {
        let segment = match self.segment.take().filter(|segment| segment.index == index) {
            Some(segment) => segment,
            None => {
                let (source, len) = Source::open(self.fs, self.dir.join(segment_name(index)))?;
                Segment { index, source, len, window: Bytes::new(), window_start: 0 }
            }
        };
        Ok(self.segment.insert(segment))
    }

    /// Reads the record at `place` and checks its checksum; none if there is no such place.
    pub(super) fn read(&mut self, place: Place) -> Result<Option<Record>, Error> {
        let offset = u64::from(place.offset);
        if offset >= self.segment(place.segment)?.len {
            return Ok(None);
        }
        let mut size = WINDOW_BYTES;
        loop {
            let segment = self.segment(place.segment)?;
            match segment.parse(offset) {
                // Not all of it is in the window, or the segment is cut short.
                Err(DecodeError::Truncated { .. }) if !segment.reaches(offset, size) => {
                    segment.fill(offset, size)?;
                    size = segment.size_of_record(offset).unwrap_or(usize::MAX).max(size);
                }
                parsed => return parsed.map(Some).map_err(|source| place.error(&self.dir, source)),
            }
        }
    }
}

impl Segment {
    /// Where in the window `offset` is; behind its end if it is not.
    fn place(&self, offset: u64) -> usize {
        let start = offset.checked_sub(self.window_start);
        let start = start.and_then(|start| usize::try_from(start).ok()).unwrap_or(usize::MAX);
        start.min(self.window.len())
    }

    fn parse(&self, offset: u64) -> Result<Record, DecodeError> {
        parse(&self.window, self.place(offset))
    }

    /// Tells whether the window holds `size` bytes from `offset` on, or all that there are.
    fn reaches(&self, offset: u64, size: usize) -> bool {
        let held = self.window.len() - self.place(offset);
        held >= size || held as u64 == self.len - offset
    }

    /// Bytes that the record at `offset` takes by its own account.
    fn size_of_record(&self, offset: u64) -> Option<usize> {
        let mut cursor = Cursor::new(&self.window[self.place(offset)..]);
        let len = usize::try_from(cursor.uvarint().ok()?).ok()?;
        len.checked_add(cursor.offset())?.checked_add(RECORD_TAIL_BYTES)
    }

    /// Moves the window to `size` bytes from `offset` on, or to all that there are.
    fn fill(&mut self, offset: u64, size: usize) -> Result<(), Error> {
        // The old one first, so that there is one at a time.
        self.window = Bytes::new();
        let left = usize::try_from(self.len - offset).unwrap_or(usize::MAX);
        (self.window, self.window_start) = (self.source.window(offset, left.min(size))?, offset);
        Ok(())
    }
}

impl Source {
    fn open(fs: &dyn Fs, path: PathBuf) -> Result<(Self, u64), Error> {
        if let Some(file) = WindowedFile::open(fs, &path)? {
            let len = file.len();
            return Ok((Self::Mapped(file), len));
        }
        let file = fs.open(&path, OpenMode::Read).map_err(Error::io("open", &path))?;
        let len = file.len().map_err(Error::io("inspect", &path))?;
        Ok((Self::Read(path, file), len))
    }

    fn window(&self, offset: u64, len: usize) -> Result<Bytes, Error> {
        match self {
            Self::Mapped(file) => file.window(offset, len),
            Self::Read(path, file) => {
                let mut window = vec![0; len];
                file.read_exact_at(&mut window, offset).map_err(Error::io("read", path))?;
                Ok(window.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ferula_chunkenc::{Chunk, Encoding};
    use ferula_index::ChunkRef;
    use ferula_wal::fs::StdFs;

    use super::super::chunks::{ChunkReader, ChunkWriter};
    use super::*;

    fn chunk(len: usize, byte: u8) -> Chunk {
        Chunk { encoding: Encoding::Xor, data: Bytes::from(vec![byte; len]) }
    }

    #[test]
    fn chunks_are_read_across_windows_and_segments() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("chunks");
        let lens = [5, 200_000, 3, 70_000, 700_000, 1, 0, 262_144, 9, 300_000, 2];
        let chunks: Vec<Chunk> = (0..).zip(lens).map(|(n, len)| chunk(len, n)).collect();
        let mut writer = ChunkWriter::create(&StdFs, dir.clone(), 1 << 20).unwrap();
        let refs: Vec<ChunkRef> = chunks.iter().map(|chunk| writer.write(chunk).unwrap()).collect();
        writer.finish().unwrap();
        let reader = ChunkReader::open(&StdFs, dir.clone()).unwrap();
        let mut stream = reader.stream(&StdFs);
        // Front to back, and back to front, which is slow but works.
        for (chunk, at) in chunks.iter().zip(&refs).chain(chunks.iter().zip(&refs).rev()) {
            assert_eq!(&stream.chunk(*at).unwrap(), chunk);
            assert_eq!(&reader.read(*at).unwrap(), chunk);
        }
        for nowhere in [ChunkRef(0xffff_ffff), ChunkRef(u64::MAX)] {
            assert!(stream.chunk(nowhere).is_err());
        }

        let file = dir.join("000001");
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        let last = refs.iter().rfind(|at| at.0 >> 32 == 0).unwrap();
        for at in [*last, refs[0]] {
            let (found, expected) = (reader.stream(&StdFs).chunk(at), at == *last);
            assert_eq!(found.is_err(), expected, "{found:?}");
        }
        // A length that the segment cannot hold asks for no memory.
        let mut wrong = bytes.clone();
        wrong[8..18].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]);
        std::fs::write(&file, &wrong).unwrap();
        let refused = reader.stream(&StdFs).chunk(refs[0]).unwrap_err();
        assert!(matches!(refused, Error::Chunk { offset: 8, .. }), "{refused:?}");
    }
}
