//! Rules do what Prometheus's do; expectations are what its `relabel.Process` gives.

use super::*;

fn rules(yaml: &str) -> Result<Vec<Rule>, String> {
    serde_yaml_ng::from_str(yaml).map_err(|error| error.to_string())
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

/// What rules make of `a="foo"`, `b="bar"`, `c="baz"`.
fn processed(yaml: &str) -> String {
    let before = labels(&[("a", "foo"), ("b", "bar"), ("c", "baz")]);
    match process(&before, &rules(yaml).unwrap()).unwrap() {
        Some(labels) => labels.to_string(),
        None => "dropped".to_owned(),
    }
}

#[test]
fn all_actions_change_or_drop() {
    for (yaml, expected) in [
        (
            "[{source_labels: [a], regex: 'f(.*)', target_label: d, replacement: 'ch${1}-ch${1}'}]",
            r#"{a="foo", b="bar", c="baz", d="choo-choo"}"#,
        ),
        (
            "[{source_labels: [a, b], regex: 'f(.*);(.*)r', target_label: a, \
             replacement: 'b${1}${2}m', action: Replace},
              {source_labels: [c, a], regex: '(b).*b(.*)ba(.*)', target_label: d, \
             replacement: '$1$2$2$3'}]",
            r#"{a="boobam", b="bar", c="baz", d="boooom"}"#,
        ),
        ("[{source_labels: [a], regex: '.*o.*', action: drop}]", "dropped"),
        ("[{source_labels: [a], regex: 'no-match', action: keep}]", "dropped"),
        ("[{source_labels: [a], regex: 'o', action: drop}]", r#"{a="foo", b="bar", c="baz"}"#),
        // A pattern that does not match changes nothing.
        (
            "[{source_labels: [a], regex: 'b', target_label: d, replacement: x}]",
            r#"{a="foo", b="bar", c="baz"}"#,
        ),
        // An empty value removes the label, a missing one is empty.
        ("[{source_labels: [none], target_label: b}]", r#"{a="foo", c="baz"}"#),
        ("[{target_label: b, replacement: ''}]", r#"{a="foo", c="baz"}"#),
        ("[{target_label: d, replacement: const}]", r#"{a="foo", b="bar", c="baz", d="const"}"#),
        (
            "[{source_labels: [a, b], regex: '(.*);(.*)', target_label: '${1}_x', replacement: '$2'}]",
            r#"{a="foo", b="bar", c="baz", foo_x="bar"}"#,
        ),
        (
            "[{source_labels: [c], target_label: d, action: hashmod, modulus: 1000}]",
            r#"{a="foo", b="bar", c="baz", d="976"}"#,
        ),
        (
            "[{regex: '(b|c)', action: labelmap, replacement: 'new_$1'}]",
            r#"{a="foo", b="bar", c="baz", new_b="bar", new_c="baz"}"#,
        ),
        ("[{regex: '(b|c)', action: labeldrop}]", r#"{a="foo"}"#),
        ("[{regex: '(b|c)', action: labelkeep}]", r#"{b="bar", c="baz"}"#),
        (
            "[{source_labels: [a], target_label: A, action: uppercase},
              {source_labels: [A], target_label: low, action: lowercase}]",
            r#"{A="FOO", a="foo", b="bar", c="baz", low="foo"}"#,
        ),
        (
            "[{source_labels: [a], target_label: b, action: dropequal}]",
            r#"{a="foo", b="bar", c="baz"}"#,
        ),
        ("[{source_labels: [a], target_label: b, action: keepequal}]", "dropped"),
        ("[{source_labels: [a], target_label: a, action: dropequal}]", "dropped"),
        (
            "[{source_labels: [a, b], separator: '-', target_label: joined}]",
            r#"{a="foo", b="bar", c="baz", joined="foo-bar"}"#,
        ),
        (
            "[{target_label: d, replacement: 'Straße ΣΑΣ'},
              {source_labels: [d], target_label: up, action: uppercase},
              {source_labels: [d], target_label: down, action: lowercase}, {regex: '[abcd]', action: labeldrop}]",
            r#"{down="straße σασ", up="STRAßE ΣΑΣ"}"#,
        ),
        ("[]", r#"{a="foo", b="bar", c="baz"}"#),
    ] {
        assert_eq!(processed(yaml), expected, "{yaml}");
    }
}

#[test]
fn wrong_rules_are_refused_with_the_reason() {
    for (yaml, reason) in [
        ("[{action: relabel}]", "unknown relabel action \"relabel\""),
        ("[{regex: '('}]", "missing closing )"),
        ("[{source_labels: [a]}]", "for replace action requires 'target_label' value"),
        ("[{action: hashmod, target_label: x}]", "hashmod requires non-zero modulus"),
        ("[{action: lowercase, target_label: '${3}'}]", "is invalid 'target_label' for lowercase"),
        (
            "[{action: uppercase, target_label: x, replacement: y}]",
            "'replacement' can not be set for uppercase action",
        ),
        ("[{action: labelmap, replacement: ''}]", "is invalid 'replacement' for labelmap action"),
        (
            "[{action: keepequal, target_label: x, regex: y}]",
            "keepequal action requires only 'source_labels' and `target_label`",
        ),
        (
            "[{action: labeldrop, regex: x, target_label: y}]",
            "labeldrop action requires only 'regex', and no other fields",
        ),
        ("[{source_label: [a]}]", "unknown field `source_label`"),
    ] {
        let error = rules(yaml).unwrap_err();
        assert!(error.contains(reason), "{yaml}: {error}");
    }
}
