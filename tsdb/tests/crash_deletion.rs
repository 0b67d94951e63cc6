//! Deleting, compacting and cleaning are stopped, or fail, at each of their operations, and the
//! database opened again: what was acknowledged as deleted is gone, nothing else is, and all goes
//! on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Content, RANGE, all, scrape, short_blocks};
use ferula_index::Matcher;
use ferula_tsdb::{Db, Error};
use ferula_wal::fs::{Fault, FaultFs, Fs, Survival};

const N_SERIES: usize = 4;

/// What is deleted: a series, from and to.
const DELETIONS: [(&str, i64, i64); 5] = [
    ("0", 30_000, 100_000),
    ("1", i64::MIN, 2 * RANGE),
    ("1", 2 * RANGE, i64::MAX),
    ("2", 5 * RANGE, 5 * RANGE + 10_000),
    ("3", 6 * RANGE - 5_000, 6 * RANGE + 5_000),
];

/// How many deletions were tried, and which were acknowledged.
#[derive(Debug, Default)]
struct Told {
    tried: usize,
    acknowledged: Vec<usize>,
}

fn open(fs: &FaultFs) -> Result<Db, Error> {
    Db::open_with(Arc::new(fs.clone()), Path::new("/data"), short_blocks())
}

/// Samples that are in no block to begin with.
const END: i64 = 6 * RANGE + 20_000;

/// A directory of six blocks and some samples behind them, everything in it durable.
fn blocks() -> FaultFs {
    let fs = FaultFs::new();
    let db = open(&fs).unwrap();
    scrape(&db, N_SERIES, 0, 6 * RANGE);
    assert_eq!(db.compact_head().unwrap().len(), 6);
    scrape(&db, N_SERIES, 6 * RANGE, END);
    db.close().unwrap();
    drop(db);
    fs.crash(Survival::Nothing)
}

/// Deletes, compacts and cleans, going on after errors as long as there is a database.
fn work(fs: &FaultFs, told: &mut Told) -> Result<(), Error> {
    let db = open(fs)?;
    let mut result = Ok(());
    for (n, (series, mint, maxt)) in DELETIONS.into_iter().enumerate() {
        told.tried = n + 1;
        let deleted = db.delete(&[Matcher::equal("n", series)], mint, maxt);
        if deleted.is_ok() {
            told.acknowledged.push(n);
        }
        let done = match n {
            1 => db.compact().map(drop),
            2 => db.clean_tombstones().map(drop),
            3 => db.compact_head().map(drop),
            _ => Ok(()),
        };
        result = result.and(deleted).and(done);
        // Reads go on, whatever failed.
        check_content(&all(&db), told, "while it works");
    }
    result.and(db.compact().map(drop)).and(db.close())
}

/// Checks that each sample is there unless its deletion was tried, and is not there if that was
/// acknowledged.
fn check_content(content: &Content, told: &Told, context: &str) {
    for series in 0..N_SERIES {
        let name = series.to_string();
        let is_deleted_by = |n: usize, time: i64| {
            let (series, mint, maxt) = DELETIONS[n];
            series == name && (mint..=maxt).contains(&time)
        };
        let found = content.iter().find(|(labels, _)| labels.get("n") == Some(&name));
        let mut samples = found.map(|(_, samples)| samples.as_slice()).unwrap_or_default().iter();
        let mut next = samples.next();
        for time in (0..END).step_by(1000) {
            let is_there = next.is_some_and(|sample| sample.timestamp == time);
            if is_there {
                let gone = told.acknowledged.iter().any(|n| is_deleted_by(*n, time));
                assert!(!gone, "{context}: {name} at {time} is there, {told:?}");
                let value = next.unwrap().value;
                assert_eq!(value, time as f64 + series as f64, "{context}: {name} at {time}");
                next = samples.next();
            } else {
                let tried = (0..told.tried).any(|n| is_deleted_by(n, time));
                assert!(tried, "{context}: {name} at {time} is lost, {told:?}");
            }
        }
        assert_eq!(next, None, "{context}: invented");
    }
}

fn check(fs: &FaultFs, told: &Told, context: &str) {
    let db = open(fs).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let content = all(&db);
    check_content(&content, told, context);
    assert_eq!(db.open_report().quarantined, [], "{context}");
    assert_eq!(db.stats().compaction.failed, 0);
    drop(db);
    let again = fs.crash(Survival::Nothing);
    let db = open(&again).unwrap_or_else(|error| panic!("{context}, again: {error:?}"));
    assert_eq!(all(&db), content, "{context}: a second opening changes nothing");
    let names = again.list(Path::new("/data")).unwrap();
    assert!(!names.iter().any(|entry| entry.name.contains(".tmp")), "{context}: {names:?}");
    // Nothing is marked as failed for what the disk did, and all goes on.
    assert!(db.stats().blocks.iter().all(|meta| !meta.compaction.failed), "{context}");
    db.compact().unwrap();
    db.clean_tombstones().unwrap();
    assert_eq!(all(&db), content, "{context}: compacting changes nothing");
    assert!(db.stats().blocks.len() <= 5, "{context}: {:?}", db.stats().blocks);
}

fn operations(blocks: &FaultFs) -> u64 {
    let fs = blocks.crash(Survival::Nothing);
    let mut told = Told::default();
    work(&fs, &mut told).unwrap();
    assert_eq!(told.acknowledged.len(), DELETIONS.len());
    check(&fs.crash(Survival::Nothing), &told, "at the end");
    fs.operations()
}

fn stop_everywhere(survival: impl Fn(u64) -> Survival) {
    let blocks = blocks();
    for operation in 0..operations(&blocks) {
        let fs = blocks.crash(Survival::Nothing);
        fs.inject(operation, Fault::Stop);
        let mut told = Told::default();
        let _ = work(&fs, &mut told);
        let survival = survival(operation);
        check(&fs.crash(survival), &told, &format!("operation {operation}, {survival:?}"));
    }
}

fn fail_everywhere(fault: Fault) {
    let blocks = blocks();
    for operation in 0..operations(&blocks) {
        let fs = blocks.crash(Survival::Nothing);
        fs.inject(operation, fault);
        let mut told = Told::default();
        let _ = work(&fs, &mut told);
        let context = format!("operation {operation}, {fault:?}");
        check(&fs.crash(Survival::Nothing), &told, &context);
    }
}

#[test]
fn stopped_with_all_that_was_not_synced_lost() {
    stop_everywhere(|_| Survival::Nothing);
}

#[test]
fn stopped_with_nothing_lost() {
    stop_everywhere(|_| Survival::Everything);
}

#[test]
fn stopped_with_writes_reordered() {
    stop_everywhere(Survival::Suffix);
}

#[test]
fn stopped_with_writes_torn() {
    stop_everywhere(Survival::Scattered);
}

#[test]
fn operations_fail() {
    fail_everywhere(Fault::Io);
}

#[test]
fn the_disk_is_full() {
    fail_everywhere(Fault::NoSpace);
}
