//! Cutting off the observations above or below a value.

use super::{Bucket, FloatHistogram};

/// Which observations are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// Those below the value, PromQL's `</`.
    KeepBelow,
    /// Those above the value, PromQL's `>/`.
    KeepAbove,
}

/// How the observations of a bucket are taken to be distributed.
#[derive(Clone, Copy)]
struct Distribution {
    is_linear: bool,
    is_positive: bool,
}

impl Distribution {
    /// Where the observations between two bounds are taken to be.
    fn midpoint(self, lower: f64, upper: f64) -> f64 {
        match (lower.is_infinite(), upper.is_infinite()) {
            (true, true) => return 0.0,
            (true, false) => return if upper > 0.0 { upper / 2.0 } else { upper },
            (false, true) => return lower,
            (false, false) => {}
        }
        if self.is_linear {
            return (lower + upper) / 2.0;
        }
        let mean = (lower * upper).abs().sqrt();
        if self.is_positive { mean } else { -mean }
    }
}

impl Trim {
    fn keeps_all_of(self, bucket: &Bucket<f64>, value: f64) -> bool {
        match self {
            Self::KeepBelow => bucket.upper <= value,
            Self::KeepAbove => bucket.lower >= value,
        }
    }

    fn divides(self, bucket: &Bucket<f64>, value: f64) -> bool {
        match self {
            Self::KeepBelow => bucket.lower < value,
            Self::KeepAbove => bucket.upper > value,
        }
    }

    /// What is left of a bucket that contains the value: count and midpoint.
    fn part_of(self, bucket: &Bucket<f64>, value: f64, spread: Distribution) -> (f64, f64) {
        if bucket.lower == f64::NEG_INFINITY {
            return self.part_of_lowest(bucket, value);
        }
        if bucket.upper == f64::INFINITY {
            return self.part_of_highest(bucket, value);
        }
        let below = if value <= bucket.lower {
            0.0
        } else if value >= bucket.upper {
            bucket.count
        } else {
            bucket.count * bucket.fraction_below(value, spread.is_linear)
        };
        match self {
            Self::KeepBelow => (below, spread.midpoint(bucket.lower, value)),
            Self::KeepAbove => (bucket.count - below, spread.midpoint(value, bucket.upper)),
        }
    }

    /// A bucket without a lower bound begins at zero if it ends above; otherwise nothing is known
    /// of how it divides.
    fn part_of_lowest(self, bucket: &Bucket<f64>, value: f64) -> (f64, f64) {
        let Bucket { count, upper, .. } = *bucket;
        let unknown = (0.0, if upper.is_infinite() { 0.0 } else { upper });
        match self {
            Self::KeepBelow if value >= upper => (count, 0.0),
            Self::KeepBelow if value > 0.0 && upper > 0.0 && upper != f64::INFINITY => {
                (count * value / upper, value / 2.0)
            }
            Self::KeepBelow if upper <= 0.0 => (count, value),
            Self::KeepAbove if value <= bucket.lower => (count, 0.0),
            Self::KeepAbove if value >= 0.0 && upper > value && upper != f64::INFINITY => {
                (count * (1.0 - value / upper), (value + upper) / 2.0)
            }
            Self::KeepBelow | Self::KeepAbove => unknown,
        }
    }

    fn part_of_highest(self, bucket: &Bucket<f64>, value: f64) -> (f64, f64) {
        match self {
            Self::KeepAbove if value >= bucket.lower => (bucket.count, value),
            _ => (0.0, if bucket.lower.is_infinite() { 0.0 } else { bucket.lower }),
        }
    }

    /// What is left of the zero bucket, whose bounds are those that observations may have.
    fn part_of_zero(self, zero: &Bucket<f64>, value: f64) -> (f64, f64) {
        let Bucket { lower, upper, count, .. } = *zero;
        let whole = (count, (lower + upper) / 2.0);
        let nothing = (0.0, 0.0);
        let width = upper - lower;
        match self {
            Self::KeepBelow if value <= lower => nothing,
            Self::KeepBelow if value >= upper => whole,
            Self::KeepBelow => (count * ((value - lower) / width), (lower + value) / 2.0),
            Self::KeepAbove if value <= lower => whole,
            Self::KeepAbove if value >= upper => nothing,
            Self::KeepAbove => (count * ((upper - value) / width), (value + upper) / 2.0),
        }
    }
}

/// Count and sum of what is left.
#[derive(Default)]
struct Kept {
    count: f64,
    sum: f64,
    is_all: bool,
    is_populated: bool,
}

impl FloatHistogram {
    /// Removes the observations above or below `value`.
    ///
    /// A bucket that contains the value is interpolated: linearly for custom buckets and the zero
    /// bucket, exponentially for others. If anything is removed, count and sum become estimates
    /// from what is left, and empty buckets are removed.
    pub fn trim(&mut self, value: f64, trim: Trim) {
        let is_linear = self.uses_custom_buckets();
        let mut kept = Kept { is_all: true, ..Kept::default() };

        let buckets: Vec<_> = self.positive_buckets().collect();
        let spread = Distribution { is_linear, is_positive: true };
        trim_side(&buckets, &mut self.positive_buckets, value, trim, spread, &mut kept);
        let has_positive = std::mem::take(&mut kept.is_populated);

        let buckets: Vec<_> = self.negative_buckets().collect();
        let spread = Distribution { is_linear, is_positive: false };
        trim_side(&buckets, &mut self.negative_buckets, value, trim, spread, &mut kept);
        let has_negative = kept.is_populated;

        if let Some(mut zero) = self.zero_bucket().filter(|zero| zero.count > 0.0) {
            match (has_negative, has_positive) {
                (true, false) => zero.upper = 0.0,
                (false, true) => zero.lower = 0.0,
                _ => {}
            }
            let (count, midpoint) = trim.part_of_zero(&zero, value);
            kept.is_all &= count == self.zero_count;
            self.zero_count = count;
            kept.sum += midpoint * count;
            kept.count += count;
        }
        if !kept.is_all {
            self.count = kept.count;
            self.sum = kept.sum;
            self.compact(0);
        }
    }
}

fn trim_side(
    buckets: &[Bucket<f64>],
    counts: &mut [f64],
    value: f64,
    trim: Trim,
    spread: Distribution,
    kept: &mut Kept,
) {
    for (bucket, count) in buckets.iter().zip(counts).filter(|(bucket, _)| bucket.count != 0.0) {
        kept.is_populated = true;
        let (part, midpoint) = if trim.keeps_all_of(bucket, value) {
            (bucket.count, spread.midpoint(bucket.lower, bucket.upper))
        } else if trim.divides(bucket, value) {
            trim.part_of(bucket, value, spread)
        } else {
            *count = 0.0;
            kept.is_all = false;
            continue;
        };
        kept.count += part;
        kept.sum += midpoint * part;
        kept.is_all &= part == bucket.count;
        *count = part;
    }
}
