//! `ferula verify` finds what is damaged, and where.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::{blocks, content, ferula, flip, json, path, store};
use ferula_tsdb::BlockFormat::{Ferula, Prometheus};
use serde_json::Value;

/// The only damage that is found, which is in `file`.
fn damage(dir: &Path, file: &Path) -> Value {
    let found = json(3, &["verify", dir.to_str().unwrap(), "--json"]);
    let damage = found["damage"].as_array().unwrap();
    assert!(!damage.is_empty(), "{found}");
    for finding in damage {
        assert_eq!(finding["file"], file.to_str().unwrap(), "{finding}");
    }
    damage[0].clone()
}

#[test]
fn an_intact_directory_is_read_whole_and_left_alone() {
    for format in [Ferula, Prometheus] {
        let dir = store(format);
        let before = content(dir.path());
        let found = json(0, &["verify", path(&dir), "--json"]);
        assert_eq!(found["blocks"], 2);
        assert_eq!(found["series"], 11 + 21);
        assert_eq!(found["samples"], 240 * (11 + 21));
        assert!(found["log_records"].as_u64().unwrap() > 100);
        assert_eq!(
            (found["damage"].clone(), found["notes"].clone()),
            (Value::Array(vec![]), Value::Array(vec![]))
        );
        let (code, out, err) = ferula(&["verify", path(&dir)]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.ends_with(": intact\n"), "{out}");
        assert_eq!(content(dir.path()), before);
    }
}

#[test]
fn each_part_is_named_when_it_is_damaged() {
    for format in [Ferula, Prometheus] {
        let dir = store(format);
        let block = &blocks(dir.path())[1];
        for (name, at, has_offset) in [
            ("chunks/000001", 200, true),
            ("index", 60, true),
            ("tombstones", 3, true),
            ("meta.json", 5, false),
        ] {
            let file = block.join(name);
            let intact = fs::read(&file).unwrap();
            flip(&file, at);
            let found = damage(dir.path(), &file);
            assert_eq!(found["offset"].is_u64(), has_offset, "{found}");
            fs::write(&file, intact).unwrap();
        }
        let file = block.join("index");
        fs::remove_file(&file).unwrap();
        damage(dir.path(), &file);
        let (code, out, _) = ferula(&["verify", path(&dir)]);
        assert_eq!(code, Some(3));
        assert!(out.contains(file.to_str().unwrap()) && out.ends_with(": 1 damaged\n"), "{out}");
    }
}

#[test]
fn every_chunk_that_is_damaged_is_named() {
    let dir = store(Prometheus);
    let file = blocks(dir.path())[0].join("chunks/000001");
    let len = fs::read(&file).unwrap().len();
    for at in [100, len / 2, len - 20] {
        flip(&file, at);
    }
    let found = json(3, &["verify", path(&dir), "--json"]);
    assert_eq!(found["damage"].as_array().unwrap().len(), 3, "{found}");
    assert_eq!(found["blocks"], 2);
}

#[test]
fn the_log_is_read_on_behind_what_is_damaged() {
    let dir = store(Ferula);
    let wal = dir.path().join("wal");
    let mut segments: Vec<_> = fs::read_dir(&wal).unwrap().map(|one| one.unwrap().path()).collect();
    segments.retain(|path| path.is_file());
    segments.sort();
    let last = segments.pop().unwrap();
    let len = fs::metadata(&last).unwrap().len();
    // A torn end is what a crash leaves, and nothing was acknowledged of it.
    let mut bytes = fs::read(&last).unwrap();
    bytes.extend_from_slice(&[1, 0, 200, 9, 9, 9, 9, 1, 2, 3]);
    fs::write(&last, bytes).unwrap();
    let found = json(0, &["verify", path(&dir), "--json"]);
    let note = &found["notes"][0];
    assert_eq!(
        (note["file"].as_str(), note["offset"].as_u64().map(|at| at <= len)),
        (last.to_str(), Some(true))
    );
    // Damage in the middle is another matter.
    let n_records = found["log_records"].as_u64();
    let before = segments.pop().unwrap();
    flip(&before, 40);
    damage(dir.path(), &before);
    let found = json(3, &["verify", path(&dir), "--json"]);
    assert!(found["log_records"].as_u64() < n_records);
    assert_eq!(found["notes"].as_array().map(Vec::len), Some(1), "the end is still looked at");
}

#[test]
fn leftovers_are_noted() {
    let dir = store(Ferula);
    let left = dir.path().join("01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp-for-creation");
    fs::create_dir(&left).unwrap();
    let found = json(0, &["verify", path(&dir), "--json"]);
    assert_eq!(found["notes"][0]["file"], left.to_str().unwrap());
}

#[cfg(unix)]
#[test]
fn what_may_not_be_read_is_told() {
    use std::os::unix::fs::PermissionsExt;

    let dir = store(Prometheus);
    let file = blocks(dir.path())[0].join("chunks/000001");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    // Whoever may do everything reads it all the same.
    if fs::File::open(&file).is_err() {
        let found = damage(dir.path(), &file);
        assert!(found["reason"].as_str().unwrap().contains("ermission"), "{found}");
    }
    let (code, _, err) = ferula(&["verify", "/nowhere/ferula-data"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("/nowhere/ferula-data"), "{err}");
}
