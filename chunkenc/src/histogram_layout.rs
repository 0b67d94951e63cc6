//! What the histograms of one chunk share: the header, and the layout of the buckets.
//!
//! Encodings 2, 3, 5 and 6 begin alike, as described in `docs/formats/chunks.md`: three bytes of
//! header, then zero threshold, schema, spans and custom bounds. The first sample of a chunk
//! decides them.

use std::sync::Arc;

use crate::Error;
use crate::bits::{BitReader, BitWriter};
use crate::histogram::{
    CUSTOM_BUCKETS_SCHEMA, CounterResetHint, HistogramError, Span, bucket_count,
    is_custom_buckets_schema, is_known_schema,
};
use crate::start_timestamp::StartHeader;
use crate::varbit::{read_int, read_uint, write_int, write_uint};

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 3;

/// The same in bits, as readers count.
pub(crate) const HEADER_BITS: u32 = 24;

/// Bits of a byte that say how the chunk follows the one before.
const COUNTER_RESET_MASK: u8 = 0b1100_0000;

/// The byte that says that the zero threshold follows in full.
const FULL_THRESHOLD: u8 = 255;

/// The largest custom bound, in thousandths, that is written as a number of thousandths.
const MAX_THOUSANDTHS: f64 = 33_554_430.0;

/// The header: how many samples, and what is known of a counter reset in front of them and of start
/// timestamps.
///
/// ```text
/// encodings 2 and 3    16 bits count, 2 bits counter reset, 6 bits zero
/// encodings 5 and 6    2 bits counter reset, 14 bits count, 8 bits start timestamps
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) count: u16,
    pub(crate) counter_reset: CounterResetHint,
    /// Only in encodings with start timestamps.
    pub(crate) starts: Option<StartHeader>,
}

impl Header {
    /// The header of a chunk without samples.
    pub(crate) fn new(has_starts: bool) -> Self {
        let starts = has_starts.then(StartHeader::default);
        Self { count: 0, counter_reset: CounterResetHint::Unknown, starts }
    }

    /// The most samples that it can count.
    pub(crate) const fn limit(self) -> u16 {
        if self.starts.is_some() { 0x3fff } else { u16::MAX }
    }

    pub(crate) fn read(data: &[u8], has_starts: bool) -> Result<Self, Error> {
        let Some(&[first, second, third]) = data.first_chunk::<HEADER_BYTES>() else {
            let available = data.len();
            return Err(Error::Truncated { offset: 0, needed: HEADER_BYTES, available });
        };
        let [high, flags, starts] = if has_starts {
            [first & !COUNTER_RESET_MASK, first, third]
        } else {
            [first, third, 0]
        };
        let counter_reset = match flags & COUNTER_RESET_MASK {
            0b1000_0000 => CounterResetHint::Reset,
            0b0100_0000 => CounterResetHint::NotReset,
            0b1100_0000 => CounterResetHint::Gauge,
            _ => CounterResetHint::Unknown,
        };
        let starts = has_starts.then(|| StartHeader::from_byte(starts));
        Ok(Self { count: u16::from_be_bytes([high, second]), counter_reset, starts })
    }

    /// Writes the header over the one that `data` begins with; flags that mean nothing stay as
    /// they are.
    pub(crate) fn write(self, data: &mut [u8]) {
        let flags = match self.counter_reset {
            CounterResetHint::Unknown => 0,
            CounterResetHint::Reset => 0b1000_0000,
            CounterResetHint::NotReset => 0b0100_0000,
            CounterResetHint::Gauge => 0b1100_0000,
        };
        let [high, low] = self.count.to_be_bytes();
        let header = match self.starts {
            Some(starts) => [high | flags, low, starts.to_byte()],
            None => [high, low, data[HEADER_BYTES - 1] & !COUNTER_RESET_MASK | flags],
        };
        data[..HEADER_BYTES].copy_from_slice(&header);
    }
}

/// Which buckets the histograms of a chunk have: positive ones first, negative ones second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) spans: [Vec<Span>; 2],
    pub(crate) custom_values: Arc<[f64]>,
}

impl Layout {
    pub(crate) fn write(&self, bits: &mut BitWriter) {
        write_zero_threshold(bits, self.zero_threshold);
        write_int(bits, i64::from(self.schema));
        for spans in &self.spans {
            write_uint(bits, spans.len() as u64);
            for span in spans {
                write_uint(bits, u64::from(span.length));
                write_int(bits, i64::from(span.offset));
            }
        }
        if is_custom_buckets_schema(self.schema) {
            write_uint(bits, self.custom_values.len() as u64);
            self.custom_values.iter().for_each(|&bound| write_custom_bound(bits, bound));
        }
    }

    pub(crate) fn read(bits: &mut BitReader<'_>) -> Result<Self, Error> {
        let zero_threshold = read_zero_threshold(bits);
        let schema = read_int(bits);
        let spans = [read_spans(bits)?, read_spans(bits)?];
        let mut custom_values = Vec::new();
        if schema == i64::from(CUSTOM_BUCKETS_SCHEMA) {
            for _ in 0..read_uint(bits) {
                custom_values.push(read_custom_bound(bits));
                bits.check_overrun()?;
            }
        }
        bits.check_overrun()?;
        match i32::try_from(schema) {
            Ok(schema) if is_known_schema(schema) => {
                Ok(Self { schema, zero_threshold, spans, custom_values: custom_values.into() })
            }
            _ => Err(HistogramError::UnknownSchema { schema }.into()),
        }
    }

