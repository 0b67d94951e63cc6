//! The text formats, read as Prometheus reads them: its own, versions 0.0.4 and 1.0.0, and OpenMetrics.
//!
//! The grammar is that of Prometheus's own scanners (`model/textparse`, release 3): quoted metric
//! and label names are accepted, commas between labels may be missing, and the last line needs no
//! line feed. Two things are stricter: a NUL byte outside of quotes is an error instead of the
//! end of the page, and blanks before a metric name do not become part of it. OpenMetrics may have
//! blanks and comments where its grammar has none, but must end with `# EOF`.
//!
//! The parser borrows from the page. A sample line yields its series text undecoded, so that a
//! caller that knows the text need not look at the labels.

mod created;
mod exemplar;
mod float;
mod scan;

use std::borrow::Cow;
use std::ops::Range;
use std::str;

use ferula_chunkenc::stale::NORMAL_NAN;
use ferula_index::METRIC_NAME;

use self::created::CreatedTimes;
use self::exemplar::ExemplarPlace;
use self::float::{FloatProblem, parse_float, whole_ms};
use self::scan::{CLASSES, LABEL, METRIC, NUMBER, Scanner};
use super::error::quote;
use super::{MetricType, ParseError, ParseProblem};
use crate::number;

pub use exemplar::ExemplarLine;

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
#[derive(Clone, Debug)]
pub struct TextParser<'a> {
    scan: Scanner<'a>,
    entry_line: usize,
    is_openmetrics: bool,
    /// Whether `_created` lines tell of other series instead of being series themselves.
    tells_created: bool,
    /// Type most recently declared, and the metric it was declared for.
    kind: MetricType,
    family: &'a str,
    /// Where the name of the current sample stands, without quotes.
    name: Range<usize>,
    /// Where the label names and values of the current sample stand, without quotes.
    pairs: Vec<(Range<usize>, Range<usize>)>,
    exemplar: Option<ExemplarPlace>,
    created: CreatedTimes,
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
    /// What the values of a metric are counted in; only OpenMetrics tells.
    Unit {
        /// Name of the metric.
        metric: &'a str,
        /// The unit, which the name of the metric ends with.
        unit: &'a str,
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
    /// Starts at the beginning of `page`, of Prometheus's own format.
    pub fn new(page: &'a [u8]) -> Self {
        Self::start(page, 1, false)
    }

    /// Starts at the beginning of `page`, an OpenMetrics text. Its caller sees to it that it has an end.
    ///
    /// `tells_created` says whether lines that tell since when a series counts are passed over, so that
    /// [`created`](Self::created) tells it, or are series of their own.
    pub fn openmetrics(page: &'a [u8], tells_created: bool) -> Self {
        Self { tells_created, ..Self::start(page, 1, true) }
    }

    /// Starts at the beginning of a part of an OpenMetrics text, which begins at `line` and in which `kind`
    /// was declared last.
    pub(super) fn openmetrics_part(page: &'a [u8], line: usize, kind: MetricType) -> Self {
        Self { kind, ..Self::start(page, line, true) }
    }

    fn start(page: &'a [u8], line: usize, is_openmetrics: bool) -> Self {
        Self {
            scan: Scanner::new(page, line),
            entry_line: line,
            is_openmetrics,
            tells_created: false,
            kind: MetricType::Untyped,
            family: "",
            name: 0..0,
            pairs: Vec::with_capacity(16),
            exemplar: None,
            created: CreatedTimes::default(),
        }
    }

    /// The type declared last.
    pub fn kind(&self) -> MetricType {
        self.kind
    }

    /// The metric whose type was declared last; empty if there is none.
    pub fn family(&self) -> &'a str {
        self.family
    }

    /// Number of the line that is read next, counted from 1.
    pub fn line(&self) -> usize {
        self.scan.line
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
            self.scan.skip_blanks();
            self.entry_line = self.scan.line;
            match self.scan.peek() {
                None => return Ok(None),
                Some(b'\n') => self.scan.end_line(),
                Some(b'#') => {
                    if let Some(entry) = self.comment()? {
                        self.created.clear();
                        return Ok(Some(entry));
                    }
                }
                Some(_) => {
                    let sample = self.sample()?;
                    if self.tells_created && self.is_created_line() {
                        continue;
                    }
                    return Ok(Some(Entry::Sample(sample)));
                }
            }
        }
    }

    /// Labels of the sample read last, the metric name first, the others in the page's order.
    ///
    /// Bounds of histogram buckets and quantiles are written as OpenMetrics has them (`1.0`
    /// instead of `1`), so that a series stays the same whatever format it is scraped in.
    pub fn labels(&self) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let mut labels = Vec::with_capacity(self.pairs.len() + 1);
        labels.push((Cow::Borrowed(METRIC_NAME), self.text(&self.name)));
        for (name, value) in &self.pairs {
            let (name, mut value) = (self.text(name), self.text(value));
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

    /// A name or value that was read, its escapes resolved.
    fn text(&self, range: &Range<usize>) -> Cow<'a, str> {
        let text = str::from_utf8(&self.scan.page[range.clone()]);
        unescape(text.expect("checked when it was read"))
    }

    /// Reads a line that starts with `#`; yields nothing for an ordinary comment.
    fn comment(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        self.scan.at += 1;
        let after_hash = self.scan.at;
        if self.is_openmetrics && self.scan.rest_of_line() == b" EOF" {
            self.scan.at += self.scan.rest_of_line().len();
            self.scan.end_line();
            return Ok(Some(Entry::End));
        }
        self.scan.skip_blanks();
        let keyword = match self.scan.rest() {
            _ if self.scan.at == after_hash => None,
            [b'H', b'E', b'L', b'P', b' ' | b'\t', ..] => Some(Keyword::Help),
            [b'T', b'Y', b'P', b'E', b' ' | b'\t', ..] => Some(Keyword::Type),
            [b'U', b'N', b'I', b'T', b' ' | b'\t', ..] if self.is_openmetrics => {
                Some(Keyword::Unit)
            }
            _ => None,
        };
        let Some(keyword) = keyword else {
            self.scan.at += self.scan.rest_of_line().len();
            self.scan.end_line();
            return Ok(None);
        };
        self.scan.at += "HELP".len();
        self.scan.skip_blanks();
        let metric = match self.scan.peek() {
            Some(b'"') => self.scan.quoted("metric name")?,
            _ => self.scan.word(METRIC, "a metric name")?,
        };
        let text = self.scan.rest_of_line();
        self.scan.at += text.len();
        // One byte parts name and text; a line of blanks only has no text.
        let is_blank = text.iter().all(|b| matches!(b, b' ' | b'\t'));
        let text = if is_blank { &text[..0] } else { &text[1..] };
        let entry = self.described(keyword, &metric, text)?;
        self.scan.end_line();
        Ok(Some(entry))
    }

    /// Puts together what a line says of a metric.
    fn described(
        &mut self,
        keyword: Keyword,
        metric: &Range<usize>,
        text: &'a [u8],
    ) -> Result<Entry<'a>, ParseError> {
        let error = |problem| self.scan.error(problem);
        let utf8 = |what| {
            str::from_utf8(text).map_err(|_| error(ParseProblem::Utf8 { what, found: quote(text) }))
        };
        let metric = self.scan.utf8(metric, "metric name")?;
        match keyword {
            Keyword::Help => Ok(Entry::Help { metric, text: utf8("help text")? }),
            Keyword::Unit => {
                let unit = utf8("unit")?;
                if !unit.is_empty() && !metric.ends_with(unit) {
                    return Err(error(ParseProblem::Unit { found: quote(text) }));
                }
                Ok(Entry::Unit { metric, unit })
            }
            Keyword::Type => {
                let word = str::from_utf8(text).unwrap_or_default();
                let kind = match self.is_openmetrics {
                    true => MetricType::from_openmetrics_word(word),
                    false => MetricType::from_word(word),
                };
                let invalid = || error(ParseProblem::MetricType { found: quote(text) });
                let kind = kind.ok_or_else(invalid)?;
                (self.kind, self.family) = (kind, metric);
                Ok(Entry::Type { metric, kind })
            }
        }
    }

    fn sample(&mut self) -> Result<SampleLine<'a>, ParseError> {
        let start = self.scan.at;
        self.pairs.clear();
        self.exemplar = None;
        let mut has_name = false;
        if self.scan.peek() != Some(b'{') {
            self.name = self.scan.word(METRIC, "a metric name")?;
            has_name = true;
        }
        let mut end = self.scan.at;
        self.scan.skip_blanks();
        if self.scan.peek() == Some(b'{') {
            self.scan.at += 1;
            self.braces(&mut has_name)?;
            end = self.scan.at;
            self.scan.skip_blanks();
        }
        if !has_name {
            return Err(self.scan.error(ParseProblem::NoMetricName));
        }
        let value = self.value()?;
        self.scan.skip_blanks();
        let timestamp = if self.is_openmetrics { self.seconds()? } else { self.timestamp()? };
        let sample = SampleLine { series: &self.scan.page[start..end], value, timestamp };
        self.scan.end_line();
        Ok(sample)
    }

    /// Reads what stands between the braces of a series, the closing one included.
    fn braces(&mut self, has_name: &mut bool) -> Result<(), ParseError> {
        loop {
            self.scan.skip_blanks();
            let is_quoted = self.scan.peek() == Some(b'"');
            let name = match self.scan.peek() {
                Some(b'}') => {
                    self.scan.at += 1;
                    return Ok(());
                }
                Some(b'"') => self.scan.quoted("label name")?,
                _ => self.scan.word(LABEL, "a label name")?,
            };
            self.scan.skip_blanks();
            if is_quoted && matches!(self.scan.peek(), Some(b',' | b'}')) {
                if *has_name {
                    return Err(self.scan.error(ParseProblem::TwoMetricNames));
                }
                self.scan.check_utf8(&name, "metric name")?;
                self.name = name;
                *has_name = true;
            } else {
                let value = self.label_value(&name)?;
                self.pairs.push((name, value));
            }
            if self.scan.peek() == Some(b',') {
                self.scan.at += 1;
            }
        }
    }

    /// Reads the value of a label whose name was read, and the blanks behind it.
    #[inline]
    fn label_value(&mut self, name: &Range<usize>) -> Result<Range<usize>, ParseError> {
        self.scan.check_utf8(name, "label name")?;
        if self.scan.peek() != Some(b'=') {
            return Err(self.scan.expected("an equals sign"));
        }
        self.scan.at += 1;
        self.scan.skip_blanks();
        if self.scan.peek() != Some(b'"') {
            return Err(self.scan.expected("a label value in quotes"));
        }
        let value = self.scan.quoted("label value")?;
        self.scan.check_utf8(&value, "label value")?;
        self.scan.skip_blanks();
        Ok(value)
    }

    fn value(&mut self) -> Result<f64, ParseError> {
        let rest = self.scan.rest();
        let len = rest.iter().take_while(|b| CLASSES[usize::from(**b)] & NUMBER != 0).count();
        if len == 0 {
            return Err(self.scan.expected("a value"));
        }
        let text = &rest[..len];
        let value = parse_float(text).map_err(|problem| {
            self.scan.error(match problem {
                FloatProblem::Syntax => ParseProblem::Value { found: quote(text) },
                FloatProblem::Range => ParseProblem::ValueRange { found: quote(text) },
            })
        })?;
        self.scan.at += len;
        Ok(if value.is_nan() { NORMAL_NAN } else { value })
    }

    /// Reads the timestamp, if there is one, up to the end of the line.
    #[inline]
    fn timestamp(&mut self) -> Result<Option<i64>, ParseError> {
        if let None | Some(b'\n') = self.scan.peek() {
            return Ok(None);
        }
        let digits = self.scan.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return Err(self.scan.expected("a timestamp or the end of the line"));
        }
        let text = &self.scan.rest()[..digits];
        let timestamp = text.iter().try_fold(0_i64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
        });
        let Some(timestamp) = timestamp else {
            return Err(self.scan.error(ParseProblem::Timestamp { found: quote(text) }));
        };
        self.scan.at += digits;
        self.scan.skip_blanks();
        match self.scan.peek() {
            None | Some(b'\n') => Ok(Some(timestamp)),
            Some(_) => Err(self.scan.expected("the end of the line after the timestamp")),
        }
    }

    /// Reads a timestamp in seconds, if there is one, and the exemplar that may follow it.
    fn seconds(&mut self) -> Result<Option<i64>, ParseError> {
        let timestamp = self.time()?;
        match self.scan.rest() {
            [] | [b'\n', ..] => {}
            [b'#', b' ', ..] => {
                self.scan.at += 2;
                self.exemplar()?;
            }
            _ => return Err(self.scan.expected("the end of the line or an exemplar")),
        }
        Ok(timestamp)
    }

    /// Reads a timestamp in seconds, if there is one, and the blanks behind it.
    fn time(&mut self) -> Result<Option<i64>, ParseError> {
        let rest = self.scan.rest();
        let len = rest.iter().take_while(|b| CLASSES[usize::from(**b)] & NUMBER != 0).count();
        let text = &rest[..len];
        if text.is_empty() || text == b"#" {
            return Ok(None);
        }
        let ms = parse_float(text).ok().and_then(whole_ms);
        let invalid = || self.scan.error(ParseProblem::Timestamp { found: quote(text) });
        let ms = ms.ok_or_else(invalid)?;
        self.scan.at += len;
        self.scan.skip_blanks();
        Ok(Some(ms))
    }
}

/// The words that make a comment more than one.
#[derive(Clone, Copy)]
enum Keyword {
    Help,
    Type,
    Unit,
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

#[cfg(test)]
mod tests;
