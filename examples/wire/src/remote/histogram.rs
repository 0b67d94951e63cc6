//! Native histograms as remote write has them, the same message in 1.0 and 2.0.

use std::sync::Arc;

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
use ferula_tsdb::NativeHistogram;

use crate::protobuf::{DecodeError, DecodeProblem, Field, Fields, Value};

/// Most spans, and most buckets, of each side of a histogram that is read, and most custom bounds. In
/// memory they take up to eight times the bytes they take in a request.
pub const MAX_HISTOGRAM_BUCKETS: usize = 65_536;

const MESSAGE: &str = "Histogram";

/// A histogram of a request, with its times.
#[derive(Debug)]
pub(super) struct TimedHistogram {
    /// Since when it has been counting; zero for unknown.
    pub(super) start: i64,
    pub(super) timestamp: i64,
    pub(super) histogram: NativeHistogram,
}

/// The buckets of one side.
#[derive(Default)]
struct Buckets {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

/// Decodes a `Histogram`: 1 and 2 count, 3 sum, 4 schema, 5 zero threshold, 6 and 7 zero count, 8 to 10
/// negative buckets, 11 to 13 positive ones, 14 reset hint, 15 timestamp, 16 custom bounds, 17 start.
///
/// As Prometheus takes it, the kind of count says whether all counts are floats.
pub(super) fn histogram(message: &[u8]) -> Result<TimedHistogram, DecodeError> {
    let mut fields = Fields::new(MESSAGE, message);
    let (mut start, mut timestamp) = (0, 0);
    let (mut count, mut zero_count) = (Value::Varint(0), Value::Varint(0));
    let (mut sum, mut zero_threshold, mut schema, mut hint) = (0.0, 0.0, 0, 0);
    let (mut negative, mut positive) = (Buckets::default(), Buckets::default());
    let mut custom_values = Vec::new();
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, value: value @ Value::Varint(_), .. }
            | Field { number: 2, value: value @ Value::Fixed64(_), .. } => count = value,
            Field { number: 6, value: value @ Value::Varint(_), .. }
            | Field { number: 7, value: value @ Value::Fixed64(_), .. } => zero_count = value,
            Field { number: 3, value: Value::Fixed64(bits), .. } => sum = f64::from_bits(bits),
            Field { number: 4, value: Value::Varint(bits), .. } => {
                schema = sint32(&fields, &field, bits)?;
            }
            Field { number: 5, value: Value::Fixed64(bits), .. } => {
                zero_threshold = f64::from_bits(bits);
            }
            Field { number: 8, .. } => push_span(&fields, &field, &mut negative.spans)?,
            Field { number: 9, .. } => fields.each_varint(&field, |bits| {
                push(&fields, &field, &mut negative.deltas, zigzag(bits))
            })?,
            Field { number: 10, .. } => fields
                .each_double(&field, |value| push(&fields, &field, &mut negative.counts, value))?,
            Field { number: 11, .. } => push_span(&fields, &field, &mut positive.spans)?,
            Field { number: 12, .. } => fields.each_varint(&field, |bits| {
                push(&fields, &field, &mut positive.deltas, zigzag(bits))
            })?,
            Field { number: 13, .. } => fields
                .each_double(&field, |value| push(&fields, &field, &mut positive.counts, value))?,
            Field { number: 14, value: Value::Varint(bits), .. } => hint = bits,
            Field { number: 15, value: Value::Varint(bits), .. } => timestamp = bits.cast_signed(),
            Field { number: 16, .. } => fields
                .each_double(&field, |value| push(&fields, &field, &mut custom_values, value))?,
            Field { number: 17, value: Value::Varint(bits), .. } => start = bits.cast_signed(),
            Field { number: 1..=7 | 14 | 15 | 17, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    let counter_reset_hint = match hint {
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        3 => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    };
    let custom_values: Arc<[f64]> = custom_values.into();
    let histogram = match count {
        Value::Fixed64(count) => NativeHistogram::Float(FloatHistogram {
            counter_reset_hint,
            schema,
            zero_threshold,
            zero_count: match zero_count {
                Value::Fixed64(bits) => f64::from_bits(bits),
                _ => 0.0,
            },
            count: f64::from_bits(count),
            sum,
            positive_spans: positive.spans,
            negative_spans: negative.spans,
            positive_buckets: positive.counts,
            negative_buckets: negative.counts,
            custom_values,
        }),
        count => NativeHistogram::Integer(Histogram {
            counter_reset_hint,
            schema,
            zero_threshold,
            zero_count: integer(zero_count),
            count: integer(count),
            sum,
            positive_spans: positive.spans,
            negative_spans: negative.spans,
            positive_buckets: positive.deltas,
            negative_buckets: negative.deltas,
            custom_values,
        }),
    };
    Ok(TimedHistogram { start, timestamp, histogram })
}

fn integer(value: Value<'_>) -> u64 {
    match value {
        Value::Varint(value) => value,
        _ => 0,
    }
}

/// A `sint64`.
pub(crate) fn zigzag(bits: u64) -> i64 {
    (bits >> 1).cast_signed() ^ -((bits & 1).cast_signed())
}

/// A `sint32`.
pub(crate) fn sint32(
    fields: &Fields<'_>,
    field: &Field<'_>,
    bits: u64,
) -> Result<i32, DecodeError> {
    i32::try_from(zigzag(bits)).map_err(|_| fields.error(field.offset, DecodeProblem::Varint))
}

/// Decodes a `BucketSpan`: 1 offset, 2 length.
pub(crate) fn push_span(
    fields: &Fields<'_>,
    field: &Field<'_>,
    spans: &mut Vec<Span>,
) -> Result<(), DecodeError> {
    let mut span = Fields::new("BucketSpan", fields.bytes(field)?);
    let (mut offset, mut length) = (0, 0);
    while let Some(field) = span.next_field()? {
        match field {
            Field { number: 1, value: Value::Varint(bits), .. } => {
                offset = sint32(&span, &field, bits)?;
            }
            Field { number: 2, value: Value::Varint(bits), .. } => {
                length = u32::try_from(bits)
                    .map_err(|_| span.error(field.offset, DecodeProblem::Varint))?;
            }
            Field { number: 1 | 2, .. } => return Err(span.wrong_type(&field)),
            _ => {}
        }
    }
    push(fields, field, spans, Span::new(offset, length))
}

pub(crate) fn push<T>(
    fields: &Fields<'_>,
    field: &Field<'_>,
    list: &mut Vec<T>,
    item: T,
) -> Result<(), DecodeError> {
    if list.len() == MAX_HISTOGRAM_BUCKETS {
        let limit = MAX_HISTOGRAM_BUCKETS;
        return Err(
            fields.error(field.offset, DecodeProblem::TooMany { field: field.number, limit })
        );
    }
    list.push(item);
    Ok(())
}
