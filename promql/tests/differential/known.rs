//! Differences that are wanted; docs/promql.md tells of each.

use std::collections::BTreeSet;
use std::sync::Arc;

use ferula_promql::ast::{AggregateExpr, BinaryOp, Expr, ExprKind, Modifiers};
use ferula_promql::parser::{ParseOptions, parse_with};
use ferula_promql::storage::Queryable;

use crate::answer::{Answer, Difference, Outcome, Tolerance};
use crate::case::{Case, Time};

/// An answer of this engine and one of the peer.
pub(crate) struct Pair<'a> {
    pub(crate) case: &'a Case,
    pub(crate) storage: &'a Arc<dyn Queryable>,
    pub(crate) ours: &'a Outcome,
    pub(crate) theirs: &'a Outcome,
}

/// Why answers differ, if it is known.
pub(crate) fn reason(pair: &Pair<'_>, difference: &Difference) -> Option<&'static str> {
    let expr = parse_with(&pair.case.query, &ParseOptions::ALL).ok()?;
    if has(&expr, &varies_over_pinned_subquery) {
        return Some("a pinned subquery with other arguments that vary");
    }
    if has(&expr, &pins_twice) {
        return Some("what is pinned within a subquery that moves");
    }
    if has(&expr, &|part| has_native_buckets(pair, part)) {
        return Some("native histograms with a label le");
    }
    if has(&expr, &stamps_with_both) {
        return Some("the timestamp of a selector with offset and @");
    }
    if has(&expr, &fills_in) && [pair.ours, pair.theirs].into_iter().any(refuses) {
        return Some("pairs that an operator refuses are filled in");
    }
    if has(&expr, &takes_any_of_results) {
        return Some("the first of what has no order");
    }
    if stumbles_over_zero_bucket(pair.theirs) {
        return Some("a zero bucket that custom buckets do not have");
    }
    if is_inner_error(pair.theirs) {
        return Some("a float and a histogram of equal labels");
    }
    if has(&expr, &informs_of_other_times) {
        return Some("info of a selector with an offset or @");
    }
    match (pair.ours, pair.theirs) {
        (Outcome::Answered(ours), Outcome::Answered(theirs)) => {
            if pair.ours.difference(pair.theirs, false).is_none() {
                return Some("sort_by_label of series without the label");
            }
            match difference {
                Difference::Annotations { .. } => annotations(pair, &expr, ours, theirs),
                Difference::Series(_) if has(&expr, &|part| predicts_infinity(pair, part)) => {
                    Some("last digits of a function, enlarged")
                }
                Difference::Series(_)
                    if has(&expr, &counts_values) && same_counts(ours, theirs) =>
                {
                    Some("last digits in labels of count_values")
                }
                Difference::Values(_) if has(&expr, &spreads_results) => {
                    Some("the order in which a group is added up")
                }
                Difference::Values(_) if has(&expr, &is_rounded) && is_near(pair, &expr) => {
                    Some("last digits of a function, enlarged")
                }
                Difference::Series(_) if has(&expr, &is_info) && pair.case.flags.contains('d') => {
                    Some("info gives back names that are to be dropped")
                }
                Difference::Values(_) | Difference::Series(_) => values(pair, &expr),
                _ => None,
            }
        }
        (Outcome::Failed(ours), Outcome::Answered(_)) => {
            ours.contains("same labelset").then_some("a float and a histogram of equal labels")
        }
        (Outcome::Failed(ours), Outcome::Failed(theirs)) if is_match(ours) && is_match(theirs) => {
            Some("which of several errors comes first")
        }
        _ => {
            let class = pair.theirs.class()?;
            let fails = |outcome: &Outcome| outcome.class().is_some_and(|ours| ours == class);
            may_be_unread(pair, &expr, &fails).then_some("an error in what nobody reads")
        }
    }
}

/// Tells whether a part computes what cannot be exact: libraries differ in the last digit.
fn is_rounded(part: &Expr) -> bool {
    match &part.kind {
        ExprKind::Binary(binary) => matches!(binary.op, BinaryOp::Pow | BinaryOp::Atan2),
        ExprKind::Call(call) => ROUNDED.contains(&&*call.function),
        _ => false,
    }
}

const ROUNDED: [&str; 25] = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cos",
    "cosh",
    "sin",
    "sinh",
    "tan",
    "tanh",
    "exp",
    "ln",
    "log2",
    "log10",
    "deg",
    "rad",
    "sqrt",
    "deriv",
    "predict_linear",
    "histogram_quantile",
    "histogram_quantiles",
    "histogram_stddev",
    "histogram_stdvar",
];

