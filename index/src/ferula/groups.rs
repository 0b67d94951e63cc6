//! Groups: runs of entries under one checksum, found by their number.
//!
//! A table of offsets says where each group is. Nothing of it is read before a group is asked
//! for, and nothing of it is trusted: a group begins with its own number, which the checksum
//! covers, so an offset that is wrong leads to an error and not to another group.

use std::ops::Range;

use bytes::Bytes;
use ferula_chunkenc::cursor::{Cursor, crc32c};

use super::layout::{CRC_BYTES, OFFSET_BYTES};
use crate::Error;
use crate::block::{Section, SectionReader};
use crate::error::Corruption;

/// The groups of a section.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    section: Section,
    data: Bytes,
    /// Where the section is.
    range: Range<usize>,
    /// Where the offsets of its groups are, and behind them that of its end.
    offsets: Range<usize>,
    n_groups: u32,
}

impl Groups {
    /// Finds the groups of a section of the file `data`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there is not one offset for each of `n_groups`.
    pub(super) fn new(
        section: Section,
        data: &Bytes,
        range: Range<usize>,
        offsets: Range<usize>,
        n_groups: u32,
    ) -> Result<Self, Error> {
        if offsets.len() as u64 != (u64::from(n_groups) + 1) * OFFSET_BYTES as u64 {
            let source = Corruption::Count { found: n_groups.into() };
            return Err(Error::Corrupt { section, offset: offsets.start as u64, source });
        }
        Ok(Self { section, data: data.clone(), range, offsets, n_groups })
    }

    /// Number of groups.
    pub(super) fn len(&self) -> u32 {
        self.n_groups
    }

    /// Reads a group, behind its number.
    pub(super) fn read(&self, group: u32) -> Result<SectionReader<'_>, Error> {
        let [start, end] = [self.offset(group)?, self.offset(group.saturating_add(1))?];
        let at = |offset| Error::Corrupt {
            section: self.section,
            offset: self.offsets.start as u64 + u64::from(group) * OFFSET_BYTES as u64,
            source: offset,
        };
        let section = &self.data[self.range.clone()];
        let group_bytes = section.get(start..end).and_then(<[u8]>::split_last_chunk::<CRC_BYTES>);
        let Some((content, crc)) = group_bytes else { return Err(at(Corruption::Offset)) };
        let (expected, found) = (u32::from_be_bytes(*crc), crc32c(content));
        let base = self.range.start + start;
        if found != expected {
            let offset = content.len();
            let source = ferula_chunkenc::Error::Checksum { offset, expected, found }.into();
            return Err(Error::Corrupt { section: self.section, offset: base as u64, source });
        }
        let mut reader = SectionReader::of(self.section, base, content);
        if reader.uvarint()? == u64::from(group) { Ok(reader) } else { Err(at(Corruption::Offset)) }
    }

    fn offset(&self, group: u32) -> Result<usize, Error> {
        let at = self.offsets.start + group as usize * OFFSET_BYTES;
        let field = self.data.get(at..at + OFFSET_BYTES).filter(|_| group <= self.n_groups);
        let Some(field) = field else {
            let (section, offset) = (self.section, at as u64);
            return Err(Error::Corrupt { section, offset, source: Corruption::Offset });
        };
        let mut bytes = [0; 8];
        bytes[8 - OFFSET_BYTES..].copy_from_slice(field);
        Ok(usize::try_from(u64::from_be_bytes(bytes)).unwrap_or(usize::MAX))
    }
}

/// Reads a count of 32 bits in base 128.
pub(super) fn read_u32(reader: &mut SectionReader<'_>) -> Result<u32, Error> {
    let found = reader.read(Cursor::uvarint)?;
    u32::try_from(found).map_err(|_| reader.corrupt(Corruption::Count { found }))
}
