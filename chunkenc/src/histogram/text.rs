//! The text form of histograms, as Prometheus prints them.

use std::fmt;

use super::{Bucket, FloatHistogram, Histogram};
use crate::text::GeneralFloat;

fn write_bucket<C: fmt::Display, D: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    bucket: &Bucket<C>,
    count: D,
) -> fmt::Result {
    let open = if bucket.lower_inclusive { '[' } else { '(' };
    let close = if bucket.upper_inclusive { ']' } else { ')' };
    let [lower, upper] = [bucket.lower, bucket.upper].map(GeneralFloat);
    write!(f, "{open}{lower},{upper}{close}:{count}")
}

impl fmt::Display for Bucket<u64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bucket(f, self, self.count)
    }
}

impl fmt::Display for Bucket<f64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bucket(f, self, GeneralFloat(self.count))
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", self.count, GeneralFloat(self.sum))?;
        let mut negative: Vec<_> = self.negative_buckets().collect();
        negative.reverse();
        let buckets = negative.into_iter().chain(self.zero_bucket()).chain(self.positive_buckets());
        for bucket in buckets.filter(|bucket| bucket.count != 0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", GeneralFloat(self.count), GeneralFloat(self.sum))?;
        let negative = self.negative_buckets().rev();
        let buckets = negative.chain(self.zero_bucket()).chain(self.positive_buckets());
        for bucket in buckets.filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}
