//! Metadata records: type, unit and help of the metric that a series belongs to.
//!
//! ```text
//! | 6:u8 | ( ref:uvarint, type:u8, n:uvarint, n × ( name, text ) )… |     strings behind their length
//! ```
//!
//! Two fields are written, `UNIT` and `HELP`; others are passed over.

use std::borrow::Cow;

use ferula_chunkenc::cursor::{put_prefixed_bytes, put_u8, put_uvarint};
use ferula_index::SeriesRef;

use super::RecordKind;
use super::fields::Fields;
use crate::Error;

const KIND: RecordKind = RecordKind::METADATA;

const UNIT: &[u8] = b"UNIT";
const HELP: &[u8] = b"HELP";

/// Type of a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MetricType {
    /// Not known.
    #[default]
    Unknown,
    /// A count that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Counts of observations by size.
    Histogram,
    /// Counts by size of what there is now.
    GaugeHistogram,
    /// Quantiles of observations.
    Summary,
    /// Facts in labels, with the value 1.
    Info,
    /// Which of several states hold.
    StateSet,
}

impl MetricType {
    /// All types, each at the place of its byte.
    const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::GaugeHistogram,
        Self::Summary,
        Self::Info,
        Self::StateSet,
    ];

    /// The type with this byte in a record; one that has none is unknown.
    pub fn from_byte(byte: u8) -> Self {
        Self::ALL.get(usize::from(byte)).copied().unwrap_or_default()
    }

    /// Its byte in a record.
    pub fn to_byte(self) -> u8 {
        let place = Self::ALL.iter().position(|&other| other == self);
        place.and_then(|place| u8::try_from(place).ok()).unwrap_or_default()
    }
}

/// Metadata of a metric, and a series that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefMetadata<'a> {
    /// The series.
    pub series: SeriesRef,
    /// Type of the metric; one that has no name here is read as unknown.
    pub metric_type: MetricType,
    /// Unit of its values. What is not UTF-8 is replaced.
    pub unit: Cow<'a, str>,
    /// What the metric says. What is not UTF-8 is replaced.
    pub help: Cow<'a, str>,
}

/// Appends a metadata record to `buf`.
pub fn encode<'a>(metadata: impl IntoIterator<Item = RefMetadata<'a>>, buf: &mut Vec<u8>) {
    put_u8(buf, KIND.0);
    for RefMetadata { series, metric_type, unit, help } in metadata {
        put_uvarint(buf, series.0);
        put_u8(buf, metric_type.to_byte());
        put_uvarint(buf, 2);
        put_prefixed_bytes(buf, UNIT);
        put_prefixed_bytes(buf, unit.as_bytes());
        put_prefixed_bytes(buf, HELP);
        put_prefixed_bytes(buf, help.as_bytes());
    }
}

/// Begins a record of entries as they were read.
pub(crate) fn begin_raw(buf: &mut Vec<u8>) {
    put_u8(buf, KIND.0);
}

/// Appends an entry as it was read.
pub(crate) fn push_raw(series: SeriesRef, body: &[u8], buf: &mut Vec<u8>) {
    put_uvarint(buf, series.0);
    buf.extend_from_slice(body);
}

/// Walks over the entries of a metadata record.
#[derive(Clone, Debug)]
pub struct MetadataDecoder<'a> {
    fields: Fields<'a>,
}

impl<'a> MetadataDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { fields: Fields::new(bytes, KIND) }
    }

    /// The next entry, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::RecordBytes`] if the entry is cut short.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<RefMetadata<'a>>, Error> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        self.entry().map(|(entry, _)| Some(entry))
    }

    /// The next entry: its series, and the bytes behind the ref.
    pub(crate) fn next_raw(&mut self) -> Result<Option<(SeriesRef, &'a [u8])>, Error> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let (entry, start) = self.entry()?;
        Ok(Some((entry.series, self.fields.since(start))))
    }

    /// Reads an entry; also where the bytes behind its ref begin.
    fn entry(&mut self) -> Result<(RefMetadata<'a>, usize), Error> {
        let series = SeriesRef(self.fields.uvarint()?);
        let start = self.fields.offset();
        let metric_type = MetricType::from_byte(self.fields.u8()?);
        let (mut unit, mut help) = (&[][..], &[][..]);
        for _ in 0..self.fields.uvarint()? {
            let (name, text) = (self.fields.prefixed_bytes()?, self.fields.prefixed_bytes()?);
            match name {
                UNIT => unit = text,
                HELP => help = text,
                _ => {}
            }
        }
        let (unit, help) = (String::from_utf8_lossy(unit), String::from_utf8_lossy(help));
        Ok((RefMetadata { series, metric_type, unit, help }, start))
    }
}
