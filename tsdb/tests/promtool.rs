//! Prometheus's own tool reads what is written here, and the other way round.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{RANGE, labels, read, sample, scrape, short_blocks};
use ferula_tsdb::Db;

/// Where the tool is, or `None` with a line on why the test is skipped.
fn promtool() -> Option<PathBuf> {
    if let Some(path) = env::var_os("FERULA_PROMTOOL") {
        return Some(PathBuf::from(path));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|dir| dir.join("promtool")).find(|file| file.is_file());
    if found.is_none() {
        println!("skipped: no promtool in PATH; set FERULA_PROMTOOL to its path");
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
    let db = Db::open(dir.path(), short_blocks()).unwrap();
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
