//! Exemplars and metadata that a real Prometheus logged are found here, and it finds what is logged
//! here: both answer the same.
//!
//! `FERULA_PROMETHEUS` names the binary, or `prometheus` is looked for in `PATH`; without one the
//! test is skipped and says so. It takes some seconds, most of them to have something scraped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::labels;
use ferula_index::{Labels, Matcher};
use ferula_tsdb::{Db, Exemplar, Metadata, MetricType, Options};
use serde_json::Value;

fn prometheus() -> Option<PathBuf> {
    let path = env::var_os("FERULA_PROMETHEUS").map(PathBuf::from).or_else(|| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|dir| dir.join("prometheus")).find(|file| file.is_file())
    });
    if path.is_none() {
        println!("skipped: no Prometheus in FERULA_PROMETHEUS or PATH");
    }
    path
}

/// Series and their exemplars.
type Found = Vec<(Labels, Vec<Exemplar>)>;

/// A running Prometheus, killed when dropped.
struct Running {
    child: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(binary: &Path, dir: &Path, config: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = dir.join("prometheus.yml");
        std::fs::write(&path, config).unwrap();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--enable-feature=exemplar-storage,metadata-wal-records")
            .args(["--storage.tsdb.retention.time=100y", "--log.level=error"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    /// The exemplars of all series with a name.
    fn exemplars(&self) -> Option<Found> {
        let query = "query=%7B__name__%3D~%22.%2B%22%7D&start=0&end=9999999999";
        let body = get(self.port, &format!("/api/v1/query_exemplars?{query}"))?;
        let answer: Value = serde_json::from_str(&body).unwrap();
        let of_series = |series: &Value| {
            let exemplars = series["exemplars"].as_array().unwrap().iter().map(|exemplar| {
                let seconds = exemplar["timestamp"].as_f64().unwrap();
                #[expect(clippy::cast_possible_truncation, reason = "times of this century")]
                let timestamp = (seconds * 1000.0).round() as i64;
                let value = exemplar["value"].as_str().unwrap().parse().unwrap();
                Exemplar::new(timestamp, value, labels_of(&exemplar["labels"]))
            });
            (labels_of(&series["seriesLabels"]), exemplars.collect::<Vec<_>>())
        };
        Some(answer["data"].as_array()?.iter().map(of_series).collect())
    }
}

fn labels_of(object: &Value) -> Labels {
    let pairs = object.as_object().unwrap().iter();
    Labels::from_pairs(pairs.map(|(name, value)| (name, value.as_str().unwrap()))).unwrap()
}

/// Gets a page that is answered with 200, as text.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Serves a page of OpenMetrics, with other exemplars each time. Returns the port.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let time = now_ms() as f64 / 1000.0;
            let page = format!(
                "# HELP lat_seconds How long it took.\n# TYPE lat_seconds histogram\n\
                 # UNIT lat_seconds seconds\n\
                 lat_seconds_bucket{{le=\"0.5\"}} {n} # {{trace_id=\"a{n}\"}} 0.{n} {time}\n\
                 lat_seconds_bucket{{le=\"+Inf\"}} {n} # {{trace_id=\"b{n}\",x=\"ü\"}} 7.{n} {time}\n\
                 lat_seconds_count {n}\nlat_seconds_sum {n}\n\
                 # HELP req Requests.\n# TYPE req counter\n\
                 req_total {n} # {{trace_id=\"c{n}\"}} 1.{n}\n# EOF\n"
            );
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\
                        Content-Type: application/openmetrics-text; version=1.0.0\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{page}", page.len());
        }
    });
    port
}

fn wait<T>(what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(done) = step() {
            return done;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("waited for {what}");
}

fn found(db: &Db) -> Found {
    let all: [&[Matcher]; 1] = [&[]];
    let found = db.exemplars(&all, i64::MIN, i64::MAX).unwrap();
    found.into_iter().map(|series| (series.labels, series.exemplars)).collect()
}

#[test]
fn each_finds_the_exemplars_and_metadata_of_the_other() {
    let Some(binary) = prometheus() else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "global: {{scrape_interval: 300ms, scrape_timeout: 300ms}}\n\
         scrape_configs:\n- job_name: test\n  static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
        serve()
    );
    let prometheus = Running::start(&binary, dir.path(), &config);
    wait("some scrapes", || {
        let n: usize = prometheus.exemplars()?.iter().map(|found| found.1.len()).sum();
        (n >= 12).then_some(())
    });
    // Without a target nothing changes any more, but what is logged stays.
    drop(prometheus);
    let data = dir.path().join("data");
    let prometheus = Running::start(&binary, dir.path(), "");
    let theirs = wait("an answer", || prometheus.exemplars());
    drop(prometheus);
    assert_eq!(theirs.len(), 3);

    let db = Db::open(&data, Options::default()).unwrap();
    assert_eq!(db.open_report().skipped_records, 0);
    assert_eq!(found(&db), theirs);
    let latency = Metadata::new(MetricType::Histogram, "seconds", "How long it took.");
    for metric in ["lat_seconds_bucket", "lat_seconds_count", "lat_seconds_sum"] {
        let found = db.metadata(Some(metric)).unwrap();
        assert_eq!(found[0].metadata, std::slice::from_ref(&latency));
    }
    let requests = Metadata::new(MetricType::Counter, "", "Requests.");
    assert_eq!(db.metadata(Some("req_total")).unwrap()[0].metadata, [requests]);

    // Some of its own series and of a new one.
    let mut batch = db.appender();
    let new = labels(&[("__name__", "new"), ("a", "b")]);
    batch.append(&new, now_ms(), 1.0).unwrap();
    for (n, series) in [&theirs[0].0, &new, &theirs[2].0, &new].into_iter().enumerate() {
        let n = i64::try_from(n).unwrap();
        let trace = labels(&[("trace_id", &n.to_string())]);
        let exemplar = Exemplar::new(now_ms() + 1000 + n, n as f64 + 0.5, trace);
        batch.append_exemplar(series, exemplar).unwrap();
        batch.update_metadata(series, &latency).unwrap();
    }
    assert_eq!(batch.commit().unwrap().exemplars, 4);
    let ours = found(&db);
    assert_eq!(ours.len(), 4);
    db.close().unwrap();
    let prometheus = Running::start(&binary, dir.path(), "");
    assert_eq!(wait("an answer", || prometheus.exemplars()), ours);
    drop(prometheus);
    // And once more from what it made of the log.
    let db = Db::open(&data, Options::default()).unwrap();
    assert_eq!(found(&db), ours);
    assert_eq!(db.metadata(Some("new")).unwrap()[0].metadata, [latency]);
}
