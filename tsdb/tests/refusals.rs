//! Samples are refused one by one, with the reason; the rest of their batch stands.

mod common;

use common::{RANGE, all, commit, labels, open, options, sample, short_blocks};
use ferula_chunkenc::stale::{NORMAL_NAN, STALE_NAN};
use ferula_index::{Labels, SeriesRef};
use ferula_tsdb::{AppendError, Db, Limits, MAX_TIME_MS, Options};

#[test]
fn order_is_checked_against_head_and_batch() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let series = labels(&[("a", "b")]);
    commit(&db, &series, &[sample(1_000, 1.0)]);
    let mut appender = db.appender();
    let out_of_order = |timestamp, newest| Err(AppendError::OutOfOrder { timestamp, newest });
    let duplicate = |existing, offered| {
        Err(AppendError::DuplicateTimestamp { timestamp: 2_000, existing, offered })
    };
    assert_eq!(appender.append(&series, 999, 1.0), out_of_order(999, 1_000));
    let series_ref = appender.append(&series, 2_000, 2.0).unwrap();
    assert_eq!(appender.append(&series, 1_500, 2.0), out_of_order(1_500, 2_000));
    assert_eq!(appender.append(&series, 2_000, 3.0), duplicate(2.0, 3.0));
    // The same value again is no mistake, and counts once.
    appender.append_ref(series_ref, 2_000, 2.0).unwrap();
    appender.append_ref(series_ref, 3_000, 3.0).unwrap();
    assert_eq!(appender.commit().unwrap().samples, 2);
    let expected = [sample(1_000, 1.0), sample(2_000, 2.0), sample(3_000, 3.0)];
    assert_eq!(all(&db)[0].1, expected);
    assert_eq!((db.stats().appended, db.stats().refused), (3, 3));
}

#[test]
fn values_are_compared_and_kept_by_their_bits() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let series = labels(&[("a", "b")]);
    let mut appender = db.appender();
    let series_ref = appender.append(&series, 1, STALE_NAN).unwrap();
    appender.append_ref(series_ref, 1, STALE_NAN).unwrap();
    let refused = appender.append_ref(series_ref, 1, NORMAL_NAN);
    assert!(matches!(refused, Err(AppendError::DuplicateTimestamp { .. })));
    appender.append_ref(series_ref, 2, -0.0).unwrap();
    assert!(appender.append_ref(series_ref, 2, 0.0).is_err());
    appender.append_ref(series_ref, 3, f64::from_bits(0x7ff4_dead_beef_0001)).unwrap();
    assert_eq!(appender.commit().unwrap().samples, 3);
    let odd = f64::from_bits(0x7ff4_dead_beef_0001);
    let expected = vec![sample(1, STALE_NAN), sample(2, -0.0), sample(3, odd)];
    assert_eq!(all(&db)[0].1, expected);
    drop(db);
    let db = open(dir.path());
    assert_eq!(all(&db)[0].1, expected);
    db.compact_head().unwrap();
    assert_eq!(all(&db)[0].1, expected);
}

#[test]
fn two_batches_of_one_series_are_told_apart_at_commit() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let series = labels(&[("a", "b")]);
    let (mut first, mut second) = (db.appender(), db.appender());
    let series_ref = first.append(&series, 10, 1.0).unwrap();
    second.append_ref(series_ref, 5, 2.0).unwrap();
    second.append_ref(series_ref, 20, 2.0).unwrap();
    first.append_ref(series_ref, 30, 1.0).unwrap();
    let committed = first.commit().unwrap();
    assert_eq!((committed.samples, committed.refused), (2, 0));
    let committed = second.commit().unwrap();
    assert_eq!((committed.samples, committed.refused, committed.refused_histograms), (0, 2, 0));
    let expected = vec![sample(10, 1.0), sample(30, 1.0)];
    assert_eq!(all(&db)[0].1, expected);
    drop(db);
    assert_eq!(all(&open(dir.path()))[0].1, expected, "the log has what was committed");
}

#[test]
fn samples_before_the_window_of_the_head_are_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    let (old, new) = (labels(&[("a", "old")]), labels(&[("a", "new")]));
    // An empty head takes any time, and a batch is checked against what was there before it.
    let mut appender = db.appender();
    appender.append(&new, 10 * RANGE, 1.0).unwrap();
    appender.append(&old, -10 * RANGE, 1.0).unwrap();
    appender.commit().unwrap();
    let mut appender = db.appender();
    let oldest = 10 * RANGE - RANGE / 2;
    let refused = appender.append(&old, oldest - 1, 1.0);
    assert_eq!(refused, Err(AppendError::TooOld { timestamp: oldest - 1, oldest }));
    appender.append(&old, oldest, 1.0).unwrap();
    appender.commit().unwrap();
    assert_eq!(all(&db)[1].1, [sample(-10 * RANGE, 1.0), sample(oldest, 1.0)]);
}

fn with_limits(limits: Limits) -> Options {
    let mut options = options();
    options.limits = limits;
    options
}

#[test]
fn label_sets_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let mut limits = Limits::default();
    (limits.labels, limits.label_name_bytes, limits.label_value_bytes) = (3, 5, 10);
    let db = Db::open(dir.path(), with_limits(limits)).unwrap();
    let mut appender = db.appender();
    let mut refuse = |pairs: &[(&str, &str)]| appender.append(&labels(pairs), 1, 1.0).unwrap_err();
    assert_eq!(refuse(&[]), AppendError::NoLabels);
    assert_eq!(refuse(&[("a", "")]), AppendError::NoLabels);
    assert_eq!(refuse(&[("", "x")]), AppendError::EmptyLabelName);
    let many = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
    assert_eq!(refuse(&many), AppendError::TooManyLabels { found: 4, limit: 3 });
    assert_eq!(refuse(&[("abcdef", "1")]), AppendError::LabelNameTooLong { found: 6, limit: 5 });
    let name = "a".to_owned();
    let expected = AppendError::LabelValueTooLong { name, found: 12, limit: 10 };
    assert_eq!(refuse(&[("a", "fünfzehneé")]), expected);
    appender.append(&labels(&[("größe", "0123456789")]), 1, 1.0).unwrap_err();
    appender.append(&labels(&[("größ", "0123456789")]), 1, 1.0).unwrap_err();
    appender.append(&labels(&[("groß", "0123456789")]), 1, 1.0).unwrap();
    assert_eq!(appender.commit().unwrap().samples, 1);
    assert_eq!(all(&db).len(), 1);
}

