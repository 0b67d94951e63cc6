//! What series say of their metrics is kept, changed and found, with the batch it came in.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{RANGE, labels, open, options, scrape, short_blocks};
use ferula_index::{Labels, SeriesRef};
use ferula_tsdb::{
    Db, MAX_BATCH_METADATA_BYTES, MAX_METADATA_BYTES, Metadata, MetadataError, MetricType, Options,
    SyncPolicy,
};
use ferula_wal::LogReader;
use ferula_wal::fs::{FaultFs, Fs, StdFs};
use ferula_wal::record::Record;

fn series(metric: &str, n: usize) -> Labels {
    labels(&[("__name__", metric), ("n", &n.to_string())])
}

fn gauge(help: &str) -> Metadata {
    Metadata::new(MetricType::Gauge, "", help)
}

/// Commits a sample of a series of a metric, and what it says. Returns whether that is new.
fn commit(db: &Db, metric: &str, n: usize, metadata: &Metadata) -> bool {
    let mut batch = db.appender();
    let time = db.stats().head_maxt.unwrap_or(0).max(db.stats().head_from) + 1;
    batch.append(&series(metric, n), time, 1.0).unwrap();
    batch.update_metadata(&series(metric, n), metadata).unwrap();
    batch.commit().unwrap().metadata == 1
}

fn found(db: &Db, metric: Option<&str>) -> Vec<(String, Vec<String>)> {
    let helps = |metadata: &[Metadata]| metadata.iter().map(|m| m.help.clone()).collect();
    let found = db.metadata(metric).unwrap();
    found.iter().map(|of_metric| (of_metric.metric.clone(), helps(&of_metric.metadata))).collect()
}

fn expected(all: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |helps: &[&str]| helps.iter().map(|help| (*help).to_owned()).collect();
    all.iter().map(|(metric, helps)| ((*metric).to_owned(), owned(helps))).collect()
}

/// Entries of metadata in the log of a directory.
fn n_logged(dir: &std::path::Path) -> usize {
    let mut log = LogReader::open(Arc::new(StdFs), &dir.join("wal")).unwrap();
    let mut n = 0;
    while let Some(record) = log.next_record().unwrap() {
        if let Record::Metadata(mut entries) = record.decode().unwrap() {
            while entries.next().unwrap().is_some() {
                n += 1;
            }
        }
    }
    n
}

#[test]
fn metrics_and_series_say_what_was_committed_last() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let full = Metadata::new(MetricType::Histogram, "seconds", "How long it took.");
    assert!(commit(&db, "b", 1, &full));
    assert!(commit(&db, "a", 1, &gauge("first")));
    assert!(commit(&db, "a", 2, &gauge("second")));
    assert_eq!(
        found(&db, None),
        expected(&[("a", &["first", "second"]), ("b", &["How long it took."])])
    );
    assert_eq!(found(&db, Some("b")), expected(&[("b", &["How long it took."])]));
    assert_eq!(found(&db, Some("c")), []);
    assert_eq!(db.metadata_of(&series("b", 1)).unwrap(), Some(full));
    assert_eq!(db.metadata_of(&series("b", 2)).unwrap(), None);

    assert!(commit(&db, "a", 1, &gauge("second")));
    assert!(!commit(&db, "a", 1, &gauge("second")), "it says so already");
    assert_eq!(found(&db, Some("a")), expected(&[("a", &["second"])]));
    // The last word of a batch counts.
    let mut batch = db.appender();
    for help in ["third", "second", "fourth", "fourth"] {
        batch.update_metadata(&series("a", 2), &gauge(help)).unwrap();
    }
    batch.commit().unwrap();
    assert_eq!(db.metadata_of(&series("a", 2)).unwrap(), Some(gauge("fourth")));
    let mut batch = db.appender();
    for help in ["third", "fourth"] {
        batch.update_metadata(&series("a", 2), &gauge(help)).unwrap();
    }
    batch.commit().unwrap();
    assert_eq!(db.metadata_of(&series("a", 2)).unwrap(), Some(gauge("fourth")));
}

