//! What does a query over many series of a database cost beyond their samples?
//!
//! `cargo bench -p ferula-benches --bench stored`
//!
//! A million series with ten labels in the head, of a thousand targets, two samples each; every
//! query is about 125,000 of them, those of one service. Throughput counts these.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferula_benches::fleet::{Fleet, FleetOptions};
use ferula_index::Matcher;
use ferula_promql::storage::Queryable;
use ferula_promql::{Engine, EngineOptions};
use ferula_tsdb::{Db, Options, SyncPolicy};

const N_TARGETS: u32 = 1_000;
const TARGET_SERIES: u32 = 1_000;
const START_MS: i64 = 1_700_000_000_000;
const STEP_MS: i64 = 15_000;

fn fill(dir: &std::path::Path) -> Db {
    let options = Options::builder().sync(SyncPolicy::Never).maintenance_interval(None);
    let db = Db::open(dir, options.build().expect("valid options")).expect("an empty directory");
    let fleet = Fleet::new(FleetOptions {
        seed: 1,
        n_targets: N_TARGETS,
        series_per_target: TARGET_SERIES,
        start_ms: START_MS,
        interval_ms: STEP_MS,
        churn_per_hour: 0.0,
    });
    for target in 0..N_TARGETS {
        let mut batch = db.appender();
        for series in 0..TARGET_SERIES {
            let labels = fleet.labels(target, 0, series);
            let series = batch.append(&labels, START_MS, 1.0).expect("a new series");
            batch.append_ref(series, START_MS + STEP_MS, 2.0).expect("in order");
        }
        batch.commit().expect("a disk with room");
    }
    db
}

fn queries(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = Arc::new(fill(dir.path()));
    let at = START_MS + STEP_MS;
    let querier = db.querier(START_MS, at).expect("open");
    let n_series = querier.select(&[Matcher::equal("job", "api")]).expect("readable").len();
    let mut group = criterion.benchmark_group("stored");
    group.throughput(Throughput::Elements(n_series as u64));
    group.bench_function("select", |bencher| {
        bencher.iter(|| black_box(querier.select(&[Matcher::equal("job", "api")])));
    });
    let storage: Arc<dyn Queryable> = db;
    let engine = Engine::new(EngineOptions::default());
    for query in [
        r#"count({job="api"})"#,
        r#"sum by (node) ({job="api"})"#,
        r#"sum(rate(http_requests_total{job="api"}[1m]))"#,
        r#"{job="api"}"#,
    ] {
        group.bench_function(query, |bencher| {
            bencher.iter(|| {
                let query = engine.instant(Arc::clone(&storage), query, at).expect("parses");
                black_box(query.run().expect("runs"))
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = queries
}
criterion_main!(benches);
