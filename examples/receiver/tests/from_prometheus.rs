//! A real Prometheus scrapes itself and sends what it stores to two receivers, by remote write 1.0 and
//! 2.0, native histograms, exemplars and metadata included. Both must then answer as it does.
//!
//! `FERULA_PROMETHEUS` names the Prometheus binary.

mod prometheus;

use std::net::TcpListener;

use ferula_wire::testing::{Program, wait};
use reqwest::blocking::Client;
use serde_json::Value;

use crate::prometheus::Prometheus;

const RECEIVER: &str = env!("CARGO_BIN_EXE_receiver");

fn get(client: &Client, url: &str, path: &str, params: &[(&str, &str)]) -> Value {
    let request = client.get(format!("{url}/api/v1/{path}")).query(params);
    let text = request.send().and_then(|answer| answer.text()).expect("an answer");
    serde_json::from_str(&text).expect("JSON")
}

/// The series of a query at a time, in order.
fn series(client: &Client, url: &str, query: &str, time: &str) -> Vec<Value> {
    let mut answer = get(client, url, "query", &[("query", query), ("time", time)]);
    let Value::Array(mut series) = answer["data"]["result"].take() else { panic!("{answer}") };
    series.sort_by_key(|one| one["metric"].to_string());
    series
}

/// The value of a query that yields one, or zero.
fn value(client: &Client, url: &str, query: &str) -> f64 {
    let answer = get(client, url, "query", &[("query", query)]);
    let value = answer["data"]["result"][0]["value"][1].as_str();
    value.map_or(0.0, |value| value.parse().expect("a number"))
}

#[test]
fn what_a_prometheus_sends_is_stored_whole() {
    let Some(binary) = prometheus::binary() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let receivers = ["v1", "v2"].map(|name| Program::start(RECEIVER, &dir.path().join(name), &[]));
    let free = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
    let address = free.expect("a free port").to_string();
    let remote = |receiver: &Program, message: &str| {
        format!(
            "- url: {}/api/v1/write
  protobuf_message: {message}
  send_native_histograms: true
  send_exemplars: true
  queue_config: {{batch_send_deadline: 200ms}}
  metadata_config: {{send_interval: 1s}}
",
            receiver.url
        )
    };
    let config = format!(
        "global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: self
  static_configs: [{{targets: ['{address}']}}]
remote_write:
{}{}",
        remote(&receivers[0], "prometheus.WriteRequest"),
        remote(&receivers[1], "io.prometheus.write.v2.Request"),
    );
    let features = "--enable-feature=native-histograms,exemplar-storage,metadata-wal-records";
    let prometheus = Prometheus::start(&binary, dir.path(), &address, &config, &[features]);
    let client = &receivers[0].client;
    prometheus.wait_until_ready(client);

    // A scrape that shows requests, all of which has come.
    let time = wait("three scrapes", || {
        let count = value(client, &prometheus.url, "count_over_time(up[1m])");
        (count >= 3.0).then(|| value(client, &prometheus.url, "timestamp(up)"))
    });
    for receiver in &receivers {
        // The marker of its end is written behind a scrape's samples.
        wait("the samples", || {
            (value(client, &receiver.url, "timestamp(scrape_series_added)") > time).then_some(())
        });
    }
    let time = time.to_string();
    let all = r#"{job="self"}"#;
    let theirs = series(client, &prometheus.url, all, &time);
    assert!(theirs.len() > 300, "{} series", theirs.len());
    let histograms = theirs.iter().filter(|one| one.get("histogram").is_some()).count();
    assert!(histograms > 0, "there are native histograms");
    for receiver in &receivers {
        let ours = series(client, &receiver.url, all, &time);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.len(), theirs.len());
        wait("metadata", || {
            let metric = [("metric", "prometheus_build_info")];
            let answer = get(client, &receiver.url, "metadata", &metric);
            let found = &answer["data"]["prometheus_build_info"][0];
            (found["type"] == "gauge" && found["help"] != "").then_some(())
        });
    }
    for failed in ["samples", "histograms", "exemplars"] {
        let query = format!("sum(prometheus_remote_storage_{failed}_failed_total)");
        assert_eq!(value(client, &prometheus.url, &query), 0.0, "{failed}");
    }
}
