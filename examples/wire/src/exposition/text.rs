//! The text exposition format, version 0.0.4, read as Prometheus reads it.
//!
//! The grammar is that of Prometheus's own scanner (`model/textparse`, release 3): quoted metric
//! and label names are accepted, commas between labels may be missing, and the last line needs no
//! line feed. Two things are stricter: a NUL byte outside of quotes is an error instead of the
//! end of the page, and blanks before a metric name do not become part of it.
//!
//! The parser borrows from the page. A sample line yields its series text undecoded, so that a
//! caller that knows the text need not look at the labels.

use std::borrow::Cow;
use std::ops::Range;
use std::str;

use ferula_chunkenc::stale::NORMAL_NAN;
use ferula_index::METRIC_NAME;

use super::error::quote;
use super::{MetricType, ParseError, ParseProblem};
use crate::number;

/// Reads the entries of one page.
///
/// ```
/// use ferula_wire::exposition::text::{Entry, TextParser};
///
/// let mut parser = TextParser::new(b"# TYPE up gauge\nup{job=\"api\"} 1\n");
/// assert!(matches!(parser.next_entry()?, Some(Entry::Type { metric: "up", .. })));
/// let Some(Entry::Sample(sample)) = parser.next_entry()? else { panic!("a sample follows") };
/// assert_eq!((sample.series, sample.value), (&b"up{job=\"api\"}"[..], 1.0));
/// assert_eq!(parser.labels(), [("__name__".into(), "up".into()), ("job".into(), "api".into())]);
/// assert!(parser.next_entry()?.is_none());
/// # Ok::<(), ferula_wire::exposition::ParseError>(())
/// ```
#[derive(Debug)]
pub struct TextParser<'a> {
    page: &'a [u8],
    at: usize,
    line: usize,
    entry_line: usize,
    is_openmetrics: bool,
    /// Type most recently declared, whichever metric it was declared for.
    kind: MetricType,
    /// Where the name of the current sample stands, without quotes.
    name: Range<usize>,
    /// Where the label names and values of the current sample stand, without quotes.
    pairs: Vec<(Range<usize>, Range<usize>)>,
}

/// One entry of a page.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// A sample of a series; [`TextParser::labels`] tells the labels.
    Sample(SampleLine<'a>),
    /// What a metric means; escapes are not resolved.
    Help {
        /// Name of the metric.
        metric: &'a str,
        /// The text.
        text: &'a str,
    },
    /// What kind of values a metric has.
    Type {
        /// Name of the metric.
        metric: &'a str,
        /// The kind.
        kind: MetricType,
    },
    /// The end of an OpenMetrics text, behind which nothing may stand.
    End,
}

/// A sample as its line gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleLine<'a> {
    /// Name and labels as written, escapes and blanks included.
    pub series: &'a [u8],
    /// The value; every NaN is the normal one.
    pub value: f64,
    /// Time in milliseconds, if the line has one.
    pub timestamp: Option<i64>,
}

impl<'a> TextParser<'a> {
    /// Starts at the beginning of `page`.
    pub fn new(page: &'a [u8]) -> Self {
        Self {
            page,
            at: 0,
            line: 1,
            entry_line: 1,
            is_openmetrics: false,
            kind: MetricType::Untyped,
            name: 0..0,
            pairs: Vec::with_capacity(16),
        }
    }

    /// Starts at the beginning of a part of an OpenMetrics text, which begins at `line` and in which `kind`
    /// was declared last. Exemplars are passed over, and so are units.
    pub(super) fn openmetrics(page: &'a [u8], line: usize, kind: MetricType) -> Self {
        Self { is_openmetrics: true, line, kind, ..Self::new(page) }
    }

    /// The type declared last.
    pub(super) fn kind(&self) -> MetricType {
        self.kind
    }

    /// Number of the line that is read next, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Number of the line that the entry read last stands on.
    pub fn entry_line(&self) -> usize {
        self.entry_line
    }

