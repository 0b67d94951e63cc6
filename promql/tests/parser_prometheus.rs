//! Prometheus's own results, for what is accepted, how it is printed and what errors say.
//!
//! How the tables were made stands in `tests/data/parser/README.md`.

use ferula_promql::parse;
use ferula_promql::parser::{ParseOptions, parse_with};

fn unescaped(cell: &str) -> String {
    let mut text = String::new();
    let mut chars = cell.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                other => other.unwrap_or('\\'),
            },
            c => c,
        });
    }
    text
}

/// The cells of a table, missing ones at the end of a row empty.
fn rows(table: &str) -> impl Iterator<Item = [String; 5]> + '_ {
    table.lines().map(|line| {
        let mut cells = line.split('\t').map(unescaped);
        [(); 5].map(|()| cells.next().unwrap_or_default())
    })
}

fn outcome(query: &str) -> (String, String) {
    match parse_with(query, &ParseOptions::ALL) {
        Ok(expr) => ("ok".to_owned(), expr.to_string()),
        Err(error) => ("err".to_owned(), error.to_string()),
    }
}

#[test]
fn queries_have_prometheus_text_and_errors() {
    let mut count = 0;
    for [kind, query, text, pretty, gated] in rows(include_str!("data/parser/prometheus.tsv")) {
        assert_eq!(outcome(&query), (kind, text.clone()), "{query}");
        if let Ok(expr) = parse_with(&query, &ParseOptions::ALL) {
            let pretty = if pretty.is_empty() { &text } else { &pretty };
            assert_eq!(expr.pretty(), *pretty, "{query}");
            let error = parse(&query).err().map(|error| error.to_string());
            assert_eq!(error.unwrap_or_default(), gated, "{query}");
        }
        count += 1;
    }
    assert!(count > 2500, "{count}");
}

#[test]
fn differences_from_prometheus_are_those_on_record() {
    for row in rows(include_str!("data/parser/differences.tsv")) {
        let [query, their_kind, theirs, kind, ours] = row;
        assert_eq!(outcome(&query), (kind.clone(), ours.clone()), "{query}");
        assert_ne!((their_kind, theirs), (kind, ours), "{query} is no difference any more");
    }
}
