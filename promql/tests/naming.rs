//! When metric names are dropped, and what happens to series that become equal.

use ferula_chunkenc::{Sample, SampleBatch};
use ferula_index::Labels;
use ferula_promql::testlang::{MemoryStorage, TestStorage};
use ferula_promql::{Engine, EngineOptions, Error, Features, Value};

/// Two metrics with equal labels, of which the second begins where the first ends.
fn evaluate(query: &str, delayed: bool) -> Result<Vec<(String, usize)>, Error> {
    let mut storage = MemoryStorage::new();
    for (name, first) in [("a_total", 0), ("b_total", 1_000_000)] {
        let labels = Labels::from_pairs([("__name__", name), ("x", "1")]).expect("names differ");
        let samples: SampleBatch =
            (0..20).map(|i| Sample::new(first + i * 10_000, i as f64)).collect();
        storage.append(&labels, &samples).expect("in order");
    }
    storage.commit().expect("always");
    let mut features = Features::ALL;
    features.delayed_name_removal = delayed;
    let engine = Engine::new(EngineOptions::default().features(features));
    let query = engine.range(storage.queryable().expect("always"), query, 0, 1_200_000, 60_000)?;
    let Value::Matrix(series) = query.run()?.value else { panic!("a matrix") };
    Ok(series.into_iter().map(|s| (s.labels.to_string(), s.samples.len())).collect())
}

fn both(query: &str) -> [Result<Vec<(String, usize)>, Error>; 2] {
    [evaluate(query, false), evaluate(query, true)]
}

#[test]
fn series_that_become_equal_are_one_unless_they_overlap() {
    for query in [r#"-{x="1"}"#, r#"{x="1"} + 1"#, r#"abs({x="1"})"#] {
        for result in both(query) {
            let series = result.unwrap();
            assert_eq!(series.len(), 1, "{query}");
            assert_eq!(series[0].0, r#"{x="1"}"#);
        }
    }
    for result in both(r#"-{x="1"} or {x="1"} offset 100s"#) {
        assert!(result.is_ok());
    }
    // Shifted so far that both have values at the same steps.
    let overlapping =
        r#"label_replace(a_total offset 1000s or on (__name__) b_total, "__name__", "c", "", "")"#;
    for result in both(overlapping) {
        assert!(matches!(result, Err(Error::DuplicateLabelset)));
    }
}

#[test]
fn range_functions_may_not_make_series_equal_unless_names_go_last() {
    let [at_once, delayed] = both(r#"rate({x="1"}[1m])"#);
    assert!(matches!(at_once, Err(Error::DuplicateLabelset)));
    assert_eq!(delayed.unwrap().len(), 1);
    let [at_once, delayed] = both(r#"sum by (x) (rate({x="1"}[1m]))"#);
    assert!(matches!(at_once, Err(Error::DuplicateLabelset)));
    assert_eq!(delayed.unwrap().len(), 1);
}

#[test]
fn groups_may_keep_names_that_go_last() {
    let [at_once, delayed] = both("sum by (__name__, x) (rate(a_total[1m]))");
    assert_eq!(at_once.unwrap()[0].0, r#"{x="1"}"#);
    assert_eq!(delayed.unwrap()[0].0, r#"{x="1"}"#);
    let keep = r#"label_replace(rate(a_total[1m]), "was", "$1", "__name__", "(.*)")"#;
    let [at_once, delayed] = both(keep);
    assert_eq!(at_once.unwrap()[0].0, r#"{x="1"}"#);
    assert_eq!(delayed.unwrap()[0].0, r#"{was="a_total", x="1"}"#);
}

#[test]
fn some_functions_keep_names() {
    for query in ["last_over_time(a_total[1m])", "first_over_time(a_total[1m])", "a_total > 3"] {
        for result in both(query) {
            assert_eq!(result.unwrap()[0].0, r#"{__name__="a_total", x="1"}"#, "{query}");
        }
    }
}
