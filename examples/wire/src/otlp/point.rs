//! Data points as a request has them, decoded one at a time.

use super::value::{Attribute, push_attribute};
use crate::protobuf::{DecodeError, DecodeProblem, Field, Fields, Value};
use crate::remote::MAX_HISTOGRAM_BUCKETS;

/// Most exemplars of a point that are read.
pub const MAX_EXEMPLARS: usize = 1024;

/// Most quantiles of a point that are read.
pub const MAX_QUANTILES: usize = 4096;

/// The kind of a metric, and so of its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

impl Kind {
    /// The kind of the field of `Metric` that has its points.
    pub(super) fn of_field(number: u32) -> Option<Self> {
        Some(match number {
            5 => Self::Gauge,
            7 => Self::Sum,
            9 => Self::Histogram,
            10 => Self::Exponential,
            11 => Self::Summary,
            _ => return None,
        })
    }

    /// The name of that message.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Gauge => "Gauge",
            Self::Sum => "Sum",
            Self::Histogram => "Histogram",
            Self::Exponential => "ExponentialHistogram",
            Self::Summary => "Summary",
        }
    }
}

/// What a point measured.
#[derive(Debug)]
pub(super) enum Measured {
    Number(f64),
    Histogram(Buckets),
    Exponential(Exponential),
    Summary { count: u64, sum: f64, quantiles: Vec<(f64, f64)> },
}

/// A histogram with bounds of its own.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) counts: Vec<u64>,
    pub(super) bounds: Vec<f64>,
}

/// A histogram whose bounds are powers.
#[derive(Debug, Default)]
pub(super) struct Exponential {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) scale: i32,
    pub(super) zero_count: u64,
    pub(super) positive: Side,
    pub(super) negative: Side,
}

/// Buckets of one sign, from the one numbered `offset` on.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

/// One point of a metric.
#[derive(Debug)]
pub(super) struct Point<'a> {
    pub(super) attributes: Vec<Attribute<'a>>,
    /// Nanoseconds since the epoch; the start is zero for unknown.
    pub(super) start: u64,
    pub(super) time: u64,
    /// Whether the series has ended.
    pub(super) is_stale: bool,
    pub(super) measured: Measured,
    /// Encoded; they are decoded when they are needed.
    pub(super) exemplars: Vec<&'a [u8]>,
}

/// Numbers of fields that differ from kind to kind: attributes, flags, exemplars.
struct Numbers {
    message: &'static str,
    attributes: u32,
    flags: u32,
    exemplars: u32,
}

impl<'a> Point<'a> {
    pub(super) fn read(kind: Kind, message: &'a [u8]) -> Result<Self, DecodeError> {
        let (numbers, measured) = match kind {
            Kind::Gauge | Kind::Sum => (
                Numbers { message: "NumberDataPoint", attributes: 7, flags: 8, exemplars: 5 },
                Measured::Number(0.0),
            ),
            Kind::Histogram => (
                Numbers { message: "HistogramDataPoint", attributes: 9, flags: 10, exemplars: 8 },
                Measured::Histogram(Buckets::default()),
            ),
            Kind::Exponential => (
                Numbers {
                    message: "ExponentialHistogramDataPoint",
                    attributes: 1,
                    flags: 10,
                    exemplars: 11,
                },
                Measured::Exponential(Exponential::default()),
            ),
            Kind::Summary => (
                // There are no exemplars; no field has this number.
                Numbers { message: "SummaryDataPoint", attributes: 7, flags: 8, exemplars: 0 },
                Measured::Summary { count: 0, sum: 0.0, quantiles: Vec::new() },
            ),
        };
        let mut point = Self {
            attributes: Vec::new(),
            start: 0,
            time: 0,
            is_stale: false,
            measured,
            exemplars: Vec::new(),
        };
        let mut fields = Fields::new(numbers.message, message);
        while let Some(field) = fields.next_field()? {
            match field.number {
                number if number == numbers.attributes => {
                    push_attribute(&fields, &field, &mut point.attributes)?;
                }
                number if number == numbers.flags => {
                    point.is_stale = varint(&fields, &field)? & 1 == 1;
                }
                number if number == numbers.exemplars => {
                    let exemplar = fields.bytes(&field)?;
                    push(&fields, &field, &mut point.exemplars, exemplar, MAX_EXEMPLARS)?;
                }
                2 => point.start = fixed(&fields, &field)?,
                3 => point.time = fixed(&fields, &field)?,
                _ => point.measured.field(&fields, &field)?,
            }
        }
        Ok(point)
    }

