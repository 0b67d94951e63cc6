//! A data directory is read without being changed, also while it is written to.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::{RANGE, all, commit, labels, names, read, sample, scrape, short_blocks};
use ferula_tsdb::{Db, ReadOnlyDb};

fn content(db: &ReadOnlyDb) -> common::Content {
    read(&db.querier(i64::MIN, i64::MAX).unwrap())
}

/// Names and lengths of all files below a directory.
fn listing(dir: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for name in names(dir) {
        let path = dir.join(&name);
        if path.is_dir() {
            found.extend(listing(&path));
        } else {
            found.push((path.display().to_string(), fs::metadata(&path).unwrap().len()));
        }
    }
    found
}

#[test]
fn a_directory_in_use_is_read_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    scrape(&db, 3, 0, 2 * RANGE);
    let reader = Db::open_read_only(dir.path()).unwrap();
    assert_eq!(content(&reader), all(&db));
    assert_eq!(reader.open_report().samples, 3 * 120);

    let old = reader.querier(i64::MIN, i64::MAX).unwrap();
    let before = all(&db);
    db.maintain().unwrap();
    scrape(&db, 3, 2 * RANGE, 3 * RANGE);
    assert_eq!(content(&reader), before, "as it was when it was read");
    reader.reload().unwrap();
    assert_eq!(content(&reader), all(&db));
    assert_eq!(reader.stats().blocks.len(), 1);
    assert_eq!(read(&old), before);
}

#[test]
fn nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    scrape(&db, 3, 0, 2 * RANGE);
    db.maintain().unwrap();
    let expected = all(&db);
    drop(db);
    // A torn end, as after a crash, and leftovers stay as they are.
    let last = names(&dir.path().join("wal")).pop().unwrap();
    let last = dir.path().join("wal").join(last);
    let mut bytes = fs::read(&last).unwrap();
    bytes.extend_from_slice(&[1, 0, 200, 9, 9, 9, 9, 1, 2, 3]);
    fs::write(&last, bytes).unwrap();
    fs::create_dir(dir.path().join("01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp-for-creation")).unwrap();
    let before = listing(dir.path());
    let reader = Db::open_read_only(dir.path()).unwrap();
    assert_eq!(content(&reader), expected);
    assert_eq!(listing(dir.path()), before);

    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert!(db.open_report().cut_bytes > 0);
    assert_eq!(all(&db), expected);
}

#[test]
fn a_directory_that_only_has_blocks_or_nothing_is_read() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(content(&Db::open_read_only(dir.path()).unwrap()), []);
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    commit(&db, &labels(&[("a", "b")]), &[sample(1, 1.0)]);
    db.compact_head().unwrap();
    let expected = all(&db);
    drop(db);
    fs::remove_dir_all(dir.path().join("wal")).unwrap();
    assert_eq!(content(&Db::open_read_only(dir.path()).unwrap()), expected);
    assert!(Db::open_read_only(dir.path().join("nowhere")).is_err());
}

#[test]
fn readers_come_along_while_blocks_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    scrape(&db, 2, 0, 1000);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let reader = Db::open_read_only(dir.path()).unwrap();
            let mut newest = 0;
            while newest < 8 * RANGE - 1000 {
                reader.reload().unwrap();
                let content = content(&reader);
                let times: Vec<i64> = content[0].1.iter().map(|sample| sample.timestamp).collect();
                let expected: Vec<i64> = (0..).map(|n| n * 1000).take(times.len()).collect();
                assert_eq!(times, expected, "no sample is missing in between");
                newest = *times.last().unwrap();
            }
        });
        for n in 0..8 * 6 {
            let from = n * RANGE / 6;
            scrape(&db, 2, from.max(1000), from + RANGE / 6);
            db.maintain().unwrap();
        }
        reader.join().unwrap();
    });
}
