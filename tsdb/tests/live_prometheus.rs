//! The directory of a real Prometheus is read while that goes on: blocks, log, checkpoints and the log
//! of samples out of order, whatever it cuts, truncates and compacts meanwhile.
//!
//! `FERULA_PROMETHEUS` names the binary, or `prometheus` is looked for in `PATH`; without one the
//! test is skipped and says so.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::names;
use ferula_chunkenc::SampleBatch;
use ferula_tsdb::{Db, ReadOnlyDb, verify};

/// The first sample, in milliseconds; the end of a block range.
const START: i64 = 1_700_006_400_000;

/// Between two samples of a series.
const STEP: i64 = 5_000;

/// Most requests, each with a sample of every series; there are less if all has happened that is to.
const MAX_ROUNDS: usize = 6000;

const N_SERIES: usize = 10;

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
    /// Starts one that cuts blocks of two minutes and makes those of six of them.
    fn start(binary: &Path, dir: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (config, log) = (dir.join("prometheus.yml"), dir.join("prometheus.log"));
        let window = "storage: {tsdb: {out_of_order_time_window: 10m}}\n";
        std::fs::write(&config, window).unwrap();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--storage.tsdb.retention.time=100y", "--web.enable-remote-write-receiver"])
            .args(["--storage.tsdb.min-block-duration=2m", "--storage.tsdb.max-block-duration=6m"])
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
        panic!("not ready: {}", std::fs::read_to_string(&prometheus.log).unwrap_or_default());
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

    /// Writes a sample of each of the series `{__name__="m", n=…}`.
    fn write(&self, samples: &[(usize, i64)]) {
        let mut request = Vec::new();
        for (n, time) in samples {
            let mut series = Vec::new();
            for (name, value) in [("__name__", "m"), ("n", n.to_string().as_str())] {
                let label = [field(1, name.as_bytes()), field(2, value.as_bytes())].concat();
                series.extend(field(1, &label));
            }
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&value(*n, *time).to_le_bytes());
            sample.push(2 << 3);
            sample.extend(uvarint(time.cast_unsigned()));
            series.extend(field(2, &sample));
            request.extend(field(1, &series));
        }
        // Snappy, all of it literal.
        let mut body = uvarint(request.len() as u64);
        for literal in request.chunks(60) {
            body.push(u8::try_from(literal.len() - 1).unwrap() << 2);
            body.extend_from_slice(literal);
        }
        let answer = self.request("POST", "/api/v1/write", &body);
        assert!(answer.as_ref().is_some_and(|(status, _)| *status / 100 == 2), "{answer:?}");
    }

    /// Times and values of each series.
    fn content(&self) -> BTreeMap<usize, Vec<(i64, f64)>> {
        let end = (START + STEP * i64::try_from(MAX_ROUNDS).unwrap()) / 1000;
        let query = format!("/api/v1/query?query=m%5B9h%5D&time={end}");
        let (status, body) = self.request("GET", &query, &[]).unwrap();
        assert_eq!(status, 200, "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        let series = answer["data"]["result"].as_array().unwrap().iter();
        let sample = |pair: &serde_json::Value| {
            // Seconds with up to three digits behind the point.
            let time = format!("{:.3}", pair[0].as_f64().unwrap()).replace('.', "");
            (time.parse().unwrap(), pair[1].as_str().unwrap().parse().unwrap())
        };
        let content = series.map(|series| {
            let n = series["metric"]["n"].as_str().unwrap().parse().unwrap();
            (n, series["values"].as_array().unwrap().iter().map(sample).collect())
        });
        content.collect()
    }
}

