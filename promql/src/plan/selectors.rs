//! Which times of the storage a plan needs.

use super::{Node, NodeKind, RangeSource, Selector};
use crate::ast::Boundary;
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
        NodeKind::Call(call) => nodes(&mut call.args.iter()),
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
