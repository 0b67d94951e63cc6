//! Samples that come out of order, within the window: accepted, found in their place, and kept like
//! all others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Content, RANGE, all, commit, labels, names, read, sample};
use ferula_chunkenc::histogram::{CounterResetHint, Histogram, Span};
use ferula_chunkenc::{SampleBatch, stale};
use ferula_index::{Labels, Matcher};
use ferula_tsdb::{AppendError, Db, Options, SyncPolicy};
use ferula_wal::fs::{Fault, FaultFs, Fs, Survival};

const WINDOW: i64 = 5 * RANGE;

fn options() -> Options {
    let builder = Options::builder().sync(SyncPolicy::Always).maintenance_interval(None);
    let builder = builder.block_range_ms(RANGE).wal_segment_bytes(32 << 10);
    builder.out_of_order_window_ms(WINDOW).build().unwrap()
}

fn one() -> Labels {
    labels(&[("__name__", "m"), ("n", "1")])
}

fn times(content: &Content) -> Vec<i64> {
    content.iter().flat_map(|(_, samples)| samples.iter().map(|s| s.timestamp)).collect()
}

fn appended(db: &Db, timestamp: i64, value: f64) -> Result<usize, AppendError> {
    let mut appender = db.appender();
    appender.append(&one(), timestamp, value)?;
    Ok(appender.commit().unwrap().samples)
}

#[test]
fn samples_within_the_window_are_found_in_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    let newest = 10 * RANGE;
    commit(&db, &one(), &[sample(newest, 1.0)]);
    assert_eq!(appended(&db, newest - 100, 2.0), Ok(1));
    assert_eq!(appended(&db, newest - WINDOW, 3.0), Ok(1));
    let oldest = newest - WINDOW;
    let refused = AppendError::TooOld { timestamp: oldest - 1, oldest };
    assert_eq!(appended(&db, oldest - 1, 4.0), Err(refused));
    assert_eq!(appended(&db, newest - 50, 5.0), Ok(1));
    let expected = vec![(
        one(),
        vec![
            sample(oldest, 3.0),
            sample(newest - 100, 2.0),
            sample(newest - 50, 5.0),
            sample(newest, 1.0),
        ],
    )];
    assert_eq!(all(&db), expected);
    let part = db.querier(newest - 100, newest - 50).unwrap();
    assert_eq!(times(&read(&part)), [newest - 100, newest - 50]);
    assert_eq!((db.stats().appended, db.stats().out_of_order), (4, 3));
    assert!(db.memory().out_of_order_bytes > 0);
    for _ in 0..2 {
        // From the logs, and from a snapshot.
        db.close().unwrap();
        let db = Db::open(dir.path(), options()).unwrap();
        assert_eq!(all(&db), expected);
        assert_eq!(db.open_report().out_of_order_samples, 3);
        let db = Db::open_read_only(dir.path()).unwrap();
        assert_eq!(read(&db.querier(i64::MIN, i64::MAX).unwrap()), expected);
    }
}

#[test]
fn a_snapshot_is_not_used_without_the_log_of_late_samples_that_it_was_made_beside() {
    let fs = FaultFs::new();
    let open = || Db::open_with(Arc::new(fs.clone()), "/data", options()).unwrap();
    let wbl = Path::new("/data/wbl");
    let db = open();
    commit(&db, &one(), &[sample(50_000, 5.0)]);
    commit(&db, &one(), &[sample(30_000, 3.0)]);
    commit(&db, &one(), &[sample(20_000, 2.0)]);
    db.delete(&[], 30_000, 30_000).unwrap();
    let expected = all(&db);
    assert_eq!(times(&expected), [20_000, 50_000]);
    db.close().unwrap();
    // It is of use where nothing is missing.
    let db = open();
    assert!(db.open_report().from_snapshot);
    assert_eq!(all(&db), expected);
    db.close().unwrap();
    fs.remove_dir_all(wbl).unwrap();
    let db = open();
    assert!(!db.open_report().from_snapshot);
    let failure = db.open_report().snapshot_failure.clone().unwrap();
    assert!(failure.contains("log of samples out of order"), "{failure}");
    assert_eq!(all(&db), expected);
}

