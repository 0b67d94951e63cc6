//! A real Prometheus goes on with samples out of order that were taken here, and the other way round.
//!
//! `FERULA_PROMETHEUS` names the binary, or `prometheus` is looked for in `PATH`; without one the
//! tests are skipped and say so.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{labels, names, options};
use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{Histogram, Span};
use ferula_tsdb::{BlockFormat, Db, Options};
use serde_json::Value;

/// Times and values, or counts of histograms, by series.
type Content = BTreeMap<String, Vec<(i64, f64)>>;

/// Where all tests have their samples, in milliseconds.
const NOW: i64 = 1_700_000_000_000;

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

/// A running Prometheus, killed when dropped.
struct Prometheus {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(binary: &Path, dir: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (config, log) = (dir.join("prometheus.yml"), dir.join("prometheus.log"));
        let window = "storage: {tsdb: {out_of_order_time_window: 1h}}\n";
        std::fs::write(&config, window).unwrap();
        let _ = std::fs::remove_file(dir.join("data/lock"));
        let child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--storage.tsdb.retention.time=100y", "--web.enable-remote-write-receiver"])
            .arg("--enable-feature=native-histograms")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let prometheus = Self { child, port, log };
        for _ in 0..600 {
            if prometheus.request("GET", "/-/ready", &[]).is_some_and(|(status, _)| status == 200) {
                return prometheus;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("not ready: {}", prometheus.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Encoding: snappy\r\n\
             Content-Type: application/x-protobuf\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Writes samples of the series `{__name__="m", n=…}`.
    fn write(&self, n: &str, samples: &[(i64, f64)]) {
        let mut series = Vec::new();
        for (name, value) in [("__name__", "m"), ("n", n)] {
            let label = [field(1, name.as_bytes()), field(2, value.as_bytes())].concat();
            series.extend(field(1, &label));
        }
        for (time, value) in samples {
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&value.to_le_bytes());
            sample.push(2 << 3);
            sample.extend(uvarint(time.cast_unsigned()));
            series.extend(field(2, &sample));
        }
        let request = field(1, &series);
        // Snappy, all of it literal.
        let mut body = uvarint(request.len() as u64);
        for literal in request.chunks(60) {
            body.push(u8::try_from(literal.len() - 1).unwrap() << 2);
            body.extend_from_slice(literal);
        }
        let answer = self.request("POST", "/api/v1/write", &body);
        assert!(answer.as_ref().is_some_and(|(status, _)| *status / 100 == 2), "{answer:?}");
    }

    fn content(&self) -> Content {
        let time = NOW / 1000 + 1;
        let query = format!("/api/v1/query?query=%7Bn%3D~%22.%2B%22%7D%5B3h%5D&time={time}");
        let (status, body) = self.request("GET", &query, &[]).unwrap();
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let mut content = Content::new();
        for series in answer["data"]["result"].as_array().unwrap() {
            let n = series["metric"]["n"].as_str().unwrap().to_owned();
            // Seconds with up to three digits behind the point.
            let time = |pair: &Value| -> i64 {
                let text = format!("{:.3}", pair[0].as_f64().unwrap());
                text.replace('.', "").parse().unwrap()
            };
            let number = |value: &Value| value.as_str().unwrap().parse().unwrap();
            let floats = series["values"].as_array().into_iter().flatten();
            let floats = floats.map(|pair| (time(pair), number(&pair[1])));
            let histograms = series["histograms"].as_array().into_iter().flatten();
            let histograms = histograms.map(|pair| (time(pair), number(&pair[1]["count"])));
            let mut samples: Vec<(i64, f64)> = floats.chain(histograms).collect();
            samples.sort_by_key(|(time, _)| *time);
            content.insert(n, samples);
        }
        content
    }
}

fn uvarint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value % 0x80).unwrap() | 0x80);
        value /= 0x80;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2], uvarint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn with_window() -> Options {
    let mut options = options();
    options.out_of_order_window_ms = 3_600_000;
    options.block_format = BlockFormat::Prometheus;
    options
}

fn content(db: &Db) -> Content {
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    let series = querier.select(&[]).unwrap();
    let read = |index| {
        let mut batch = SampleBatch::new();
        series.read(index, &mut batch).unwrap();
        let value = |index: usize| match batch.histogram(index) {
            Some(histogram) => histogram.count,
            None => batch.values()[index],
        };
        let samples = (0..batch.len()).map(|i| (batch.timestamps()[i], value(i))).collect();
        (series.labels(index).get("n").unwrap().to_owned(), samples)
    };
    (0..series.len()).map(read).collect()
}

