//! What do typical queries over a hundred thousand series take, and how much do threads help?
//!
//! `cargo bench -p ferula-benches --bench fleet_queries -- [targets=100] [threads=0] [iterations=5] [only=NAME]`
//!
//! A head of 100 pods with 1,000 series each, scraped every 15 s for two hours, and the queries that
//! databases are compared with. Prints, for each, series and points of the answer, the median of the
//! wall times and the processor time in milliseconds, and the peak of the memory that was counted.

use std::sync::Arc;
use std::time::Instant;

use ferula_benches::pods;
use ferula_benches::{START_MS, STEP_MS};
use ferula_chunkenc::Sample;
use ferula_index::Labels;
use ferula_promql::storage::Queryable;
use ferula_promql::{Engine, EngineOptions, Value};
use ferula_tsdb::{Db, Options, QueryThreads, SyncPolicy};

const N_SCRAPES: usize = 480;

/// Queries at one time, the end of the data.
const INSTANT: [(&str, &str); 5] = [
    ("instant_count_all", r#"count({__name__!=""})"#),
    ("instant_topk", "topk(10, rate(container_cpu_usage_seconds_total[5m]))"),
    ("instant_last_1h_all", r#"count(last_over_time({__name__!=""}[1h]))"#),
    ("instant_rate_1h_all", "$rates[1h]"),
    ("instant_subquery", "max_over_time(sum by (job) (rate(http_requests_total[2m]))[30m:1m])"),
];

/// Queries over all data, and their steps in seconds.
const RANGE: [(&str, &str, i64); 11] = [
    ("range_selector", r#"{instance="10.0.0.7:8080",__name__=~"node_.+"}"#, 15),
    ("range_rate_by_job", "sum by (job) (rate(http_requests_total[5m]))", 15),
    (
        "range_histogram_quantile",
        "histogram_quantile(0.99, sum by (le, job) (rate(http_request_duration_seconds_bucket[5m])))",
        60,
    ),
    ("range_topk", r#"topk(5, sum by (pod) (rate(node_cpu_seconds_total{mode!="idle"}[5m])))"#, 60),
    (
        "range_regex",
        r#"sum by (status) (rate(http_requests_total{handler=~"/api/.*resource(1|3|5)",status=~"4..|5.."}[5m]))"#,
        60,
    ),
    ("range_quantile_by", "quantile by (cluster) (0.95, node_filesystem_avail_bytes)", 60),
    (
        "range_join",
        "sum by (version) (rate(http_requests_total[5m]) * on (instance) group_left (version) target_info)",
        60,
    ),
    ("range_count_by", r#"count by (cluster) ({__name__=~"node_.+|container_.+"})"#, 60),
    (
        "range_predict_linear",
        "min by (instance) (predict_linear(node_filesystem_avail_bytes[1h], 4 * 3600))",
        60,
    ),
    ("range_deriv", "avg by (sensor) (deriv(node_hwmon_temp_celsius[10m]))", 60),
    ("range_rate_1m_all", "$rates[1m]", 15),
];

const COUNTERS: [&str; 13] = [
    "http_requests_total",
    "http_request_duration_seconds_bucket",
    "http_request_duration_seconds_sum",
    "http_request_duration_seconds_count",
    "grpc_server_handled_total",
    "node_cpu_seconds_total",
    "node_disk_read_bytes_total",
    "node_disk_written_bytes_total",
    "node_network_receive_bytes_total",
    "node_network_receive_packets_total",
    "node_network_transmit_bytes_total",
    "node_network_transmit_packets_total",
    "container_cpu_usage_seconds_total",
];

/// `$rates[5m]` stands for the rates of all counters, added up by cluster.
fn expand(query: &str) -> String {
    let Some(window) = query.strip_prefix("$rates") else { return query.to_owned() };
    let sums = COUNTERS.map(|metric| format!("sum by (cluster) (rate({metric}{window}))"));
    sums.join(" + ")
}

fn fill(dir: &std::path::Path, n_targets: usize) -> Db {
    let options = Options::builder().sync(SyncPolicy::Never).maintenance_interval(None);
    let db = Db::open(dir, options.build().expect("valid options")).expect("an empty directory");
    let all = pods::series(n_targets, 1_000, N_SCRAPES);
    let mut refs = Vec::new();
    for at in 0..N_SCRAPES {
        for (chunk, series) in all.chunks(10_000).enumerate() {
            let mut batch = db.appender();
            for (place, one) in (chunk * 10_000..).zip(series) {
                let Sample { timestamp, value } = one.samples[at];
                if let Some(series) = refs.get(place) {
                    batch.append_ref(*series, timestamp, value).expect("in order");
                } else {
                    let pairs = one.labels.iter().map(|(name, value)| (name, value));
                    let labels = Labels::from_pairs(pairs).expect("names differ");
                    refs.push(batch.append(&labels, timestamp, value).expect("a new series"));
                }
            }
            batch.commit().expect("a disk with room");
        }
    }
    db
}

/// Processor time of the process in milliseconds.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    let main: f64 = stat.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    let of_all: f64 = std::fs::read_dir("/proc/self/task")
        .expect("Linux")
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<f64>().ok())
        .sum();
    of_all.max(main) / 1e6
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let arg = |name: &str| args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));
    let number = |name, default| arg(name).map_or(default, |n| n.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db: Arc<dyn Queryable> = Arc::new(fill(dir.path(), number("targets", 100)));
    let mut options = EngineOptions::default();
    if let n @ 1.. = number("threads", 0) {
        options = options.threads(Arc::new(QueryThreads::new(n).expect("threads")));
    }
    let engine = Engine::new(options);
    let end = START_MS + STEP_MS * N_SCRAPES as i64;
    let instant = INSTANT.map(|(name, text)| (name, text, 0));
    for (name, text, step_s) in instant.into_iter().chain(RANGE) {
        if arg("only").is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let text = expand(text);
        let mut walls = Vec::new();
        let before = cpu_ms();
        let (mut shape, mut peak_bytes) = ((0, 0), 0);
        let n_iterations = number("iterations", 5);
        for _ in 0..n_iterations {
            let start = Instant::now();
            let query = match step_s {
                0 => engine.instant(Arc::clone(&db), &text, end),
                _ => engine.range(Arc::clone(&db), &text, START_MS, end, step_s * 1_000),
            };
            let result = query.expect("parses").run().expect("runs");
            walls.push(start.elapsed().as_secs_f64() * 1e3);
            shape = match &result.value {
                Value::Vector(vector) => (vector.len(), vector.len()),
                Value::Matrix(matrix) => {
                    (matrix.len(), matrix.iter().map(|s| s.samples.len()).sum())
                }
                _ => (1, 1),
            };
            peak_bytes = result.stats.peak_memory_bytes;
        }
        walls.sort_by(f64::total_cmp);
        let (median, cpu) = (walls[walls.len() / 2], (cpu_ms() - before) / n_iterations as f64);
        let (n_series, n_points) = shape;
        let peak_mib = peak_bytes as f64 / f64::from(1 << 20);
        println!(
            "{name:26} {n_series:6}/{n_points:<8} {median:9.2} ms  {cpu:9.2} ms cpu  {peak_mib:7.2} MiB"
        );
    }
}
