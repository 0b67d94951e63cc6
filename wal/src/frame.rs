//! How records become fragments in pages.
//!
//! Implements the framing of `docs/formats/wal.md`: 32 KiB pages, each a row of fragments behind a
//! header of seven bytes, padded with zeros where no header fits any more. Record payloads mean
//! nothing here.

use ferula_chunkenc::cursor::crc32c;

use crate::error::DamageReason;

/// Size of a page, in bytes. A fragment never crosses a page boundary.
pub const PAGE_BYTES: usize = 32 << 10;

/// Size of a fragment header, in bytes.
pub(crate) const HEADER_BYTES: usize = 7;

/// Most bytes a record, or the records of one batch together, may have before compression.
pub const MAX_BATCH_BYTES: usize = 256 << 20;

/// Set in the first fragment of a write if all bytes of the segment before it were durable.
pub(crate) const DURABLE_BEFORE: u8 = 1 << 7;

/// Set in every fragment of a record if the next record belongs to the same batch.
const CONTINUES: u8 = 1 << 6;

/// No meaning yet; a reader must not guess one.
const RESERVED: u8 = 1 << 5;

const ZSTD: u8 = 1 << 4;
const SNAPPY: u8 = 1 << 3;
const KIND: u8 = 0b111;

/// Level at which zstd compresses; higher ones cost more than they save on sample records.
const ZSTD_LEVEL: i32 = 1;

/// Every zstd frame begins with these bytes.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How the payload of a record is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// Snappy, block format.
    Snappy,
    /// Zstandard.
    #[default]
    Zstd,
}

/// Which part of a record a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Full,
    First,
    Middle,
    Last,
}

/// What all fragments of one record have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) compression: Compression,
    /// The next record belongs to the same batch.
    pub(crate) continues: bool,
}

/// The header of a fragment.
///
/// ```text
///   byte 0                                   1..3      3..7
/// | durable | continues | 0 | zstd | snappy | kind:3 | length:u16 | crc32c:u32 |   big-endian
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) flags: Flags,
    pub(crate) durable_before: bool,
    pub(crate) len: usize,
    crc: u32,
}

impl Header {
    /// Reads the header at the start of `page`, which reaches to the end of the page or of the
    /// file; `left` is what the page would have to its end.
    pub(crate) fn parse(page: &[u8], left: usize) -> Result<Self, DamageReason> {
        let Some((&[byte, l0, l1, c0, c1, c2, c3], _)) = page.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(if left < HEADER_BYTES {
                DamageReason::Padding
            } else {
                DamageReason::CutShort
            });
        };
        let kind = match byte & KIND {
            1 => Kind::Full,
            2 => Kind::First,
            3 => Kind::Middle,
            4 => Kind::Last,
            _ => return Err(DamageReason::Header { byte }),
        };
        let compression = match byte & (ZSTD | SNAPPY | RESERVED) {
            0 => Compression::None,
            SNAPPY => Compression::Snappy,
            ZSTD => Compression::Zstd,
            _ => return Err(DamageReason::Header { byte }),
        };
        let len = u16::from_be_bytes([l0, l1]);
        let left = left - HEADER_BYTES;
        if usize::from(len) > left {
            let left = u16::try_from(left).expect("a page is smaller than 64 KiB");
            return Err(DamageReason::Length { len, left });
        }
        // A record has at least one byte, so only a first fragment that found no room is empty.
        // Anything else is a header of which only the first byte reached the disk.
        if len == 0 && !(kind == Kind::First && left == 0) {
            return Err(DamageReason::Header { byte });
        }
        Ok(Self {
            kind,
            flags: Flags { compression, continues: byte & CONTINUES != 0 },
            durable_before: byte & DURABLE_BEFORE != 0,
            len: usize::from(len),
            crc: u32::from_be_bytes([c0, c1, c2, c3]),
        })
    }

    /// Bytes of header and data together.
    pub(crate) fn framed_bytes(&self) -> usize {
        HEADER_BYTES + self.len
    }

    /// The data of the fragment that begins at the start of `page`, once its checksum is right.
    pub(crate) fn data<'a>(&self, page: &'a [u8]) -> Result<&'a [u8], DamageReason> {
        let data = page.get(HEADER_BYTES..self.framed_bytes()).ok_or(DamageReason::CutShort)?;
        let found = crc32c(data);
        if found != self.crc {
            return Err(DamageReason::Checksum { found, expected: self.crc });
        }
        Ok(data)
    }
}

