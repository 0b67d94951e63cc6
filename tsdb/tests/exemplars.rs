//! Exemplars are kept, found and refused as Prometheus does it, with the batch they came in, and
//! last longer than the samples around them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{RANGE, labels, open, options, scrape, short_blocks};
use ferula_index::{Labels, Matcher};
use ferula_tsdb::{Db, Exemplar, ExemplarError, Options, SyncPolicy};
use ferula_wal::fs::{FaultFs, Fs};

fn series(name: &str) -> Labels {
    labels(&[("__name__", name), ("job", "test")])
}

fn exemplar(timestamp: i64, value: f64, trace: &str) -> Exemplar {
    Exemplar::new(timestamp, value, labels(&[("trace_id", trace)]))
}

/// Commits a sample of a series and exemplars of it. Returns how many of these were kept.
fn commit(db: &Db, name: &str, exemplars: &[Exemplar]) -> usize {
    let mut batch = db.appender();
    let newest = exemplars.iter().map(|exemplar| exemplar.timestamp).max().unwrap_or(0);
    let newest = newest.max(db.stats().head_from).max(db.stats().head_maxt.unwrap_or(0));
    batch.append(&series(name), newest, 1.0).unwrap();
    for exemplar in exemplars {
        batch.append_exemplar(&series(name), exemplar.clone()).unwrap();
    }
    batch.commit().unwrap().exemplars
}

/// Names of series with the times of their exemplars.
fn found(db: &Db, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Vec<(String, Vec<i64>)> {
    let found = db.exemplars(sets, mint, maxt).unwrap();
    let times = |e: &[Exemplar]| e.iter().map(|exemplar| exemplar.timestamp).collect();
    found.iter().map(|s| (s.labels.metric_name().to_owned(), times(&s.exemplars))).collect()
}

fn everything(db: &Db) -> Vec<(String, Vec<i64>)> {
    found(db, &[vec![]], i64::MIN, i64::MAX)
}

fn expected(all: &[(&str, &[i64])]) -> Vec<(String, Vec<i64>)> {
    all.iter().map(|(name, times)| ((*name).to_owned(), times.to_vec())).collect()
}

#[test]
fn several_selectors_find_each_series_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    for name in ["b", "c", "a"] {
        let kept = commit(&db, name, &[exemplar(100, 1.0, "x"), exemplar(200, 0.5, "y")]);
        assert_eq!(kept, 2);
    }
    let name = |name| Matcher::equal("__name__", name);
    let sets = [vec![name("c")], vec![name("a"), Matcher::equal("job", "test")], vec![name("c")]];
    let both: &[i64] = &[100, 200];
    assert_eq!(found(&db, &sets, 0, 1000), expected(&[("a", both), ("c", both)]));
    assert_eq!(found(&db, &sets, 101, 200), expected(&[("a", &[200]), ("c", &[200])]));
    assert_eq!(found(&db, &sets, 201, 300), []);
    assert_eq!(found(&db, &[vec![name("a"), Matcher::equal("job", "other")]], 0, 1000), []);
    assert_eq!(found(&db, &[], 0, 1000), []);
    let all = db.exemplars(&[vec![name("b")]], 0, 1000).unwrap();
    assert_eq!(all[0].labels, series("b"));
    assert_eq!(all[0].exemplars, [exemplar(100, 1.0, "x"), exemplar(200, 0.5, "y")]);
}

#[test]
fn each_refusal_has_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    commit(&db, "a", &[exemplar(100, 5.0, "m")]);
    let mut batch = db.appender();
    let mut refused = |exemplar| batch.append_exemplar(&series("a"), exemplar).unwrap_err();
    let out_of_order = |timestamp| ExemplarError::OutOfOrder { timestamp, newest: 100 };
    assert_eq!(refused(exemplar(99, 5.0, "m")), out_of_order(99));
    assert_eq!(refused(exemplar(100, 4.0, "m")), out_of_order(100));
    assert_eq!(refused(exemplar(100, 5.0, "l")), out_of_order(100));
    let long = "ü".repeat(121);
    let too_long = ExemplarError::LabelsTooLong { found: 129, limit: 128 };
    assert_eq!(refused(exemplar(200, 5.0, &long)), too_long);
    let nameless = Exemplar::new(200, 5.0, labels(&[("", "x")]));
    assert_eq!(refused(nameless), ExemplarError::EmptyLabelName);
    let far = refused(exemplar(i64::MAX, 5.0, "m"));
    assert!(matches!(far, ExemplarError::TimeOutOfRange { .. }), "{far:?}");
    let unknown = batch.append_exemplar(&series("b"), exemplar(1, 1.0, "m"));
    assert_eq!(unknown, Err(ExemplarError::NoSeries { labels: series("b") }));
    let unknown = batch.append_exemplar_ref(ferula_index::SeriesRef(99), exemplar(1, 1.0, "m"));
    assert!(matches!(unknown, Err(ExemplarError::UnknownSeries { .. })), "{unknown:?}");

    // The newest one again, and one at the limit.
    batch.append_exemplar(&series("a"), exemplar(100, 5.0, "m")).unwrap();
    batch.append_exemplar(&series("a"), exemplar(100, 5.0, &"ü".repeat(120))).unwrap();
    // The later one of its time, if not the later one in the batch.
    batch.append_exemplar(&series("a"), exemplar(150, 5.0, "m")).unwrap();
    batch.append_exemplar(&series("a"), exemplar(140, 5.0, "m")).unwrap();
    let committed = batch.commit().unwrap();
    assert_eq!((committed.exemplars, committed.refused_exemplars), (2, 1));
    assert_eq!(everything(&db), expected(&[("a", &[100, 100, 150])]));
}

