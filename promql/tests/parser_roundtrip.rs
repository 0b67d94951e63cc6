//! What is printed reads back as the same tree, and nothing makes the parser panic.

use ferula_promql::ast::{
    AggregateExpr, DurationExpr, DurationKind, Expr, ExprKind, MatrixSelector, Modifiers,
    VectorSelector,
};
use ferula_promql::parser::{ParseOptions, parse_with};
use ferula_promql::{ParseError, Span};
use proptest::prelude::*;

fn parse(query: &str) -> Result<Expr, ParseError> {
    parse_with(query, &ParseOptions::ALL)
}

/// Takes away what the text does not hold: spans, and the order of matchers.
fn bare(mut expr: Expr) -> Expr {
    expr.span = Span::default();
    match &mut expr.kind {
        ExprKind::Selector(selector) => bare_selector(selector),
        ExprKind::Matrix(MatrixSelector { selector, selector_span, range }) => {
            *selector_span = Span::default();
            bare_selector(selector);
            bare_duration(range);
        }
        ExprKind::Subquery(subquery) => {
            bare_duration(&mut subquery.range);
            subquery.step.iter_mut().for_each(bare_duration);
            bare_modifiers(&mut subquery.modifiers);
        }
        ExprKind::Binary(binary) => binary.op_span = Span::default(),
        ExprKind::Call(call) => call.function_span = Span::default(),
        ExprKind::Aggregate(AggregateExpr { op_span, .. }) => *op_span = Span::default(),
        _ => {}
    }
    for child in expr.children_mut() {
        let inner = std::mem::replace(
            child,
            Expr { kind: ExprKind::String(String::new()), span: Span::default() },
        );
        *child = bare(inner);
    }
    expr
}

fn bare_selector(selector: &mut VectorSelector) {
    bare_modifiers(&mut selector.modifiers);
    selector.matchers.sort_by_key(|m| (m.name().to_owned(), m.op().as_str(), m.value().to_owned()));
}

fn bare_modifiers(modifiers: &mut Modifiers) {
    modifiers.offset.iter_mut().for_each(bare_duration);
}

fn bare_duration(duration: &mut DurationExpr) {
    duration.span = Span::default();
    match &mut duration.kind {
        DurationKind::Unary { expr, .. } | DurationKind::Paren(expr) => bare_duration(expr),
        DurationKind::Binary { left, right, .. }
        | DurationKind::MinOf(left, right)
        | DurationKind::MaxOf(left, right) => {
            bare_duration(left);
            bare_duration(right);
        }
        _ => {}
    }
}

fn assert_reads_back(query: &str) {
    let Ok(expr) = parse(query) else { return };
    for text in [expr.to_string(), expr.pretty()] {
        let again = parse(&text).unwrap_or_else(|error| panic!("{query} -> {text}: {error}"));
        assert_eq!(bare(again), bare(expr.clone()), "{query} -> {text}");
    }
}

#[test]
fn the_queries_of_prometheus_read_back() {
    let tables =
        [include_str!("data/parser/prometheus.tsv"), include_str!("data/parser/differences.tsv")];
    for line in tables.iter().flat_map(|table| table.lines()) {
        // Escapes of the table do not matter here, and both kinds of table hold queries.
        line.split('\t').for_each(assert_reads_back);
    }
}

fn words(list: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::sample::select(list).prop_map(str::to_owned)
}

fn duration() -> impl Strategy<Value = String> {
    let leaf = words(&[
        "5m", "1h30m", "90", "1.5", "0.0005", "1e3", "12w6d", "0x10", "step()", "range()", "7",
    ]);
    leaf.prop_recursive(4, 12, 3, |inner| {
        let op = words(&["+", " - ", "*", " / ", "%", "^"]);
        prop_oneof![
            inner.clone().prop_map(|d| format!("({d})")),
            inner.clone().prop_map(|d| format!("-{d}")),
            inner.clone().prop_map(|d| format!("+{d}")),
            (words(&["min_of", "max_of"]), inner.clone(), inner.clone())
                .prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
            (inner.clone(), op, inner).prop_map(|(a, op, b)| format!("{a}{op}{b}")),
        ]
    })
}

