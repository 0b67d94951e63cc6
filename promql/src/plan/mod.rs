//! The logical plan of a query: what is evaluated, with every time resolved.
//!
//! A plan differs from the syntax tree in that parentheses are gone, constants are folded,
//! durations and `@` are numbers of milliseconds, functions are looked up, and parts that have the
//! same value at every step are marked to be evaluated once. Nothing here touches a storage.

mod build;
mod duration;
mod pushdown;
mod repeats;
mod selectors;
mod stats;

use ferula_index::Matcher;

use crate::Span;
use crate::ast::{AggregateGrouping, AggregateOp, BinaryOp, Boundary, Matching};
use crate::exec::batch::Grid;
use crate::functions::signatures::ValueType;
use crate::functions::{InstantFunction, RangeFunction};

pub(crate) use build::{QueryTimes, build};
pub(crate) use repeats::{RepeatKey, Repeats};
pub(crate) use selectors::{needed_times, reference_shift};

/// A part of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// The text it comes from.
    pub(crate) span: Span,
    /// The same with a plus sign in front of it, if there is one.
    pub(crate) signed: Span,
}

/// The forms of a part of a plan.
#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    /// A number that is the same at every step.
    Number(f64),
    String(String),
    /// The newest sample of each series.
    Selector(Selector),
    /// Samples of a window: an argument of a range function, or the whole query.
    Range(RangeSource),
    /// A function of instant vectors and scalars.
    Call(Call),
    /// A function of a window.
    RangeCall(RangeCall),
    Aggregate(Aggregate),
    Binary(Binary),
    /// The vector with its signs turned.
    Negate(Box<Node>),
    /// Evaluated at the first step, and the same at all others.
    Invariant(Box<Node>),
}

/// Which series are read.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) shift: Shift,
    pub(crate) boundary: Option<Boundary>,
    /// Name of the function or aggregation around the selector, a hint for the storage.
    pub(crate) used_by: &'static str,
    /// Only counts and sums of histograms are asked for.
    pub(crate) stats_only: bool,
}

/// How the time of a step becomes the time that is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) offset_ms: i64,
    pub(crate) at: Option<i64>,
}

impl Shift {
    /// The times looked at for all steps of `grid`.
    pub(crate) fn times(self, grid: Grid) -> impl Iterator<Item = i64> {
        let distance = if self.at.is_some() { 0 } else { grid.step };
        let first = self.apply(grid.start);
        std::iter::successors(Some(first), move |time| Some(time.saturating_add(distance)))
            .take(grid.len)
    }

    /// This shift, and then `inner` from where it led.
    pub(crate) fn then(self, inner: Self) -> Self {
        match inner.at {
            Some(_) => inner,
            None => Self { offset_ms: self.offset_ms.saturating_add(inner.offset_ms), at: self.at },
        }
    }

    /// The time looked at for a step at `time`.
    pub(crate) fn apply(self, time: i64) -> i64 {
        self.at.unwrap_or(time).saturating_sub(self.offset_ms)
    }
}

/// Where the samples of a window come from.
#[derive(Clone, Debug)]
pub(crate) enum RangeSource {
    Selector { selector: Selector, range_ms: i64 },
    Subquery(Subquery),
}

impl RangeSource {
    pub(crate) fn range_ms(&self) -> i64 {
        match self {
            Self::Selector { range_ms, .. } => *range_ms,
            Self::Subquery(subquery) => subquery.range_ms,
        }
    }

    pub(crate) fn shift(&self) -> Shift {
        match self {
            Self::Selector { selector, .. } => selector.shift,
            Self::Subquery(subquery) => subquery.shift,
        }
    }

    pub(crate) fn boundary(&self) -> Option<Boundary> {
        match self {
            Self::Selector { selector, .. } => selector.boundary,
            Self::Subquery(_) => None,
        }
    }
}

/// An expression evaluated at several times within a window.
#[derive(Clone, Debug)]
pub(crate) struct Subquery {
    pub(crate) node: Box<Node>,
    pub(crate) range_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) shift: Shift,
}

impl Subquery {
    /// First and last evaluation for windows that end at the steps from `first` to `last`: the
    /// multiples of the step behind the start of the first window, up to the end of the last.
    pub(crate) fn bounds(&self, first: i64, last: i64) -> (i64, i64) {
        let open = self.shift.apply(first).saturating_sub(self.range_ms);
        let mut start = open / self.step_ms * self.step_ms;
        if start <= open {
            start = start.saturating_add(self.step_ms);
        }
        (start, self.shift.apply(last))
    }
}

/// A call of a function without a window.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: InstantFunction,
    pub(crate) args: Vec<Node>,
}

/// A call of a function with a window.
#[derive(Clone, Debug)]
pub(crate) struct RangeCall {
    pub(crate) function: RangeFunction,
    pub(crate) source: RangeSource,
    /// The other arguments, all scalars, in order.
    pub(crate) params: Vec<Node>,
    /// The text of the first argument, which annotations point to.
    pub(crate) first_span: Span,
}

/// An aggregation.
#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    pub(crate) op: AggregateOp,
    pub(crate) param: Option<Box<Node>>,
    pub(crate) input: Box<Node>,
    pub(crate) grouping: Option<AggregateGrouping>,
}

/// A binary operation.
#[derive(Clone, Debug)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
    pub(crate) left: Box<Node>,
    pub(crate) right: Box<Node>,
    pub(crate) return_bool: bool,
    pub(crate) matching: Matching,
}

impl Node {
    /// Makes a node without a sign in front of it.
    pub(crate) fn new(kind: NodeKind, span: Span) -> Self {
        Self { kind, span, signed: span }
    }

    /// Where annotations about it point if it is an argument.
    pub(crate) fn place(&self) -> Span {
        self.signed
    }

    /// The type of the value.
    pub(crate) fn value_type(&self) -> ValueType {
        match &self.kind {
            NodeKind::Number(_) => ValueType::Scalar,
            NodeKind::String(_) => ValueType::String,
            NodeKind::Range(_) => ValueType::Matrix,
            NodeKind::Call(call) => call.function.returns(),
            NodeKind::Selector(_) | NodeKind::RangeCall(_) | NodeKind::Aggregate(_) => {
                ValueType::Vector
            }
            NodeKind::Negate(inner) | NodeKind::Invariant(inner) => inner.value_type(),
            NodeKind::Binary(binary) => {
                match (binary.left.value_type(), binary.right.value_type()) {
                    (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                    _ => ValueType::Vector,
                }
            }
        }
    }
}
