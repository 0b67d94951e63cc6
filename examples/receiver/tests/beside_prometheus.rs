//! The receiver beside a real Prometheus: both are sent the same recording of real scrapes over
//! remote write, and must then give the same answers to the letter.
//!
//! `FERULA_PROMETHEUS` names the Prometheus binary, `FERULA_RECORDING` the recording: one zstd
//! stream of scrapes, each a line `time_ms job instance length` and the page of that length (0 for
//! a scrape that failed).

mod message;
mod prometheus;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use ferula_chunkenc::stale::STALE_NAN;
use ferula_wire::exposition::text::{Entry, TextParser};
use ferula_wire::testing::Program;
use reqwest::blocking::Client;
use serde_json::Value;

use crate::message::{Label, Sample, TimeSeries, WriteRequest, send};
use crate::prometheus::{Prometheus, file};

const RECEIVER: &str = env!("CARGO_BIN_EXE_receiver");

/// Samples sent in one request.
const BATCH: usize = 2000;

/// Answers must agree to the letter. Where floats are summed in another order than Prometheus's
/// this much is allowed, relative to the value.
const TOLERANCE: f64 = 1e-12;

const QUERIES: [&str; 24] = [
    "up",
    r#"node_cpu_seconds_total{mode="user"}"#,
    "count by (job) ({__name__=~\".+\"})",
    "sum by (job) (rate(prometheus_http_requests_total[1m]))",
    "rate(node_network_receive_bytes_total[30s])",
    "irate(node_cpu_seconds_total[10s])",
    "increase(vm_http_requests_total[2m])",
    "sum by (mode) (rate(node_cpu_seconds_total[1m])) / on () group_left () sum(rate(node_cpu_seconds_total[1m]))",
    "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[1m])))",
    "histogram_quantile(0.5, rate(go_gc_pauses_seconds_bucket[2m]))",
    "topk(5, sum by (__name__) ({job=\"node\"}))",
    "quantile by (job) (0.25, go_memstats_alloc_bytes)",
    "avg_over_time(node_load1[1m]) - node_load1",
    "max_over_time(process_resident_memory_bytes[1m]) > min_over_time(process_resident_memory_bytes[1m])",
    "process_resident_memory_bytes offset 1m",
    "go_goroutines @ end()",
    "label_replace(up, \"port\", \"$1\", \"instance\", \".*:(.*)\")",
    "count(up == 1) or vector(0)",
    "stddev_over_time(go_goroutines[1m])",
    "quantile_over_time(0.9, go_goroutines[1m])",
    "hour(vector(time())) + minute(vector(time())) / 60",
    "prometheus_http_requests_total unless on (handler) prometheus_http_requests_total{code=\"200\"}",
    "delta(go_memstats_heap_inuse_bytes[1m]) * bool 1 == bool 0 or up",
    "sum(rate(node_cpu_seconds_total{mode!=\"idle\"}[1m])) by (cpu) and ignoring (mode) sum by (cpu) (node_cpu_seconds_total)",
];

/// Sends what a scraping Prometheus would have stored.
struct Replay<'a> {
    client: &'a Client,
    urls: [&'a str; 2],
    batch: Vec<TimeSeries>,
    /// Series of each target's last scrape.
    last: BTreeMap<String, BTreeMap<Vec<Label>, ()>>,
    samples: usize,
}

impl Replay<'_> {
    fn push(&mut self, labels: Vec<Label>, timestamp: i64, value: f64) {
        self.samples += 1;
        self.batch.push(TimeSeries { labels, samples: vec![Sample { value, timestamp }] });
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let request = WriteRequest { timeseries: std::mem::take(&mut self.batch) }.to_body();
        for url in self.urls {
            assert!(send(self.client, url, request.clone()), "{url} takes every request");
        }
    }

    fn scrape(&mut self, timestamp: i64, job: &str, instance: &str, page: &[u8]) {
        let mut now = BTreeMap::new();
        let mut parser = TextParser::new(page);
        while let Some(entry) = parser.next_entry().expect("recorded from real exporters") {
            let Entry::Sample(sample) = entry else { continue };
            let pairs = parser.labels();
            let mut labels: Vec<Label> = pairs
                .iter()
                .map(|(name, value)| match &**name {
                    "job" | "instance" => Label::new(&format!("exported_{name}"), value),
                    _ => Label::new(name, value),
                })
                .chain([Label::new("job", job), Label::new("instance", instance)])
                .collect();
            labels.sort();
            now.insert(labels.clone(), ());
            self.push(labels, timestamp, sample.value);
        }
        let before = self.last.insert(format!("{job} {instance}"), now.clone()).unwrap_or_default();
        for (labels, ()) in before {
            if !now.contains_key(&labels) {
                self.push(labels, timestamp, STALE_NAN);
            }
        }
        let mut up = vec![
            Label::new("__name__", "up"),
            Label::new("job", job),
            Label::new("instance", instance),
        ];
        up.sort();
        self.push(up, timestamp, if page.is_empty() { 0.0 } else { 1.0 });
    }
}

