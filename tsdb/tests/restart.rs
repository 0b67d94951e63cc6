//! What opening makes the head of: a snapshot, chunk files, the log. Whatever it is made of, it is the
//! same, and what does not fit together is given up and made anew from the log.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Content, all, labels, names, options, read, sample, scrape};
use ferula_tsdb::{Db, OpenReport, Options};

/// Length of a block, in milliseconds: a chunk lasts a bit more than a tenth of it.
const RANGE: i64 = 1_000_000;

const SNAPSHOT: &str = "head_snapshot";

fn long_blocks() -> Options {
    let mut options = options();
    options.block_range_ms = RANGE;
    options
}

fn open(dir: &Path) -> Db {
    Db::open(dir, long_blocks()).unwrap()
}

/// The directory as a process would leave it that is killed now.
fn killed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut pending = vec![PathBuf::new()];
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(dir.join(&at)).unwrap() {
            let at = at.join(entry.unwrap().file_name());
            if dir.join(&at).is_dir() {
                fs::create_dir(copy.path().join(&at)).unwrap();
                pending.push(at);
            } else {
                fs::copy(dir.join(&at), copy.path().join(&at)).unwrap();
            }
        }
    }
    copy
}

/// A database with chunks in files, in memory and open ones.
fn filled(dir: &Path) -> Db {
    let db = open(dir);
    scrape(&db, 50, 0, 450_000);
    db.maintain().unwrap();
    scrape(&db, 70, 450_000, 700_000);
    assert!(db.stats().n_chunks > 300);
    db
}

/// Opens a directory twice, kills it after the first time, and returns what the first one told.
fn reopen(dir: &Path, expected: &Content) -> OpenReport {
    let db = open(dir);
    assert_eq!(all(&db), *expected);
    assert!(!dir.join(SNAPSHOT).exists(), "it is used once");
    let again = killed(dir);
    let report = db.open_report().clone();
    let again = open(again.path());
    assert_eq!(all(&again), *expected, "a second opening changes nothing");
    assert!(!again.open_report().from_snapshot);
    // It goes on.
    scrape(&db, 80, 700_000, 1_200_000);
    let (mut more, before) = (all(&db), expected.clone());
    assert_eq!(more.len(), 80);
    for (_, samples) in &mut more {
        samples.retain(|sample| sample.timestamp < 700_000);
    }
    more.retain(|(_, samples)| !samples.is_empty());
    assert_eq!(more, before);
    report
}

#[test]
fn a_clean_shutdown_is_as_good_as_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let db = filled(dir.path());
    let expected = all(&db);
    let sizes = (db.stats().n_series, db.stats().n_chunks);
    let range = (db.stats().head_mint, db.stats().head_maxt);
    let killed = killed(dir.path());
    db.close().unwrap();
    assert!(dir.path().join(SNAPSHOT).exists());

    let (of_log, of_snapshot) = (open(killed.path()), open(dir.path()));
    for db in [&of_log, &of_snapshot] {
        assert_eq!((db.stats().n_series, db.stats().n_chunks), sizes);
        assert_eq!((db.stats().head_mint, db.stats().head_maxt), range);
    }
    drop((of_log, of_snapshot));
    let report = reopen(dir.path(), &expected);
    assert_eq!((report.from_snapshot, report.snapshot_failure, report.records), (true, None, 0));
    assert_eq!(report.series, 70);
    let report = reopen(killed.path(), &expected);
    assert!(report.from_snapshot, "it was closed meanwhile");
}

#[test]
fn what_is_deleted_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let db = filled(dir.path());
    let before = all(&db);
    let one = [ferula_index::Matcher::equal("n", "3")];
    db.delete(&one, 100_000, 500_000).unwrap();
    scrape(&db, 70, 700_000, 710_000);
    let expected = all(&db);
    assert_ne!(expected, before);
    let killed = killed(dir.path());
    db.close().unwrap();
    for (dir, is_snapshot) in [(dir.path(), true), (killed.path(), false), (dir.path(), true)] {
        let db = open(dir);
        assert_eq!(db.open_report().from_snapshot, is_snapshot);
        assert_eq!(all(&db), expected);
    }
}

