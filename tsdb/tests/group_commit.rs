//! Commits of several threads share syncs, and a failed sync ends all of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use common::{all, labels, sample};
use ferula_tsdb::{Db, Error, Options, SyncPolicy};
use ferula_wal::fs::{Fault, FaultFs, Survival};

const N_THREADS: i64 = 4;

fn open(fs: &FaultFs) -> Db {
    let builder = Options::builder().sync(SyncPolicy::Always).maintenance_interval(None);
    let options = builder.wal_segment_bytes(32 << 10).build().unwrap();
    Db::open_with(Arc::new(fs.clone()), Path::new("/data"), options).unwrap()
}

/// Commits one sample per batch in each thread until a commit fails; returns how many were
/// acknowledged to each.
fn work(db: &Db, n_batches: i64) -> Vec<i64> {
    let acknowledged: Vec<AtomicI64> = (0..N_THREADS).map(|_| AtomicI64::new(0)).collect();
    thread::scope(|scope| {
        for (n, acknowledged) in acknowledged.iter().enumerate() {
            scope.spawn(move || {
                let series = labels(&[("thread", &n.to_string())]);
                for t in 0..n_batches {
                    let mut batch = db.appender();
                    batch.append(&series, t, 1.0).unwrap();
                    if batch.commit().is_err() {
                        return;
                    }
                    acknowledged.store(t + 1, Ordering::Release);
                }
            });
        }
    });
    acknowledged.into_iter().map(AtomicI64::into_inner).collect()
}

fn counts(db: &Db) -> Vec<i64> {
    let mut counts = vec![0; usize::try_from(N_THREADS).unwrap()];
    for (labels, samples) in all(db) {
        let expected: Vec<_> = (0..).take(samples.len()).map(|t| sample(t, 1.0)).collect();
        assert_eq!(samples, expected, "a prefix of what {labels} committed");
        let thread: usize = labels.get("thread").unwrap().parse().unwrap();
        counts[thread] = i64::try_from(samples.len()).unwrap();
    }
    counts
}

#[test]
fn all_threads_find_what_was_acknowledged() {
    let fs = FaultFs::new();
    let db = open(&fs);
    assert_eq!(work(&db, 200), [200; 4]);
    assert_eq!(counts(&db), [200; 4]);
    let fs = fs.crash(Survival::Nothing);
    assert_eq!(counts(&open(&fs)), [200; 4]);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_reads_go_on() {
    for fault in [Fault::Io, Fault::NoSpace] {
        for operation in (30..200).step_by(7) {
            let fs = FaultFs::new();
            let db = open(&fs);
            fs.inject(operation, fault);
            let acknowledged = work(&db, 200);
            assert_eq!(counts(&db), acknowledged, "what is visible is what was acknowledged");
            let mut batch = db.appender();
            batch.append(&labels(&[("another", "series")]), 0, 1.0).unwrap();
            assert!(matches!(batch.commit(), Err(Error::LogFailed)));
            assert_eq!(counts(&db), acknowledged);
            drop(db);
            let reopened = open(&fs.crash(Survival::Nothing));
            let found = counts(&reopened);
            assert!(found.iter().zip(&acknowledged).all(|(found, told)| found >= told));
        }
    }
}
