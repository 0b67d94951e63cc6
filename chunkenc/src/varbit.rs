//! Small integers in few bits: the classes in which histogram chunks code counts and differences.
//!
//! ```text
//! 0                      zero
//! 10        +  3 bits    -3 to 4, unsigned up to 7
//! 110       +  6 bits    -31 to 32, unsigned up to 63
//! 1110      +  9 bits    -255 to 256, unsigned up to 511
//! 11110     + 12 bits    -2047 to 2048, unsigned up to 4095
//! 111110    + 18 bits    -131071 to 131072, unsigned up to 262143
//! 1111110   + 25 bits    -16777215 to 16777216, unsigned up to 33554431
//! 11111110  + 56 bits    -(2^55 - 1) to 2^55, unsigned below 2^56
//! 11111111  + 64 bits    the rest
//! ```
//!
//! As in `docs/formats/chunks.md`; the same classes as Prometheus's `varbit.go`.

use crate::Error;
use crate::bits::{BitPacker, BitReader, BitWriter, ByteSink};
use crate::cursor::MAX_VARINT_BYTES;

/// Widths of the classes, by the number of ones in front (from one on).
const WIDTHS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];

/// Writes a signed integer.
pub(crate) fn write_int(bits: &mut BitWriter, value: i64) {
    bits.write(|packer, out| pack_int(packer, out, value));
}

/// Writes an unsigned integer.
pub(crate) fn write_uint(bits: &mut BitWriter, value: u64) {
    let fits = |width| value.leading_zeros() >= 64 - width;
    bits.write(|packer, out| pack(packer, out, value, fits));
}

/// Writes a signed integer.
#[inline]
pub(crate) fn pack_int(packer: &mut BitPacker, out: &mut impl ByteSink, value: i64) {
    let fits = |width: u32| {
        let half = 1_i64 << (width - 1);
        width == 64 || (1 - half..=half).contains(&value)
    };
    pack(packer, out, value.cast_unsigned(), fits);
}

#[inline]
fn pack(packer: &mut BitPacker, out: &mut impl ByteSink, value: u64, fits: impl Fn(u32) -> bool) {
    if value == 0 {
        packer.push_any(0, 1, out);
        return;
    }
    for (ones, width) in (1_u32..).zip(WIDTHS) {
        if fits(width) {
            if width == 64 {
                // The last class has no zero behind its ones.
                packer.push_any(0xff, 8, out);
                packer.push_any(value, 64, out);
            } else {
                let prefix = (1_u64 << (ones + 1)) - 2;
                let mask = (1_u64 << width) - 1;
                packer.push_any(prefix << width | value & mask, ones + 1 + width, out);
            }
            return;
        }
    }
}

/// Writes an unsigned integer in base 128, as containers do, wherever the last bit ended.
pub(crate) fn pack_uvarint(packer: &mut BitPacker, out: &mut impl ByteSink, value: u64) {
    let mut rest = value;
    while rest >= 0x80 {
        packer.push_any(rest & 0x7f | 0x80, 8, out);
        rest >>= 7;
    }
    packer.push_any(rest, 8, out);
}

/// Reads an unsigned integer in base 128 with a reader that begins at byte `base` of the chunk.
pub(crate) fn read_uvarint(bits: &mut BitReader<'_>, base: usize) -> Result<u64, Error> {
    let start = bits.position();
    let mut value = 0;
    for i in 0..MAX_VARINT_BYTES {
        let byte = bits.read_bits(8);
        if i == MAX_VARINT_BYTES - 1 && byte > 1 {
            break;
        }
        value |= (byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Error::VarintOverflow { offset: base + start / 8 })
}

/// Reads a signed integer.
#[inline]
pub(crate) fn read_int(bits: &mut BitReader<'_>) -> i64 {
    let (value, width) = read(bits);
    // The upper half of a class stands for negative numbers, its lower edge excepted.
    if (1..64).contains(&width) && value > 1 << (width - 1) {
        value.wrapping_sub(1 << width).cast_signed()
    } else {
        value.cast_signed()
    }
}

/// Reads an unsigned integer.
#[inline]
pub(crate) fn read_uint(bits: &mut BitReader<'_>) -> u64 {
    read(bits).0
}

/// Reads a class and its bits; the width of zero is none.
#[inline]
fn read(bits: &mut BitReader<'_>) -> (u64, u32) {
    let ahead = bits.peek();
    // Nearly all numbers are of the first classes, which branches tell sooner than a table does.
    if ahead >> 63 == 0 {
        bits.advance(1);
        (0, 0)
    } else if ahead >> 62 == 0b10 {
        bits.advance(5);
        (ahead << 2 >> 61, 3)
    } else if ahead >> 61 == 0b110 {
        bits.advance(9);
        (ahead << 3 >> 58, 6)
    } else {
        read_long(bits, ahead)
    }
}

fn read_long(bits: &mut BitReader<'_>, ahead: u64) -> (u64, u32) {
    let ones = (ahead >> 56 << 56).leading_ones();
    bits.advance((ones + 1).min(8));
    let width = WIDTHS[ones as usize - 1];
    (bits.read_bits(width), width)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edges() -> Vec<i64> {
        let mut edges = vec![0, i64::MIN, i64::MAX];
        for width in &WIDTHS[..7] {
            let half = 1_i64 << (width - 1);
            edges.extend([-half - 1, -half, 1 - half, half - 1, half, half + 1, 2 * half]);
        }
        edges
    }

    #[test]
    fn edges_take_the_bits_of_their_class() {
        for (value, len) in [
            (0, 1),
            (4, 5),
            (-3, 5),
            (-4, 9),
            (32, 9),
            (33, 13),
            (256, 13),
            (-2047, 17),
            (131_072, 24),
            (-131_072, 32),
            (1 << 55, 64),
            ((1 << 55) + 1, 72),
        ] {
            let mut writer = BitWriter::default();
            write_int(&mut writer, value);
            let mut reader = BitReader::new(writer.as_bytes());
            assert_eq!(read_int(&mut reader), value);
            assert_eq!(reader.position(), len, "{value}");
        }
    }

    proptest! {
        #[test]
        fn integers_survive(values: Vec<i64>, edges in prop::sample::subsequence(edges(), 0..20)) {
            let mut writer = BitWriter::default();
            for &value in values.iter().chain(&edges) {
                write_int(&mut writer, value);
                write_uint(&mut writer, value.cast_unsigned());
                write_int(&mut writer, value >> (value & 63));
            }
            let mut reader = BitReader::new(writer.as_bytes());
            for &value in values.iter().chain(&edges) {
                prop_assert_eq!(read_int(&mut reader), value);
                prop_assert_eq!(read_uint(&mut reader), value.cast_unsigned());
                prop_assert_eq!(read_int(&mut reader), value >> (value & 63));
            }
            prop_assert!(!reader.is_overrun());
        }
    }
}