    /// Reads the next entry; comments and empty lines are passed over.
    ///
    /// # Errors
    /// What is wrong with the page and where. Nothing after it can be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        loop {
            self.skip_blanks();
            self.entry_line = self.line;
            match self.peek() {
                None => return Ok(None),
                Some(b'\n') => self.end_line(),
                Some(b'#') => {
                    if let Some(entry) = self.comment()? {
                        return Ok(Some(entry));
                    }
                }
                Some(_) => return self.sample().map(|sample| Some(Entry::Sample(sample))),
            }
        }
    }

    /// Labels of the sample read last, the metric name first, the others in the page's order.
    ///
    /// Bounds of histogram buckets and quantiles are written as OpenMetrics has them (`1.0`
    /// instead of `1`), so that a series stays the same whatever format it is scraped in.
    pub fn labels(&self) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let text = |range: &Range<usize>| {
            let text = str::from_utf8(&self.page[range.clone()]).expect("checked when it was read");
            unescape(text)
        };
        let mut labels = Vec::with_capacity(self.pairs.len() + 1);
        labels.push((Cow::Borrowed(METRIC_NAME), text(&self.name)));
        for (name, value) in &self.pairs {
            let (name, mut value) = (text(name), text(value));
            let is_bound = match self.kind {
                MetricType::Histogram => name == "le",
                MetricType::Summary => name == "quantile",
                _ => false,
            };
            if let (true, Ok(bound)) = (is_bound, parse_float(value.as_bytes())) {
                value = number::openmetrics(bound).into();
            }
            labels.push((name, value));
        }
        labels
    }

    /// Reads a line that starts with `#`; yields nothing for an ordinary comment.
    fn comment(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        self.at += 1;
        let after_hash = self.at;
        if self.is_openmetrics && self.rest_of_line() == b" EOF" {
            self.at += self.rest_of_line().len();
            self.end_line();
            return Ok(Some(Entry::End));
        }
        self.skip_blanks();
        let keyword = match self.rest() {
            _ if self.at == after_hash => None,
            [b'H', b'E', b'L', b'P', b' ' | b'\t', ..] => Some(Keyword::Help),
            [b'T', b'Y', b'P', b'E', b' ' | b'\t', ..] => Some(Keyword::Type),
            _ => None,
        };
        let Some(keyword) = keyword else {
            self.at += self.rest_of_line().len();
            self.end_line();
            return Ok(None);
        };
        self.at += "HELP".len();
        self.skip_blanks();
        let metric = if self.peek() == Some(b'"') {
            self.quoted("metric name")?
        } else {
            self.word(is_metric_start, is_metric_part, "a metric name")?
        };
        let text = self.rest_of_line();
        self.at += text.len();
        // One byte parts name and text; a line of blanks only has no text.
        let is_blank = text.iter().all(|b| matches!(b, b' ' | b'\t'));
        let text = if is_blank { &text[..0] } else { &text[1..] };
        let entry = match keyword {
            Keyword::Help => {
                let metric = self.utf8(&metric, "metric name")?;
                let text = str::from_utf8(text).map_err(|_| {
                    self.error(ParseProblem::Utf8 { what: "help text", found: quote(text) })
                })?;
                Entry::Help { metric, text }
            }
            Keyword::Type => {
                let word = str::from_utf8(text).ok();
                let kind = word
                    .and_then(|word| match word {
                        "unknown" | "info" | "stateset" | "gaugehistogram"
                            if self.is_openmetrics =>
                        {
                            Some(MetricType::Untyped)
                        }
                        word => MetricType::from_word(word),
                    })
                    .ok_or_else(|| self.error(ParseProblem::MetricType { found: quote(text) }))?;
                self.kind = kind;
                Entry::Type { metric: self.utf8(&metric, "metric name")?, kind }
            }
        };
        self.end_line();
        Ok(Some(entry))
    }

    fn sample(&mut self) -> Result<SampleLine<'a>, ParseError> {
        let start = self.at;
        self.pairs.clear();
        let mut has_name = false;
        if self.peek() != Some(b'{') {
            self.name = self.word(is_metric_start, is_metric_part, "a metric name")?;
            has_name = true;
        }
        let mut end = self.at;
        self.skip_blanks();
        if self.peek() == Some(b'{') {
            self.at += 1;
            self.braces(&mut has_name)?;
            end = self.at;
            self.skip_blanks();
        }
        if !has_name {
            return Err(self.error(ParseProblem::NoMetricName));
        }
        let value = self.value()?;
        self.skip_blanks();
        let timestamp = if self.is_openmetrics { self.seconds()? } else { self.timestamp()? };
        let sample = SampleLine { series: &self.page[start..end], value, timestamp };
        self.end_line();
        Ok(sample)
    }

    /// Reads what stands between braces, the closing one included.
    fn braces(&mut self, has_name: &mut bool) -> Result<(), ParseError> {
        loop {
            self.skip_blanks();
            let is_quoted = self.peek() == Some(b'"');
            let name = match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'"') => self.quoted("label name")?,
                _ => self.word(is_label_start, is_label_part, "a label name")?,
            };
            self.skip_blanks();
            if is_quoted && matches!(self.peek(), Some(b',' | b'}')) {
                if *has_name {
                    return Err(self.error(ParseProblem::TwoMetricNames));
                }
                self.utf8(&name, "metric name")?;
                self.name = name;
                *has_name = true;
            } else {
                self.utf8(&name, "label name")?;
                if self.peek() != Some(b'=') {
                    return Err(self.expected("an equals sign"));
                }
                self.at += 1;
                self.skip_blanks();
                if self.peek() != Some(b'"') {
                    return Err(self.expected("a label value in quotes"));
                }
                let value = self.quoted("label value")?;
                self.utf8(&value, "label value")?;
                self.pairs.push((name, value));
                self.skip_blanks();
            }
            if self.peek() == Some(b',') {
                self.at += 1;
            }
        }
    }

    fn value(&mut self) -> Result<f64, ParseError> {
        let rest = self.rest();
        let len = rest
            .iter()
            .position(|b| matches!(b, b'{' | b' ' | b'\t' | b'\n'))
            .unwrap_or(rest.len());
        if len == 0 {
            return Err(self.expected("a value"));
        }
        let text = &rest[..len];
        let value = parse_float(text).map_err(|problem| {
            self.error(match problem {
                FloatProblem::Syntax => ParseProblem::Value { found: quote(text) },
                FloatProblem::Range => ParseProblem::ValueRange { found: quote(text) },
            })
        })?;
        self.at += len;
        Ok(if value.is_nan() { NORMAL_NAN } else { value })
    }

    /// Reads the timestamp, if there is one, up to the end of the line.
    fn timestamp(&mut self) -> Result<Option<i64>, ParseError> {
        let digits = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return match self.peek() {
                None | Some(b'\n') => Ok(None),
                Some(_) => Err(self.expected("a timestamp or the end of the line")),
            };
        }
        let text = &self.rest()[..digits];
        let timestamp = text.iter().try_fold(0_i64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
        });
        let Some(timestamp) = timestamp else {
            return Err(self.error(ParseProblem::Timestamp { found: quote(text) }));
        };
        self.at += digits;
        self.skip_blanks();
        match self.peek() {
            None | Some(b'\n') => Ok(Some(timestamp)),
            Some(_) => Err(self.expected("the end of the line after the timestamp")),
        }
    }

    /// Reads a timestamp in seconds, if there is one, and passes over what follows it.
    fn seconds(&mut self) -> Result<Option<i64>, ParseError> {
        let rest = self.rest_of_line();
        let len = rest.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(rest.len());
        let text = &rest[..len];
        let mut timestamp = None;
        if !text.is_empty() && text != b"#" {
            let ms = parse_float(text).ok().and_then(whole_ms);
            let invalid = || self.error(ParseProblem::Timestamp { found: quote(text) });
            timestamp = Some(ms.ok_or_else(invalid)?);
            self.at += len;
            self.skip_blanks();
        }
        match self.rest_of_line() {
            [] => {}
            // An exemplar, which blocks do not hold.
            [b'#', b' ', exemplar @ ..] => self.at += 2 + exemplar.len(),
            _ => return Err(self.expected("the end of the line or an exemplar")),
        }
        Ok(timestamp)
    }

    /// Reads an unquoted name.
    fn word(
        &mut self,
        is_start: fn(u8) -> bool,
        is_part: fn(u8) -> bool,
        expected: &'static str,
    ) -> Result<Range<usize>, ParseError> {
        let start = self.at;
        if !self.peek().is_some_and(is_start) {
            return Err(self.expected(expected));
        }
        let rest = self.rest();
        self.at += rest.iter().position(|&b| !is_part(b)).unwrap_or(rest.len());
        Ok(start..self.at)
    }

    /// Reads a quoted text, whose opening quote is known to be there, and yields what is inside.
    fn quoted(&mut self, what: &'static str) -> Result<Range<usize>, ParseError> {
        let start = self.at + 1;
        let mut at = start;
        let mut feeds = 0;
        loop {
            match self.page.get(at) {
                Some(b'"') => break,
                // A line feed cannot be escaped, but it may stand in quotes as it is.
                Some(b'\\') if !matches!(self.page.get(at + 1), None | Some(b'\n')) => at += 2,
                Some(b'\n') => {
                    feeds += 1;
                    at += 1;
                }
                Some(b'\\') | None => {
                    let found = quote(&self.page[start - 1..at]);
                    return Err(self.error(ParseProblem::Unclosed { what, found }));
                }
                Some(_) => at += 1,
            }
        }
        self.line += feeds;
        self.at = at + 1;
        Ok(start..at)
    }

    fn utf8(&self, range: &Range<usize>, what: &'static str) -> Result<&'a str, ParseError> {
        let bytes = &self.page[range.clone()];
        str::from_utf8(bytes)
            .map_err(|_| self.error(ParseProblem::Utf8 { what, found: quote(bytes) }))
    }

    fn peek(&self) -> Option<u8> {
        self.page.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        &self.page[self.at..]
    }

    fn rest_of_line(&self) -> &'a [u8] {
        let rest = self.rest();
        &rest[..rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())]
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes the line feed, if the page does not end here.
    fn end_line(&mut self) {
        if self.at < self.page.len() {
            self.at += 1;
            self.line += 1;
        }
    }

    fn error(&self, problem: ParseProblem) -> ParseError {
        ParseError { line: self.line, problem }
    }

    fn expected(&self, expected: &'static str) -> ParseError {
        let found = match self.rest_of_line() {
            [] => "the end of the line".to_owned(),
            rest => quote(rest),
        };
        self.error(ParseProblem::Expected { expected, found })
    }
}

