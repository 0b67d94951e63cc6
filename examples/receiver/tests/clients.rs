//! Clients of others, run against the receiver: `promtool`, the client library of Go, the OTLP exporter of
//! OpenTelemetry's SDK for Go, and the requests that Grafana's data source sends.
//!
//! `FERULA_PROMTOOL` names the binary; the programs in Go need `go` and their modules on this machine.
//! What is missing is skipped, and said.

mod message;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use ferula_wire::testing::Program;
use serde_json::Value;

use crate::message::{Label, Sample, TimeSeries, WriteRequest, send};

const RECEIVER: &str = env!("CARGO_BIN_EXE_receiver");

/// A receiver with two series of 60 samples up to the time that is returned, in seconds.
fn receiver(dir: &Path) -> (Program, i64) {
    let receiver = Program::start(RECEIVER, dir, &["--enable-admin-api"]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let now = i64::try_from(now).expect("in reach");
    let series = |place: &str, value: f64| {
        let labels = vec![Label::new("__name__", "torches"), Label::new("place", place)];
        let sample = |i: i64| Sample { timestamp: (now - 15 * i) * 1000, value };
        TimeSeries { labels, samples: (0..60).rev().map(sample).collect() }
    };
    let request = WriteRequest { timeseries: vec![series("gate", 10.0), series("hall", 20.0)] };
    assert!(send(&receiver.client, &receiver.url, request.to_body()));
    (receiver, now)
}

fn in_path(variable: &str, program: &str) -> Option<PathBuf> {
    let named = env::var_os(variable).map(PathBuf::from);
    let found = named.or_else(|| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
    });
    if found.is_none() {
        println!("skipped: no {program} in {variable} or PATH");
    }
    found
}

fn text(output: &Output) -> String {
    let [out, problems] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{problems}")
}

#[test]
fn promtool_gets_its_answers() {
    let Some(promtool) = in_path("FERULA_PROMTOOL", "promtool") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let (receiver, now) = receiver(&dir.path().join("data"));
    let (url, time, start) = (receiver.url.as_str(), now.to_string(), (now - 60).to_string());
    let run = |args: &[&str]| {
        let output = Command::new(&promtool).args(args).current_dir(dir.path()).output();
        let output = output.expect("promtool can be started");
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        text(&output)
    };
    let at = format!("--time={time}");
    let (from, to) = (format!("--start={start}"), format!("--end={time}"));
    let found = run(&["query", "instant", &at, url, "sum(torches)"]);
    assert_eq!(found, format!("{{}} => 30 @[{time}]\n"));
    let found = run(&["query", "range", &from, &to, "--step=30s", url, "torches{place=\"hall\"}"]);
    assert_eq!(found.lines().count(), 4, "{found}");
    let found = run(&["query", "series", "--match=torches", url]);
    assert!(found.contains("{__name__=\"torches\", place=\"gate\"}"), "{found}");
    assert_eq!(run(&["query", "labels", url, "place"]), "gate\nhall\n");
    let server = format!("--server={url}");
    let found = run(&["query", "analyze", &server, "--type=histogram", "--match=torches_bucket"]);
    assert!(found.contains("Aggregated bucket stats"), "{found}");
    let found = run(&["debug", "all", url]);
    assert!(found.contains("Compiling debug information complete"), "{found}");
    assert!(dir.path().join("debug.tar.gz").metadata().is_ok_and(|file| file.len() > 500));
}