/// Tells whether answers differ in the last half of the digits only, or, if they have to do with a slope, in
/// what may be left by rounding of one that is nothing.
fn is_near(pair: &Pair<'_>, expr: &Expr) -> bool {
    let absolute = if has(expr, &is_slope) { 1e-12 } else { 0.0 };
    let tolerance = Tolerance { relative: 1e-8, absolute };
    let difference = pair.ours.difference_within(pair.theirs, pair.case.is_ordered(), tolerance);
    !matches!(difference, Some(Difference::Values(_)))
}

fn is_slope(part: &Expr) -> bool {
    let slopes = ["deriv", "predict_linear"];
    matches!(&part.kind, ExprKind::Call(call) if slopes.contains(&call.function.as_str()))
}

/// Tells whether a slope that may be nothing but rounding is multiplied by infinity.
fn predicts_infinity(pair: &Pair<'_>, part: &Expr) -> bool {
    matches!(&part.kind, ExprKind::Call(call) if call.function == "predict_linear")
        && text(pair, part).contains("Inf")
}

fn counts_values(part: &Expr) -> bool {
    matches!(&part.kind, ExprKind::Aggregate(aggregate) if aggregate.op.as_str() == "count_values")
}

/// Tells whether the labels of two answers are the same, but for the last digits of numbers.
fn same_counts(ours: &Answer, theirs: &Answer) -> bool {
    let labels = |answer: &Answer| -> BTreeSet<String> {
        let rounded = |value: &str| {
            value.parse::<f64>().map_or(value.to_owned(), |v| format!("{:.9e}", v + 0.0))
        };
        let texts = answer.series.iter().map(|series| {
            let pairs =
                series.labels.iter().map(|(name, value)| format!("{name}={}", rounded(value)));
            pairs.collect::<Vec<_>>().join(",")
        });
        texts.collect()
    };
    labels(ours) == labels(theirs)
}

/// Tells whether an error is about series that clash.
fn is_match(error: &str) -> bool {
    ["match group", "multiple matches", "same labelset"].iter().any(|text| error.contains(text))
}

