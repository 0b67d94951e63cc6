//! One line of a script: a series and its values in short notation.
//!
//! `name{label="value"} 1 2+3x4 _x2 stale {{sum:5 count:2}}`: values stand at multiples of the
//! load's step. `a+bxN` is `a`, `a+b`, … with N additions, `_` is no sample.

use std::sync::Arc;

use ferula_chunkenc::histogram::FloatHistogram;
use ferula_chunkenc::stale;
use ferula_index::{Labels, METRIC_NAME};

use super::histogram;
use crate::parser::literal;

/// Most values that one line may stand for.
pub const MAX_VALUES: usize = 1_000_000;

/// A series and its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesLine {
    /// The series.
    pub labels: Labels,
    /// Its values, one per step.
    pub values: Vec<SeriesValue>,
}

/// One value of a series line.
#[derive(Clone, Debug)]
pub enum SeriesValue {
    /// `_`: there is no sample.
    Omitted,
    /// A float, or the staleness marker.
    Float(f64),
    /// A native histogram.
    Histogram {
        /// The histogram.
        histogram: Arc<FloatHistogram>,
        /// Whether its counter reset hint was given, so that a result must have the same.
        is_hint_set: bool,
    },
}

impl PartialEq for SeriesValue {
    /// Compares floats by their bits.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Omitted, Self::Omitted) => true,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (
                Self::Histogram { histogram: a, is_hint_set: a_set },
                Self::Histogram { histogram: b, is_hint_set: b_set },
            ) => a == b && a_set == b_set,
            _ => false,
        }
    }
}

/// What is wrong with a series line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeriesError {
    /// The series is not written as one.
    #[error("expected {expected} at {found:?} of a series")]
    Series {
        /// What should stand there.
        expected: &'static str,
        /// The text found instead.
        found: String,
    },
    /// The labels make no label set.
    #[error("labels of a series: {0}")]
    Labels(String),
    /// A value is none.
    #[error("{text:?} is no value")]
    Value {
        /// The text found.
        text: String,
    },
    /// A histogram is not written as one.
    #[error("expected {expected} at {found:?} of a histogram")]
    Histogram {
        /// What should stand there.
        expected: &'static str,
        /// The text found instead.
        found: String,
    },
    /// Histograms cannot be added up or subtracted.
    #[error("histograms make no progression: {reason}")]
    Progression {
        /// What keeps them from it.
        reason: &'static str,
    },
    /// The line stands for too many values.
    #[error("more than {limit} values in one line")]
    TooManyValues {
        /// Most values that are accepted.
        limit: usize,
    },
}

/// Parses a series and its values.
///
/// # Errors
/// [`SeriesError`] for the first thing that is wrong.
///
/// ```
/// use ferula_promql::testlang::series::{SeriesValue, parse_series};
///
/// let line = parse_series(r#"up{job="a"} 1+2x2 _"#)?;
/// let [one, three, five] = [1.0, 3.0, 5.0].map(SeriesValue::Float);
/// assert_eq!(line.values, [one, three, five, SeriesValue::Omitted]);
/// # Ok::<(), ferula_promql::testlang::series::SeriesError>(())
/// ```
pub fn parse_series(text: &str) -> Result<SeriesLine, SeriesError> {
    let (labels, rest) = metric(text)?;
    if rest.starts_with(|c| !is_blank(c)) {
        return Err(SeriesError::Series { expected: "a space", found: excerpt(rest) });
    }
    Ok(SeriesLine { labels, values: values(rest)? })
}

/// Parses a series alone, and gives the text behind it.
pub(super) fn metric(text: &str) -> Result<(Labels, &str), SeriesError> {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':')))
        .unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut pairs = Vec::new();
    if !name.is_empty() {
        pairs.push((METRIC_NAME.to_owned(), name.to_owned()));
    }
    if let Some(inside) = rest.trim_start().strip_prefix('{')
        // Two braces open a histogram.
        && !inside.starts_with('{')
    {
        rest = label_set(inside, &mut pairs)?;
    } else if name.is_empty() {
        return Err(SeriesError::Series { expected: "a metric", found: excerpt(text) });
    }
    let labels =
        Labels::from_pairs(pairs).map_err(|error| SeriesError::Labels(error.to_string()))?;
    Ok((labels, rest))
}

fn label_set<'a>(
    inside: &'a str,
    pairs: &mut Vec<(String, String)>,
) -> Result<&'a str, SeriesError> {
    let fail = |expected, found| Err(SeriesError::Series { expected, found: excerpt(found) });
    let mut rest = inside.trim_start();
    loop {
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok(behind);
        }
        let (name, quoted, after) = match quoted(rest) {
            Some((text, after)) => (text, true, after),
            None => {
                let end = rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(rest.len());
                (rest[..end].to_owned(), false, &rest[end..])
            }
        };
        if name.is_empty() && !quoted {
            return fail("a label name", rest);
        }
        rest = after.trim_start();
        if let Some(after) = rest.strip_prefix('=') {
            let Some((value, after)) = self::quoted(after.trim_start()) else {
                return fail("a label value", after);
            };
            pairs.push((name, value));
            rest = after.trim_start();
        } else if quoted {
            pairs.push((METRIC_NAME.to_owned(), name));
        } else {
            return fail("\"=\"", rest);
        }
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if rest.starts_with('}') => rest,
            None => return fail("\",\" or \"}\"", rest),
        };
    }
}

/// Parses a quoted string, and gives the text behind it.
pub(super) fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let mut escaped = false;
    let end = text[1..].find(|c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped && quote != '`';
        ends
    })?;
    let (string, rest) = text.split_at(end + 2);
    Some((literal::unquote(string)?, rest))
}

