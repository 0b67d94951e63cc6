//! Blocks are cut from the head when they are due, and hold what they cover.

mod common;

use common::{RANGE, all, commit, labels, names, read, sample, scrape, short_blocks};
use ferula_index::Matcher;
use ferula_tsdb::{AppendError, Db};

#[test]
fn a_head_of_one_and_a_half_ranges_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    scrape(&db, 3, 5_000, RANGE * 3 / 2 + 6_000);
    assert_eq!(db.maintain().unwrap(), [], "exactly one and a half ranges are not enough");
    scrape(&db, 3, RANGE * 3 / 2 + 6_000, RANGE * 3 / 2 + 7_000);
    let before = all(&db);
    let cut = db.maintain().unwrap();
    assert_eq!(cut.len(), 1);
    assert_eq!(all(&db), before);

    let stats = db.stats();
    let [meta] = &stats.blocks[..] else { panic!("one block: {stats:?}") };
    assert_eq!((meta.ulid, meta.mint, meta.maxt), (cut[0], 5_000, RANGE));
    assert_eq!((meta.stats.num_series, meta.stats.num_samples), (3, 3 * 55));
    assert_eq!((meta.compaction.level, &meta.compaction.sources[..]), (1, &cut[..]));
    assert_eq!(stats.head_mint, Some(RANGE));
    let block = dir.path().join(cut[0].to_string());
    assert_eq!(names(&block), ["chunks", "index", "meta.json", "tombstones"]);
    assert_eq!(names(dir.path()), [cut[0].to_string().as_str(), "chunks_head", "lock", "wal"]);
    assert_eq!(db.maintain().unwrap(), []);

    drop(db);
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(all(&db), before);
    let report = db.open_report();
    assert_eq!((report.blocks, report.quarantined.len()), (1, 0));
}

#[test]
fn many_blocks_are_cut_at_once_and_the_log_shrinks() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = short_blocks();
    options.head_snapshot = false;
    let db = Db::open(dir.path(), options).unwrap();
    scrape(&db, 50, 0, 5 * RANGE);
    let before = all(&db);
    let wal_before = db.stats().wal_bytes;
    assert_eq!(db.maintain().unwrap().len(), 4);
    assert_eq!(all(&db), before);
    let stats = db.stats();
    assert!(stats.wal_bytes < wal_before, "{} of {wal_before}", stats.wal_bytes);
    assert!(names(&dir.path().join("wal")).iter().any(|name| name.starts_with("checkpoint.")));
    // What stays is the last range.
    assert_eq!((stats.head_mint, stats.n_chunks), (Some(4 * RANGE), 50));
    drop(db);
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(all(&db), before);
    assert_eq!(db.open_report().samples, 50 * 60);
}

#[test]
fn series_without_samples_leave_the_head_but_not_the_answers() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    let gone = labels(&[("a", "gone")]);
    let kept = labels(&[("a", "kept")]);
    let mut appender = db.appender();
    let gone_ref = appender.append(&gone, 1_000, 1.0).unwrap();
    appender.commit().unwrap();
    commit(&db, &kept, &[sample(0, 1.0), sample(2 * RANGE, 2.0)]);
    assert_eq!(db.maintain().unwrap().len(), 1);
    assert_eq!(db.stats().n_series, 1);

    let mut appender = db.appender();
    let refused = appender.append_ref(gone_ref, 2 * RANGE, 2.0);
    assert_eq!(refused, Err(AppendError::UnknownSeries { series: gone_ref }));
    let again = appender.append(&gone, 2 * RANGE, 2.0).unwrap();
    assert_ne!(again, gone_ref);
    appender.commit().unwrap();
    let expected = [
        (gone.clone(), vec![sample(1_000, 1.0), sample(2 * RANGE, 2.0)]),
        (kept.clone(), vec![sample(0, 1.0), sample(2 * RANGE, 2.0)]),
    ];
    assert_eq!(all(&db), expected);
    drop(db);
    // The log knows the series by two refs now.
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(all(&db), expected);
    let mut appender = db.appender();
    appender.append(&gone, 2 * RANGE + 1, 3.0).unwrap();
    appender.commit().unwrap();
    drop(db);
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(all(&db)[0].1.len(), 3);
}