#[test]
fn duplicates_are_what_they_are_in_prometheus() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    commit(&db, &one(), &[sample(10_000, 1.0), sample(20_000, 2.0), sample(30_000, 3.0)]);
    // At the time of the newest one: the same is there already, another value is refused.
    assert_eq!(appended(&db, 30_000, 3.0), Ok(0));
    let refused = appended(&db, 30_000, 4.0);
    assert!(matches!(refused, Err(AppendError::DuplicateTimestamp { .. })), "{refused:?}");
    // At the time of an earlier one in order both are accepted, and that one stays.
    assert_eq!(appended(&db, 20_000, 2.0), Ok(1));
    assert_eq!(appended(&db, 10_000, 9.0), Ok(1));
    // Among those that are collected the first stays, silently.
    assert_eq!(appended(&db, 15_000, 5.0), Ok(1));
    assert_eq!(appended(&db, 15_000, 5.0), Ok(0));
    assert_eq!(appended(&db, 15_000, 6.0), Ok(0));
    let expected = [10_000, 15_000, 20_000, 30_000].into_iter().zip([1.0, 5.0, 2.0, 3.0]);
    let expected = vec![(one(), expected.map(|(t, v)| sample(t, v)).collect::<Vec<_>>())];
    assert_eq!(all(&db), expected);
    // A batch sees its own samples in order, and the commit decides on the others.
    let mut batch = db.appender();
    batch.append(&one(), 40_000, 4.0).unwrap();
    batch.append(&one(), 16_000, 6.0).unwrap();
    batch.append(&one(), 16_000, 7.0).unwrap();
    let refused = batch.append(&one(), 40_000, 5.0);
    assert!(matches!(refused, Err(AppendError::DuplicateTimestamp { .. })), "{refused:?}");
    batch.append(&one(), 35_000, 3.5).unwrap();
    batch.append(&one(), 50_000, 5.0).unwrap();
    assert_eq!(batch.commit().unwrap().samples, 4);
    // What stays is the same in blocks, whichever is cut first.
    let mut expected = expected;
    expected[0].1.extend(
        [(16_000, 6.0), (35_000, 3.5), (40_000, 4.0), (50_000, 5.0)].map(|(t, v)| sample(t, v)),
    );
    expected[0].1.sort_by_key(|sample| sample.timestamp);
    assert_eq!(all(&db), expected);
    db.compact_head().unwrap();
    assert_eq!(all(&db), expected);
    db.compact().unwrap();
    assert_eq!(db.stats().blocks.len(), 1);
    assert_eq!(all(&db), expected);
}

fn histogram(count: u64) -> Histogram {
    Histogram {
        counter_reset_hint: CounterResetHint::Unknown,
        schema: 1,
        zero_threshold: 0.001,
        zero_count: count,
        count: 3 * count,
        sum: count as f64,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![i64::try_from(count).unwrap(), 0],
        ..Histogram::default()
    }
}

/// Time and what is there: a float, the count of a histogram, or a staleness marker.
fn kinds(db: &Db) -> Vec<(i64, String)> {
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    let series = querier.select(&[]).unwrap();
    let mut batch = SampleBatch::new();
    series.read(0, &mut batch).unwrap();
    let kind = |index: usize| match batch.histogram(index) {
        Some(histogram) => format!("h{}", histogram.count),
        None if stale::is_stale(batch.values()[index]) => "stale".to_owned(),
        None => batch.values()[index].to_string(),
    };
    (0..batch.len()).map(|index| (batch.timestamps()[index], kind(index))).collect()
}