#[test]
fn the_window_out_of_order_holds_for_exemplars() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::builder().out_of_order_window_ms(100).build().unwrap();
    let db = Db::open(dir.path(), options.clone()).unwrap();
    assert_eq!(commit(&db, "a", &[exemplar(1000, 1.0, "x"), exemplar(901, 2.0, "y")]), 2);
    let mut batch = db.appender();
    let refused = batch.append_exemplar(&series("a"), exemplar(900, 3.0, "z"));
    assert_eq!(refused, Err(ExemplarError::OutOfOrder { timestamp: 900, newest: 1000 }));
    drop(batch);
    let all = expected(&[("a", &[901, 1000])]);
    assert_eq!(everything(&db), all);
    db.close().unwrap();
    let db = Db::open(dir.path(), options).unwrap();
    assert_eq!(everything(&db), all, "it is there after a restart");
    assert_eq!(commit(&db, "a", &[exemplar(950, 3.0, "z")]), 1);
}

#[test]
fn none_are_taken_if_none_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let off = Options::builder().maintenance_interval(None).max_exemplars(0).build().unwrap();
    let db = open(dir.path());
    commit(&db, "a", &[exemplar(100, 5.0, "m")]);
    db.close().unwrap();
    let db = Db::open(dir.path(), off).unwrap();
    let mut batch = db.appender();
    let refused = batch.append_exemplar(&series("a"), exemplar(200, 5.0, "m"));
    assert_eq!(refused, Err(ExemplarError::Disabled));
    drop(batch);
    assert_eq!(everything(&db), []);
    let too_many = Options::builder().max_exemplars(ferula_tsdb::MAX_EXEMPLARS + 1).build();
    assert!(too_many.is_err());
}

#[test]
fn exemplars_come_with_their_batch_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    commit(&db, "a", &[]);
    let mut batch = db.appender();
    batch.append_exemplar(&series("a"), exemplar(100, 1.0, "x")).unwrap();
    assert_eq!(everything(&db), []);
    batch.rollback();
    assert_eq!(everything(&db), []);

    // Of a series that only another batch has made, and does not commit.
    let mut other = db.appender();
    let made = other.append(&series("new"), 100, 1.0).unwrap();
    let mut batch = db.appender();
    batch.append_exemplar(&series("new"), exemplar(100, 1.0, "x")).unwrap();
    batch.append_exemplar_ref(made, exemplar(110, 1.0, "x")).unwrap();
    let committed = batch.commit().unwrap();
    assert_eq!((committed.exemplars, committed.refused_exemplars), (0, 2));
    drop(other);
    assert_eq!(everything(&db), []);

    // Without a sample in the same batch.
    let mut batch = db.appender();
    batch.append_exemplar(&series("a"), exemplar(100, 1.0, "x")).unwrap();
    assert_eq!(batch.commit().unwrap().exemplars, 1);
    drop(db);
    assert_eq!(everything(&open(dir.path())), expected(&[("a", &[100])]));
}