/// Appends a record to `out`, whose first byte will stand at `offset` of its segment.
pub(crate) fn push_record(mut data: &[u8], flags: Flags, offset: u64, out: &mut Vec<u8>) {
    assert!(!data.is_empty(), "a record has at least one byte");
    let base = out.len();
    let mut is_first = true;
    while !data.is_empty() {
        let left = page_left(offset + (out.len() - base) as u64);
        debug_assert!(left >= HEADER_BYTES, "the page was padded when it became full");
        let (part, rest) = data.split_at(data.len().min(left - HEADER_BYTES));
        let kind = match (is_first, rest.is_empty()) {
            (true, true) => 1,
            (true, false) => 2,
            (false, false) => 3,
            (false, true) => 4,
        };
        let codec = match flags.compression {
            Compression::None => 0,
            Compression::Snappy => SNAPPY,
            Compression::Zstd => ZSTD,
        };
        out.push(kind | codec | if flags.continues { CONTINUES } else { 0 });
        let len = u16::try_from(part.len()).expect("a fragment is smaller than its page");
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&crc32c(part).to_be_bytes());
        out.extend_from_slice(part);
        let left = left - HEADER_BYTES - part.len();
        if left < HEADER_BYTES {
            out.resize(out.len() + left, 0);
        }
        data = rest;
        is_first = false;
    }
}

/// Bytes from `offset` to the end of its page; a whole page at its start.
pub(crate) fn page_left(offset: u64) -> usize {
    PAGE_BYTES - page_offset(offset)
}

/// Offset within its page of an offset in a segment.
pub(crate) fn page_offset(offset: u64) -> usize {
    usize::try_from(offset % PAGE_BYTES as u64).expect("a page is smaller than usize")
}

/// Upper bound of the bytes that a record of `len` bytes takes once framed.
pub(crate) fn framed_bound(len: usize) -> u64 {
    let n_fragments = len / (PAGE_BYTES - HEADER_BYTES) + 2;
    // Each fragment has a header, and each page may end in padding shorter than one.
    (len + 2 * n_fragments * HEADER_BYTES) as u64
}

/// Records of one batch, compressed where that makes them smaller.
#[derive(Default)]
pub(crate) struct Packer {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    snappy: Option<Box<snap::raw::Encoder>>,
    packed: Vec<u8>,
    records: Vec<(usize, Compression)>,
    scratch: Vec<u8>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("records", &self.records).finish_non_exhaustive()
    }
}

impl Packer {
    /// Packs `records`, replacing what was packed before.
    pub(crate) fn pack(&mut self, records: &[&[u8]], compression: Compression) {
        self.packed.clear();
        self.records.clear();
        for &record in records {
            let is_smaller =
                self.compress(record, compression) && self.scratch.len() < record.len();
            let used = if is_smaller {
                compression
            } else if has_lost_flag(record) && self.compress(record, Compression::Snappy) {
                Compression::Snappy
            } else {
                Compression::None
            };
            let packed = if used == Compression::None { record } else { &self.scratch };
            self.packed.extend_from_slice(packed);
            self.records.push((self.packed.len(), used));
        }
    }

    fn compress(&mut self, record: &[u8], compression: Compression) -> bool {
        self.scratch.clear();
        match compression {
            Compression::None => false,
            Compression::Snappy => {
                self.scratch.resize(snap::raw::max_compress_len(record.len()), 0);
                let snappy = self.snappy.get_or_insert_with(|| Box::new(snap::raw::Encoder::new()));
                let packed = snappy.compress(record, &mut self.scratch);
                self.scratch.truncate(*packed.as_ref().unwrap_or(&0));
                packed.is_ok()
            }
            Compression::Zstd => {
                if self.zstd.is_none() {
                    self.zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
                }
                self.scratch.reserve(zstd::zstd_safe::compress_bound(record.len()));
                // Without memory for a compressor the record is written as it is.
                self.zstd
                    .as_mut()
                    .is_some_and(|zstd| zstd.compress_to_buffer(record, &mut self.scratch).is_ok())
            }
        }
    }