#[test]
fn histograms_floats_and_staleness_markers_mix() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    let mut batch = db.appender();
    batch.append_histogram(&one(), 100_000, histogram(9)).unwrap();
    batch.append(&one(), 50_000, 1.0).unwrap();
    batch.append_histogram(&one(), 60_000, histogram(4)).unwrap();
    batch.append_histogram(&one(), 55_000, histogram(2).to_float()).unwrap();
    batch.append(&one(), 70_000, stale::STALE_NAN).unwrap();
    batch.append_histogram(&one(), 110_000, histogram(10)).unwrap();
    let refused = batch.append_histogram(&one(), 110_000, histogram(11));
    assert_eq!(refused, Err(AppendError::DuplicateHistogram { timestamp: 110_000 }));
    assert_eq!(batch.commit().unwrap().samples, 6);
    let expected = [
        (50_000, "1"),
        (55_000, "h6"),
        (60_000, "h12"),
        (70_000, "stale"),
        (100_000, "h27"),
        (110_000, "h30"),
    ]
    .map(|(time, kind)| (time, kind.to_owned()));
    assert_eq!(kinds(&db), expected);
    // Enough of each kind to fill chunks.
    for i in 0..40 {
        let mut batch = db.appender();
        batch.append_histogram(&one(), 80_000 + 2 * i, histogram(5)).unwrap();
        batch.append(&one(), 80_001 + 2 * i, 2.0).unwrap();
        batch.commit().unwrap();
    }
    let expected = kinds(&db);
    assert_eq!(expected.len(), 86);
    drop(db);
    let db = Db::open(dir.path(), options()).unwrap();
    assert_eq!(kinds(&db), expected);
    db.compact_head().unwrap();
    assert_eq!(kinds(&db), expected);
    db.compact().unwrap();
    assert_eq!(kinds(&db), expected);
}

#[test]
fn full_chunks_leave_memory_and_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    commit(&db, &one(), &[sample(100_000, 1.0)]);
    for i in 0..200 {
        assert_eq!(appended(&db, 10_000 + i * 7919 % 80_000, i as f64), Ok(1));
    }
    let expected = all(&db);
    assert_eq!(times(&expected).len(), 201);
    drop(db);
    let ooo_chunks = |dir: &Path| {
        let file = std::fs::read(dir.join("chunks_head/000001")).unwrap();
        // Encoding of floats out of order, behind ref and times.
        file.windows(9).filter(|bytes| bytes[..8] == 1_u64.to_be_bytes()).count()
    };
    assert_eq!(ooo_chunks(dir.path()), 6);
    let wbl_bytes = |dir: &Path| -> u64 {
        let wbl = dir.join("wbl");
        names(&wbl).iter().map(|name| std::fs::metadata(wbl.join(name)).unwrap().len()).sum()
    };
    let before = wbl_bytes(dir.path());
    for _ in 0..3 {
        let db = Db::open(dir.path(), options()).unwrap();
        assert_eq!(all(&db), expected);
        drop(db);
        assert_eq!(ooo_chunks(dir.path()), 6, "none was written again");
        assert_eq!(wbl_bytes(dir.path()), before, "and nothing logged again");
    }
    // Without the files they are made anew.
    std::fs::remove_dir_all(dir.path().join("chunks_head")).unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    assert_eq!(all(&db), expected);
    drop(db);
    assert_eq!(ooo_chunks(dir.path()), 6);
}

#[test]
fn they_become_blocks_of_their_own_and_then_one_with_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    common::scrape(&db, 2, 0, RANGE);
    commit(&db, &one(), &[sample(4 * RANGE, 1.0)]);
    for i in 0..100 {
        assert_eq!(appended(&db, i * 2_000 + 1, i as f64), Ok(1));
    }
    let expected = all(&db);
    let held = db.querier(i64::MIN, i64::MAX).unwrap();
    db.maintain().unwrap();
    assert_eq!(all(&db), expected);
    assert_eq!(read(&held), expected);
    drop(held);
    db.maintain().unwrap();
    assert_eq!(db.memory().out_of_order_bytes, 0, "they have left the head");
    assert_eq!(names(&dir.path().join("wbl")).len(), 1);
    assert_eq!(all(&db), expected);
    // Of ranges that the head still has samples of, too.
    for meta in db.stats().blocks {
        let is_late = meta.compaction.hints.iter().any(|hint| hint == "from-out-of-order");
        assert!(is_late || meta.maxt <= db.stats().head_from, "{meta:?}");
    }
    drop(db);
    let db = Db::open(dir.path(), options()).unwrap();
    assert_eq!(all(&db), expected);
    db.compact_head().unwrap();
    db.compact().unwrap();
    assert_eq!(all(&db), expected);
    let mut ranges: Vec<(i64, i64)> =
        db.stats().blocks.iter().map(|meta| (meta.mint, meta.maxt)).collect();
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{ranges:?}");
}

