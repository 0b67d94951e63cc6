//! Every endpoint beside a real Prometheus that holds the same data: status, type and every field of
//! the answers, over parameters that are right and others that are not.
//!
//! `FERULA_PROMETHEUS` names the Prometheus binary; without one the test is skipped and says so. What
//! release 3.14 says otherwise than the peer at hand, or what is each server's own, is left out by name.

mod message;
mod prometheus;

use std::time::{SystemTime, UNIX_EPOCH};

use ferula_wire::testing::Program;
use reqwest::blocking::Client;
use serde_json::Value;

use crate::message::{Label, Sample, TimeSeries, WriteRequest, send};
use crate::prometheus::Prometheus;

const RECEIVER: &str = env!("CARGO_BIN_EXE_receiver");

/// Times at which there is data, and far away from it. What is no number at all, or beyond all times, is
/// refused here; there it becomes whatever the processor makes of it.
const TIMES: [&str; 10] = [
    "NOW",
    "START",
    "0",
    "-1",
    "1e3",
    "NOW.123456",
    "2015-07-01T20:10:51.781Z",
    "2015-07-01T20:10:51.781+02:00",
    "abc",
    "2015-07-01",
];

const STEPS: [&str; 10] = ["15", "1m", "0.5", "0", "-1", "abc", "1h30m", "0.0001", "1e20", ""];

const DURATIONS: [&str; 7] = ["1", "30s", "0.5", "abc", "1e30", "5m5", "1y"];

const SELECTORS: [&str; 10] = [
    "up",
    "{job=\"a\"}",
    "{job=~\"a|b\"}",
    "{__name__=~\".+\"}",
    "{}",
    "up[5m]",
    "sum(up)",
    "up(",
    "{job=~\"(\"}",
    "{\"with.dot\"}",
];

const QUERIES: [&str; 30] = [
    "up",
    "up{job=\"a\"}",
    "up[2m]",
    "up[2m] offset 1m",
    "sum(up)",
    "sum by (job) (rate(requests_total[5m]))",
    "1",
    "1e10",
    "-Inf",
    "\"text<&>\"",
    "vector(1)",
    "time()",
    "none",
    "up > 0.7",
    "up == bool 1",
    "topk(1, up)",
    "{job=\"b<c>&\"}",
    "{\"with.dot\"}",
    "count_values(\"v\", up)",
    "absent(none)",
    "group(up)",
    "scalar(up)",
    "avg_over_time(up[1m])",
    "label_replace(up, \"x\", \"$1\", \"job\", \"(.*)\")",
    "",
    "sum(",
    "rat(up)",
    "up +",
    "{}",
    "up @ end()",
];