/// The value that a series has at a time.
fn value(n: usize, time: i64) -> f64 {
    (time - START) as f64 / 8.0 + n as f64
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

/// What is written in a round: a sample of each series, and in some a late one.
fn round(at: usize) -> Vec<(usize, i64)> {
    let time = START + STEP * i64::try_from(at).unwrap();
    let mut samples: Vec<(usize, i64)> = (0..N_SERIES).map(|n| (n, time)).collect();
    if at > 60 && at.is_multiple_of(20) {
        samples.push((at % 3, time - STEP * 40 + 1_000));
    }
    samples
}

fn content(db: &ReadOnlyDb) -> BTreeMap<usize, Vec<(i64, f64)>> {
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    let found = querier.select(&[]).unwrap();
    let of_series = |index| {
        let mut batch = SampleBatch::new();
        found.read(index, &mut batch).unwrap();
        let samples = batch.iter().map(|sample| (sample.timestamp, sample.value)).collect();
        (found.labels(index).get("n").unwrap().parse().unwrap(), samples)
    };
    (0..found.len()).map(of_series).collect()
}

/// Checks that what is read is what was sent, and has all that was acknowledged in the first rounds.
fn check(found: &BTreeMap<usize, Vec<(i64, f64)>>, n_acknowledged: usize) {
    let mut times: BTreeMap<usize, BTreeSet<i64>> = BTreeMap::new();
    for (n, samples) in found {
        assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "series {n} has each time once, in order");
        for (time, found) in samples {
            assert_eq!(*found, value(*n, *time), "series {n} at {time}");
        }
        times.insert(*n, samples.iter().map(|(time, _)| *time).collect());
    }
    for at in 0..n_acknowledged {
        for (n, time) in round(at) {
            let is_there = times.get(&n).is_some_and(|times| times.contains(&time));
            assert!(is_there, "{time} of series {n}, round {at} of {n_acknowledged}, is missing");
        }
    }
}

#[test]
fn a_running_prometheus_is_followed() {
    let path = env::var_os("FERULA_PROMETHEUS").map(PathBuf::from).or_else(|| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|dir| dir.join("prometheus")).find(|file| file.is_file())
    });
    let Some(binary) = path else {
        println!("skipped: no Prometheus in FERULA_PROMETHEUS or PATH");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let prometheus = Prometheus::start(&binary, dir.path());
    let (acknowledged, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let has_checkpoint =
        || names(&data.join("wal")).iter().any(|name| name.starts_with("checkpoint."));
    let has_compacted = || {
        let metas = names(&data).into_iter().map(|name| data.join(name).join("meta.json"));
        let mut metas = metas.filter_map(|meta| std::fs::read_to_string(meta).ok());
        metas.any(|meta| meta.contains("\"level\": 2"))
    };
    let (n_reads, levels) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let reader = Db::open_read_only(&data).unwrap();
            let (mut n_reads, mut levels) = (0, BTreeSet::new());
            loop {
                let (is_last, before) =
                    (is_over.load(Ordering::Acquire), acknowledged.load(Ordering::Acquire));
                reader.reload().unwrap();
                check(&content(&reader), before);
                let stats = reader.stats();
                assert!(stats.quarantined.is_empty(), "{:?}", stats.quarantined);
                levels.extend(stats.blocks.iter().map(|meta| meta.compaction.level));
                n_reads += 1;
                if is_last {
                    return (n_reads, levels);
                }
            }
        });
        for at in 0..MAX_ROUNDS {
            prometheus.write(&round(at));
            acknowledged.store(at + 1, Ordering::Release);
            // It cuts and truncates between two requests, and compacts when nothing is to be cut.
            let is_pause = at % 90 == 89;
            std::thread::sleep(Duration::from_millis(if is_pause { 500 } else { 2 }));
            if reader.is_finished() || is_pause && has_compacted() && has_checkpoint() {
                break;
            }
        }
        is_over.store(true, Ordering::Release);
        reader.join().unwrap()
    });
    assert!(n_reads > 3, "{n_reads}");
    assert!(levels.contains(&1) && levels.len() > 1, "compacted blocks were read: {levels:?}");
    assert!(has_checkpoint());
    assert!(names(&data).contains(&"wbl".to_owned()));

    let reader = Db::open_read_only(&data).unwrap();
    assert_eq!(content(&reader), prometheus.content());
    let found = verify(&data, &mut |_, _| {}).unwrap();
    assert!(found.is_intact(), "{found:?}");
    let target = dir.path().join("backup");
    let backup = reader.backup(&target).unwrap();
    assert!(backup.damaged.is_empty());
    assert_eq!(content(&Db::open_read_only(&target).unwrap()), prometheus.content());
    // It is none the worse for it.
    prometheus.write(&[(0, START + STEP * 10_000)]);
}