fn values(pair: &Pair<'_>, expr: &Expr) -> Option<&'static str> {
    if has(expr, &magnifies) {
        return Some("the sine or remainder of a number with another last digit");
    }
    if has(expr, &tells_last_time) && pair.case.time.bounds().0 < MAX_WINDOW_MS {
        return Some("times before 1970");
    }
    has(expr, &|part| takes_quantile_of_nan(pair, part)).then_some("a quantile of NaN")
}

/// Prometheus tells no time before 1970.
fn tells_last_time(part: &Expr) -> bool {
    matches!(&part.kind, ExprKind::Call(call) if call.function == "ts_of_last_over_time")
}

/// How far queries made at random look back, about.
const MAX_WINDOW_MS: i64 = 3 * 3_600_000;

/// Tells whether a part may take native histograms that got a label `le`.
fn has_native_buckets(pair: &Pair<'_>, part: &Expr) -> bool {
    let ExprKind::Call(call) = &part.kind else { return false };
    let gives_label = |part: &Expr| match &part.kind {
        ExprKind::Binary(binary) => binary.matching.group.is_some(),
        _ => text(pair, part).contains(", \"le\", "),
    };
    call.function.starts_with("histogram_") && has(part, &gives_label)
}

/// Tells whether a part makes differences of the last digit large.
fn magnifies(part: &Expr) -> bool {
    let computes = |part: &Expr| matches!(part.kind, ExprKind::Binary(_) | ExprKind::Call(_));
    if let ExprKind::Binary(binary) = &part.kind
        && binary.op == BinaryOp::Mod
    {
        return has(&binary.left, &computes) || has(&binary.right, &computes);
    }
    let is_one_of = |part: &Expr, names: &[&str]| matches!(&part.kind, ExprKind::Call(call) if names.contains(&&*call.function));
    let grows = |part: &Expr| {
        matches!(&part.kind, ExprKind::Binary(_))
            || is_one_of(part, &["exp", "cosh", "sinh", "tan", "deriv", "predict_linear"])
    };
    is_one_of(part, &["sin", "cos", "tan"]) && has(part.children()[0], &grows)
}

/// Tells whether a part takes quantiles of native histograms whose sum is NaN.
fn takes_quantile_of_nan(pair: &Pair<'_>, part: &Expr) -> bool {
    let ExprKind::Call(call) = &part.kind else { return false };
    let vector = match call.function.as_str() {
        "histogram_quantile" => 1,
        "histogram_quantiles" => 0,
        _ => return false,
    };
    let argument = text(pair, &call.args[vector]);
    let query = format!("count_values(\"v\", histogram_sum({argument}))");
    let is_nan = |(_, value): &(String, String)| value == "NaN";
    // Within a subquery they are taken at other times.
    [pair.case.time, ALL_TIMES].into_iter().any(|time| {
        let alone = Case { query: query.clone(), time, ..pair.case.clone() };
        let Outcome::Answered(answer) = alone.run(pair.storage) else { return false };
        answer.series.iter().any(|series| series.labels.iter().any(is_nan))
    })
}

/// Times within and around all samples.
const ALL_TIMES: Time = Time::Range { start: 0, end: 3_000_000, step: 1_000 };

fn fills_in(expr: &Expr) -> bool {
    let ExprKind::Binary(binary) = &expr.kind else { return false };
    binary.matching.fill_left.is_some() || binary.matching.fill_right.is_some()
}

/// Tells whether an operator does not take some pairs.
fn refuses(outcome: &Outcome) -> bool {
    let Outcome::Answered(answer) = outcome else { return false };
    answer.annotations.iter().any(|text| text.contains("for binary operator"))
}

/// In a range query, Prometheus has the results of an operator or function in the order of a hash map,
/// and those of some aggregations always, those of others in the order in which groups came up first;
/// `limitk` takes the first, and `topk` the first of equal ones.
fn takes_any_of_results(part: &Expr) -> bool {
    let ExprKind::Aggregate(aggregate) = &part.kind else { return false };
    ["limitk", "topk", "bottomk"].contains(&aggregate.op.as_str())
        && !matches!(unwrapped(&aggregate.expr).kind, ExprKind::Selector(_))
}

/// Prometheus cannot write histograms of custom buckets that were divided by zero as text.
fn stumbles_over_zero_bucket(theirs: &Outcome) -> bool {
    matches!(theirs, Outcome::Failed(text) if text.contains("have no zero bucket"))
}

/// Prometheus stumbles over a float and a histogram of equal labels that are pinned.
fn is_inner_error(theirs: &Outcome) -> bool {
    matches!(theirs, Outcome::Failed(text) if text.contains("unexpected number of samples"))
}

/// Prometheus may look for what is pinned within such a subquery at another time if the subquery begins
/// when the query does.
fn pins_twice(part: &Expr) -> bool {
    let is_pinned = |part: &Expr| match &part.kind {
        ExprKind::Selector(selector) => selector.modifiers.at.is_some(),
        ExprKind::Matrix(matrix) => matrix.selector.modifiers.at.is_some(),
        _ => false,
    };
    match &part.kind {
        ExprKind::Subquery(subquery) => {
            subquery.modifiers != Modifiers::default() && has(&subquery.expr, &is_pinned)
        }
        _ => false,
    }
}

fn annotations(
    pair: &Pair<'_>,
    expr: &Expr,
    ours: &Answer,
    theirs: &Answer,
) -> Option<&'static str> {
    let texts = |answer: &Answer| -> BTreeSet<String> {
        answer.annotations.iter().map(|text| without_place(text).to_owned()).collect()
    };
    let (ours_texts, theirs_texts) = (texts(ours), texts(theirs));
    let is_unread = |text: &String| {
        let tells = |outcome: &Outcome| match outcome {
            Outcome::Answered(answer) => texts(answer).contains(text),
            Outcome::Failed(_) => false,
        };
        may_be_unread(pair, expr, &tells)
    };
    let of_numbers = |texts: &BTreeSet<String>| -> BTreeSet<String> {
        texts
            .iter()
            .map(|text| text.split(", got ").next().unwrap_or_default().to_owned())
            .collect()
    };
    if ours_texts != theirs_texts
        && has(expr, &is_rounded)
        && of_numbers(&ours_texts) == of_numbers(&theirs_texts)
    {
        return Some("last digits of a function, enlarged");
    }
    let is_of_group = |text: &String| GROUP_TEXTS.iter().any(|part| text.contains(part));
    if matches!(pair.case.time, Time::Range { .. })
        && has(expr, &aggregates_results)
        && ours_texts.symmetric_difference(&theirs_texts).all(is_of_group)
        && ours_texts != theirs_texts
    {
        return Some("the order in which a group is added up");
    }
    let clashes = |outcome: &Outcome| outcome.class().is_some_and(|class| is_match(&class));
    if !theirs_texts.is_subset(&ours_texts) && may_be_unread(pair, expr, &clashes) {
        return Some("an annotation about what nobody reads");
    }
    if !theirs_texts.is_subset(&ours_texts) {
        let all = theirs_texts.difference(&ours_texts).all(is_unread);
        return all.then_some("an annotation about what nobody reads");
    }
    if ours_texts != theirs_texts {
        let all = ours_texts.difference(&theirs_texts).all(|text| is_of_operator(text));
        return all.then_some("several annotations of one operator");
    }
    let is_elsewhere = |text: &String| {
        let same = |other: &&String| without_place(other) == without_place(text);
        ours.annotations.iter().filter(same).count() > 1
    };
    let differ = ours.annotations.symmetric_difference(&theirs.annotations);
    if has(expr, &|expr| matches!(expr.kind, ExprKind::Subquery(_))) {
        return Some("places in subqueries");
    }
    let is_of_nan = |text: &String| text.contains("has NaN observations");
    let is_known = |text: &String| {
        is_of_nan(text) || is_elsewhere(text) || is_unread(&without_place(text).to_owned())
    };
    differ.into_iter().all(is_known).then_some("an annotation at several places")
}