#[test]
fn chunks_in_files_are_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let db = filled(dir.path());
    let expected = all(&db);
    let killed = killed(dir.path());
    let report = reopen(killed.path(), &expected);
    assert!(!report.from_snapshot);
    assert_eq!(report.chunk_file_failure, None);
    assert!(report.loaded_chunks >= 150, "{report:?}");
    let n_samples: usize = expected.iter().map(|(_, samples)| samples.len()).sum();
    assert_eq!(report.samples, n_samples as u64);

    let read_only = Db::open_read_only(dir.path()).unwrap();
    assert_eq!(read(&read_only.querier(i64::MIN, i64::MAX).unwrap()), expected);
    assert_eq!(read_only.open_report().loaded_chunks, report.loaded_chunks);
}

#[test]
fn a_snapshot_that_does_not_fit_is_left_aside() {
    let dir = tempfile::tempdir().unwrap();
    let db = filled(dir.path());
    let expected = all(&db);
    db.close().unwrap();
    let check = |what: &str, failure: &str, change: &dyn Fn(&Path)| {
        let dir = killed(dir.path());
        change(dir.path());
        let report = reopen(dir.path(), &expected);
        assert!(!report.from_snapshot, "{what}");
        let found = report.snapshot_failure.unwrap_or_default();
        assert!(found.contains(failure), "{what}: {found}");
    };
    let with_bytes = |name: &'static str, change: fn(&mut Vec<u8>)| {
        move |dir: &Path| {
            let mut bytes = fs::read(dir.join(name)).unwrap();
            change(&mut bytes);
            fs::write(dir.join(name), bytes).unwrap();
        }
    };
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    check("flipped", "checksum", &with_bytes(SNAPSHOT, flip));
    check("cut", "needed", &with_bytes(SNAPSHOT, |bytes| bytes.truncate(bytes.len() - 1)));
    check("empty", "needed", &with_bytes(SNAPSHOT, Vec::clear));
    check("newer", "version 2, expected 1", &with_bytes(SNAPSHOT, |bytes| bytes[4] = 2));
    let files = "chunks_head/000001";
    check(
        "chunk files cut",
        "chunk files changed",
        &with_bytes(files, |b| b.truncate(b.len() / 2)),
    );
    check("no chunk files", "chunk files changed", &|dir| {
        fs::remove_dir_all(dir.join("chunks_head")).unwrap();
    });
    check("unfinished", "", &|dir| {
        fs::rename(dir.join(SNAPSHOT), dir.join("head_snapshot.tmp")).unwrap();
    });
    check("none", "", &|dir| fs::remove_file(dir.join(SNAPSHOT)).unwrap());
}

#[test]
fn a_snapshot_of_an_earlier_log_is_left_aside() {
    let dir = tempfile::tempdir().unwrap();
    let db = filled(dir.path());
    db.close().unwrap();
    let old = fs::read(dir.path().join(SNAPSHOT)).unwrap();
    let db = open(dir.path());
    scrape(&db, 70, 700_000, 900_000);
    let expected = all(&db);
    let killed = killed(dir.path());
    fs::write(killed.path().join(SNAPSHOT), &old).unwrap();
    let db = open(killed.path());
    assert_eq!(all(&db), expected);
    assert!(db.open_report().snapshot_failure.as_ref().unwrap().contains("the log changed"));
}

#[test]
fn a_snapshot_is_made_only_if_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = long_blocks();
    options.head_snapshot = false;
    let db = Db::open(dir.path(), options.clone()).unwrap();
    scrape(&db, 3, 0, 10_000);
    let expected = all(&db);
    db.close().unwrap();
    assert!(!names(dir.path()).contains(&SNAPSHOT.to_owned()));
    // One that is there is used all the same.
    open(dir.path()).close().unwrap();
    let db = Db::open(dir.path(), options).unwrap();
    assert!(db.open_report().from_snapshot);
    assert_eq!(all(&db), expected);
}

