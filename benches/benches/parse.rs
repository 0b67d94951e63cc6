//! How fast is query text parsed and checked?
//!
//! `cargo bench -p ferula-benches --bench parse`
//!
//! Fifty queries as dashboards and alerts hold them, from one selector to a page of text, parsed
//! one after the other. Throughput counts bytes of text; of eight small ones, expressions. Contender: the `promql-parser` crate, a
//! generated parser that checks types too. Printing is measured for ours alone.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const QUERIES: [&str; 50] = [
    "up",
    "up == 0",
    "vector(1)",
    "time() - process_start_time_seconds",
    "node_load1{instance=\"a:9100\"}",
    "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100",
    "rate(http_requests_total[5m])",
    "sum(rate(http_requests_total[5m]))",
    "sum by (job) (rate(http_requests_total[5m]))",
    "sum by (job, instance) (rate(http_requests_total{code=~\"5..\"}[5m]))",
    "sum without (instance) (rate(http_requests_total{job=\"api\",code!~\"2..\"}[1m]))",
    "topk(10, sum by (pod) (rate(container_cpu_usage_seconds_total{image!=\"\"}[5m])))",
    "bottomk by (zone) (3, node_filesystem_avail_bytes{fstype!~\"tmpfs|overlay\"})",
    "histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[5m])))",
    "histogram_quantile(0.5, sum by (le, handler) (rate(request_duration_seconds_bucket{job=\"a\"}[10m])))",
    "avg_over_time(up[1h])",
    "max_over_time(node_load1[1d:5m])",
    "quantile_over_time(0.9, latency_seconds[30m])",
    "increase(errors_total{severity=\"critical\"}[1h]) > 0",
    "absent(up{job=\"prometheus\"})",
    "absent_over_time(heartbeat{service=\"billing\"}[10m])",
    "changes(process_start_time_seconds[15m]) > 2",
    "predict_linear(node_filesystem_avail_bytes{mountpoint=\"/\"}[6h], 4 * 3600) < 0",
    "deriv(queue_length[10m]) > 5 and queue_length > 100",
    "label_replace(up, \"host\", \"$1\", \"instance\", \"(.*):.*\")",
    "label_join(up, \"id\", \"-\", \"job\", \"instance\")",
    "count_values(\"version\", build_info)",
    "count by (version) (build_info)",
    "sum(up) / count(up) < 0.9",
    "foo * on (instance) group_left (nodename) node_uname_info",
    "a / ignoring (code) group_left b",
    "(a or b) unless on (job) c",
    "a and on (job, instance) b offset 1d",
    "rate(x_total[5m] offset 1w) / rate(x_total[5m])",
    "x @ 1609746000 - x @ end()",
    "sum_over_time((rate(a_total[1m]) > bool 0.5)[1h:1m])",
    "max(sum by (pod) (a) / sum by (pod) (b)) without (container) > 1.5e3",
    "-foo ^ 2 + bar % 3 * baz",
    "clamp_max(rate(a_total[5m]), 100) >= bool 1",
    "round(sum(rate(bytes_total[5m])) * 8 / 1e6, 0.01)",
    "sort_desc(sum by (app) (a))",
    "day_of_week() > 0 and day_of_week() < 6 and hour() >= 9 and hour() < 17",
    "scalar(sum(a)) * b",
    "ceil(exp(ln(sqrt(abs(x)))))",
    "quantile(0.95, rate(http_request_duration_seconds_sum[5m]) / \
     rate(http_request_duration_seconds_count[5m]))",
    "1 - sum(rate(http_requests_total{job=\"api\",code=~\"5..\"}[30d])) / \
     sum(rate(http_requests_total{job=\"api\"}[30d]))",
    "sum by (namespace) (kube_pod_container_resource_requests{resource=\"cpu\",unit=\"core\"} * \
     on (namespace, pod) group_left () (kube_pod_status_phase{phase=~\"Pending|Running\"} == 1))",
    "(sum by (cluster, namespace, workload) (rate(container_network_receive_bytes_total{\
     cluster=\"eu-1\",namespace=~\".+\"}[5m]) * on (cluster, namespace, pod) group_left (workload, \
     workload_type) namespace_workload_pod:kube_pod_owner:relabel{workload_type=\"deployment\"}))",
    "100 - (avg by (instance) (irate(node_cpu_seconds_total{mode=\"idle\"}[5m])) * 100) > 80 and \
     on (instance) node_load5 / count by (instance) (node_cpu_seconds_total{mode=\"idle\"}) > 1",
    "sum by (route) (rate(gateway_requests_total{env=\"prod\",status!~\"4..|5..\"}[5m])) / sum by \
     (route) (rate(gateway_requests_total{env=\"prod\"}[5m])) < 0.995 and sum by (route) \
     (rate(gateway_requests_total{env=\"prod\"}[5m])) > 0.1 unless on (route) maintenance == 1",
];

fn parse(c: &mut Criterion) {
    let bytes: usize = QUERIES.iter().map(|query| query.len()).sum();
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Bytes(bytes.try_into().expect("a few kilobytes")));
    group.bench_function(BenchmarkId::from_parameter("ferula"), |b| {
        b.iter(|| {
            for query in QUERIES {
                black_box(ferula_promql::parse(black_box(query)).expect("each query is valid"));
            }
        });
    });
    group.bench_function(BenchmarkId::from_parameter("promql-parser"), |b| {
        b.iter(|| {
            for query in QUERIES {
                let parsed = promql_parser::parser::parse(black_box(query));
                black_box(parsed.expect("each query is valid"));
            }
        });
    });
    let parsed = QUERIES.map(|query| ferula_promql::parse(query).expect("each query is valid"));
    group.bench_function(BenchmarkId::from_parameter("ferula print"), |b| {
        b.iter(|| {
            for expr in &parsed {
                black_box(black_box(expr).to_string());
            }
        });
    });
    group.finish();
}

/// What alerts and panels mostly are: one selector, one function, one comparison.
const SMALL: [&str; 8] = [
    "up",
    "up == 0",
    "node_load1{instance=\"a:9100\"}",
    "rate(http_requests_total[5m])",
    "sum(rate(http_requests_total[5m]))",
    "sum by (job) (rate(http_requests_total[5m]))",
    "avg_over_time(up[1h])",
    "a / ignoring (code) group_left b",
];

fn parse_small(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse small");
    group.throughput(Throughput::Elements(SMALL.len().try_into().expect("few")));
    group.bench_function(BenchmarkId::from_parameter("ferula"), |b| {
        b.iter(|| {
            for query in SMALL {
                black_box(ferula_promql::parse(black_box(query)).expect("each query is valid"));
            }
        });
    });
    group.bench_function(BenchmarkId::from_parameter("promql-parser"), |b| {
        b.iter(|| {
            for query in SMALL {
                let parsed = promql_parser::parser::parse(black_box(query));
                black_box(parsed.expect("each query is valid"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, parse, parse_small);
criterion_main!(benches);