/// Seconds as milliseconds, the nearest ones.
fn whole_ms(seconds: f64) -> Option<i64> {
    let ms = (seconds * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "it is in the range of whole floats")]
    (ms.abs() < 9e15).then_some(ms as i64)
}

/// The words that make a comment more than one.
#[derive(Clone, Copy)]
enum Keyword {
    Help,
    Type,
}

/// Why a text is no float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatProblem {
    Syntax,
    Range,
}

/// Reads a float as Go's `strconv` does, without its hexadecimal and underscore forms.
pub(crate) fn parse_float(text: &[u8]) -> Result<f64, FloatProblem> {
    // Most values are short whole numbers, which every float holds exactly.
    if let Some(whole) = short_whole_number(text) {
        return Ok(whole);
    }
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

fn short_whole_number(text: &[u8]) -> Option<f64> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter()
        .try_fold(0_u32, |sum, b| {
            let digit = b.wrapping_sub(b'0');
            (digit < 10).then(|| sum * 10 + u32::from(digit))
        })
        .map(f64::from)
}

/// Resolves the escapes of a name or value; those that are none stay as they are.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let replacement = match rest.as_bytes().get(at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'n') => '\n',
            _ => {
                out.push('\\');
                rest = &rest[at + 1..];
                continue;
            }
        };
        out.push(replacement);
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn is_label_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_'
}

