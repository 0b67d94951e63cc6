//! Reading the fields of a record, with errors that say which kind of record it is.

use ferula_chunkenc::cursor::{Cursor, put_prefixed_bytes, put_uvarint};
use ferula_index::Labels;

use super::RecordKind;
use crate::Error;

/// A cursor over a record that knows its kind; offsets count from the type byte.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    cursor: Cursor<'a>,
    kind: RecordKind,
}

impl<'a> Fields<'a> {
    /// Begins behind the type byte.
    pub(super) fn new(record: &'a [u8], kind: RecordKind) -> Self {
        Self::at(record, 1, kind)
    }

    /// Begins at `offset`, which is in the record or at its end.
    pub(super) fn at(record: &'a [u8], offset: usize, kind: RecordKind) -> Self {
        let mut cursor = Cursor::new(record);
        cursor.skip(offset).expect("an offset within the record, which has its type byte");
        Self { bytes: record, cursor, kind }
    }

    pub(super) fn kind(&self) -> RecordKind {
        self.kind
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cursor.is_empty()
    }

    pub(super) fn offset(&self) -> usize {
        self.cursor.offset()
    }

    /// The bytes from `start` to where the fields read so far end.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.cursor.offset()]
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.cursor.u8().map_err(Error::in_record(self.kind))
    }

    pub(super) fn u64_be(&mut self) -> Result<u64, Error> {
        self.cursor.u64_be().map_err(Error::in_record(self.kind))
    }

    pub(super) fn i64_be(&mut self) -> Result<i64, Error> {
        self.cursor.i64_be().map_err(Error::in_record(self.kind))
    }

    pub(super) fn f64_be(&mut self) -> Result<f64, Error> {
        self.cursor.f64_be().map_err(Error::in_record(self.kind))
    }

    pub(super) fn uvarint(&mut self) -> Result<u64, Error> {
        self.cursor.uvarint().map_err(Error::in_record(self.kind))
    }

    pub(super) fn varint(&mut self) -> Result<i64, Error> {
        self.cursor.varint().map_err(Error::in_record(self.kind))
    }

    pub(super) fn prefixed_bytes(&mut self) -> Result<&'a [u8], Error> {
        self.cursor.prefixed_bytes().map_err(Error::in_record(self.kind))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Error> {
        let bytes = self.prefixed_bytes()?;
        let offset = self.offset();
        std::str::from_utf8(bytes).map_err(|_| Error::RecordText { kind: self.kind, offset })
    }

    /// Reads how many items of at least `item_bytes` follow; more than there is room for are
    /// refused, so that memory may be taken for them.
    pub(super) fn count(&mut self, item_bytes: usize) -> Result<usize, Error> {
        let offset = self.offset();
        let count = self.uvarint()?;
        let available = self.cursor.remaining();
        let needed = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(item_bytes.max(1));
        if needed > available {
            let source = ferula_chunkenc::Error::Truncated { offset, needed, available };
            return Err(Error::RecordBytes { kind: self.kind, source });
        }
        Ok(needed / item_bytes.max(1))
    }

    /// Narrows a number that was just read.
    pub(super) fn narrow<T, U: TryFrom<T>>(
        &self,
        value: T,
        field: &'static str,
    ) -> Result<U, Error> {
        U::try_from(value).map_err(|_| self.refuse(field))
    }

    /// The error for a field that was just read and has a value it cannot have.
    pub(super) fn refuse(&self, field: &'static str) -> Error {
        Error::RecordField { kind: self.kind, field, offset: self.offset() }
    }

    /// Reads a label set; `pairs` lends its memory.
    pub(super) fn labels(&mut self, pairs: &mut Vec<(&'a str, &'a str)>) -> Result<Labels, Error> {
        let n_labels = self.uvarint()?;
        pairs.clear();
        // The count is not trusted: each string is read before room is made for it.
        for _ in 0..n_labels {
            let pair = (self.text()?, self.text()?);
            pairs.push(pair);
        }
        let (kind, offset) = (self.kind, self.offset());
        Labels::from_pairs(pairs.iter().copied()).map_err(|source| Error::RecordLabels {
            kind,
            offset,
            source,
        })
    }
}

/// Appends a label set.
pub(super) fn put_labels(labels: &Labels, buf: &mut Vec<u8>) {
    put_uvarint(buf, labels.len() as u64);
    for (name, value) in labels {
        put_prefixed_bytes(buf, name.as_bytes());
        put_prefixed_bytes(buf, value.as_bytes());
    }
}
