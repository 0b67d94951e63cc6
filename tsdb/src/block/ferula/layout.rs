//! Constants of the segments, as `docs/formats/ferula-block.md` describes them.

use ferula_index::ChunkRef;

use super::super::segments::{Place, SegmentHeader};

/// What a segment begins with.
pub(super) const HEADER: SegmentHeader = SegmentHeader { magic: 0xfe72_756c, version: 1 };

/// Kinds of records beside encodings of chunks, which stand for a chunk of that encoding.
pub(super) const PAGE: u8 = 0x70;
pub(super) const TIMES: u8 = 0x74;

/// Bytes behind the records: where the times are, and a checksum of that.
pub(super) const FOOTER_BYTES: usize = 8 + 4;

/// Size at which a page is finished, before it is compressed.
pub(super) const PAGE_BYTES: usize = 32 << 10;

/// How much longer a page may become so that what is copied into it stays beside what it refers to.
pub(super) const PAGE_SLACK: usize = 4;

/// Samples that copied columns have at least on average, or else they are joined by writing them
/// anew.
pub(super) const MIN_COPIED: usize = 256;

/// Chunks at which a page is finished.
pub(super) const PAGE_CHUNKS: usize = 512;

/// Memory that the times of a segment may take until they are written, about, in bytes. A segment is
/// ended when they reach it.
pub(super) const MAX_TIMES_BYTES: usize = 64 << 20;

/// What a column of times takes in memory beside its times, about.
pub(super) const TIME_COLUMN_BYTES: usize = 400;

/// Largest histograms of one chunk together, in bytes, as far as they are not compressed: what a
/// page takes by far.
pub(super) const MAX_HISTOGRAMS_BYTES: usize = 1 << 20;

/// Segments that refs of chunks can tell apart.
pub(super) const MAX_SEGMENTS: u32 = 1 << 16;

/// The page that a ref of a chunk leads to, and the number of the chunk in it.
pub(super) fn split(chunk: ChunkRef) -> (Place, u16) {
    let [a, b, c, d, e, f, g, h] = chunk.0.to_be_bytes();
    let segment = u16::from_be_bytes([a, b]).into();
    let offset = u32::from_be_bytes([c, d, e, f]);
    (Place { segment, offset }, u16::from_be_bytes([g, h]))
}

/// The ref of a chunk; none if it cannot be addressed.
pub(super) fn join(place: Place, chunk: usize) -> Option<ChunkRef> {
    let chunk = u16::try_from(chunk).ok()?;
    let segment = u16::try_from(place.segment).ok()?;
    Some(ChunkRef(u64::from(segment) << 48 | u64::from(place.offset) << 16 | u64::from(chunk)))
}
