//! Sample records: float samples of many series, as differences to the first one.
//!
//! ```text
//! | 2:u8 | ref0:u64be | t0:i64be | ( ref − ref0:varint, t − t0:varint, value:f64be )… |
//! ```

use ferula_chunkenc::cursor::{Cursor, put_f64_be, put_i64_be, put_u8, put_u64_be, put_varint};
use ferula_index::SeriesRef;

use super::{RecordKind, payload};
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
    cursor: Cursor<'a>,
    base_ref: u64,
    base_timestamp: i64,
}

impl<'a> SamplesDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let cursor = payload(bytes);
        let mut samples = Self { cursor, base_ref: 0, base_timestamp: 0 };
        // A record of no samples is its type byte alone.
        if !samples.cursor.is_empty() {
            samples.base_ref = samples.cursor.u64_be().map_err(Error::in_record(KIND))?;
            samples.base_timestamp = samples.cursor.i64_be().map_err(Error::in_record(KIND))?;
        }
        Ok(samples)
    }

    /// Upper bound of the samples left, for reserving memory.
    pub fn max_left(&self) -> usize {
        self.cursor.remaining() / 10
    }

    /// The next sample, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::RecordBytes`] if the entry is cut short.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<RefSample>, Error> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        self.entry().map(Some).map_err(Error::in_record(KIND))
    }

    fn entry(&mut self) -> Result<RefSample, ferula_chunkenc::Error> {
        let series = self.base_ref.wrapping_add(self.cursor.varint()?.cast_unsigned());
        let timestamp = self.base_timestamp.wrapping_add(self.cursor.varint()?);
        let value = self.cursor.f64_be()?;
        Ok(RefSample { series: SeriesRef(series), timestamp, value })
    }
}
