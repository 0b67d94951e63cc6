//! What does it cost to find series, to put them in order, and to make their labels?
//!
//! `cargo bench -p ferula-benches --bench index [-- FILTER]`
//!
//! A head index of a million series with ten labels: a thousand targets of a thousand series each.
//! `order` compares ways to bring 100,000 of them in label order; throughput counts these. `select`
//! has one matcher set per line and no throughput: what is found differs.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferula_benches::fleet::{Fleet, FleetOptions};
use ferula_index::head::HeadIndex;
use ferula_index::{Labels, MatchOp, Matcher, SeriesRef};

const N_TARGETS: u32 = 1_000;
const TARGET_SERIES: u32 = 1_000;

fn fill() -> HeadIndex {
    let fleet = Fleet::new(FleetOptions {
        seed: 1,
        n_targets: N_TARGETS,
        series_per_target: TARGET_SERIES,
        start_ms: 0,
        interval_ms: 15_000,
        churn_per_hour: 0.0,
    });
    let index = HeadIndex::new();
    for target in 0..N_TARGETS {
        let first = 1 + u64::from(target * TARGET_SERIES);
        let labels = (0..TARGET_SERIES).map(|series| fleet.labels(target, 0, series));
        let batch: Vec<(SeriesRef, Labels)> = (first..).map(SeriesRef).zip(labels).collect();
        index.insert_all(&batch).expect("new refs");
    }
    index
}

/// Label name, operator and value of a matcher.
type Test<'a> = (&'a str, MatchOp, &'a str);

fn matcher(op: MatchOp, name: &str, value: &str) -> Matcher {
    Matcher::new(op, name, value).expect("a valid expression")
}

/// 100,000 series in label order.
fn order(criterion: &mut Criterion) {
    let index = fill();
    let selections = [
        ("of one service", vec![Matcher::equal("job", "api")]),
        ("of a metric", vec![Matcher::equal("__name__", "http_request_duration_seconds_bucket")]),
    ];
    let mut group = criterion.benchmark_group("order");
    for (name, matchers) in selections {
        let all = index.select(&matchers);
        let some: Vec<SeriesRef> = all.iter().take(100_000).collect();
        group.throughput(Throughput::Elements(some.len() as u64));
        group.bench_function(BenchmarkId::new("ranks", name), |bencher| {
            bencher.iter(|| black_box(index.order(&some)));
        });
        group.bench_function(BenchmarkId::new("labels", name), |bencher| {
            bencher.iter(|| {
                let mut labels: Vec<_> = index.labels_of(&some).into_iter().zip(&some).collect();
                labels.sort_unstable();
                black_box(labels)
            });
        });
    }
    group.finish();
}

/// Selections that ought to cost little more than what they find.
fn select(criterion: &mut Criterion) {
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    let index = fill();
    let name = ("__name__", Equal, "up");
    let cases: [(&str, &[Test<'_>]); 9] = [
        ("metric", &[name]),
        ("metric and job", &[name, ("job", Equal, "api")]),
        (
            "job, pods by prefixes",
            &[("job", Equal, "api"), ("pod", Regex, "api-7d9f000.*|api-7d9f001.*")],
        ),
        ("job, pods by words", &[("job", Equal, "api"), ("pod", Regex, "api.*1b.*")]),
        ("metric, any pod", &[name, ("pod", Regex, ".+")]),
        ("metric, not empty", &[name, ("instance", NotEqual, "")]),
        ("metric, not some pods", &[name, ("pod", NotRegex, "api.*")]),
        ("metric, no such label", &[name, ("nothing", Equal, "")]),
        ("instances by pattern", &[("instance", Regex, "10\\.0\\.[0-3]\\.[0-9]+:8080"), name]),
    ];
    let mut group = criterion.benchmark_group("select");
    for (text, matchers) in cases {
        let matchers: Vec<Matcher> =
            matchers.iter().map(|(name, op, value)| matcher(*op, name, value)).collect();
        let found = index.select(&matchers).len();
        group.bench_function(format!("{text} ({found})"), |bencher| {
            bencher.iter(|| black_box(index.select(&matchers)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = order, select
}
criterion_main!(benches);
