//! Constants of the index file, as `docs/formats/index.md` describes it.

use std::fmt;

/// First four bytes of an index file.
pub(super) const MAGIC: u32 = 0xbaaa_d700;

/// The version that is written.
pub(super) const VERSION: u8 = 2;

/// How the parts of a file refer to each other, by its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressing {
    /// Version 1: symbols and series by their offset in the file; the postings table in any order.
    Offsets,
    /// Versions 2 and 3: symbols by number, series by their offset divided by [`SERIES_ALIGN`]; the
    /// postings table sorted.
    Numbers,
}

impl Addressing {
    /// That of a version, if it is read.
    pub(super) const fn of_version(version: u8) -> Option<Self> {
        match version {
            1 => Some(Self::Offsets),
            2 | 3 => Some(Self::Numbers),
            _ => None,
        }
    }

    /// By what the ref of a series is multiplied to get its offset.
    pub(super) const fn series_align(self) -> u64 {
        match self {
            Self::Offsets => 1,
            Self::Numbers => SERIES_ALIGN,
        }
    }
}

/// Magic and version.
pub(super) const HEADER_BYTES: usize = 5;

/// Six offsets and their checksum.
pub(super) const TOC_BYTES: usize = 6 * 8 + CRC_BYTES;

/// Length of a checksum.
pub(super) const CRC_BYTES: usize = 4;

/// Series begin at multiples of this; a series ref is its offset divided by it.
pub(super) const SERIES_ALIGN: u64 = 16;

/// Postings begin at multiples of this.
pub(super) const POSTINGS_ALIGN: u64 = 4;

/// Number of strings that each entry of the postings table announces: name and value.
pub(super) const TABLE_KEYS: u64 = 2;

/// Largest index file: what series refs of 32 bits can address.
pub(super) const MAX_INDEX_BYTES: u64 = 16 * u32::MAX as u64;

/// Largest section whose length is written in 32 bits.
pub(super) const MAX_SECTION_BYTES: u64 = u32::MAX as u64;

/// A part of an index file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Section {
    /// Magic and version.
    Header,
    /// The sorted strings.
    Symbols,
    /// Labels and chunks of each series.
    Series,
    /// The series of each label pair.
    Postings,
    /// Where the postings of each label pair are.
    PostingsTable,
    /// Where the other sections are.
    Toc,
    /// Where the entries of a section are, in ferula's own format.
    Offsets,
    /// The label names, in ferula's own format.
    LabelNames,
    /// The values of label names, in ferula's own format.
    Values,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Symbols => "symbol table",
            Self::Series => "series",
            Self::Postings => "postings",
            Self::PostingsTable => "postings table",
            Self::Toc => "table of contents",
            Self::Offsets => "offsets",
            Self::LabelNames => "label names",
            Self::Values => "label values",
        })
    }
}
