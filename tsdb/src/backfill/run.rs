//! Runs: samples written aside, sorted, to be merged later.
//!
//! A run is a file of entries, each the chunks of one series in one block range, by range and labels.
//! It is read by the process that wrote it, so there is no version; each entry has a checksum all the
//! same, for what is read becomes blocks.
//!
//! ```text
//! length of body (varint) | body | CRC-32C of body (4)
//! body: start of range (varint) | labels | chunks
//! labels: count (varint), then name and value of each, as lengths (varint) and text
//! chunks: count (varint), then of each: mint, maxt (varints), encoding (1), length (varint), data
//! ```

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ferula_chunkenc::cursor::{
    Cursor, crc32c, put_prefixed_bytes, put_u32_be, put_uvarint, put_varint,
};
use ferula_chunkenc::{Chunk, Encoding, Error as DecodeError};
use ferula_index::Labels;
use ferula_wal::fs::{File, Fs, OpenMode};

use crate::block::{EncodedChunk, OutputFile};
use crate::error::Error;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// Longest length of an entry, in bytes.
const MAX_LENGTH_BYTES: usize = 10;

/// The samples of a series in a block range.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where the range begins.
    pub(super) start: i64,
    pub(super) labels: Labels,
    /// By time, apart from each other.
    pub(super) chunks: Vec<EncodedChunk>,
}

/// Writes a run.
#[derive(Debug)]
pub(super) struct RunWriter {
    path: PathBuf,
    file: OutputFile,
    body: Vec<u8>,
    head: Vec<u8>,
}

impl RunWriter {
    pub(super) fn create(fs: &dyn Fs, path: PathBuf) -> Result<Self, Error> {
        let file = OutputFile::create(fs, path.clone())?;
        Ok(Self { path, file, body: Vec::new(), head: Vec::new() })
    }

    /// Adds an entry, which comes after those before.
    pub(super) fn write(&mut self, entry: &Entry) -> Result<(), Error> {
        let body = &mut self.body;
        body.clear();
        put_varint(body, entry.start);
        put_uvarint(body, entry.labels.len() as u64);
        for (name, value) in entry.labels.iter() {
            put_prefixed_bytes(body, name.as_bytes());
            put_prefixed_bytes(body, value.as_bytes());
        }
        put_uvarint(body, entry.chunks.len() as u64);
        for EncodedChunk { mint, maxt, chunk } in &entry.chunks {
            put_varint(body, *mint);
            put_varint(body, *maxt);
            body.push(chunk.encoding.to_byte());
            put_prefixed_bytes(body, &chunk.data);
        }
        self.head.clear();
        put_uvarint(&mut self.head, body.len() as u64);
        let checksum = crc32c(body);
        put_u32_be(body, checksum);
        self.file.put(&self.head)?;
        self.file.put(body)
    }

    /// Writes what is left. A run need not last.
    pub(super) fn finish(mut self) -> Result<PathBuf, Error> {
        io::Write::flush(&mut self.file).map_err(Error::io("write", &self.path))?;
        Ok(self.path)
    }
}

/// Reads a run front to back, and again from a place that was kept.
#[derive(Debug)]
pub(super) struct RunReader {
    path: PathBuf,
    file: Box<dyn File>,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffer_start: u64,
    /// Where the next entry begins.
    at: u64,
    len: u64,
}

impl RunReader {
    pub(super) fn open(fs: &dyn Fs, path: &Path) -> Result<Self, Error> {
        let file = fs.open(path, OpenMode::Read).map_err(Error::io("open", path))?;
        let len = file.len().map_err(Error::io("inspect", path))?;
        let path = path.to_path_buf();
        Ok(Self { path, file, buffer: Vec::new(), buffer_start: 0, at: 0, len })
    }

    /// Where the next entry begins.
    pub(super) fn place(&self) -> u64 {
        self.at
    }

    /// Goes to a place that an entry begins at.
    pub(super) fn seek(&mut self, place: u64) {
        self.at = place;
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads the next entry; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Error> {
        if self.at >= self.len {
            return Ok(None);
        }
        let offset = self.at;
        let file = self.path.clone();
        let failed = |source| Error::Chunk { file, offset, source };
        let head = self.bytes(MAX_LENGTH_BYTES)?;
        let mut cursor = Cursor::new(head);
        let body_len = match cursor.uvarint() {
            Ok(len) => usize::try_from(len).unwrap_or(usize::MAX),
            Err(source) => return Err(failed(source)),
        };
        let head_len = cursor.offset();
        let entry_len = head_len.saturating_add(body_len).saturating_add(4);
        let left = self.len - self.at;
        if entry_len as u64 > left {
            let available = usize::try_from(left).unwrap_or(usize::MAX);
            let source = DecodeError::Truncated { offset: head_len, needed: entry_len, available };
            return Err(failed(source));
        }
        let parsed = parse(&self.bytes(entry_len)?[head_len..], body_len);
        let entry = parsed.map_err(failed)?;
        self.at += entry_len as u64;
        Ok(Some(entry))
    }

    /// The bytes from the place on, `len` of them or all that are left.
    fn bytes(&mut self, len: usize) -> Result<&[u8], Error> {
        let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
        let len = len.min(left);
        let held = self.at.checked_sub(self.buffer_start).and_then(|at| usize::try_from(at).ok());
        let held = held.filter(|at| at + len <= self.buffer.len());
        let start = match held {
            Some(at) => at,
            None => {
                self.buffer.resize(len.max(READ_BYTES).min(left), 0);
                let read = self.file.read_exact_at(&mut self.buffer, self.at);
                read.map_err(Error::io("read", &self.path))?;
                self.buffer_start = self.at;
                0
            }
        };
        Ok(&self.buffer[start..start + len])
    }
}

/// Reads the body of an entry, which the checksum follows.
fn parse(bytes: &[u8], body_len: usize) -> Result<Entry, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let body = cursor.bytes(body_len)?;
    cursor.check_crc32c(body)?;
    let mut cursor = Cursor::new(body);
    let start = cursor.varint()?;
    let mut pairs = Vec::new();
    for _ in 0..cursor.uvarint()? {
        let name = text(&mut cursor)?;
        pairs.push((name, text(&mut cursor)?));
    }
    let offset = cursor.offset();
    let labels = Labels::from_pairs(pairs);
    let labels = labels.map_err(|_| DecodeError::VarintOverflow { offset })?;
    let mut chunks = Vec::new();
    for _ in 0..cursor.uvarint()? {
        let (mint, maxt) = (cursor.varint()?, cursor.varint()?);
        let encoding = Encoding::from_byte(cursor.u8()?)?;
        let data = Bytes::copy_from_slice(cursor.prefixed_bytes()?);
        chunks.push(EncodedChunk { mint, maxt, chunk: Chunk { encoding, data } });
    }
    Ok(Entry { start, labels, chunks })
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let offset = cursor.offset();
    let bytes = cursor.prefixed_bytes()?;
    std::str::from_utf8(bytes).map_err(|_| DecodeError::VarintOverflow { offset })
}