fn is_label_part(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn is_metric_start(b: u8) -> bool {
    is_label_start(b) || b == b':'
}

fn is_metric_part(b: u8) -> bool {
    is_label_part(b) || b == b':'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(page: &[u8]) -> Result<Vec<(String, f64, Option<i64>)>, ParseError> {
        let mut parser = TextParser::new(page);
        let mut found = Vec::new();
        while let Some(entry) = parser.next_entry()? {
            if let Entry::Sample(sample) = entry {
                let labels = ferula_index::Labels::from_pairs(parser.labels()).unwrap();
                found.push((labels.to_string(), sample.value, sample.timestamp));
            }
        }
        Ok(found)
    }

    fn one(page: &str) -> (String, f64, Option<i64>) {
        let mut found = samples(page.as_bytes()).unwrap();
        assert_eq!(found.len(), 1, "{page}");
        found.remove(0)
    }

    #[test]
    fn accepted_lines() {
        for (line, labels, value, timestamp) in [
            ("a 1", r#"{__name__="a"}"#, 1.0, None),
            ("  a 1", r#"{__name__="a"}"#, 1.0, None),
            ("a{} -1.5e3", r#"{__name__="a"}"#, -1500.0, None),
            ("a 1 123", r#"{__name__="a"}"#, 1.0, Some(123)),
            ("a\t1\t123\t", r#"{__name__="a"}"#, 1.0, Some(123)),
            ("a{b=\"c\"}1", r#"{__name__="a", b="c"}"#, 1.0, None),
            ("a { b = \"c\" , } 1", r#"{__name__="a", b="c"}"#, 1.0, None),
            ("a{b=\"c\" d=\"e\"} 1", r#"{__name__="a", b="c", d="e"}"#, 1.0, None),
            (r#"a{b="\"x\"\\\n\z"} 1"#, r#"{__name__="a", b="\"x\"\\\n\\z"}"#, 1.0, None),
            ("a{b=\"x\ny\"} 1", r#"{__name__="a", b="x\ny"}"#, 1.0, None),
            (r#"{"a.b","c d"="e"} 1"#, r#"{__name__="a.b", "c d"="e"}"#, 1.0, None),
            (r#"{b="c","a.b"} 1"#, r#"{__name__="a.b", b="c"}"#, 1.0, None),
            ("some:rule:rate5m +Inf", r#"{__name__="some:rule:rate5m"}"#, f64::INFINITY, None),
            ("a -inf", r#"{__name__="a"}"#, f64::NEG_INFINITY, None),
            ("a 1.", r#"{__name__="a"}"#, 1.0, None),
            ("a .5", r#"{__name__="a"}"#, 0.5, None),
            ("a 4.9351e-05", r#"{__name__="a"}"#, 4.9351e-05, None),
        ] {
            let found = one(line);
            assert_eq!(found, (labels.to_owned(), value, timestamp), "{line}");
        }
        assert_eq!(one("a NaN").1.to_bits(), NORMAL_NAN.to_bits());
        assert_eq!(one("a{b=\"x\0y\"} 1").0, r#"{__name__="a", b="x\x00y"}"#);
    }

    #[test]
    fn refused_pages_name_line_and_problem() {
        for (page, message) in [
            ("a", "line 1: expected a value, found the end of the line"),
            ("a 1\nb\n", "line 2: expected a value, found the end of the line"),
            ("a{b='c'} 1", "line 1: expected a label value in quotes, found \"\\'c\\'} 1\""),
            ("a{b=\n", "line 1: expected a label value in quotes, found the end of the line"),
            ("a{=\"\"} 0", "line 1: expected a label name, found \"=\\\"\\\"} 0\""),
            ("a{,b=\"c\"} 0", "line 1: expected a label name, found \",b=\\\"c\\\"} 0\""),
            ("a{b=\"c\",,} 0", "line 1: expected a label name, found \",} 0\""),
            ("a{1b=\"c\"} 0", "line 1: expected a label name, found \"1b=\\\"c\\\"} 0\""),
            ("a{b:c=\"c\"} 0", "line 1: expected an equals sign, found \":c=\\\"c\\\"} 0\""),
            ("{A}0", "line 1: expected an equals sign, found \"}0\""),
            ("{a=\"ok\"} 1", "line 1: metric name is missing"),
            ("a{\"b\"} 1", "line 1: metric name is given twice"),
            ("a{b=\"c", "line 1: label value is not closed: \"\\\"c\""),
            ("a true", "line 1: invalid value \"true\""),
            ("a 1_2", "line 1: invalid value \"1_2\""),
            ("a 0x1p-3", "line 1: invalid value \"0x1p-3\""),
            ("a -NaN", "line 1: invalid value \"-NaN\""),
            ("a 1e400", "line 1: value \"1e400\" is out of range"),
            ("a 1\r\n", "line 1: invalid value \"1\\r\""),
            ("a{} {} 1", "line 1: expected a value, found \"{} 1\""),
            ("a 0 1_2", "line 1: expected the end of the line after the timestamp, found \"_2\""),
            ("a 0 -1", "line 1: expected a timestamp or the end of the line, found \"-1\""),
            (
                "a 0 9223372036854775808",
                "line 1: timestamp \"9223372036854775808\" is out of range",
            ),
            ("1a 0", "line 1: expected a metric name, found \"1a 0\""),
            ("\0", "line 1: expected a metric name, found \"\\x00\""),
            ("# TYPE #\n", "line 1: expected a metric name, found \"#\""),
            ("# HELP \n", "line 1: expected a metric name, found the end of the line"),
            ("# TYPE a  counter\n", "line 1: invalid metric type \" counter\""),
            ("# TYPE a foo\n", "line 1: invalid metric type \"foo\""),
            ("# TYPE a\n", "line 1: invalid metric type \"\""),
            ("a{b=\"x\ny\"} 1\n!", "line 3: expected a metric name, found \"!\""),
        ] {
            let error = samples(page.as_bytes()).expect_err(page);
            assert_eq!(error.to_string(), message, "{page}");
        }
        let error = samples(b"a{b=\"\xff\"} 1").expect_err("bad UTF-8");
        assert_eq!(error.to_string(), "line 1: label value is not valid UTF-8: \"\\xff\"");
    }

    #[test]
    fn comments_and_metadata_are_told_apart() {
        let page = b"#\n# a comment\n#HELP no\n# HELPno x\n\n# HELP m\n# HELP m  two \\n words\n\
                     # \tTYPE\t\"q.m\" summary\n";
        let mut parser = TextParser::new(page);
        let mut found = Vec::new();
        while let Some(entry) = parser.next_entry().unwrap() {
            found.push(entry);
        }
        assert_eq!(
            found,
            [
                Entry::Help { metric: "m", text: "" },
                Entry::Help { metric: "m", text: " two \\n words" },
                Entry::Type { metric: "q.m", kind: MetricType::Summary },
            ]
        );
    }

    #[test]
    fn bounds_are_written_as_openmetrics_does() {
        let page = b"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n\
                     h_bucket{le=\"1e6\"} 2\n# TYPE s summary\ns{quantile=\"0\",le=\"1\"} 3\n\
                     # TYPE g gauge\ng{le=\"1\"} 4\n";
        let names: Vec<_> = samples(page).unwrap().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(
            names,
            [
                r#"{__name__="h_bucket", le="1.0"}"#,
                r#"{__name__="h_bucket", le="+Inf"}"#,
                r#"{__name__="h_bucket", le="1e+06"}"#,
                r#"{__name__="s", le="1", quantile="0.0"}"#,
                r#"{__name__="g", le="1"}"#,
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_page_panics(page in proptest::collection::vec(
            proptest::sample::select(&b"a_{}\"\\=,#1.e+ \n\tHELPTY\0\xff"[..]), 0..60)) {
            let mut parser = TextParser::new(&page);
            while let Ok(Some(entry)) = parser.next_entry() {
                if let Entry::Sample(_) = entry {
                    parser.labels();
                }
            }
        }
    }
}