    /// When it was measured, in milliseconds since the epoch.
    pub(super) fn timestamp(&self) -> i64 {
        to_ms(self.time)
    }

    /// Since when it has been counting, in milliseconds; zero for unknown.
    pub(super) fn start_timestamp(&self) -> i64 {
        to_ms(self.start)
    }
}

/// Milliseconds of a time in nanoseconds.
pub(super) fn to_ms(nanos: u64) -> i64 {
    i64::try_from(nanos / 1_000_000).expect("a millionth of 64 bits fits")
}

impl Measured {
    fn field(&mut self, fields: &Fields<'_>, field: &Field<'_>) -> Result<(), DecodeError> {
        let double = || fixed(fields, field).map(f64::from_bits);
        match self {
            Self::Number(value) => match field.number {
                4 => *value = double()?,
                6 => *value = fixed(fields, field)?.cast_signed() as f64,
                _ => {}
            },
            Self::Histogram(buckets) => match field.number {
                4 => buckets.count = fixed(fields, field)?,
                5 => buckets.sum = Some(double()?),
                6 => fields.each_fixed64(field, |count| {
                    push(fields, field, &mut buckets.counts, count, MAX_HISTOGRAM_BUCKETS)
                })?,
                7 => fields.each_double(field, |bound| {
                    push(fields, field, &mut buckets.bounds, bound, MAX_HISTOGRAM_BUCKETS)
                })?,
                _ => {}
            },
            Self::Exponential(exponential) => match field.number {
                4 => exponential.count = fixed(fields, field)?,
                5 => exponential.sum = Some(double()?),
                6 => exponential.scale = sint32(fields, field)?,
                7 => exponential.zero_count = fixed(fields, field)?,
                8 => exponential.positive = side(fields.bytes(field)?)?,
                9 => exponential.negative = side(fields.bytes(field)?)?,
                _ => {}
            },
            Self::Summary { count, sum, quantiles } => match field.number {
                4 => *count = fixed(fields, field)?,
                5 => *sum = double()?,
                6 => {
                    let quantile = quantile(fields.bytes(field)?)?;
                    push(fields, field, quantiles, quantile, MAX_QUANTILES)?;
                }
                _ => {}
            },
        }
        Ok(())
    }
}

/// Decodes `Buckets`: 1 offset, 2 counts.
fn side(message: &[u8]) -> Result<Side, DecodeError> {
    let mut fields = Fields::new("Buckets", message);
    let mut side = Side::default();
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => side.offset = sint32(&fields, &field)?,
            2 => fields.each_varint(&field, |count| {
                push(&fields, &field, &mut side.counts, count, MAX_HISTOGRAM_BUCKETS)
            })?,
            _ => {}
        }
    }
    Ok(side)
}

/// Decodes a `ValueAtQuantile`: 1 quantile, 2 value.
fn quantile(message: &[u8]) -> Result<(f64, f64), DecodeError> {
    let mut fields = Fields::new("ValueAtQuantile", message);
    let (mut quantile, mut value) = (0.0, 0.0);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => quantile = f64::from_bits(fixed(&fields, &field)?),
            2 => value = f64::from_bits(fixed(&fields, &field)?),
            _ => {}
        }
    }
    Ok((quantile, value))
}

/// The contents of a field of eight bytes.
pub(super) fn fixed(fields: &Fields<'_>, field: &Field<'_>) -> Result<u64, DecodeError> {
    match field.value {
        Value::Fixed64(bits) => Ok(bits),
        _ => Err(fields.wrong_type(field)),
    }
}

/// The contents of an integer of variable length.
pub(super) fn varint(fields: &Fields<'_>, field: &Field<'_>) -> Result<u64, DecodeError> {
    match field.value {
        Value::Varint(bits) => Ok(bits),
        _ => Err(fields.wrong_type(field)),
    }
}

fn sint32(fields: &Fields<'_>, field: &Field<'_>) -> Result<i32, DecodeError> {
    let bits = varint(fields, field)?;
    let value = (bits >> 1).cast_signed() ^ -((bits & 1).cast_signed());
    i32::try_from(value).map_err(|_| fields.error(field.offset, DecodeProblem::Varint))
}

fn push<T>(
    fields: &Fields<'_>,
    field: &Field<'_>,
    list: &mut Vec<T>,
    item: T,
    limit: usize,
) -> Result<(), DecodeError> {
    if list.len() == limit {
        let problem = DecodeProblem::TooMany { field: field.number, limit };
        return Err(fields.error(field.offset, problem));
    }
    list.push(item);
    Ok(())
}
