//! Sample records of version 2: float samples with start timestamps.
//!
//! ```text
//! | 11:u8 | ( stamp, value:f64be )… |     stamps with start timestamps, see `stamp.rs`
//! ```

use ferula_chunkenc::cursor::{put_f64_be, put_u8};
use ferula_index::SeriesRef;

use super::RecordKind;
use super::fields::Fields;
use super::stamp::{Stamp, StampLayout, Stamps};
use crate::Error;

const KIND: RecordKind = RecordKind::SAMPLES_V2;

/// A float sample that knows since when its series counts, and the series it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct RefStartedSample {
    /// The series.
    pub series: SeriesRef,
    /// When the counter began, in milliseconds since the Unix epoch; 0 if that is not known.
    pub start_timestamp: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The observed value; NaN payloads are significant.
    pub value: f64,
}

impl PartialEq for RefStartedSample {
    /// Values are compared bit for bit.
    fn eq(&self, other: &Self) -> bool {
        self.series == other.series
            && self.start_timestamp == other.start_timestamp
            && self.timestamp == other.timestamp
            && self.value.to_bits() == other.value.to_bits()
    }
}

impl Eq for RefStartedSample {}

/// Appends a samples record of version 2 to `buf`.
pub fn encode(samples: impl IntoIterator<Item = RefStartedSample>, buf: &mut Vec<u8>) {
    put_u8(buf, KIND.0);
    let mut stamps = Stamps::new(StampLayout::Started);
    for RefStartedSample { series, start_timestamp, timestamp, value } in samples {
        stamps.write(Stamp { series, start_timestamp, timestamp }, buf);
        put_f64_be(buf, value);
    }
}

/// Walks over the samples of a record.
#[derive(Clone, Debug)]
pub struct SamplesV2Decoder<'a> {
    fields: Fields<'a>,
    stamps: Stamps,
}

impl<'a> SamplesV2Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { fields: Fields::new(bytes, KIND), stamps: Stamps::new(StampLayout::Started) }
    }

    /// The next sample, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::RecordBytes`] or [`Error::RecordField`] if the entry is cut short or means nothing.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<RefStartedSample>, Error> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let Stamp { series, start_timestamp, timestamp } = self.stamps.read(&mut self.fields)?;
        let value = self.fields.f64_be()?;
        Ok(Some(RefStartedSample { series, start_timestamp, timestamp, value }))
    }
}