/// A request: path below the API, and parameters.
type Asked = (String, Vec<(&'static str, String)>);

struct Beside<'a> {
    client: &'a Client,
    urls: [&'a str; 2],
    now: i64,
    differences: Vec<String>,
    n_compared: usize,
}

impl Beside<'_> {
    fn answers(&self, (path, params): &Asked, is_form: bool) -> [(u16, String, String); 2] {
        self.urls.map(|url| {
            let address = format!("{url}{path}");
            let request = if is_form {
                self.client.post(address).form(params)
            } else {
                self.client.get(address).query(params)
            };
            let answer = request.send().expect("an answer");
            let kind = answer.headers().get("content-type");
            let kind = kind.map_or("", |kind| kind.to_str().expect("text")).to_owned();
            (answer.status().as_u16(), kind, answer.text().expect("text"))
        })
    }

    fn compare(&mut self, asked: &Asked, is_form: bool) {
        let [ours, theirs] = self.answers(asked, is_form);
        self.n_compared += 1;
        let [a, b] = [&ours, &theirs].map(|(status, kind, body)| (*status, kind, normal(body)));
        if a != b {
            self.differences.push(format!("{asked:?}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }

    fn ask(&mut self, path: &str, params: &[(&'static str, &str)]) {
        let now = self.now / 1000;
        let filled = |text: &str| {
            text.replace("NOW", &now.to_string()).replace("START", &(now - 600).to_string())
        };
        let params = params.iter().map(|(name, value)| (*name, filled(value))).collect();
        self.compare(&(format!("/api/v1/{path}"), params), false);
    }
}

/// The answer without what neither promises: the order of series, how long it took, and places in
/// annotations, which are the engine's own words.
fn normal(body: &str) -> Value {
    let Ok(mut answer) = serde_json::from_str::<Value>(body) else { return body.into() };
    if let Some(Value::Array(series)) = answer.pointer_mut("/data/result")
        && series.iter().all(Value::is_object)
    {
        series.sort_by_key(|one| one["metric"].to_string());
    }
    if let Some(Value::Array(list)) = answer.get_mut("data")
        && list.iter().all(Value::is_object)
    {
        list.sort_by_key(Value::to_string);
    }
    if let Some(stats) = answer.pointer_mut("/data/stats").and_then(Value::as_object_mut) {
        stats.remove("timings");
        stats.remove("samples");
    }
    for list in ["warnings", "infos"] {
        if let Some(Value::Array(notes)) = answer.get_mut(list) {
            notes.iter_mut().for_each(|note| {
                let text = note.as_str().unwrap_or_default();
                *note = text.rsplit_once(" (").map_or(text, |(text, _)| text).into();
            });
        }
    }
    answer
}

fn data(now: i64) -> WriteRequest {
    let mut timeseries = Vec::new();
    let mut add = |pairs: &[(&str, &str)], value: fn(i64) -> f64| {
        let mut labels: Vec<Label> = pairs.iter().map(|(n, v)| Label::new(n, v)).collect();
        labels.sort();
        let samples =
            (0..60).map(|i| Sample { timestamp: now - 885_000 + i * 15_000, value: value(i) });
        timeseries.push(TimeSeries { labels, samples: samples.collect() });
    };
    add(&[("__name__", "up"), ("job", "a"), ("instance", "1")], |_| 1.0);
    add(&[("__name__", "up"), ("job", "b<c>&"), ("instance", "2")], |i| {
        if i % 3 == 0 { 0.0 } else { 0.5 }
    });
    add(&[("__name__", "requests_total"), ("job", "a")], |i| (i * i) as f64 / 3.0);
    add(&[("__name__", "odd"), ("v", "q\"\\\n\u{2028}ü")], |i| {
        [f64::NAN, f64::INFINITY, -0.0, 1e300][usize::try_from(i).expect("counted from 0") % 4]
    });
    add(&[("__name__", "with.dot"), ("label.dot", "x")], |i| i as f64 * 1e-7);
    WriteRequest { timeseries }
}

#[test]
fn every_endpoint_answers_as_prometheus_does() {
    let Some(binary) = prometheus::binary() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Program::start(RECEIVER, &dir.path().join("ferula"), &[]);
    let flags = ["--web.enable-remote-write-receiver"];
    let prometheus = Prometheus::start(&binary, dir.path(), "127.0.0.1:0", "", &flags);
    let client = &receiver.client;
    prometheus.wait_until_ready(client);
    let urls = [receiver.url.as_str(), prometheus.url.as_str()];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let now = i64::try_from(now).expect("in reach") / 1000 * 1000;
    let body = data(now).to_body();
    for url in urls {
        assert!(send(client, url, body.clone()));
    }
    let mut beside = Beside { client, urls, now, differences: Vec::new(), n_compared: 0 };
    ask_queries(&mut beside);
    ask_names(&mut beside);
    ask_the_rest(&mut beside);
    let Beside { differences, n_compared, .. } = beside;
    println!("{n_compared} answers compared");
    assert!(
        differences.is_empty(),
        "{} of {n_compared} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

fn ask_queries(beside: &mut Beside<'_>) {
    for query in QUERIES {
        beside.ask("query", &[("query", query), ("time", "NOW")]);
        beside.ask(
            "query_range",
            &[("query", query), ("start", "START"), ("end", "NOW"), ("step", "30")],
        );
        beside.ask("format_query", &[("query", query)]);
        beside.ask("query_exemplars", &[("query", query), ("start", "START"), ("end", "NOW")]);
        let form = vec![("query", query.to_owned()), ("time", (beside.now / 1000).to_string())];
        beside.compare(&("/api/v1/query".to_owned(), form), true);
    }
    for time in TIMES {
        beside.ask("query", &[("query", "up"), ("time", time)]);
        beside.ask(
            "query_range",
            &[("query", "up"), ("start", time), ("end", "NOW"), ("step", "1h")],
        );
        beside.ask(
            "query_range",
            &[("query", "up"), ("start", "START"), ("end", time), ("step", "10m")],
        );
        beside.ask("query_exemplars", &[("query", "up"), ("start", time)]);
    }
    for step in STEPS {
        beside.ask(
            "query_range",
            &[("query", "up"), ("start", "START"), ("end", "NOW"), ("step", step)],
        );
    }
    for duration in DURATIONS {
        beside.ask("query", &[("query", "up"), ("time", "NOW"), ("timeout", duration)]);
        beside.ask("query", &[("query", "up"), ("time", "NOW"), ("lookback_delta", duration)]);
    }
    for limit in ["0", "1", "100", "-1", "x", "1.5", "99999999999999999999"] {
        beside.ask("query", &[("query", "up"), ("time", "NOW"), ("limit", limit)]);
        beside.ask(
            "query_range",
            &[
                ("query", "up"),
                ("start", "START"),
                ("end", "NOW"),
                ("step", "60"),
                ("limit", limit),
            ],
        );
    }
    for stats in ["", "true", "all"] {
        beside.ask("query", &[("query", "up"), ("time", "NOW"), ("stats", stats)]);
    }
    for (start, end, step) in
        [("0", "11000", "1"), ("0", "11001", "1"), ("10", "0", "1"), ("", "1", "1"), ("1", "", "1")]
    {
        beside
            .ask("query_range", &[("query", "up"), ("start", start), ("end", end), ("step", step)]);
    }
    beside.ask("query", &[]);
    beside.ask("query_range", &[]);
}

fn ask_names(beside: &mut Beside<'_>) {
    let labels = [
        "__name__",
        "job",
        "v",
        "none",
        "U__label_2e_dot",
        "label.dot",
        "U__x_",
        "a-b",
        "%FF",
        "a%20b",
    ];
    for name in labels {
        beside.ask(&format!("label/{name}/values"), &[]);
        beside.ask(&format!("label/{name}/values"), &[("match[]", "up"), ("limit", "1")]);
    }
    for selector in SELECTORS {
        beside.ask("labels", &[("match[]", selector)]);
        beside.ask("label/job/values", &[("match[]", selector)]);
        beside.ask("series", &[("match[]", selector)]);
        beside.ask("series", &[("match[]", selector), ("match[]", "up"), ("limit", "2")]);
    }
    for time in TIMES {
        beside.ask("labels", &[("start", time)]);
        beside.ask("labels", &[("end", time)]);
        beside.ask("label/job/values", &[("start", time), ("end", "NOW")]);
        beside.ask("series", &[("match[]", "up"), ("start", time)]);
        beside.ask("series", &[("match[]", "up"), ("end", time)]);
    }
    for limit in ["0", "1", "-1", "x"] {
        beside.ask("labels", &[("limit", limit)]);
        beside.ask("series", &[("match[]", "requests_total"), ("limit", limit)]);
        beside.ask("metadata", &[("limit", limit)]);
        beside.ask("metadata", &[("limit_per_metric", limit)]);
        beside.ask("targets/metadata", &[("limit", limit)]);
    }
    beside.ask("series", &[]);
    // With fewer entries than there are it is chance which of equals are told.
    for limit in ["0", "-1", "x", "1.5"] {
        beside.ask("status/tsdb", &[("limit", limit)]);
    }
    let form = vec![("match[]", "up".to_owned()), ("start", "0".to_owned())];
    beside.compare(&("/api/v1/series".to_owned(), form.clone()), true);
    beside.compare(&("/api/v1/labels".to_owned(), form.clone()), true);
    beside.compare(&("/api/v1/label/job/values".to_owned(), form), true);
}

fn ask_the_rest(beside: &mut Beside<'_>) {
    for path in [
        "alerts",
        "rules",
        "alertmanagers",
        "scrape_pools",
        "targets",
        "targets/metadata",
        "metadata",
        "notifications",
        "nothing",
        "write",
        "admin/tsdb/snapshot",
        "status",
        "status/walreplay",
    ] {
        beside.ask(path, &[]);
    }
    for state in ["active", "dropped", "any", "x"] {
        beside.ask("targets", &[("state", state)]);
    }
    beside.ask("targets/metadata", &[("match_target", "up(")]);
    beside.ask("metadata", &[("metric", "up")]);
    for path in [
        "admin/tsdb/snapshot",
        "admin/tsdb/delete_series",
        "admin/tsdb/clean_tombstones",
        "nothing",
        "labels/x",
    ] {
        beside.compare(&(format!("/api/v1/{path}"), Vec::new()), true);
    }
    for path in ["/-/quit", "/nothing/else"] {
        beside.compare(&(path.to_owned(), Vec::new()), true);
    }
    beside.compare(&("/-/quit".to_owned(), Vec::new()), false);
    for selectors in
        [vec!["up"], vec!["{__name__=~\".+\"}"], vec![], vec!["up("], vec!["{job=\"a\"}", "up"]]
    {
        let params = selectors.iter().map(|selector| ("match[]", (*selector).to_owned())).collect();
        beside.compare(&("/federate".to_owned(), params), false);
    }
}
