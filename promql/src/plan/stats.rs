//! Which selectors are asked only for the count and sum of histograms, so that their buckets can be
//! left behind when samples are read.
//!
//! These are the selectors inside of `histogram_count`, `histogram_sum` or `histogram_avg` that
//! stand in no subquery (whose samples are compared with each other for counter resets, which takes
//! buckets) and in nothing that looks at buckets. Prometheus marks the same ones, and the counter
//! reset hints that it finds while it leaves the buckets behind can be seen in annotations.

use super::{Node, NodeKind, RangeSource};
use crate::ast::BinaryOp;
use crate::functions::InstantFunction;
use crate::functions::native::Measure;

/// Marks such selectors in a plan; `inside` tells whether it stands in one of these functions.
pub(super) fn mark(node: &mut Node, inside: bool) {
    match &mut node.kind {
        NodeKind::Number(_) | NodeKind::String(_) => {}
        NodeKind::Selector(selector) => selector.stats_only = inside,
        NodeKind::Range(source) => mark_source(source, inside),
        NodeKind::RangeCall(call) => {
            mark_source(&mut call.source, inside);
            call.params.iter_mut().for_each(|param| mark(param, inside));
        }
        NodeKind::Call(call) => {
            let inside = match call.function {
                InstantFunction::OfNativeHistograms(
                    Measure::Avg | Measure::Count | Measure::Sum,
                ) => true,
                InstantFunction::HistogramQuantile
                | InstantFunction::HistogramQuantiles
                | InstantFunction::HistogramFraction => return,
                _ => inside,
            };
            call.args.iter_mut().for_each(|arg| mark(arg, inside));
        }
        NodeKind::Aggregate(aggregate) => {
            if let Some(param) = &mut aggregate.param {
                mark(param, inside);
            }
            mark(&mut aggregate.input, inside);
        }
        NodeKind::Binary(binary) => {
            if !matches!(binary.op, BinaryOp::TrimLower | BinaryOp::TrimUpper) {
                mark(&mut binary.left, inside);
                mark(&mut binary.right, inside);
            }
        }
        NodeKind::Negate(inner) | NodeKind::Invariant(inner) => mark(inner, inside),
    }
}

fn mark_source(source: &mut RangeSource, inside: bool) {
    if let RangeSource::Selector { selector, .. } = source {
        selector.stats_only = inside;
    }
}

#[cfg(test)]
mod tests {
    use crate::ast::Expr;
    use crate::host::HostFunctions;
    use crate::plan::{Node, NodeKind, QueryTimes, RangeSource, build};

    /// Whether the selectors of a query, from left to right, are asked for stats only.
    fn marks(text: &str) -> Vec<bool> {
        let expr: Expr = crate::parse(text).unwrap();
        let times = QueryTimes { start: 0, end: 0, step: 0, subquery_step: 60_000 };
        let mut found = Vec::new();
        collect(&build(&expr, text, times, &HostFunctions::default()).unwrap(), &mut found);
        found
    }

    fn collect(node: &Node, found: &mut Vec<bool>) {
        match &node.kind {
            NodeKind::Selector(selector) => found.push(selector.stats_only),
            NodeKind::RangeCall(call) => match &call.source {
                RangeSource::Selector { selector, .. } => found.push(selector.stats_only),
                RangeSource::Subquery(subquery) => collect(&subquery.node, found),
            },
            NodeKind::Call(call) => call.args.iter().for_each(|arg| collect(arg, found)),
            NodeKind::Aggregate(aggregate) => collect(&aggregate.input, found),
            NodeKind::Binary(binary) => {
                collect(&binary.left, found);
                collect(&binary.right, found);
            }
            _ => {}
        }
    }

    #[test]
    fn buckets_are_left_behind_where_nobody_looks_at_them() {
        assert_eq!(marks("histogram_count(rate(a[1m])) + b"), [true, false]);
        assert_eq!(marks("histogram_sum(sum(a) + rate(b[5m]))"), [true, true]);
        assert_eq!(marks("histogram_avg(increase(a[5m:1m]))"), [false]);
        assert_eq!(marks("histogram_count(histogram_quantile(0.5, a))"), [false]);
        assert_eq!(marks("histogram_quantile(0.5, histogram_count(a))"), [false]);
        assert_eq!(marks("histogram_count(a </ 3)"), [false]);
        assert_eq!(marks("histogram_stddev(a)"), [false]);
    }
}
