//! A real Prometheus that has nothing itself answers from the receiver, by remote read.
//!
//! `FERULA_PROMETHEUS` names the Prometheus binary.

mod message;
mod prometheus;

use ferula_wire::testing::Program;
use serde_json::Value;

use crate::message::{Label, Sample, TimeSeries, WriteRequest, send};
use crate::prometheus::Prometheus;

const RECEIVER: &str = env!("CARGO_BIN_EXE_receiver");

const NOW: i64 = 1_700_000_000_000;

/// Series with more samples than one chunk holds, and odd values.
fn request() -> Vec<u8> {
    let timeseries = (0..30_i32).map(|series| TimeSeries {
        labels: vec![
            Label::new("__name__", "counter_total"),
            Label::new("path", &format!("/ü/{series}")),
        ],
        samples: (0..500_i32)
            .map(|n| Sample {
                value: match n {
                    200 => f64::NAN,
                    300 => f64::NEG_INFINITY,
                    _ => f64::from(n * series) + 0.1,
                },
                timestamp: NOW - i64::from(500 - n) * 1000 + i64::from(series),
            })
            .collect(),
    });
    WriteRequest { timeseries: timeseries.collect() }.to_body()
}

#[test]
fn a_prometheus_answers_from_the_receiver() {
    let Some(binary) = prometheus::binary() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Program::start(RECEIVER, &dir.path().join("ours"), &[]);
    let client = &receiver.client;
    assert!(send(client, &receiver.url, request()));
    let golden = include_bytes!("../../wire/tests/data/remote_write/v1/request.snappy");
    assert!(send(client, &receiver.url, golden.to_vec()));

    let config =
        format!("remote_read: [{{url: '{}/api/v1/read', read_recent: true}}]", receiver.url);
    let prometheus = Prometheus::start(&binary, dir.path(), "127.0.0.1:0", &config, &[]);
    prometheus.wait_until_ready(client);
    for query in [
        "counter_total",
        "counter_total[10m]",
        r#"rate(counter_total{path=~"/ü/1.*",path!="/ü/11"}[5m])"#,
        r#"sum by (path) (count_over_time(counter_total{path!~"/ü/.."}[500s]))"#,
        r#"{job="golden"}"#,
        r#"{job="golden"}[1h]"#,
        "histogram_quantile(0.5, latency_seconds)",
        "absent(nothing)",
    ] {
        let [ours, theirs] = [&receiver.url, &prometheus.url].map(|url| {
            let request = client.get(format!("{url}/api/v1/query"));
            let request = request.query(&[("query", query), ("time", "1700000000.5")]);
            let text = request.send().and_then(|answer| answer.text()).expect("an answer");
            let mut answer: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(answer["status"], "success", "{query}: {answer}");
            let result = answer["data"]["result"].as_array_mut().expect("series");
            result.sort_by_key(|one| one["metric"].to_string());
            std::mem::take(result)
        });
        assert!(!theirs.is_empty(), "{query}");
        assert_eq!(ours, theirs, "{query}");
    }
}