#[test]
fn the_newest_ones_are_kept_through_every_opening() {
    for is_snapshot in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let options = || {
            let builder = Options::builder().sync(SyncPolicy::Never).maintenance_interval(None);
            builder.max_exemplars(5).head_snapshot(is_snapshot).build().unwrap()
        };
        let db = Db::open(dir.path(), options()).unwrap();
        for t in 0..10 {
            commit(&db, ["a", "b", "c"][t % 3], &[exemplar(i64::try_from(t).unwrap(), 1.0, "x")]);
        }
        let kept = expected(&[("a", &[6, 9]), ("b", &[7]), ("c", &[5, 8])]);
        assert_eq!(everything(&db), kept);
        assert_eq!(db.stats().n_exemplars, 5);
        db.close().unwrap();
        let db = Db::open(dir.path(), options()).unwrap();
        assert_eq!(db.open_report().from_snapshot, is_snapshot);
        assert_eq!(db.open_report().exemplars, 5);
        assert_eq!(db.open_report().skipped_records, 0);
        assert_eq!(everything(&db), kept);
        // And they go on as they would have.
        commit(&db, "b", &[exemplar(10, 1.0, "x")]);
        assert_eq!(everything(&db), expected(&[("a", &[6, 9]), ("b", &[7, 10]), ("c", &[8])]));
        let mut batch = db.appender();
        assert!(batch.append_exemplar(&series("a"), exemplar(8, 1.0, "x")).is_err());
        drop(batch);
        let read_only = Db::open_read_only(dir.path()).unwrap();
        let all: [&[Matcher]; 1] = [&[]];
        let found = read_only.exemplars(&all, 10, 10).unwrap();
        assert_eq!(found[0].exemplars, [exemplar(10, 1.0, "x")]);
    }
}

#[test]
fn what_a_crash_leaves_of_cut_blocks_has_all_exemplars() {
    let fs = FaultFs::new();
    let open = || Db::open_with(Arc::new(fs.clone()), "/data", short_blocks()).unwrap();
    let db = open();
    // Of a series that ends at once, and of one that goes on.
    commit(&db, "gone", &[exemplar(10, 1.0, "x"), exemplar(20, 2.0, "y")]);
    commit(&db, "stays", &[exemplar(30, 1.0, "x")]);
    let mut kept = everything(&db);
    for n in 0..4 {
        scrape(&db, 20, n * 3 * RANGE, (n * 3 + 3) * RANGE);
        commit(&db, "stays", &[exemplar((n * 3 + 2) * RANGE, 1.0, "x")]);
        db.maintain().unwrap();
        kept[1].1.push((n * 3 + 2) * RANGE);
        assert_eq!(everything(&db), kept);
    }
    let segments = fs.list("/data/wal".as_ref()).unwrap();
    assert!(segments.iter().any(|entry| entry.name.starts_with("checkpoint.")), "{segments:?}");
    assert!(db.stats().n_series < 22, "the first series left the head");
    drop(db);
    let db = open();
    assert_eq!(everything(&db), kept);
    // It comes anew, under another ref, and its exemplars are one list.
    commit(&db, "gone", &[exemplar(13 * RANGE, 1.0, "z")]);
    kept[0].1.push(13 * RANGE);
    for n in 5..9 {
        scrape(&db, 20, n * 3 * RANGE, (n * 3 + 3) * RANGE);
        db.maintain().unwrap();
    }
    assert_eq!(everything(&db), kept);
    drop(db);
    let db = open();
    assert_eq!(everything(&db), kept);
}

#[test]
fn the_log_gives_up_exemplars_that_others_have_displaced() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Options::builder().sync(SyncPolicy::Never).maintenance_interval(None);
    let few = builder.block_range_ms(RANGE).wal_segment_bytes(32 << 10).max_exemplars(3);
    let db = Db::open(dir.path(), few.build().unwrap()).unwrap();
    let mut settled = 0;
    for n in 0..12 {
        for t in (n * 2 * RANGE..(n + 1) * 2 * RANGE).step_by(200) {
            commit(&db, "a", &[exemplar(t, 1.0, &format!("{t:0100}"))]);
        }
        db.maintain().unwrap();
        if n == 5 {
            settled = db.stats().wal_bytes;
        }
    }
    assert_eq!(db.stats().n_exemplars, 3);
    let last = db.stats().wal_bytes;
    assert!(last < settled * 2, "{settled}, then {last}");
}

#[test]
fn a_batch_of_too_many_exemplars_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    let mut batch = db.appender();
    let known = batch.append(&series("a"), 0, 1.0).unwrap();
    let trace = "x".repeat(100);
    let refused =
        (0..).find_map(|t| batch.append_exemplar_ref(known, exemplar(t, 1.0, &trace)).err());
    let limit = ferula_tsdb::MAX_BATCH_EXEMPLAR_BYTES;
    assert_eq!(refused, Some(ExemplarError::BatchTooLarge { limit }));
    assert_eq!(batch.commit().unwrap().samples, 1);
    let one = db.memory().exemplar_bytes / db.stats().n_exemplars;
    assert!(one < 250, "{one} bytes for one of 108 characters");
}
