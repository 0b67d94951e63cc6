//! A batch is visible as a whole or not at all, to every reader.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{RANGE, all, commit, labels, open, read, sample, short_blocks};
use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, Matcher};
use ferula_tsdb::Db;

#[test]
fn nothing_of_an_open_batch_is_visible() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let known = labels(&[("a", "known")]);
    commit(&db, &known, &[sample(1, 1.0)]);
    let mut appender = db.appender();
    appender.append(&known, 2, 2.0).unwrap();
    appender.append(&labels(&[("a", "new"), ("b", "new")]), 2, 2.0).unwrap();
    assert_eq!(all(&db), [(known.clone(), vec![sample(1, 1.0)])]);
    let querier = db.querier(0, 10).unwrap();
    assert_eq!(querier.label_names(&[]).unwrap(), ["a"]);
    assert_eq!(querier.label_values("a", &[]).unwrap(), ["known"]);
    appender.commit().unwrap();
    assert_eq!(all(&db).len(), 2);
    // The querier was there before.
    assert_eq!(read(&querier), [(known, vec![sample(1, 1.0)])]);
    assert_eq!(querier.label_names(&[]).unwrap(), ["a"]);
    assert_eq!(querier.label_values("a", &[]).unwrap(), ["known"]);
    assert_eq!(querier.label_values("b", &[Matcher::equal("a", "new")]).unwrap(), [""; 0]);
}

#[test]
fn a_series_that_was_rolled_back_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let series = labels(&[("a", "b")]);
    let mut appender = db.appender();
    let series_ref = appender.append(&series, 1, 1.0).unwrap();
    // Another batch learns of the series and keeps it.
    let mut other = db.appender();
    other.append_ref(series_ref, 5, 5.0).unwrap();
    appender.rollback();
    other.append(&series, 6, 6.0).unwrap();
    other.rollback();
    assert_eq!(db.stats().n_series, 0);
    assert_eq!(db.querier(0, 10).unwrap().label_names(&[]).unwrap(), [""; 0]);

    let mut appender = db.appender();
    assert!(appender.append_ref(series_ref, 1, 1.0).is_err());
    appender.append(&series, 1, 1.0).unwrap();
    appender.commit().unwrap();
    assert_eq!(all(&db), [(series, vec![sample(1, 1.0)])]);
    drop(db);
    assert_eq!(open(dir.path()).stats().n_series, 1);
}

#[test]
fn a_series_made_by_a_batch_that_was_rolled_back_lives_on_in_another() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let series = labels(&[("a", "b")]);
    let (mut first, mut second) = (db.appender(), db.appender());
    first.append(&series, 1, 1.0).unwrap();
    second.append(&series, 2, 2.0).unwrap();
    first.rollback();
    second.commit().unwrap();
    let expected = [(series, vec![sample(2, 2.0)])];
    assert_eq!(all(&db), expected);
    drop(db);
    assert_eq!(all(&open(dir.path())), expected);
}

#[test]
fn a_rollback_leaves_no_trace_in_known_series() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let series = labels(&[("a", "b")]);
    commit(&db, &series, &[sample(1, 1.0)]);
    let mut appender = db.appender();
    appender.append(&series, 100, 1.0).unwrap();
    appender.rollback();
    commit(&db, &series, &[sample(2, 2.0)]);
    assert_eq!(all(&db)[0].1, [sample(1, 1.0), sample(2, 2.0)]);
}

/// Readers run while batches are committed and blocks are cut: every batch that a reader sees is
/// whole, and what it sees stays the same while it looks.
#[test]
fn readers_see_whole_batches_while_all_goes_on() {
    const N_SERIES: usize = 8;
    const N_BATCHES: i64 = 600;
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    let is_done = AtomicBool::new(false);
    let series_of = |n: i64| -> Vec<Labels> {
        (0..N_SERIES)
            .map(|i| {
                // Half of the series are new in every hundredth batch.
                let generation = if i % 2 == 0 { 0 } else { n / 100 };
                labels(&[("i", &i.to_string()), ("generation", &generation.to_string())])
            })
            .collect()
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Acquire) {
                    check_view(&db, N_SERIES);
                }
            });
        }
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                db.maintain().unwrap();
            }
        });
        for n in 0..N_BATCHES {
            let mut appender = db.appender();
            for labels in series_of(n) {
                appender.append(&labels, n * 1000, n as f64).unwrap();
            }
            assert_eq!(appender.commit().unwrap().samples, N_SERIES);
        }
        is_done.store(true, Ordering::Release);
    });
    db.maintain().unwrap();
    let stats = db.stats();
    assert!(N_BATCHES * 1000 > 5 * RANGE && stats.blocks.len() > 1 && stats.compaction.done > 0);
    assert_eq!(check_view(&db, N_SERIES), N_BATCHES);
    drop(db);
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(check_view(&db, N_SERIES), N_BATCHES);
}

/// Checks that every batch seen is whole, and returns how many there are.
fn check_view(db: &Db, n_series: usize) -> i64 {
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    let first = querier.select(&[]).unwrap();
    let mut counts: Vec<usize> = Vec::new();
    let mut batch = SampleBatch::new();
    for index in 0..first.len() {
        batch.clear();
        first.read(index, &mut batch).unwrap();
        for sample in batch.iter() {
            let n = usize::try_from(sample.timestamp / 1000).unwrap();
            counts.resize(counts.len().max(n + 1), 0);
            counts[n] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count == n_series), "{counts:?}");
    let n_values = querier.label_values("i", &[]).unwrap().len();
    assert!(n_values == n_series || counts.is_empty());
    let again = querier.select(&[Matcher::equal("i", "0")]).unwrap();
    if !again.is_empty() {
        batch.clear();
        again.read(0, &mut batch).unwrap();
        assert_eq!(batch.len(), counts.len(), "a view does not change");
    }
    i64::try_from(counts.len()).unwrap()
}
