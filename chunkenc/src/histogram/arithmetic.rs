//! Adding and subtracting histograms of different resolutions and zero buckets.

use std::sync::Arc;

use super::bounds::{bound, exponential_bound, is_exponential_schema};
use super::convert::Coarser;
use super::error::{HistogramError, Side};
use super::kahan::{self, Counts};
use super::span::{Indexes, SpanBuilder, narrow};
use super::validate::check_spans;
use super::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span, custom_bounds_match};

/// What had to be given up to combine two histograms; queries warn of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// One histogram followed a counter reset, the other one certainly did not.
    pub counter_reset_collision: bool,
    /// Custom bounds differed: only those that both have are left.
    pub custom_bounds: bool,
}

/// Whether the other histogram is added or subtracted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Subtract,
}

impl Operation {
    fn apply(self, value: f64) -> f64 {
        match self {
            Self::Add => value,
            Self::Subtract => -value,
        }
    }
}

/// The buckets of one side, and errors of the counts where they are kept.
struct Buckets<'a> {
    spans: &'a [Span],
    counts: &'a [f64],
    errors: Option<&'a [f64]>,
}

impl FloatHistogram {
    /// Adds count, sum and buckets of another histogram.
    ///
    /// The result has the coarser of both resolutions and a zero bucket that contains both; where
    /// custom bounds differ, those that both histograms have. It may have empty buckets and
    /// adjacent spans, see [`FloatHistogram::compact`].
    ///
    /// # Errors
    /// [`HistogramError::IncompatibleSchemas`] if only one of both has custom buckets, or what is
    /// wrong with the spans. The histogram is unchanged.
    pub fn add(&mut self, other: &Self) -> Result<Reconciled, HistogramError> {
        self.combine(other, Operation::Add, None)
    }

    /// Subtracts count, sum and buckets of another histogram, otherwise like
    /// [`FloatHistogram::add`]. The hint is treated as in an addition; that the difference is a
    /// gauge is for the caller to say.
    ///
    /// # Errors
    /// As [`FloatHistogram::add`].
    pub fn subtract(&mut self, other: &Self) -> Result<Reconciled, HistogramError> {
        self.combine(other, Operation::Subtract, None)
    }

    /// Adds like [`FloatHistogram::add`], and collects what rounding lost in `compensation`, which
    /// begins as [`FloatHistogram::new_compensation`]. Add it to the total in the end.
    ///
    /// # Errors
    /// As [`FloatHistogram::add`].
    ///
    /// # Panics
    /// If `compensation` does not have as many buckets, so that it is not of this histogram.
    pub fn kahan_add(
        &mut self,
        other: &Self,
        compensation: &mut Self,
    ) -> Result<Reconciled, HistogramError> {
        assert_eq!(
            [self.positive_buckets.len(), self.negative_buckets.len()],
            [compensation.positive_buckets.len(), compensation.negative_buckets.len()],
            "a compensation has the buckets of its histogram"
        );
        self.combine(other, Operation::Add, Some(compensation))
    }

    /// A histogram of the same layout without observations, for [`FloatHistogram::kahan_add`].
    pub fn new_compensation(&self) -> Self {
        Self {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            positive_spans: self.positive_spans.clone(),
            negative_spans: self.negative_spans.clone(),
            positive_buckets: vec![0.0; self.positive_buckets.len()],
            negative_buckets: vec![0.0; self.negative_buckets.len()],
            custom_values: self.custom_values.clone(),
            ..Self::default()
        }
    }

    /// Checks that spans do not overlap and cover the buckets there are.
    pub(super) fn check_layout(&self) -> Result<(), HistogramError> {
        check_spans(&self.positive_spans, self.positive_buckets.len(), Side::Positive)?;
        check_spans(&self.negative_spans, self.negative_buckets.len(), Side::Negative)
    }

