//! The program over directories that tests make.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use ferula_index::Labels;
use ferula_tsdb::{BlockFormat, Db, Options};
use serde_json::Value;
use tempfile::TempDir;

/// A whole range of blocks.
pub(crate) const START_MS: i64 = 1_699_999_200_000;

/// Two hours.
pub(crate) const RANGE_MS: i64 = 7_200_000;

/// Runs the program: exit code, standard output, standard error.
pub(crate) fn ferula(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ferula"))
        .args(arguments)
        .output()
        .expect("the program can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Runs the program, which ends with this code and writes JSON.
pub(crate) fn json(code: i32, arguments: &[&str]) -> Value {
    let (found, out, err) = ferula(arguments);
    assert_eq!(found, Some(code), "{arguments:?}: {out}{err}");
    serde_json::from_str(&out).expect("JSON")
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).expect("valid labels")
}

pub(crate) fn options(format: BlockFormat) -> Options {
    let builder = Options::builder().maintenance_interval(None).block_format(format);
    builder.build().expect("valid options")
}

/// A directory with blocks of two ranges and a head, of two metrics: `requests`, in 20 series of which
/// the last ten come later, and `up`. A sample each half minute.
pub(crate) fn store(format: BlockFormat) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Db::open(dir.path(), options(format)).expect("a new store");
    let step = 30_000;
    let mut n_batches = 0;
    let mut time = START_MS;
    while time < START_MS + 2 * RANGE_MS + RANGE_MS * 3 / 4 {
        let mut batch = db.appender();
        let n = if time < START_MS + RANGE_MS { 10 } else { 20 };
        for n in 0..n {
            let series = labels(&[
                ("__name__", "requests"),
                ("job", "gate"),
                ("path", &format!("/a/long/path/to/a/torch/{n}")),
            ]);
            let value = ((time - START_MS) / step * (n + 1)) as f64 / 8.0;
            batch.append(&series, time, value).expect("the sample is accepted");
        }
        let up = labels(&[("__name__", "up"), ("job", "gate")]);
        batch.append(&up, time, 1.0).expect("the sample is accepted");
        batch.commit().expect("the log can be written");
        time += step;
        n_batches += 1;
    }
    assert_eq!(n_batches, 660);
    db.maintain().expect("blocks can be cut");
    assert_eq!(db.stats().blocks.len(), 2);
    db.close().expect("the log can be synced");
    dir
}

pub(crate) fn path(dir: &TempDir) -> &str {
    dir.path().to_str().expect("a plain path")
}

/// Directories of the blocks, by name.
pub(crate) fn blocks(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut blocks: Vec<PathBuf> = paths.filter(|path| path.join("meta.json").exists()).collect();
    blocks.sort();
    blocks
}

/// All files below a directory with their contents, the lock left out.
pub(crate) fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(content(&path));
        } else if !path.ends_with("lock") {
            found.push((path.clone(), std::fs::read(&path).expect("a file")));
        }
    }
    found.sort();
    found
}

/// Changes a byte of a file.
pub(crate) fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("a file");
    bytes[at] ^= 0x55;
    std::fs::write(file, bytes).expect("it can be written");
}

/// A program, or nothing with a line on why the test is skipped.
pub(crate) fn program(name: &str, variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(PathBuf::from(path));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        println!("skipped: no {name} in PATH; set {variable} to its path");
    }
    found
}

/// Runs another program, which must succeed.
pub(crate) fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("it can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}
