//! Histograms that count in floats, and what needs no module of its own.

use std::sync::Arc;

use super::{CounterResetHint, Span, custom_bounds_match, is_custom_buckets_schema, same_bits};
use super::{bucket_count, spans_match};

/// A histogram of float counts: what queries compute with.
///
/// Buckets hold counts, not differences as those of a [`Histogram`](super::Histogram) do.
///
/// ```
/// use ferula_chunkenc::histogram::{FloatHistogram, Span};
///
/// let mut total = FloatHistogram {
///     schema: 1,
///     count: 3.0,
///     sum: 4.0,
///     positive_spans: vec![Span::new(1, 2)],
///     positive_buckets: vec![1.0, 2.0],
///     ..FloatHistogram::default()
/// };
/// let coarser = FloatHistogram { schema: 0, ..total.clone() };
/// total.add(&coarser)?;
/// assert_eq!(total.to_string(), "{count:6, sum:8, (1,2]:4, (2,4]:2}");
/// # Ok::<(), ferula_chunkenc::histogram::HistogramError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct FloatHistogram {
    /// What is known about a counter reset.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution: −4 to 8 for exponential buckets, −53 for custom ones.
    pub schema: i32,
    /// Upper bound, by absolute value, of observations in the zero bucket.
    pub zero_threshold: f64,
    /// Number of observations in the zero bucket.
    pub zero_count: f64,
    /// Number of observations.
    pub count: f64,
    /// Sum of observations; also where a staleness marker stands.
    pub sum: f64,
    /// Which positive buckets there are.
    pub positive_spans: Vec<Span>,
    /// Which negative buckets there are.
    pub negative_spans: Vec<Span>,
    /// Counts of positive buckets.
    pub positive_buckets: Vec<f64>,
    /// Counts of negative buckets.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of custom buckets, ascending; empty for exponential schemas.
    pub custom_values: Arc<[f64]>,
}

impl FloatHistogram {
    /// Tells whether the buckets have bounds of their own.
    pub fn uses_custom_buckets(&self) -> bool {
        is_custom_buckets_schema(self.schema)
    }

    /// Tells whether this is a staleness marker.
    pub fn is_stale(&self) -> bool {
        crate::stale::is_stale(self.sum)
    }

    /// Bytes that the histogram occupies, lists included; shared bounds count in full.
    pub fn size_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of::<Span>() * (self.positive_spans.len() + self.negative_spans.len())
            + size_of::<f64>() * (self.positive_buckets.len() + self.negative_buckets.len())
            + size_of::<f64>() * self.custom_values.len()
    }

    /// Number of buckets that the spans cover, the zero bucket not included.
    pub fn bucket_count(&self) -> u64 {
        bucket_count(&self.positive_spans) + bucket_count(&self.negative_spans)
    }

    /// Tells whether a count, the sum or a custom bound is infinite.
    pub fn has_overflow(&self) -> bool {
        let lists = [&self.positive_buckets[..], &self.negative_buckets, &self.custom_values];
        [self.zero_count, self.count, self.sum].iter().any(|value| value.is_infinite())
            || lists.into_iter().flatten().any(|value| value.is_infinite())
    }

    /// Multiplies all counts and the sum. A negative factor makes the histogram a gauge.
    pub fn multiply(&mut self, factor: f64) {
        self.for_each_number(|value| *value *= factor);
        if factor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Divides all counts and the sum. A negative divisor makes the histogram a gauge; zero
    /// removes all buckets but the zero bucket.
    pub fn divide(&mut self, divisor: f64) {
        self.for_each_number(|value| *value /= divisor);
        if divisor == 0.0 {
            self.positive_buckets.clear();
            self.negative_buckets.clear();
            self.positive_spans.clear();
            self.negative_spans.clear();
        } else if divisor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    fn for_each_number(&mut self, change: impl FnMut(&mut f64)) {
        let totals = [&mut self.zero_count, &mut self.count, &mut self.sum];
        let buckets = self.positive_buckets.iter_mut().chain(&mut self.negative_buckets);
        totals.into_iter().chain(buckets).for_each(change);
    }

    /// Tells whether both hold the same data, as Prometheus's `Equals` does: the same buckets,
    /// empty ones included, with counts and sum of the same bits. Hints are not compared, nor is
    /// how empty spans divide a gap.
    pub fn equals(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && (!self.uses_custom_buckets()
                || custom_bounds_match(&self.custom_values, &other.custom_values))
            && self.zero_threshold == other.zero_threshold
            && self.zero_count.to_bits() == other.zero_count.to_bits()
            && spans_match(&self.negative_spans, &other.negative_spans)
            && same_bits(&self.negative_buckets, &other.negative_buckets)
            && spans_match(&self.positive_spans, &other.positive_spans)
            && same_bits(&self.positive_buckets, &other.positive_buckets)
    }
}

/// All fields alike, floats by their bits. See [`FloatHistogram::equals`] for the same data.
impl PartialEq for FloatHistogram {
    fn eq(&self, other: &Self) -> bool {
        self.counter_reset_hint == other.counter_reset_hint
            && self.schema == other.schema
            && self.zero_threshold.to_bits() == other.zero_threshold.to_bits()
            && self.zero_count.to_bits() == other.zero_count.to_bits()
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && same_bits(&self.positive_buckets, &other.positive_buckets)
            && same_bits(&self.negative_buckets, &other.negative_buckets)
            && same_bits(&self.custom_values, &other.custom_values)
    }
}

impl Eq for FloatHistogram {}
