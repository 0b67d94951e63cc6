//! How numbers and times are written in messages and label values.
//!
//! Follows Go's `strconv` and `time`, because clients compare the texts of Prometheus.

use std::fmt;

pub(crate) use ferula_chunkenc::text::GeneralFloat as FloatText;

use crate::functions::date::Civil;

/// Writes a number as Go's `%.2g` does.
pub(crate) struct TwoDigits(pub(crate) f64);

impl fmt::Display for TwoDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", FloatText(self.0))
    }
}

/// Writes a number without exponent, as label values hold it.
pub(crate) struct PlainFloat(pub(crate) f64);

impl fmt::Display for PlainFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_finite() { write!(f, "{}", self.0) } else { FloatText(self.0).fmt(f) }
    }
}

/// Writes a number as OpenMetrics does: like `%g`, but never without a point or an exponent.
pub(crate) struct OpenMetricsFloat(pub(crate) f64);

impl fmt::Display for OpenMetricsFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = FloatText(self.0).to_string();
        let whole = self.0.is_finite() && !text.contains(['.', 'e']);
        write!(f, "{text}{}", if whole { ".0" } else { "" })
    }
}

/// Writes a number of milliseconds since the Unix epoch to the second, as RFC 3339 in UTC.
pub(crate) struct UtcSecond(pub(crate) i64);

impl fmt::Display for UtcSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Go divides towards zero here.
        let time = Civil::from_unix(self.0 / 1000);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            time.year, time.month, time.day, time.hour, time.minute, time.second
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        assert_eq!(TwoDigits(0.123).to_string(), "0.12");
        assert_eq!(TwoDigits(100.0).to_string(), "1e+02");
        assert_eq!(TwoDigits(7.0).to_string(), "7");
        assert_eq!(PlainFloat(f64::NEG_INFINITY).to_string(), "-Inf");
        assert_eq!(OpenMetricsFloat(3.0).to_string(), "3.0");
        assert_eq!(PlainFloat(1e21).to_string(), "1000000000000000000000");
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(UtcSecond(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(UtcSecond(1_709_164_799_999).to_string(), "2024-02-28T23:59:59Z");
    }
}
