//! Whether a histogram makes sense, by the rules and in the order of Prometheus.

use super::error::{HistogramError, Side};
use super::{FloatHistogram, Histogram, Span, bucket_count};
use super::{is_custom_buckets_schema, is_exponential_schema};

/// What the rules for the layout look at: everything but the counts of buckets.
struct Layout<'a> {
    has_zero_count: bool,
    zero_threshold: f64,
    spans: [&'a [Span]; 2],
    n_buckets: [usize; 2],
    custom_values: &'a [f64],
}

impl Layout<'_> {
    fn check_custom(&self) -> Result<(), HistogramError> {
        check_custom_bounds(self.custom_values)?;
        let [positive, negative] = self.spans;
        if let Some((span, &Span { offset, .. })) =
            positive.iter().enumerate().find(|(_, span)| span.offset < 0)
        {
            return Err(HistogramError::SpanOffset { side: Side::Positive, span, offset });
        }
        check_bucket_count(positive, self.n_buckets[0], Side::Positive)?;
        let reach: u64 = positive
            .iter()
            .map(|span| u64::from(span.length) + u64::from(span.offset.unsigned_abs()))
            .sum();
        let found = self.custom_values.len();
        if (found as u64) + 1 < reach {
            return Err(HistogramError::CustomBoundsTooFew { needed: reach, found });
        }
        if self.has_zero_count {
            return Err(HistogramError::CustomZeroCount);
        }
        if self.zero_threshold != 0.0 {
            return Err(HistogramError::CustomZeroThreshold);
        }
        if !negative.is_empty() {
            return Err(HistogramError::CustomNegativeSpans);
        }
        if self.n_buckets[1] > 0 {
            return Err(HistogramError::CustomNegativeBuckets);
        }
        Ok(())
    }

    fn check_spans(&self) -> Result<(), HistogramError> {
        let [positive, negative] = self.spans;
        check_spans(positive, self.n_buckets[0], Side::Positive)?;
        check_spans(negative, self.n_buckets[1], Side::Negative)
    }
}

/// Checks that spans do not overlap and cover `found` buckets.
pub(crate) fn check_spans(spans: &[Span], found: usize, side: Side) -> Result<(), HistogramError> {
    for (span, &Span { offset, .. }) in spans.iter().enumerate().skip(1) {
        if offset < 0 {
            return Err(HistogramError::SpanOffset { side, span, offset });
        }
    }
    check_bucket_count(spans, found, side)
}

fn check_bucket_count(spans: &[Span], found: usize, side: Side) -> Result<(), HistogramError> {
    let needed = bucket_count(spans);
    if needed == found as u64 {
        Ok(())
    } else {
        Err(HistogramError::SpansBucketsMismatch { side, needed, found })
    }
}

fn check_custom_bounds(bounds: &[f64]) -> Result<(), HistogramError> {
    for (index, &bound) in bounds.iter().enumerate() {
        if bound.is_nan() {
            return Err(HistogramError::CustomBoundNan { index });
        }
        if index > 0 && bound <= bounds[index - 1] {
            return Err(HistogramError::CustomBoundsOrder { index });
        }
    }
    match bounds.last() {
        Some(&f64::INFINITY) => Err(HistogramError::CustomBoundInfinite),
        _ => Ok(()),
    }
}

/// Checks counts that are stored as differences, and adds them up.
fn check_deltas(deltas: &[i64], side: Side) -> Result<u64, HistogramError> {
    let mut count = 0_i64;
    let mut total = 0_u64;
    for (bucket, &delta) in deltas.iter().enumerate() {
        count = count.wrapping_add(delta);
        match u64::try_from(count) {
            Ok(count) => total = total.wrapping_add(count),
            Err(_) => return Err(HistogramError::NegativeBucketCount { side, bucket }),
        }
    }
    Ok(total)
}

fn check_counts(counts: &[f64], side: Side) -> Result<(), HistogramError> {
    match counts.iter().position(|&count| count < 0.0) {
        Some(bucket) => Err(HistogramError::NegativeBucketCount { side, bucket }),
        None => Ok(()),
    }
}

impl Histogram {
    /// Checks that spans, buckets, counts and bounds fit together.
    ///
    /// The count must be the sum over all buckets; if the sum of observations is not a number, it
    /// may be more, for such observations are in no bucket.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), HistogramError> {
        let layout = self.layout();
        let mut found = self.zero_count;
        if is_custom_buckets_schema(self.schema) {
            layout.check_custom()?;
        } else if is_exponential_schema(self.schema) {
            layout.check_spans()?;
            let negative = check_deltas(&self.negative_buckets, Side::Negative)?;
            found = found.wrapping_add(negative);
            if !self.custom_values.is_empty() {
                return Err(HistogramError::ExponentialCustomBounds);
            }
        } else {
            return Err(HistogramError::InvalidSchema { schema: self.schema });
        }
        let positive = check_deltas(&self.positive_buckets, Side::Positive)?;
        found = found.wrapping_add(positive);
        let count = self.count;
        if self.sum.is_nan() {
            if found > count {
                return Err(HistogramError::CountNotBigEnough { count, found });
            }
        } else if found != count {
            return Err(HistogramError::CountMismatch { count, found });
        }
        Ok(())
    }

    fn layout(&self) -> Layout<'_> {
        Layout {
            has_zero_count: self.zero_count != 0,
            zero_threshold: self.zero_threshold,
            spans: [&self.positive_spans, &self.negative_spans],
            n_buckets: [self.positive_buckets.len(), self.negative_buckets.len()],
            custom_values: &self.custom_values,
        }
    }
}

impl FloatHistogram {
    /// Checks that spans, buckets and bounds fit together and that no count is negative.
    ///
    /// The count is not compared with the buckets, because adding floats is not exact.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), HistogramError> {
        let layout = self.layout();
        if is_custom_buckets_schema(self.schema) {
            layout.check_custom()?;
        } else if is_exponential_schema(self.schema) {
            layout.check_spans()?;
            check_counts(&self.negative_buckets, Side::Negative)?;
            if self.zero_count < 0.0 {
                return Err(HistogramError::NegativeZeroCount);
            }
            if !self.custom_values.is_empty() {
                return Err(HistogramError::ExponentialCustomBounds);
            }
        } else {
            return Err(HistogramError::InvalidSchema { schema: self.schema });
        }
        if self.count < 0.0 {
            return Err(HistogramError::NegativeCount);
        }
        check_counts(&self.positive_buckets, Side::Positive)
    }

    fn layout(&self) -> Layout<'_> {
        Layout {
            has_zero_count: self.zero_count != 0.0,
            zero_threshold: self.zero_threshold,
            spans: [&self.positive_spans, &self.negative_spans],
            n_buckets: [self.positive_buckets.len(), self.negative_buckets.len()],
            custom_values: &self.custom_values,
        }
    }
}
