//! Histograms of a page in protobuf, classic and native in one message.

use ferula_chunkenc::histogram::{FloatHistogram, Histogram, Span, bucket_count};
use ferula_chunkenc::stale::NORMAL_NAN;
use ferula_tsdb::NativeHistogram;

use super::{ExemplarLine, ProtobufProblem, exemplar, timestamp};
use crate::protobuf::{DecodeError, Field, Fields, Value};
use crate::remote::histogram::{push, push_span, sint32, zigzag};

/// What a `Histogram` says.
#[derive(Debug, Default)]
pub(super) struct ProtoHistogram<'a> {
    whole_count: u64,
    float_count: f64,
    pub(super) sum: f64,
    pub(super) buckets: Vec<Bucket<'a>>,
    pub(super) exemplars: Vec<ExemplarLine<'a>>,
    schema: i32,
    zero_threshold: f64,
    whole_zero_count: u64,
    float_zero_count: f64,
    negative: Side,
    positive: Side,
}

/// A bucket of a classic histogram.
#[derive(Debug)]
pub(super) struct Bucket<'a> {
    pub(super) upper: f64,
    /// Of all buckets up to this one.
    pub(super) count: f64,
    pub(super) exemplar: Option<ExemplarLine<'a>>,
}

/// The native buckets of one side.
#[derive(Debug, Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    fn check(&self, is_float: bool) -> Result<(), ProtobufProblem> {
        let found = if is_float { self.counts.len() } else { self.deltas.len() };
        let expected = bucket_count(&self.spans);
        match u64::try_from(found) == Ok(expected) {
            true => Ok(()),
            false => Err(ProtobufProblem::Buckets { expected, found }),
        }
    }
}

impl ProtoHistogram<'_> {
    /// Observations, whichever way they are told.
    pub(super) fn count(&self) -> f64 {
        or_whole(self.float_count, self.whole_count)
    }

    /// Whether it says anything that only a native histogram does.
    pub(super) fn is_native(&self) -> bool {
        !self.positive.spans.is_empty()
            || !self.negative.spans.is_empty()
            || self.zero_threshold > 0.0
            || self.whole_zero_count > 0
    }

    /// The native histogram.
    pub(super) fn native(&self) -> Result<NativeHistogram, ProtobufProblem> {
        let is_float = self.float_count > 0.0 || self.float_zero_count > 0.0;
        self.positive.check(is_float)?;
        self.negative.check(is_float)?;
        let Self { schema, zero_threshold, positive, negative, .. } = self;
        let sum = if self.sum.is_nan() { NORMAL_NAN } else { self.sum };
        let (positive_spans, negative_spans) = (positive.spans.clone(), negative.spans.clone());
        Ok(if is_float {
            let mut histogram = FloatHistogram {
                schema: *schema,
                zero_threshold: *zero_threshold,
                zero_count: self.float_zero_count,
                count: self.float_count,
                sum,
                positive_spans,
                negative_spans,
                positive_buckets: positive.counts.clone(),
                negative_buckets: negative.counts.clone(),
                ..FloatHistogram::default()
            };
            histogram.compact(0);
            histogram.into()
        } else {
            let mut histogram = Histogram {
                schema: *schema,
                zero_threshold: *zero_threshold,
                zero_count: self.whole_zero_count,
                count: self.whole_count,
                sum,
                positive_spans,
                negative_spans,
                positive_buckets: positive.deltas.clone(),
                negative_buckets: negative.deltas.clone(),
                ..Histogram::default()
            };
            histogram.compact(0);
            histogram.into()
        })
    }
}

/// A count that floats tell if they tell anything.
fn or_whole(float: f64, whole: u64) -> f64 {
    if float == 0.0 { whole as f64 } else { float }
}

/// Decodes a `Histogram`, and since when it counts: 1 and 4 count, 2 sum, 3 classic buckets, 5 schema, 6 zero
/// threshold, 7 and 8 zero count, 9 to 11 negative buckets, 12 to 14 positive ones, 15 start, 16 exemplars.
pub(super) fn decode(message: &[u8]) -> Result<(ProtoHistogram<'_>, i64), DecodeError> {
    let mut fields = Fields::new("Histogram", message);
    let mut histogram = ProtoHistogram::default();
    let mut start = 0;
    while let Some(field) = fields.next_field()? {
        let ProtoHistogram { negative, positive, .. } = &mut histogram;
        match field {
            Field { number: 1, value: Value::Varint(bits), .. } => histogram.whole_count = bits,
            Field { number: 7, value: Value::Varint(bits), .. } => {
                histogram.whole_zero_count = bits;
            }
            Field { number: 2, value: Value::Fixed64(bits), .. } => {
                histogram.sum = f64::from_bits(bits);
            }
            Field { number: 4, value: Value::Fixed64(bits), .. } => {
                histogram.float_count = f64::from_bits(bits);
            }
            Field { number: 6, value: Value::Fixed64(bits), .. } => {
                histogram.zero_threshold = f64::from_bits(bits);
            }
            Field { number: 8, value: Value::Fixed64(bits), .. } => {
                histogram.float_zero_count = f64::from_bits(bits);
            }
            Field { number: 3, .. } => {
                let bucket = bucket(fields.bytes(&field)?)?;
                push(&fields, &field, &mut histogram.buckets, bucket)?;
            }
            Field { number: 5, value: Value::Varint(bits), .. } => {
                histogram.schema = sint32(&fields, &field, bits)?;
            }
            Field { number: 9, .. } => push_span(&fields, &field, &mut negative.spans)?,
            Field { number: 12, .. } => push_span(&fields, &field, &mut positive.spans)?,
            Field { number: 10, .. } => fields.each_varint(&field, |bits| {
                push(&fields, &field, &mut negative.deltas, zigzag(bits))
            })?,
            Field { number: 13, .. } => fields.each_varint(&field, |bits| {
                push(&fields, &field, &mut positive.deltas, zigzag(bits))
            })?,
            Field { number: 11, .. } => fields
                .each_double(&field, |value| push(&fields, &field, &mut negative.counts, value))?,
            Field { number: 14, .. } => fields
                .each_double(&field, |value| push(&fields, &field, &mut positive.counts, value))?,
            Field { number: 15, .. } => start = timestamp(fields.bytes(&field)?)?,
            Field { number: 16, .. } => {
                let exemplar = exemplar(fields.bytes(&field)?)?;
                push(&fields, &field, &mut histogram.exemplars, exemplar)?;
            }
            Field { number: 1..=8, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    Ok((histogram, start))
}

/// Decodes a `Bucket`: 1 and 4 cumulative count, 2 upper bound, 3 exemplar.
fn bucket(message: &[u8]) -> Result<Bucket<'_>, DecodeError> {
    let mut fields = Fields::new("Bucket", message);
    let (mut whole, mut float, mut upper) = (0, 0.0, 0.0);
    let mut of_bucket = None;
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, value: Value::Varint(bits), .. } => whole = bits,
            Field { number: 2, value: Value::Fixed64(bits), .. } => upper = f64::from_bits(bits),
            Field { number: 4, value: Value::Fixed64(bits), .. } => float = f64::from_bits(bits),
            Field { number: 3, .. } => of_bucket = Some(exemplar(fields.bytes(&field)?)?),
            Field { number: 1 | 2 | 4, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    Ok(Bucket { upper, count: or_whole(float, whole), exemplar: of_bucket })
}
