//! Matchers handed from one side of `and` and `unless` to the other.
//!
//! The right side only tells which series of the left one stay. Where all of these have passed a matcher on
//! a label by which both sides are matched, series of the right side that do not pass it match nothing, and
//! need not be read. Other operators fail if a side is ambiguous, whether or not it has a match, so that both
//! sides of them are read in whole.

use ferula_index::Matcher;

use super::{Node, NodeKind, RangeSource};
use crate::ast::{AggregateGrouping, AggregateOp, BinaryOp, MatchingLabels};
use crate::exec::is_metadata_label;
use crate::functions::RangeFunction;
use crate::functions::signatures::ValueType;

/// Hands matchers on in a plan and in all parts of it.
pub(super) fn apply(node: &mut Node) {
    match &mut node.kind {
        NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Selector(_) => {}
        NodeKind::Range(source) => apply_source(source),
        NodeKind::RangeCall(call) => {
            apply_source(&mut call.source);
            call.params.iter_mut().for_each(apply);
        }
        NodeKind::Call(call) => call.args.iter_mut().for_each(apply),
        NodeKind::Aggregate(aggregate) => {
            if let Some(param) = &mut aggregate.param {
                apply(param);
            }
            apply(&mut aggregate.input);
        }
        NodeKind::Binary(binary) => {
            apply(&mut binary.left);
            apply(&mut binary.right);
            if matches!(binary.op, BinaryOp::And | BinaryOp::Unless) {
                let mut known = passed(&binary.left);
                known.retain(|matcher| match &binary.matching.labels {
                    None => true,
                    Some(MatchingLabels::On(names)) => names.iter().any(|n| n == matcher.name()),
                    Some(MatchingLabels::Ignoring(names)) => {
                        names.iter().all(|n| n != matcher.name())
                    }
                });
                let known: Vec<Matcher> = known.into_iter().cloned().collect();
                narrow(&mut binary.right, known);
            }
        }
        NodeKind::Negate(inner) | NodeKind::Invariant(inner) => apply(inner),
    }
}

fn apply_source(source: &mut RangeSource) {
    if let RangeSource::Subquery(subquery) = source {
        apply(&mut subquery.node);
    }
}

/// Adds matchers to a selector. What is computed from one may say something of series that match nothing, so
/// that those are left alone.
fn narrow(node: &mut Node, matchers: Vec<Matcher>) {
    match &mut node.kind {
        NodeKind::Selector(selector) => {
            for matcher in matchers {
                if !selector.matchers.contains(&matcher) {
                    selector.matchers.push(matcher);
                }
            }
        }
        NodeKind::Invariant(inner) => narrow(inner, matchers),
        _ => {}
    }
}

/// Matchers that all series of a vector pass, but for those on labels that describe the metric.
fn passed(node: &Node) -> Vec<&Matcher> {
    match &node.kind {
        NodeKind::Selector(selector) => without_metadata(&selector.matchers),
        NodeKind::RangeCall(call) => match &call.source {
            RangeSource::Selector { selector, .. } if call.function != RangeFunction::Absent => {
                without_metadata(&selector.matchers)
            }
            _ => Vec::new(),
        },
        NodeKind::Aggregate(aggregate) => {
            let mut known = passed(&aggregate.input);
            match aggregate.op {
                AggregateOp::TopK
                | AggregateOp::BottomK
                | AggregateOp::LimitK
                | AggregateOp::LimitRatio => {}
                // Adds a label, perhaps in place of another one.
                AggregateOp::CountValues => known.clear(),
                _ => known.retain(|matcher| {
                    let has = |names: &[String]| names.iter().any(|name| name == matcher.name());
                    match &aggregate.grouping {
                        None => false,
                        Some(AggregateGrouping::By(names)) => has(names),
                        Some(AggregateGrouping::Without(names)) => !has(names),
                    }
                }),
            }
            known
        }
        NodeKind::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
            (ValueType::Vector, ValueType::Scalar) => passed(&binary.left),
            (ValueType::Scalar, ValueType::Vector) => passed(&binary.right),
            _ if matches!(binary.op, BinaryOp::And | BinaryOp::Unless) => passed(&binary.left),
            _ => Vec::new(),
        },
        NodeKind::Negate(inner) | NodeKind::Invariant(inner) => passed(inner),
        NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Range(_) | NodeKind::Call(_) => {
            Vec::new()
        }
    }
}

fn without_metadata(matchers: &[Matcher]) -> Vec<&Matcher> {
    matchers.iter().filter(|matcher| !is_metadata_label(matcher.name())).collect()
}

#[cfg(test)]
mod tests {
    use crate::host::HostFunctions;
    use crate::plan::{Node, NodeKind, QueryTimes, build};

    /// The matchers of the right side of a query, but for its name.
    fn right_of(text: &str) -> Vec<String> {
        let expr = crate::parse(text).unwrap();
        let times = QueryTimes { start: 0, end: 0, step: 0, subquery_step: 60_000 };
        let plan = build(&expr, text, times, &HostFunctions::default()).unwrap();
        let NodeKind::Binary(binary) = plan.kind else { panic!("{text} is no binary operation") };
        matchers(&binary.right)
    }

    fn matchers(node: &Node) -> Vec<String> {
        match &node.kind {
            NodeKind::Selector(selector) => {
                let own = selector.matchers.iter().filter(|m| m.name() != "__name__");
                own.map(ToString::to_string).collect()
            }
            NodeKind::Invariant(inner) => matchers(inner),
            NodeKind::Aggregate(aggregate) => matchers(&aggregate.input),
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_matches_nothing_is_not_read() {
        assert_eq!(right_of(r#"a{x="1"} and b"#), [r#"x="1""#]);
        assert_eq!(
            right_of(r#"a{x="1",y!="2"} unless on (y) b{x="3"}"#),
            [r#"x="3""#, r#"y!="2""#]
        );
        assert_eq!(right_of(r#"a{x="1",y=~"2|3"} and ignoring (x) b"#), [r#"y=~"2|3""#]);
        assert_eq!(right_of(r#"rate(a{x="1"}[5m]) > 2 and b @ 7"#), [r#"x="1""#]);
        let text = r#"sum by (x) (a{x="1",y="2"}) and on (x, y) b"#;
        assert_eq!(right_of(text), [r#"x="1""#]);
        assert_eq!(right_of(r#"topk(2, a{x="1"}) unless b{x="1"}"#), [r#"x="1""#]);
    }

    #[test]
    fn what_has_to_be_read_is_read() {
        for text in [
            r#"a{x="1"} or b"#,
            r#"a{x="1"} + on (x) b"#,
            r#"a{x="1"} and on () b"#,
            r#"label_replace(a{x="1"}, "x", "2", "", "") and b"#,
            r#"count_values("x", a{x="1"}) and b"#,
            r#"absent_over_time(a{x="1"}[5m]) and b"#,
            r#"sum without (x) (a{x="1"}) and b"#,
            r#"a{x="1"} and sum by (x) (b)"#,
            r#"{__name__="a"} and b"#,
        ] {
            assert_eq!(right_of(text), [""; 0], "{text}");
        }
    }
}
