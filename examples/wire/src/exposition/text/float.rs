//! Numbers of a page, read as Go reads them.

use std::str;

/// Why a text is no float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FloatProblem {
    Syntax,
    Range,
}

/// Reads a float as Go's `strconv` does, without its hexadecimal and underscore forms.
#[inline]
pub(super) fn parse_float(text: &[u8]) -> Result<f64, FloatProblem> {
    // Most values are short decimal numbers, which are read without a search for their nearest float.
    match short_decimal(text) {
        Some(value) => Ok(value),
        None => parse_any(text),
    }
}

fn parse_any(text: &[u8]) -> Result<f64, FloatProblem> {
    let text = str::from_utf8(text).map_err(|_| FloatProblem::Syntax)?;
    let value: f64 = text.parse().map_err(|_| FloatProblem::Syntax)?;
    let has_digits = text.bytes().any(|b| b.is_ascii_digit());
    match (value.is_finite(), has_digits) {
        (true, _) => Ok(value),
        (false, true) => Err(FloatProblem::Range),
        // Go takes no sign before "nan".
        (false, false) if value.is_nan() && text.len() != 3 => Err(FloatProblem::Syntax),
        (false, false) => Ok(value),
    }
}

/// Powers of ten that divide a whole number of 53 bits with one rounding, which is the nearest float then.
const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Reads up to 15 digits with or without a point among them.
#[inline]
fn short_decimal(text: &[u8]) -> Option<f64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    let mut whole = 0_u64;
    let mut n_digits = 0;
    let mut point = None;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            whole = whole * 10 + u64::from(digit);
            n_digits += 1;
        } else if *byte == b'.' && point.is_none() {
            point = Some(n_digits);
        } else {
            return None;
        }
    }
    if n_digits == 0 || n_digits > 15 {
        return None;
    }
    // Below 2^53, so that nothing is rounded here.
    let value = whole as f64;
    Some(match point {
        None => value,
        Some(at) => value / POWERS[n_digits - at],
    })
}

/// Seconds as milliseconds, the nearest ones.
pub(super) fn whole_ms(seconds: f64) -> Option<i64> {
    let ms = (seconds * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "it is in the range of whole floats")]
    (ms.abs() < 9e15).then_some(ms as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn short_numbers_are_the_nearest_floats(whole in 0_u64..10_000_000_000_000_000, point in 0_usize..18) {
            let mut text = whole.to_string();
            if point <= text.len() {
                text.insert(point, '.');
            }
            let expected: f64 = text.parse().unwrap();
            proptest::prop_assert_eq!(parse_float(text.as_bytes()).map(f64::to_bits), Ok(expected.to_bits()));
        }
    }
}