fn values(text: &str) -> Result<Vec<SeriesValue>, SeriesError> {
    let mut values = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() {
        rest = item(rest, &mut values)?.trim_start_matches(is_blank);
    }
    Ok(values)
}

/// Parses one item, which may stand for several values.
fn item<'a>(text: &'a str, values: &mut Vec<SeriesValue>) -> Result<&'a str, SeriesError> {
    if text.starts_with("{{") {
        return histogram::item(text, values);
    }
    let end = text.find(is_blank).unwrap_or(text.len());
    let (item, rest) = text.split_at(end);
    let fail = || SeriesError::Value { text: item.to_owned() };
    if item == "stale" {
        push(values, 1, || SeriesValue::Float(stale::STALE_NAN))?;
        return Ok(rest);
    }
    if let Some(repeat) = item.strip_prefix('_') {
        let count = if repeat.is_empty() { 1 } else { count(repeat).ok_or_else(fail)? };
        push(values, count, || SeriesValue::Omitted)?;
        return Ok(rest);
    }
    let (first, after) = signed_number(item).ok_or_else(fail)?;
    if after.is_empty() {
        push(values, 1, || SeriesValue::Float(first))?;
        return Ok(rest);
    }
    let (step, after) = match after.strip_prefix(['+', '-']) {
        Some(_) => signed_number(after).ok_or_else(fail)?,
        None => (0.0, after),
    };
    // The first value comes on top of the repetitions.
    let count = count(after).ok_or_else(fail)? + 1;
    let mut next = first;
    push(values, count, || {
        let value = next;
        next += step;
        SeriesValue::Float(value)
    })?;
    Ok(rest)
}

pub(super) fn push(
    values: &mut Vec<SeriesValue>,
    count: usize,
    mut next: impl FnMut() -> SeriesValue,
) -> Result<(), SeriesError> {
    if count > MAX_VALUES - values.len().min(MAX_VALUES) {
        return Err(SeriesError::TooManyValues { limit: MAX_VALUES });
    }
    values.extend((0..count).map(|_| next()));
    Ok(())
}

/// Parses `xN`.
pub(super) fn count(text: &str) -> Option<usize> {
    let digits = text.strip_prefix('x')?;
    let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
    if all_digits { digits.parse::<u32>().ok()?.try_into().ok() } else { None }
}

/// Parses a number with or without a sign, and gives the text behind it.
pub(super) fn signed_number(text: &str) -> Option<(f64, &str)> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let bytes = unsigned.as_bytes();
    let word = ["inf", "nan"]
        .iter()
        .any(|word| unsigned.get(..3).is_some_and(|text| text.eq_ignore_ascii_case(word)));
    let end = if word {
        3
    } else {
        // A sign belongs to the number only behind the letter of an exponent.
        (0..bytes.len())
            .find(|&i| match bytes[i] {
                b'0'..=b'9' | b'.' | b'_' | b'e' | b'E' => false,
                b'+' | b'-' => i == 0 || !matches!(bytes[i - 1], b'e' | b'E'),
                _ => true,
            })
            .unwrap_or(bytes.len())
    };
    let value = literal::number(unsigned.get(..end)?).ok()?;
    Some((if text.starts_with('-') { -value } else { value }, &unsigned[end..]))
}

pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(20).collect()
}

/// Parses a line of start timestamps, `name{…}@st _ -1m 0sx2 -1m-30sx4`: how far from its sample each
/// lies, in milliseconds; `None` for no start timestamp.
///
/// # Errors
/// [`SeriesError`] for the first thing that is wrong.
pub fn parse_start_timestamps(text: &str) -> Result<(Labels, Vec<Option<i64>>), SeriesError> {
    let (labels, rest) = metric(text)?;
    let items = rest
        .strip_prefix("@st")
        .ok_or_else(|| SeriesError::Series { expected: "\"@st\"", found: excerpt(rest) })?;
    let mut offsets = Vec::new();
    for item in items.split_whitespace() {
        let fail = || SeriesError::Value { text: item.to_owned() };
        let Run { mut offset, step, count } = start_timestamp_run(item).ok_or_else(fail)?;
        if count > MAX_VALUES - offsets.len() {
            return Err(SeriesError::TooManyValues { limit: MAX_VALUES });
        }
        for _ in 0..count {
            offsets.push(offset);
            offset = offset.map(|offset| offset.saturating_add(step));
        }
    }
    Ok((labels, offsets))
}

/// Offsets in even steps.
struct Run {
    offset: Option<i64>,
    step: i64,
    count: usize,
}

fn start_timestamp_run(item: &str) -> Option<Run> {
    if let Some(repeat) = item.strip_prefix('_') {
        let count = if repeat.is_empty() { 1 } else { count(repeat).filter(|count| *count > 0)? };
        return Some(Run { offset: None, step: 0, count });
    }
    let (offset, mut rest) = signed_duration(item)?;
    let mut step = 0;
    if let Some(behind) = rest.strip_prefix(['+', '-']) {
        let (distance, behind) = signed_duration(behind)?;
        step = if rest.starts_with('-') { -distance } else { distance };
        rest = behind;
    } else if rest.is_empty() {
        return Some(Run { offset: Some(offset), step, count: 1 });
    }
    // The first one comes on top of the repetitions.
    Some(Run { offset: Some(offset), step, count: count(rest)? + 1 })
}

/// Parses a duration with or without a sign, in milliseconds, and gives the text behind it.
fn signed_duration(text: &str) -> Option<(i64, &str)> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let end = unsigned[digits..]
        .find(|c: char| !c.is_ascii_alphabetic() || c == 'x')
        .map_or(unsigned.len(), |at| digits + at);
    let ms = i64::try_from(literal::duration_ms(&unsigned[..end]).ok()?).ok()?;
    Some((if text.starts_with('-') { -ms } else { ms }, &unsigned[end..]))
}