/// What comes up depends on the order of a group of histograms.
const GROUP_TEXTS: [&str; 3] = ["aggregation", "exponential and custom buckets", "custom buckets"];

/// Tells whether a part aggregates the results of an operator or function, which Prometheus has in the
/// order of a hash map in a range query.
fn aggregates_results(part: &Expr) -> bool {
    match &part.kind {
        ExprKind::Aggregate(aggregate) => {
            !matches!(unwrapped(&aggregate.expr).kind, ExprKind::Selector(_))
        }
        _ => false,
    }
}

/// Tells whether a part is the spread of such results, in which little is left of their digits.
fn spreads_results(part: &Expr) -> bool {
    let is_spread = |aggregate: &AggregateExpr| aggregate.op.as_str().starts_with("std");
    matches!(&part.kind, ExprKind::Aggregate(aggregate) if is_spread(aggregate))
        && aggregates_results(part)
}

/// Kinds of which Prometheus keeps the last one of an operator.
fn is_of_operator(text: &str) -> bool {
    ["for binary operator", "counter resets", "bucket layout", "custom buckets"]
        .iter()
        .any(|part| text.contains(part))
}

/// An annotation without its place in the query and without times.
fn without_place(text: &str) -> &str {
    let text = text.rsplit_once(" (").map_or(text, |(text, _)| text);
    text.split_once(", from buckets").map_or(text, |(text, _)| text)
}

