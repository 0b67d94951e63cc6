//! The tool over a small directory, and over none.

use std::path::Path;
use std::process::{Command, Stdio};

use ferula_index::Labels;
use ferula_tsdb::{Db, Options};
use tempfile::TempDir;

const START_MS: i64 = 1_700_000_000_000;

fn ferula(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ferula"))
        .args(arguments)
        .output()
        .expect("the program can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A directory with the series `torches{place="gate"}`: 3, 4, 5 at one minute's distance.
fn store() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Db::open(dir.path(), Options::default()).expect("a new store");
    let labels =
        Labels::from_pairs([("__name__", "torches"), ("place", "gate")]).expect("valid labels");
    let mut appender = db.appender();
    for (timestamp, value) in (START_MS..).step_by(60_000).zip([3.0, 4.0, 5.0]) {
        appender.append(&labels, timestamp, value).expect("the sample is accepted");
    }
    appender.commit().expect("the log can be written");
    db.close().expect("the log can be synced");
    dir
}

fn path(dir: &TempDir) -> &str {
    dir.path().to_str().expect("a plain path")
}

#[test]
fn an_instant_query_is_answered() {
    let dir = store();
    let (code, out, err) = ferula(&["query", path(&dir), "torches", "--time", "1700000060"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "torches{place=\"gate\"} => 4 @[1700000060]\n");
}

#[test]
fn a_range_query_is_answered() {
    let dir = store();
    let range = ["--start", "2023-11-14T22:13:20Z", "--end", "1700000120", "--step", "1m"];
    let (code, out, err) = ferula(&[&["query", path(&dir), "2 * torches"][..], &range].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "{place=\"gate\"} =>\n6 @[1700000000]\n8 @[1700000060]\n10 @[1700000120]\n");
}

#[test]
fn a_wrong_expression_is_told_with_its_place() {
    let dir = store();
    let (code, out, err) = ferula(&["query", path(&dir), "sum(torches"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(
        err,
        "error: 1:12: parse error: unclosed left parenthesis\n  sum(torches\n             ^\n"
    );
}

#[test]
fn a_wrong_command_line_is_told() {
    for arguments in [
        &["query", "dir", "up", "--time", "yesterday"][..],
        &["query", "dir", "up", "--start", "1", "--end", "2"],
        &["query", "dir", "up", "--time", "1", "--start", "1", "--end", "2", "--step", "1"],
        &["list"],
    ] {
        let (code, _, err) = ferula(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {err}");
    }
}

#[test]
fn the_head_is_listed() {
    let dir = store();
    let (code, out, err) = ferula(&["list", path(&dir)]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let head = out.lines().find(|line| line.starts_with("head")).expect("a line of the head");
    for part in ["2023-11-14T22:13:20Z", "2023-11-14T22:15:20Z", " 1 "] {
        assert!(head.contains(part), "{part}: {head}");
    }
}

#[test]
fn a_missing_directory_is_told_and_not_made() {
    let missing = Path::new("/nowhere/ferula-data");
    for command in [&["list", "/nowhere/ferula-data"][..], &["query", "/nowhere/ferula-data", "up"]]
    {
        let (code, _, err) = ferula(command);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains("/nowhere/ferula-data"), "{err}");
    }
    assert!(!missing.exists());
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let dir = store();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ferula"))
        .args(["list", path(&dir)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn blocks_are_converted() {
    let dir = store();
    let db = Db::open(dir.path(), Options::default()).expect("the store");
    db.compact_head().expect("the block can be written");
    db.close().expect("the log can be synced");
    let format = || {
        let db = Db::open_read_only(dir.path()).expect("the store");
        db.stats().blocks.iter().map(|meta| meta.ferula.is_some()).collect::<Vec<_>>()
    };
    for (to, is_own) in [("prometheus", false), ("ferula", true)] {
        let (code, out, err) = ferula(&["convert", path(&dir), "--to", to]);
        assert_eq!((code, err.as_str(), out.lines().count()), (Some(0), "", 1));
        assert_eq!(format(), [is_own]);
        let (_, out, _) = ferula(&["query", path(&dir), "torches", "--time", "1700000060"]);
        assert_eq!(out, "torches{place=\"gate\"} => 4 @[1700000060]\n");
    }
    let (code, out, _) = ferula(&["convert", path(&dir), "--to", "ferula"]);
    assert_eq!((code, out.as_str()), (Some(0), ""));
}