fn selector() -> impl Strategy<Value = String> {
    let series = words(&[
        "a",
        "a:b",
        "sum",
        "offset",
        "fill",
        "{\"m.n\"}",
        "a{b=\"c\",a=~\"x|y\"}",
        "{\"q.r\"!=\"\",z!~`.+`, y=\"\\n\\u00e9\\\"\"}",
        "by{le=\"0.5\"}",
    ]);
    let modifier = prop_oneof![
        duration().prop_map(|d| format!(" offset {d}")),
        words(&[" @ 5", " @ -1.5", " @ start()", " @ end()", " anchored", " smoothed"]),
        Just(String::new()),
    ];
    let window = prop_oneof![
        Just(String::new()),
        duration().prop_map(|d| format!("[{d}]")),
        (duration(), duration()).prop_map(|(d, s)| format!("[{d}:{s}]")),
        duration().prop_map(|d| format!("[{d}:]")),
    ];
    (series, window, modifier.clone(), modifier).prop_map(|(s, w, m, n)| format!("{s}{w}{m}{n}"))
}

fn query() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => selector(),
        1 => words(&["1", "-1", "Inf", "NaN", "-0", "1e-7", "5m", "0x1F", "017", "1_0"]),
        1 => words(&["\"s\"", "'t\\'u'", "`r\\`", "\"\\t\\u200b\""]),
    ];
    leaf.prop_recursive(5, 24, 3, |inner| {
        let op = words(&[
            "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", "<=", ">", ">=", "</", ">/",
            "and", "or", "unless",
        ]);
        let matching = words(&[
            "",
            " bool",
            " on (a)",
            " ignoring ()",
            " on () group_left",
            " ignoring (a, \"b c\") group_right (d)",
            " fill (1)",
            " bool on (a) group_left (b) fill_left (-1) fill_right (1e6)",
        ]);
        let grouping = words(&["", " by (a)", " without (a, \"b c\",)", " by ()", " without ()"]);
        let functions = words(&["rate", "abs", "sum_over_time", "vector", "absent", "start"]);
        prop_oneof![
            inner.clone().prop_map(|e| format!("({e})")),
            inner.clone().prop_map(|e| format!("-{e}")),
            (inner.clone(), op, matching, inner.clone())
                .prop_map(|(a, op, m, b)| format!("{a} {op}{m} {b}")),
            (functions, inner.clone()).prop_map(|(f, e)| format!("{f}({e})")),
            (words(&["sum", "avg", "GROUP"]), grouping.clone(), inner.clone())
                .prop_map(|(a, g, e)| format!("{a}{g}({e})")),
            (words(&["topk", "quantile", "limitk"]), grouping, inner.clone())
                .prop_map(|(a, g, e)| format!("{a}(2, {e}){g}")),
            (inner, duration()).prop_map(|(e, d)| format!("({e})[{d}:] offset {d}")),
        ]
    })
}

#[test]
fn operators_behind_modifiers_read_back() {
    for selector in ["a", "a[5m]", "a[5m:1m]", "a anchored", "a[5m] smoothed"] {
        for offset in ["(step())", "-(5m)", "++step()", "(++step())", "(5m + 1m)", "5m"] {
            for at in ["@ 5", "@ end()"] {
                let range = if selector.contains('[') { "rate" } else { "" };
                let text = format!("{range}({selector} offset {offset} {at}) + a offset 5m @ 5");
                assert_reads_back(&text);
                assert_reads_back(&format!("{selector} offset {offset} {at} + ignoring () a"));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn queries_read_back(text in query()) {
        assert_reads_back(&text);
    }

    #[test]
    fn nothing_panics(text in r#"[a-z0-9(){}\[\]"'`=!~<>:,.+*/@#^% é\\-]{0,40}"#) {
        assert_reads_back(&text);
    }
}
