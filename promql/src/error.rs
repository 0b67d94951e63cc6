//! Errors of this crate: what is wrong with a query's text, and where.

use std::fmt;

use ferula_index::Error as IndexError;

use crate::Span;
use crate::ast::{AggregateOp, BinaryOp};
use crate::functions::signatures::ValueType;
use crate::parser::quote;

/// A query that cannot be parsed, or that makes no sense.
///
/// `Display` gives the one line that Prometheus's API shows. The alternate form, `{:#}`, adds the
/// line of the query with the place marked, and a [hint](Self::hint) if there is one.
///
/// ```
/// let error = ferula_promql::parser::parse("sum(rat(x[5m]))").unwrap_err();
/// assert_eq!(error.to_string(), r#"1:5: parse error: unknown function with name "rat""#);
/// assert_eq!(error.suggestion(), Some("rate"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ParseError {
    kind: Box<ParseErrorKind>,
    span: Span,
    query: Box<str>,
}

impl ParseError {
    pub(crate) fn new(kind: ParseErrorKind, span: Span, query: &str) -> Self {
        Self { kind: Box::new(kind), span, query: query.into() }
    }

    /// What is wrong.
    pub fn kind(&self) -> &ParseErrorKind {
        &self.kind
    }

    /// Where in the query it is wrong.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The text of the query; only its start if it was refused for its size.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// A name that may have been meant.
    pub fn suggestion(&self) -> Option<&'static str> {
        match &*self.kind {
            ParseErrorKind::UnknownFunction { suggestion, .. } => *suggestion,
            _ => None,
        }
    }

    /// Writes the line of the query that holds the start of the span, and a line that marks it.
    fn write_excerpt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.query.floor_char_boundary(self.span.start.min(self.query.len()));
        let line_start = self.query[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = self.query[line_start..].split('\n').next().unwrap_or_default();
        let end = self.query.floor_char_boundary(self.span.end.min(line_start + line.len()));
        let marked = self.query.get(start..end).map_or(0, |text| text.chars().count()).max(1);
        write!(f, "\n  {line}\n  ")?;
        for c in self.query[line_start..start].chars() {
            // A tab is repeated, so that the mark stands under its text at any tab width.
            f.write_str(if c == '\t' { "\t" } else { " " })?;
        }
        f.write_str(&"^".repeat(marked))
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.query.is_empty() {
            write!(f, "unknown position: parse error: {}", self.kind)?;
        } else {
            let (line, column) = self.span.line_column(&self.query);
            write!(f, "{line}:{column}: parse error: {}", self.kind)?;
        }
        if f.alternate() {
            self.write_excerpt(f)?;
            if let Some(hint) = self.hint() {
                write!(f, "\n  {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ParseError {}

/// What can be wrong with the text of a query, in Prometheus's words where it has any.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum ParseErrorKind {
    // Limits.
    #[error("query of {len} bytes exceeds the limit of {limit}")]
    TooLong { len: usize, limit: usize },
    #[error("expression is nested more than {limit} levels deep")]
    TooDeep { limit: usize },
    #[error("matchers take more than {limit} bytes of memory")]
    MatchersTooLarge { limit: usize },

    // Characters and tokens.
    #[error("unclosed left parenthesis")]
    UnclosedParen,
    #[error("unclosed left bracket")]
    UnclosedBracket,
    #[error("unexpected character: {}", quote::quote_char(*.found))]
    UnexpectedCharacter { found: char },
    #[error("unexpected character: {}, expected ':'", quote::quote_char(*.found))]
    ExpectedColon { found: char },
    #[error("unexpected character after '{after}': {}", quote::quote_char(.found.unwrap_or('\u{fffd}')))]
    UnexpectedAfter { after: char, found: Option<char> },
    #[error("unexpected character after '!' inside braces: {}", quote::quote_char(.found.unwrap_or('\u{fffd}')))]
    UnexpectedAfterInBraces { found: Option<char> },
    #[error("unexpected character inside braces: {}", quote::quote_char(*.found))]
    UnexpectedInBraces { found: char },
    #[error("unexpected character in duration expression: {}", quote::quote_char(*.found))]
    UnexpectedInDuration { found: char },
    #[error("unexpected {what} {}", quote::quote_char(*.found))]
    UnexpectedPunctuation { what: &'static str, found: char },
    #[error("unexpected end of input {place}")]
    UnexpectedEnd { place: &'static str },
    #[error("unexpected colon before duration in duration expression")]
    ColonBeforeDuration,
    #[error("unexpected repeated colon in duration expression")]
    RepeatedColon,
    #[error("unterminated quoted string")]
    UnterminatedString,
    #[error("unterminated raw string")]
    UnterminatedRawString,
    #[error("escape sequence not terminated")]
    UnterminatedEscape,
    #[error("unknown escape sequence {}", quote::code_point(*.found))]
    UnknownEscape { found: char },
    #[error("illegal character {} in escape sequence", quote::code_point(*.found))]
    IllegalEscapeCharacter { found: char },
    #[error("escape sequence is an invalid Unicode code point")]
    InvalidCodePoint,
    #[error("error unquoting string {text}: invalid UTF-8")]
    InvalidUtf8 { text: String },
    #[error("bad number or duration syntax: {}", quote::quote(.text))]
    BadNumberOrDuration { text: String },
    #[error("error parsing number: strconv.ParseFloat: parsing {}: {reason}", quote::quote(.text))]
    BadNumber { text: String, reason: &'static str },
    #[error("not a valid duration string: {}", quote::quote(.text))]
    BadDuration { text: String },
    #[error("unknown unit {} in duration {}", quote::quote(.unit), quote::quote(.text))]
    UnknownUnit { unit: String, text: String },
    #[error("duration out of range")]
    DurationOutOfRange,
    #[error("duration must be greater than 0")]
    DurationNotPositive,
    #[error("division by zero")]
    DivisionByZero,
    #[error("modulo by zero")]
    ModuloByZero,

    // Grammar.
    #[error("no expression found in input")]
    Empty,
    #[error("unexpected {found}{}{}", Prefixed(" in ", .context), Prefixed(", expected ", .expected))]
    Unexpected { found: String, context: Option<&'static str>, expected: Option<&'static str> },
    #[error("trailing commas not allowed in function call args")]
    TrailingComma,
    #[error("unknown function with name {}", quote::quote(.name))]
    UnknownFunction { name: String, suggestion: Option<&'static str> },
    #[error("function {} is not enabled", quote::quote(.name))]
    FunctionNotEnabled { name: String },
    #[error("{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions", .op.as_str())]
    AggregateNotEnabled { op: AggregateOp },
    #[error("binop fill modifiers are experimental and not enabled")]
    FillNotEnabled,
    #[error("{modifier} modifier is experimental and not enabled")]
    BoundaryNotEnabled { modifier: &'static str },
    #[error("anchored and smoothed modifiers cannot be used together")]
    AnchoredAndSmoothed,
    #[error("{modifier} modifier is not supported for subqueries")]
    BoundaryOnSubquery { modifier: &'static str },
    #[error("{modifier} modifier not implemented")]
    BoundaryMisplaced { modifier: &'static str },
    #[error("invalid label name for grouping: {}", quote::quote(.name))]
    InvalidGroupingLabel { name: String },
    #[error("ranges only allowed for vector selectors")]
    RangeOnNonSelector,
    #[error("no offset modifiers allowed before range")]
    OffsetBeforeRange,
    #[error("no @ modifiers allowed before range")]
    AtBeforeRange,
    #[error(
        "{modifier} modifier must be preceded by an instant vector selector or range vector selector or a subquery"
    )]
    ModifierMisplaced { modifier: &'static str },
    #[error("offset may not be set multiple times")]
    OffsetTwice,
    #[error("@ <timestamp> may not be set multiple times")]
    AtTwice,
    #[error("timestamp out of bounds for @ modifier: {}", quote::fixed(*.timestamp, 6))]
    AtOutOfBounds { timestamp: f64 },
    #[error("no arguments for aggregate expression provided")]
    NoAggregateArguments,
    #[error(
        "wrong number of arguments for aggregate expression provided, expected {expected}, got {found}"
    )]
    AggregateArgumentCount { expected: usize, found: usize },
    #[error("error parsing regexp: {reason}")]
    Regex { reason: String },
    #[error("{reason}")]
    Matcher { reason: String },

    // Meaning.
    #[error("expected {expected} argument(s) in call to {}, got {found}", quote::quote(.function))]
    ArgumentCount { function: String, expected: usize, found: usize },
    #[error("expected at least {expected} argument(s) in call to {}, got {found}", quote::quote(.function))]
    TooFewArguments { function: String, expected: usize, found: usize },
    #[error("expected at most {expected} argument(s) in call to {}, got {found}", quote::quote(.function))]
    TooManyArguments { function: String, expected: usize, found: usize },
    #[error("expected type {expected} in call to function {}, got {found}", quote::quote(.function))]
    InfoArgumentType { function: String, expected: ValueType, found: ValueType },
    #[error("expected type {expected} in call to function {}, got {found}", quote::quote(.function))]
    ArgumentType { function: String, expected: ValueType, found: ValueType },
    #[error("expected type {expected} in {context}, got {found}")]
    WrongType { expected: ValueType, context: &'static str, found: ValueType },
    #[error("expected label selectors only{}", if *.named { ", got vector selector instead" } else { "" })]
    LabelSelectorsOnly { named: bool },
    #[error("bool modifier can only be used on comparison operators")]
    BoolOnNonComparison,
    #[error("comparisons between scalars must use BOOL modifier")]
    ScalarComparisonWithoutBool,
    #[error("label {} must not occur in ON and GROUP clause at once", quote::quote(.label))]
    LabelInOnAndGroup { label: String },
    #[error("binary expression must contain only scalar and instant vector types")]
    BinaryOperandType,
    #[error("vector matching only allowed between instant vectors")]
    MatchingOnScalar,
    #[error("filling in missing series only allowed between instant vectors")]
    FillOnScalar,
    #[error("no grouping allowed for {:?} operation", .op.as_str())]
    GroupingOnSetOperator { op: BinaryOp },
    #[error("filling in missing series not allowed for set operators")]
    FillOnSetOperator,
    #[error("set operator {:?} not allowed in binary scalar expression", .op.as_str())]
    SetOperatorOnScalar { op: BinaryOp },
    #[error(
        "unary expression only allowed on expressions of type scalar or instant vector, got \"{found}\""
    )]
    UnaryOperandType { found: ValueType },
    #[error("subquery is only allowed on instant vector, got {} instead", .found.short_name())]
    SubqueryOperandType { found: ValueType },
    #[error("metric name must not be set twice: {} or {}", quote::quote(.first), quote::quote(.second))]
    MetricNameTwice { first: String, second: String },
    #[error("vector selector must contain at least one non-empty matcher")]
    EmptySelector,
}

impl From<IndexError> for ParseErrorKind {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Regex { reason, .. } => Self::Regex { reason },
            other => Self::Matcher { reason: other.to_string() },
        }
    }
}

/// Writes a prefix and a text, or nothing if there is no text.
struct Prefixed<'a>(&'static str, &'a Option<&'static str>);

impl fmt::Display for Prefixed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.map_or(Ok(()), |text| write!(f, "{}{text}", self.0))
    }
}
