//! Blocks of other directories are taken over.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use common::{RANGE, all, commit, labels, names, sample, scrape, short_blocks};
use ferula_tsdb::{Db, Error};
use ferula_wal::fs::{Fault, FaultFs, Survival};

#[test]
fn the_log_keeps_what_a_block_overlaps() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    scrape(&db, 2, 0, 2 * RANGE);
    db.maintain().unwrap();
    let other = tempfile::tempdir().unwrap();
    let source = Db::open(other.path(), short_blocks()).unwrap();
    let series = labels(&[("other", "series")]);
    let mut batch = source.appender();
    for n in 0..5 {
        batch.append(&series, n * RANGE / 2 + 7, 1.0).unwrap();
    }
    batch.commit().unwrap();
    source.compact_head().unwrap();
    let mut expected = all(&db);
    expected.extend(all(&source));
    let report = db.import_blocks(other.path(), &mut |done, all| assert!(done <= all)).unwrap();
    assert_eq!(report.blocks.len(), 3);
    assert!(report.known.is_empty() && report.damaged.is_empty() && report.has_log);
    // At once, after a crash, and when the head is cut and all is compacted.
    assert!(all(&db) == expected);
    drop(db);
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert!(all(&db) == expected);
    db.compact_head().unwrap();
    db.compact().unwrap();
    assert!(all(&db) == expected);
    assert_eq!(db.import_blocks(other.path(), &mut |_, _| {}).unwrap().known.len(), 3);
}

/// A directory of another store with three blocks.
fn other_blocks() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    scrape(&db, 2, 0, 3 * RANGE);
    assert_eq!(db.compact_head().unwrap().len(), 3);
    dir
}

#[test]
fn the_head_is_cut_while_blocks_are_taken_over() {
    let other = other_blocks();
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(dir.path(), short_blocks()).unwrap());
    scrape(&db, 3, 0, 2 * RANGE);
    let mut cut = None;
    let report = db.import_blocks(other.path(), &mut |_, _| {
        cut.get_or_insert_with(|| {
            let (db, (send, receive)) = (Arc::clone(&db), mpsc::channel());
            // Not joined: what waits for the import would wait for ever.
            thread::spawn(move || send.send(db.compact_head().map(|made| made.len())));
            receive.recv_timeout(Duration::from_secs(30)).expect("it does not wait")
        });
    });
    assert_eq!(report.unwrap().blocks.len(), 3);
    assert_eq!(cut.unwrap().unwrap(), 2);
    // What the log had is in blocks when the others get their names.
    let content = all(&db);
    assert_eq!(
        content.iter().map(|(_, samples)| samples.len()).collect::<Vec<_>>(),
        [180, 180, 120]
    );
    drop(db);
    assert!(all(&Db::open(dir.path(), short_blocks()).unwrap()) == content);
}

#[test]
fn closing_ends_taking_over_at_the_next_block() {
    let other = other_blocks();
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(dir.path(), short_blocks()).unwrap());
    let mut closing = None;
    let failed = db.import_blocks(other.path(), &mut |done, _| {
        if done > 0 && closing.is_none() {
            let owner = Arc::clone(&db);
            closing = Some(thread::spawn(move || owner.close()));
            while db.querier(0, 0).is_ok() {
                thread::yield_now();
            }
            assert!(Db::open(dir.path(), short_blocks()).is_err(), "the directory is not free yet");
        }
    });
    assert!(matches!(failed, Err(Error::Closed)), "{failed:?}");
    closing.unwrap().join().unwrap().unwrap();
    assert!(!names(dir.path()).iter().any(|name| name.contains(".tmp")));
    assert!(Db::open(dir.path(), short_blocks()).unwrap().stats().blocks.len() <= 1);
}

#[test]
fn a_damaged_block_of_the_same_name_stays() {
    let other = other_blocks();
    let dir = tempfile::tempdir().unwrap();
    let name = names(other.path()).into_iter().find(|name| name.len() == 26).unwrap();
    let damaged = dir.path().join(&name);
    fs::create_dir(&damaged).unwrap();
    fs::write(damaged.join("meta.json"), "{").unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    let failed = db.import_blocks(other.path(), &mut |_, _| {}).unwrap_err();
    assert!(matches!(&failed, Error::NotEmpty { dir } if *dir == damaged), "{failed:?}");
    db.maintain().unwrap();
    assert_eq!(fs::read_to_string(damaged.join("meta.json")).unwrap(), "{");
    assert!(!names(dir.path()).iter().any(|name| name.contains(".tmp")));
}

#[test]
fn a_block_is_taken_over_whole_or_not_at_all() {
    let disk = FaultFs::new();
    let open =
        |fs: &FaultFs, dir: &str| Db::open_with(Arc::new(fs.clone()), dir, short_blocks()).unwrap();
    let source = open(&disk, "/other");
    commit(&source, &labels(&[("other", "x")]), &[sample(5, 1.0), sample(RANGE + 5, 2.0)]);
    source.compact_head().unwrap();
    let theirs = all(&source);
    let db = open(&disk, "/data");
    commit(&db, &labels(&[("own", "x")]), &[sample(5, 3.0), sample(RANGE + 5, 4.0)]);
    let own = all(&db);
    source.close().unwrap();
    db.close().unwrap();
    let disk = disk.crash(Survival::Everything);

    // How many of the two samples of the other directory are here; everything else stays.
    let n_taken = |fs: &FaultFs| {
        assert!(all(&open(fs, "/other")) == theirs);
        let db = open(fs, "/data");
        assert_eq!(db.open_report().quarantined, []);
        let content = all(&db);
        assert!(content.last() == own.last());
        content.iter().filter(|(labels, _)| *labels == theirs[0].0).map(|(_, s)| s.len()).sum()
    };
    let n_operations = {
        let fs = disk.crash(Survival::Everything);
        let db = open(&fs, "/data");
        let before = fs.operations();
        assert_eq!(db.import_blocks("/other", &mut |_, _| {}).unwrap().blocks.len(), 2);
        fs.operations() - before
    };
    assert!(n_operations > 20, "{n_operations}");
    let mut partial = 0;
    for operation in 0..n_operations {
        for fault in [Fault::NoSpace, Fault::Io, Fault::Stop] {
            let fs = disk.crash(Survival::Everything);
            let db = open(&fs, "/data");
            fs.inject(fs.operations() + operation, fault);
            let outcome = db.import_blocks("/other", &mut |_, _| {});
            if fault != Fault::Stop {
                // The next attempt takes the rest.
                fs.clear_faults();
                db.import_blocks("/other", &mut |_, _| {}).unwrap();
            }
            let survivals =
                [Survival::Nothing, Survival::Everything, Survival::Scattered(operation)];
            let taken: [usize; 3] = survivals.map(|survival| n_taken(&fs.crash(survival)));
            if outcome.is_ok() || fault != Fault::Stop {
                assert_eq!(taken, [2; 3], "operation {operation}, {fault:?}");
            }
            partial += usize::from(taken[1] == 1);
        }
    }
    assert!(partial > 0, "some stop between the two blocks");
}
