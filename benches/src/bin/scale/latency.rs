//! How long things took: counts in buckets whose width is a sixteenth of their place.

use std::time::Duration;

use serde_json::{Value, json};

/// Buckets of one power of two.
const STEPS: u64 = 16;

/// Durations, counted.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    max_ns: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; 64 * 16], max_ns: 0 }
    }
}

impl Latencies {
    /// Counts one duration.
    pub(crate) fn add(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(ns)] += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Counts what another has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.max_ns = 0;
    }

    fn len(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The upper end of the bucket below which this share of the durations lies.
    fn quantile_ns(&self, share: f64) -> u64 {
        let wanted = share * self.len() as f64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen as f64 >= wanted && seen > 0 {
                return end_ns(bucket).min(self.max_ns);
            }
        }
        self.max_ns
    }

    /// What a report says of it, in milliseconds.
    pub(crate) fn to_json(&self) -> Value {
        let ms = |ns: u64| (ns as f64 / 1e3).round() / 1e3;
        json!({
            "n": self.len(),
            "p50_ms": ms(self.quantile_ns(0.5)),
            "p99_ms": ms(self.quantile_ns(0.99)),
            "p999_ms": ms(self.quantile_ns(0.999)),
            "max_ms": ms(self.max_ns),
        })
    }
}

fn bucket(ns: u64) -> usize {
    let power = ns.max(STEPS).ilog2();
    let step = (ns >> (power - STEPS.ilog2())) % STEPS;
    (power as usize - 4) * 16
        + usize::try_from(step).expect("below 16")
        + if ns < STEPS { 0 } else { 16 }
}

/// Where the bucket after this one begins.
fn end_ns(bucket: usize) -> u64 {
    let next = bucket + 1;
    if next < 16 {
        return next as u64;
    }
    (STEPS + next as u64 % STEPS) << (next / 16 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other() {
        for ns in (0..100_000).chain([1 << 40, (1 << 40) + 1, (1 << 50) - 1]) {
            let bucket = bucket(ns);
            assert!(ns < end_ns(bucket), "{ns} in {bucket}");
            assert!(bucket == 0 || ns >= end_ns(bucket - 1), "{ns} in {bucket}");
        }
    }

    #[test]
    fn quantiles_are_within_a_sixteenth() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|us| latencies.add(Duration::from_micros(us)));
        let p99 = latencies.quantile_ns(0.99);
        assert!((990_000..=1_060_000).contains(&p99), "{p99}");
        assert_eq!(latencies.quantile_ns(1.0), 1_000_000);
    }
}