    fn combine(
        &mut self,
        other: &Self,
        operation: Operation,
        mut compensation: Option<&mut Self>,
    ) -> Result<Reconciled, HistogramError> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(HistogramError::IncompatibleSchemas);
        }
        self.check_layout()?;
        other.check_layout()?;
        let counter_reset_collision = self.adjust_hint(other);
        let (other_zero_count, other_zero_error) = if self.uses_custom_buckets() {
            (0.0, 0.0)
        } else {
            self.reconcile_zero_buckets(other, compensation.as_deref_mut())
        };
        match compensation.as_deref_mut() {
            None => {
                self.zero_count += operation.apply(other_zero_count);
                self.count += operation.apply(other.count);
                self.sum += operation.apply(other.sum);
            }
            Some(errors) => {
                for value in [other_zero_count, other_zero_error] {
                    (self.zero_count, errors.zero_count) =
                        kahan::add(value, self.zero_count, errors.zero_count);
                }
                (self.count, errors.count) = kahan::add(other.count, self.count, errors.count);
                (self.sum, errors.sum) = kahan::add(other.sum, self.sum, errors.sum);
            }
        }
        let custom_bounds = self.uses_custom_buckets()
            && !custom_bounds_match(&self.custom_values, &other.custom_values);
        if custom_bounds {
            self.combine_by_bounds(other, operation, compensation.as_deref_mut());
        } else {
            self.combine_by_index(other, operation, compensation.as_deref_mut());
        }
        if let Some(errors) = compensation {
            errors.counter_reset_hint = self.counter_reset_hint;
            errors.schema = self.schema;
            errors.zero_threshold = self.zero_threshold;
            errors.positive_spans.clone_from(&self.positive_spans);
            errors.negative_spans.clone_from(&self.negative_spans);
            errors.custom_values = self.custom_values.clone();
        }
        Ok(Reconciled { counter_reset_collision, custom_bounds })
    }

    /// Sets the hint of a sum. Tells whether the hints contradict each other.
    fn adjust_hint(&mut self, other: &Self) -> bool {
        use CounterResetHint::{Gauge, Unknown};

        let (own, others) = (self.counter_reset_hint, other.counter_reset_hint);
        let is_collision =
            own != others && ![own, others].iter().any(|h| [Gauge, Unknown].contains(h));
        self.counter_reset_hint = match (own, others) {
            _ if own == others => own,
            (Gauge, _) | (_, Gauge) => Gauge,
            _ => Unknown,
        };
        is_collision
    }

    /// Finds a zero bucket that contains both zero buckets and does not end within a populated
    /// bucket of either histogram. Changes this histogram accordingly and returns the zero count
    /// that the other one would have, and its error.
    fn reconcile_zero_buckets(
        &mut self,
        other: &Self,
        mut compensation: Option<&mut Self>,
    ) -> (f64, f64) {
        let mut others =
            ZeroBucket { count: other.zero_count, threshold: other.zero_threshold, error: 0.0 };
        loop {
            if self.zero_threshold > others.threshold {
                others = other.widened_zero_bucket(self.zero_threshold, None);
            }
            // Also ends what thresholds that are not numbers would keep going.
            if others.threshold > self.zero_threshold {
                let own = self.widened_zero_bucket(others.threshold, compensation.as_deref());
                self.zero_count = own.count;
                self.zero_threshold = own.threshold;
                if let Some(errors) = compensation.as_deref_mut() {
                    errors.zero_count = own.error;
                }
                self.remove_buckets_in_zero_bucket(compensation.as_deref_mut());
            } else {
                return (others.count, others.error);
            }
        }
    }

    /// The zero bucket if its threshold were `threshold`, which must not be smaller than it is.
    /// If that lies within a populated bucket, the threshold becomes that bucket's outer bound.
    pub(super) fn widened_zero_bucket(
        &self,
        threshold: f64,
        compensation: Option<&Self>,
    ) -> ZeroBucket {
        let mut threshold = threshold;
        let mut error = compensation.map_or(0.0, |errors| errors.zero_count);
        if threshold == self.zero_threshold {
            return ZeroBucket { count: self.zero_count, threshold, error };
        }
        'widen: loop {
            let mut zero = ZeroBucket { count: self.zero_count, threshold, error };
            for (position, bucket) in self.positive_buckets().enumerate() {
                if bucket.lower >= zero.threshold {
                    break;
                }
                zero.take(bucket.count, compensation.map(|c| c.positive_buckets[position]));
                if bucket.upper > zero.threshold {
                    if bucket.count != 0.0 {
                        zero.threshold = bucket.upper;
                    }
                    break;
                }
            }
            for (position, bucket) in self.negative_buckets().enumerate() {
                if bucket.upper <= -zero.threshold {
                    break;
                }
                zero.take(bucket.count, compensation.map(|c| c.negative_buckets[position]));
                if bucket.lower < -zero.threshold {
                    if bucket.count != 0.0 {
                        // More of the positive buckets may be within the wider zero bucket.
                        threshold = -bucket.lower;
                        // Prometheus starts over with the counts but not with their error.
                        error = zero.error;
                        continue 'widen;
                    }
                    break;
                }
            }
            return zero;
        }
    }

    /// Removes the buckets within the zero bucket, whose counts are already part of its count.
    fn remove_buckets_in_zero_bucket(&mut self, mut compensation: Option<&mut Self>) {
        let threshold = self.zero_threshold;
        let n_positive = self.positive_buckets().take_while(|b| b.lower < threshold).count();
        let n_negative = self.negative_buckets().take_while(|b| b.upper > -threshold).count();
        for histogram in [Some(&mut *self), compensation.as_deref_mut()].into_iter().flatten() {
            histogram.positive_buckets[..n_positive].fill(0.0);
            histogram.negative_buckets[..n_negative].fill(0.0);
        }
        match compensation {
            Some(errors) => self.compact_with(errors),
            None => self.compact(0),
        }
    }

    /// Combines buckets of the same bounds: by index, in the coarser schema.
    fn combine_by_index(
        &mut self,
        other: &Self,
        operation: Operation,
        compensation: Option<&mut Self>,
    ) {
        let from = self.schema;
        self.schema = from.min(other.schema);
        let mut errors = compensation.map_or([None, None], |errors| {
            [Some(&mut errors.positive_buckets), Some(&mut errors.negative_buckets)]
        });
        let [positive_errors, negative_errors] = &mut errors;
        for (spans, counts, errors, other_spans, other_counts) in [
            (
                &mut self.positive_spans,
                &mut self.positive_buckets,
                positive_errors,
                &other.positive_spans,
                &other.positive_buckets,
            ),
            (
                &mut self.negative_spans,
                &mut self.negative_buckets,
                negative_errors,
                &other.negative_spans,
                &other.negative_buckets,
            ),
        ] {
            if self.schema < from {
                let coarser = Coarser::new(spans, counts.len(), from, self.schema);
                match errors {
                    None => *counts = coarser.apply(counts, |sum, count| *sum += count),
                    Some(errors) => (*counts, **errors) = merge(&coarser, counts, Some(errors)),
                }
                *spans = coarser.spans;
            }
            let mut target = Counts { counts, compensation: errors.as_deref_mut() };
            let threshold = self.zero_threshold;
            let mut add = |buckets: Buckets<'_>| {
                add_buckets(self.schema, threshold, operation, spans, &mut target, &buckets);
            };
            if self.schema < other.schema {
                let n_buckets = other_counts.len();
                let coarser = Coarser::new(other_spans, n_buckets, other.schema, self.schema);
                let (counts, errors) = merge(&coarser, other_counts, None);
                add(Buckets { spans: &coarser.spans, counts: &counts, errors: Some(&errors) });
            } else {
                add(Buckets { spans: other_spans, counts: other_counts, errors: None });
            }
        }
    }

    /// Combines custom buckets of different bounds, leaving the bounds that both have.
    fn combine_by_bounds(
        &mut self,
        other: &Self,
        operation: Operation,
        compensation: Option<&mut Self>,
    ) {
        let common = common_bounds(&self.custom_values, &other.custom_values);
        let mut counts = vec![0.0; common.len() + 1];
        let mut errors = vec![0.0; common.len() + 1];
        let own_errors = compensation.as_ref().map(|c| c.positive_buckets.as_slice());
        for (histogram, operation, own_errors) in
            [(&*self, Operation::Add, own_errors), (other, operation, None)]
        {
            let buckets = &histogram.positive_buckets;
            let mut target = 0;
            let indexes = Indexes::new(&histogram.positive_spans, buckets.len());
            for (position, (index, &count)) in indexes.zip(buckets).enumerate() {
                let upper = bound(narrow(index), CUSTOM_BUCKETS_SCHEMA, &histogram.custom_values);
                while common.get(target).is_some_and(|&bound| bound < upper) {
                    target += 1;
                }
                let (count_at, error_at) = (&mut counts[target], &mut errors[target]);
                let value = operation.apply(count);
                (*count_at, *error_at) = kahan::add(value, *count_at, *error_at);
                if let Some(own_errors) = own_errors {
                    let value = own_errors[position];
                    (*count_at, *error_at) = kahan::add(value, *count_at, *error_at);
                }
            }
        }
        let is_used = |&(at, _): &(usize, f64)| counts[at] != 0.0 || errors[at] != 0.0;
        let mut spans = SpanBuilder::default();
        let used = counts.iter().copied().enumerate().filter(is_used);
        self.positive_buckets = used
            .map(|(at, count)| {
                spans.push(at as i64);
                count
            })
            .collect();
        self.positive_spans = spans.finish();
        self.custom_values = common;
        if let Some(compensation) = compensation {
            let used = errors.iter().copied().enumerate().filter(is_used);
            compensation.positive_buckets = used.map(|(_, error)| error).collect();
        }
    }
}

