//! Quantiles and fractions of classic histograms, whose buckets are series of their own.
//!
//! Counts are cumulative: a bucket holds what lies at or below its bound. Interpolation, and what
//! is done about counts that fall, follow Prometheus (`promql/quantile.go`).

/// A bucket of a classic histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) upper_bound: f64,
    /// Observations at or below the bound.
    pub(crate) count: f64,
}

/// What was raised so that counts do not fall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Raised {
    pub(crate) min_bucket: f64,
    pub(crate) max_bucket: f64,
    pub(crate) max_diff: f64,
}

/// Falls below this part of the counts are rounding errors and not worth telling.
const TOLERANCE: f64 = 1e-12;

/// The `q`-quantile, and what had to be raised. Sorts and merges `buckets`, of which there is at
/// least one.
pub(crate) fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Raised>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if !arrange(buckets) {
        return (f64::NAN, None);
    }
    let raised = ensure_monotonic(buckets);
    (interpolate(q, buckets), raised)
}

/// Quantile of buckets that rise, the last one being infinite.
fn interpolate(q: f64, buckets: &[Bucket]) -> f64 {
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return f64::NAN;
    }
    let mut rank = q * observations;
    // As in Prometheus, counts that are NaN are never enough.
    let is_enough = |bucket: &Bucket| bucket.count >= rank;
    let found = buckets[..last].partition_point(|bucket| !is_enough(bucket));
    let bucket = buckets[found];
    if found == last {
        return buckets[last - 1].upper_bound;
    }
    if found == 0 && bucket.upper_bound <= 0.0 {
        return bucket.upper_bound;
    }
    let (mut start, mut count) = (0.0, bucket.count);
    if let Some(before) = found.checked_sub(1).map(|before| buckets[before]) {
        start = before.upper_bound;
        count -= before.count;
        rank -= before.count;
    }
    start + (bucket.upper_bound - start) * (rank / count)
}

/// The fraction of observations between two bounds. Sorts and merges `buckets`, of which there is
/// at least one.
pub(crate) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !arrange(buckets) {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_below(upper, buckets, count) - rank_below(lower, buckets, count)) / count
}

/// Number of observations below `value`.
fn rank_below(value: f64, buckets: &[Bucket], count: f64) -> f64 {
    let mut rank = 0.0;
    let mut start = if buckets[0].upper_bound <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for bucket in buckets {
        if start >= value {
            return capped(rank, count);
        }
        if bucket.upper_bound > value {
            if start == f64::NEG_INFINITY {
                return capped(bucket.count, count);
            }
            // In the order in which Prometheus rounds.
            let part = (bucket.count - rank) * (value - start) / (bucket.upper_bound - start);
            return capped(rank + part, count);
        }
        rank = bucket.count;
        start = bucket.upper_bound;
    }
    count
}

/// Rounding may make parts exceed the whole.
pub(super) fn capped(rank: f64, count: f64) -> f64 {
    if rank > count { count } else { rank }
}

/// Sorts buckets and adds up those of the same bound; tells whether the last one is infinite.
fn arrange(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|a, b| {
        a.upper_bound.partial_cmp(&b.upper_bound).unwrap_or(std::cmp::Ordering::Equal)
    });
    if buckets.last().is_none_or(|bucket| bucket.upper_bound != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.upper_bound == kept.upper_bound;
        if same {
            kept.count += next.count;
        }
        same
    });
    true
}

/// Raises counts that fall, and tells which, unless it was by rounding errors only.
fn ensure_monotonic(buckets: &mut [Bucket]) -> Option<Raised> {
    let mut raised: Option<Raised> = None;
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count == before {
            continue;
        }
        if almost_equal(before, bucket.count) {
            bucket.count = before;
        } else if bucket.count < before {
            let diff = before - bucket.count;
            bucket.count = before;
            let all = raised.get_or_insert(Raised {
                min_bucket: f64::INFINITY,
                max_bucket: f64::NEG_INFINITY,
                max_diff: 0.0,
            });
            all.min_bucket = all.min_bucket.min(bucket.upper_bound);
            all.max_bucket = all.max_bucket.max(bucket.upper_bound);
            all.max_diff = all.max_diff.max(diff);
        } else {
            before = bucket.count;
        }
    }
    raised
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let (sum, diff) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < TOLERANCE * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < TOLERANCE
}

/// The number in the `le` label of a bucket.
pub(crate) fn parse_bound(label: Option<&str>) -> Option<f64> {
    label?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs.iter().map(|&(upper_bound, count)| Bucket { upper_bound, count }).collect()
    }

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let all = [(1.0, 5.0), (2.0, 10.0), (f64::INFINITY, 10.0)];
        assert_eq!(quantile(0.75, &mut buckets(&all)), (1.5, None));
        assert_eq!(quantile(0.25, &mut buckets(&all)), (0.5, None));
        assert!(quantile(0.5, &mut buckets(&all[..2])).0.is_nan());
        assert_eq!(quantile(2.0, &mut buckets(&all)).0, f64::INFINITY);
    }

    #[test]
    fn falling_counts_are_raised_and_told() {
        let all = [(1.0, 5.0), (2.0, 3.0), (f64::INFINITY, 10.0)];
        let (value, raised) = quantile(0.5, &mut buckets(&all));
        assert_eq!(value, 1.0);
        assert_eq!(raised, Some(Raised { min_bucket: 2.0, max_bucket: 2.0, max_diff: 2.0 }));
        let noise = [(1.0, 1.0), (2.0, 1.0 - 1e-15), (f64::INFINITY, 1.0)];
        assert_eq!(quantile(0.5, &mut buckets(&noise)), (0.5, None));
    }

    #[test]
    fn fractions_lie_between_their_bounds() {
        let all = [(1.0, 5.0), (2.0, 10.0), (f64::INFINITY, 10.0)];
        assert_eq!(fraction(0.5, 1.5, &mut buckets(&all)), 0.5);
        assert_eq!(fraction(f64::NEG_INFINITY, f64::INFINITY, &mut buckets(&all)), 1.0);
        assert_eq!(fraction(2.0, 1.0, &mut buckets(&all)), 0.0);
        assert!(fraction(f64::NAN, 1.0, &mut buckets(&all)).is_nan());
    }
}
