//! A walk over the fields of a protobuf message, without copies.
//!
//! Requests of remote write hold thousands of label sets that the receiver has mostly seen before, so nothing is
//! decoded into structures of its own: fields are visited in place and strings stay borrowed.

pub(crate) mod write;

/// A message that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at offset {offset}: {problem}")]
pub struct DecodeError {
    /// Name of the message.
    pub message: &'static str,
    /// Where in that message, in bytes.
    pub offset: usize,
    /// What is wrong.
    pub problem: DecodeProblem,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeProblem {
    /// The message ends within a field.
    #[error("unexpected end")]
    End,
    /// A variable-length integer has more than 64 bits.
    #[error("integer of more than 64 bits")]
    Varint,
    /// A field has the number zero, or one that is too large.
    #[error("invalid field number")]
    FieldNumber,
    /// A field has a wire type that does not exist, or not any more.
    #[error("unsupported wire type {0}")]
    WireType(u8),
    /// A field of this number must have another wire type.
    #[error("wrong wire type for field {0}")]
    WrongType(u32),
    /// A string is not valid UTF-8.
    #[error("string is not valid UTF-8")]
    Utf8,
    /// Values stand within values more often than is read.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// Most levels that are read.
        limit: usize,
    },
    /// A field has more elements than are read.
    #[error("field {field} has more than {limit} elements")]
    TooMany {
        /// Number of the field.
        field: u32,
        /// Most elements that are read.
        limit: usize,
    },
}

/// Contents of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// A field: its number and contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
    /// Where the field starts in its message.
    pub(crate) offset: usize,
}

/// Walks over the fields of one message.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    message: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'static str, bytes: &'a [u8]) -> Self {
        Self::starting_at(message, bytes, 0)
    }

    /// Walks from a field that starts at `offset`.
    pub(crate) fn starting_at(message: &'static str, bytes: &'a [u8], offset: usize) -> Self {
        Self { message, bytes, at: offset }
    }

    /// Where the next field starts.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    #[inline]
    pub(crate) fn next_field(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let offset = self.at;
        let tag = self.varint()?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number) if (1..1 << 29).contains(&number) => number,
            _ => return Err(self.error(offset, DecodeProblem::FieldNumber)),
        };
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                Value::Fixed64(u64::from_le_bytes(bytes.try_into().expect("eight were taken")))
            }
            2 => {
                let len = self.varint()?;
                let len =
                    usize::try_from(len).map_err(|_| self.error(offset, DecodeProblem::End))?;
                Value::Bytes(self.take(len)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            other => {
                let other = u8::try_from(other).expect("three bits fit a byte");
                return Err(self.error(offset, DecodeProblem::WireType(other)));
            }
        };
        Ok(Some(Field { number, value, offset }))
    }

    /// The error of a field that has contents of the wrong type.
    #[cold]
    pub(crate) fn wrong_type(&self, field: &Field<'_>) -> DecodeError {
        self.error(field.offset, DecodeProblem::WrongType(field.number))
    }

    /// The contents of a field of bytes.
    #[inline]
    pub(crate) fn bytes(&self, field: &Field<'a>) -> Result<&'a [u8], DecodeError> {
        match field.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong_type(field)),
        }
    }

    /// The contents of a field of text.
    pub(crate) fn text(&self, field: &Field<'a>) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(field)?)
            .map_err(|_| self.error(field.offset, DecodeProblem::Utf8))
    }

    /// Hands over the integers of a repeated field, which is packed or not.
    pub(crate) fn each_varint(
        &self,
        field: &Field<'a>,
        mut take: impl FnMut(u64) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        match field.value {
            Value::Varint(value) => take(value),
            Value::Bytes(packed) => Self::each_packed(self.message, packed, take),
            _ => Err(self.wrong_type(field)),
        }
    }

    /// Hands over the integers of a packed field.
    pub(crate) fn each_packed(
        message: &'static str,
        packed: &[u8],
        mut take: impl FnMut(u64) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut packed = Fields::new(message, packed);
        while packed.at < packed.bytes.len() {
            take(packed.varint()?)?;
        }
        Ok(())
    }

    /// Hands over the floats of a repeated field, which is packed or not.
    pub(crate) fn each_double(
        &self,
        field: &Field<'a>,
        mut take: impl FnMut(f64) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.each_fixed64(field, |bits| take(f64::from_bits(bits)))
    }

    /// Hands over the integers of eight bytes of a repeated field, which is packed or not.
    pub(crate) fn each_fixed64(
        &self,
        field: &Field<'a>,
        mut take: impl FnMut(u64) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        match field.value {
            Value::Fixed64(bits) => take(bits),
            Value::Bytes(packed) => {
                let (values, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(self.error(field.offset, DecodeProblem::End));
                }
                values.iter().try_for_each(|value| take(u64::from_le_bytes(*value)))
            }
            _ => Err(self.wrong_type(field)),
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, DecodeError> {
        let start = self.at;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(self.error(start, DecodeProblem::End));
            };
            self.at += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error(start, DecodeProblem::Varint))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        if len > rest.len() {
            return Err(self.error(self.at, DecodeProblem::End));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    #[cold]
    pub(crate) fn error(&self, offset: usize, problem: DecodeProblem) -> DecodeError {
        DecodeError { message: self.message, offset, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, DecodeProblem> {
        let mut fields = Fields::new("Test", bytes);
        let mut found = Vec::new();
        while let Some(field) = fields.next_field().map_err(|e| e.problem)? {
            found.push((field.number, field.value));
        }
        Ok(found)
    }

    #[test]
    fn every_wire_type_is_read() {
        let bytes =
            [8, 0x96, 1, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 2, b'h', b'i', 0x25, 0, 0, 0, 0];
        assert_eq!(
            walk(&bytes),
            Ok(vec![
                (1, Value::Varint(150)),
                (2, Value::Fixed64(1)),
                (3, Value::Bytes(b"hi")),
                (4, Value::Fixed32),
            ])
        );
        let minus_one = [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(walk(&minus_one), Ok(vec![(1, Value::Varint(u64::MAX))]));
    }

    #[test]
    fn broken_messages_are_refused() {
        for (bytes, problem) in [
            (&[8][..], DecodeProblem::End),
            (&[8, 0x80], DecodeProblem::End),
            (&[9, 1, 2, 3], DecodeProblem::End),
            (&[10, 5, 1], DecodeProblem::End),
            (&[10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], DecodeProblem::End),
            (&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], DecodeProblem::Varint),
            (&[0, 0], DecodeProblem::FieldNumber),
            (&[11], DecodeProblem::WireType(3)),
            (&[15], DecodeProblem::WireType(7)),
        ] {
            assert_eq!(walk(bytes), Err(problem), "{bytes:?}");
        }
    }
}
