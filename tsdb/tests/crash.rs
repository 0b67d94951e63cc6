//! The workload is stopped, or fails, at each of its operations, and the database opened again: no
//! acknowledged sample is lost, no batch is half there, nothing is invented, and opening once more
//! changes nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::{Content, all, labels};
use ferula_chunkenc::Sample;
use ferula_index::Labels;
use ferula_tsdb::{Db, Error, Options, SyncPolicy};
use ferula_wal::fs::{Fault, FaultFs, Fs, Survival};

/// Batches of the workload, one per second.
const N_BATCHES: i64 = 50;

/// Length of a block.
const RANGE: i64 = 10_000;

/// What the workload has tried, and what it was told.
#[derive(Debug, Default)]
struct Told {
    /// Batches whose commit was called.
    tried: i64,
    /// Batches whose commit returned without an error: those below this number.
    acknowledged: i64,
    /// Whether a commit has failed since the last opening.
    has_failed: bool,
}

/// The series of batch `n`: two that are always there, one that comes and goes.
fn series_of(n: i64) -> Vec<Labels> {
    let of = |name: &str| labels(&[("__name__", name), ("job", "crash")]);
    vec![of("always"), of(&format!("sometimes_{}", n / 12)), of("too")]
}

fn options() -> Options {
    Options::builder()
        .sync(SyncPolicy::Always)
        .block_range_ms(RANGE)
        .wal_segment_bytes(32 << 10)
        .maintenance_interval(None)
        .build()
        .unwrap()
}

fn open(fs: &FaultFs) -> Result<Db, Error> {
    Db::open_with(Arc::new(fs.clone()), Path::new("/data"), options())
}

/// Appends, cuts and compacts blocks, condenses the log, closes and opens again. Goes on after errors as long
/// as there is a database.
fn work(fs: &FaultFs, told: &mut Told) -> Result<(), Error> {
    let mut db = open(fs)?;
    for n in 0..N_BATCHES {
        if n % 23 == 22 {
            let _ = if n % 2 == 0 { db.close() } else { Ok(()) };
            drop(db);
            db = open(fs)?;
        }
        told.tried = n + 1;
        // What failed is tried once more. It may have been logged, and is there already then.
        for _ in 0..2 {
            let mut appender = db.appender();
            for series in series_of(n) {
                appender.append(&series, n * 1000, n as f64).expect("in order, or there already");
            }
            told.has_failed = appender.commit().is_err();
            told.acknowledged += i64::from(!told.has_failed);
            // What is in files cannot be read from a machine that has stopped.
            if !fs.is_stopped() {
                let seen = batches(&all(&db));
                assert_eq!(seen, told.acknowledged, "reads go on, and see what was acknowledged");
            }
            if !told.has_failed {
                break;
            }
        }
        let _ = db.maintain();
        if told.has_failed {
            return Ok(());
        }
    }
    db.close()
}

/// Number of batches in `content`, which must be whole and the first ones.
fn batches(content: &Content) -> i64 {
    let mut found: BTreeMap<i64, Vec<&Labels>> = BTreeMap::new();
    for (labels, samples) in content {
        for Sample { timestamp, value } in samples {
            assert_eq!(*timestamp as f64, value * 1000.0, "invented sample of {labels}");
            found.entry(timestamp / 1000).or_default().push(labels);
        }
    }
    for (expected, (n, series)) in (0..).zip(&found) {
        assert_eq!(*n, expected, "a batch is missing before {n}");
        let mut whole = series_of(*n);
        whole.sort();
        assert_eq!(series.iter().copied().cloned().collect::<Vec<_>>(), whole, "half a batch {n}");
    }
    found.len() as i64
}

/// Opens what a crash has left and checks it against what the workload was told.
fn check(fs: &FaultFs, told: &Told, context: &str) {
    let db = open(fs).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let content = all(&db);
    let found = batches(&content);
    assert!(found >= told.acknowledged, "{context}: {found} batches, told {told:?}");
    assert!(found <= told.tried, "{context}: {found} batches, told {told:?}");
    assert_eq!(db.open_report().quarantined, [], "{context}");
    drop(db);
    // What opening found is durable, even if the power goes at once.
    let again = fs.crash(Survival::Nothing);
    let db = open(&again).unwrap_or_else(|error| panic!("{context}, again: {error:?}"));
    assert_eq!(all(&db), content, "{context}: a second opening changes nothing");
    let names = again.list(Path::new("/data")).unwrap();
    assert!(!names.iter().any(|entry| entry.name.contains(".tmp")), "{context}: {names:?}");
    // And it goes on.
    let mut appender = db.appender();
    let next = 1_000_000;
    appender.append(&labels(&[("a", "next")]), next, 0.0).unwrap();
    appender.commit().unwrap();
    assert_eq!(all(&db).len(), content.len() + 1, "{context}");
}

fn operations() -> u64 {
    let fs = FaultFs::new();
    let mut told = Told::default();
    work(&fs, &mut told).unwrap();
    assert_eq!(told.acknowledged, N_BATCHES);
    let blocks = fs.list(Path::new("/data")).unwrap();
    let metas: Vec<String> = blocks
        .iter()
        .filter_map(|entry| fs.read(&Path::new("/data").join(&entry.name).join("meta.json")).ok())
        .map(|meta| String::from_utf8(meta).unwrap())
        .collect();
    assert!(metas.len() > 1, "blocks are cut: {blocks:?}");
    assert!(metas.iter().any(|meta| meta.contains("parents")), "and compacted: {metas:?}");
    let wal = fs.list(Path::new("/data/wal")).unwrap();
    assert!(wal.iter().any(|entry| entry.name.starts_with("checkpoint.")), "{wal:?}");
    check(&fs.crash(Survival::Nothing), &told, "at the end");
    fs.operations()
}

fn stop_everywhere(survival: impl Fn(u64) -> Survival) {
    for operation in 0..operations() {
        let fs = FaultFs::new();
        fs.inject(operation, Fault::Stop);
        let mut told = Told::default();
        let _ = work(&fs, &mut told);
        let survival = survival(operation);
        check(&fs.crash(survival), &told, &format!("operation {operation}, {survival:?}"));
    }
}

fn fail_everywhere(fault: Fault) {
    for operation in 0..operations() {
        let fs = FaultFs::new();
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
fn stopped_with_the_last_writes_lost() {
    stop_everywhere(Survival::Prefix);
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
