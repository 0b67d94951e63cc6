//! Reading fields off the bytes of a record, and writing them.

use super::RecordKind;
use crate::Error;
use crate::error::RecordReason;

/// A record being read.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    kind: RecordKind,
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    /// Reads the record `bytes` behind its type byte.
    pub(super) fn new(kind: RecordKind, bytes: &'a [u8]) -> Self {
        Self { kind, bytes, pos: 1 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pos >= self.bytes.len()
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.pos)
    }

    pub(super) fn error(&self, reason: RecordReason) -> Error {
        Error::Record { kind: self.kind, offset: self.pos, reason }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        let taken = rest.get(..len).ok_or_else(|| self.error(RecordReason::CutShort))?;
        self.pos += len;
        Ok(taken)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        let bytes = self.take(8)?;
        Ok(u64::from_be_bytes(bytes.try_into().expect("eight bytes were taken")))
    }

    pub(super) fn uvarint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for (i, &byte) in self.bytes[self.pos.min(self.bytes.len())..].iter().enumerate() {
            if i == 9 && byte > 1 {
                return Err(self.error(RecordReason::Varint));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.pos += i + 1;
                return Ok(value);
            }
        }
        Err(self.error(RecordReason::CutShort))
    }

    pub(super) fn varint(&mut self) -> Result<i64, Error> {
        let folded = self.uvarint()?;
        Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    pub(super) fn str(&mut self) -> Result<&'a str, Error> {
        let len = usize::try_from(self.uvarint()?).unwrap_or(usize::MAX);
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.error(RecordReason::Utf8))
    }
}

pub(super) fn put_uvarint(buf: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buf.push((value & 0x7f).to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    buf.push(value.to_le_bytes()[0]);
}

pub(super) fn put_varint(buf: &mut Vec<u8>, value: i64) {
    put_uvarint(buf, (value << 1 ^ value >> 63).cast_unsigned());
}

pub(super) fn put_str(buf: &mut Vec<u8>, text: &str) {
    put_uvarint(buf, text.len() as u64);
    buf.extend_from_slice(text.as_bytes());
}
