//! The table of contents at the end of an index file.

use std::ops::Range;

use ferula_chunkenc::cursor::{Cursor, crc32c, put_u32_be, put_u64_be};

use super::layout::{CRC_BYTES, HEADER_BYTES, N_SECTIONS, TOC_BYTES};
use crate::Error;
use crate::block::Section;
use crate::error::Corruption;

/// What the file holds, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Toc {
    pub(super) n_symbols: u32,
    pub(super) n_series: u32,
    pub(super) n_value_groups: u32,
    /// Where each section ends, and its checksum.
    pub(super) sections: [(u64, u32); N_SECTIONS],
}

impl Toc {
    /// Reads the table from the end of the file `data`.
    pub(super) fn read(data: &[u8]) -> Result<Self, Error> {
        let corrupt = |offset: usize, source| {
            Err(Error::Corrupt { section: Section::Toc, offset: offset as u64, source })
        };
        let start = data.len().checked_sub(TOC_BYTES).filter(|start| *start >= HEADER_BYTES);
        let Some(start) = start else {
            let (needed, available) = (HEADER_BYTES + TOC_BYTES, data.len());
            let short = ferula_chunkenc::Error::Truncated { offset: 0, needed, available };
            return corrupt(0, short.into());
        };
        let bytes = &data[start..];
        let parse = || -> Result<Self, ferula_chunkenc::Error> {
            let mut cursor = Cursor::new(bytes);
            let mut toc = Self {
                n_symbols: cursor.u32_be()?,
                n_series: cursor.u32_be()?,
                n_value_groups: cursor.u32_be()?,
                ..Self::default()
            };
            for section in &mut toc.sections {
                *section = (cursor.u64_be()?, cursor.u32_be()?);
            }
            cursor.check_crc32c(&bytes[..TOC_BYTES - CRC_BYTES])?;
            Ok(toc)
        };
        let toc = match parse() {
            Ok(toc) => toc,
            Err(source) => return corrupt(start, source.into()),
        };
        let ends = toc.sections.map(|(end, _)| end);
        if ends[0] < HEADER_BYTES as u64
            || !ends.is_sorted()
            || ends[N_SECTIONS - 1] != start as u64
        {
            return corrupt(start, Corruption::Order);
        }
        Ok(toc)
    }

    /// Appends the table to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for count in [self.n_symbols, self.n_series, self.n_value_groups] {
            put_u32_be(out, count);
        }
        for (end, crc) in self.sections {
            put_u64_be(out, end);
            put_u32_be(out, crc);
        }
        let crc = crc32c(&out[start..]);
        put_u32_be(out, crc);
    }

    /// Where a section is, which lies within the file that the table was read from.
    pub(super) fn range(&self, section: usize) -> Range<usize> {
        let end = |section: usize| {
            usize::try_from(self.sections[section].0).expect("within a file in memory")
        };
        let start = if section == 0 { HEADER_BYTES } else { end(section - 1) };
        start..end(section)
    }
}
