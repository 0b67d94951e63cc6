//! Which aggregations a query asks for more than once, so that they are computed once.
//!
//! Aggregations are what is worth it: whatever else stands twice in a query is read series by series, and
//! keeping all of these would take memory that grows with the data; the groups of an aggregation are
//! kept while it runs anyway.

use std::collections::HashMap;

use super::{Node, NodeKind, RangeSource};

/// The texts of aggregations that stand more than once in a plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repeats {
    texts: Vec<String>,
}

impl Repeats {
    /// Looks for them in the plan of a query.
    pub(crate) fn find(plan: &Node, text: &str) -> Self {
        let mut counts = HashMap::new();
        walk(plan, &mut |node| {
            if let (NodeKind::Aggregate(_), Some(text)) = (&node.kind, text_of(node, text)) {
                *counts.entry(text).or_insert(0) += 1;
            }
        });
        let repeated = counts.into_iter().filter(|(_, count)| *count > 1);
        Self { texts: repeated.map(|(text, _)| text.to_owned()).collect() }
    }

    /// What a part of the plan has in common with those that are the same, if there are any.
    pub(crate) fn key(&self, node: &Node, text: &str) -> Option<RepeatKey> {
        let of_node = text_of(node, text)?;
        let place = self.texts.iter().position(|text| text == of_node)?;
        let mut stats_only = Vec::new();
        walk(node, &mut |node| stats_only.extend(selector_mark(node)));
        Some(RepeatKey { place, stats_only })
    }
}

/// What equal parts of a plan have in common. Their text alone does not tell: what stands around them
/// decides whether buckets of histograms are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepeatKey {
    place: usize,
    stats_only: Vec<bool>,
}

fn text_of<'a>(node: &Node, text: &'a str) -> Option<&'a str> {
    text.get(node.span.start..node.span.end)
}

fn selector_mark(node: &Node) -> Option<bool> {
    match &node.kind {
        NodeKind::Selector(selector) => Some(selector.stats_only),
        NodeKind::RangeCall(call) => match &call.source {
            RangeSource::Selector { selector, .. } => Some(selector.stats_only),
            RangeSource::Subquery(_) => None,
        },
        _ => None,
    }
}

/// Visits a part of a plan and all parts of it, in the order of the text but for parameters.
fn walk<'a>(node: &'a Node, visit: &mut impl FnMut(&'a Node)) {
    visit(node);
    match &node.kind {
        NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Selector(_) => {}
        NodeKind::Range(source) => walk_source(source, visit),
        NodeKind::RangeCall(call) => {
            walk_source(&call.source, visit);
            call.params.iter().for_each(|param| walk(param, visit));
        }
        NodeKind::Call(call) => call.args.iter().for_each(|arg| walk(arg, visit)),
        NodeKind::Aggregate(aggregate) => {
            if let Some(param) = &aggregate.param {
                walk(param, visit);
            }
            walk(&aggregate.input, visit);
        }
        NodeKind::Binary(binary) => {
            walk(&binary.left, visit);
            walk(&binary.right, visit);
        }
        NodeKind::Negate(inner) | NodeKind::Invariant(inner) => walk(inner, visit),
    }
}

fn walk_source<'a>(source: &'a RangeSource, visit: &mut impl FnMut(&'a Node)) {
    if let RangeSource::Subquery(subquery) = source {
        walk(&subquery.node, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostFunctions;
    use crate::plan::{QueryTimes, build};

    fn keys(text: &str) -> Vec<(String, RepeatKey)> {
        let expr = crate::parse(text).unwrap();
        let times = QueryTimes { start: 0, end: 0, step: 0, subquery_step: 60_000 };
        let plan = build(&expr, text, times, &HostFunctions::default()).unwrap();
        let repeats = Repeats::find(&plan, text);
        let mut found = Vec::new();
        walk(&plan, &mut |node| {
            if let Some(key) = repeats.key(node, text) {
                found.push((text[node.span.start..node.span.end].to_owned(), key));
            }
        });
        found
    }

    #[test]
    fn aggregations_that_stand_twice_are_found() {
        let found = keys("sum(a) / (sum(a) + sum(b)) + count(last_over_time(sum(b)[5m:]))");
        let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["sum(a)", "sum(a)", "sum(b)", "sum(b)"]);
        assert_eq!(found[0].1, found[1].1);
        assert_eq!(found[2].1, found[3].1);
        assert_ne!(found[0].1, found[2].1);
        assert_eq!(keys("rate(a[5m]) / rate(a[5m])"), []);
    }

    #[test]
    fn those_that_read_buckets_are_not_like_those_that_do_not() {
        let found = keys("histogram_count(sum(a)) / histogram_quantile(0.5, sum(a))");
        assert_eq!(found.len(), 2);
        assert_ne!(found[0].1, found[1].1);
    }
}
