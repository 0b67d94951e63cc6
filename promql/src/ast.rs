//! The syntax tree of a query.
//!
//! Every node carries the span of the text it was read from. The tree says what was written:
//! parentheses are kept, duration expressions are not evaluated, `start()` and `end()` are not
//! resolved. Whether it makes sense is decided by the checker, which fills in nothing.

use ferula_index::Matcher;

use crate::Span;

/// An expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What the expression is.
    pub kind: ExprKind,
    /// The text it was read from.
    pub span: Span,
}

/// The forms of an expression.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ExprKind {
    /// A number, written plainly or as a duration in seconds.
    Number(NumberLiteral),
    /// A string, with its escapes resolved.
    String(String),
    /// `name{…}`: instant vector selector.
    Selector(VectorSelector),
    /// `name{…}[5m]`: range vector selector.
    Matrix(MatrixSelector),
    /// `expr[1h:5m]`: subquery.
    Subquery(Subquery),
    /// `+expr` or `-expr`.
    Unary(UnaryExpr),
    /// `left op right`.
    Binary(BinaryExpr),
    /// `function(args)`.
    Call(Call),
    /// `sum by (…) (expr)` and its like.
    Aggregate(AggregateExpr),
    /// `(expr)`.
    Paren(Box<Expr>),
}

/// A number as it was written.
#[derive(Clone, Copy, Debug)]
pub struct NumberLiteral {
    /// The number; for a duration, its seconds.
    pub value: f64,
    /// Whether it was written as a duration, `5m` for 300.
    pub is_duration: bool,
}

impl PartialEq for NumberLiteral {
    /// Compares the bits of the values, so that NaN equals itself.
    fn eq(&self, other: &Self) -> bool {
        self.value.to_bits() == other.value.to_bits() && self.is_duration == other.is_duration
    }
}

/// An instant vector selector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// Metric name in front of the braces, if there is one; its matcher is among `matchers`.
    pub name: Option<String>,
    /// All label tests, that of the metric name last if it stood in front of the braces.
    pub matchers: Vec<Matcher>,
    /// `offset` and `@`.
    pub modifiers: Modifiers,
    /// `anchored` or `smoothed`.
    pub boundary: Option<Boundary>,
}

/// A range vector selector: a vector selector and the length of its window.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// Which series, and the modifiers written behind the window.
    pub selector: VectorSelector,
    /// Text of the selector without window and modifiers.
    pub selector_span: Span,
    /// Length of the window.
    pub range: DurationExpr,
}

/// An expression evaluated at several times before each step.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Box<Expr>,
    /// Length of the window.
    pub range: DurationExpr,
    /// Distance of the evaluations; the engine's default if absent.
    pub step: Option<DurationExpr>,
    /// `offset` and `@`.
    pub modifiers: Modifiers,
}

/// What moves a selector or subquery in time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Modifiers {
    /// `offset`: how far to look back; negative looks forward.
    pub offset: Option<DurationExpr>,
    /// `@`: a fixed evaluation time.
    pub at: Option<At>,
}

/// The time after `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
    /// `start()`: the first step of the query.
    Start,
    /// `end()`: the last step of the query.
    End,
}

/// How the bounds of a window are treated by extended range selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// `anchored`: the last sample at or before each bound stands at the bound.
    Anchored,
    /// `smoothed`: values at the bounds are interpolated.
    Smoothed,
}

impl Boundary {
    /// The modifier as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::Smoothed => "smoothed",
        }
    }
}

/// A length of time, possibly computed.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    /// What the duration is.
    pub kind: DurationKind,
    /// The text it was read from.
    pub span: Span,
}

/// The forms of a duration expression.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DurationKind {
    /// A literal: a duration, or a plain number of seconds.
    Literal(NumberLiteral),
    /// `step()`: the step of the query.
    Step,
    /// `range()`: from the first to the last step of the query.
    Range,
    /// `+d` or `-d`.
    Unary {
        /// The sign.
        op: UnaryOp,
        /// What it applies to.
        expr: Box<DurationExpr>,
    },
    /// `left op right`.
    Binary {
        /// `+ - * / % ^`.
        op: BinaryOp,
        /// The left side.
        left: Box<DurationExpr>,
        /// The right side.
        right: Box<DurationExpr>,
    },
    /// `min_of(a, b)`.
    MinOf(Box<DurationExpr>, Box<DurationExpr>),
    /// `max_of(a, b)`.
    MaxOf(Box<DurationExpr>, Box<DurationExpr>),
    /// `(d)`.
    Paren(Box<DurationExpr>),
}