/// Replays the recording; returns its first and last time.
fn replay(recording: &Path, replay: &mut Replay<'_>) -> (i64, i64) {
    let stream = zstd::Decoder::new(fs::File::open(recording).expect("readable")).expect("zstd");
    let mut stream = BufReader::new(stream);
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    let (mut header, mut page) = (String::new(), Vec::new());
    while stream
        .read_line({
            header.clear();
            &mut header
        })
        .expect("a header")
        > 0
    {
        let fields: Vec<&str> = header.split_whitespace().collect();
        let [time, job, instance, len] = fields[..] else { panic!("a header, not {header:?}") };
        let time: i64 = time.parse().expect("milliseconds");
        page.resize(len.parse().expect("a length"), 0);
        stream.read_exact(&mut page).expect("the page");
        let mut newline = [0];
        stream.read_exact(&mut newline).expect("a newline behind the page");
        replay.scrape(time, job, instance, &page);
        (first, last) = (first.min(time), last.max(time));
    }
    replay.flush();
    (first, last)
}

fn answer(client: &Client, url: &str, path: &str, params: &[(&str, &str)]) -> Value {
    let text = client
        .get(format!("{url}/api/v1/{path}"))
        .query(params)
        .send()
        .and_then(|answer| answer.text())
        .expect("an answer");
    let mut answer: Value = serde_json::from_str(&text).expect("JSON");
    // Positions in annotations are the engine's own wording; what counts here are the answers.
    for part in ["infos", "warnings"] {
        answer.as_object_mut().expect("an object").remove(part);
    }
    sort(answer.pointer_mut("/data/result"));
    answer
}

/// Neither side promises an order of series but where the query sorts.
fn sort(result: Option<&mut Value>) {
    if let Some(Value::Array(series)) = result {
        series.sort_by_key(|one| one["metric"].to_string());
    }
}

/// Tells whether two answers are the same but for the last digits of numbers; counts numbers that
/// are not the same to the letter.
fn agree(ours: &Value, theirs: &Value, inexact: &mut usize) -> bool {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agree(a, b, inexact))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| agree(a, b, inexact)))
        }
        (Value::String(a), Value::String(b)) if a != b => {
            *inexact += 1;
            let (Ok(a), Ok(b)) = (a.parse::<f64>(), b.parse::<f64>()) else { return false };
            (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
        }
        _ => ours == theirs,
    }
}

#[test]
fn a_recording_gives_the_same_answers() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let Some(binary) = prometheus::binary() else { return };
    let Some(recording) = file("FERULA_RECORDING", shared.join("data/real-a.scrapes.zst")) else {
        println!("skipped: no recording in FERULA_RECORDING or its default place");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Program::start(RECEIVER, &dir.path().join("ferula"), &[]);
    let config = "storage: {tsdb: {out_of_order_time_window: 0s}}\n";
    let flags = ["--storage.tsdb.retention.time=50y", "--web.enable-remote-write-receiver"];
    let prometheus = Prometheus::start(&binary, dir.path(), "127.0.0.1:0", config, &flags);
    let client = &receiver.client;
    prometheus.wait_until_ready(client);
    let urls = [receiver.url.as_str(), prometheus.url.as_str()];
    let mut state = Replay { client, urls, batch: Vec::new(), last: BTreeMap::new(), samples: 0 };
    let (first, last) = replay(&recording, &mut state);

    let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let (start, middle, end) = (seconds(first), seconds((first + last) / 2), seconds(last));
    let (mut points, mut inexact) = (0, 0);
    for query in QUERIES {
        let mut requests = vec![(
            "query_range",
            vec![("query", query), ("start", &start), ("end", &end), ("step", "7")],
        )];
        for time in [&middle, &end] {
            requests.push(("query", vec![("query", query), ("time", time)]));
        }
        for (path, params) in requests {
            let [ours, theirs] = urls.map(|url| answer(client, url, path, &params));
            points += theirs.to_string().matches("\"]").count();
            assert!(
                agree(&ours, &theirs, &mut inexact),
                "{path} {query}\nours:   {}\ntheirs: {}",
                cut(&ours),
                cut(&theirs)
            );
        }
    }
    let matcher = [("match[]", "{job=\"node\"}")];
    for (path, params) in [
        ("labels", &[][..]),
        ("labels", &matcher),
        ("label/__name__/values", &[]),
        ("label/mode/values", &matcher),
        ("series", &[("match[]", "up"), ("match[]", "node_cpu_seconds_total")]),
    ] {
        let mut params = params.to_vec();
        params.extend([("start", start.as_str()), ("end", end.as_str())]);
        let [mut ours, mut theirs] = urls.map(|url| answer(client, url, path, &params));
        for answer in [&mut ours, &mut theirs] {
            answer["data"].as_array_mut().expect("a list").sort_by_key(Value::to_string);
        }
        assert_eq!(ours, theirs, "{path}");
    }
    println!(
        "{} samples; {} queries; {points} points compared, {inexact} not the same to the letter",
        state.samples,
        QUERIES.len() * 3
    );
}

fn cut(answer: &Value) -> String {
    answer.to_string().chars().take(2000).collect()
}
