//! Which times of the storage a plan needs.

use super::{Node, NodeKind, RangeSource, Selector, Shift};
use crate::ast::Boundary;
use crate::functions::InstantFunction;
use crate::storage::TimeRange;

impl Selector {
    /// The samples needed for steps from `first` to `last`: back to `range_ms` before each, or to
    /// the lookback delta for an instant selector.
    pub(crate) fn needed(
        &self,
        first: i64,
        last: i64,
        range_ms: Option<i64>,
        lookback_ms: i64,
    ) -> TimeRange {
        let back = match (range_ms, self.boundary) {
            (Some(range), None) => range,
            (Some(range), Some(_)) => range.saturating_add(lookback_ms),
            (None, _) => lookback_ms,
        };
        let ahead = if self.boundary == Some(Boundary::Smoothed) { lookback_ms } else { 0 };
        // Windows are open on the left.
        let mint = self.shift.apply(first).saturating_sub(back).saturating_add(1);
        let maxt = self.shift.apply(last).saturating_add(ahead);
        TimeRange::new(mint.min(maxt), maxt).unwrap_or(TimeRange::ALL)
    }
}

/// The range of time that covers all samples needed to evaluate `node` at steps from `first` to
/// `last`; `None` if it reads nothing.
pub(crate) fn needed_times(
    node: &Node,
    first: i64,
    last: i64,
    lookback_ms: i64,
) -> Option<TimeRange> {
    let nodes = |nodes: &mut dyn Iterator<Item = &Node>| {
        nodes.filter_map(|node| needed_times(node, first, last, lookback_ms)).reduce(cover)
    };
    match &node.kind {
        NodeKind::Number(_) | NodeKind::String(_) => None,
        NodeKind::Selector(selector) => Some(selector.needed(first, last, None, lookback_ms)),
        NodeKind::Range(source) => of_source(source, first, last, lookback_ms),
        NodeKind::Call(call) => {
            let info = (call.function == InstantFunction::Info)
                .then(|| call.args.first().and_then(reference_shift))
                .flatten()
                .map(|shift| instant_times(shift, first, last, lookback_ms));
            nodes(&mut call.args.iter()).into_iter().chain(info).reduce(cover)
        }
        NodeKind::RangeCall(call) => {
            [of_source(&call.source, first, last, lookback_ms), nodes(&mut call.params.iter())]
                .into_iter()
                .flatten()
                .reduce(cover)
        }
        NodeKind::Aggregate(aggregate) => {
            nodes(&mut aggregate.param.as_deref().into_iter().chain([&*aggregate.input]))
        }
        NodeKind::Binary(binary) => nodes(&mut [&*binary.left, &*binary.right].into_iter()),
        NodeKind::Negate(inner) => needed_times(inner, first, last, lookback_ms),
        NodeKind::Invariant(inner) => needed_times(inner, first, first, lookback_ms),
    }
}

/// How the first selector in `node` is moved in time by itself and the subqueries around it.
pub(crate) fn reference_shift(node: &Node) -> Option<Shift> {
    match &node.kind {
        NodeKind::Number(_) | NodeKind::String(_) => None,
        NodeKind::Selector(selector) => Some(selector.shift),
        NodeKind::Range(source) => source_shift(source),
        NodeKind::Call(call) => call.args.iter().find_map(reference_shift),
        NodeKind::RangeCall(call) => source_shift(&call.source),
        NodeKind::Aggregate(aggregate) => reference_shift(&aggregate.input),
        NodeKind::Binary(binary) => {
            reference_shift(&binary.left).or_else(|| reference_shift(&binary.right))
        }
        NodeKind::Negate(inner) | NodeKind::Invariant(inner) => reference_shift(inner),
    }
}

fn source_shift(source: &RangeSource) -> Option<Shift> {
    match source {
        RangeSource::Selector { selector, .. } => Some(selector.shift),
        RangeSource::Subquery(subquery) => {
            Some(subquery.shift.then(reference_shift(&subquery.node)?))
        }
    }
}

/// The times that an instant selector moved by `shift` looks at.
fn instant_times(shift: Shift, first: i64, last: i64, lookback_ms: i64) -> TimeRange {
    let matchers = Vec::new();
    let selector = Selector { matchers, shift, boundary: None, used_by: "", stats_only: false };
    selector.needed(first, last, None, lookback_ms)
}

fn of_source(source: &RangeSource, first: i64, last: i64, lookback_ms: i64) -> Option<TimeRange> {
    match source {
        RangeSource::Selector { selector, range_ms } => {
            Some(selector.needed(first, last, Some(*range_ms), lookback_ms))
        }
        RangeSource::Subquery(subquery) => {
            let (start, end) = subquery.bounds(first, last);
            if start > end { None } else { needed_times(&subquery.node, start, end, lookback_ms) }
        }
    }
}

fn cover(a: TimeRange, b: TimeRange) -> TimeRange {
    TimeRange::new(a.mint().min(b.mint()), a.maxt().max(b.maxt())).unwrap_or(TimeRange::ALL)
}
