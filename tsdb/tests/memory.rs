//! What the head takes stays where it is while series come and go.

mod common;

use common::{RANGE, labels, short_blocks};
use ferula_index::{Labels, SeriesRef};
use ferula_tsdb::{Db, MemoryUsage};

/// Series at any time.
const N_SERIES: usize = 1000;

/// Series that are replaced between two scrapes.
const CHURN: usize = 10;

/// Time between two scrapes.
const STEP_MS: i64 = 2000;

#[test]
fn memory_is_flat_while_series_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    let mut live: Vec<(Labels, Option<SeriesRef>)> = Vec::new();
    let mut n_made = 0;
    let mut make = || {
        n_made += 1;
        (labels(&[("__name__", "m"), ("pod", &n_made.to_string())]), None)
    };
    live.resize_with(N_SERIES, &mut make);
    let mut taken: Vec<MemoryUsage> = Vec::new();
    for t in (0..16 * RANGE).step_by(usize::try_from(STEP_MS).unwrap()) {
        // Series end wherever their refs lie, not in the order in which they came.
        let n = usize::try_from(t / STEP_MS).unwrap();
        for i in 0..CHURN {
            let random = (n * CHURN + i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            live[(random ^ random >> 32) % N_SERIES] = make();
        }
        let mut batch = db.appender();
        for (i, (labels, series)) in live.iter_mut().enumerate() {
            let value = (t as f64 / 7.0 + i as f64).sqrt();
            match *series {
                Some(series) => batch.append_ref(series, t, value).unwrap(),
                None => *series = Some(batch.append(labels, t, value).unwrap()),
            }
        }
        assert_eq!(batch.commit().unwrap().samples, N_SERIES);
        if !db.maintain().unwrap().is_empty() {
            taken.push(db.memory());
        }
    }
    assert!(taken.len() > 12, "{}", taken.len());
    // The first ranges fill up; from then on as much comes as goes.
    let (settled, last) = (taken[4], taken[taken.len() - 1]);
    let most = taken[4..].iter().map(MemoryUsage::total_bytes).max().unwrap();
    assert!(most < settled.total_bytes() * 5 / 4, "{settled:?}, then {taken:?}");
    assert!(last.series_bytes < settled.series_bytes * 5 / 4, "{settled:?}, then {last:?}");

    // When all series end, all of it goes.
    drop(live);
    let mut batch = db.appender();
    batch.append(&labels(&[("a", "last")]), 40 * RANGE, 1.0).unwrap();
    batch.commit().unwrap();
    db.maintain().unwrap();
    let left = db.memory();
    assert_eq!(db.stats().n_series, 1);
    // Buffers stay, and the tables of the index are kept for as many series as there were.
    let of_series = |usage: &MemoryUsage| {
        let kept = usage.batch_bytes + usage.chunk_file_bytes + usage.index.total_bytes();
        usage.total_bytes() - kept
    };
    assert!(of_series(&left) < of_series(&last) / 20, "{left:?} of {last:?}");
}
