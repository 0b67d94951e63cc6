//! Values of numbers, durations and strings.

use ferula_chunkenc::stale;
use nom::bytes::complete::take_while1;
use nom::character::complete::{char, digit1};
use nom::{IResult, Parser as _};

use super::{Parsed, Parser, failure, quote};
use crate::Span;
use crate::ast::NumberLiteral;
use crate::error::ParseErrorKind;
use crate::lexer::TokenKind;

impl Parser<'_> {
    /// Consumes a number or duration if there is one.
    pub(super) fn number_literal(&mut self) -> Parsed<Option<(NumberLiteral, Span)>> {
        let token = self.current;
        let text = self.text_of(token);
        let is_duration = match token.kind {
            TokenKind::Number => false,
            TokenKind::Duration => true,
            _ => return Ok(None),
        };
        let value = if is_duration { duration_seconds(text) } else { number(text) };
        let value = value.map_err(|kind| failure(kind, token.span))?;
        self.advance();
        Ok(Some((NumberLiteral { value, is_duration }, token.span)))
    }

    /// Consumes a string, which must be there.
    pub(super) fn string_literal(&mut self) -> Parsed<String> {
        let token = self.expect(TokenKind::String)?;
        let text = self.text_of(token);
        unquote(text).ok_or_else(|| {
            failure(ParseErrorKind::InvalidUtf8 { text: quote::quote(text) }, token.span)
        })
    }
}

/// Value of a number as Go reads it: integers of base 10, 16 or 8 (behind a `0`), or floats, with
/// underscores between digits.
pub(crate) fn number(text: &str) -> Result<f64, ParseErrorKind> {
    let fail = |reason| ParseErrorKind::BadNumber { text: text.to_owned(), reason };
    if !underscores_separate_digits(text) {
        return Err(fail("invalid syntax"));
    }
    let digits = text.replace('_', "");
    if let Some(integer) = integer(&digits) {
        #[expect(clippy::cast_precision_loss, reason = "literals are floats in the end")]
        return Ok(integer as f64);
    }
    match digits.parse::<f64>() {
        Ok(value) if value.is_nan() => Ok(stale::NORMAL_NAN),
        Ok(value) if value.is_infinite() && digits.contains(|c: char| c.is_ascii_digit()) => {
            Err(fail("value out of range"))
        }
        Ok(value) => Ok(value),
        Err(_) => Err(fail("invalid syntax")),
    }
}

fn integer(digits: &str) -> Option<i64> {
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16).ok()
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()
    } else {
        digits.parse().ok()
    }
}

fn underscores_separate_digits(text: &str) -> bool {
    let hex = text.starts_with("0x") || text.starts_with("0X");
    let bytes = text.as_bytes();
    let is_digit = |at: usize| {
        bytes
            .get(at)
            .is_some_and(|b| b.is_ascii_digit() || hex && (b.is_ascii_hexdigit() || at == 1))
    };
    (0..bytes.len())
        .filter(|at| bytes[*at] == b'_')
        .all(|at| at > 0 && is_digit(at - 1) && is_digit(at + 1))
}

/// Milliseconds per unit, in the order in which units are written.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Longest duration, that of 64 bits of nanoseconds.
const MAX_DURATION_MS: u64 = i64::MAX.unsigned_abs() / 1_000_000;

/// Seconds of a duration such as `1h30m`.
fn duration_seconds(text: &str) -> Result<f64, ParseErrorKind> {
    duration_ms(text).map(seconds)
}

#[expect(clippy::cast_precision_loss, reason = "durations are floats in the end")]
fn seconds(ms: u64) -> f64 {
    (ms / 1000) as f64 + (ms % 1000) as f64 / 1000.0
}

/// Milliseconds in so many seconds, which are not negative; `None` if that is no whole number.
#[expect(clippy::cast_possible_truncation, reason = "what does not fit is compared and refused")]
#[expect(clippy::cast_sign_loss, reason = "what is negative is compared and refused")]
pub(crate) fn whole_ms(value: f64) -> Option<u64> {
    let ms = (value * 1000.0).round() as u64;
    (seconds(ms).to_bits() == value.abs().to_bits() && ms <= MAX_DURATION_MS).then_some(ms)
}

/// Writes a duration the way Prometheus does: years and weeks only where nothing else is left.
pub(crate) fn format_duration(mut ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, unit_ms) in UNITS {
        let only_exact = matches!(unit, "y" | "w");
        if ms < unit_ms || only_exact && !ms.is_multiple_of(unit_ms) {
            continue;
        }
        text.push_str(&format!("{}{unit}", ms / unit_ms));
        ms %= unit_ms;
    }
    text
}

/// Milliseconds of a duration such as `1h30m`; units fall, and each comes once at most.
pub(crate) fn duration_ms(text: &str) -> Result<u64, ParseErrorKind> {
    let bad = || ParseErrorKind::BadDuration { text: text.to_owned() };
    if text == "0" {
        return Ok(0);
    }
    let (mut rest, mut units, mut total) = (text, &UNITS[..], 0_u64);
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let (after, (count, unit)) = duration_part(rest).map_err(|_| bad())?;
        if UNITS.iter().all(|(name, _)| *name != unit) {
            let unit = unit.to_owned();
            return Err(ParseErrorKind::UnknownUnit { unit, text: text.to_owned() });
        }
        let at = units.iter().position(|(name, _)| *name == unit).ok_or_else(bad)?;
        let count: u64 = count.parse().map_err(|_| bad())?;
        total = count
            .checked_mul(units[at].1)
            .and_then(|ms| total.checked_add(ms))
            .filter(|total| *total <= MAX_DURATION_MS)
            .ok_or(ParseErrorKind::DurationOutOfRange)?;
        (rest, units) = (after, &units[at + 1..]);
    }
    Ok(total)
}

/// A count and its unit.
fn duration_part(text: &str) -> IResult<&str, (&str, &str)> {
    (digit1, take_while1(|c: char| !c.is_ascii_digit())).parse(text)
}

/// Resolves the escapes of a quoted string that the lexer let pass; `None` if the result is not
/// valid UTF-8.
pub(crate) fn unquote(text: &str) -> Option<String> {
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    if text.starts_with('`') || !inner.contains('\\') {
        return Some(inner.to_owned());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = escape(&rest[at..], &mut bytes)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

/// Resolves the escape at the start of `text` and gives what is behind it.
fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let (rest, _) = char::<_, nom::error::Error<&str>>('\\').parse(text).ok()?;
    let c = rest.chars().next()?;
    let rest = &rest[c.len_utf8()..];
    let (digits, radix) = match c {
        'x' => (rest.get(..2)?, 16),
        'u' => (rest.get(..4)?, 16),
        'U' => (rest.get(..8)?, 16),
        '0'..='7' => (text.get(1..4)?, 8),
        _ => {
            let resolved = match c {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                other => other,
            };
            bytes.extend_from_slice(resolved.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
    };
    let code = u32::from_str_radix(digits, radix).ok()?;
    if matches!(c, 'u' | 'U') {
        let resolved = char::from_u32(code)?;
        bytes.extend_from_slice(resolved.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        bytes.push(u8::try_from(code).ok()?);
    }
    // An octal escape has its first digit right behind the backslash.
    let used = if radix == 8 { digits.len() - 1 } else { digits.len() };
    Some(&rest[used..])
}
