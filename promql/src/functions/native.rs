//! What is read off native histograms: quantiles, fractions, variances; and how two are combined.
//!
//! Interpolation follows Prometheus (`promql/quantile.go`): linear within custom buckets and the
//! zero bucket, exponential within all others. Buckets themselves are the business of
//! [`ferula_chunkenc::histogram`].

use ferula_chunkenc::histogram::{Bucket, FloatHistogram, HistogramError, Reconciled};

use super::histogram::capped;
use super::sum::Sum;

/// One histogram has exponential buckets and the other custom ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incompatible;

/// What had to be done to combine two histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Combined {
    /// One says that it follows a counter reset, the other that it does not.
    pub(crate) collision: bool,
    /// Custom buckets had different bounds.
    pub(crate) reconciled: bool,
}

impl From<HistogramError> for Incompatible {
    fn from(_: HistogramError) -> Self {
        // Samples were validated, so that nothing else can be wrong.
        Self
    }
}

impl From<Reconciled> for Combined {
    fn from(found: Reconciled) -> Self {
        Self { collision: found.counter_reset_collision, reconciled: found.custom_bounds }
    }
}

/// Adds `other` to `total`.
pub(crate) fn add(
    total: &mut FloatHistogram,
    other: &FloatHistogram,
) -> Result<Combined, Incompatible> {
    Ok(total.add(other)?.into())
}

/// Subtracts `other` from `total`.
pub(crate) fn sub(
    total: &mut FloatHistogram,
    other: &FloatHistogram,
) -> Result<Combined, Incompatible> {
    Ok(total.subtract(other)?.into())
}

/// A number that describes a whole histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Avg,
    Count,
    Sum,
    Stddev,
    Stdvar,
}

impl Measure {
    pub(crate) fn of(self, histogram: &FloatHistogram) -> f64 {
        match self {
            Self::Avg => histogram.sum / histogram.count,
            Self::Count => histogram.count,
            Self::Sum => histogram.sum,
            Self::Stddev => variance(histogram).sqrt(),
            Self::Stdvar => variance(histogram),
        }
    }
}

/// What observations that are NaN do to a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NanEffect {
    /// The result is NaN too.
    Result,
    /// They count as if they were above all others, or not at all.
    Skew,
}

/// The `q`-quantile.
pub(crate) fn quantile(q: f64, histogram: &FloatHistogram) -> (f64, Option<NanEffect>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    // Buckets are counted from the end that is nearer. NaNs are in none, and count as the
    // largest observations, so that with any of them it must be the lower end.
    let has_nan = histogram.sum.is_nan();
    if has_nan || q < 0.5 {
        let rank = q * histogram.count;
        let mut buckets = histogram.all_buckets();
        let (found, reached) = find(&mut buckets, rank);
        let in_buckets = |reached| buckets.fold(reached, |sum, bucket| sum + bucket.count);
        place(histogram, found, reached, rank, true, in_buckets)
    } else {
        let rank = (1.0 - q) * histogram.count;
        let (found, reached) = find(&mut histogram.all_buckets().rev(), rank);
        place(histogram, found, reached, rank, false, |_| 0.0)
    }
}

/// The first bucket at which a number of observations is reached, and the number there.
fn find(buckets: &mut impl Iterator<Item = Bucket<f64>>, rank: f64) -> (Option<Bucket<f64>>, f64) {
    let (mut found, mut reached) = (None, 0.0);
    for bucket in buckets {
        found = Some(bucket);
        reached += bucket.count;
        if bucket.count != 0.0 && reached >= rank {
            break;
        }
    }
    (found, reached)
}