/// A zero bucket that is being widened.
pub(super) struct ZeroBucket {
    pub(super) count: f64,
    pub(super) threshold: f64,
    error: f64,
}

impl ZeroBucket {
    /// Adds the count of a bucket, and its error if errors are kept.
    fn take(&mut self, count: f64, error: Option<f64>) {
        (self.count, self.error) = kahan::add(count, self.count, self.error);
        if let Some(error) = error {
            (self.count, self.error) = kahan::add(error, self.count, self.error);
        }
    }
}

/// Merges counts and their errors to a coarser layout.
fn merge(coarser: &Coarser, counts: &[f64], errors: Option<&[f64]>) -> (Vec<f64>, Vec<f64>) {
    let error_at = |at| errors.map_or(0.0, |errors: &[f64]| errors[at]);
    let pairs: Vec<_> = (0..counts.len()).map(|at| (counts[at], error_at(at))).collect();
    let merged = coarser.apply(&pairs, |(sum, error), (count, more)| {
        (*sum, *error) = kahan::add(count, *sum, *error);
        (*sum, *error) = kahan::add(more, *sum, *error);
    });
    merged.into_iter().unzip()
}

/// The bounds that are in both ascending lists.
fn common_bounds(a: &[f64], b: &[f64]) -> Arc<[f64]> {
    let mut b = b.iter().peekable();
    let is_common = |bound: &&f64| {
        while b.next_if(|other| other < bound).is_some() {}
        b.peek() == Some(bound)
    };
    a.iter().filter(is_common).copied().collect()
}