#[test]
fn all_series_of_a_metric_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    for n in 0..100 {
        commit(&db, "a", n, &gauge(if n < 30 { "new" } else { "old" }));
    }
    commit(&db, "b", 0, &gauge("old"));
    let mut batch = db.appender();
    assert_eq!(batch.update_metadata_of_metric("a", &gauge("new")), Ok(70));
    assert_eq!(batch.update_metadata_of_metric("c", &gauge("new")), Ok(0));
    assert_eq!(batch.commit().unwrap().metadata, 70);
    assert_eq!(found(&db, None), expected(&[("a", &["new"]), ("b", &["old"])]));
    let mut batch = db.appender();
    assert_eq!(batch.update_metadata_of_metric("a", &gauge("new")), Ok(0));
    drop(batch);
    drop(db);
    assert_eq!(n_logged(dir.path()), 101 + 70);
}

#[test]
fn nothing_is_said_before_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    commit(&db, "a", 1, &gauge("before"));
    let mut batch = db.appender();
    batch.append(&series("a", 2), 100, 1.0).unwrap();
    batch.update_metadata(&series("a", 2), &gauge("after")).unwrap();
    batch.update_metadata(&series("a", 1), &gauge("after")).unwrap();
    assert_eq!(found(&db, None), expected(&[("a", &["before"])]));
    batch.rollback();
    assert_eq!(found(&db, None), expected(&[("a", &["before"])]));

    // Of a series that nobody has committed.
    let mut other = db.appender();
    let made = other.append(&series("new", 1), 100, 1.0).unwrap();
    let mut batch = db.appender();
    batch.update_metadata_ref(made, &gauge("new")).unwrap();
    assert_eq!(batch.commit().unwrap().metadata, 0);
    drop(other);
    assert_eq!(found(&db, None), expected(&[("a", &["before"])]));
}

#[test]
fn each_refusal_has_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    let mut batch = db.appender();
    let known = batch.append(&series("a", 1), 0, 1.0).unwrap();
    let missing = batch.update_metadata(&series("a", 2), &gauge("x"));
    assert_eq!(missing, Err(MetadataError::NoSeries { labels: series("a", 2) }));
    let unknown = batch.update_metadata_ref(SeriesRef(99), &gauge("x"));
    assert_eq!(unknown, Err(MetadataError::UnknownSeries { series: SeriesRef(99) }));
    let long = "x".repeat(MAX_METADATA_BYTES + 1);
    let limit = MAX_METADATA_BYTES;
    let refused = batch.update_metadata_ref(known, &gauge(&long));
    assert_eq!(refused, Err(MetadataError::TooLong { found: limit + 1, limit }));
    let long = gauge(&long[1..]);
    let full = (0..).find_map(|n| {
        batch.append(&series("b", n), 0, 1.0).unwrap();
        batch.update_metadata(&series("b", n), &long).err()
    });
    let limit = MAX_BATCH_METADATA_BYTES;
    assert_eq!(full, Some(MetadataError::BatchTooLarge { limit }));
    let committed = batch.commit().unwrap();
    assert_eq!(committed.metadata, limit / MAX_METADATA_BYTES - 1);
}

