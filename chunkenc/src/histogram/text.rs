//! The text form of histograms, as Prometheus prints them.

use std::fmt;

use super::{Bucket, FloatHistogram, Histogram};

/// Writes a number as Go's `%g` does: the fewest digits that tell it apart, with an exponent from
/// 10^6 on and below 10^-4.
struct General(f64);

impl fmt::Display for General {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_nan() => return f.write_str("NaN"),
            f64::INFINITY => return f.write_str("+Inf"),
            f64::NEG_INFINITY => return f.write_str("-Inf"),
            _ => {}
        }
        let mut scientific = format!("{:e}", self.0);
        // Of two texts that are as short and as close, Go takes the one with the even digit, which
        // is how a given number of digits is rounded.
        let n_digits = scientific.bytes().take_while(|&byte| byte != b'e');
        let n_digits = n_digits.filter(u8::is_ascii_digit).count();
        let rounded = format!("{:.*e}", n_digits - 1, self.0);
        if rounded.parse() == Ok(self.0) {
            scientific = rounded;
        }
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let exponent: i32 = exponent.parse().unwrap_or_default();
        if (-4..6).contains(&exponent) {
            return write!(f, "{}", self.0);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs())
    }
}

fn write_bucket<C: fmt::Display, D: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    bucket: &Bucket<C>,
    count: D,
) -> fmt::Result {
    let open = if bucket.lower_inclusive { '[' } else { '(' };
    let close = if bucket.upper_inclusive { ']' } else { ')' };
    let [lower, upper] = [bucket.lower, bucket.upper].map(General);
    write!(f, "{open}{lower},{upper}{close}:{count}")
}

impl fmt::Display for Bucket<u64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bucket(f, self, self.count)
    }
}

impl fmt::Display for Bucket<f64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bucket(f, self, General(self.count))
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", self.count, General(self.sum))?;
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
        write!(f, "{{count:{}, sum:{}", General(self.count), General(self.sum))?;
        let negative = self.negative_buckets().rev();
        let buckets = negative.chain(self.zero_bucket()).chain(self.positive_buckets());
        for bucket in buckets.filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}
