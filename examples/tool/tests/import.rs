//! `ferula import` makes blocks of texts, and takes over those of other directories.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{blocks, content, ferula, flip, json, path, program, run, store};
use ferula_tsdb::BlockFormat::{Ferula, Prometheus};

/// A text of three metrics over nine hours, one of which changes its series, with what OpenMetrics may
/// have beside samples.
fn text() -> String {
    let mut text = String::from("# HELP requests Requests served.\n# TYPE requests counter\n");
    for n in 0..5 {
        for i in 0..2160 {
            if n == 4 && i < 1000 {
                continue;
            }
            let time = 1_700_000_000 + i * 15;
            let exemplar = if i % 500 == 0 { " # {trace_id=\"x\"} 0.5" } else { "" };
            let value = i * (n + 1);
            text.push_str(&format!("requests_total{{n=\"{n}\"}} {value} {time}{exemplar}\n"));
        }
    }
    text.push_str("# TYPE latency_seconds histogram\n# UNIT latency_seconds seconds\n");
    for i in 0..2160 {
        let time = 1_700_000_000 + i * 15;
        for le in ["0.1", "1", "+Inf"] {
            text.push_str(&format!("latency_seconds_bucket{{le=\"{le}\"}} {i} {time}.5\n"));
        }
    }
    text.push_str("# TYPE temperature gauge\n");
    for i in 0..200 {
        let value = if i % 50 == 0 { "NaN".to_owned() } else { format!("{}e-3", i * 7) };
        text.push_str(&format!(
            "temperature{{room=\"a \\\"b\\\"\"}} {value} {}\n",
            1_700_000_000 + i * 90
        ));
    }
    text.push_str("# EOF\n");
    text
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn promtool_makes_blocks_with_the_same_samples() {
    let Some(promtool) = program("promtool", "FERULA_PROMTOOL") else { return };
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input.om");
    fs::write(&input, text()).unwrap();
    let theirs = dir.path().join("theirs");
    run(&promtool, &["tsdb", "create-blocks-from", "openmetrics", name(&input), name(&theirs)]);
    // It wants a log, if only an empty one.
    let dump = |dir: &Path| {
        fs::create_dir(dir.join("wal")).unwrap();
        run(&promtool, &["tsdb", "dump", name(dir)])
    };
    let expected = dump(&theirs);
    assert!(expected.lines().count() > 16_000);
    for (format, memory) in [("ferula", "256"), ("prometheus", "1"), ("prometheus", "256")] {
        let ours = dir.path().join(format!("{format}-{memory}"));
        let arguments = ["import", name(&input), name(&ours), "--block-format", format];
        let report = json(0, &[&arguments[..], &["--memory", memory, "--json"]].concat());
        assert_eq!(report["samples"], expected.lines().count());
        assert!(ferula(&["dump", name(&ours)]).1 == expected);
        let ranges = |dir: &Path| {
            let listed = json(0, &["list", name(dir), "--json"]);
            let blocks = listed["blocks"].as_array().unwrap().iter();
            blocks
                .map(|block| (block["minTime"].clone(), block["maxTime"].clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(ranges(&ours), ranges(&theirs));
        if format == "prometheus" {
            assert!(dump(&ours) == expected);
        }
    }
}

#[test]
fn what_is_dumped_is_imported_from_standard_input() {
    let dir = store(Ferula);
    let (_, text, _) = ferula(&["dump", path(&dir), "--format", "openmetrics"]);
    let target = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ferula"))
        .args(["import", "-", path(&target), "--block-duration", "1d"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().lines().count(),
        blocks(target.path()).len()
    );
    assert_eq!(blocks(target.path()).len(), 2, "the middle of the night is in between");
    assert_eq!(ferula(&["dump", path(&target)]).1, ferula(&["dump", path(&dir)]).1);
}

#[test]
fn a_text_that_is_wrong_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input.om");
    let target = dir.path().join("data");
    let right = text();
    for (wrong, line) in [
        (right.replace("# EOF\n", ""), "without # EOF"),
        (right.replace("temperature{", "temperature["), "line 16286"),
        (right.replace("1700000015\n", "\n"), "line 4: the sample has no timestamp"),
    ] {
        fs::write(&input, wrong).unwrap();
        let (code, out, err) = ferula(&["import", name(&input), name(&target)]);
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert!(err.contains(name(&input)) && err.contains(line), "{err}");
        let left: Vec<_> =
            fs::read_dir(&target).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }
    let (code, _, err) = ferula(&["import", "/nowhere/input.om", name(&target)]);
    assert_eq!(code, Some(1));
    assert!(err.contains("/nowhere/input.om"), "{err}");
}

#[test]
fn samples_that_are_there_twice_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input.om");
    fs::write(&input, "a 1 60\na 2 30\na 3 60\n# EOF\n").unwrap();
    let target = dir.path().join("data");
    let (code, _, err) = ferula(&["import", name(&input), name(&target)]);
    assert_eq!(code, Some(0));
    assert!(err.contains("left out 1 samples"), "{err}");
    let (_, out, _) = ferula(&["dump", name(&target)]);
    assert_eq!(out, "{__name__=\"a\"} 2 30000\n{__name__=\"a\"} 1 60000\n");
}

#[test]
fn blocks_of_either_format_are_taken_over() {
    for format in [Ferula, Prometheus] {
        let source = store(format);
        let before = content(source.path());
        let target = tempfile::tempdir().unwrap();
        let report = json(0, &["import", path(&source), path(&target), "--json"]);
        assert_eq!(report["blocks"].as_array().map(Vec::len), Some(2));
        assert_eq!(report["has_log"], true);
        let until = "1700013599.999";
        let expected = ferula(&["dump", path(&source), "--max-time", until]).1;
        assert_eq!(ferula(&["dump", path(&target)]).1, expected);
        let (code, out, err) = ferula(&["import", path(&source), path(&target)]);
        assert_eq!((code, out.as_str()), (Some(0), ""));
        assert_eq!(err.matches("is there already").count(), 2, "{err}");
        // What is done to them does not touch the source.
        ferula(&["delete", path(&target), "--match", "up"]);
        ferula(&["compact", path(&target), "--tombstones"]);
        assert_eq!(content(source.path()), before);
    }
}

#[test]
fn a_damaged_block_is_not_taken_over() {
    let source = store(Prometheus);
    let damaged = &blocks(source.path())[0];
    flip(&damaged.join("chunks/000001"), 300);
    let target = tempfile::tempdir().unwrap();
    let (code, out, err) = ferula(&["import", path(&source), path(&target)]);
    assert_eq!((code, out.lines().count()), (Some(3), 1));
    assert!(err.contains(name(&damaged.join("chunks/000001"))), "{err}");
    assert_eq!(blocks(target.path()).len(), 1);
}
