//! How numbers and times are written in messages and label values.
//!
//! Follows Go's `strconv` and `time`, because clients compare the texts of Prometheus.

use std::fmt;

use crate::functions::date::Civil;

/// Writes a number as Go's `%g` does: with as few digits as tell it apart, and with an exponent
/// from seven digits before, or five zeros behind, the point on.
pub(crate) struct FloatText(pub(crate) f64);

impl fmt::Display for FloatText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        general(self.0, &format!("{:e}", self.0), 6, f)
    }
}

/// Writes a number as Go's `%.2g` does.
pub(crate) struct TwoDigits(pub(crate) f64);

impl fmt::Display for TwoDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        general(self.0, &format!("{:.1e}", self.0), 2, f)
    }
}

/// Writes a number without exponent, as label values hold it.
pub(crate) struct PlainFloat(pub(crate) f64);

impl fmt::Display for PlainFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match special(self.0) {
            Some(text) => f.write_str(text),
            None => write!(f, "{}", self.0),
        }
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

fn special(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// Lays out `scientific`, the digits and exponent of `value`, the way `%g` does.
fn general(
    value: f64,
    scientific: &str,
    exponent_from: i32,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    if let Some(text) = special(value) {
        return f.write_str(text);
    }
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits = match digits.split_once('.') {
        Some(_) => digits.trim_end_matches('0').trim_end_matches('.'),
        None => digits,
    };
    if exponent < -4 || exponent >= exponent_from {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let rounded: f64 = scientific.parse().unwrap_or(value);
    write!(f, "{rounded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (-3.0, "-3"),
            (0.000_01, "1e-05"),
            (0.000_1, "0.0001"),
            (1e6, "1e+06"),
            (100_000.0, "100000"),
            (123_456_789.0, "1.23456789e+08"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(FloatText(value).to_string(), text);
        }
        assert_eq!(TwoDigits(0.123).to_string(), "0.12");
        assert_eq!(TwoDigits(100.0).to_string(), "1e+02");
        assert_eq!(TwoDigits(7.0).to_string(), "7");
        assert_eq!(PlainFloat(1e21).to_string(), "1000000000000000000000");
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(UtcSecond(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(UtcSecond(1_709_164_799_999).to_string(), "2024-02-28T23:59:59Z");
    }
}
