//! What do queries cost beyond reading their samples?
//!
//! `cargo bench -p ferula-benches --bench query`
//!
//! 2,000 counters with six labels, scraped every 15 s for two hours, held as plain columns, so that
//! reading is a copy. Range queries over one hour with a step of one minute; throughput counts the
//! samples that lie in the hour and the window before it. Instant queries over 50,000 of them;
//! throughput counts series.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, Matcher};
use ferula_promql::storage::{Querier, Queryable, SelectHints, SeriesSet, StorageError, TimeRange};
use ferula_promql::{Engine, EngineOptions};

const N_SERIES: u32 = 2_000;
const N_SERIES_AT_ONCE: u32 = 50_000;
const N_SAMPLES: u32 = 480;
const SCRAPE_MS: i64 = 15_000;
const START_MS: i64 = 1_700_000_000_000 + 3_600_000;
const END_MS: i64 = START_MS + 3_600_000;
const STEP_MS: i64 = 60_000;

/// Series as plain columns.
#[derive(Clone)]
struct Columns {
    labels: Arc<Vec<Labels>>,
    timestamps: Arc<Vec<i64>>,
    values: Arc<Vec<Vec<f64>>>,
}

impl Columns {
    /// Counters that rise by small jittered steps and are reset now and then.
    fn counters(n_series: u32) -> Self {
        let mut labels: Vec<Labels> = (0..n_series).map(series_labels).collect();
        labels.sort();
        let mut values = Vec::new();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in &labels {
            let mut counter = 0.0;
            let column = (0..N_SAMPLES).map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                counter = if random.is_multiple_of(1_000) { 0.0 } else { counter + step(random) };
                counter
            });
            values.push(column.collect());
        }
        let first = START_MS - 3_600_000;
        let timestamps = (0..i64::from(N_SAMPLES)).map(|i| first + i * SCRAPE_MS).collect();
        Self {
            labels: Arc::new(labels),
            timestamps: Arc::new(timestamps),
            values: Arc::new(values),
        }
    }
}

fn step(random: u64) -> f64 {
    f64::from(u8::try_from(random % 100).unwrap_or_default())
}

fn series_labels(series: u32) -> Labels {
    let pairs = [
        ("__name__", "http_requests_total".to_owned()),
        ("cluster", "eu-1".to_owned()),
        ("code", ["200", "404", "500", "503"][(series % 4) as usize].to_owned()),
        ("instance", format!("10.0.{:03}.{:03}:9100", series / 250, series % 250)),
        ("job", format!("service-{:02}", series / 4 % 20)),
        ("method", ["GET", "POST"][(series % 2) as usize].to_owned()),
    ];
    Labels::from_pairs(pairs).expect("names differ")
}

impl Queryable for Columns {
    fn querier(&self, _range: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
        Ok(Box::new(self.clone()))
    }
}

impl Querier for Columns {
    fn select(
        &self,
        _matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StorageError> {
        Ok(Box::new(Selected { columns: self.clone(), range: hints.range }))
    }

    fn label_names(&self, _matchers: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _name: &str, _: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }
}

struct Selected {
    columns: Columns,
    range: TimeRange,
}

impl SeriesSet for Selected {
    fn len(&self) -> usize {
        self.columns.labels.len()
    }

    fn labels(&self, index: usize) -> Labels {
        self.columns.labels[index].clone()
    }

    fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError> {
        let timestamps = &self.columns.timestamps;
        let first = timestamps.partition_point(|t| *t < self.range.mint());
        let last = timestamps.partition_point(|t| *t <= self.range.maxt());
        let values = &self.columns.values[index];
        batch.extend_from_columns(&timestamps[first..last], &values[first..last]);
        Ok(())
    }
}

fn queries(criterion: &mut Criterion) {
    let columns = Columns::counters(N_SERIES);
    let storage: Arc<dyn Queryable> = Arc::new(columns.clone());
    let engine = Engine::new(EngineOptions::default());
    let mut group = criterion.benchmark_group("query");
    let samples_per_series = u64::try_from((END_MS - START_MS + 300_000) / SCRAPE_MS).unwrap_or(0);
    group.throughput(Throughput::Elements(u64::from(N_SERIES) * samples_per_series));
    group.bench_function(BenchmarkId::new("range", "reading only"), |bencher| {
        let range = TimeRange::new(START_MS - 300_000 + 1, END_MS).expect("in order");
        let set = columns.select(&[], &SelectHints::new(range)).expect("always");
        let mut batch = SampleBatch::new();
        bencher.iter(|| {
            for index in 0..set.len() {
                batch.clear();
                set.read(index, &mut batch).expect("always");
                black_box(batch.values());
            }
        });
    });
    for query in [
        "http_requests_total",
        "rate(http_requests_total[5m])",
        "sum by (job) (rate(http_requests_total[5m]))",
        "sum(http_requests_total)",
        "sum_over_time(http_requests_total[5m])",
        "max_over_time(http_requests_total[30m])",
        "rate(http_requests_total[5m]) / on (instance, code) http_requests_total",
        "topk(5, rate(http_requests_total[5m]))",
    ] {
        group.bench_function(BenchmarkId::new("range", query), |bencher| {
            bencher.iter(|| {
                let query = engine
                    .range(Arc::clone(&storage), query, START_MS, END_MS, STEP_MS)
                    .expect("parses");
                black_box(query.run().expect("runs"))
            });
        });
    }
    group.finish();
}

/// Many series at one step, where labels weigh more than samples.
fn instant_queries(criterion: &mut Criterion) {
    let storage: Arc<dyn Queryable> = Arc::new(Columns::counters(N_SERIES_AT_ONCE));
    let engine = Engine::new(EngineOptions::default());
    let mut group = criterion.benchmark_group("query");
    group.throughput(Throughput::Elements(u64::from(N_SERIES_AT_ONCE)));
    for query in ["http_requests_total", "sum by (job) (rate(http_requests_total[1m]))"] {
        group.bench_function(BenchmarkId::new("instant", query), |bencher| {
            bencher.iter(|| {
                let query = engine.instant(Arc::clone(&storage), query, START_MS).expect("parses");
                black_box(query.run().expect("runs"))
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = queries, instant_queries
}
criterion_main!(benches);
