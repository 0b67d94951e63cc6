//! What is deleted is gone at once, everywhere, and for good.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{RANGE, all, commit, in_format, labels, read, sample, scrape, short_blocks};
use ferula_index::Matcher;
use ferula_tsdb::{BlockFormat, Db, Error};
use ferula_wal::fs::{FaultFs, Fs, Survival};

fn of(n: &str) -> [Matcher; 1] {
    [Matcher::equal("n", n)]
}

/// Two blocks and a head of three series.
fn open(fs: &Arc<FaultFs>) -> Db {
    open_in(fs, BlockFormat::default())
}

fn open_in(fs: &Arc<FaultFs>, format: BlockFormat) -> Db {
    let options = in_format(short_blocks(), format);
    let db = Db::open_with(Arc::clone(fs) as _, "/data", options).unwrap();
    scrape(&db, 3, 0, 2 * RANGE);
    db.compact_head().unwrap();
    scrape(&db, 3, 2 * RANGE, 3 * RANGE);
    db
}

fn lens(db: &Db) -> Vec<usize> {
    all(db).iter().map(|(_, samples)| samples.len()).collect()
}

#[test]
fn samples_of_blocks_and_head_are_gone_at_once_and_after_a_crash() {
    let fs = Arc::new(FaultFs::new());
    let db = open(&fs);
    let reader = db.querier(i64::MIN, i64::MAX).unwrap();
    // Over the border of a block, and over that of the head.
    db.delete(&of("0"), 50_000, 70_000).unwrap();
    db.delete(&of("1"), 110_000, 130_000).unwrap();
    let check = |db: &Db| {
        assert_eq!(lens(db), [180 - 21, 180 - 21, 180]);
        assert!(all(db)[1].1.iter().all(|s| !(110_000..=130_000).contains(&s.timestamp)));
        // Nothing of it is left in the range.
        let between = db.querier(110_000, 130_000).unwrap();
        assert_eq!(read(&between).len(), 2);
    };
    check(&db);
    assert_eq!(read(&reader)[0].1.len(), 180, "who reads it goes on");
    drop(reader);
    // Cut into a block, the head's part stays out.
    let crashed: Arc<FaultFs> = Arc::new(fs.crash(Survival::Nothing));
    drop(db);
    let db = Db::open_with(Arc::clone(&crashed) as _, "/data", short_blocks()).unwrap();
    check(&db);
    db.delete(&of("0"), 150_000, 170_000).unwrap();
    db.compact_head().unwrap();
    assert_eq!(lens(&db), [180 - 42, 180 - 21, 180]);
    db.clean_tombstones().unwrap();
    assert_eq!(lens(&db), [180 - 42, 180 - 21, 180]);
    drop(db);
    let db = Db::open_with(crashed, "/data", short_blocks()).unwrap();
    assert_eq!(lens(&db), [180 - 42, 180 - 21, 180]);
}

#[test]
fn a_series_of_which_nothing_is_left_is_not_listed() {
    let fs = Arc::new(FaultFs::new());
    let db = open(&fs);
    commit(&db, &labels(&[("__name__", "rare"), ("only", "here")]), &[sample(170_000, 1.0)]);
    db.delete(&of("1"), i64::MIN, i64::MAX).unwrap();
    db.delete(&[Matcher::equal("__name__", "rare")], 0, i64::MAX).unwrap();
    let check = |db: &Db| {
        let querier = db.querier(i64::MIN, i64::MAX).unwrap();
        assert_eq!(querier.label_values("n", &[]).unwrap(), ["0", "2"]);
        assert_eq!(querier.label_values("n", &of("1")).unwrap(), [""; 0]);
        assert_eq!(querier.label_values("__name__", &[]).unwrap(), ["m"]);
        assert_eq!(querier.label_names(&[]).unwrap(), ["__name__", "job", "n"]);
        assert_eq!(querier.select(&[]).unwrap().len(), 2);
    };
    check(&db);
    drop(db);
    let db = Db::open_with(Arc::clone(&fs) as _, "/data", short_blocks()).unwrap();
    check(&db);
    db.compact_head().unwrap();
    check(&db);
}

