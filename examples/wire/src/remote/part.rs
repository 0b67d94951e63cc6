//! A series of a request, found by the bytes of its labels.

use std::borrow::Cow;

use ferula_index::SeriesRef;
use ferula_tsdb::RefSample;

use super::labels::{only_sample, split_labels};
use super::refs::{LabelsKey, OpenCache};
use super::symbols::{SaidBySymbols, Symbols};
use super::writer::sample;
use crate::protobuf::{DecodeError, DecodeProblem, Field, Fields, Value};

/// A `TimeSeries` message whose labels were found.
pub(super) struct Part<'a> {
    /// `Label` messages in 1.0, numbers of symbols in 2.0.
    pub(super) labels: Cow<'a, [u8]>,
    pub(super) key: LabelsKey,
    /// Bytes that the key is made of; none if the labels cannot be decoded.
    pub(super) key_bytes: usize,
    pub(super) known: Option<SeriesRef>,
    pub(super) rest: Rest<'a>,
    /// What it says of its metric.
    pub(super) said: Option<SaidBySymbols>,
}

/// What a `TimeSeries` holds beside its labels.
#[derive(Clone)]
pub(super) enum Rest<'a> {
    /// One sample, at this time.
    Sample(i64, f64),
    /// The message, maybe only from the first field on that is no label.
    Fields(Fields<'a>),
    /// Nothing that can be stored.
    Refused { reason: &'static str, n_samples: u64 },
}

impl<'a> Part<'a> {
    /// Finds the labels of 1.0, and the series if that is not better left for later.
    #[inline]
    pub(super) fn find(message: &'a [u8], refs: &mut OpenCache<'_>) -> Result<Self, DecodeError> {
        if let Some((key, len, series)) = refs.expected(message)
            && let Some((timestamp, value)) = only_sample(&message[len..])
        {
            refs.advance();
            return Ok(Self {
                labels: message[..len].into(),
                key,
                key_bytes: len,
                known: Some(series),
                rest: Rest::Sample(timestamp, value),
                said: None,
            });
        }
        let (labels, rest) = split_labels(message)?;
        let (key, known) = refs.surprise(&labels);
        let (key_bytes, rest) = (labels.len(), Rest::Fields(rest));
        Ok(Self { labels, key, key_bytes, known, rest, said: None })
    }

    /// Finds the labels of 2.0, and the series if that is not better left for later. `scratch` is memory
    /// to use.
    pub(super) fn find_by_symbols(
        message: &'a [u8],
        symbols: &Symbols<'_>,
        refs: &mut OpenCache<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<Self, DecodeError> {
        let outline = Outline::of(message)?;
        symbols.push_key(&outline.labels, scratch)?;
        let (key, known) = match refs.expected(scratch) {
            _ if scratch.is_empty() => (LabelsKey::default(), None),
            Some((key, len, series)) if len == scratch.len() => {
                refs.advance();
                (key, Some(series))
            }
            _ => refs.surprise(scratch),
        };
        let n_samples = outline.n_samples + outline.n_histograms;
        let rest = if n_samples == 0 {
            Rest::Refused { reason: "neither a sample nor a histogram", n_samples }
        } else if outline.said.is_some_and(|said| !symbols.has(said)) {
            Rest::Refused { reason: "metadata of symbols that are not there", n_samples }
        } else {
            match outline.sample {
                Some((0, timestamp, value)) if n_samples == 1 && outline.n_exemplars == 0 => {
                    Rest::Sample(timestamp, value)
                }
                _ => Rest::Fields(Fields::new("TimeSeries", message)),
            }
        };
        let (labels, said) = (outline.labels, outline.said);
        Ok(Self { labels, key, key_bytes: scratch.len(), known, rest, said })
    }

    /// The sample, if it is the only one and of a known series, and lies no later than `max_timestamp`.
    pub(super) fn ready(&self, max_timestamp: i64) -> Option<RefSample> {
        let (&Rest::Sample(timestamp, value), Some(series)) = (&self.rest, self.known) else {
            return None;
        };
        (timestamp <= max_timestamp).then_some(RefSample { series, timestamp, value })
    }
}

/// What a `TimeSeries` of 2.0 holds: 1 labels, 2 samples, 3 histograms, 4 exemplars, 5 metadata.
struct Outline<'a> {
    labels: Cow<'a, [u8]>,
    /// The last sample: start, time and value.
    sample: Option<(i64, i64, f64)>,
    n_samples: u64,
    n_histograms: u64,
    n_exemplars: u64,
    said: Option<SaidBySymbols>,
}

impl<'a> Outline<'a> {
    fn of(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut outline = Self {
            labels: Cow::Borrowed(&[]),
            sample: None,
            n_samples: 0,
            n_histograms: 0,
            n_exemplars: 0,
            said: None,
        };
        let mut fields = Fields::new("TimeSeries", message);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => push_packed(&mut outline.labels, &fields, &field)?,
                2 => {
                    outline.n_samples += 1;
                    outline.sample = Some(sample(fields.bytes(&field)?)?);
                }
                3 => outline.n_histograms += 1,
                4 => outline.n_exemplars += 1,
                5 => outline.said = said(fields.bytes(&field)?)?,
                _ => {}
            }
        }
        Ok(outline)
    }
}

/// Adds to the integers of a repeated field, which all senders write packed and in one piece.
pub(super) fn push_packed<'a>(
    packed: &mut Cow<'a, [u8]>,
    fields: &Fields<'a>,
    field: &Field<'a>,
) -> Result<(), DecodeError> {
    match field.value {
        Value::Bytes(bytes) if packed.is_empty() => *packed = Cow::Borrowed(bytes),
        Value::Bytes(bytes) => packed.to_mut().extend_from_slice(bytes),
        Value::Varint(mut value) => {
            let packed = packed.to_mut();
            while value >= 0x80 {
                packed.push(0x80 | u8::try_from(value & 0x7f).expect("seven bits"));
                value >>= 7;
            }
            packed.push(u8::try_from(value).expect("seven bits"));
        }
        _ => return Err(fields.wrong_type(field)),
    }
    Ok(())
}

/// Decodes a `Metadata`: 1 type, 3 help, 4 unit. `None` if it says nothing.
fn said(message: &[u8]) -> Result<Option<SaidBySymbols>, DecodeError> {
    let mut said = SaidBySymbols::default();
    let mut fields = Fields::new("Metadata", message);
    while let Some(field) = fields.next_field()? {
        let Value::Varint(bits) = field.value else { continue };
        let symbol =
            || u32::try_from(bits).map_err(|_| fields.error(field.offset, DecodeProblem::Varint));
        match field.number {
            // A type that is not known here is none.
            1 => said.metric_type = u8::try_from(bits).unwrap_or_default(),
            3 => said.help = symbol()?,
            4 => said.unit = symbol()?,
            _ => {}
        }
    }
    Ok(Some(said).filter(|said| *said != SaidBySymbols::default()))
}
