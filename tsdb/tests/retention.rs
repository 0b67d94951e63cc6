//! What is beyond the retention goes, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{RANGE, all, names, scrape, short_blocks};
use ferula_index::Matcher;
use ferula_tsdb::{Db, Error, Options, Retention};
use ferula_wal::fs::FaultFs;

/// Blocks that stay as they are cut.
fn options(retention: Retention) -> Options {
    let mut options = short_blocks();
    options.max_block_range_ms = RANGE;
    options.retention = retention;
    options
}

/// Six blocks of three series.
fn with_blocks(dir: &Path) {
    let db = Db::open(dir, options(Retention::default())).unwrap();
    scrape(&db, 3, 0, 6 * RANGE);
    assert_eq!(db.compact_head().unwrap().len(), 6);
}

fn starts(db: &Db) -> Vec<i64> {
    db.stats().blocks.iter().map(|meta| meta.mint / RANGE).collect()
}

#[test]
fn blocks_go_that_end_so_long_before_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    with_blocks(dir.path());
    let db = Db::open(dir.path(), options(Retention::default().time_ms(3 * RANGE))).unwrap();
    assert_eq!(db.stats().blocks.len(), 6);
    let reader = db.querier(i64::MIN, i64::MAX).unwrap();
    db.compact().unwrap();
    assert_eq!(starts(&db), [3, 4, 5]);
    assert_eq!(all(&db)[0].1.len(), 180);
    assert_eq!(common::read(&reader)[0].1.len(), 360, "who reads them goes on");
    assert_eq!(names(dir.path()).iter().filter(|name| name.starts_with("01")).count(), 3);
    assert!(!names(dir.path()).iter().any(|name| name.contains(".tmp")));
    drop(db);
    // The newest stays, however short the time.
    let db = Db::open(dir.path(), options(Retention::default().time_ms(1))).unwrap();
    db.maintain().unwrap();
    assert_eq!(starts(&db), [5]);
}

#[test]
fn the_oldest_blocks_go_until_the_rest_fits() {
    let dir = tempfile::tempdir().unwrap();
    with_blocks(dir.path());
    let sizes = {
        let db = Db::open(dir.path(), options(Retention::default())).unwrap();
        let stats = db.stats();
        (stats.block_bytes / 6, stats.wal_bytes)
    };
    let limit = sizes.1 + sizes.0 * 4 + sizes.0 / 2;
    let db = Db::open(dir.path(), options(Retention::default().size_bytes(limit))).unwrap();
    db.compact().unwrap();
    assert_eq!(starts(&db), [2, 3, 4, 5]);
    let stats = db.stats();
    assert!(stats.block_bytes + stats.wal_bytes <= limit);
    drop(db);
    let db = Db::open(dir.path(), options(Retention::default().size_bytes(1))).unwrap();
    db.compact().unwrap();
    assert_eq!(starts(&db), [5], "one stays");
}

#[test]
fn a_part_of_the_disk_prevails_where_its_size_is_known() {
    let dir = tempfile::tempdir().unwrap();
    with_blocks(dir.path());
    let retention = Retention::default().size_bytes(1).disk_percent(100);
    let db = Db::open(dir.path(), options(retention.clone())).unwrap();
    db.compact().unwrap();
    assert_eq!(starts(&db).len(), if cfg!(unix) { 6 } else { 1 });

    let fs = Arc::new(FaultFs::new());
    let db = Db::open_with(fs, "/data", options(retention)).unwrap();
    scrape(&db, 3, 0, 4 * RANGE);
    db.compact_head().unwrap();
    db.compact().unwrap();
    assert_eq!(starts(&db), [3]);
}

#[test]
fn rules_keep_some_series_longer_and_others_shorter() {
    let dir = tempfile::tempdir().unwrap();
    with_blocks(dir.path());
    let of = |n: &str| [Matcher::equal("n", n)];
    let retention = Retention::default()
        .time_ms(3 * RANGE)
        .rule(&of("0"), Some(5 * RANGE))
        .rule(&[Matcher::new(ferula_index::MatchOp::Regex, "n", "0|1").unwrap()], Some(RANGE));
    let mut kept = options(retention);
    let db = Db::open(dir.path(), kept.clone()).unwrap();
    db.compact().unwrap();
    let lens =
        |db: &Db| -> Vec<usize> { all(db).iter().map(|(_, samples)| samples.len()).collect() };
    // The first block goes as a whole; the first rule that matches holds.
    assert_eq!(starts(&db), [1, 2, 3, 4, 5]);
    assert_eq!(lens(&db), [300, 60, 180]);
    let old = db.querier(0, 2 * RANGE - 1).unwrap();
    assert_eq!(old.label_values("n", &[]).unwrap(), ["0"], "what is gone is not listed");
    // More comes, and more goes.
    scrape(&db, 3, 6 * RANGE, 7 * RANGE);
    db.compact_head().unwrap();
    db.compact().unwrap();
    assert_eq!(lens(&db), [300, 60, 180]);
    drop(db);
    // Compaction gives the room back; a rule without a time keeps its series.
    kept.max_block_range_ms = 3 * RANGE;
    kept.retention = Retention::default().time_ms(1).rule(&of("0"), None);
    let db = Db::open(dir.path(), kept).unwrap();
    db.compact().unwrap();
    assert_eq!(lens(&db), [300, 60, 60]);
    db.clean_tombstones().unwrap();
    assert_eq!(lens(&db), [300, 60, 60]);
    assert!(db.stats().blocks.iter().all(|meta| meta.stats.num_tombstones == 0));
    let n_samples: u64 = db.stats().blocks.iter().map(|meta| meta.stats.num_samples).sum();
    assert_eq!(n_samples, 420);
}

#[test]
fn settings_are_checked() {
    for (retention, name) in [
        (Retention::default().time_ms(0), "retention.time_ms"),
        (Retention::default().rule(&[], Some(-5)), "retention.time_ms"),
        (Retention::default().size_bytes(0), "retention.size_bytes"),
        (Retention::default().disk_percent(101), "retention.disk_percent"),
        (Retention::default().disk_percent(0), "retention.disk_percent"),
    ] {
        let refused = Options::builder().retention(retention).build().unwrap_err();
        assert!(
            matches!(refused, Error::InvalidOption { option, .. } if option == name),
            "{refused}"
        );
    }
}
