//! Segments: the numbered files of a block that hold its samples, `chunks/000001` and on.
//!
//! A segment has a header and records, each of which stands behind its length and before a checksum.
//! The framing is that of Prometheus's chunk segments, described in `docs/formats/block.md`; what
//! the records of a format are is up to that.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ferula_chunkenc::Error as DecodeError;
use ferula_chunkenc::cursor::{Cursor, crc32c, put_u32_be, put_uvarint};
use ferula_wal::fs::Fs;

use super::output::OutputFile;
use crate::error::Error;
use crate::mmap::open_bytes;

/// Bytes before the first record: magic, version, padding.
pub(super) const HEADER_BYTES: u64 = 8;

/// Bytes of a record beside its data: length, kind and checksum, at most.
const MAX_OVERHEAD_BYTES: u64 = 10 + 1 + 4;

/// Bytes of a record behind its length, beside its data: kind and checksum.
pub(super) const RECORD_TAIL_BYTES: usize = 1 + 4;

/// Bytes that a record with `len` bytes of data takes in its segment.
pub(super) fn record_bytes(len: usize) -> u64 {
    let mut length = Vec::new();
    put_uvarint(&mut length, len as u64);
    (length.len() + len + RECORD_TAIL_BYTES) as u64
}

/// Directory of the segments within a block.
pub(crate) const CHUNKS_DIR: &str = "chunks";

/// What the segments of a format begin with.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentHeader {
    pub(super) magic: u32,
    pub(super) version: u8,
}

/// A record: what it is, and its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: u8,
    pub(super) data: Bytes,
}

/// Where a record begins: the index of its segment, from zero, and the offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u32,
}

impl Place {
    /// Adds to an error of the record here, in the segments in `dir`, where that is.
    pub(super) fn error(self, dir: &Path, source: DecodeError) -> Error {
        let file = dir.join(segment_name(self.segment));
        Error::Chunk { file, offset: self.offset.into(), source }
    }
}

/// Name of the segment at `index`, which counts from zero; names count from one.
pub(super) fn segment_name(index: u32) -> String {
    format!("{:06}", u64::from(index) + 1)
}

/// Writes records to segments.
#[derive(Debug)]
pub(super) struct SegmentWriter<'a> {
    fs: &'a dyn Fs,
    dir: PathBuf,
    header: SegmentHeader,
    /// Index of the next segment.
    next: u32,
    segment: Option<OutputFile>,
    scratch: Vec<u8>,
}

impl<'a> SegmentWriter<'a> {
    /// Makes the directory `dir`, into which segments are written.
    pub(super) fn create(
        fs: &'a dyn Fs,
        dir: PathBuf,
        header: SegmentHeader,
    ) -> Result<Self, Error> {
        fs.create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        Ok(Self { fs, dir, header, next: 0, segment: None, scratch: Vec::new() })
    }

    /// The directory of the segments.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Length of the segment with a record of `len` bytes more; none if there is no record in it.
    pub(super) fn len_with(&self, len: usize) -> Option<u64> {
        let open = self.segment.as_ref().filter(|open| open.len() > HEADER_BYTES)?;
        Some(open.len() + len as u64 + MAX_OVERHEAD_BYTES)
    }

    /// Where the next record will be, unless the segment is ended before.
    pub(super) fn place(&mut self) -> Result<Place, Error> {
        let segment = match self.segment.take() {
            Some(open) => open,
            None => self.start_segment()?,
        };
        let len = segment.len();
        self.segment = Some(segment);
        let file = || self.dir.join(segment_name(self.next - 1));
        let offset = u32::try_from(len).map_err(|_| Error::TooLarge {
            file: file(),
            found: len,
            limit: u32::MAX.into(),
        })?;
        Ok(Place { segment: self.next - 1, offset })
    }

    /// Writes a record and tells where it is. Places ascend.
    pub(super) fn write(&mut self, kind: u8, data: &[u8]) -> Result<Place, Error> {
        let place = self.place()?;
        self.scratch.clear();
        put_uvarint(&mut self.scratch, data.len() as u64);
        let covered = self.scratch.len();
        self.scratch.push(kind);
        self.scratch.extend_from_slice(data);
        let checksum = crc32c(&self.scratch[covered..]);
        put_u32_be(&mut self.scratch, checksum);
        if let Some(segment) = &mut self.segment {
            segment.put(&self.scratch)?;
        }
        Ok(place)
    }

    /// Ends the segment, if there is one, with `footer` behind its records, and makes it durable.
    pub(super) fn end_segment(&mut self, footer: &[u8]) -> Result<(), Error> {
        let Some(mut open) = self.segment.take() else { return Ok(()) };
        open.put(footer)?;
        open.finish()
    }

    /// Ends the last segment and makes the names of all of them durable.
    pub(super) fn finish(mut self, footer: &[u8]) -> Result<(), Error> {
        self.end_segment(footer)?;
        self.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))
    }

    fn start_segment(&mut self) -> Result<OutputFile, Error> {
        let mut segment = OutputFile::create(self.fs, self.dir.join(segment_name(self.next)))?;
        let mut header = Vec::new();
        put_u32_be(&mut header, self.header.magic);
        header.extend_from_slice(&[self.header.version, 0, 0, 0]);
        segment.put(&header)?;
        self.next += 1;
        Ok(segment)
    }
}

/// Reads records by their places.
#[derive(Debug)]
pub(super) struct SegmentReader {
    dir: PathBuf,
    segments: Vec<Bytes>,
}

impl SegmentReader {
    /// Opens the segments in `dir` and checks their headers.
    pub(super) fn open(fs: &dyn Fs, dir: PathBuf, header: SegmentHeader) -> Result<Self, Error> {
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
            check_header(&bytes, &path, header)?;
            segments.push(bytes);
        }
        Ok(Self { dir, segments })
    }

    /// The directory of the segments.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The segments as they are.
    pub(super) fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// Reads the record at `place` and checks its checksum; none if there is no such place. The
    /// data is not copied.
    pub(super) fn read(&self, place: Place) -> Option<Result<Record, Error>> {
        let segment = self.segments.get(usize::try_from(place.segment).ok()?)?;
        let start = usize::try_from(place.offset).ok().filter(|start| *start <= segment.len())?;
        Some(parse(segment, start).map_err(|source| place.error(&self.dir, source)))
    }
}

fn check_header(bytes: &[u8], path: &Path, header: SegmentHeader) -> Result<(), Error> {
    let malformed = |source| Error::Chunk { file: path.to_path_buf(), offset: 0, source };
    let mut cursor = Cursor::new(bytes);
    let found = cursor.u32_be().map_err(malformed)?;
    if found != header.magic {
        return Err(Error::Magic { file: path.to_path_buf(), found, expected: header.magic });
    }
    let found = cursor.u8().map_err(malformed)?;
    if found != header.version {
        let (file, found) = (path.to_path_buf(), found.into());
        return Err(Error::Version { file, found, expected: header.version.into() });
    }
    cursor.skip(3).map_err(malformed)
}

/// Reads the record at `start`, which is not behind the end.
pub(super) fn parse(segment: &Bytes, start: usize) -> Result<Record, DecodeError> {
    let mut cursor = Cursor::new(&segment[start..]);
    let len = cursor.uvarint()?;
    let covered_start = cursor.offset();
    let len = usize::try_from(len).unwrap_or(usize::MAX).saturating_add(1);
    let covered = cursor.bytes(len)?;
    cursor.check_crc32c(covered)?;
    let data = segment.slice(start + covered_start + 1..start + covered_start + len);
    Ok(Record { kind: covered[0], data })
}
