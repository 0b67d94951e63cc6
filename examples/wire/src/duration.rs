//! Durations as Prometheus writes them: `1h30m`, `15s`, `100ms`.

/// Units from the longest to the shortest, with their milliseconds. A year has 365 days.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Longest duration, in milliseconds: what Prometheus's nanoseconds can hold.
const MAX_MS: i64 = i64::MAX / 1_000_000;

/// A text that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// There is nothing.
    #[error("empty duration string")]
    Empty,
    /// It is not made of numbers and units in order.
    #[error("not a valid duration string")]
    Syntax,
    /// It is longer than 292 years.
    #[error("duration out of range")]
    Range,
}

/// Reads a duration, in milliseconds.
///
/// # Errors
/// [`DurationError`] if `text` is none.
///
/// ```
/// assert_eq!(ferula_wire::duration::parse("1h30m"), Ok(5_400_000));
/// assert!(ferula_wire::duration::parse("30m1h").is_err());
/// ```
pub fn parse(text: &str) -> Result<i64, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = rest.split_at(n_digits);
        let n_letters = after.bytes().take_while(|b| !b.is_ascii_digit()).count();
        let (unit, after) = after.split_at(n_letters);
        // Every unit at most once and in order: the search goes on where it ended.
        let (_, ms) = units.find(|(name, _)| *name == unit).ok_or(DurationError::Syntax)?;
        if digits.is_empty() {
            return Err(DurationError::Syntax);
        }
        let count: i64 = digits.parse().map_err(|_| DurationError::Range)?;
        total = count
            .checked_mul(*ms)
            .and_then(|part| part.checked_add(total))
            .filter(|total| *total <= MAX_MS)
            .ok_or(DurationError::Range)?;
        rest = after;
    }
    Ok(total)
}

/// Writes a duration given in milliseconds, which is not negative.
///
/// ```
/// assert_eq!(ferula_wire::duration::format(90_000), "1m30s");
/// ```
pub fn format(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    let mut rest = ms;
    for (i, (unit, unit_ms)) in UNITS.iter().enumerate() {
        // Years and weeks are only used for what is a whole number of them.
        let is_whole_only = i < 2;
        let count = rest / unit_ms;
        if count == 0 || (is_whole_only && rest % unit_ms != 0) {
            continue;
        }
        out.push_str(&format!("{count}{unit}"));
        rest %= unit_ms;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_prometheus() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("324ms", 324),
            ("3s", 3000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("4d", 4 * 86_400_000),
            ("4d1h", 4 * 86_400_000 + 3_600_000),
            ("14d", 14 * 86_400_000),
            ("3w", 21 * 86_400_000),
            ("3w2d1h", 23 * 86_400_000 + 3_600_000),
            ("10y", 3650 * 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(ms), "{text}");
        }
        for text in ["1", "1y1m1d", "-1w", "1.5d", "d", "zzz", "ms1", "1s1s", "1 s", "5ms1s"] {
            assert_eq!(parse(text), Err(DurationError::Syntax), "{text}");
        }
        assert_eq!(parse(""), Err(DurationError::Empty));
        assert_eq!(parse("294y"), Err(DurationError::Range));
        assert_eq!(parse("99999999999999999999s"), Err(DurationError::Range));
    }

    #[test]
    fn durations_are_written_with_the_longest_units() {
        for text in ["0s", "1m30s", "15s", "100ms", "1d", "2w", "1y", "10d", "1d1h", "1h1m1s1ms"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(format(parse("1w1d").unwrap()), "8d");
        assert_eq!(format(parse("366d").unwrap()), "366d");
    }
}
