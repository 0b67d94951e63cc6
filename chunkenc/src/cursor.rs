//! Reading and writing bytes: variable-length integers, fixed ones, checksums.
//!
//! Chunks, index files, logs and tombstones are all made of the same few parts: integers in base
//! 128 as Go's `encoding/binary` writes them, big-endian integers of fixed width, and CRC-32C
//! (Castagnoli) checksums. [`Cursor`] reads them from a slice and checks every bound; the `put_`
//! functions append them to a vector.

use crate::Error;

/// Longest variable-length integer, in bytes.
pub const MAX_VARINT_BYTES: usize = 10;

/// Computes the CRC-32C of `data`.
pub fn crc32c(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
}

/// Continues the CRC-32C of earlier data, `crc`, with `data`.
pub fn crc32c_append(crc: u32, data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, data)
}

/// Reads integers and byte runs one after the other from a slice.
///
/// After an error the position is where the failed read began.
///
/// ```
/// use ferula_chunkenc::cursor::{Cursor, put_varint};
///
/// let mut bytes = Vec::new();
/// put_varint(&mut bytes, -3);
/// let mut cursor = Cursor::new(&bytes);
/// assert_eq!(cursor.varint()?, -3);
/// assert!(cursor.u8().is_err());
/// # Ok::<(), ferula_chunkenc::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    data: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, offset: 0 }
    }

    /// Number of bytes read so far.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Number of bytes left.
    pub fn remaining(&self) -> usize {
        self.data.len() - self.offset
    }

    /// Tells whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The bytes that are left.
    pub fn rest(&self) -> &'a [u8] {
        &self.data[self.offset..]
    }

    /// Reads `len` bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`] if fewer are left.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Error> {
        match self.rest().get(..len) {
            Some(bytes) => {
                self.offset += len;
                Ok(bytes)
            }
            None => Err(self.truncated(len)),
        }
    }

    /// Skips `len` bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`] if fewer are left.
    pub fn skip(&mut self, len: usize) -> Result<(), Error> {
        self.bytes(len).map(drop)
    }

    /// Reads a run of bytes behind its length, which is a variable-length integer.
    ///
    /// # Errors
    /// [`Error::Truncated`] if fewer are left, [`Error::VarintOverflow`] for a malformed length.
    pub fn prefixed_bytes(&mut self) -> Result<&'a [u8], Error> {
        let start = self.offset;
        let len = self.uvarint()?;
        let bytes = usize::try_from(len)
            .map_err(|_| self.truncated(usize::MAX))
            .and_then(|len| self.bytes(len));
        if bytes.is_err() {
            self.offset = start;
        }
        bytes
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`Error::Truncated`] if none is left.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Error> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Reads two bytes, the most significant first.
    ///
    /// # Errors
    /// [`Error::Truncated`] if fewer are left.
    #[inline]
    pub fn u16_be(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads four bytes, the most significant first.
    ///
    /// # Errors
    /// [`Error::Truncated`] if fewer are left.
    #[inline]
    pub fn u32_be(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads eight bytes, the most significant first.
    ///
    /// # Errors
    /// [`Error::Truncated`] if fewer are left.
    #[inline]
    pub fn u64_be(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads eight bytes of a two's complement integer, the most significant first.
    ///
    /// # Errors
    /// [`Error::Truncated`] if fewer are left.
    #[inline]
    pub fn i64_be(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_be_bytes)
    }

    /// Reads the eight bytes of a float's bits, the most significant first.
    ///
    /// # Errors
    /// [`Error::Truncated`] if fewer are left.
    #[inline]
    pub fn f64_be(&mut self) -> Result<f64, Error> {
        self.u64_be().map(f64::from_bits)
    }

    /// Reads an unsigned integer in base 128, the least significant digit first.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the data ends within it, [`Error::VarintOverflow`] beyond 64 bits.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u64, Error> {
        let rest = self.rest();
        // Most are short: a difference, a count, a length.
        if let [byte, ..] = *rest
            && byte < 0x80
        {
            self.offset += 1;
            return Ok(byte.into());
        }
        if let [low, high, ..] = *rest
            && high < 0x80
        {
            self.offset += 2;
            return Ok(u64::from(low & 0x7f) | u64::from(high) << 7);
        }
        self.long_uvarint()
    }

    fn long_uvarint(&mut self) -> Result<u64, Error> {
        let rest = self.rest();
        let mut value = 0_u64;
        for (i, &byte) in rest.iter().take(MAX_VARINT_BYTES).enumerate() {
            if i == MAX_VARINT_BYTES - 1 && byte > 1 {
                return Err(Error::VarintOverflow { offset: self.offset });
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.offset += i + 1;
                return Ok(value);
            }
        }
        Err(self.truncated(rest.len() + 1))
    }

    /// Reads a signed integer: zig-zag mapped to an unsigned one, which is in base 128.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the data ends within it, [`Error::VarintOverflow`] beyond 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<i64, Error> {
        self.uvarint().map(from_zig_zag)
    }

    /// Reads a CRC-32C and compares it with that of `covered`.
    ///
    /// # Errors
    /// [`Error::Checksum`] if they differ, [`Error::Truncated`] if fewer than four bytes are left.
    pub fn check_crc32c(&mut self, covered: &[u8]) -> Result<(), Error> {
        let offset = self.offset;
        let expected = self.u32_be()?;
        let found = crc32c(covered);
        if expected == found { Ok(()) } else { Err(Error::Checksum { offset, expected, found }) }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        match self.rest().first_chunk() {
            Some(array) => {
                self.offset += N;
                Ok(*array)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> Error {
        Error::Truncated { offset: self.offset, needed, available: self.remaining() }
    }
}

/// Appends one byte.
#[inline]
pub fn put_u8(out: &mut Vec<u8>, value: u8) {
    out.push(value);
}

/// Appends two bytes, the most significant first.
#[inline]
pub fn put_u16_be(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends four bytes, the most significant first.
#[inline]
pub fn put_u32_be(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends eight bytes, the most significant first.
#[inline]
pub fn put_u64_be(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends eight bytes of a two's complement integer, the most significant first.
#[inline]
pub fn put_i64_be(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends the eight bytes of a float's bits, the most significant first.
#[inline]
pub fn put_f64_be(out: &mut Vec<u8>, value: f64) {
    put_u64_be(out, value.to_bits());
}

/// Appends an unsigned integer in base 128, the least significant digit first.
#[inline]
pub fn put_uvarint(out: &mut Vec<u8>, value: u64) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(low_byte(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low_byte(rest));
}

/// Appends a signed integer: zig-zag mapped to an unsigned one, which is written in base 128.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, to_zig_zag(value));
}

/// Appends `bytes` behind their length, which is a variable-length integer.
pub fn put_prefixed_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[inline]
const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Maps integers to unsigned ones so that those near zero stay small: 0, -1, 1, -2, 2, …
#[inline]
pub(crate) const fn to_zig_zag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Reverts [`to_zig_zag`].
#[inline]
pub(crate) const fn from_zig_zag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn varints_are_those_of_go() {
        // From Go: binary.PutUvarint and binary.PutVarint.
        let cases: [(u64, &[u8]); 5] = [
            (0, &[0]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ];
        for (value, expected) in cases {
            let mut out = Vec::new();
            put_uvarint(&mut out, value);
            assert_eq!(out, expected);
            assert_eq!(Cursor::new(&out).uvarint(), Ok(value));
        }
        for (value, expected) in [(0, [0]), (-1, [1]), (1, [2]), (-64, [127])] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, expected);
            assert_eq!(Cursor::new(&out).varint(), Ok(value));
        }
    }

    #[test]
    fn malformed_varints_are_refused_and_move_nothing() {
        let endless = [0xff; 12];
        let mut cursor = Cursor::new(&endless);
        assert_eq!(cursor.uvarint(), Err(Error::VarintOverflow { offset: 0 }));
        assert_eq!(cursor.offset(), 0);
        let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(Cursor::new(&beyond).uvarint(), Err(Error::VarintOverflow { offset: 0 }));
        let cut = Error::Truncated { offset: 0, needed: 3, available: 2 };
        assert_eq!(Cursor::new(&[0x80, 0x80]).uvarint(), Err(cut));
    }

    #[test]
    fn a_length_beyond_the_data_is_refused() {
        let mut out = Vec::new();
        put_uvarint(&mut out, u64::MAX);
        let mut cursor = Cursor::new(&out);
        assert!(matches!(cursor.prefixed_bytes(), Err(Error::Truncated { .. })));
        assert_eq!(cursor.offset(), 0);
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c_append(crc32c(b"1234"), b"56789"), 0xe306_9283);
        let mut out = b"123456789".to_vec();
        put_u32_be(&mut out, 0xe306_9283);
        let mut cursor = Cursor::new(&out);
        let covered = cursor.bytes(9).unwrap();
        assert_eq!(cursor.clone().check_crc32c(covered), Ok(()));
        let wrong = cursor.check_crc32c(&covered[1..]);
        assert!(matches!(wrong, Err(Error::Checksum { offset: 9, .. })));
    }

    proptest! {
        #[test]
        fn integers_survive(a: u64, b: i64, c: u16, d: u32, bytes: Vec<u8>) {
            let mut out = Vec::new();
            put_uvarint(&mut out, a);
            put_varint(&mut out, b);
            put_u16_be(&mut out, c);
            put_u32_be(&mut out, d);
            put_prefixed_bytes(&mut out, &bytes);
            put_i64_be(&mut out, b);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.uvarint()?, a);
            prop_assert_eq!(cursor.varint()?, b);
            prop_assert_eq!(cursor.u16_be()?, c);
            prop_assert_eq!(cursor.u32_be()?, d);
            prop_assert_eq!(cursor.prefixed_bytes()?, &bytes);
            prop_assert_eq!(cursor.i64_be()?, b);
            prop_assert!(cursor.is_empty());
        }
    }
}
