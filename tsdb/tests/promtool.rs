//! Prometheus and its own tool read what is written here, and the other way round.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{RANGE, all, labels, read, sample, scrape, short_prometheus_blocks};
use ferula_index::Matcher;
use ferula_tsdb::Db;

/// Where the tool is, or `None` with a line on why the test is skipped.
fn promtool() -> Option<PathBuf> {
    program("promtool", "FERULA_PROMTOOL")
}

fn program(name: &str, variable: &str) -> Option<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Some(PathBuf::from(path));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        println!("skipped: no {name} in PATH; set {variable} to its path");
    }
    found
}

fn run(promtool: &Path, args: &[&str]) -> String {
    let output = Command::new(promtool).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn promtool_reads_what_is_written_here() {
    let Some(promtool) = promtool() else { return };
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_prometheus_blocks()).unwrap();
    scrape(&db, 10, 0, 3 * RANGE);
    let blocks = db.maintain().unwrap();
    let snapshot = tempfile::tempdir().unwrap();
    let in_snapshot = db.snapshot(snapshot.path()).unwrap();
    db.close().unwrap();

    let path = dir.path().to_str().unwrap();
    let listed = run(&promtool, &["tsdb", "list", path]);
    for block in &blocks {
        let line = listed.lines().find(|line| line.starts_with(&block.to_string())).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[4..7], ["600", "10", "10"], "samples, chunks, series: {line}");
    }
    for block in &in_snapshot {
        let path = snapshot.path().to_str().unwrap();
        let analyzed = run(&promtool, &["tsdb", "analyze", path, &block.to_string()]);
        assert!(analyzed.contains("Total Series: 10"), "{analyzed}");
    }
    // The same samples of blocks and log, as text.
    let dumped = run(&promtool, &["tsdb", "dump", path]);
    for time in [59_000, 179_000] {
        let expected = format!(r#"{{__name__="m", job="test", n="3"}} {} {time}"#, time + 3);
        assert!(dumped.lines().any(|line| line == expected), "{expected}");
    }
    assert_eq!(dumped.lines().count(), 10 * 180);
}

/// A directory of blocks in which something is deleted, some of which overlap, before they are
/// compacted; and the number of series in it.
fn to_compact(dir: &Path) -> usize {
    let other = tempfile::tempdir().unwrap();
    for (dir, n_series, from) in [(dir, 10, 0), (other.path(), 7, 4 * RANGE + 500)] {
        let db = Db::open(dir, short_prometheus_blocks()).unwrap();
        scrape(&db, n_series, from, from + 5 * RANGE);
        db.compact_head().unwrap();
        db.delete(&[Matcher::equal("n", "3")], from + 90_000, from + 150_000).unwrap();
        db.delete(&[Matcher::equal("n", "4")], i64::MIN, from + 2 * RANGE).unwrap();
        db.delete(&[Matcher::equal("n", "5")], i64::MIN, i64::MAX).unwrap();
    }
    for name in common::names(other.path()).iter().filter(|name| name.starts_with("01")) {
        std::fs::rename(other.path().join(name), dir.join(name)).unwrap();
    }
    9
}

#[test]
fn promtool_finds_in_a_compacted_block_what_its_sources_held() {
    let Some(promtool) = promtool() else { return };
    let dir = tempfile::tempdir().unwrap();
    let n_series = to_compact(dir.path());
    let path = dir.path().to_str().unwrap();
    let before = run(&promtool, &["tsdb", "dump", path]);
    assert!(before.lines().count() > 3000);
    let db = Db::open(dir.path(), short_prometheus_blocks()).unwrap();
    assert!(!db.compact().unwrap().is_empty() && !db.clean_tombstones().unwrap().is_empty());
    assert!(db.stats().blocks.iter().all(|meta| meta.stats.num_tombstones == 0));
    db.close().unwrap();
    assert_eq!(run(&promtool, &["tsdb", "dump", path]), before);

    let listed = run(&promtool, &["tsdb", "list", path]);
    for meta in db.stats().blocks {
        let line = listed.lines().find(|line| line.starts_with(&meta.ulid.to_string())).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let stats = [meta.stats.num_samples, meta.stats.num_chunks, meta.stats.num_series];
        assert_eq!(words[4..7], stats.map(|n| n.to_string()), "{line}");
        let analyzed = run(&promtool, &["tsdb", "analyze", path, &meta.ulid.to_string()]);
        assert!(analyzed.contains(&format!("Total Series: {}", meta.stats.num_series)));
        assert!(meta.stats.num_series <= n_series as u64);
    }
}

#[test]
fn prometheus_starts_on_compacted_blocks_and_gives_the_same_answers() {
    let Some(prometheus) = program("prometheus", "FERULA_PROMETHEUS") else { return };
    let dir = tempfile::tempdir().unwrap();
    to_compact(dir.path());
    let db = Db::open(dir.path(), short_prometheus_blocks()).unwrap();
    db.compact().unwrap();
    let content = all(&db);
    db.close().unwrap();
    std::fs::remove_dir_all(dir.path().join("wal")).unwrap();
    std::fs::remove_file(dir.path().join("lock")).unwrap();

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = dir.path().join("prometheus.yml");
    std::fs::write(&config, "").unwrap();
    let mut child = Command::new(prometheus)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", dir.path().display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--storage.tsdb.retention.time=100y", "--log.level=error"])
        .spawn()
        .unwrap();
    let query = "count_over_time({__name__=~\".%2B\"}[1h])&time=1000";
    let mut answer = None;
    for _ in 0..300 {
        answer = get(port, &format!("/api/v1/query?query={query}"));
        if answer.is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer.expect("it answers")).unwrap();
    let mut counts: Vec<(String, usize)> = answer["data"]["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| {
            let count = series["value"][1].as_str().unwrap().parse().unwrap();
            (series["metric"]["n"].as_str().unwrap().to_owned(), count)
        })
        .collect();
    counts.sort();
    let expected: Vec<(String, usize)> = content
        .iter()
        .map(|(labels, samples)| (labels.get("n").unwrap().to_owned(), samples.len()))
        .collect();
    assert_eq!(counts, expected);
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

#[test]
fn blocks_of_prometheus_are_read() {
    let Some(promtool) = promtool() else { return };
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input.om");
    let mut text = String::from("# TYPE m gauge\n");
    for t in 0..600 {
        for n in 0..3 {
            text.push_str(&format!("m{{n=\"{n}\",job=\"a b\"}} {} {}\n", t * n, t * 15));
        }
    }
    text.push_str("# EOF\n");
    std::fs::write(&input, text).unwrap();
    let data = dir.path().join("data");
    let (input, path) = (input.to_str().unwrap(), data.to_str().unwrap());
    run(&promtool, &["tsdb", "create-blocks-from", "openmetrics", input, path]);

    let db = Db::open_read_only(&data).unwrap();
    assert!(db.stats().blocks.len() > 1);
    let content = read(&db.querier(i64::MIN, i64::MAX).unwrap());
    let expected: Vec<_> = (0..3)
        .map(|n| {
            let labels = labels(&[("__name__", "m"), ("job", "a b"), ("n", &n.to_string())]);
            (labels, (0..600).map(|t| sample(t * 15_000, (t * n) as f64)).collect())
        })
        .collect();
    assert_eq!(content, expected);
}