/// A sign before an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// A signed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct UnaryExpr {
    /// The sign.
    pub op: UnaryOp,
    /// What it applies to.
    pub expr: Box<Expr>,
}

/// Operators between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `</`: keeps the part of a histogram below a value.
    TrimUpper,
    /// `>/`: keeps the part of a histogram above a value.
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// The operator as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// Tells whether this is `==`, `!=`, `<`, `<=`, `>` or `>=`.
    pub const fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    /// Tells whether this is `and`, `or` or `unless`.
    pub const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// Two expressions and the operator between them.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryExpr {
    /// The operator.
    pub op: BinaryOp,
    /// Where the operator stands.
    pub op_span: Span,
    /// The left side.
    pub left: Box<Expr>,
    /// The right side.
    pub right: Box<Expr>,
    /// `bool`: comparisons yield 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// How series of both sides find each other.
    pub matching: Matching,
}

/// How the series of two vectors are matched.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// `on` or `ignoring`, if written.
    pub labels: Option<MatchingLabels>,
    /// `group_left` or `group_right`, if written.
    pub group: Option<Grouping>,
    /// `fill` or `fill_left`: value for series missing on the left.
    pub fill_left: Option<f64>,
    /// `fill` or `fill_right`: value for series missing on the right.
    pub fill_right: Option<f64>,
}

impl PartialEq for Matching {
    /// Compares the bits of the fill values, so that NaN equals itself.
    fn eq(&self, other: &Self) -> bool {
        let bits = |value: Option<f64>| value.map(f64::to_bits);
        self.labels == other.labels
            && self.group == other.group
            && bits(self.fill_left) == bits(other.fill_left)
            && bits(self.fill_right) == bits(other.fill_right)
    }
}

/// The labels by which series are matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchingLabels {
    /// `on (…)`: these only.
    On(Vec<String>),
    /// `ignoring (…)`: all but these.
    Ignoring(Vec<String>),
}

/// Many-to-one matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// Which side has many series per match.
    pub many: Side,
    /// Labels copied over from the "one" side.
    pub include: Vec<String>,
}

/// A side of a binary expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `group_left`
    Left,
    /// `group_right`
    Right,
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Name of the function.
    pub function: String,
    /// Where the name stands.
    pub function_span: Span,
    /// Its arguments.
    pub args: Vec<Expr>,
}

/// Aggregation operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is called what PromQL calls it")]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    TopK,
    BottomK,
    CountValues,
    Quantile,
    LimitK,
    LimitRatio,
}

impl AggregateOp {
    /// The operator as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::TopK => "topk",
            Self::BottomK => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::LimitK => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// Finds the operator called `name`, in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "count" => Self::Count,
            "min" => Self::Min,
            "max" => Self::Max,
            "group" => Self::Group,
            "stddev" => Self::Stddev,
            "stdvar" => Self::Stdvar,
            "topk" => Self::TopK,
            "bottomk" => Self::BottomK,
            "count_values" => Self::CountValues,
            "quantile" => Self::Quantile,
            "limitk" => Self::LimitK,
            "limit_ratio" => Self::LimitRatio,
            _ => return None,
        })
    }

    /// Tells whether the operator takes a parameter before the vector.
    pub const fn takes_param(self) -> bool {
        matches!(
            self,
            Self::TopK
                | Self::BottomK
                | Self::CountValues
                | Self::Quantile
                | Self::LimitK
                | Self::LimitRatio
        )
    }

    /// Tells whether the operator must be enabled to be used.
    pub const fn is_experimental(self) -> bool {
        matches!(self, Self::LimitK | Self::LimitRatio)
    }
}

/// An aggregation of a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateExpr {
    /// The operator.
    pub op: AggregateOp,
    /// Where its name stands.
    pub op_span: Span,
    /// The parameter of `topk`, `quantile` and their like.
    pub param: Option<Box<Expr>>,
    /// What is aggregated.
    pub expr: Box<Expr>,
    /// `by` or `without`; everything becomes one group if absent.
    pub grouping: Option<AggregateGrouping>,
}

/// The labels that make up the groups of an aggregation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AggregateGrouping {
    /// `by (…)`: these only.
    By(Vec<String>),
    /// `without (…)`: all but these.
    Without(Vec<String>),
}
