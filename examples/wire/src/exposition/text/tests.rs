use super::*;

fn samples(page: &[u8]) -> Result<Vec<(String, f64, Option<i64>)>, ParseError> {
    let mut parser = TextParser::new(page);
    let mut found = Vec::new();
    while let Some(entry) = parser.next_entry()? {
        if let Entry::Sample(sample) = entry {
            let labels = ferula_index::Labels::from_pairs(parser.labels()).unwrap();
            found.push((labels.to_string(), sample.value, sample.timestamp));
        }
    }
    Ok(found)
}

fn one(page: &str) -> (String, f64, Option<i64>) {
    let mut found = samples(page.as_bytes()).unwrap();
    assert_eq!(found.len(), 1, "{page}");
    found.remove(0)
}

#[test]
fn accepted_lines() {
    for (line, labels, value, timestamp) in [
        ("a 1", r#"{__name__="a"}"#, 1.0, None),
        ("  a 1", r#"{__name__="a"}"#, 1.0, None),
        ("a{} -1.5e3", r#"{__name__="a"}"#, -1500.0, None),
        ("a 1 123", r#"{__name__="a"}"#, 1.0, Some(123)),
        ("a\t1\t123\t", r#"{__name__="a"}"#, 1.0, Some(123)),
        ("a{b=\"c\"}1", r#"{__name__="a", b="c"}"#, 1.0, None),
        ("a { b = \"c\" , } 1", r#"{__name__="a", b="c"}"#, 1.0, None),
        ("a{b=\"c\" d=\"e\"} 1", r#"{__name__="a", b="c", d="e"}"#, 1.0, None),
        (r#"a{b="\"x\"\\\n\z"} 1"#, r#"{__name__="a", b="\"x\"\\\n\\z"}"#, 1.0, None),
        ("a{b=\"x\ny\"} 1", r#"{__name__="a", b="x\ny"}"#, 1.0, None),
        (r#"{"a.b","c d"="e"} 1"#, r#"{__name__="a.b", "c d"="e"}"#, 1.0, None),
        (r#"{b="c","a.b"} 1"#, r#"{__name__="a.b", b="c"}"#, 1.0, None),
        ("some:rule:rate5m +Inf", r#"{__name__="some:rule:rate5m"}"#, f64::INFINITY, None),
        ("a -inf", r#"{__name__="a"}"#, f64::NEG_INFINITY, None),
        ("a 1.", r#"{__name__="a"}"#, 1.0, None),
        ("a .5", r#"{__name__="a"}"#, 0.5, None),
        ("a 4.9351e-05", r#"{__name__="a"}"#, 4.9351e-05, None),
    ] {
        let found = one(line);
        assert_eq!(found, (labels.to_owned(), value, timestamp), "{line}");
    }
    assert_eq!(one("a NaN").1.to_bits(), NORMAL_NAN.to_bits());
    assert_eq!(one("a{b=\"x\0y\"} 1").0, r#"{__name__="a", b="x\x00y"}"#);
}

#[test]
fn refused_pages_name_line_and_problem() {
    for (page, message) in [
        ("a", "line 1: expected a value, found the end of the line"),
        ("a 1\nb\n", "line 2: expected a value, found the end of the line"),
        ("a{b='c'} 1", "line 1: expected a label value in quotes, found \"\\'c\\'} 1\""),
        ("a{b=\n", "line 1: expected a label value in quotes, found the end of the line"),
        ("a{=\"\"} 0", "line 1: expected a label name, found \"=\\\"\\\"} 0\""),
        ("a{,b=\"c\"} 0", "line 1: expected a label name, found \",b=\\\"c\\\"} 0\""),
        ("a{b=\"c\",,} 0", "line 1: expected a label name, found \",} 0\""),
        ("a{1b=\"c\"} 0", "line 1: expected a label name, found \"1b=\\\"c\\\"} 0\""),
        ("a{b:c=\"c\"} 0", "line 1: expected an equals sign, found \":c=\\\"c\\\"} 0\""),
        ("{A}0", "line 1: expected an equals sign, found \"}0\""),
        ("{a=\"ok\"} 1", "line 1: metric name is missing"),
        ("a{\"b\"} 1", "line 1: metric name is given twice"),
        ("a{b=\"c", "line 1: label value is not closed: \"\\\"c\""),
        ("a true", "line 1: invalid value \"true\""),
        ("a 1_2", "line 1: invalid value \"1_2\""),
        ("a 0x1p-3", "line 1: invalid value \"0x1p-3\""),
        ("a -NaN", "line 1: invalid value \"-NaN\""),
        ("a 1e400", "line 1: value \"1e400\" is out of range"),
        ("a 1\r\n", "line 1: invalid value \"1\\r\""),
        ("a{} {} 1", "line 1: expected a value, found \"{} 1\""),
        ("a 0 1_2", "line 1: expected the end of the line after the timestamp, found \"_2\""),
        ("a 0 -1", "line 1: expected a timestamp or the end of the line, found \"-1\""),
        ("a 0 9223372036854775808", "line 1: timestamp \"9223372036854775808\" is out of range"),
        ("1a 0", "line 1: expected a metric name, found \"1a 0\""),
        ("\0", "line 1: expected a metric name, found \"\\x00\""),
        ("# TYPE #\n", "line 1: expected a metric name, found \"#\""),
        ("# HELP \n", "line 1: expected a metric name, found the end of the line"),
        ("# TYPE a  counter\n", "line 1: invalid metric type \" counter\""),
        ("# TYPE a foo\n", "line 1: invalid metric type \"foo\""),
        ("# TYPE a\n", "line 1: invalid metric type \"\""),
        ("a{b=\"x\ny\"} 1\n!", "line 3: expected a metric name, found \"!\""),
    ] {
        let error = samples(page.as_bytes()).expect_err(page);
        assert_eq!(error.to_string(), message, "{page}");
    }
    let error = samples(b"a{b=\"\xff\"} 1").expect_err("bad UTF-8");
    assert_eq!(error.to_string(), "line 1: label value is not valid UTF-8: \"\\xff\"");
}

#[test]
fn comments_and_metadata_are_told_apart() {
    let page = b"#\n# a comment\n#HELP no\n# HELPno x\n\n# HELP m\n# HELP m  two \\n words\n\
                 # \tTYPE\t\"q.m\" summary\n";
    let mut parser = TextParser::new(page);
    let mut found = Vec::new();
    while let Some(entry) = parser.next_entry().unwrap() {
        found.push(entry);
    }
    assert_eq!(
        found,
        [
            Entry::Help { metric: "m", text: "" },
            Entry::Help { metric: "m", text: " two \\n words" },
            Entry::Type { metric: "q.m", kind: MetricType::Summary },
        ]
    );
}

#[test]
fn bounds_are_written_as_openmetrics_does() {
    let page = b"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n\
                 h_bucket{le=\"1e6\"} 2\n# TYPE s summary\ns{quantile=\"0\",le=\"1\"} 3\n\
                 # TYPE g gauge\ng{le=\"1\"} 4\n";
    let names: Vec<_> = samples(page).unwrap().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(
        names,
        [
            r#"{__name__="h_bucket", le="1.0"}"#,
            r#"{__name__="h_bucket", le="+Inf"}"#,
            r#"{__name__="h_bucket", le="1e+06"}"#,
            r#"{__name__="s", le="1", quantile="0.0"}"#,
            r#"{__name__="g", le="1"}"#,
        ]
    );
}

proptest::proptest! {
    #[test]
    fn no_page_panics(page in proptest::collection::vec(
        proptest::sample::select(&b"a_{}\"\\=,#1.e+ \n\tHELPTY\0\xff"[..]), 0..60)) {
        let mut parser = TextParser::new(&page);
        while let Ok(Some(entry)) = parser.next_entry() {
            if let Entry::Sample(_) = entry {
                parser.labels();
            }
        }
    }
}

/// Samples of an OpenMetrics text: labels, value, time, and since when.
fn openmetrics(page: &str, tells_created: bool) -> Vec<(String, f64, Option<i64>, i64)> {
    let mut parser = TextParser::openmetrics(page.as_bytes(), tells_created);
    let mut found = Vec::new();
    while let Some(entry) = parser.next_entry().unwrap() {
        if let Entry::Sample(sample) = entry {
            let created = parser.created();
            let labels = ferula_index::Labels::from_pairs(parser.labels()).unwrap();
            found.push((labels.to_string(), sample.value, sample.timestamp, created));
        }
    }
    found
}

#[test]
fn created_lines_tell_of_the_series_before_them() {
    let page = "# TYPE c counter\nc_total{a=\"x\"} 5\nc_created{a=\"x\"} 12.345\n\
                c_total{a=\"y\"} 6\nc_total{a=\"z\"} 7\nc_created{a=\"z\"} 1\n\
                # TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\n\
                h_created 2\n# TYPE g gauge\ng 1\ng_created 9\n# EOF\n";
    let found = openmetrics(page, true);
    let starts: Vec<_> = found.iter().map(|(.., start)| *start).collect();
    assert_eq!(starts, [12_345, 0, 1000, 2000, 2000, 2000, 2000, 0, 0]);
    assert!(!found.iter().any(|(labels, ..)| labels.contains("c_created")), "{found:?}");
    // They are series if nobody asks for them.
    let found = openmetrics(page, false);
    assert_eq!(found.len(), 12);
    assert!(found.iter().any(|(labels, ..)| labels.contains("c_created")), "{found:?}");
}

#[test]
fn openmetrics_has_units_more_types_and_exemplars() {
    let page = b"# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds \\\"x\\\".\n\
                 a_seconds_total 1 1.5 # {trace=\"x\\\"y\",\"b.c\"=\"\"} 0.25 1.25\n\
                 a_seconds_total{a=\"b\"} 1 # {} 3\n# TYPE i info\ni_info{v=\"1\"} 1\n\
                 # TYPE s stateset\n# TYPE gh gaugehistogram\n# TYPE u unknown\n# EOF\n";
    let mut parser = TextParser::openmetrics(page, false);
    let mut types = Vec::new();
    let mut exemplars = Vec::new();
    while let Some(entry) = parser.next_entry().unwrap() {
        match entry {
            Entry::Type { metric, kind } => types.push((metric, kind)),
            Entry::Unit { metric, unit } => assert_eq!((metric, unit), ("a_seconds", "seconds")),
            Entry::Sample(_) => exemplars.extend(parser.exemplar_line()),
            _ => {}
        }
    }
    assert_eq!(
        types,
        [
            ("a_seconds", MetricType::Counter),
            ("i", MetricType::Info),
            ("s", MetricType::StateSet),
            ("gh", MetricType::GaugeHistogram),
            ("u", MetricType::Untyped),
        ]
    );
    let [first, second] = &exemplars[..] else { panic!("{exemplars:?}") };
    assert_eq!(first.labels, [("trace".into(), "x\"y".into()), ("b.c".into(), "".into())]);
    assert_eq!((first.value, first.timestamp), (0.25, Some(1250)));
    assert_eq!((second.labels.len(), second.value, second.timestamp), (0, 3.0, None));
}

#[test]
fn wrong_exemplars_and_units_are_refused() {
    for (line, problem) in [
        ("a 1 # x", "expected the labels of an exemplar"),
        ("a 1 # {a=\"b\"", "expected a comma or the end of the labels"),
        ("a 1 # {a=\"b\" c=\"d\"} 1", "expected a comma or the end of the labels"),
        ("a 1 # {a=\"b} 1", "label value is not closed"),
        ("a 1 # {} ", "expected a value"),
        ("a 1 # {} x", "invalid value"),
        ("a 1 # {} 1 x", "timestamp \"x\" is out of range"),
        ("a 1 # {} 1 1 1", "expected the end of the line after the exemplar"),
        ("a 1 #{} 1", "expected the end of the line or an exemplar"),
        ("# UNIT a seconds", "unit \"seconds\" is not what the name of the metric ends with"),
        ("# TYPE a untyped2", "invalid metric type"),
    ] {
        let mut parser = TextParser::openmetrics(line.as_bytes(), false);
        let error = parser.next_entry().expect_err(line).to_string();
        assert!(error.contains(problem), "{line}: {error}");
    }
}
