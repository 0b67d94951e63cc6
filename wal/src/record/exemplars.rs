//! Exemplar records: observations that stand for those behind a sample, with labels of their own.
//!
//! ```text
//! | 4:u8 | ref0:u64be | t0:i64be | ( ref − ref0:varint, t − t0:varint, value:f64be, labels )… |
//! ```

use ferula_chunkenc::cursor::{put_f64_be, put_u8};
use ferula_index::{Labels, SeriesRef};

use super::RecordKind;
use super::fields::{Fields, put_labels};
use super::stamp::{Stamp, StampLayout, Stamps};
use crate::Error;

const KIND: RecordKind = RecordKind::EXEMPLARS;

/// An exemplar and the series it belongs to.
#[derive(Clone, Debug)]
pub struct RefExemplar {
    /// The series.
    pub series: SeriesRef,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The observed value.
    pub value: f64,
    /// Labels of the observation: a trace to look up, for example.
    pub labels: Labels,
}

impl PartialEq for RefExemplar {
    /// Values are compared bit for bit.
    fn eq(&self, other: &Self) -> bool {
        self.series == other.series
            && self.timestamp == other.timestamp
            && self.value.to_bits() == other.value.to_bits()
            && self.labels == other.labels
    }
}

impl Eq for RefExemplar {}

/// Appends an exemplars record to `buf`.
pub fn encode<'a>(exemplars: impl IntoIterator<Item = &'a RefExemplar>, buf: &mut Vec<u8>) {
    put_u8(buf, KIND.0);
    let mut stamps = Stamps::new(StampLayout::Plain);
    for RefExemplar { series, timestamp, value, labels } in exemplars {
        let stamp = Stamp { series: *series, timestamp: *timestamp, start_timestamp: 0 };
        stamps.write(stamp, buf);
        put_f64_be(buf, *value);
        put_labels(labels, buf);
    }
}

/// Walks over the exemplars of a record.
#[derive(Clone, Debug)]
pub struct ExemplarsDecoder<'a> {
    fields: Fields<'a>,
    stamps: Stamps,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> ExemplarsDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let stamps = Stamps::new(StampLayout::Plain);
        Self { fields: Fields::new(bytes, KIND), stamps, pairs: Vec::new() }
    }

    /// The next exemplar, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::RecordBytes`], [`Error::RecordText`] or [`Error::RecordLabels`] if the entry is cut
    /// short or has no valid labels.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<RefExemplar>, Error> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let Stamp { series, timestamp, .. } = self.stamps.read(&mut self.fields)?;
        let value = self.fields.f64_be()?;
        let labels = self.fields.labels(&mut self.pairs)?;
        Ok(Some(RefExemplar { series, timestamp, value, labels }))
    }
}
