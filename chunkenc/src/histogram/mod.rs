//! Native histograms: sparse buckets of a resolution that fits the data.
//!
//! [`Histogram`] counts in integers and is what targets expose; [`FloatHistogram`] counts in
//! floats and is what queries compute with. Types, rules and results are those of Prometheus
//! (`model/histogram`), including the bits of computed floats; where this crate departs from it,
//! the method says so. Interpolating quantiles is the query engine's business.

mod arithmetic;
mod bounds;
mod bucket;
mod compact;
mod convert;
mod error;
mod float;
mod kahan;
mod reset;
mod span;
mod text;
mod trim;
mod validate;

use std::sync::Arc;

pub use arithmetic::Reconciled;
pub use bounds::{
    CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MAX_RESERVED,
    EXPONENTIAL_SCHEMA_MIN, EXPONENTIAL_SCHEMA_MIN_RESERVED, bound, custom_bounds_match,
    exponential_bound, is_custom_buckets_schema, is_exponential_schema, is_known_schema,
    is_valid_schema,
};
pub use bucket::Bucket;
pub(crate) use convert::{to_counts, to_deltas};
pub use error::{HistogramError, Side};
pub use float::FloatHistogram;
pub(crate) use span::{Indexes, SpanBuilder};
pub use span::{Span, bucket_count, spans_match};
pub use trim::Trim;
pub(crate) use validate::check_spans;

/// What is known about a counter reset between a histogram and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterResetHint {
    /// Nothing: the buckets must be compared.
    #[default]
    Unknown,
    /// There was a reset in front of this histogram.
    Reset,
    /// There was none.
    NotReset,
    /// The histogram is a gauge, for which resets have no meaning.
    Gauge,
}

/// A histogram of integer counts.
///
/// Buckets are lists of differences: the first element is a count, each other one the difference
/// to the count before it. Which bucket indexes they stand for is said by the spans. The fields
/// may hold anything; [`Histogram::validate`] tells whether they make sense.
///
/// ```
/// use ferula_chunkenc::histogram::{Histogram, Span};
///
/// let histogram = Histogram {
///     count: 6,
///     sum: 12.5,
///     positive_spans: vec![Span::new(0, 2), Span::new(1, 1)],
///     positive_buckets: vec![1, 1, 1],
///     ..Histogram::default()
/// };
/// histogram.validate()?;
/// assert_eq!(histogram.to_string(), "{count:6, sum:12.5, (0.5,1]:1, (1,2]:2, (4,8]:3}");
/// # Ok::<(), ferula_chunkenc::histogram::HistogramError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// What is known about a counter reset.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution: −4 to 8 for exponential buckets, −53 for custom ones.
    pub schema: i32,
    /// Upper bound, by absolute value, of observations in the zero bucket.
    pub zero_threshold: f64,
    /// Number of observations in the zero bucket.
    pub zero_count: u64,
    /// Number of observations.
    pub count: u64,
    /// Sum of observations; also where a staleness marker stands.
    pub sum: f64,
    /// Which positive buckets there are.
    pub positive_spans: Vec<Span>,
    /// Which negative buckets there are.
    pub negative_spans: Vec<Span>,
    /// Counts of positive buckets, as differences.
    pub positive_buckets: Vec<i64>,
    /// Counts of negative buckets, as differences.
    pub negative_buckets: Vec<i64>,
    /// Upper bounds of custom buckets, ascending; empty for exponential schemas.
    pub custom_values: Arc<[f64]>,
}

impl Histogram {
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
            + size_of::<i64>() * (self.positive_buckets.len() + self.negative_buckets.len())
            + size_of::<f64>() * self.custom_values.len()
    }

    /// Tells whether both hold the same data, as Prometheus's `Equals` does: the same buckets,
    /// empty ones included, with the same counts, and a sum of the same bits. Hints are not
    /// compared, nor is how empty spans divide a gap.
    pub fn equals(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.count == other.count
            && self.sum.to_bits() == other.sum.to_bits()
            && (!self.uses_custom_buckets()
                || custom_bounds_match(&self.custom_values, &other.custom_values))
            && self.zero_threshold == other.zero_threshold
            && self.zero_count == other.zero_count
            && spans_match(&self.negative_spans, &other.negative_spans)
            && self.negative_buckets == other.negative_buckets
            && spans_match(&self.positive_spans, &other.positive_spans)
            && self.positive_buckets == other.positive_buckets
    }
}

/// All fields alike, floats by their bits. See [`Histogram::equals`] for the same data.
impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        self.counter_reset_hint == other.counter_reset_hint
            && self.schema == other.schema
            && self.zero_threshold.to_bits() == other.zero_threshold.to_bits()
            && self.zero_count == other.zero_count
            && self.count == other.count
            && self.sum.to_bits() == other.sum.to_bits()
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && self.positive_buckets == other.positive_buckets
            && self.negative_buckets == other.negative_buckets
            && same_bits(&self.custom_values, &other.custom_values)
    }
}

impl Eq for Histogram {}

/// Tells whether two lists of floats have the same bits.
fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.iter().map(|value| value.to_bits()).eq(b.iter().map(|value| value.to_bits()))
}
