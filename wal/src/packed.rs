//! Records as they stand in a log, on their way to a thread that unpacks and decodes them.

use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::frame::{Compression, Unpacker};
use crate::reader::LogRecord;

/// A record that was read and checked, but not decompressed. See
/// [`LogReader::next_packed`](crate::LogReader::next_packed).
#[derive(Clone, Debug, Default)]
pub struct PackedRecord {
    file: Option<Arc<Path>>,
    segment: u32,
    is_checkpoint: bool,
    offset: u64,
    compression: Compression,
    bytes: Vec<u8>,
}

/// What is known of a record when it has been read.
#[derive(Debug)]
pub(crate) struct PackedSource<'a> {
    pub(crate) file: Arc<Path>,
    pub(crate) segment: u32,
    pub(crate) is_checkpoint: bool,
    pub(crate) offset: u64,
    pub(crate) compression: Compression,
    pub(crate) bytes: &'a [u8],
}

impl PackedRecord {
    /// Bytes of the record as it stands in the log; those it is unpacked to are not known yet.
    pub fn packed_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Unpacks the record, in memory that `unpacker` lends.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it does not decompress; [`Error::EmptyRecord`] if nothing was read.
    pub fn unpack<'a>(&'a self, unpacker: &'a mut Unpacker) -> Result<LogRecord<'a>, Error> {
        let Some(file) = &self.file else { return Err(Error::EmptyRecord) };
        let damaged =
            |reason| Error::Damaged { file: file.to_path_buf(), offset: self.offset, reason };
        let is_unpacked = unpacker.unpack(&self.bytes, self.compression).map_err(damaged)?;
        let bytes = if is_unpacked { unpacker.record() } else { &self.bytes };
        let &Self { segment, is_checkpoint, offset, .. } = self;
        Ok(LogRecord { segment, is_checkpoint, offset, bytes })
    }

    /// Takes another record, in the same memory.
    pub(crate) fn fill(&mut self, source: PackedSource<'_>) {
        let PackedSource { file, segment, is_checkpoint, offset, compression, bytes } = source;
        let mut buf = std::mem::take(&mut self.bytes);
        buf.clear();
        buf.extend_from_slice(bytes);
        *self = Self { file: Some(file), segment, is_checkpoint, offset, compression, bytes: buf };
    }
}
