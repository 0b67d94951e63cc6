//! Floats as Go writes them, which is how Prometheus's users know them.
//!
//! Shortest digits that read back as the same float come from Ryu; what differs between the forms
//! is only where the point stands and when an exponent is written.

/// Shortest decimal digits of a finite float that is not zero, and its decimal exponent.
struct Digits {
    buffer: [u8; 20],
    len: usize,
    /// The value is `0.d₁d₂d₃… × 10^point`.
    point: i32,
}

impl Digits {
    fn new(magnitude: f64) -> Self {
        let mut ryu = ryu::Buffer::new();
        let text = ryu.format_finite(magnitude);
        let (mantissa, exponent) = match text.split_once('e') {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().unwrap_or(0)),
            None => (text, 0),
        };
        let mut digits = Self { buffer: [0; 20], len: 0, point: exponent };
        let mut before_point = true;
        for byte in mantissa.bytes() {
            if byte == b'.' {
                before_point = false;
                continue;
            }
            // Zeros in front only move the point.
            if digits.len == 0 && byte == b'0' {
                digits.point -= i32::from(!before_point);
                continue;
            }
            digits.point += i32::from(before_point);
            digits.buffer[digits.len] = byte;
            digits.len += 1;
        }
        while digits.len > 1 && digits.buffer[digits.len - 1] == b'0' {
            digits.len -= 1;
        }
        digits
    }

    fn as_bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Writes the digits with a point and no exponent.
    fn push_plain(&self, out: &mut Vec<u8>) {
        let digits = self.as_bytes();
        match usize::try_from(self.point) {
            Ok(0) | Err(_) => {
                out.extend_from_slice(b"0.");
                out.extend((self.point..0).map(|_| b'0'));
                out.extend_from_slice(digits);
            }
            Ok(whole) if whole >= digits.len() => {
                out.extend_from_slice(digits);
                out.extend((digits.len()..whole).map(|_| b'0'));
            }
            Ok(whole) => {
                out.extend_from_slice(&digits[..whole]);
                out.push(b'.');
                out.extend_from_slice(&digits[whole..]);
            }
        }
    }

    /// Writes one digit, the others behind a point, and an exponent of at least two digits.
    fn push_exponent(&self, out: &mut Vec<u8>) {
        let (first, others) = self.as_bytes().split_at(1);
        out.extend_from_slice(first);
        if !others.is_empty() {
            out.push(b'.');
            out.extend_from_slice(others);
        }
        let exponent = self.point - 1;
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.unsigned_abs() < 10 {
            out.push(b'0');
        }
        push_unsigned(out, u64::from(exponent.unsigned_abs()));
    }
}

/// Writes the sign, and the whole of the values that have no digits; tells whether digits follow.
fn push_head(out: &mut Vec<u8>, value: f64) -> bool {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
        return false;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
        return false;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value == 0.0 {
        out.push(b'0');
        return false;
    }
    true
}

/// Writes `value` as the API's JSON has it: plain, with an exponent below 1e-6 and from 1e21 on.
pub(crate) fn push_json(out: &mut Vec<u8>, value: f64) {
    // Whole numbers are the most frequent values, and their digits need no search.
    #[expect(clippy::cast_possible_truncation, reason = "compared with what it was made from")]
    let whole = value as i64;
    let is_whole = whole as f64 == value && whole.unsigned_abs() < 1 << 53;
    if is_whole && (whole != 0 || value.is_sign_positive()) {
        push_integer(out, whole);
        return;
    }
    if push_head(out, value) {
        let magnitude = value.abs();
        let digits = Digits::new(magnitude);
        if (1e-6..1e21).contains(&magnitude) {
            digits.push_plain(out);
        } else {
            digits.push_exponent(out);
        }
    }
}

/// Writes `value` without an exponent, however many digits that takes.
pub(crate) fn push_plain(out: &mut Vec<u8>, value: f64) {
    if push_head(out, value) {
        Digits::new(value.abs()).push_plain(out);
    }
}

/// Writes `value` as the text format has it: with an exponent below 1e-4 and from 1e6 on.
pub(crate) fn push_text(out: &mut Vec<u8>, value: f64) {
    if push_head(out, value) {
        let digits = Digits::new(value.abs());
        if (-4..6).contains(&(digits.point - 1)) {
            digits.push_plain(out);
        } else {
            digits.push_exponent(out);
        }
    }
}

/// `value` as OpenMetrics wants bounds: as short as possible, but recognisable as a float.
pub(crate) fn openmetrics(value: f64) -> String {
    let mut out = Vec::with_capacity(8);
    push_text(&mut out, value);
    if value.is_finite() && !out.iter().any(|b| matches!(b, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
    String::from_utf8(out).expect("floats are written in ASCII")
}

/// Writes a whole number.
pub(crate) fn push_integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_unsigned(out, value.unsigned_abs());
}

/// Writes a whole number without a sign.
pub(crate) fn push_unsigned(out: &mut Vec<u8>, mut value: u64) {
    let mut buffer = [0; 20];
    let mut at = buffer.len();
    // Two digits at a time take half the divisions.
    while value >= 10 {
        let pair = usize::try_from(value % 100).expect("two digits fit") * 2;
        value /= 100;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
    }
    if value > 0 || at == buffer.len() {
        at -= 1;
        buffer[at] = b'0' + u8::try_from(value).expect("a digit fits a byte");
    }
    out.extend_from_slice(&buffer[at..]);
}

/// The numbers from 00 to 99.
const DIGIT_PAIRS: [u8; 200] = {
    let mut pairs = [b'0'; 200];
    let mut number: u8 = 0;
    while number < 100 {
        pairs[number as usize * 2] = b'0' + number / 10;
        pairs[number as usize * 2 + 1] = b'0' + number % 10;
        number += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: fn(&mut Vec<u8>, f64), value: f64) -> String {
        let mut out = Vec::new();
        push(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_floats_are_those_of_prometheus() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (1.5, "1.5"),
            (123_456.789, "123456.789"),
            (1e6, "1000000"),
            (1e15, "1000000000000000"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e21, "1.25e+21"),
            (-1e300, "-1e+300"),
            (1e-6, "0.000001"),
            (1.5e-6, "0.0000015"),
            (9.9e-7, "9.9e-07"),
            (1e-7, "1e-07"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (0.000_123, "0.000123"),
            (4.9351e-05, "0.000049351"),
        ] {
            assert_eq!(text(push_json, value), expected);
        }
    }

    #[test]
    fn whole_numbers_of_every_length_are_written() {
        let mut number = 0_u64;
        for digit in [0, 1, 9, 0, 0, 5, 1, 0, 7, 3, 0, 0, 0, 2, 4, 6, 8, 9, 9, 9] {
            number = number.wrapping_mul(10).wrapping_add(digit);
            for n in [number, number + 1] {
                let mut out = Vec::new();
                push_unsigned(&mut out, n);
                assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
            }
        }
        let mut out = Vec::new();
        push_unsigned(&mut out, u64::MAX);
        assert_eq!(out, u64::MAX.to_string().as_bytes());
    }

    #[test]
    fn bounds_keep_a_sign_of_being_floats() {
        for (value, expected) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (-1.0, "-1.0"),
            (0.5, "0.5"),
            (100_000.0, "100000.0"),
            (1e6, "1e+06"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(openmetrics(value), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn json_floats_read_back_as_they_were(bits in proptest::num::u64::ANY) {
            let value = f64::from_bits(bits);
            let back: f64 = text(push_json, value).parse().unwrap();
            proptest::prop_assert!(back.to_bits() == bits || value.is_nan());
        }
    }
}
