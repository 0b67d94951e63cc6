//! What is committed is there after closing and opening again.

mod common;

use common::{all, labels, open, options, sample};
use ferula_tsdb::{Db, Options};

#[test]
fn committed_samples_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let up = labels(&[("__name__", "up"), ("job", "a")]);
    let down = labels(&[("__name__", "down")]);
    let mut appender = db.appender();
    let up_ref = appender.append(&up, 1_000, 1.0).unwrap();
    appender.append(&down, 1_000, f64::NAN).unwrap();
    appender.append_ref(up_ref, 2_000, 2.0).unwrap();
    assert_eq!(appender.commit().unwrap().samples, 3);
    let before = all(&db);
    assert_eq!(before[1], (up.clone(), vec![sample(1_000, 1.0), sample(2_000, 2.0)]));
    db.close().unwrap();

    let db = open(dir.path());
    assert_eq!(all(&db), before);
    let report = db.open_report();
    assert_eq!((report.series, report.from_snapshot, report.cut_bytes), (2, true, 0));
    // Refs go on after those of the log.
    let mut appender = db.appender();
    appender.append_ref(up_ref, 3_000, 3.0).unwrap();
    let other = appender.append(&labels(&[("__name__", "other")]), 3_000, 0.0).unwrap();
    assert!(other > up_ref);
    appender.commit().unwrap();
    let before = all(&db);
    drop(db);
    assert_eq!(all(&open(dir.path())), before);
}

#[test]
fn what_is_not_committed_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut kept = db.appender();
    kept.append(&labels(&[("a", "kept")]), 1, 1.0).unwrap();
    kept.commit().unwrap();
    let mut lost = db.appender();
    lost.append(&labels(&[("a", "lost")]), 1, 1.0).unwrap();
    drop(lost);
    drop(db);
    let db = open(dir.path());
    assert_eq!(all(&db).len(), 1);
    assert_eq!(db.stats().n_series, 1);
}

#[test]
fn a_closed_database_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut appender = db.appender();
    appender.append(&labels(&[("a", "b")]), 1, 1.0).unwrap();
    db.close().unwrap();
    db.close().unwrap();
    assert!(matches!(appender.commit(), Err(ferula_tsdb::Error::Closed)));
    assert!(matches!(db.querier(0, 1), Err(ferula_tsdb::Error::Closed)));
    let open_again = Db::open(dir.path(), options());
    assert!(open_again.is_ok(), "closing gives the directory free while the handle lives");
}

#[test]
fn settings_are_checked_at_opening_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.block_range_ms = -1;
    let refused = Db::open(dir.path(), options).unwrap_err();
    let expected = "option block_range_ms is 0, which is not within 1000 to 316224000000";
    assert_eq!(refused.to_string(), expected);
}
