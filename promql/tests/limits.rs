//! What stops a query: limits, cancellation, time, storages that fail; and that functions do not.

use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ferula_chunkenc::{Sample, SampleBatch};
use ferula_index::{Labels, Matcher};
use ferula_promql::functions::signatures::{self, ValueType};
use ferula_promql::storage::{Querier, Queryable, SelectHints, SeriesSet, StorageError, TimeRange};
use ferula_promql::testlang::{MemoryStorage, TestStorage};
use ferula_promql::{CancelHandle, Clock, Engine, EngineOptions, Error, Features, Value};

fn memory(n_series: i64, n_samples: i64) -> Arc<dyn Queryable> {
    let mut storage = MemoryStorage::new();
    for series in 0..n_series {
        let pairs = [("__name__", "m".to_owned()), ("i", format!("{series:05}"))];
        let labels = Labels::from_pairs(pairs).expect("names differ");
        let samples: SampleBatch =
            (0..n_samples).map(|i| Sample::new(i * 1_000, i as f64)).collect();
        storage.append(&labels, &samples).expect("in order");
    }
    storage.commit().expect("always");
    storage.queryable().expect("always")
}

fn limited(max_samples: usize) -> Engine {
    Engine::new(EngineOptions::default().max_samples(max_samples).features(Features::ALL))
}

#[test]
fn aggregations_need_not_hold_their_input() {
    let storage = memory(100, 100);
    let run = |query: &str| {
        limited(1_000).range(Arc::clone(&storage), query, 0, 99_000, 1_000).unwrap().run()
    };
    let answer = run("sum(m)").unwrap();
    assert_eq!(answer.stats.samples_read, 10_000);
    assert_eq!(answer.stats.n_series, 100);
    assert!(answer.stats.peak_samples <= 300, "{:?}", answer.stats);
    assert!(run("topk(2, sum_over_time(m[20s]))").is_ok());
    assert!(matches!(run("m"), Err(Error::TooManySamples { limit: 1_000 })));
    assert!(matches!(run("quantile(0.5, m)"), Err(Error::TooManySamples { .. })));
}

#[test]
fn steps_are_bounded_before_they_are_allocated() {
    let storage = memory(1, 1);
    let engine = limited(1_000);
    for query in ["m", "vector(1)", "time()"] {
        let range = engine.range(Arc::clone(&storage), query, i64::MIN, i64::MAX, 1).unwrap();
        assert!(matches!(range.run(), Err(Error::TooManySamples { .. })), "{query}");
    }
    for query in ["sum_over_time(m[100y:1ms])", "max_over_time(vector(1)[1d:1s])", "m[1d:1ms]"] {
        let instant = engine.instant(Arc::clone(&storage), query, 0).unwrap();
        assert!(matches!(instant.run(), Err(Error::TooManySamples { .. })), "{query}");
    }
}

#[test]
fn extreme_times_do_not_panic() {
    let storage = memory(2, 3);
    let queries = [
        "m",
        "rate(m[100y])",
        "m offset -100y",
        "predict_linear(m[5m] @ 0, 1e300)",
        "timestamp(m)",
        "year(vector(1e300)) + hour() + year(vector(NaN))",
        "sum_over_time(m[5m:1m] offset 200y)",
        "day_of_year(vector(-1e300))",
        "topk(1e15, m)",
        "m[1d]",
    ];
    for query in queries {
        for time in [i64::MIN, -1, 0, 5_000, i64::MAX] {
            limited(10_000).instant(Arc::clone(&storage), query, time).unwrap().run().unwrap();
        }
    }
}

#[test]
fn ambiguous_matches_fail_before_their_pairs_are_made() {
    let storage = memory(3_000, 1);
    let run = |query: &str| limited(100_000).instant(Arc::clone(&storage), query, 0).unwrap().run();
    let error = run("m + on() m").unwrap_err();
    assert!(matches!(error, Error::DuplicateMatch { side: "right", .. }), "{error}");
    assert!(matches!(run("m + on() sum(m)").unwrap_err(), Error::ImplicitManyToOne));
    assert!(run("m + on() group_left sum(m)").is_ok());
    // Nine million pairs if those without values were not left out.
    assert!(run("m + on() group_left() (m offset 1h)").is_ok());
}