#[test]
fn a_deletion_concerns_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    commit(&db, &one(), &[sample(100_000, 1.0)]);
    for i in 0..50 {
        appended(&db, 10_000 + i * 100, 1.0).unwrap();
    }
    let held = db.querier(i64::MIN, i64::MAX).unwrap();
    let before = all(&db);
    db.delete(&[Matcher::equal("n", "1")], 10_500, 13_999).unwrap();
    assert_eq!(read(&held), before, "who reads already goes on to see them");
    let mut expected: Vec<i64> = times(&before);
    expected.retain(|time| !(10_500..=13_999).contains(time));
    assert_eq!(times(&all(&db)), expected);
    // Later ones stay.
    assert_eq!(appended(&db, 11_000, 2.0), Ok(1));
    expected.push(11_000);
    expected.sort_unstable();
    assert_eq!(times(&all(&db)), expected);
    db.snapshot(dir.path().join("copy")).unwrap();
    assert_eq!(times(&all(&Db::open(dir.path().join("copy"), options()).unwrap())), expected);
    // From the logs, in which the deletion has its place; then from a snapshot.
    drop(held);
    let fresh = tempfile::tempdir().unwrap();
    for name in ["wal", "wbl"] {
        std::fs::create_dir(fresh.path().join(name)).unwrap();
        for file in names(&dir.path().join(name)) {
            std::fs::copy(dir.path().join(name).join(&file), fresh.path().join(name).join(&file))
                .unwrap();
        }
    }
    assert_eq!(times(&all(&Db::open(fresh.path(), options()).unwrap())), expected);
    let again = Db::open(fresh.path(), options()).unwrap();
    assert!(again.open_report().from_snapshot, "which does not tell what is deleted of them");
    assert_eq!(times(&all(&again)), expected);
    db.close().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    assert!(db.open_report().from_snapshot);
    assert_eq!(times(&all(&db)), expected);
    db.compact_head().unwrap();
    assert_eq!(times(&all(&db)), expected);
}

/// Of a block and one of samples out of order the first one tells an opening how far the log is in
/// blocks, so it is what stays when nothing is left of both.
#[test]
fn what_was_deleted_of_two_blocks_does_not_come_back_from_the_log() {
    let fs = Arc::new(FaultFs::new());
    let db = Db::open_with(Arc::clone(&fs) as _, "/data", options()).unwrap();
    commit(&db, &one(), &[sample(100_000, 1.0)]);
    assert_eq!(appended(&db, 70_000, 2.0), Ok(1));
    db.compact_head().unwrap();
    assert_eq!(db.stats().blocks.len(), 2);
    db.delete(&[Matcher::equal("n", "1")], i64::MIN, i64::MAX).unwrap();
    db.maintain().unwrap();
    assert_eq!(db.stats().blocks.len(), 1);
    assert_eq!(all(&db), []);
    let crashed = Arc::new(fs.crash(Survival::Everything));
    drop(db);
    let db = Db::open_with(crashed, "/data", options()).unwrap();
    assert_eq!(all(&db), []);
}