#[test]
fn an_open_querier_keeps_what_it_saw() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    scrape(&db, 5, 0, 4 * RANGE);
    let before = all(&db);
    let n_chunks = db.stats().n_chunks;
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    let selected = querier.select(&[Matcher::equal("n", "1")]).unwrap();
    assert_eq!(db.maintain().unwrap().len(), 3);
    assert_eq!(read(&querier), before);
    let mut batch = ferula_chunkenc::SampleBatch::new();
    drop(querier);
    selected.read(0, &mut batch).unwrap();
    assert_eq!(batch.len(), 4 * 60);
    assert_eq!(db.stats().n_chunks, n_chunks, "kept for the series set");
    // Others read the blocks meanwhile, each sample once.
    assert_eq!(all(&db), before);
    drop(selected);
    assert_eq!(db.maintain().unwrap(), []);
    assert_eq!(db.stats().n_chunks, 5, "removed once nobody reads them");
    assert_eq!(all(&db), before);
}

#[test]
fn samples_of_a_range_that_was_cut_are_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    let series = labels(&[("a", "b")]);
    commit(&db, &series, &[sample(0, 1.0), sample(10, 1.0)]);
    // A batch that is open while the block is cut.
    let other = labels(&[("a", "c")]);
    let mut overtaken = db.appender();
    overtaken.append(&other, 20, 1.0).unwrap();
    overtaken.append(&other, RANGE, 2.0).unwrap();
    assert_eq!(db.compact_head().unwrap().len(), 1);
    let committed = overtaken.commit().unwrap();
    assert_eq!((committed.samples, committed.refused), (1, 1));
    let mut late = db.appender();
    let refused = late.append(&series, RANGE - 1, 2.0);
    assert_eq!(refused, Err(AppendError::TooOld { timestamp: RANGE - 1, oldest: RANGE }));
    late.append(&series, RANGE, 3.0).unwrap();
    late.commit().unwrap();
    let expected = [
        (series, vec![sample(0, 1.0), sample(10, 1.0), sample(RANGE, 3.0)]),
        (other, vec![sample(RANGE, 2.0)]),
    ];
    assert_eq!(all(&db), expected);
}

#[test]
fn gaps_between_samples_give_no_empty_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    let series = labels(&[("a", "b")]);
    let times = [-RANGE * 40 - 1, 5, 1000 * RANGE, 5000 * RANGE + 7];
    commit(&db, &series, &times.map(|t| sample(t, 1.0)));
    assert_eq!(db.maintain().unwrap().len(), 3);
    let ranges: Vec<_> = db.stats().blocks.iter().map(|meta| (meta.mint, meta.maxt)).collect();
    let expected = [(times[0], -40 * RANGE), (5, RANGE), (times[2], 1001 * RANGE)];
    assert_eq!(ranges, expected);
    assert_eq!(all(&db)[0].1, times.map(|t| sample(t, 1.0)));
    assert_eq!(db.compact_head().unwrap().len(), 1);
    assert_eq!(db.stats().n_series, 0);
    assert_eq!(all(&db)[0].1, times.map(|t| sample(t, 1.0)));
}

#[test]
fn label_names_and_values_come_from_head_and_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    commit(&db, &labels(&[("a", "1"), ("old", "x")]), &[sample(0, 1.0)]);
    db.compact_head().unwrap();
    commit(&db, &labels(&[("a", "2"), ("new", "x")]), &[sample(RANGE, 1.0)]);
    let querier = db.querier(0, 2 * RANGE).unwrap();
    assert_eq!(querier.label_names(&[]).unwrap(), ["a", "new", "old"]);
    assert_eq!(querier.label_values("a", &[]).unwrap(), ["1", "2"]);
    let new = [Matcher::equal("new", "x")];
    assert_eq!(querier.label_values("a", &new).unwrap(), ["2"]);
    assert_eq!(querier.label_names(&new).unwrap(), ["a", "new"]);
    assert_eq!(querier.label_values("none", &[]).unwrap(), [""; 0]);
    // Only what overlaps the range counts.
    let late = db.querier(RANGE, RANGE).unwrap();
    assert_eq!(late.label_values("a", &[]).unwrap(), ["2"]);
}