/// The place of an observation within its bucket.
fn place(
    histogram: &FloatHistogram,
    bucket: Option<Bucket<f64>>,
    reached: f64,
    rank: f64,
    from_below: bool,
    in_buckets: impl FnOnce(f64) -> f64,
) -> (f64, Option<NanEffect>) {
    let (mut lower, mut upper, count) =
        bucket.map_or((0.0, 0.0, 0.0), |bucket| (bucket.lower, bucket.upper, bucket.count));
    let custom = histogram.uses_custom_buckets();
    if custom {
        if lower == f64::NEG_INFINITY {
            if upper <= 0.0 {
                return (upper, None);
            }
            lower = 0.0;
        } else if upper == f64::INFINITY {
            return (lower, None);
        }
    } else if lower < 0.0 && upper > 0.0 {
        (lower, upper) = narrowed(histogram, lower, upper);
    }
    // Rounding may make buckets hold more than there is.
    let reached = if reached > histogram.count { histogram.count } else { reached };
    let has_nan = histogram.sum.is_nan();
    if reached < rank {
        return if has_nan { (f64::NAN, Some(NanEffect::Result)) } else { (upper, None) };
    }
    let rank = if from_below { rank - (reached - count) } else { reached - rank };
    let effect = (has_nan && in_buckets(reached) < histogram.count).then_some(NanEffect::Skew);
    let fraction = rank / count;
    if custom || (lower <= 0.0 && upper >= 0.0) {
        return (lower + (upper - lower) * fraction, effect);
    }
    let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
    let value = if lower > 0.0 {
        (log_lower + (log_upper - log_lower) * fraction).exp2()
    } else {
        -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
    };
    (value, effect)
}

/// The zero bucket, without the half in which there can be nothing.
fn narrowed(histogram: &FloatHistogram, lower: f64, upper: f64) -> (f64, f64) {
    let has_negative = !histogram.negative_buckets.is_empty();
    let has_positive = !histogram.positive_buckets.is_empty();
    match (has_negative, has_positive) {
        (false, true) => (0.0, upper),
        (true, false) => (lower, 0.0),
        _ => (lower, upper),
    }
}

/// The fraction of observations between two bounds.
pub(crate) fn fraction(
    lower: f64,
    upper: f64,
    histogram: &FloatHistogram,
) -> (f64, Option<NanEffect>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let (mut ranks, mut rank) = ([None; 2], 0.0);
    for mut bucket in histogram.all_buckets() {
        let is_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if is_zero {
            (bucket.lower, bucket.upper) = narrowed(histogram, bucket.lower, bucket.upper);
        }
        let is_linear = histogram.uses_custom_buckets() || is_zero;
        for (value, found) in [lower, upper].into_iter().zip(&mut ranks) {
            if found.is_none() {
                *found = rank_within(&bucket, value, rank, is_linear);
            }
        }
        if ranks.iter().all(Option::is_some) {
            break;
        }
        rank += bucket.count;
    }
    let (mut count, mut effect) = (histogram.count, None);
    if histogram.sum.is_nan() {
        count = histogram.all_buckets().map(|bucket| bucket.count).sum();
        effect = (count < histogram.count).then_some(NanEffect::Skew);
    }
    let [below_lower, below_upper] =
        ranks.map(|rank| rank.map_or(count, |rank| capped(rank, count)));
    ((below_upper - below_lower) / histogram.count, effect)
}

/// Number of observations below `value`, if it lies in front of the end of the bucket, before which
/// there are `rank`.
fn rank_within(bucket: &Bucket<f64>, value: f64, rank: f64, is_linear: bool) -> Option<f64> {
    if bucket.lower >= value {
        return Some(rank);
    }
    if bucket.upper > value {
        if is_linear && bucket.lower == f64::NEG_INFINITY {
            return Some(bucket.count);
        }
        return Some(rank + bucket.count * bucket.fraction_below(value, is_linear));
    }
    None
}

/// Population variance, with all observations of a bucket at one place in it.
fn variance(histogram: &FloatHistogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut squares = Sum::default();
    for bucket in histogram.all_buckets().filter(|bucket| bucket.count != 0.0) {
        let at = if histogram.uses_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let at = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -at } else { at }
        };
        let delta = at - mean;
        squares.add(bucket.count * delta * delta);
    }
    squares.total() / histogram.count
}

