//! Queries that are damaged at random: both engines must take or refuse the same ones, with the same
//! error, and write those that they take in the same way.

use ferula_promql::parser::{ParseOptions, parse_with};
use ferula_promql::testlang::generate::QueryGenerator;

use crate::data::{METRICS, at};
use crate::{number_from_env, started};

/// What takes the place of a piece of a query.
const PIECES: &[&str] = &[
    "",
    " ",
    "(",
    ")",
    "[5m]",
    "[5m:]",
    "{",
    "}",
    ",",
    "by",
    "on (a)",
    "group_left",
    "offset 1m",
    "@ 5",
    "@ start()",
    "bool",
    "and",
    "-",
    "+",
    "1",
    "5m",
    "\"a\"",
    "'",
    "a",
    "__name__",
    "=~",
    "==",
    "!=",
    "rate",
    "sum",
    "fill(0)",
    "smoothed",
    "anchored",
    "step()",
    "{\"é\"}",
    "#",
    "\n",
    "0x",
    "1e",
    "NaN",
    "`",
    "\\",
    ":",
    "$",
    "é",
    "^",
    "</",
    "without ()",
    "ignoring",
];

/// A query, mostly with a piece of it replaced.
fn damaged(random: &mut QueryGenerator) -> String {
    let mut query = random.query();
    if random.below(4) == 0 {
        return query;
    }
    for _ in 0..1 + at(random, 2) {
        let mut ends = [at(random, query.len() + 1), at(random, 9)];
        ends[1] = (ends[0] + ends[1]).min(query.len());
        let [start, end] = ends.map(|end| query.floor_char_boundary(end));
        query.replace_range(start..end, PIECES[at(random, PIECES.len())]);
    }
    query
}

/// Tells whether it is known that what is made of a query may differ.
fn is_known(query: &str) -> bool {
    // See "Canonical text" in docs/promql.md. An offset that is no number is refused at once here, at
    // the end of the query there.
    let has_offset = query.contains("offset");
    let is_computed = ["offset (", "offset -(", "offset m", "offset s", "offset r"]
        .iter()
        .any(|offset| query.contains(offset));
    is_computed
        || has_offset && (query.contains('@') || query.contains("NaN"))
        || query.contains("Inf ^")
}

#[test]
fn queries_are_read_as_prometheus_reads_them() {
    let Some(mut peer) = started() else { return };
    let n_queries = number_from_env("FERULA_PEER_QUERIES", 2_000);
    let seed = number_from_env("FERULA_PEER_SEED", 1) as u64;
    let mut random = QueryGenerator::wide(seed, METRICS);
    let (mut differences, mut n_refused) = (Vec::new(), 0);
    for _ in 0..n_queries {
        let query = damaged(&mut random);
        let ours = parse_with(&query, &ParseOptions::ALL).map(|expr| expr.to_string());
        let ours = ours.map_err(|error| error.to_string());
        let theirs = peer.parse(&query);
        n_refused += usize::from(theirs.is_err());
        if ours != theirs && !is_known(&query) {
            differences.push(format!("{query:?}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }
    println!("seed {seed}: {n_queries} queries, {n_refused} refused");
    differences.truncate(30);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
