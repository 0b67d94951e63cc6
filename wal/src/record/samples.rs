//! Sample records: float samples of many series, as differences to the first one.
//!
//! ```text
//! | 2:u8 | ref0:u64be | t0:i64be | ( ref − ref0:varint, t − t0:varint, value:f64be )… |
//! ```

use ferula_chunkenc::cursor::{put_f64_be, put_i64_be, put_u8, put_u64_be, put_varint};
use ferula_index::SeriesRef;

use super::RecordKind;
use super::fields::Fields;
use crate::Error;

const KIND: RecordKind = RecordKind::SAMPLES;

/// A float sample and the series it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct RefSample {
    /// The series.
    pub series: SeriesRef,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The observed value; NaN payloads are significant.
    pub value: f64,
}

impl PartialEq for RefSample {
    /// Values are compared bit for bit.
    fn eq(&self, other: &Self) -> bool {
        self.series == other.series
            && self.timestamp == other.timestamp
            && self.value.to_bits() == other.value.to_bits()
    }
}

impl Eq for RefSample {}

/// Appends a samples record to `buf`.
pub fn encode(samples: impl IntoIterator<Item = RefSample>, buf: &mut Vec<u8>) {
    put_u8(buf, KIND.0);
    let mut first: Option<RefSample> = None;
    for sample in samples {
        let base = *first.get_or_insert_with(|| {
            put_u64_be(buf, sample.series.0);
            put_i64_be(buf, sample.timestamp);
            sample
        });
        put_varint(buf, sample.series.0.wrapping_sub(base.series.0).cast_signed());
        put_varint(buf, sample.timestamp.wrapping_sub(base.timestamp));
        put_f64_be(buf, sample.value);
    }
}

/// Walks over the samples of a record.
#[derive(Clone, Debug)]
pub struct SamplesDecoder<'a> {
    record: &'a [u8],
    /// Offset of the next entry.
    at: usize,
    base_ref: u64,
    base_timestamp: i64,
}

impl<'a> SamplesDecoder<'a> {
    pub(super) fn new(record: &'a [u8]) -> Result<Self, Error> {
        let mut samples = Self { record, at: 1, base_ref: 0, base_timestamp: 0 };
        // A record of no samples is its type byte alone.
        if record.len() > 1 {
            let mut fields = Fields::new(record, KIND);
            samples.base_ref = fields.u64_be()?;
            samples.base_timestamp = fields.i64_be()?;
            samples.at = fields.offset();
        }
        Ok(samples)
    }

    /// Upper bound of the samples left, for reserving memory.
    pub fn max_left(&self) -> usize {
        (self.record.len() - self.at) / 10
    }

    /// The next sample, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::RecordBytes`] if the entry is cut short.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    // A replay does little else for most of its samples.
    #[inline(always)]
    pub fn next(&mut self) -> Result<Option<RefSample>, Error> {
        let entry = self.record[self.at..].first_chunk().and_then(short_entry);
        let (to_ref, to_timestamp, value, len) = match entry {
            Some(entry) => entry,
            None if self.at == self.record.len() => return Ok(None),
            None => self.long_entry()?,
        };
        self.at += len;
        Ok(Some(RefSample {
            series: SeriesRef(self.base_ref.wrapping_add_signed(to_ref)),
            timestamp: self.base_timestamp.wrapping_add(to_timestamp),
            value,
        }))
    }

    /// Reads an entry of any length.
    #[cold]
    fn long_entry(&self) -> Result<Entry, Error> {
        let mut fields = Fields::at(self.record, self.at, KIND);
        let (to_ref, to_timestamp) = (fields.varint()?, fields.varint()?);
        let value = fields.f64_be()?;
        Ok((to_ref, to_timestamp, value, fields.offset() - self.at))
    }
}

/// Differences of ref and time, value, and how many bytes they take.
type Entry = (i64, i64, f64, usize);

/// Reads an entry whose differences take four bytes at most: within a batch nearly all do, and
/// without errors to carry this takes a third of the time.
#[inline(always)]
fn short_entry(bytes: &[u8; 16]) -> Option<Entry> {
    let (to_ref, at) = short_varint([bytes[0], bytes[1], bytes[2], bytes[3]])?;
    let (to_timestamp, len) =
        short_varint([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])?;
    let value = bytes[at + len..].first_chunk()?;
    Some((to_ref, to_timestamp, f64::from_be_bytes(*value), at + len + 8))
}

/// Reads a signed integer of up to four bytes, and tells how many it takes.
#[inline(always)]
fn short_varint(bytes: [u8; 4]) -> Option<(i64, usize)> {
    let [a, b, c, d] = bytes.map(u32::from);
    let (zig_zag, len) = if a < 0x80 {
        (a, 1)
    } else if b < 0x80 {
        (a & 0x7f | b << 7, 2)
    } else if c < 0x80 {
        (a & 0x7f | (b & 0x7f) << 7 | c << 14, 3)
    } else if d < 0x80 {
        (a & 0x7f | (b & 0x7f) << 7 | (c & 0x7f) << 14 | d << 21, 4)
    } else {
        return None;
    };
    Some((i64::from(zig_zag >> 1) ^ -i64::from(zig_zag & 1), len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_all_lengths_are_read() {
        // Differences around those that take one more byte, in both directions.
        let mut numbers = vec![0];
        for bits in 0..63 {
            numbers.extend([1_i64 << bits, -(1_i64 << bits), (1_i64 << bits) - 1]);
        }
        let mut samples = vec![RefSample { series: SeriesRef(7), timestamp: 9, value: 0.5 }];
        for (i, &number) in numbers.iter().enumerate() {
            let series = SeriesRef(7_u64.wrapping_add_signed(numbers[(i * 31) % numbers.len()]));
            let timestamp = 9_i64.wrapping_add(number);
            samples.push(RefSample { series, timestamp, value: f64::from_bits(i as u64 * 0x0101) });
        }
        let mut record = Vec::new();
        encode(samples.iter().copied(), &mut record);
        let mut decoder = SamplesDecoder::new(&record).unwrap();
        for sample in samples {
            assert_eq!(decoder.next().unwrap(), Some(sample));
        }
        assert_eq!(decoder.next().unwrap(), None);
        for len in record.len() - 9..record.len() {
            let mut decoder = SamplesDecoder::new(&record[..len]).unwrap();
            let error = loop {
                match decoder.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{len} bytes are whole"),
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, Error::RecordBytes { .. }));
        }
    }
}