#[test]
fn a_full_batch_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut limits = Limits::default();
    limits.batch_samples = 2;
    let db = Db::open(dir.path(), with_limits(limits)).unwrap();
    let mut appender = db.appender();
    let series = appender.append(&labels(&[("a", "b")]), 1, 1.0).unwrap();
    appender.append_ref(series, 2, 1.0).unwrap();
    assert_eq!(appender.append_ref(series, 3, 1.0), Err(AppendError::BatchFull { limit: 2 }));
    assert_eq!(appender.commit().unwrap().samples, 2);
}

#[test]
fn a_head_takes_no_more_series_than_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut limits = Limits::default();
    limits.series = 2;
    let db = Db::open(dir.path(), with_limits(limits.clone())).unwrap();
    let refused = Err(AppendError::TooManySeries { limit: 2 });
    let mut appender = db.appender();
    let first = appender.append(&labels(&[("a", "1")]), 1, 1.0).unwrap();
    appender.append(&labels(&[("a", "2")]), 1, 1.0).unwrap();
    assert_eq!(appender.append(&labels(&[("a", "3")]), 1, 1.0), refused);
    // Those that are there are not affected, and a batch that is rolled back makes room.
    appender.append_ref(first, 2, 1.0).unwrap();
    appender.rollback();
    let mut appender = db.appender();
    appender.append(&labels(&[("a", "3")]), 1, 1.0).unwrap();
    appender.append(&labels(&[("a", "1")]), 1, 1.0).unwrap();
    assert_eq!(appender.append(&labels(&[("a", "2")]), 1, 1.0), refused);
    assert_eq!(appender.commit().unwrap().samples, 2);
    assert_eq!((db.stats().n_series, db.stats().refused), (2, 2));
    drop(db);
    limits.series = 1;
    let db = Db::open(dir.path(), with_limits(limits)).unwrap();
    assert_eq!(all(&db).len(), 2, "what was acknowledged is taken back in any case");
    let refused = db.appender().append(&labels(&[("a", "2")]), 1, 1.0);
    assert_eq!(refused, Err(AppendError::TooManySeries { limit: 1 }));
}

#[test]
fn times_that_sums_would_overflow_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    let series = labels(&[("a", "b")]);
    let mut appender = db.appender();
    for timestamp in [i64::MIN, -MAX_TIME_MS - 1, MAX_TIME_MS + 1, i64::MAX] {
        let refused = appender.append(&series, timestamp, 1.0);
        assert_eq!(refused, Err(AppendError::TimeOutOfRange { timestamp, limit: MAX_TIME_MS }));
    }
    let samples = [-MAX_TIME_MS, 0, MAX_TIME_MS].map(|t| sample(t, 1.0));
    for sample in samples {
        appender.append(&series, sample.timestamp, sample.value).unwrap();
    }
    appender.commit().unwrap();
    assert_eq!(all(&db)[0].1, samples);
    assert_eq!(db.compact_head().unwrap().len(), 3);
    assert_eq!(all(&db)[0].1, samples);
}

#[test]
fn refs_that_were_never_given_out_are_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut appender = db.appender();
    for series in [0, 1, u64::MAX].map(SeriesRef) {
        let refused = appender.append_ref(series, 1, 1.0);
        assert_eq!(refused, Err(AppendError::UnknownSeries { series }));
    }
}

#[test]
fn label_sets_of_any_size_within_the_limits_are_logged_in_one_batch() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let value = "v".repeat(60_000);
    let wide = |i: usize| {
        let pairs = (0..10).map(|n| (format!("name_{n}"), format!("{value}{i}")));
        Labels::from_pairs(pairs).unwrap()
    };
    let mut appender = db.appender();
    for i in 0..5 {
        appender.append(&wide(i), 1, 1.0).unwrap();
    }
    assert_eq!(appender.commit().unwrap().samples, 5);
    let before = all(&db);
    drop(db);
    assert_eq!(all(&open(dir.path())), before);
}

#[test]
fn labels_that_no_write_of_the_log_holds_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut limits = Limits::default();
    (limits.labels, limits.label_value_bytes) = (300, 1 << 20);
    let db = Db::open(dir.path(), with_limits(limits)).unwrap();
    let value = "x".repeat(1 << 20);
    let pairs = (0..257).map(|n| (format!("n{n:03}"), value.as_str()));
    let labels_too_long = ferula_index::Labels::from_pairs(pairs).unwrap();
    let mut appender = db.appender();
    let refused = appender.append(&labels_too_long, 1, 1.0);
    // Accepted, it would have been refused by the log, and the log takes nothing after that.
    let limit = ferula_tsdb::MAX_LABEL_SET_BYTES;
    assert!(
        matches!(refused, Err(AppendError::LabelSetTooLong { limit: l, .. }) if l == limit),
        "accepted, and then {:?}",
        appender.commit()
    );
    appender.append(&labels(&[("a", "b")]), 1, 1.0).unwrap();
    assert_eq!(appender.commit().unwrap().samples, 1);
}
