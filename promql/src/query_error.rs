//! Why a query has no answer.
//!
//! Messages of evaluation errors are those of Prometheus, because clients and test scripts look
//! for them.

use ferula_index::Labels;

use crate::functions::signatures::ValueType;
use crate::storage::StorageError;
use crate::{ParseError, Span};

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The query cannot be parsed, or makes no sense.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The query uses a part of the language that this engine does not evaluate yet.
    #[error("not yet supported at {line}:{column}: {what}")]
    Unsupported {
        /// What is not supported.
        what: String,
        /// Where it stands.
        span: Span,
        /// Line of the start, from 1.
        line: usize,
        /// Column of the start, from 1.
        column: usize,
    },
    /// A computed duration cannot be used.
    #[error("{}:{}: {reason}", span.start, span.end)]
    Duration {
        /// The duration expression.
        span: Span,
        /// What is wrong with it.
        reason: DurationError,
    },
    /// The step of a range query is not positive, or it ends before it starts.
    #[error("range query from {start} to {end} with step {step} ms: {reason}")]
    Range {
        /// First step, in milliseconds since the Unix epoch.
        start: i64,
        /// Last step, in milliseconds since the Unix epoch.
        end: i64,
        /// Step in milliseconds.
        step: i64,
        /// What is wrong with it.
        reason: RangeError,
    },
    /// A function does not take a window with such bounds.
    #[error("{modifier} modifier can only be used with: {allowed} - not with {function}")]
    Boundary {
        /// `anchored` or `smoothed`.
        modifier: &'static str,
        /// Names of the functions that it can be used with.
        allowed: &'static str,
        /// The function it was used with.
        function: &'static str,
    },
    /// A query for the samples of a window with such bounds found histograms in it.
    #[error("{modifier} modifier is not supported with histograms")]
    HistogramsExtended {
        /// `anchored` or `smoothed`.
        modifier: &'static str,
    },
    /// The type of a query does not fit a range query.
    #[error(
        "invalid expression type \"{found}\" for range query, must be Scalar or instant Vector"
    )]
    RangeQueryType {
        /// The type the query has.
        found: ValueType,
    },
    /// Two series of a vector have the same labels at one step.
    #[error("vector cannot contain metrics with the same labelset")]
    DuplicateLabelset,
    /// The "one" side of a binary operation has two series for one match group.
    #[error(
        "found duplicate series for the match group {group} on the {side} hand-side of the \
         operation: [{first}, {second}];many-to-many matching not allowed: matching labels must \
         be unique on one side"
    )]
    DuplicateMatch {
        /// The labels that match.
        group: Labels,
        /// `left` or `right`.
        side: &'static str,
        /// One of the series.
        first: Labels,
        /// The other one.
        second: Labels,
    },
    /// Several series of the left side match one of the right side.
    #[error(
        "multiple matches for labels: many-to-one matching must be explicit \
         (group_left/group_right)"
    )]
    ImplicitManyToOne,
    /// Two results of a grouped match have the same labels.
    #[error("multiple matches for labels: grouping labels must ensure unique matches")]
    AmbiguousGrouping,
    /// Two info series of one metric belong to the same series and are equally new.
    #[error(
        "found duplicate series for info metric: existing {existing} @ {timestamp}, new {new} @ \
         {timestamp}"
    )]
    DuplicateInfo {
        /// One of the series.
        existing: Labels,
        /// The other one.
        new: Labels,
        /// Time of their samples, in milliseconds since the Unix epoch.
        timestamp: i64,
    },
    /// Info series of two metrics do not agree on a label.
    #[error("conflicting label: {label}")]
    InfoConflict {
        /// Name of the label.
        label: String,
    },
    /// An info series has histograms.
    #[error("info sample should be float")]
    InfoHistogram,
    /// The arguments of `info` are not a vector and a selector.
    #[error("the second argument of info() must be a label selector")]
    InfoSelector,
    /// A parameter of an aggregation or function has a value it cannot have.
    #[error("{0}")]
    Parameter(ParameterError),
    /// A sample would be one too many.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples {
        /// Most samples that may be held at once.
        limit: usize,
    },
    /// More memory would be needed than the query may use.
    #[error(
        "query needs more memory than its limit of {limit_bytes} bytes, for {what} at \
         {line}:{column}"
    )]
    TooMuchMemory {
        /// Most bytes that may be used at once.
        limit_bytes: usize,
        /// What was to be kept in it.
        what: &'static str,
        /// The part of the query that asked for it.
        span: Span,
        /// Line of its start, from 1.
        line: usize,
        /// Column of its start, from 1.
        column: usize,
    },
    /// The query was cancelled.
    #[error("query was canceled in expression evaluation")]
    Cancelled,
    /// The query ran out of time.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// A label set that was computed is too large.
    #[error("cannot make the labels of a result")]
    Labels(#[from] ferula_index::Error),
    /// The storage failed.
    #[error("expanding series")]
    Storage(#[source] StorageError),
}

impl Error {
    /// The error of a storage, or what the query itself told the storage to fail with.
    pub(crate) fn of_storage(error: StorageError) -> Self {
        error.downcast().map_or_else(Self::Storage, |own| *own)
    }
}

/// What is wrong with a computed duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// It is zero or negative where it must not be.
    #[error("duration must be greater than 0")]
    NotPositive,
    /// It is not a number, or infinite.
    #[error("duration is NaN or infinite")]
    NotFinite,
    /// It is too long.
    #[error("duration is out of range")]
    OutOfRange,
    /// It divides by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// It takes the remainder of a division by zero.
    #[error("modulo by zero")]
    ModuloByZero,
}

/// What is wrong with the times of a range query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// The step is zero or negative.
    #[error("the step must be positive")]
    Step,
    /// The last step lies before the first.
    #[error("the end lies before the start")]
    Inverted,
}

/// A parameter with a value it cannot have.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// `topk`, `bottomk` or `limitk` of NaN.
    #[error("Parameter value is NaN")]
    NaN,
    /// `limit_ratio` of NaN.
    #[error("Ratio value is NaN")]
    RatioNaN,
    /// A number of series that is too small.
    #[error("Scalar value {value} underflows int64")]
    Underflow {
        /// The value, as written in messages.
        value: String,
    },
    /// A number of series that is too large.
    #[error("Scalar value {value} overflows int64")]
    Overflow {
        /// The value, as written in messages.
        value: String,
    },
    /// A label name that is none.
    #[error("{what}{name}")]
    LabelName {
        /// What the name is for, with the words that introduce it.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A regular expression that is none.
    #[error("invalid regular expression in label_replace(): {pattern}")]
    Regex {
        /// The regular expression.
        pattern: String,
    },
    /// A factor of `double_exponential_smoothing` outside (0, 1).
    #[error("invalid {which} factor. Expected: 0 < {short} < 1, got: {value:.6}")]
    Factor {
        /// `smoothing` or `trend`.
        which: &'static str,
        /// `sf` or `tf`.
        short: &'static str,
        /// The value.
        value: f64,
    },
}