#[test]
fn deep_queries_are_evaluated() {
    let storage = memory(1, 10);
    let depth = 95;
    let deep = [
        format!("{}m{}", "abs(".repeat(depth), ")".repeat(depth)),
        format!("{}m{}", "sum by (i) (-(".repeat(depth / 2), "))".repeat(depth / 2)),
        format!("{}m{}", "max_over_time((".repeat(depth / 2), ")[5s:1s])".repeat(depth / 2)),
        format!("m{}", " or m".repeat(depth)),
        format!("1{}", " + scalar(m)".repeat(depth)),
    ];
    for query in &deep {
        limited(10_000).instant(Arc::clone(&storage), query, 5_000).unwrap().run().unwrap();
    }
}

#[test]
fn windows_are_answered_as_they_are() {
    let run = |query: &str| {
        let query = limited(1_000).instant(memory(1, 10), query, 5_500).unwrap();
        let Value::Matrix(series) = query.run().unwrap().value else { panic!("a matrix") };
        series[0].samples.iter().map(|s| (s.timestamp, s.value)).collect::<Vec<_>>()
    };
    assert_eq!(run("m[2s]"), [(4_000, 4.0), (5_000, 5.0)]);
    assert_eq!(run("m[1s] smoothed"), [(4_500, 4.5), (5_000, 5.0), (5_500, 5.5)]);
    assert_eq!(run("m[1s] anchored"), [(4_500, 4.0), (5_000, 5.0), (5_500, 5.0)]);
    assert_eq!(run("(-m)[2s:1s]"), [(4_000, -4.0), (5_000, -5.0)]);
}

#[test]
fn ranges_must_go_forward() {
    let storage = memory(1, 1);
    let engine = limited(10);
    for (start, end, step) in [(0, 10, 0), (0, 10, -1), (10, 0, 1)] {
        let query = engine.range(Arc::clone(&storage), "m", start, end, step);
        assert!(matches!(query, Err(Error::Range { .. })));
    }
    let error = engine.range(storage, "m[5m]", 0, 10, 1).err().unwrap();
    assert_eq!(
        error.to_string(),
        "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"
    );
}

#[test]
fn cancelled_queries_stop() {
    let query = limited(1_000).instant(memory(10, 10), "m", 0).unwrap();
    query.cancel_handle().cancel();
    assert!(matches!(query.run(), Err(Error::Cancelled)));
}

/// Series of which the last one cancels the query that reads it.
#[derive(Clone, Default)]
struct Cancelling(Arc<OnceLock<CancelHandle>>);

impl Queryable for Cancelling {
    fn querier(&self, _: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
        Ok(Box::new(self.clone()))
    }
}

impl Querier for Cancelling {
    fn select(&self, _: &[Matcher], _: &SelectHints) -> Result<Box<dyn SeriesSet>, StorageError> {
        Ok(Box::new(self.clone()))
    }

    fn label_names(&self, _: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }
}

impl SeriesSet for Cancelling {
    fn len(&self) -> usize {
        9
    }

    fn labels(&self, index: usize) -> Labels {
        Labels::from_pairs([("i", index.to_string())]).expect("one name")
    }

    fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError> {
        batch.push(0, 1.0);
        if index + 1 == self.len() {
            self.0.get().expect("set before the query runs").cancel();
        }
        Ok(())
    }
}

#[test]
fn range_vectors_are_not_sorted_for_cancelled_queries() {
    let storage = Cancelling::default();
    let query = limited(1_000).instant(Arc::new(storage.clone()), "m[5m]", 0).unwrap();
    storage.0.set(query.cancel_handle()).expect("set once");
    assert!(matches!(query.run(), Err(Error::Cancelled)));
}

/// A clock that moves on whenever it is looked at.
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[test]
fn queries_run_out_of_time() {
    let clock = Arc::new(Ticking(AtomicU64::new(0)));
    let engine = Engine::new(EngineOptions::default().clock(clock).timeout_ms(1_000_000));
    let storage = memory(100, 10);
    let query = engine.instant(storage, "sum(m)", 5_000).unwrap();
    assert!(query.run().is_ok());
    assert!(matches!(query.with_timeout_ms(20).run(), Err(Error::Timeout)));
}

/// A storage whose series cannot be read.
struct Broken;

#[derive(Debug, thiserror::Error)]
#[error("the disk is gone")]
struct DiskGone;

impl Queryable for Broken {
    fn querier(&self, _: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
        Ok(Box::new(Self))
    }
}

impl Querier for Broken {
    fn select(&self, _: &[Matcher], _: &SelectHints) -> Result<Box<dyn SeriesSet>, StorageError> {
        Ok(Box::new(Self))
    }

    fn label_names(&self, _: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Err(Box::new(DiskGone))
    }

    fn label_values(&self, _: &str, _: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Err(Box::new(DiskGone))
    }
}

impl SeriesSet for Broken {
    fn len(&self) -> usize {
        1
    }

