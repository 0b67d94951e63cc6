//! Reading parts of an index file with their place in it.

use std::str;

use ferula_chunkenc::cursor::Cursor;

use super::layout::Section;
use crate::Error;
use crate::error::Corruption;

/// Reads one part of an index file; errors name the section and the offset in the file.
#[derive(Clone, Debug)]
pub(crate) struct SectionReader<'a> {
    section: Section,
    /// Offset of the cursor's slice in the file.
    base: usize,
    cursor: Cursor<'a>,
}

impl<'a> SectionReader<'a> {
    /// Reads from `offset` to the end of `data`.
    pub(crate) fn at(section: Section, data: &'a [u8], offset: u64) -> Result<Self, Error> {
        let rest = usize::try_from(offset).ok().and_then(|at| Some((at, data.get(at..)?)));
        match rest {
            Some((base, rest)) => Ok(Self { section, base, cursor: Cursor::new(rest) }),
            None => Err(Error::Corrupt { section, offset, source: Corruption::Offset }),
        }
    }

    /// Reads `content`, which stands at `base` of the file.
    pub(crate) fn of(section: Section, base: usize, content: &'a [u8]) -> Self {
        Self { section, base, cursor: Cursor::new(content) }
    }

    /// Reads the content that stands at `offset` of `data` between its length and its checksum,
    /// which is verified.
    pub(crate) fn checked(section: Section, data: &'a [u8], offset: u64) -> Result<Self, Error> {
        let mut reader = Self::at(section, data, offset)?;
        let len = reader.read(Cursor::u32_be)?;
        reader.into_content(u64::from(len))
    }

    /// Reads a length in base 128 and the content behind it, with its checksum.
    pub(crate) fn sized_by_uvarint(mut self) -> Result<Self, Error> {
        let len = self.uvarint()?;
        self.into_content(len)
    }

    /// Reads the content of `len` bytes that follows and verifies its checksum.
    fn into_content(mut self, len: u64) -> Result<Self, Error> {
        let len = usize::try_from(len).map_err(|_| self.corrupt(Corruption::Offset))?;
        let start = self.cursor.offset();
        let content = self.read(|cursor| {
            let content = cursor.bytes(len)?;
            cursor.check_crc32c(content)?;
            Ok(content)
        })?;
        Ok(Self { base: self.base + start, cursor: Cursor::new(content), ..self })
    }

    /// Reads something.
    pub(crate) fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<T, ferula_chunkenc::Error>,
    ) -> Result<T, Error> {
        read(&mut self.cursor).map_err(|source| Error::Corrupt {
            section: self.section,
            offset: self.base as u64,
            source: source.into(),
        })
    }

    /// Reads an unsigned integer in base 128.
    pub(crate) fn uvarint(&mut self) -> Result<u64, Error> {
        self.read(Cursor::uvarint)
    }

    /// Reads an unsigned integer in base 128 that must fit 32 bits.
    pub(crate) fn uvarint32(&mut self) -> Result<u32, Error> {
        let offset = self.offset();
        u32::try_from(self.uvarint()?).map_err(|_| Error::Corrupt {
            section: self.section,
            offset,
            source: Corruption::Symbol,
        })
    }

    /// Reads a string behind its length.
    pub(crate) fn text(&mut self) -> Result<&'a str, Error> {
        let bytes = self.read(Cursor::prefixed_bytes)?;
        str::from_utf8(bytes).map_err(|_| self.corrupt(Corruption::Utf8))
    }

    /// Number of bytes left.
    pub(crate) fn remaining(&self) -> usize {
        self.cursor.remaining()
    }

    /// Where in the file the next byte is.
    pub(crate) fn offset(&self) -> u64 {
        (self.base + self.cursor.offset()) as u64
    }

    /// The error that says what is wrong here.
    pub(crate) fn corrupt(&self, source: Corruption) -> Error {
        Error::Corrupt { section: self.section, offset: self.offset(), source }
    }
}