#[test]
fn what_comes_later_is_not_deleted() {
    let fs = Arc::new(FaultFs::new());
    let db = open(&fs);
    let open_batch = {
        let mut batch = db.appender();
        batch
            .append(&labels(&[("__name__", "m"), ("job", "test"), ("n", "0")]), 180_500, 7.0)
            .unwrap();
        batch
    };
    db.delete(&[], i64::MIN, i64::MAX).unwrap();
    assert_eq!(all(&db), []);
    open_batch.commit().unwrap();
    scrape(&db, 3, 181_000, 182_000);
    assert_eq!(lens(&db), [2, 1, 1]);
    db.compact_head().unwrap();
    assert_eq!(lens(&db), [2, 1, 1]);
    scrape(&db, 3, 250_000, 251_000);
    db.delete(&of("2"), i64::MIN, i64::MAX).unwrap();
    scrape(&db, 3, 251_000, 252_000);
    let again = fs.crash(Survival::Everything);
    drop(db);
    let again = Db::open_with(Arc::new(again), "/data", short_blocks()).unwrap();
    assert_eq!(lens(&again), [4, 3, 1]);
}

#[test]
fn a_head_all_of_which_is_deleted_makes_no_block() {
    let fs = Arc::new(FaultFs::new());
    let db = open(&fs);
    let before = db.stats().blocks.len();
    db.delete(&[], 2 * RANGE, i64::MAX).unwrap();
    assert_eq!(db.compact_head().unwrap(), []);
    assert_eq!(db.stats().blocks.len(), before);
    drop(db);
    let db = Db::open_with(Arc::clone(&fs) as _, "/data", short_blocks()).unwrap();
    assert_eq!(lens(&db), [120; 3]);
}

#[test]
fn deleting_the_newest_block_whole_does_not_bring_the_log_back() {
    let fs = Arc::new(FaultFs::new());
    let db = open(&fs);
    db.compact_head().unwrap();
    db.delete(&[], i64::MIN, i64::MAX).unwrap();
    db.compact().unwrap();
    db.clean_tombstones().unwrap();
    assert_eq!(all(&db), []);
    drop(db);
    let db = Db::open_with(Arc::clone(&fs) as _, "/data", short_blocks()).unwrap();
    assert_eq!(all(&db), []);
    assert_eq!(db.stats().blocks.len(), 1, "where it ends tells what the log need not say");
    db.close().unwrap();
    assert!(matches!(db.delete(&[], 0, 1), Err(Error::Closed)));
}

#[test]
fn a_block_that_could_not_be_read_loses_what_is_deleted_or_the_deletion_fails() {
    let fs = Arc::new(FaultFs::new());
    let db = open_in(&fs, BlockFormat::Prometheus);
    // A block is set aside by a read that fails while it is rewritten, and can be read again.
    let is_set_aside = (0..20).any(|after| {
        db.delete(&of("1"), 0, 10_500).unwrap();
        fs.fail_read(fs.reads() + after);
        db.clean_tombstones().is_err() && !db.stats().quarantined.is_empty()
    });
    assert!(is_set_aside);
    db.delete(&of("0"), i64::MIN, i64::MAX).unwrap();
    let crashed: Arc<FaultFs> = Arc::new(fs.crash(Survival::Nothing));
    drop(db);
    let db = Db::open_with(Arc::clone(&crashed) as _, "/data", short_blocks()).unwrap();
    assert_eq!(db.stats().blocks.len(), 2);
    assert_eq!(lens(&db), [180 - 11, 180]);
}

#[test]
fn deleting_from_a_block_that_did_not_open_fails_and_deletes_from_the_others() {
    let fs = Arc::new(FaultFs::new());
    let db = open(&fs);
    let [first, second] = &db.stats().blocks[..] else { panic!("two blocks") };
    let aside = Path::new("/data").join(first.ulid.to_string());
    let within_second = (second.mint, second.maxt - 1);
    drop(db);
    let index = aside.join("index");
    let away = Path::new("/data/index-of-first");
    fs.rename(&index, away).unwrap();
    let db = Db::open_with(Arc::clone(&fs) as _, "/data", short_blocks()).unwrap();
    assert_eq!(db.open_report().quarantined[0].dir, aside);
    // It holds nothing of that time.
    db.delete(&of("1"), within_second.0, within_second.1).unwrap();
    let failed = db.delete(&of("0"), i64::MIN, i64::MAX).unwrap_err();
    assert!(matches!(&failed, Error::OutOfReach { dir, .. } if *dir == aside), "{failed}");
    assert_eq!(lens(&db), [60, 120]);
    drop(db);
    // Mended, it serves what it has.
    fs.rename(away, &index).unwrap();
    let db = Db::open_with(Arc::clone(&fs) as _, "/data", short_blocks()).unwrap();
    assert_eq!(lens(&db), [60, 120, 180]);
}