    /// Makes spans that cover no buckets part of the distance between those that do.
    ///
    /// They take hardly any bits, but memory in every histogram that is read.
    pub(crate) fn drop_empty_spans(&mut self, bit: usize) -> Result<(), Error> {
        for spans in &mut self.spans {
            let mut offset = 0_i64;
            let mut kept = Vec::new();
            for span in spans.drain(..) {
                offset += i64::from(span.offset);
                if span.length > 0 {
                    let length = u64::from(span.length);
                    let fits = i32::try_from(offset);
                    let fits = fits.map_err(|_| Error::SpanRange { bit, offset, length })?;
                    kept.push(Span::new(fits, span.length));
                    offset = 0;
                }
            }
            *spans = kept;
        }
        Ok(())
    }

    /// Number of buckets of each side, of which the chunk must hold at least one each: at least
    /// `bucket_bits` bits of what is left to read.
    pub(crate) fn bucket_counts(
        &self,
        bits: &BitReader<'_>,
        bucket_bits: usize,
        size_bytes: usize,
    ) -> Result<[usize; 2], Error> {
        let counts = [0, 1].map(|side| bucket_count(&self.spans[side]));
        let needed = counts[0].saturating_add(counts[1]);
        let held = bits.bits_left() / bucket_bits;
        match usize::try_from(needed) {
            Ok(n) if n <= held => Ok(counts.map(|n| usize::try_from(n).unwrap_or(held))),
            _ => Err(Error::BucketCount { size_bytes, needed, held }),
        }
    }
}

fn read_spans(bits: &mut BitReader<'_>) -> Result<Vec<Span>, Error> {
    let mut spans = Vec::new();
    for _ in 0..read_uint(bits) {
        let length = read_uint(bits);
        let offset = read_int(bits);
        bits.check_overrun()?;
        match (i32::try_from(offset), u32::try_from(length)) {
            (Ok(offset), Ok(length)) => spans.push(Span { offset, length }),
            _ => return Err(Error::SpanRange { bit: bits.position(), offset, length }),
        }
    }
    Ok(spans)
}

/// One byte for zero and for powers of two from 2^-243 to 2^10, nine for others.
fn write_zero_threshold(bits: &mut BitWriter, threshold: f64) {
    if threshold == 0.0 {
        bits.write_bits(0, 8);
        return;
    }
    let pattern = threshold.to_bits();
    // Biased exponents of 2^-243 and 2^10; the sign bit is above them.
    let exponent = pattern >> 52;
    if pattern << 12 == 0 && (780..=1033).contains(&exponent) {
        bits.write_bits(exponent - 779, 8);
    } else {
        bits.write_bits(u64::from(FULL_THRESHOLD), 8);
        bits.write_bits(pattern, 64);
    }
}

fn read_zero_threshold(bits: &mut BitReader<'_>) -> f64 {
    match bits.read_bits(8) {
        0 => 0.0,
        byte if byte == u64::from(FULL_THRESHOLD) => f64::from_bits(bits.read_bits(64)),
        byte => f64::from_bits((byte + 779) << 52),
    }
}

/// Thousandths as an unsigned number plus one; other bounds as a zero bit and 64 bits.
fn write_custom_bound(bits: &mut BitWriter, bound: f64) {
    let thousandths = (bound * 1000.0).round();
    if (0.0..=MAX_THOUSANDTHS).contains(&(bound * 1000.0)) && thousandths / 1000.0 == bound {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in range as just checked")]
        let whole = thousandths as u64;
        write_uint(bits, whole + 1);
    } else {
        bits.write_bits(0, 1);
        bits.write_bits(bound.to_bits(), 64);
    }
}

fn read_custom_bound(bits: &mut BitReader<'_>) -> f64 {
    match read_uint(bits).checked_sub(1) {
        None => f64::from_bits(bits.read_bits(64)),
        Some(thousandths) => thousandths as f64 / 1000.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(
        value: f64,
        write: fn(&mut BitWriter, f64),
        read: fn(&mut BitReader<'_>) -> f64,
    ) -> usize {
        let mut writer = BitWriter::default();
        write(&mut writer, value);
        let mut reader = BitReader::new(writer.as_bytes());
        assert_eq!(read(&mut reader).to_bits(), value.to_bits());
        reader.position()
    }

    #[test]
    fn usual_thresholds_take_a_byte() {
        let len = |value| same(value, write_zero_threshold, read_zero_threshold);
        for power in -243..=10 {
            assert_eq!(len(2_f64.powi(power)), 8, "2^{power}");
        }
        let others = [2_f64.powi(-244), 2048.0, -1.0, 0.001, f64::INFINITY, f64::NAN];
        assert_eq!(others.map(len), [72; 6]);
        assert_eq!(len(0.0), 8);
    }

    #[test]
    fn usual_bounds_take_up_to_four_bytes() {
        let len = |value| same(value, write_custom_bound, read_custom_bound);
        let usual = [0.0, 0.005, 0.25, 1.0, 10.0, 33_554.43];
        assert_eq!(usual.map(len), [5, 5, 13, 17, 24, 32]);
        let others = [-0.005, 33_554.431, 0.0005, f64::NEG_INFINITY, f64::NAN];
        assert_eq!(others.map(len), [65; 5]);
    }

    proptest! {
        #[test]
        fn any_bound_survives(bits: u64) {
            let value = f64::from_bits(bits);
            same(value, write_zero_threshold, read_zero_threshold);
            same(value, write_custom_bound, read_custom_bound);
        }
    }
}
