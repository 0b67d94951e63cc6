//! Whether a counter was reset between two histograms.

use super::bounds::coarser_index;
use super::bounds::{custom_bounds_match, exponential_bound, is_exponential_schema};
use super::span::{Indexes, narrow};
use super::{Bucket, CounterResetHint, FloatHistogram, Span};

impl FloatHistogram {
    /// Tells whether the counter was reset between `previous` and this histogram: whether any
    /// count became smaller or a populated bucket disappeared. The sum is not looked at.
    ///
    /// A hint that says either way is believed. A finer resolution or a smaller zero threshold is
    /// a reset; a coarser resolution or a larger threshold is made up for, unless the threshold
    /// divides a populated bucket. Custom buckets of other bounds are compared at the bounds that
    /// both have.
    ///
    /// Prometheus 3.14 looks at no bucket behind an empty one that disappeared if no later bucket
    /// is left; here all are looked at.
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() {
            if !previous.uses_custom_buckets() {
                return true;
            }
            if !custom_bounds_match(&self.custom_values, &previous.custom_values) {
                return self.detect_reset_at_common_bounds(previous);
            }
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let zero = previous.widened_zero_bucket(self.zero_threshold, None);
        if zero.threshold != self.zero_threshold || self.zero_count < zero.count {
            return true;
        }
        let own = [
            (&self.positive_spans, &self.positive_buckets),
            (&self.negative_spans, &self.negative_buckets),
        ];
        let others = [
            (&previous.positive_spans, &previous.positive_buckets),
            (&previous.negative_spans, &previous.negative_buckets),
        ];
        own.into_iter().zip(others).any(|((spans, counts), (other_spans, other_counts))| {
            let outside = |(index, _): &(i64, f64)| {
                is_exponential_schema(self.schema)
                    && self.zero_threshold != 0.0
                    && exponential_bound(narrow(*index), self.schema) <= self.zero_threshold
            };
            let own = merged(spans, counts, self.schema, self.schema).skip_while(outside);
            let others = merged(other_spans, other_counts, previous.schema, self.schema);
            is_reset(own, others.skip_while(outside))
        })
    }

    fn detect_reset_at_common_bounds(&self, previous: &Self) -> bool {
        let mut own = self.positive_buckets().peekable();
        let mut others = previous.positive_buckets().peekable();
        let infinity = [f64::INFINITY];
        let mut bounds = self.custom_values.iter().chain(&infinity).peekable();
        let mut other_bounds = previous.custom_values.iter().chain(&infinity).peekable();
        while let (Some(&bound), Some(other_bound)) = (bounds.peek(), other_bounds.peek()) {
            if bound == *other_bound {
                if count_up_to(*bound, &mut own) < count_up_to(*bound, &mut others) {
                    return true;
                }
                bounds.next();
                other_bounds.next();
            } else if bound < *other_bound {
                bounds.next();
            } else {
                other_bounds.next();
            }
        }
        false
    }
}

/// Counts of the buckets that end at `bound` or below, and were not passed yet.
fn count_up_to(
    bound: f64,
    buckets: &mut std::iter::Peekable<impl Iterator<Item = Bucket<f64>>>,
) -> f64 {
    let mut count = 0.0;
    while let Some(bucket) = buckets.next_if(|bucket| bucket.upper <= bound) {
        count += bucket.count;
    }
    count
}

/// Indexes and counts of buckets in a schema that is not finer than theirs.
fn merged(spans: &[Span], counts: &[f64], from: i32, to: i32) -> impl Iterator<Item = (i64, f64)> {
    let coarser = move |(index, &count): (i64, &f64)| (coarser_index(index, from, to), count);
    let mut buckets = Indexes::new(spans, counts.len()).zip(counts).map(coarser).peekable();
    std::iter::from_fn(move || {
        let (index, mut sum) = buckets.next()?;
        while let Some((_, count)) = buckets.next_if(|&(next, _)| next == index) {
            sum += count;
        }
        Some((index, sum))
    })
}

/// Tells whether a bucket of `previous` counted more, or counted anything and is gone.
fn is_reset(
    current: impl Iterator<Item = (i64, f64)>,
    mut previous: impl Iterator<Item = (i64, f64)>,
) -> bool {
    let mut current = current.peekable();
    previous.any(|(index, count)| {
        while current.next_if(|&(at, _)| at < index).is_some() {}
        match current.peek() {
            Some(&(at, now)) if at == index => now < count,
            _ => count != 0.0,
        }
    })
}