fn has(expr: &Expr, test: &dyn Fn(&Expr) -> bool) -> bool {
    test(expr) || expr.children().into_iter().any(|child| has(child, test))
}

/// Prometheus answers nothing if a function of a pinned subquery is not the same at every step all the
/// same, because of its other arguments or of what it does.
fn varies_over_pinned_subquery(part: &Expr) -> bool {
    let ExprKind::Call(call) = &part.kind else { return false };
    let is_pinned = |arg: &Expr| match &unwrapped(arg).kind {
        ExprKind::Subquery(subquery) => subquery.modifiers.at.is_some(),
        _ => false,
    };
    call.args.len() > 1 && call.args.iter().any(is_pinned)
}

fn is_info(part: &Expr) -> bool {
    matches!(&part.kind, ExprKind::Call(call) if call.function == "info")
}

/// Prometheus leaves the offset out then.
fn stamps_with_both(part: &Expr) -> bool {
    let ExprKind::Call(call) = &part.kind else { return false };
    let has_both = |arg: &Expr| match &unwrapped(arg).kind {
        ExprKind::Selector(selector) => {
            selector.modifiers.at.is_some() && selector.modifiers.offset.is_some()
        }
        _ => false,
    };
    call.function.ends_with("timestamp") && call.args.iter().any(has_both)
}

/// Prometheus looks for info series at the time of the step then, among samples around the time that
/// the selector looks at.
fn informs_of_other_times(expr: &Expr) -> bool {
    let moves = |part: &Expr| match &part.kind {
        ExprKind::Selector(selector) => selector.modifiers != Modifiers::default(),
        ExprKind::Matrix(matrix) => matrix.selector.modifiers != Modifiers::default(),
        ExprKind::Subquery(subquery) => subquery.modifiers != Modifiers::default(),
        _ => false,
    };
    matches!(&expr.kind, ExprKind::Call(call) if call.function == "info" && has(&call.args[0], &moves))
}

fn unwrapped(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Paren(inner) => unwrapped(inner),
        _ => expr,
    }
}

/// Tells whether a part of the query that need not be read passes a test by itself.
fn may_be_unread(pair: &Pair<'_>, expr: &Expr, test: &dyn Fn(&Outcome) -> bool) -> bool {
    let inner = |skips: bool, child: &Expr| {
        (skips && passes(pair, child, test)) || may_be_unread(pair, child, test)
    };
    let skips = skips(expr);
    expr.children().into_iter().any(|child| inner(skips, child))
}

/// Tells whether series of operands may be left unread.
fn skips(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Binary(_) => true,
        ExprKind::Aggregate(aggregate) => aggregate.param.is_some(),
        ExprKind::Call(call) => call.function == "info",
        _ => false,
    }
}

fn passes(pair: &Pair<'_>, part: &Expr, test: &dyn Fn(&Outcome) -> bool) -> bool {
    let text = text(pair, part);
    // A part that has equal labels in its result answers nothing, but can be counted.
    // Counter resets are told more often where only counts and sums are read.
    let queries = [text.to_owned(), format!("count({text})"), format!("histogram_count({text})")];
    let at_times = |query: &String| {
        // It may stand in a subquery, at other times.
        [pair.case.time, ALL_TIMES].into_iter().any(|time| {
            let alone = Case { query: query.clone(), time, ..pair.case.clone() };
            test(&alone.run(pair.storage))
        })
    };
    queries.iter().any(at_times)
}

fn text<'a>(pair: &Pair<'a>, part: &Expr) -> &'a str {
    &pair.case.query[part.span.start..part.span.end]
}
