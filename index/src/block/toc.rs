//! The table of contents at the end of an index file.

use ferula_chunkenc::cursor::{Cursor, crc32c, put_u32_be, put_u64_be};

use super::layout::{CRC_BYTES, HEADER_BYTES, Section, TOC_BYTES};
use crate::Error;
use crate::error::Corruption;

/// Where the sections begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Toc {
    pub(super) symbols: u64,
    pub(super) series: u64,
    /// Not written any more: where it would be, which is where the series end.
    pub(super) label_indices: u64,
    /// Not written any more.
    pub(super) label_indices_table: u64,
    /// Where the postings begin, before they are aligned.
    pub(super) postings: u64,
    pub(super) postings_table: u64,
}

impl Toc {
    /// Reads the table from the end of the file `data`.
    pub(super) fn read(data: &[u8]) -> Result<Self, Error> {
        let corrupt = |offset: usize, source: Corruption| Error::Corrupt {
            section: Section::Toc,
            offset: offset as u64,
            source,
        };
        let Some(start) = data.len().checked_sub(TOC_BYTES + HEADER_BYTES) else {
            let short = ferula_chunkenc::Error::Truncated {
                offset: 0,
                needed: TOC_BYTES + HEADER_BYTES,
                available: data.len(),
            };
            return Err(corrupt(0, short.into()));
        };
        let start = start + HEADER_BYTES;
        let bytes = &data[start..];
        let parse = || -> Result<Self, ferula_chunkenc::Error> {
            let mut cursor = Cursor::new(bytes);
            let toc = Self {
                symbols: cursor.u64_be()?,
                series: cursor.u64_be()?,
                label_indices: cursor.u64_be()?,
                label_indices_table: cursor.u64_be()?,
                postings: cursor.u64_be()?,
                postings_table: cursor.u64_be()?,
            };
            cursor.check_crc32c(&bytes[..TOC_BYTES - CRC_BYTES])?;
            Ok(toc)
        };
        let toc = parse().map_err(|source| corrupt(start, source.into()))?;
        let ends = [toc.symbols, toc.series, toc.postings, toc.postings_table, start as u64];
        if toc.symbols < HEADER_BYTES as u64 || !ends.is_sorted() || toc.series_end() < toc.series {
            return Err(corrupt(start, Corruption::Order));
        }
        Ok(toc)
    }

    /// Appends the table to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for offset in [
            self.symbols,
            self.series,
            self.label_indices,
            self.label_indices_table,
            self.postings,
            self.postings_table,
        ] {
            put_u64_be(out, offset);
        }
        let crc = crc32c(&out[start..]);
        put_u32_be(out, crc);
    }

    /// Where the series end: at the label indices, if an old writer left some, else at the
    /// postings.
    pub(super) fn series_end(&self) -> u64 {
        if self.label_indices == 0 { self.postings } else { self.label_indices.min(self.postings) }
    }
}
