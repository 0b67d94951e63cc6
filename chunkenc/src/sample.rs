//! A single observation: when, and what.

/// One float observation of a series.
///
/// Two samples are equal when their timestamps and the **bits** of their values are: a staleness
/// marker differs from an ordinary NaN, and `-0.0` from `0.0`.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The observed value; NaN payloads are significant.
    pub value: f64,
}

impl Sample {
    /// Makes a sample of `value` at `timestamp` milliseconds since the Unix epoch.
    pub const fn new(timestamp: i64, value: f64) -> Self {
        Self { timestamp, value }
    }
}

impl PartialEq for Sample {
    fn eq(&self, other: &Self) -> bool {
        self.timestamp == other.timestamp && self.value.to_bits() == other.value.to_bits()
    }
}

impl Eq for Sample {}
