//! Constants of ferula's index file, as `docs/formats/ferula-block.md` describes it.

/// First four bytes of an index file.
pub(super) const MAGIC: u32 = 0xfe72_7569;

/// The version that is written and read.
pub(super) const VERSION: u8 = 1;

/// Magic, version and three zeros.
pub(super) const HEADER_BYTES: usize = 8;

/// Sections in the order of the file: symbols, their offsets, series, their offsets, postings,
/// values, their offsets, names.
pub(super) const N_SECTIONS: usize = 8;

/// Three counts, end and checksum of each section, a checksum.
pub(super) const TOC_BYTES: usize = 3 * 4 + N_SECTIONS * (8 + 4) + CRC_BYTES;

/// Length of a checksum.
pub(super) const CRC_BYTES: usize = 4;

/// Length of the offset of a group.
pub(super) const OFFSET_BYTES: usize = 5;

/// Largest section: what such offsets can address.
pub(super) const MAX_SECTION_BYTES: u64 = 1 << (8 * OFFSET_BYTES);

/// Strings of a group of symbols.
pub(super) const SYMBOLS_OF_GROUP: u32 = 16;

/// Series of a group.
pub(super) const SERIES_OF_GROUP: u32 = 16;

/// Values of a group, all of one label name.
pub(super) const VALUES_OF_GROUP: u32 = 64;

/// Series of a pair that are listed beside its value; more of them, unless they follow each other,
/// become a bitmap.
pub(super) const LISTED_SERIES: u32 = 16;