#[test]
fn it_lasts_through_every_opening() {
    for is_snapshot in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let options = || {
            let builder = Options::builder().sync(SyncPolicy::Never).maintenance_interval(None);
            builder.head_snapshot(is_snapshot).build().unwrap()
        };
        let db = Db::open(dir.path(), options()).unwrap();
        for n in 0..200 {
            let metric = format!("m{}", n % 3);
            commit(&db, &metric, n, &gauge(if n % 7 == 0 { "seven" } else { "other" }));
        }
        commit(&db, "m0", 0, &Metadata::new(MetricType::StateSet, "states", "changed"));
        let before = (db.metadata(None).unwrap(), db.metadata_of(&series("m0", 0)).unwrap());
        db.close().unwrap();
        let db = Db::open(dir.path(), options()).unwrap();
        assert_eq!(db.open_report().from_snapshot, is_snapshot);
        assert_eq!(db.open_report().skipped_records, 0);
        let after = (db.metadata(None).unwrap(), db.metadata_of(&series("m0", 0)).unwrap());
        assert_eq!(after, before);
        assert!(!commit(&db, "m1", 1, &gauge("other")), "it is known");
        let read_only = Db::open_read_only(dir.path()).unwrap();
        assert_eq!(read_only.metadata(None).unwrap(), before.0);
        assert_eq!(read_only.metadata_of(&series("m0", 0)).unwrap(), before.1);
    }
}

#[test]
fn it_goes_with_its_series_and_stays_with_others() {
    let fs = FaultFs::new();
    let open = || Db::open_with(Arc::new(fs.clone()), "/data", short_blocks()).unwrap();
    let db = open();
    commit(&db, "gone", 1, &gauge("goes"));
    commit(&db, "stays", 1, &gauge("stays"));
    for n in 0..4 {
        scrape(&db, 20, n * 3 * RANGE, (n * 3 + 3) * RANGE);
        let mut batch = db.appender();
        batch.append(&series("stays", 1), (n * 3 + 3) * RANGE - 1, 1.0).unwrap();
        batch.commit().unwrap();
        db.maintain().unwrap();
    }
    let segments = fs.list("/data/wal".as_ref()).unwrap();
    assert!(segments.iter().any(|entry| entry.name.starts_with("checkpoint.")), "{segments:?}");
    assert_eq!(found(&db, None), expected(&[("stays", &["stays"])]));
    drop(db);
    let db = open();
    assert_eq!(found(&db, None), expected(&[("stays", &["stays"])]));
    let taken = db.memory().metadata_bytes;
    assert!(taken > 0);
    // A series that comes anew says nothing.
    let mut batch = db.appender();
    batch.append(&series("gone", 1), 13 * RANGE, 1.0).unwrap();
    batch.commit().unwrap();
    assert_eq!(db.metadata_of(&series("gone", 1)).unwrap(), None);
}

/// A series that was removed and made anew has two refs in the log. What it says after a restart is
/// logged under the first one, whose record must stay as long as that does.
#[test]
fn what_a_series_said_last_holds_when_the_log_is_condensed() {
    let fs = FaultFs::new();
    let options = || {
        let builder = Options::builder().sync(SyncPolicy::Never).maintenance_interval(None);
        builder.block_range_ms(RANGE).head_snapshot(false).build().unwrap()
    };
    let open = || Db::open_with(Arc::new(fs.clone()), "/data", options()).unwrap();
    let said = |db: &Db| db.metadata_of(&series("a", 1)).unwrap().map(|metadata| metadata.help);
    let db = open();
    commit(&db, "a", 1, &gauge("first"));
    db.compact_head().unwrap();
    assert_eq!(said(&db), None, "it left the head");
    drop(db);
    // Each opening begins a segment.
    for n in 0..2 {
        commit(&open(), "b", n, &gauge("other"));
    }
    commit(&open(), "a", 1, &gauge("second"));
    let db = open();
    assert_eq!(said(&db).as_deref(), Some("second"));
    commit(&db, "a", 1, &gauge("third"));
    // The log is condensed up to where the series got its second ref, and not beyond.
    db.compact_head().unwrap();
    let names = fs.list("/data/wal".as_ref()).unwrap();
    assert!(names.iter().any(|entry| entry.name == "checkpoint.00000002"), "{names:?}");
    let mut batch = db.appender();
    batch.append(&series("a", 1), db.stats().head_from + 1, 1.0).unwrap();
    batch.commit().unwrap();
    drop(db);
    assert_eq!(said(&open()).as_deref(), Some("third"));
}
