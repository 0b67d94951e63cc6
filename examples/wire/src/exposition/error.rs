//! What is wrong with a page of metrics, and in which line.

/// Longest piece of a page that an error quotes, in bytes.
const MAX_QUOTE_BYTES: usize = 60;

/// A page that cannot be read, as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: ParseProblem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseProblem {
    /// Something else should stand here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What should.
        expected: &'static str,
        /// What does, quoted and possibly cut short.
        found: String,
    },
    /// A text is not valid UTF-8.
    #[error("{what} is not valid UTF-8: {found}")]
    Utf8 {
        /// Which text.
        what: &'static str,
        /// The text, quoted and possibly cut short.
        found: String,
    },
    /// A quoted text does not end.
    #[error("{what} is not closed: {found}")]
    Unclosed {
        /// Which text.
        what: &'static str,
        /// Its beginning, quoted and possibly cut short.
        found: String,
    },
    /// The braces hold no metric name and none stands before them.
    #[error("metric name is missing")]
    NoMetricName,
    /// The braces hold a metric name although one was given already.
    #[error("metric name is given twice")]
    TwoMetricNames,
    /// A value is no number.
    #[error("invalid value {found}")]
    Value {
        /// The value, quoted and possibly cut short.
        found: String,
    },
    /// A value is too large for a float.
    #[error("value {found} is out of range")]
    ValueRange {
        /// The value, quoted and possibly cut short.
        found: String,
    },
    /// A sample has no timestamp where it needs one.
    #[error("the sample has no timestamp")]
    NoTimestamp,
    /// A label is given twice, or is too long.
    #[error("invalid labels: {found}")]
    Labels {
        /// What is wrong with them.
        found: String,
    },
    /// A line is longer than it may be.
    #[error("the line is longer than {limit} bytes")]
    LineTooLong {
        /// Most bytes that are accepted.
        limit: usize,
    },
    /// An OpenMetrics text does not end with `# EOF`: a part of it may be missing.
    #[error("the text ends without # EOF")]
    NoEnd,
    /// Something stands behind `# EOF`.
    #[error("the text goes on behind # EOF")]
    BehindEnd,
    /// A timestamp does not fit 64 bits, or is no number.
    #[error("timestamp {found} is out of range")]
    Timestamp {
        /// The timestamp, quoted and possibly cut short.
        found: String,
    },
    /// The name of a metric does not end with its unit.
    #[error("unit {found} is not what the name of the metric ends with")]
    Unit {
        /// The unit, quoted and possibly cut short.
        found: String,
    },
    /// A metric type is none of the known ones.
    #[error("invalid metric type {found}")]
    MetricType {
        /// The type, quoted and possibly cut short.
        found: String,
    },
}

/// Quotes the start of `bytes` for an error message.
pub(super) fn quote(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(MAX_QUOTE_BYTES)];
    let dots = if cut.len() < bytes.len() { "…" } else { "" };
    format!("\"{}{dots}\"", cut.escape_ascii())
}