#[test]
fn the_log_has_what_that_of_samples_out_of_order_lost() {
    let fs = FaultFs::new();
    let mut options = options();
    // Which goes by the log alone.
    options.head_snapshot = false;
    let open =
        |fs: &FaultFs| Db::open_with(Arc::new(fs.clone()), "/data", options.clone()).unwrap();
    let db = open(&fs);
    commit(&db, &one(), &[sample(100_000, 1.0)]);
    for i in 0..70 {
        appended(&db, 50_000 + i, i as f64).unwrap();
    }
    let expected = all(&db);
    // That one is not synced.
    let crashed = fs.crash(Survival::Nothing);
    drop(db);
    let db = open(&crashed);
    assert_eq!(all(&db), expected);
    // It is whole again, and durable: without the log's part of it.
    let crashed = crashed.crash(Survival::Nothing);
    drop(db);
    assert!(crashed.list(Path::new("/data/wbl")).unwrap().len() <= 2);
    assert_eq!(all(&open(&crashed)), expected);
    crashed.remove_dir_all(Path::new("/data/wbl")).unwrap();
    assert_eq!(all(&open(&crashed)), expected, "nothing was cut since");
}

#[test]
fn a_log_of_samples_out_of_order_that_cannot_be_written_is_made_anew() {
    let fs = FaultFs::new();
    let open = |fs: &FaultFs| Db::open_with(Arc::new(fs.clone()), "/data", options()).unwrap();
    let db = open(&fs);
    commit(&db, &one(), &[sample(0, 0.0), sample(3 * RANGE, 1.0)]);
    // Each operation of a commit fails once; whatever is acknowledged is there.
    let mut acknowledged = 0;
    for i in 0..40 {
        fs.inject(fs.operations() + i % 9, Fault::Io);
        let mut appender = db.appender();
        appender.append(&one(), RANGE + i as i64, 2.0).unwrap();
        acknowledged += usize::from(appender.commit().is_ok());
        fs.clear_faults();
    }
    assert!(acknowledged > 10);
    // One whose commit failed becomes visible with the next.
    appended(&db, 2 * RANGE, 3.0).unwrap();
    let expected = all(&db);
    assert!(times(&expected).len() >= 2 + acknowledged);
    db.maintain().unwrap();
    assert_eq!(all(&db), expected);
    let crashed = fs.crash(Survival::Nothing);
    drop(db);
    assert_eq!(all(&open(&crashed)), expected);
}

#[test]
fn without_a_window_what_came_before_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    commit(&db, &one(), &[sample(100_000, 1.0), sample(4 * RANGE, 1.0)]);
    appended(&db, 50_000, 2.0).unwrap();
    let expected = all(&db);
    db.close().unwrap();
    let mut options = options();
    options.out_of_order_window_ms = 0;
    let db = Db::open(dir.path(), options.clone()).unwrap();
    assert_eq!(all(&db), expected);
    let refused = appended(&db, 60_000, 2.0);
    assert!(matches!(refused, Err(AppendError::TooOld { .. })), "{refused:?}");
    db.maintain().unwrap();
    assert_eq!(all(&db), expected);
    drop(db);
    assert_eq!(all(&Db::open(dir.path(), options).unwrap()), expected);
}

#[test]
fn a_series_that_another_batch_made_meanwhile_takes_a_batch_that_is_all_late() {
    for survival in (0..40).map(Survival::Scattered).chain([Survival::Everything]) {
        let fs = FaultFs::new();
        let mut options = options();
        options.sync = SyncPolicy::Never;
        let open =
            |fs: &FaultFs| Db::open_with(Arc::new(fs.clone()), "/data", options.clone()).unwrap();
        let db = open(&fs);
        let mut batch = db.appender();
        for i in 0..54 {
            batch.append(&one(), 307 - i * 17, i as f64).unwrap();
        }
        commit(&db, &one(), &[sample(325, 1.0)]);
        assert_eq!(batch.commit().unwrap().samples, 54);
        let expected = all(&db);
        assert_eq!(times(&expected).len(), 55);
        let mut crashed = fs.crash(survival);
        drop(db);
        for _ in 0..3 {
            let found = times(&all(&open(&crashed))).len();
            assert!([0, 1, 55].contains(&found), "{survival:?}: {found}");
            crashed = crashed.crash(survival);
        }
    }
}
