//! Functions of the host program are those of the language, but for where they come from.

use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_index::Labels;
use ferula_promql::testlang::{MemoryStorage, TestStorage};
use ferula_promql::{
    Engine, EngineOptions, Error, FloatWindow, HostFunction, HostFunctionError, ParseErrorKind,
    Query, Value,
};

fn functions() -> [HostFunction; 2] {
    [
        HostFunction::of_samples("above", 1, |value, scalars| {
            (value > scalars[0]).then_some(value - scalars[0])
        }),
        HostFunction::of_windows("spread", 0, |window: FloatWindow<'_>, _| {
            assert!(window.timestamps.iter().all(|t| *t > window.start_ms && *t <= window.end_ms));
            let high = window.values.iter().copied().fold(f64::MIN, f64::max);
            let low = window.values.iter().copied().fold(f64::MAX, f64::min);
            (window.values.len() > 1).then_some(high - low)
        }),
    ]
}

fn options() -> EngineOptions {
    functions().into_iter().fold(EngineOptions::default(), |options, function| {
        options.host_function(function).expect("the name is free")
    })
}

/// `m{n="1"}` is the number of the minute, `m{n="2"}` ten times that.
fn query(text: &str) -> Result<Query, Error> {
    let mut storage = MemoryStorage::new();
    for n in ["1", "2"] {
        let labels = Labels::from_pairs([("__name__", "m"), ("n", n)]).expect("short labels");
        let factor = if n == "1" { 1.0 } else { 10.0 };
        let mut samples = SampleBatch::new();
        (0..10).for_each(|i| samples.push(i64::from(i) * 60_000, f64::from(i) * factor));
        storage.append(&labels, &samples).expect("memory takes all");
    }
    let storage = storage.queryable().expect("memory is readable");
    Engine::new(options()).range(storage, text, 0, 300_000, 60_000)
}

fn answer(text: &str) -> Vec<(String, Vec<(i64, f64)>)> {
    let result = query(text).and_then(|query| query.run()).expect("the query is answered");
    let Value::Matrix(series) = result.value else { panic!("{text}") };
    let of_series = |series: ferula_promql::MatrixSeries| {
        let samples = series.samples.iter().map(|s| (s.timestamp / 60_000, s.value)).collect();
        (series.labels.to_string(), samples)
    };
    series.into_iter().map(of_series).collect()
}

#[test]
fn samples_are_given_one_by_one_with_the_scalars_of_their_step() {
    let expected = vec![
        (r#"{n="1"}"#.to_owned(), vec![(4, 1.0), (5, 2.0)]),
        (r#"{n="2"}"#.to_owned(), (1..6).map(|i| (i, i as f64 * 10.0 - 3.0)).collect()),
    ];
    assert_eq!(answer("above(m, 3)"), expected);
    // Of each step, the minute it is.
    let moving = answer("above(m, time() / 60)");
    assert_eq!(moving, [(r#"{n="2"}"#.to_owned(), (1..6).map(|i| (i, i as f64 * 9.0)).collect())]);
}

#[test]
fn windows_are_given_series_by_series() {
    let sums = answer("sum(spread(m[3m]))");
    let expected = vec![(1, 11.0), (2, 22.0), (3, 22.0), (4, 22.0), (5, 22.0)];
    assert_eq!(sums, [("{}".to_owned(), expected)]);
    assert_eq!(answer("sum(spread(m[3m:1m]))"), sums);
    assert_eq!(answer("spread(m[1m])"), []);
    // It is one of the parts that `explain` shows.
    let explained = query("1 + spread(m[3m])").unwrap().explain().unwrap().to_string();
    assert!(explained.contains("host range function  spread(m[3m])"), "{explained}");
}

#[test]
fn calls_are_checked_like_others() {
    let failure = |text: &str| match query(text).map(drop).unwrap_err() {
        Error::Parse(error) => error.to_string(),
        error => panic!("{error:?}"),
    };
    assert!(failure("above(m)").contains("expected 2 argument(s) in call to \"above\", got 1"));
    let wrong = failure("spread(m)");
    assert!(wrong.contains("expected type range vector in call to function \"spread\""), "{wrong}");
    let expr = Engine::new(options()).parse("above( m,3)").unwrap();
    assert_eq!(expr.to_string(), "above(m, 3)");
    assert!(ferula_promql::parse("above(m, 3)").is_err());
}

#[test]
fn a_strict_engine_does_not_know_them() {
    let engine = Engine::new(options().strict(true));
    let error = engine.parse("above(m, 3)").unwrap_err();
    assert!(matches!(error.kind(), ParseErrorKind::UnknownFunction { .. }), "{error}");
    let storage = MemoryStorage::new().queryable().expect("memory is readable");
    assert!(engine.instant(Arc::clone(&storage), "spread(m[5m])", 0).is_err());
    assert!(engine.instant(storage, "abs(m)", 0).is_ok());
}

#[test]
fn names_must_be_free_and_be_words() {
    let register = |name: &'static str| {
        let function = HostFunction::of_samples(name, 0, |value, _| Some(value));
        options().host_function(function).map(drop)
    };
    for name in ["rate", "above", "start"] {
        assert_eq!(register(name), Err(HostFunctionError::Taken { name }));
    }
    for name in ["sum", "by", "a b", "a:b", "", "1x", "a(", "ümlaut", "inf", "5m"] {
        assert_eq!(register(name), Err(HostFunctionError::Name { name }), "{name}");
    }
    assert_eq!(register("_of_mine_2"), Ok(()));
}