/// Adds buckets, or subtracts them, to those of the same schema in `spans` and `target`, and
/// inserts the ones that are missing. Buckets within the zero bucket are left out.
fn add_buckets(
    schema: i32,
    zero_threshold: f64,
    operation: Operation,
    spans: &mut Vec<Span>,
    target: &mut Counts<'_>,
    buckets: &Buckets<'_>,
) {
    let is_within_zero = |index: i64| {
        is_exponential_schema(schema) && exponential_bound(narrow(index), schema) <= zero_threshold
    };
    let mut cursor = Cursor { span: 0, index: 0, position: 0 };
    cursor.index = spans.first().map_or(0, |first| i64::from(first.offset));
    let indexes = Indexes::new(buckets.spans, buckets.counts.len()).enumerate();
    for (at, index) in indexes.skip_while(|&(_, index)| is_within_zero(index)) {
        let value = operation.apply(buckets.counts[at]);
        let error = operation.apply(buckets.errors.map_or(0.0, |errors| errors[at]));
        match cursor.find(spans, index) {
            Ok(position) => target.add(position, value, error),
            Err(position) => {
                target.insert(position, value, error);
                cursor.insert(spans, index);
            }
        }
    }
}

/// A place in a list of spans: a span, the index of its first bucket, and that bucket's position.
struct Cursor {
    span: usize,
    index: i64,
    position: usize,
}

impl Cursor {
    /// The position of the bucket at `index`, or where it would have to be inserted. Moves to the
    /// span that contains it, or the one behind it.
    fn find(&mut self, spans: &[Span], index: i64) -> Result<usize, usize> {
        while let Some(span) = spans.get(self.span) {
            let ahead = usize::try_from(index - self.index);
            match ahead {
                Err(_) => break,
                Ok(ahead) if ahead < span.length as usize => return Ok(self.position + ahead),
                Ok(_) => {}
            }
            self.span += 1;
            self.position += span.length as usize;
            self.index += i64::from(span.length);
            self.index += spans.get(self.span).map_or(0, |next| i64::from(next.offset));
        }
        Err(self.position)
    }

    /// Makes room for the bucket at `index` in front of the span it is at: extends the span
    /// before, or this one, or inserts a span. Moves to the span with the bucket.
    fn insert(&mut self, spans: &mut Vec<Span>, index: i64) {
        // Where the span before ends, from which offsets count.
        let gap = spans.get(self.span).map_or(0, |next| i64::from(next.offset));
        let base = if self.span == 0 { 0 } else { self.index - gap };
        if self.span > 0 && index == base {
            if let Some(next) = spans.get_mut(self.span) {
                next.offset -= 1;
            }
            self.span -= 1;
            let previous = &mut spans[self.span];
            self.index = index - i64::from(previous.length);
            self.position -= previous.length as usize;
            previous.length += 1;
            return;
        }
        match spans.get_mut(self.span) {
            Some(next) if index + 1 == self.index => {
                next.offset -= 1;
                next.length += 1;
            }
            next => {
                if let Some(next) = next {
                    next.offset = narrow(self.index - (index + 1));
                }
                spans.insert(self.span, Span::new(narrow(index - base), 1));
            }
        }
        self.index = index;
    }
}