    fn labels(&self, _: usize) -> Labels {
        Labels::empty()
    }

    fn read(&self, _: usize, _: &mut SampleBatch) -> Result<(), StorageError> {
        Err(Box::new(DiskGone))
    }
}

#[test]
fn errors_of_the_storage_are_the_source() {
    let error = limited(10).instant(Arc::new(Broken), "rate(m[5m])", 0).unwrap().run().unwrap_err();
    assert!(matches!(error, Error::Storage(_)));
    assert_eq!(error.source().unwrap().to_string(), "the disk is gone");
}

#[test]
fn every_function_is_evaluated() {
    for signature in signatures::all() {
        let args: Vec<&str> = signature.args[..signature.min_args()]
            .iter()
            .map(|arg| match arg {
                ValueType::Scalar => "0.5",
                ValueType::String => r#""a""#,
                ValueType::Vector => "m",
                ValueType::Matrix => "m[5m]",
            })
            .collect();
        let query = format!("{}({})", signature.name, args.join(", "));
        let answer = limited(100).instant(memory(1, 1), &query, 0).and_then(|query| query.run());
        assert!(answer.is_ok(), "{query}: {answer:?}");
    }
}

#[test]
fn lookback_can_be_set_per_query() {
    let storage = memory(1, 1);
    let engine = limited(10);
    let at = |time: i64, lookback: i64| {
        let query = engine.instant(Arc::clone(&storage), "m", time).unwrap();
        let Value::Vector(vector) = query.with_lookback_delta_ms(lookback).run().unwrap().value
        else {
            panic!("a vector")
        };
        vector.len()
    };
    assert_eq!((at(299_999, 0), at(300_000, 0)), (1, 0));
    assert_eq!((at(9_999, 10_000), at(10_000, 10_000)), (1, 0));
}

/// Counts how often it is asked for the time, and says that an hour has passed after some times.
struct Patient {
    asked: AtomicU64,
    patience: u64,
}

impl Clock for Patient {
    fn now_ms(&self) -> u64 {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if asked < self.patience { 0 } else { 3_600_000 }
    }
}

#[test]
fn time_is_looked_at_within_a_series() {
    // One series, hundreds of windows of thousands of samples each.
    let storage = memory(1, 20_000);
    for query in ["quantile_over_time(0.5, m[5000s])", "predict_linear(m[5000s], 60)"] {
        let run = |patience| {
            let clock = Arc::new(Patient { asked: AtomicU64::new(0), patience });
            let options = EngineOptions::default().clock(Arc::clone(&clock) as Arc<dyn Clock>);
            let storage = Arc::clone(&storage);
            let query = Engine::new(options).range(storage, query, 0, 19_999_000, 60_000).unwrap();
            (query.run(), clock.asked.load(Ordering::Relaxed))
        };
        let (result, asked) = run(u64::MAX);
        result.unwrap();
        assert!(asked > 20, "{query}: only asked {asked} times");
        let (result, asked) = run(10);
        assert!(matches!(result, Err(Error::Timeout)), "{query}");
        assert!(asked < 20, "{query}: went on for {asked} times");
    }
}

#[test]
fn time_is_looked_at_while_a_series_is_read() {
    let storage = memory(1, 300_000);
    let clock = Arc::new(Patient { asked: AtomicU64::new(0), patience: 8 });
    let options = EngineOptions::default().clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let engine = Engine::new(options);
    let query = engine.instant(storage, "max_over_time(m[10y])", 300_000_000).unwrap();
    assert!(matches!(query.run(), Err(Error::Timeout)));
    assert_eq!(clock.asked.load(Ordering::Relaxed), 9);
}

#[test]
fn what_memory_was_for_is_told_with_its_place() {
    let storage = memory(2_000, 2);
    let run = |query: &str, bytes| {
        let query = limited(usize::MAX >> 1).instant(Arc::clone(&storage), query, 1_000).unwrap();
        query.with_max_memory_bytes(bytes).run()
    };
    let error = run("1 +\n sum(m)", 50_000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "query needs more memory than its limit of 50000 bytes, for the selected series at 2:6"
    );
    let error = run("count by (i) (m)", 600_000).unwrap_err();
    let Error::TooMuchMemory { what, span, limit_bytes, .. } = error else { panic!("{error}") };
    assert_eq!((what, span.start, limit_bytes), ("groups of series", 0, 600_000));
    let stats = run("count by (i) (m)", 4_000_000).unwrap().stats;
    assert!((600_000..4_000_000).contains(&stats.peak_memory_bytes), "{stats:?}");
}