#[test]
fn chunks_that_the_log_does_not_vouch_for_are_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    scrape(&db, 20, 0, 100_000);
    let short = killed(dir.path());
    let expected = all(&db);
    scrape(&db, 20, 100_000, 400_000);
    db.maintain().unwrap();
    // The end of the log did not reach the disk, but chunks did.
    fs::create_dir(short.path().join("chunks_head")).unwrap();
    let file = "chunks_head/000001";
    fs::copy(dir.path().join(file), short.path().join(file)).unwrap();
    let read_only = Db::open_read_only(short.path()).unwrap();
    assert_eq!(read(&read_only.querier(i64::MIN, i64::MAX).unwrap()), expected);
    assert!(short.path().join(file).exists());

    let db = open(short.path());
    assert_eq!(all(&db), expected);
    let report = db.open_report();
    assert!(report.chunk_file_failure.as_ref().unwrap().contains("the log does not"));
    assert_eq!((report.loaded_chunks, report.chunk_file_cut_bytes > 0), (0, true));
    assert!(!short.path().join(file).exists());
    // Other samples come in place of the ones that were lost.
    for t in 100..500 {
        let mut batch = db.appender();
        for i in 0..20 {
            let labels = labels(&[("__name__", "m"), ("job", "test"), ("n", &i.to_string())]);
            batch.append(&labels, t * 1000, -1.0).unwrap();
        }
        batch.commit().unwrap();
    }
    let expected = all(&db);
    db.maintain().unwrap();
    let db = open(killed(short.path()).path());
    assert_eq!(all(&db), expected);
    assert!(db.open_report().loaded_chunks > 0);
    assert_eq!(db.open_report().chunk_file_failure, None);
}

#[test]
fn damaged_chunk_files_are_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let db = filled(dir.path());
    let expected = all(&db);
    let len = fs::metadata(dir.path().join("chunks_head/000001")).unwrap().len();
    for at in [0, 5, len / 3, len / 2, len - 1] {
        let dir = killed(dir.path());
        let path = dir.path().join("chunks_head/000001");
        let mut bytes = fs::read(&path).unwrap();
        bytes[usize::try_from(at).unwrap()] ^= 0x40;
        fs::write(&path, bytes).unwrap();
        let report = reopen(dir.path(), &expected);
        // The padding of the header is not covered.
        assert_eq!(report.chunk_file_failure.is_some(), at != 5, "{at}: {report:?}");
    }
}

#[test]
fn a_series_that_came_back_under_another_ref_keeps_its_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let other = labels(&[("__name__", "other")]);
    let mut batch = db.appender();
    let first = batch.append(&other, 0, 1.0).unwrap();
    batch.commit().unwrap();
    // Its samples are in a block then, and it leaves the head; the log still names it.
    scrape(&db, 5, 0, 2 * RANGE);
    assert!(!db.compact_head().unwrap().is_empty());
    let times = (2 * RANGE..2 * RANGE + 700_000).step_by(1000);
    let mut second = first;
    for t in times {
        let mut batch = db.appender();
        second = batch.append(&other, t, t as f64).unwrap();
        batch.commit().unwrap();
    }
    assert_ne!(first, second);
    db.maintain().unwrap();
    let expected = all(&db);
    let mut dir = killed(dir.path());
    for n in 0..3 {
        let db = open(dir.path());
        assert_eq!(all(&db), expected);
        let report = db.open_report();
        assert_eq!(report.chunk_file_failure, None, "{report:?}");
        assert!(report.loaded_chunks > 2 || report.from_snapshot, "{report:?}");
        if n == 1 {
            db.close().unwrap();
        }
        dir = killed(dir.path());
    }
    let db = open(dir.path());
    common::commit(&db, &other, &[sample(3 * RANGE, 0.0)]);
    assert_eq!(all(&db).len(), expected.len());
}
