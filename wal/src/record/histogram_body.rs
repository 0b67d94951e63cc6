//! How a native histogram is written in a record.
//!
//! ```text
//! | hint:u8 | schema:varint | zero threshold:f64be | zero count | count | sum:f64be |
//! | n:uvarint, n × ( offset:varint, length:uvarint ) |     positive spans, then negative ones
//! | n:uvarint, n × bucket |                                positive buckets, then negative ones
//! | n:uvarint, n × f64be |                                 bounds, for custom buckets only
//! ```
//!
//! Counts are uvarints and buckets varints in integer histograms; both are f64be in float ones.

use std::sync::Arc;

use ferula_chunkenc::cursor::{put_f64_be, put_u8, put_uvarint, put_varint};
use ferula_chunkenc::histogram::{
    CounterResetHint, FloatHistogram, Histogram, HistogramError, Span, is_custom_buckets_schema,
};

use super::RecordKind;
use super::fields::Fields;
use crate::Error;

/// Record types of one kind of histogram.
pub(super) struct Kinds {
    pub(super) plain: RecordKind,
    pub(super) custom: RecordKind,
    pub(super) started: RecordKind,
}

/// Memory lent to the decoding of one histogram after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    bounds: Vec<f64>,
}

/// What tells records of integer histograms from those of float ones.
pub(super) trait Body: Default {
    const KINDS: Kinds;

    type Count: Number;
    type Bucket: Number;

    fn schema(&self) -> i32;

    fn uses_custom_buckets(&self) -> bool {
        is_custom_buckets_schema(self.schema())
    }

    fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError>;

    fn parts(&self) -> Parts<'_, Self::Count, Self::Bucket>;

    fn parts_mut(&mut self) -> PartsMut<'_, Self::Count, Self::Bucket>;

    /// Appends all of the histogram.
    fn write(&self, buf: &mut Vec<u8>) {
        let Parts { hint, zero_threshold, zero_count, count, sum, spans, buckets, bounds } =
            self.parts();
        put_u8(buf, hint_byte(hint));
        put_varint(buf, i64::from(self.schema()));
        put_f64_be(buf, zero_threshold);
        zero_count.put(buf);
        count.put(buf);
        put_f64_be(buf, sum);
        for side in spans {
            put_uvarint(buf, side.len() as u64);
            for span in side {
                put_varint(buf, i64::from(span.offset));
                put_uvarint(buf, u64::from(span.length));
            }
        }
        buckets.into_iter().for_each(|side| put_numbers(side, buf));
        if self.uses_custom_buckets() {
            put_numbers(bounds, buf);
        }
    }

    /// Reads all of a histogram into the memory of the one before.
    fn read(&mut self, fields: &mut Fields<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        let PartsMut {
            hint,
            schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            spans,
            buckets,
            bounds,
        } = self.parts_mut();
        *hint = hint_of(fields.u8()?);
        let number = fields.varint()?;
        *schema = fields.narrow(number, "schema")?;
        *zero_threshold = fields.f64_be()?;
        *zero_count = Number::read(fields)?;
        *count = Number::read(fields)?;
        *sum = fields.f64_be()?;
        for side in spans {
            read_spans(side, fields)?;
        }
        for side in buckets {
            read_numbers(side, fields)?;
        }
        scratch.bounds.clear();
        if is_custom_buckets_schema(*schema) {
            read_numbers(&mut scratch.bounds, fields)?;
        }
        // Series mostly keep their bounds, so that histograms can share them.
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits();
        if bounds.len() != scratch.bounds.len() || !bounds.iter().zip(&scratch.bounds).all(same) {
            *bounds = Arc::from(scratch.bounds.as_slice());
        }
        Ok(())
    }
}

