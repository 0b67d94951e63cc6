//! A snapshot is a directory of blocks with everything committed.

mod common;

use std::sync::Arc;

use common::{RANGE, all, commit, labels, names, read, sample, scrape, short_blocks};
use ferula_tsdb::{Db, Error, ReadOnlyDb};
use ferula_wal::fs::{Fault, FaultFs, Survival};

#[test]
fn a_snapshot_holds_blocks_and_head() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    scrape(&db, 3, 0, 2 * RANGE);
    assert_eq!(db.maintain().unwrap().len(), 1);
    scrape(&db, 3, 2 * RANGE, 3 * RANGE + 20_000);
    let mut open_batch = db.appender();
    open_batch.append(&labels(&[("not", "committed")]), 3 * RANGE + 20_000, 1.0).unwrap();
    let before = all(&db);

    let target = tempfile::tempdir().unwrap();
    let target = target.path().join("snapshots/one");
    let mut blocks = db.snapshot(&target).unwrap();
    // The block, and the head in three ranges.
    assert_eq!(blocks.len(), 4);
    blocks.sort();
    let expected: Vec<String> = blocks.iter().map(ToString::to_string).collect();
    assert_eq!(names(&target), expected);
    assert_eq!(all(&db), before, "the database goes on as before");
    assert_eq!(db.stats().blocks.len(), 1);
    let end = db.stats().head_maxt.unwrap() + 1;
    open_batch.commit().unwrap();

    let copy = Db::open_read_only(&target).unwrap();
    assert_eq!(read(&copy.querier(i64::MIN, i64::MAX).unwrap()), before);
    let ranges: Vec<_> = copy.stats().blocks.iter().map(|meta| (meta.mint, meta.maxt)).collect();
    let at = |n| n * RANGE;
    assert_eq!(ranges, [(0, at(1)), (at(1), at(2)), (at(2), at(3)), (at(3), end)]);
    // It can be written on where it ends, as a database of its own.
    let copy = Db::open(&target, short_blocks()).unwrap();
    assert_eq!(all(&copy), before);
    commit(&copy, &labels(&[("a", "b")]), &[sample(end, 1.0)]);
    assert_eq!(all(&db).len(), 4);
}

#[test]
fn a_snapshot_into_the_database_itself_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert!(matches!(db.snapshot(dir.path()), Err(Error::SnapshotTarget { .. })));
    assert_eq!(db.snapshot(dir.path().join("snapshots/empty")).unwrap(), []);
}

#[test]
fn a_snapshot_into_a_database_is_refused_however_it_is_spelled() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    commit(&db, &labels(&[("a", "b")]), &[sample(10, 1.0)]);
    let alias = dir.path().join("wal/..");
    assert!(matches!(db.snapshot(&alias), Err(Error::SnapshotTarget { .. })));
    // Its log would count as covered by the blocks, whether or not it is open.
    let other = tempfile::tempdir().unwrap();
    drop(Db::open(other.path(), short_blocks()).unwrap());
    assert!(matches!(db.snapshot(other.path()), Err(Error::SnapshotTarget { .. })));
    assert_eq!(names(other.path()), ["lock", "wal"]);
}

#[test]
fn a_batch_that_was_committed_later_is_not_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    let series = labels(&[("a", "b")]);
    commit(&db, &series, &[sample(1, 1.0), sample(2, 2.0)]);
    let querier = db.querier(0, RANGE).unwrap();
    let target = tempfile::tempdir().unwrap();
    db.snapshot(target.path()).unwrap();
    commit(&db, &series, &[sample(3, 3.0)]);
    let copy = Db::open_read_only(target.path()).unwrap();
    assert_eq!(read(&copy.querier(0, RANGE).unwrap()), read(&querier));
}

#[test]
fn a_snapshot_that_was_made_survives_a_crash() {
    let filled = || {
        let fs = FaultFs::new();
        let db = Db::open_with(Arc::new(fs.clone()), "/data", short_blocks()).unwrap();
        scrape(&db, 2, 0, 2 * RANGE);
        db.maintain().unwrap();
        (fs, db)
    };
    let copy = |fs: FaultFs| {
        let copy = ReadOnlyDb::open_with(Arc::new(fs), "/snapshots/one").unwrap();
        read(&copy.querier(i64::MIN, i64::MAX).unwrap())
    };
    let (fs, db) = filled();
    let before = all(&db);
    let n_before = fs.operations();
    db.snapshot("/snapshots/one").unwrap();
    let n_operations = fs.operations() - n_before;
    assert!(copy(fs.crash(Survival::Nothing)) == before);

    // One that fails leaves the database as it was, and can be made again elsewhere.
    for operation in 0..n_operations {
        let (fs, db) = filled();
        fs.inject(fs.operations() + operation, Fault::NoSpace);
        if db.snapshot("/snapshots/one").is_ok() {
            assert!(copy(fs.crash(Survival::Nothing)) == before, "operation {operation}");
            continue;
        }
        assert!(all(&db) == before, "operation {operation}");
        assert_eq!(db.snapshot("/snapshots/two").unwrap().len(), 2);
    }
}