#[cfg(test)]
mod tests {
    use ferula_chunkenc::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

    use super::*;

    /// Buckets that end at 1, 2 and 4.
    fn exponential(buckets: &[f64]) -> FloatHistogram {
        FloatHistogram {
            count: buckets.iter().sum(),
            positive_spans: vec![Span::new(0, u32::try_from(buckets.len()).unwrap())],
            positive_buckets: buckets.to_vec(),
            ..FloatHistogram::default()
        }
    }

    fn custom(bounds: &[f64], buckets: &[f64]) -> FloatHistogram {
        let custom_values = bounds.into();
        FloatHistogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_values, ..exponential(buckets) }
    }

    #[test]
    fn quantiles_are_interpolated_by_the_kind_of_bucket() {
        let histogram = exponential(&[1.0, 2.0, 1.0]);
        assert!((quantile(0.5, &histogram).0 - 2_f64.sqrt()).abs() < 1e-12);
        assert_eq!(quantile(1.0, &histogram), (4.0, None));
        assert_eq!(quantile(-0.1, &histogram).0, f64::NEG_INFINITY);
        assert_eq!(quantile(1.1, &histogram).0, f64::INFINITY);
        assert!(quantile(0.5, &FloatHistogram::default()).0.is_nan());
        let histogram = custom(&[2.0, 4.0], &[1.0, 2.0, 1.0]);
        assert_eq!(quantile(0.5, &histogram).0, 3.0);
        assert_eq!(quantile(0.125, &histogram).0, 1.0);
        assert_eq!(quantile(0.9, &histogram).0, 4.0);
    }

    #[test]
    fn the_zero_bucket_reaches_where_observations_can_be() {
        let mut histogram = exponential(&[2.0]);
        (histogram.zero_threshold, histogram.zero_count, histogram.count) = (0.5, 2.0, 4.0);
        assert_eq!(quantile(0.25, &histogram).0, 0.25);
        assert_eq!(fraction(0.25, 0.5, &histogram).0, 0.25);
        assert_eq!(fraction(-1.0, 0.0, &histogram).0, 0.0);
    }

    #[test]
    fn fractions_lie_between_their_bounds() {
        let histogram = exponential(&[1.0, 2.0, 1.0]);
        assert_eq!(fraction(1.0, 2.0, &histogram), (0.5, None));
        assert_eq!(fraction(f64::NEG_INFINITY, f64::INFINITY, &histogram).0, 1.0);
        assert_eq!(fraction(2.0, 1.0, &histogram).0, 0.0);
        assert!(fraction(f64::NAN, 1.0, &histogram).0.is_nan());
        assert!((fraction(1.0, 2_f64.sqrt(), &histogram).0 - 0.25).abs() < 1e-12);
    }

    #[test]
    fn observations_that_are_nan_are_told() {
        let mut histogram = exponential(&[1.0, 2.0, 1.0]);
        (histogram.count, histogram.sum) = (8.0, f64::NAN);
        assert_eq!(quantile(0.25, &histogram).1, Some(NanEffect::Skew));
        let (value, effect) = quantile(0.9, &histogram);
        assert!(value.is_nan());
        assert_eq!(effect, Some(NanEffect::Result));
        assert_eq!(fraction(1.0, 2.0, &histogram), (0.25, Some(NanEffect::Skew)));
    }

    #[test]
    fn variances_put_observations_in_the_middle_of_their_buckets() {
        let mut histogram = custom(&[0.0, 2.0, 4.0], &[0.0, 1.0, 1.0]);
        histogram.sum = 4.0;
        assert_eq!(Measure::Stdvar.of(&histogram), 1.0);
        assert_eq!(Measure::Stddev.of(&histogram), 1.0);
        assert_eq!(Measure::Avg.of(&histogram), 2.0);
    }
}
