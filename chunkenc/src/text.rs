//! How numbers are written in messages, label values and the text form of histograms.

use std::fmt;

/// A number that is written as Go's `%g` does, because clients compare the texts of Prometheus.
///
/// It has as few digits as tell it apart, or as many as the precision says, and an exponent below
/// 10^-4 and from 10^6 on, or from as many digits on as the precision says.
///
/// ```
/// use ferula_chunkenc::text::GeneralFloat;
///
/// let written = [0.1, 1e6, 1e-5, f64::INFINITY].map(|value| GeneralFloat(value).to_string());
/// assert_eq!(written, ["0.1", "1e+06", "1e-05", "+Inf"]);
/// assert_eq!(format!("{:.2}", GeneralFloat(123.0)), "1.2e+02");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GeneralFloat(pub f64);

impl GeneralFloat {
    /// Significant digits from which on a number of as few digits as possible has an exponent.
    const EXPONENT_FROM: i32 = 6;

    /// Digits and exponent, with as few digits as tell the number apart.
    fn shortest(self) -> String {
        let shortest = format!("{:e}", self.0);
        // Of two texts that are as short and as close, Go takes the one with the even digit, which
        // is how a given number of digits is rounded.
        let n_digits = shortest.bytes().take_while(|&byte| byte != b'e');
        let n_digits = n_digits.filter(u8::is_ascii_digit).count();
        let rounded = format!("{:.*e}", n_digits - 1, self.0);
        if rounded.parse() == Ok(self.0) { rounded } else { shortest }
    }
}

impl fmt::Display for GeneralFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_nan() => return f.write_str("NaN"),
            f64::INFINITY => return f.write_str("+Inf"),
            f64::NEG_INFINITY => return f.write_str("-Inf"),
            _ => {}
        }
        let (scientific, exponent_from) = match f.precision() {
            None => (self.shortest(), Self::EXPONENT_FROM),
            Some(n_digits) => {
                let n_digits = n_digits.max(1);
                let exponent_from = i32::try_from(n_digits).unwrap_or(i32::MAX);
                (format!("{:.*e}", n_digits - 1, self.0), exponent_from)
            }
        };
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let exponent: i32 = exponent.parse().unwrap_or_default();
        if (-4..exponent_from).contains(&exponent) {
            let rounded: f64 = scientific.parse().unwrap_or(self.0);
            return write!(f, "{rounded}");
        }
        let digits = match digits.split_once('.') {
            Some(_) => digits.trim_end_matches('0').trim_end_matches('.'),
            None => digits,
        };
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (-3.0, "-3"),
            (0.000_01, "1e-05"),
            (0.000_1, "0.0001"),
            (1e6, "1e+06"),
            (100_000.0, "100000"),
            (999_999.5, "999999.5"),
            (123_456_789.0, "1.23456789e+08"),
            // As near to one digit more: the even one.
            (2_f64.powi(-44), "5.684341886080802e-14"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(GeneralFloat(value).to_string(), text);
        }
    }

    #[test]
    fn a_precision_is_a_number_of_digits() {
        for (value, text) in [
            (0.123, "0.12"),
            (0.1, "0.1"),
            (7.0, "7"),
            (99.4, "99"),
            (99.5, "1e+02"),
            (100.0, "1e+02"),
            (123.0, "1.2e+02"),
            (0.000_012_3, "1.2e-05"),
        ] {
            assert_eq!(format!("{:.2}", GeneralFloat(value)), text);
        }
    }
}
