//! Answers do not depend on the threads that help, nor on when these do what they are told.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, Matcher};
use ferula_promql::storage::{Querier, Queryable, SelectHints, SeriesSet, StorageError, TimeRange};
use ferula_promql::testlang::generate::{QueryGenerator, fill};
use ferula_promql::testlang::{MemoryStorage, TestStorage};
use ferula_promql::{Engine, EngineOptions, Error, Features, Query, QueryResult, Threads, Value};

type Task = Box<dyn FnOnce() + Send>;

/// As many threads as there are tasks.
struct Unbounded {
    count: usize,
    spawned: AtomicUsize,
}

impl Unbounded {
    fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { count, spawned: AtomicUsize::new(0) })
    }
}

impl Threads for Unbounded {
    fn count(&self) -> usize {
        self.count
    }

    fn spawn(&self, task: Task) {
        self.spawned.fetch_add(1, Ordering::Relaxed);
        thread::spawn(task);
    }
}

/// Threads that never have time.
struct Busy;

impl Threads for Busy {
    fn count(&self) -> usize {
        4
    }

    fn spawn(&self, _task: Task) {}
}

/// Runs a task at once, on the thread that hands it over.
struct AtOnce;

impl Threads for AtOnce {
    fn count(&self) -> usize {
        2
    }

    fn spawn(&self, task: Task) {
        task();
    }
}

fn options() -> EngineOptions {
    EngineOptions::default().features(Features::ALL)
}

fn storage(n_series: u32, n_samples: u32) -> Arc<dyn Queryable> {
    let mut storage = MemoryStorage::new();
    fill(&mut storage, n_series, n_samples).expect("memory takes all");
    storage.queryable().expect("memory takes all")
}

/// Everything that an answer says, to the bit.
fn text(query: &Query, result: Result<QueryResult, Error>) -> String {
    let result = match result {
        Ok(result) => result,
        Err(error) => return format!("error: {error}"),
    };
    let mut text = String::new();
    let annotations = &result.annotations;
    write!(text, "{:?}", annotations.warnings(query.text())).expect("text takes all");
    write!(text, "{:?}", annotations.infos(query.text())).expect("text takes all");
    write!(text, "{}", result.stats.n_series).expect("text takes all");
    let Value::Matrix(matrix) = result.value else { panic!("a matrix") };
    for series in matrix {
        write!(text, "\n{} ", series.labels).expect("text takes all");
        for (index, sample) in series.samples.iter().enumerate() {
            let bits = sample.value.to_bits();
            write!(text, "{}:{bits:x}", sample.timestamp).expect("text takes all");
            if let Some(histogram) = series.samples.histogram(index) {
                write!(text, "{histogram:?}").expect("text takes all");
            }
        }
    }
    text
}

#[test]
fn answers_are_the_same_to_the_bit() {
    let storage = storage(100, 40);
    let others: [(&str, Arc<dyn Threads>); 5] = [
        ("one", Unbounded::new(1)),
        ("three", Unbounded::new(3)),
        ("ten", Unbounded::new(10)),
        ("busy", Arc::new(Busy)),
        ("at once", Arc::new(AtOnce)),
    ];
    let run = |text: &str, options: EngineOptions| {
        let engine = Engine::new(options);
        let query = engine.range(Arc::clone(&storage), text, 0, 600_000, 50_000).unwrap();
        let result = query.run();
        self::text(&query, result)
    };
    let mut random = QueryGenerator::new(11);
    for _ in 0..250 {
        let query = random.query();
        let alone = run(&query, options());
        for (name, threads) in &others {
            let helped = run(&query, options().threads(Arc::clone(threads)));
            assert_eq!(alone, helped, "{query} with threads: {name}");
        }
    }
}

#[test]
fn threads_are_asked_where_there_is_much_to_do() {
    let asked = |n_series: u32, query: &str| {
        let threads = Unbounded::new(2);
        let engine = Engine::new(options().threads(Arc::clone(&threads) as Arc<dyn Threads>));
        let query = engine.range(storage(n_series, 20), query, 0, 300_000, 15_000).unwrap();
        query.run().unwrap();
        threads.spawned.load(Ordering::Relaxed)
    };
    assert_eq!(asked(8, "sum(rate(c_total[1m]))"), 0);
    for query in ["sum(rate(c_total[1m]))", "topk(3, g)", "g * 2", "g + on (a, b, i) c_total"] {
        assert_eq!(asked(200, query), 2, "{query}");
    }
}

/// Series of which one cannot be read.
#[derive(Clone)]
struct Failing {
    fails_at: usize,
    panics: bool,
}

impl Queryable for Failing {
    fn querier(&self, _: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
        Ok(Box::new(self.clone()))
    }
}

impl Querier for Failing {
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

impl SeriesSet for Failing {
    fn len(&self) -> usize {
        1_000
    }

    fn labels(&self, index: usize) -> Labels {
        Labels::from_pairs([("i", format!("{index:04}"))]).expect("one name")
    }

    fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError> {
        if index >= self.fails_at {
            assert!(!self.panics, "series {index}");
            return Err(format!("series {index}").into());
        }
        batch.push(0, 1.0);
        Ok(())
    }
}

#[test]
fn the_first_error_in_order_is_told() {
    for fails_at in [0, 1, 500, 999] {
        let engine = Engine::new(options().threads(Unbounded::new(3)));
        let storage = Arc::new(Failing { fails_at, panics: false });
        let error = engine.instant(storage, "sum(x)", 0).unwrap().run().unwrap_err();
        let Error::Storage(source) = error else { panic!("{error}") };
        assert_eq!(source.to_string(), format!("series {fails_at}"));
    }
}

#[test]
fn a_panic_on_another_thread_ends_the_query() {
    let engine = Engine::new(options().threads(Unbounded::new(3)));
    let storage = Arc::new(Failing { fails_at: 400, panics: true });
    let query = engine.instant(storage, "sum(x)", 0).unwrap();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| query.run()));
    assert!(outcome.is_err());
}
