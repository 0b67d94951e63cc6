//! No text makes the parser overflow the stack, and what it accepts can be printed and dropped.

use ferula_promql::parser::{self, MAX_DEPTH, MAX_QUERY_BYTES};
use ferula_promql::{ParseErrorKind, parse};

fn is_too_deep(query: &str) -> bool {
    matches!(parse(query).map_err(|e| e.kind().clone()), Err(ParseErrorKind::TooDeep { .. }))
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("(", ")"), ("sum(", ")"), ("-", ""), ("+a", ""), ("2^", "1"), ("a[", "")]
    {
        let text = format!("{}x{}", open.repeat(100_000), close.repeat(100_000));
        assert!(parse(&text).is_err(), "{open}");
    }
    assert!(is_too_deep(&"(".repeat(100_000)));
    assert!(is_too_deep(&format!("a[{}", "(".repeat(100_000))));
    assert!(is_too_deep(&format!("a{}", " + a".repeat(100_000))));
    assert!(is_too_deep(&format!("a[1{}", " + 1".repeat(100_000))));
}

#[test]
fn trees_of_the_greatest_height_are_usable() {
    let depth = MAX_DEPTH - 1;
    let texts = [
        format!("{}x{}", "(".repeat(depth), ")".repeat(depth)),
        format!("{}x{}", "sum(".repeat(depth), ")".repeat(depth)),
        format!("{}x", "-".repeat(depth)),
        format!("x{}", " + x".repeat(depth)),
        format!("{}2", "2 ^ ".repeat(depth)),
        format!("x[{}5m{}]", "(1s + ".repeat(depth / 2 - 1), ")".repeat(depth / 2 - 1)),
    ];
    for text in texts {
        let expr = parse(&text).unwrap();
        assert_eq!(expr.to_string(), text);
        assert!(!expr.pretty().is_empty());
        let mut nodes = 0;
        ferula_promql::visit::for_each(&expr, |_| nodes += 1);
        assert!(nodes > 0);
        assert_eq!(expr.clone(), expr);
    }
}

#[test]
fn long_queries_are_refused() {
    let text = format!("x{}", " ".repeat(MAX_QUERY_BYTES));
    let error = parser::parse(&text).unwrap_err();
    assert!(matches!(error.kind(), ParseErrorKind::TooLong { .. }));
    assert!(error.query().len() < 1000);
}

/// A short expression may take megabytes once it is compiled.
#[test]
fn memory_of_matchers_is_bounded() {
    let selector = r#"m{a=~"\\pL{100}x+"}"#;
    assert!(parse(&[selector; 3].join(" or ")).is_ok());
    let error = parse(&format!("f({})", [selector; 200].join(","))).unwrap_err();
    assert!(matches!(error.kind(), ParseErrorKind::MatchersTooLarge { .. }), "{error}");
}
