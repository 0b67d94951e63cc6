//! Blocks of other directories are taken over.

mod common;

use common::{RANGE, all, labels, scrape, short_blocks};
use ferula_tsdb::Db;

#[test]
fn the_log_keeps_what_a_block_overlaps() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    scrape(&db, 2, 0, 2 * RANGE);
    db.maintain().unwrap();
    let other = tempfile::tempdir().unwrap();
    let source = Db::open(other.path(), short_blocks()).unwrap();
    let series = labels(&[("other", "series")]);
    let mut batch = source.appender();
    for n in 0..5 {
        batch.append(&series, n * RANGE / 2 + 7, 1.0).unwrap();
    }
    batch.commit().unwrap();
    source.compact_head().unwrap();
    let mut expected = all(&db);
    expected.extend(all(&source));
    let report = db.import_blocks(other.path(), &mut |done, all| assert!(done <= all)).unwrap();
    assert_eq!(report.blocks.len(), 3);
    assert!(report.known.is_empty() && report.damaged.is_empty() && report.has_log);
    // At once, after a crash, and when the head is cut and all is compacted.
    assert!(all(&db) == expected);
    drop(db);
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert!(all(&db) == expected);
    db.compact_head().unwrap();
    db.compact().unwrap();
    assert!(all(&db) == expected);
    assert_eq!(db.import_blocks(other.path(), &mut |_, _| {}).unwrap().known.len(), 3);
}
