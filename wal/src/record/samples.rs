//! Sample records: float samples of many series, as differences to the first one.
//!
//! ```text
//! | 2:u8 | ref0:u64be | t0:i64be | ( ref − ref0:varint, t − t0:varint, value:f64be )… |
//! ```

use ferula_index::SeriesRef;

use super::RecordKind;
use super::cursor::{Cursor, put_varint};
use crate::Error;

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
    buf.push(RecordKind::SAMPLES.0);
    let mut first: Option<RefSample> = None;
    for sample in samples {
        let base = *first.get_or_insert_with(|| {
            buf.extend_from_slice(&sample.series.0.to_be_bytes());
            buf.extend_from_slice(&sample.timestamp.to_be_bytes());
            sample
        });
        put_varint(buf, sample.series.0.wrapping_sub(base.series.0).cast_signed());
        put_varint(buf, sample.timestamp.wrapping_sub(base.timestamp));
        buf.extend_from_slice(&sample.value.to_bits().to_be_bytes());
    }
}

/// Walks over the samples of a record.
#[derive(Clone, Debug)]
pub struct SamplesDecoder<'a> {
    cursor: Cursor<'a>,
    base_ref: u64,
    base_timestamp: i64,
}

impl<'a> SamplesDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(RecordKind::SAMPLES, bytes);
        // A record of no samples is its type byte alone.
        let (base_ref, base_timestamp) =
            if cursor.is_empty() { (0, 0) } else { (cursor.u64()?, cursor.u64()?.cast_signed()) };
        Ok(Self { cursor, base_ref, base_timestamp })
    }

    /// Upper bound of the samples left, for reserving memory.
    pub fn max_left(&self) -> usize {
        self.cursor.left() / 10
    }

    /// The next sample, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::Record`] if the entry is cut short.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<RefSample>, Error> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let series = self.base_ref.wrapping_add(self.cursor.varint()?.cast_unsigned());
        let timestamp = self.base_timestamp.wrapping_add(self.cursor.varint()?);
        let value = f64::from_bits(self.cursor.u64()?);
        Ok(Some(RefSample { series: SeriesRef(series), timestamp, value }))
    }
}