    /// Upper bound of the bytes that the batch takes once framed.
    pub(crate) fn framed_bound(&self) -> u64 {
        framed_bound(self.packed.len()) + (self.records.len() * 2 * HEADER_BYTES) as u64
    }

    /// Appends the batch to `out`, whose first byte will stand at `offset` of its segment.
    pub(crate) fn push_framed(&self, offset: u64, out: &mut Vec<u8>) {
        let base = out.len();
        let mut start = 0;
        for (i, &(end, compression)) in self.records.iter().enumerate() {
            let flags = Flags { compression, continues: i + 1 < self.records.len() };
            let offset = offset + (out.len() - base) as u64;
            push_record(&self.packed[start..end], flags, offset, out);
            start = end;
        }
    }
}

/// Decompresses records, one after the other: holds what that takes, and the record last unpacked.
#[derive(Default)]
pub struct Unpacker {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    snappy: snap::raw::Decoder,
    record: Vec<u8>,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

impl Unpacker {
    /// The record last decompressed.
    pub(crate) fn record(&self) -> &[u8] {
        &self.record
    }

    /// Decompresses `data`; `false` if it is not compressed, and stands for itself.
    pub(crate) fn unpack(
        &mut self,
        data: &[u8],
        compression: Compression,
    ) -> Result<bool, DamageReason> {
        match compression {
            Compression::None if has_lost_flag(data) => return Err(DamageReason::Compression),
            Compression::None => return Ok(false),
            Compression::Snappy => self.unpack_snappy(data)?,
            Compression::Zstd => self.unpack_zstd(data)?,
        }
        if self.record.is_empty() { Err(DamageReason::Compression) } else { Ok(true) }
    }

    fn unpack_snappy(&mut self, data: &[u8]) -> Result<(), DamageReason> {
        let len = snap::raw::decompress_len(data).map_err(|_| DamageReason::Compression)?;
        // A copy of two bytes yields at most 64, so a longer claim is a lie.
        if len > data.len().saturating_mul(64) {
            return Err(DamageReason::Compression);
        }
        check_len(len)?;
        self.record.clear();
        self.record.resize(len, 0);
        self.snappy
            .decompress(data, &mut self.record)
            .map(drop)
            .map_err(|_| DamageReason::Compression)
    }

    fn unpack_zstd(&mut self, data: &[u8]) -> Result<(), DamageReason> {
        /// Most bytes in a block, each of which has a header of three bytes.
        const BLOCK_BYTES: usize = 128 << 10;
        let claimed = zstd::zstd_safe::get_frame_content_size(data)
            .map_err(|_| DamageReason::Compression)?
            .map(|len| usize::try_from(len).unwrap_or(usize::MAX));
        let bound = (data.len() / 3 + 1).saturating_mul(BLOCK_BYTES);
        if claimed.is_some_and(|len| len > bound) {
            return Err(DamageReason::Compression);
        }
        if let Some(len) = claimed {
            check_len(len)?;
        }
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => {
                none.insert(zstd::bulk::Decompressor::new().map_err(|_| DamageReason::Compression)?)
            }
        };
        // A frame that does not say its size is tried with ever more room.
        let limit = bound.min(MAX_BATCH_BYTES);
        let mut room = claimed.unwrap_or(4 * data.len()).min(limit);
        loop {
            self.record.clear();
            self.record.reserve_exact(room);
            match zstd.decompress_to_buffer(data, &mut self.record) {
                Ok(_) => return Ok(()),
                Err(_) if claimed.is_none() && room < limit => room = (2 * room).min(limit),
                Err(_) => return Err(DamageReason::Compression),
            }
        }
    }
}

