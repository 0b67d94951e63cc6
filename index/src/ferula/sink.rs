//! Bytes on their way out, summed up section by section, and the groups that sections consist of.

use std::io::Write;

use ferula_chunkenc::cursor::{crc32c, crc32c_append, put_u32_be, put_uvarint};

use super::layout::{MAX_SECTION_BYTES, OFFSET_BYTES};
use crate::Error;
use crate::block::Section;

/// What is written to, the place in it, and the checksum of the section so far.
#[derive(Debug)]
pub(super) struct Sink<W> {
    out: W,
    position: u64,
    crc: u32,
}

impl<W: Write> Sink<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, position: 0, crc: 0 }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes)?;
        self.crc = crc32c_append(self.crc, bytes);
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Number of bytes so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Ends a section: where that is, and its checksum.
    pub(super) fn end_section(&mut self) -> (u64, u32) {
        (self.position, std::mem::take(&mut self.crc))
    }

    pub(super) fn finish(mut self) -> Result<W, Error> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Writes the groups of a section one after the other, and keeps where each begins.
#[derive(Debug)]
pub(super) struct GroupWriter {
    section: Section,
    /// Where the section begins in the file.
    start: u64,
    offsets: Vec<u8>,
    n_groups: u32,
    content: Vec<u8>,
}

impl GroupWriter {
    /// Begins a section at `start` of the file.
    pub(super) fn new(section: Section, start: u64) -> Self {
        Self { section, start, offsets: Vec::new(), n_groups: 0, content: Vec::new() }
    }

    /// The content of the group that is being written; empty if none was begun.
    pub(super) fn content(&mut self) -> &mut Vec<u8> {
        &mut self.content
    }

    /// Begins a group with its number.
    pub(super) fn begin(&mut self) {
        debug_assert!(self.content.is_empty(), "the group before has ended");
        put_uvarint(&mut self.content, self.n_groups.into());
    }

    /// Ends the group, if one was begun, with a checksum.
    pub(super) fn end<W: Write>(&mut self, out: &mut Sink<W>) -> Result<(), Error> {
        if self.content.is_empty() {
            return Ok(());
        }
        self.put_offset(out.position())?;
        let crc = crc32c(&self.content);
        put_u32_be(&mut self.content, crc);
        out.write(&self.content)?;
        self.content.clear();
        self.n_groups += 1;
        Ok(())
    }

    /// Number of groups that have ended.
    pub(super) fn n_groups(&self) -> u32 {
        self.n_groups
    }

    /// Ends the section and writes the offsets as the next one. Returns the ends of both.
    pub(super) fn finish<W: Write>(mut self, out: &mut Sink<W>) -> Result<[(u64, u32); 2], Error> {
        self.end(out)?;
        self.put_offset(out.position())?;
        let end = out.end_section();
        out.write(&self.offsets)?;
        Ok([end, out.end_section()])
    }

    fn put_offset(&mut self, position: u64) -> Result<(), Error> {
        let size_bytes = position - self.start;
        if size_bytes >= MAX_SECTION_BYTES {
            let (section, limit_bytes) = (self.section, MAX_SECTION_BYTES);
            return Err(Error::TooLarge { section, size_bytes, limit_bytes });
        }
        let bytes = size_bytes.to_be_bytes();
        self.offsets.extend_from_slice(&bytes[bytes.len() - OFFSET_BYTES..]);
        Ok(())
    }
}
