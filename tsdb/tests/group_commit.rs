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
fn after_a_failure_the_log_goes_on_with_what_is_in_doubt() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::Lost] {
        for operation in (30..200).step_by(7) {
            let fs = FaultFs::new();
            let db = open(&fs);
            (operation..operation + 12).for_each(|operation| fs.inject(operation, fault));
            let acknowledged = work(&db, 200);
            // Each thread has ended with an error, unless it was done.
            let is_refused = acknowledged.iter().any(|&n| n < 200);
            let seen = counts(&db);
            let of_all = || seen.iter().zip(&acknowledged);
            assert!(of_all().all(|(&seen, &told)| seen == told || seen == told + 1));
            let another = labels(&[("thread", "3")]);
            let mut n_refused = 0;
            loop {
                let mut batch = db.appender();
                batch.append(&another, 1_000, 1.0).unwrap();
                match batch.commit() {
                    Ok(_) => break,
                    Err(Error::LogStopped { source }) => {
                        assert_eq!(source.is_storage_full(), fault == Fault::NoSpace);
                        n_refused += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(n_refused < 12 && (is_refused || n_refused == 0));
            // What was in doubt is visible now, whole, and in front of what came later.
            let visible = all(&db);
            for (labels, mut samples) in visible.clone() {
                let thread: usize = labels.get("thread").unwrap().parse().unwrap();
                if thread == 3 {
                    assert_eq!(samples.pop(), Some(sample(1_000, 1.0)));
                }
                let n = i64::try_from(samples.len()).unwrap();
                assert!(n == acknowledged[thread] || n == acknowledged[thread] + 1);
            }
            drop(db);
            assert_eq!(all(&open(&fs.crash(Survival::Nothing))), visible);
        }
    }
}
