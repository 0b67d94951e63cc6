//! Bytes of a head chunk file: header, chunks, and the mark that ties a file to the one before it.
//!
//! Implements `docs/formats/head_chunks.md`.

use std::ops::Range;

use ferula_chunkenc::cursor::{
    Cursor, MAX_VARINT_BYTES, crc32c, put_i64_be, put_u32_be, put_u64_be, put_uvarint,
};
use ferula_chunkenc::{Encoding, Error};
use ferula_index::{ChunkRef, SeriesRef};

/// First four bytes of a file.
pub(super) const MAGIC: u32 = 0x0130_bc91;

/// Fifth byte of a file.
pub(super) const VERSION: u8 = 1;

/// Bytes before the first chunk: magic, version, padding.
pub(super) const HEADER_BYTES: u64 = 8;

/// A file is left for the next before it would grow beyond this.
pub(super) const MAX_FILE_BYTES: u64 = 128 << 20;

/// Series ref, times and encoding of a chunk.
const FIXED_BYTES: usize = 8 + 8 + 8 + 1;

const CHECKSUM_BYTES: usize = 4;

/// Bytes of a chunk beside its data, at most.
pub(super) const MAX_OVERHEAD_BYTES: usize = FIXED_BYTES + MAX_VARINT_BYTES + CHECKSUM_BYTES;

/// The bit of the encoding that says that the samples came out of order.
const OUT_OF_ORDER: u8 = 0x80;

/// Encoding of a mark: that of no samples, which Prometheus passes over.
const MARK_ENCODING: u8 = 0;

/// Series of a mark; refs are counted up from one.
const MARK_SERIES: SeriesRef = SeriesRef(u64::MAX);

/// Bytes of data in a mark: number and end of the file before.
const MARK_BYTES: usize = 4 + 8;

/// Name of the file with this number.
pub(super) fn file_name(number: u32) -> String {
    format!("{number:06}")
}

/// Number of the file with this name, `None` if it is not one of these.
pub(super) fn file_number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|&number| file_name(number) == name)
}

/// The ref of the chunk at `offset` in file `number`.
pub(super) fn chunk_ref(number: u32, offset: u32) -> ChunkRef {
    ChunkRef(u64::from(number) << 32 | u64::from(offset))
}

/// File and offset that a ref stands for.
pub(super) fn split(chunk: ChunkRef) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = chunk.0.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// What stands before the data of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkHeader {
    pub(super) series: SeriesRef,
    /// Time of the first sample.
    pub(super) mint: i64,
    /// Time of the last sample.
    pub(super) maxt: i64,
    /// The byte as it is stored.
    encoding: u8,
}

impl ChunkHeader {
    pub(super) fn new(
        series: SeriesRef,
        (mint, maxt): (i64, i64),
        encoding: Encoding,
        is_ooo: bool,
    ) -> Self {
        let flag = if is_ooo { OUT_OF_ORDER } else { 0 };
        Self { series, mint, maxt, encoding: encoding.to_byte() | flag }
    }

    /// Whether the samples came out of order.
    pub(super) fn is_ooo(&self) -> bool {
        self.encoding & OUT_OF_ORDER != 0
    }

    /// How the samples are encoded.
    pub(super) fn encoding(&self) -> Result<Encoding, Error> {
        Encoding::from_byte(self.encoding & !OUT_OF_ORDER)
    }

    /// What Prometheus and this reader take for the end of a file.
    pub(super) fn is_end(&self) -> bool {
        self.series.0 == 0 && self.mint == 0 && self.maxt == 0
    }
}

/// One chunk within the bytes of a file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) header: ChunkHeader,
    /// Where the data lies, counted from where the chunk begins.
    pub(super) data: Range<usize>,
}

impl Entry {
    /// Bytes that the chunk takes in the file.
    pub(super) fn len(&self) -> usize {
        self.data.end + CHECKSUM_BYTES
    }
}

/// Appends the header of a file.
pub(super) fn put_header(out: &mut Vec<u8>) {
    put_u32_be(out, MAGIC);
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
}

/// Appends a chunk.
pub(super) fn put_chunk(out: &mut Vec<u8>, header: &ChunkHeader, data: &[u8]) {
    let start = out.len();
    out.reserve(MAX_OVERHEAD_BYTES + data.len());
    put_u64_be(out, header.series.0);
    put_i64_be(out, header.mint);
    put_i64_be(out, header.maxt);
    out.push(header.encoding);
    put_uvarint(out, data.len() as u64);
    out.extend_from_slice(data);
    let checksum = crc32c(&out[start..]);
    put_u32_be(out, checksum);
}

/// Appends the mark that the file before is `number`, of which `end` bytes count.
pub(super) fn put_mark(out: &mut Vec<u8>, number: u32, end: u64) {
    let mut data = Vec::with_capacity(MARK_BYTES);
    put_u32_be(&mut data, number);
    put_u64_be(&mut data, end);
    let (series, encoding) = (MARK_SERIES, MARK_ENCODING);
    let header = ChunkHeader { series, mint: i64::MIN, maxt: i64::MIN, encoding };
    put_chunk(out, &header, &data);
}

/// Number and end of the file before, if the chunk is a mark.
pub(super) fn parse_mark(header: &ChunkHeader, data: &[u8]) -> Option<(u32, u64)> {
    let is_mark = header.series == MARK_SERIES && header.encoding == MARK_ENCODING;
    let mut cursor = Cursor::new(data);
    let mark = cursor.u32_be().ok().zip(cursor.u64_be().ok());
    mark.filter(|_| is_mark && cursor.is_empty())
}

/// Reads the header of the chunk at the start of `bytes`, and the length of its data. `None` at the
/// end of a file.
fn read_header(cursor: &mut Cursor<'_>) -> Result<Option<(ChunkHeader, u64)>, Error> {
    if cursor.remaining() < FIXED_BYTES && cursor.rest().iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let series = SeriesRef(cursor.u64_be()?);
    let (mint, maxt) = (cursor.i64_be()?, cursor.i64_be()?);
    let header = ChunkHeader { series, mint, maxt, encoding: cursor.u8()? };
    if header.is_end() { Ok(None) } else { Ok(Some((header, cursor.uvarint()?))) }
}

/// Bytes that the chunk takes which begins with `bytes`, if they reach to its data.
pub(super) fn chunk_len(bytes: &[u8]) -> Option<u64> {
    let mut cursor = Cursor::new(bytes);
    let (_, len) = read_header(&mut cursor).ok().flatten()?;
    len.checked_add((cursor.offset() + CHECKSUM_BYTES) as u64)
}

/// Reads the chunk at the start of `bytes` and checks its checksum. `None` at the end of a file.
pub(super) fn read_chunk(bytes: &[u8]) -> Result<Option<Entry>, Error> {
    let mut cursor = Cursor::new(bytes);
    let Some((header, len)) = read_header(&mut cursor)? else { return Ok(None) };
    let start = cursor.offset();
    cursor.skip(usize::try_from(len).unwrap_or(usize::MAX))?;
    let data = start..cursor.offset();
    cursor.check_crc32c(&bytes[..data.end])?;
    Ok(Some(Entry { header, data }))
}