/// Times in no order, `n` of them, at most 50 minutes before [`NOW`].
fn late_times(n: i64, seed: i64) -> impl Iterator<Item = i64> {
    (0..n).map(move |i| NOW - 1000 * (1 + (i * 7919 + seed * 131) % 3000))
}

fn histogram(count: u64) -> Histogram {
    Histogram {
        count,
        sum: 1.5,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive_buckets: vec![i64::try_from(count).unwrap()],
        ..Histogram::default()
    }
}

/// Batches of samples in and out of order.
fn append(db: &Db, seed: i64, n: i64) {
    let series = |n: &str| labels(&[("__name__", "m"), ("n", n)]);
    for (i, time) in late_times(n, seed).enumerate() {
        let mut batch = db.appender();
        let value = i as f64 + seed as f64;
        batch.append(&series("floats"), time, value).unwrap();
        if i % 3 == 0 {
            batch.append(&series("few"), time + 1, value).unwrap();
        }
        batch.append_histogram(&series("histograms"), time, histogram(1 + i as u64)).unwrap();
        let in_order = NOW - 500 * (4 - seed) + i as i64;
        batch.append(&series("in order"), in_order, value).unwrap();
        batch.commit().unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

#[test]
fn prometheus_finds_what_was_taken_here_out_of_order() {
    let Some(binary) = prometheus() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let db = Db::open(&data, with_window()).unwrap();
    let mut first = db.appender();
    for n in ["floats", "few", "in order"] {
        first.append(&labels(&[("__name__", "m"), ("n", n)]), NOW - 3000, 0.0).unwrap();
    }
    let n = labels(&[("__name__", "m"), ("n", "histograms")]);
    first.append_histogram(&n, NOW - 3000, histogram(9)).unwrap();
    first.commit().unwrap();
    append(&db, 1, 150);
    let expected = content(&db);
    assert_eq!(expected["floats"].len(), 151);
    // As a process leaves it that is killed.
    let killed = tempfile::tempdir().unwrap();
    copy(&data, &killed.path().join("data"));
    let check = |dir: &Path| {
        let prometheus = Prometheus::start(&binary, dir);
        assert_eq!(prometheus.content(), expected);
        let log = prometheus.log();
        assert!(!log.contains("Unknown series references"), "{log}");
        assert!(!log.contains("level=ERROR"), "{log}");
    };
    check(killed.path());
    db.close().unwrap();
    check(dir.path());
    // After what was lost of chunk files and log was made anew.
    std::fs::remove_dir_all(killed.path().join("data/chunks_head")).unwrap();
    let db = Db::open(killed.path().join("data"), with_window()).unwrap();
    assert_eq!(content(&db), expected);
    db.close().unwrap();
    check(killed.path());
}

#[test]
fn what_prometheus_took_out_of_order_is_found_here() {
    let Some(binary) = prometheus() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut expected = Content::new();
    {
        let prometheus = Prometheus::start(&binary, dir.path());
        prometheus.write("floats", &[(NOW - 1000, 0.5)]);
        prometheus.write("few", &[(NOW - 1000, 0.5)]);
        for (i, time) in late_times(120, 5).enumerate().filter(|(_, time)| *time < NOW - 1000) {
            prometheus.write("floats", &[(time, i as f64)]);
            if i % 7 == 0 {
                prometheus.write("few", &[(time, i as f64)]);
            }
        }
        expected.extend(prometheus.content());
    }
    assert!(expected["floats"].len() > 100 && names(&data).contains(&"wbl".to_owned()));
    // Killed, as it is here.
    let db = Db::open_read_only(&data).unwrap();
    assert!(db.open_report().out_of_order_samples > 100);
    let db = Db::open(&data, with_window()).unwrap();
    assert_eq!(content(&db), expected);
    append(&db, 2, 70);
    let expected = content(&db);
    db.close().unwrap();
    let prometheus = Prometheus::start(&binary, dir.path());
    assert_eq!(prometheus.content(), expected);
    prometheus.write("few", &[(NOW - 12_345, 7.0)]);
    let expected = prometheus.content();
    drop(prometheus);
    let db = Db::open(&data, with_window()).unwrap();
    assert_eq!(content(&db), expected);
    // As blocks too.
    db.compact_head().unwrap();
    db.compact().unwrap();
    assert_eq!(content(&db), expected);
    db.close().unwrap();
    assert_eq!(Prometheus::start(&binary, dir.path()).content(), expected);
}
