//! Buckets with their bounds, one after the other, from either end.

use super::bounds::{bound, is_custom_buckets_schema};
use super::span::{Indexes, narrow};
use super::{FloatHistogram, Histogram, Span};

/// One bucket of a histogram: an interval and how many observations fell into it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket<C> {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether the lower bound belongs to the bucket.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to the bucket.
    pub upper_inclusive: bool,
    /// Number of observations.
    pub count: C,
    /// Index in the schema, on the bucket's side; 0 and meaningless for the zero bucket.
    pub index: i32,
}

impl<C> Bucket<C> {
    fn at(index: i64, count: C, is_positive: bool, schema: i32, custom_values: &[f64]) -> Self {
        let index = narrow(index);
        let far = bound(index, schema, custom_values);
        let near = bound(index.saturating_sub(1), schema, custom_values);
        let (lower, upper) = if is_positive { (near, far) } else { (-far, -near) };
        let (lower_inclusive, upper_inclusive) = if is_custom_buckets_schema(schema) {
            (index == 0, true)
        } else {
            (lower < 0.0, upper > 0.0)
        };
        Self { lower, upper, lower_inclusive, upper_inclusive, count, index }
    }

    fn zero(threshold: f64, count: C) -> Self {
        Self {
            lower: -threshold,
            upper: threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count,
            index: 0,
        }
    }
}

impl Bucket<f64> {
    /// The part of the bucket's width below `value`, which must lie strictly between finite
    /// bounds.
    ///
    /// Interpolates linearly if `is_linear` (custom buckets, the zero bucket), on a logarithmic
    /// scale otherwise.
    pub fn fraction_below(&self, value: f64, is_linear: bool) -> f64 {
        if is_linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let [lower, upper, at] = [self.lower, self.upper, value].map(|v| log2(v.abs()));
        if value > 0.0 {
            (at - lower) / (upper - lower)
        } else {
            1.0 - (at - upper) / (lower - upper)
        }
    }
}

/// The logarithm to base 2 as Go computes it: exact for powers of two, from the natural one of
/// the mantissa in [0.5, 1) otherwise.
fn log2(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value.log2();
    }
    let normal = if value < f64::MIN_POSITIVE { value * 2_f64.powi(52) } else { value };
    let shift = if value < f64::MIN_POSITIVE { 52.0 } else { 0.0 };
    let bits = normal.to_bits();
    let exponent = (bits >> 52) as f64 - 1022.0 - shift;
    let fraction = f64::from_bits(bits & ((1 << 52) - 1) | 1022 << 52);
    if fraction == 0.5 {
        return exponent - 1.0;
    }
    fraction.ln() * (1.0 / std::f64::consts::LN_2) + exponent
}

impl Histogram {
    /// The positive buckets, or all custom ones, ascending.
    ///
    /// Counts wrap around 64 bits where the differences make no sense.
    pub fn positive_buckets(&self) -> impl Iterator<Item = Bucket<u64>> + '_ {
        counts(&self.positive_spans, &self.positive_buckets).map(|(index, count)| {
            Bucket::at(index, count.cast_unsigned(), true, self.schema, &self.custom_values)
        })
    }

    /// The negative buckets from the zero bucket on, that is descending.
    pub fn negative_buckets(&self) -> impl Iterator<Item = Bucket<u64>> + '_ {
        counts(&self.negative_spans, &self.negative_buckets)
            .map(|(index, count)| Bucket::at(index, count.cast_unsigned(), false, self.schema, &[]))
    }

    /// The zero bucket; none with custom buckets.
    pub fn zero_bucket(&self) -> Option<Bucket<u64>> {
        let zero = || Bucket::zero(self.zero_threshold, self.zero_count);
        (!self.uses_custom_buckets()).then(zero)
    }
}

/// Indexes and counts of buckets that are stored as differences.
fn counts(spans: &[Span], deltas: &[i64]) -> impl Iterator<Item = (i64, i64)> {
    let mut count = 0_i64;
    Indexes::new(spans, deltas.len()).zip(deltas).map(move |(index, &delta)| {
        count = count.wrapping_add(delta);
        (index, count)
    })
}

impl FloatHistogram {
    /// The positive buckets, or all custom ones, ascending.
    pub fn positive_buckets(
        &self,
    ) -> impl DoubleEndedIterator<Item = Bucket<f64>> + ExactSizeIterator + Clone + '_ {
        let indexes = Indexes::new(&self.positive_spans, self.positive_buckets.len());
        let counts = &self.positive_buckets[..indexes.len()];
        indexes
            .zip(counts)
            .map(|(index, &count)| Bucket::at(index, count, true, self.schema, &self.custom_values))
    }

    /// The negative buckets from the zero bucket on, that is descending.
    pub fn negative_buckets(
        &self,
    ) -> impl DoubleEndedIterator<Item = Bucket<f64>> + ExactSizeIterator + Clone + '_ {
        let indexes = Indexes::new(&self.negative_spans, self.negative_buckets.len());
        let counts = &self.negative_buckets[..indexes.len()];
        indexes.zip(counts).map(|(index, &count)| Bucket::at(index, count, false, self.schema, &[]))
    }

    /// The zero bucket; none with custom buckets.
    pub fn zero_bucket(&self) -> Option<Bucket<f64>> {
        let zero = || Bucket::zero(self.zero_threshold, self.zero_count);
        (!self.uses_custom_buckets()).then(zero)
    }

    /// All buckets, ascending; the zero bucket only if it counts anything.
    ///
    /// A bucket that overlaps with the zero bucket is cut at the zero threshold.
    pub fn all_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket<f64>> + Clone + '_ {
        let zero = self.zero_bucket().filter(|zero| zero.count > 0.0);
        let negative = self.negative_buckets().rev().map(|bucket| self.cut_at_zero(bucket));
        let positive = self.positive_buckets().map(|bucket| self.cut_at_zero(bucket));
        negative.chain(zero).chain(positive)
    }

    fn cut_at_zero(&self, mut bucket: Bucket<f64>) -> Bucket<f64> {
        let threshold = self.zero_threshold;
        if bucket.upper < 0.0 && bucket.upper > -threshold {
            bucket.upper = -threshold;
        } else if bucket.lower > 0.0 && bucket.lower < threshold {
            bucket.lower = threshold;
        }
        bucket
    }
}