/// A histogram taken apart; positive spans and buckets first, negative ones second.
pub(super) struct Parts<'a, C, B> {
    hint: CounterResetHint,
    zero_threshold: f64,
    zero_count: C,
    count: C,
    sum: f64,
    spans: [&'a [Span]; 2],
    buckets: [&'a [B]; 2],
    bounds: &'a [f64],
}

/// As [`Parts`], to be filled in.
pub(super) struct PartsMut<'a, C, B> {
    hint: &'a mut CounterResetHint,
    schema: &'a mut i32,
    zero_threshold: &'a mut f64,
    zero_count: &'a mut C,
    count: &'a mut C,
    sum: &'a mut f64,
    spans: [&'a mut Vec<Span>; 2],
    buckets: [&'a mut Vec<B>; 2],
    bounds: &'a mut Arc<[f64]>,
}

impl Body for Histogram {
    const KINDS: Kinds = Kinds {
        plain: RecordKind::HISTOGRAMS,
        custom: RecordKind::CUSTOM_HISTOGRAMS,
        started: RecordKind::HISTOGRAMS_V2,
    };

    type Count = u64;
    type Bucket = i64;

    fn schema(&self) -> i32 {
        self.schema
    }

    fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        Self::reduce_resolution(self, schema)
    }

    fn parts(&self) -> Parts<'_, u64, i64> {
        Parts {
            hint: self.counter_reset_hint,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.sum,
            spans: [&self.positive_spans, &self.negative_spans],
            buckets: [&self.positive_buckets, &self.negative_buckets],
            bounds: &self.custom_values,
        }
    }

    fn parts_mut(&mut self) -> PartsMut<'_, u64, i64> {
        PartsMut {
            hint: &mut self.counter_reset_hint,
            schema: &mut self.schema,
            zero_threshold: &mut self.zero_threshold,
            zero_count: &mut self.zero_count,
            count: &mut self.count,
            sum: &mut self.sum,
            spans: [&mut self.positive_spans, &mut self.negative_spans],
            buckets: [&mut self.positive_buckets, &mut self.negative_buckets],
            bounds: &mut self.custom_values,
        }
    }
}

impl Body for FloatHistogram {
    const KINDS: Kinds = Kinds {
        plain: RecordKind::FLOAT_HISTOGRAMS,
        custom: RecordKind::CUSTOM_FLOAT_HISTOGRAMS,
        started: RecordKind::FLOAT_HISTOGRAMS_V2,
    };

    type Count = f64;
    type Bucket = f64;

    fn schema(&self) -> i32 {
        self.schema
    }

    fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        Self::reduce_resolution(self, schema)
    }

    fn parts(&self) -> Parts<'_, f64, f64> {
        Parts {
            hint: self.counter_reset_hint,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.sum,
            spans: [&self.positive_spans, &self.negative_spans],
            buckets: [&self.positive_buckets, &self.negative_buckets],
            bounds: &self.custom_values,
        }
    }

    fn parts_mut(&mut self) -> PartsMut<'_, f64, f64> {
        PartsMut {
            hint: &mut self.counter_reset_hint,
            schema: &mut self.schema,
            zero_threshold: &mut self.zero_threshold,
            zero_count: &mut self.zero_count,
            count: &mut self.count,
            sum: &mut self.sum,
            spans: [&mut self.positive_spans, &mut self.negative_spans],
            buckets: [&mut self.positive_buckets, &mut self.negative_buckets],
            bounds: &mut self.custom_values,
        }
    }
}

/// How counts and buckets are written.
pub(super) trait Number: Copy {
    /// Bytes that one takes at least.
    const MIN_BYTES: usize;

    fn put(self, buf: &mut Vec<u8>);

    fn read(fields: &mut Fields<'_>) -> Result<Self, Error>;
}

impl Number for u64 {
    const MIN_BYTES: usize = 1;

    fn put(self, buf: &mut Vec<u8>) {
        put_uvarint(buf, self);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Error> {
        fields.uvarint()
    }
}

impl Number for i64 {
    const MIN_BYTES: usize = 1;

    fn put(self, buf: &mut Vec<u8>) {
        put_varint(buf, self);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Error> {
        fields.varint()
    }
}

impl Number for f64 {
    const MIN_BYTES: usize = 8;

    fn put(self, buf: &mut Vec<u8>) {
        put_f64_be(buf, self);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Error> {
        fields.f64_be()
    }
}

fn put_numbers<N: Number>(numbers: &[N], buf: &mut Vec<u8>) {
    put_uvarint(buf, numbers.len() as u64);
    numbers.iter().for_each(|number| number.put(buf));
}

fn read_numbers<N: Number>(numbers: &mut Vec<N>, fields: &mut Fields<'_>) -> Result<(), Error> {
    let count = fields.count(N::MIN_BYTES)?;
    numbers.clear();
    numbers.reserve_exact(count);
    for _ in 0..count {
        numbers.push(N::read(fields)?);
    }
    Ok(())
}

fn read_spans(spans: &mut Vec<Span>, fields: &mut Fields<'_>) -> Result<(), Error> {
    let count = fields.count(2)?;
    spans.clear();
    spans.reserve_exact(count);
    for _ in 0..count {
        let offset = fields.varint()?;
        let offset = fields.narrow(offset, "span offset")?;
        let length = fields.uvarint()?;
        spans.push(Span::new(offset, fields.narrow(length, "span length")?));
    }
    Ok(())
}

fn hint_byte(hint: CounterResetHint) -> u8 {
    match hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::Reset => 1,
        CounterResetHint::NotReset => 2,
        CounterResetHint::Gauge => 3,
    }
}

/// A hint that has no name here tells nothing.
fn hint_of(byte: u8) -> CounterResetHint {
    match byte {
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        3 => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    }
}