/// Builds the program in Go in a folder beside this file.
fn in_go(folder: &str, dir: &Path) -> Option<PathBuf> {
    let go = in_path("FERULA_GO", "go")?;
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let program = dir.join(folder);
    // Nothing is asked of other machines: modules are there, or the test is skipped.
    let built = Command::new(go)
        .args(["build", "-mod=readonly", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .env("GOPROXY", "off")
        .env("GOFLAGS", "")
        .output()
        .expect("go can be started");
    if !built.status.success() {
        println!("skipped: the program in Go cannot be built here: {}", text(&built));
        return None;
    }
    Some(program)
}

#[test]
fn the_client_library_of_go_gets_its_answers() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(client) = in_go("go_client", dir.path()) else { return };
    let (receiver, now) = receiver(&dir.path().join("data"));
    let output = Command::new(client).arg(&receiver.url).arg(now.to_string()).output();
    let output = output.expect("it can be started");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn what_the_sdk_of_opentelemetry_exports_is_stored() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(exporter) = in_go("go_otlp", dir.path()) else { return };
    let receiver = Program::start(RECEIVER, &dir.path().join("data"), &[]);
    let output = Command::new(exporter).arg(&receiver.url).output().expect("it can be started");
    assert!(output.status.success(), "{}", text(&output));
    let labels = r#"job="castle/torches",instance="gate",place="hall""#;
    for (query, value) in [
        (format!("torches_lit_total{{{labels}}}"), 7.0),
        (format!("torches_burning{{{labels}}}"), 2.5),
        (format!("torch_duration_seconds_count{{{labels}}}"), 4.0),
        (format!("torch_duration_seconds_sum{{{labels}}}"), 62.5),
        (format!("torch_duration_seconds_bucket{{{labels},le=\"10\"}}"), 3.0),
        (format!("histogram_count(torch_heat{{{labels}}})"), 4.0),
        (format!("histogram_sum(torch_heat{{{labels}}})"), 62.5),
        (r#"target_info{job="castle/torches",instance="gate",host_name="keep"}"#.to_owned(), 1.0),
    ] {
        assert_eq!(receiver.value(&query), Some(value), "{query}");
    }
    let (_, metadata) = receiver.get("/api/v1/metadata?metric=torches_lit_total");
    assert!(metadata.contains(r#""type":"counter","unit":"","help":"Torches lit.""#), "{metadata}");
}

/// A request of Grafana's data source: method, path, parameters, and what must be at a place in the answer.
type Recorded<'a> = (&'a str, &'a str, Vec<(&'a str, String)>, &'a str, Value);

/// As Grafana 11 sends them: health check, label browser, metric encyclopedia, panels, exemplars.
#[test]
fn the_data_source_of_grafana_gets_its_answers() {
    let dir = tempfile::tempdir().expect("a directory");
    let (receiver, now) = receiver(&dir.path().join("data"));
    let week = 7 * 86_400;
    let range =
        |seconds: i64| vec![("start", (now - seconds).to_string()), ("end", now.to_string())];
    let with = |mut params: Vec<(&'static str, String)>, more: &[(&'static str, &str)]| {
        params.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        params
    };
    let query =
        |text: &str, more: &[(&'static str, &str)]| with(vec![("query", text.to_owned())], more);
    let at = now.to_string();
    let requests: Vec<Recorded<'_>> = vec![
        (
            "POST",
            "query",
            query("1+1", &[("time", "4")]),
            "/data/result",
            serde_json::json!([4, "2"]),
        ),
        ("GET", "status/buildinfo", vec![], "/status", "success".into()),
        ("GET", "rules", vec![], "/data/groups", serde_json::json!([])),
        ("GET", "metadata", vec![("limit", "10000".to_owned())], "/data", serde_json::json!({})),
        ("GET", "label/__name__/values", range(3600), "/data", serde_json::json!(["torches"])),
        (
            "POST",
            "labels",
            with(range(3600), &[("match[]", "{__name__=\"torches\"}")]),
            "/data",
            serde_json::json!(["__name__", "place"]),
        ),
        (
            "GET",
            "label/place/values",
            with(range(3600), &[("match[]", "{__name__=\"torches\"}"), ("limit", "40000")]),
            "/data",
            serde_json::json!(["gate", "hall"]),
        ),
        (
            "POST",
            "series",
            with(range(3600), &[("match[]", "torches"), ("limit", "40000")]),
            "/data/1/place",
            "hall".into(),
        ),
        (
            "POST",
            "query",
            query("sum(torches)", &[("time", &at)]),
            "/data/result/0/value/1",
            "30".into(),
        ),
        (
            "POST",
            "query_range",
            with(with(range(900), &[("step", "15")]), &[("query", "sum by (place) (torches)")]),
            "/data/result/1/metric/place",
            "hall".into(),
        ),
        // A week at a point per pixel, and the longest range that is answered.
        (
            "POST",
            "query_range",
            with(with(range(week), &[("step", "600")]), &[("query", "count(torches)")]),
            "/data/resultType",
            "matrix".into(),
        ),
        (
            "POST",
            "query_range",
            with(with(range(11_000), &[("step", "1")]), &[("query", "count(torches)")]),
            "/status",
            "success".into(),
        ),
        (
            "POST",
            "query_range",
            with(with(range(11_001), &[("step", "1")]), &[("query", "count(torches)")]),
            "/errorType",
            "bad_data".into(),
        ),
        (
            "GET",
            "query_exemplars",
            with(range(3600), &[("query", "histogram_quantile(0.9, torches)")]),
            "/data",
            serde_json::json!([]),
        ),
        ("POST", "query", query("torches{", &[("time", &at)]), "/errorType", "bad_data".into()),
    ];
    for (method, path, params, place, expected) in requests {
        let url = format!("{}/api/v1/{path}", receiver.url);
        let request = match method {
            "POST" => receiver.client.post(url).form(&params),
            _ => receiver.client.get(url).query(&params),
        };
        let answer =
            request.header("X-Grafana-Org-Id", "1").send().and_then(|answer| answer.text());
        let answer: Value = serde_json::from_str(&answer.expect("an answer")).expect("JSON");
        assert_eq!(answer.pointer(place), Some(&expected), "{method} {path} {params:?}: {answer}");
    }
}
