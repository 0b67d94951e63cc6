//! `ferula compact`, `delete`, `bench` and `completions`.

mod common;

use common::{RANGE_MS, START_MS, blocks, ferula, flip, json, path, store};
use ferula_tsdb::BlockFormat::Ferula;
use ferula_tsdb::Db;

fn n_lines(dir: &tempfile::TempDir) -> usize {
    ferula(&["dump", path(dir)]).1.lines().count()
}

#[test]
fn what_is_deleted_is_gone_and_the_rest_stays() {
    let dir = store(Ferula);
    let until = ((START_MS + RANGE_MS) / 1000).to_string();
    let arguments = ["delete", path(&dir), "--match", "up", "--max-time", &until, "--json"];
    let dry = json(0, &[&arguments[..], &["--dry-run"]].concat());
    assert_eq!((dry["series"].clone(), dry["dryRun"].clone()), (1.into(), true.into()));
    let before = n_lines(&dir);
    assert_eq!(json(0, &arguments)["series"], 1);
    assert_eq!(n_lines(&dir), before - 241);
    assert_eq!(json(0, &arguments)["series"], 0, "a second time there is nothing left");
    let (code, _, err) = ferula(&["delete", path(&dir)]);
    assert_eq!(code, Some(1));
    assert!(err.contains("--match"), "{err}");
    assert_eq!(n_lines(&dir), before - 241);
}

#[test]
fn the_head_is_cut_and_tombstones_are_cleaned() {
    let dir = store(Ferula);
    ferula(&["delete", path(&dir), "--match", "up"]);
    let before = n_lines(&dir);
    let made = json(0, &["compact", path(&dir), "--head", "--tombstones", "--json"]);
    let listed = json(0, &["list", path(&dir), "--json"]);
    let blocks = listed["blocks"].as_array().expect("a list");
    assert!(blocks.iter().all(|block| block["stats"]["numTombstones"].is_null()), "{listed}");
    for name in made["blocks"].as_array().expect("a list") {
        assert!(blocks.iter().any(|block| block["ulid"] == *name), "{name}");
    }
    assert_eq!(listed["head"]["numSeries"], 0);
    assert_eq!(n_lines(&dir), before);
}

#[test]
fn a_damaged_block_does_not_keep_tombstones_of_the_others() {
    let dir = store(Ferula);
    ferula(&["delete", path(&dir), "--match", "up"]);
    let damaged = blocks(dir.path())[0].clone();
    flip(&damaged.join("chunks/000001"), 100);
    let (code, out, err) = ferula(&["compact", path(&dir), "--tombstones"]);
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains(damaged.to_str().expect("a plain path")), "{err}");
    assert!(err.contains("not compacted"), "{err}");
    let made = out.trim_end();
    assert_eq!(blocks(dir.path()), [damaged, dir.path().join(made)]);
}

#[test]
fn a_directory_in_use_is_told() {
    let dir = store(Ferula);
    let db = Db::open(dir.path(), common::options(Ferula)).expect("the store");
    for arguments in [&["compact", path(&dir)][..], &["delete", path(&dir), "--match", "up"]] {
        let (code, _, err) = ferula(arguments);
        assert_eq!(code, Some(1));
        assert!(err.contains("is in use by process"), "{err}");
    }
    drop(db);
}

#[test]
fn a_missing_directory_is_not_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("missing");
    let name = missing.to_str().expect("a plain path");
    for arguments in [
        &["compact", name][..],
        &["convert", name, "--to", "ferula"],
        &["delete", name, "--match", "up"],
        &["dump", name],
        &["analyze", name],
    ] {
        let (code, _, err) = ferula(arguments);
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(err.contains(name), "{err}");
        assert!(!missing.exists());
    }
    assert_eq!(blocks(dir.path()).len(), 0);
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("notes"), "of something else").expect("a file");
    let target = dir.path().join("target");
    let target = target.to_str().expect("a plain path");
    for arguments in [
        &["list", path(&dir)][..],
        &["query", path(&dir), "up"],
        &["analyze", path(&dir)],
        &["verify", path(&dir)],
        &["dump", path(&dir)],
        &["backup", path(&dir), target],
        &["clone", path(&dir), target],
        &["compact", path(&dir)],
        &["convert", path(&dir), "--to", "ferula"],
        &["delete", path(&dir), "--match", "up"],
        &["repair", path(&dir)],
    ] {
        let (code, out, err) = ferula(arguments);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(err.contains("neither a log nor a block"), "{err}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 1);
    }
}

#[test]
fn a_damaged_block_does_not_keep_the_others_from_being_converted() {
    let dir = store(Ferula);
    let [first, second] = &blocks(dir.path())[..] else { panic!("two blocks") };
    flip(&first.join("chunks/000001"), 60);
    let (code, out, err) = ferula(&["convert", path(&dir), "--to", "prometheus"]);
    assert_eq!(code, Some(3), "{out}{err}");
    let name = |block: &std::path::Path| block.file_name().map(|n| n.to_owned());
    let made: Vec<&str> = out.lines().collect();
    assert_eq!(made.len(), 1);
    let left = blocks(dir.path());
    assert_eq!(left.len(), 2);
    assert!(left.contains(first) && !left.contains(second), "{left:?}");
    assert!(left.iter().any(|block| name(block) == Some(made[0].into())));
    assert!(err.contains(&first.display().to_string()) && err.contains("not converted"), "{err}");
}

#[test]
fn shells_complete_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, out, _) = ferula(&["completions", shell]);
        assert_eq!(code, Some(0));
        assert!(out.contains("analyze") && out.contains("verify"), "{shell}");
    }
}

#[test]
fn a_query_is_answered_in_json() {
    let dir = store(Ferula);
    let found = json(0, &["query", path(&dir), "up", "--time", "1699999200", "--json"]);
    assert_eq!(found["resultType"], "vector");
    assert_eq!(found["result"][0]["value"][1], "1");
}

#[test]
fn the_machine_is_measured_and_nothing_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = ["--series", "50", "--samples", "500", "--dir", path(&dir)];
    let measured = json(0, &[&["bench", "--json"], &small[..]].concat());
    assert_eq!(measured["samples"], 25_000);
    for field in ["append_seconds", "query_samples_per_second", "block_bytes"] {
        assert!(measured[field].as_f64() > Some(0.0), "{measured}");
    }
    let (code, out, err) = ferula(&[&["bench"], &small[..]].concat());
    assert_eq!((code, err.as_str(), out.lines().count()), (Some(0), "", 4));
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0);
    let (code, _, err) = ferula(&["bench", "--dir", "/nowhere/at-all"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("/nowhere/at-all"), "{err}");
}