/// Tells whether `record`, flagged as not compressed, has lost its flag: the header is not covered
/// by the checksum.
///
/// Compressed records are smaller than the original, so one that claims to become larger and does
/// decompress was one. No record type of Prometheus begins like that; [`Packer`] compresses those
/// of others that do.
fn has_lost_flag(record: &[u8]) -> bool {
    record.starts_with(&ZSTD_MAGIC)
        || snap::raw::decompress_len(record).is_ok_and(|len| len > record.len())
            && Unpacker::default().unpack(record, Compression::Snappy).is_ok()
}

fn check_len(len: usize) -> Result<(), DamageReason> {
    if len > MAX_BATCH_BYTES { Err(DamageReason::TooLarge { len: len as u64 }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Flags = Flags { compression: Compression::None, continues: false };

    #[test]
    fn a_header_alone_fits_the_rest_of_a_page() {
        // As Prometheus does it: the first part of the second record is empty.
        let mut out = Vec::new();
        push_record(&vec![1; PAGE_BYTES - 2 * HEADER_BYTES], PLAIN, 0, &mut out);
        assert_eq!(page_left(out.len() as u64), HEADER_BYTES);
        let offset = out.len() as u64;
        push_record(&[2, 3], PLAIN, offset, &mut out);
        assert_eq!(out[PAGE_BYTES - HEADER_BYTES..][..3], [2, 0, 0]);
        assert_eq!(out[PAGE_BYTES..][..3], [4, 0, 2]);
        let first = Header::parse(&out[PAGE_BYTES - HEADER_BYTES..PAGE_BYTES], HEADER_BYTES);
        assert_eq!(first.unwrap().len, 0);
        let elsewhere = Header::parse(&out[PAGE_BYTES - HEADER_BYTES..PAGE_BYTES], 100);
        assert_eq!(elsewhere, Err(DamageReason::Header { byte: 2 }));
    }

    #[test]
    fn a_rest_without_room_for_a_header_is_padded() {
        for rest in 1..HEADER_BYTES {
            let mut out = Vec::new();
            push_record(&vec![1; PAGE_BYTES - HEADER_BYTES - rest], PLAIN, 0, &mut out);
            assert_eq!(out.len(), PAGE_BYTES);
            assert!(out[PAGE_BYTES - rest..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn bounds_hold() {
        let mut packer = Packer::default();
        for len in [1, 100, PAGE_BYTES - 8, PAGE_BYTES, 3 * PAGE_BYTES + 5] {
            for at in [0, 100, PAGE_BYTES - 8, PAGE_BYTES - HEADER_BYTES] {
                let record = vec![1; len];
                packer.pack(&[&record, &[1], &record], Compression::None);
                let mut out = Vec::new();
                packer.push_framed(at as u64, &mut out);
                assert!(out.len() as u64 <= packer.framed_bound(), "{len} at {at}");
            }
        }
    }

    #[test]
    fn claimed_sizes_are_checked_before_memory_is_taken() {
        let mut unpacker = Unpacker::default();
        // Four bytes that claim 256 MiB - 1 in snappy, and a zstd header that claims 2 GiB.
        let snappy = [0xff, 0xff, 0xff, 0x7f];
        let claim = unpacker.unpack(&snappy, Compression::Snappy);
        assert_eq!(claim, Err(DamageReason::Compression));
        let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x80, 1, 0, 0];
        assert_eq!(unpacker.unpack(&zstd, Compression::Zstd), Err(DamageReason::Compression));
        assert_eq!(unpacker.record.capacity(), 0);
        let long = zstd::bulk::compress(&vec![0; MAX_BATCH_BYTES + 1], 1).unwrap();
        let len = MAX_BATCH_BYTES as u64 + 1;
        assert_eq!(unpacker.unpack(&long, Compression::Zstd), Err(DamageReason::TooLarge { len }));
    }

    #[test]
    fn zstd_frames_without_a_size_are_unpacked() {
        use std::io::Write;
        let record: Vec<u8> = (0..100_000_u32).flat_map(|i| (i / 7).to_be_bytes()).collect();
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        encoder.write_all(&record).unwrap();
        let frame = encoder.finish().unwrap();
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&frame).unwrap(), None);
        let mut unpacker = Unpacker::default();
        unpacker.unpack(&frame, Compression::Zstd).unwrap();
        assert!(unpacker.record() == record);
    }
}
