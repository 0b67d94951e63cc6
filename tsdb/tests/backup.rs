//! A backup is whole or not there, whatever fails while it is made.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{RANGE, labels, read, scrape, short_blocks};
use ferula_tsdb::{Db, Error, ReadOnlyDb};
use ferula_wal::fs::{Fault, FaultFs, Fs, Survival};

#[test]
fn a_backup_that_was_made_survives_a_crash_and_one_that_fails_leaves_nothing() {
    let filled = || {
        let fs = FaultFs::new();
        let mut options = short_blocks();
        options.out_of_order_window_ms = RANGE;
        let db = Db::open_with(Arc::new(fs.clone()), "/data", options).unwrap();
        scrape(&db, 2, 0, 3 * RANGE);
        db.maintain().unwrap();
        let mut batch = db.appender();
        for time in [3 * RANGE - 500, 3 * RANGE - 20_500] {
            batch.append(&labels(&[("late", "x")]), time, 1.0).unwrap();
        }
        batch.commit().unwrap();
        let reader = ReadOnlyDb::open_with(Arc::new(fs.clone()), "/data").unwrap();
        (fs, db, reader)
    };
    let content = |fs: &FaultFs, dir: &str| {
        let db = ReadOnlyDb::open_with(Arc::new(fs.clone()), dir).unwrap();
        read(&db.querier(i64::MIN, i64::MAX).unwrap())
    };
    let (fs, _db, reader) = filled();
    let expected = content(&fs, "/data");
    assert_eq!(expected.len(), 3);
    let n_before = fs.operations();
    let report = reader.backup("/backups/one").unwrap();
    let n_operations = fs.operations() - n_before;
    assert!(report.blocks.len() > 3 && report.damaged.is_empty());
    assert!(matches!(reader.backup("/backups/one"), Err(Error::NotEmpty { .. })));
    assert!(content(&fs.crash(Survival::Nothing), "/backups/one") == expected);
    for operation in 0..n_operations {
        for fault in [Fault::NoSpace, Fault::Io] {
            let (fs, _db, reader) = filled();
            fs.inject(fs.operations() + operation, fault);
            let outcome = reader.backup("/backups/one");
            fs.clear_faults();
            assert!(content(&fs, "/data") == expected, "operation {operation}");
            match outcome {
                // A file that cannot be linked is copied.
                Ok(_) => assert!(content(&fs, "/backups/one") == expected, "{operation}"),
                // Only the last step gives the name.
                Err(_) if fs.exists(Path::new("/backups/one")).unwrap() => {
                    assert!(content(&fs, "/backups/one") == expected, "{operation}");
                }
                Err(_) => {
                    reader.backup("/backups/one").unwrap();
                    assert!(content(&fs, "/backups/one") == expected, "{operation}");
                }
            }
        }
    }
}
