//! From integers to floats, and from finer resolutions to coarser ones.

use super::bounds::{coarser_index, is_custom_buckets_schema};
use super::error::{HistogramError, Side};
use super::span::{Indexes, SpanBuilder};
use super::validate::check_spans;
use super::{FloatHistogram, Histogram, Span};

/// Counts of buckets that are stored as differences. They wrap around 64 bits.
pub(crate) fn to_counts(deltas: &[i64]) -> Vec<i64> {
    let add = |count: &mut i64, &delta: &i64| {
        *count = count.wrapping_add(delta);
        Some(*count)
    };
    deltas.iter().scan(0, add).collect()
}

/// Differences between counts.
pub(crate) fn to_deltas(counts: &[i64]) -> Vec<i64> {
    let subtract = |before: &mut i64, &count: &i64| {
        let delta = count.wrapping_sub(*before);
        *before = count;
        Some(delta)
    };
    counts.iter().scan(0, subtract).collect()
}

/// The sums of differences, added up as floats like in Prometheus.
fn to_float_counts(deltas: &[i64]) -> Vec<f64> {
    let add = |count: &mut f64, &delta: &i64| {
        *count += delta as f64;
        Some(*count)
    };
    deltas.iter().scan(0.0, add).collect()
}

/// A layout of coarser resolution.
pub(super) struct Coarser {
    pub(super) spans: Vec<Span>,
    /// For each bucket of the finer layout the position of the one that it is part of.
    targets: Vec<usize>,
}

impl Coarser {
    /// The layout that `spans`, which cover `n_buckets`, have in the schema `to`.
    pub(super) fn new(spans: &[Span], n_buckets: usize, from: i32, to: i32) -> Self {
        let mut builder = SpanBuilder::default();
        let mut targets = Vec::with_capacity(n_buckets);
        let mut last = None;
        let mut n_targets = 0;
        for index in Indexes::new(spans, n_buckets) {
            let target = coarser_index(index, from, to);
            if last.is_none_or(|last| target > last) {
                builder.push(target);
                n_targets += 1;
                last = Some(target);
            }
            targets.push(n_targets - 1);
        }
        Self { spans: builder.finish(), targets }
    }

    /// Merges buckets: `merge` adds one to the target that it is part of.
    pub(super) fn apply<T: Copy>(&self, buckets: &[T], merge: impl Fn(&mut T, T)) -> Vec<T> {
        let mut merged = Vec::new();
        for (&target, &bucket) in self.targets.iter().zip(buckets) {
            match merged.get_mut(target) {
                Some(sum) => merge(sum, bucket),
                None => merged.push(bucket),
            }
        }
        merged
    }
}

/// Checks that buckets of the schema `from` can be merged to those of the schema `to`.
fn check_resolution(from: i32, to: i32) -> Result<(), HistogramError> {
    if is_custom_buckets_schema(from) || is_custom_buckets_schema(to) || to >= from {
        return Err(HistogramError::Resolution { from, to });
    }
    Ok(())
}

impl Histogram {
    /// Makes a histogram of floats with the same buckets.
    pub fn to_float(&self) -> FloatHistogram {
        let mut float = FloatHistogram {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            count: self.count as f64,
            sum: self.sum,
            positive_spans: self.positive_spans.clone(),
            positive_buckets: to_float_counts(&self.positive_buckets),
            ..FloatHistogram::default()
        };
        if self.uses_custom_buckets() {
            float.custom_values = self.custom_values.clone();
        } else {
            float.zero_threshold = self.zero_threshold;
            float.zero_count = self.zero_count as f64;
            float.negative_spans = self.negative_spans.clone();
            float.negative_buckets = to_float_counts(&self.negative_buckets);
        }
        float
    }

    /// Merges buckets to those of a coarser schema.
    ///
    /// # Errors
    /// [`HistogramError::Resolution`] if `schema` is not coarser or buckets are custom, or what is
    /// wrong with the spans. The histogram is unchanged.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        check_resolution(self.schema, schema)?;
        check_spans(&self.positive_spans, self.positive_buckets.len(), Side::Positive)?;
        check_spans(&self.negative_spans, self.negative_buckets.len(), Side::Negative)?;
        for (spans, buckets) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            let coarser = Coarser::new(spans, buckets.len(), self.schema, schema);
            let add = |sum: &mut i64, count| *sum = sum.wrapping_add(count);
            *buckets = to_deltas(&coarser.apply(&to_counts(buckets), add));
            *spans = coarser.spans;
        }
        self.schema = schema;
        Ok(())
    }
}

impl FloatHistogram {
    /// Merges buckets to those of a coarser schema.
    ///
    /// # Errors
    /// [`HistogramError::Resolution`] if `schema` is not coarser or buckets are custom, or what is
    /// wrong with the spans. The histogram is unchanged.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        check_resolution(self.schema, schema)?;
        self.check_layout()?;
        for (spans, buckets) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            let coarser = Coarser::new(spans, buckets.len(), self.schema, schema);
            *buckets = coarser.apply(buckets, |sum, count| *sum += count);
            *spans = coarser.spans;
        }
        self.schema = schema;
        Ok(())
    }

    /// Makes a copy in a coarser schema, or in its own one. As in Prometheus, a coarser copy does
    /// not know of counter resets.
    ///
    /// # Errors
    /// As [`FloatHistogram::reduce_resolution`].
    pub fn to_schema(&self, schema: i32) -> Result<Self, HistogramError> {
        let mut copy = self.clone();
        if schema != self.schema {
            copy.reduce_resolution(schema)?;
            copy.counter_reset_hint = super::CounterResetHint::Unknown;
        }
        Ok(copy)
    }
}
