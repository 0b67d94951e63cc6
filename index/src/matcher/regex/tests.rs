use std::fs;
use std::path::Path;

use super::*;

/// What Prometheus made of many expressions; see `tests/data/regex/v1/README.md`.
fn table() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/regex/v1/matches.tsv");
    fs::read_to_string(path).unwrap()
}

fn unescape(field: &str) -> String {
    let mut out = String::new();
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            },
            c => c,
        });
    }
    out
}

#[test]
fn expressions_match_what_they_match_in_prometheus() {
    let table = table();
    let mut values = Vec::new();
    let mut wrong = Vec::new();
    for line in table.split_terminator('\n') {
        let mut fields = line.split('\t');
        let kind = fields.next().unwrap();
        let text = unescape(fields.next().unwrap());
        let regex = AnchoredRegex::new(&text);
        match (kind, regex) {
            ("V", _) => values.push(text),
            ("E", Err(Error::Regex { reason, .. })) => {
                let expected = unescape(fields.next().unwrap());
                if expected != format!("error parsing regexp: {reason}") {
                    wrong.push(format!("{text:?}: {reason} instead of {expected}"));
                }
            }
            ("M", Ok(regex)) => {
                let expected: Vec<usize> = fields.map(|i| i.parse().unwrap()).collect();
                for (i, value) in values.iter().enumerate() {
                    if regex.is_match(value) != expected.contains(&i) {
                        wrong.push(format!("{text:?} on {value:?}"));
                    }
                    if let Some(set) = regex.set_values() {
                        let is_in = set.iter().any(|v| **v == **value);
                        assert_eq!(is_in, regex.is_match(value), "set of {text:?} and {value:?}");
                    }
                    if regex.is_match(value) {
                        assert!(value.starts_with(regex.prefix()), "prefix of {text:?}, {value:?}");
                    }
                }
            }
            (kind, made) => wrong.push(format!("{kind} {text:?}: {:?}", made.err())),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn lists_of_words_are_sets() {
    let set = |pattern| {
        let regex = AnchoredRegex::new(pattern).unwrap();
        regex.set_values().map(|values| values.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let some = |values: &[&str]| Some(values.iter().map(ToString::to_string).collect());
    assert_eq!(set("b|a|b"), some(&["a", "b"]));
    assert_eq!(set(r"(10\.0\.0\.1|10\.0\.0\.2)"), some(&["10.0.0.1", "10.0.0.2"]));
    assert_eq!(
        set("us-(east|west)-[12]"),
        some(&["us-east-1", "us-east-2", "us-west-1", "us-west-2"])
    );
    assert_eq!(set("^foo$"), some(&["foo"]));
    assert_eq!(set("a^b"), some(&[]));
    assert_eq!(set("x?"), some(&["", "x"]));
    assert_eq!(set("a.c"), None);
    assert_eq!(set("a+"), None);
    let words: Vec<String> = (0..20_000).map(|i| format!("pod-{i:05}")).collect();
    assert_eq!(set(&words.join("|")), Some(words));
}

#[test]
fn prefixes_are_recognised() {
    let prefix = |pattern| AnchoredRegex::new(pattern).unwrap().prefix().to_owned();
    assert_eq!(prefix("foo.*"), "foo");
    assert_eq!(prefix("foo.+bar"), "foo");
    assert_eq!(prefix("(foo|foe)-[0-9]+"), "fo");
    assert_eq!(prefix("^foo[0-9]+"), "foo");
    assert_eq!(prefix("(é|è).+"), "");
    assert_eq!(prefix(".*foo"), "");
}

#[test]
fn words_between_bars_are_not_compiled() {
    for pattern in ["api-1.*|api-2.*x|apx.*y.*", "(api-1.*|api-2.*x|apx.*y.*)"] {
        let regex = AnchoredRegex::new(pattern).unwrap();
        assert!(matches!(&regex.test, Test::Words(words) if words.len() == 3), "{pattern}");
        assert_eq!(regex.prefix(), "ap");
        for (value, is_match) in
            [("api-1", true), ("api-2yx", true), ("apx-y-", true), ("api-2y", false), ("ap", false)]
        {
            assert_eq!(regex.is_match(value), is_match, "{pattern} {value}");
        }
    }
}

#[test]
fn deep_and_huge_expressions_are_refused() {
    let n = 100_000;
    assert!(AnchoredRegex::new(&"(".repeat(n)).is_err());
    assert!(AnchoredRegex::new(&")".repeat(n)).is_err());
    assert!(AnchoredRegex::new(&"[".repeat(n)).is_err());
    assert!(AnchoredRegex::new(&format!("{}a{}", "(b|".repeat(n), ")".repeat(n))).is_err());
    assert!(AnchoredRegex::new(&format!("{}a{}", "(".repeat(n), "+)".repeat(n))).is_err());
    assert!(AnchoredRegex::new(r"\pL{1000}").is_err());
    assert!(AnchoredRegex::new(&format!("{}a{}", "(".repeat(n), ")".repeat(n))).is_ok());
    assert!(AnchoredRegex::new(&format!("{}a{}", "(b|".repeat(200), ")".repeat(200))).is_ok());
}
