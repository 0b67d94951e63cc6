//! Chunks that are full leave the memory of the head for files, and are read from there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Content, all, labels, names, options, read};
use ferula_chunkenc::Sample;
use ferula_index::Labels;
use ferula_tsdb::{Db, Options};

const N_SERIES: i64 = 400;

/// Times of samples: four full chunks and a bit, for every series.
const N_TIMES: i64 = 500;

const STEP_MS: i64 = 1000;

/// Blocks of a thousand steps: longer than what is written here.
fn long_blocks() -> Options {
    let mut options = options();
    options.block_range_ms = 1000 * STEP_MS;
    options
}

fn series(i: i64) -> Labels {
    labels(&[("__name__", "m"), ("i", &format!("{i:03}"))])
}

/// Something of which eight bytes are stored.
fn value(i: i64, t: i64) -> f64 {
    ((i * 7919 + t) as f64).sin()
}

fn write(db: &Db, from: i64, to: i64) {
    for n in from..to {
        let t = n * STEP_MS;
        let mut batch = db.appender();
        for i in 0..N_SERIES {
            batch.append(&series(i), t, value(i, t)).unwrap();
        }
        batch.commit().unwrap();
    }
}

fn expected(from: i64, to: i64) -> Content {
    let samples = |i| {
        let at = |n| Sample::new(n * STEP_MS, value(i, n * STEP_MS));
        (from..to).map(at).collect()
    };
    (0..N_SERIES).map(|i| (series(i), samples(i))).collect()
}

#[test]
fn full_chunks_are_read_from_files_until_a_block_holds_them() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), long_blocks()).unwrap();
    write(&db, 0, N_TIMES);
    db.maintain().unwrap();
    let usage = db.memory();
    assert_eq!(usage.full_chunk_bytes, 0, "{usage:?}");
    let files = dir.path().join("chunks_head");
    assert_eq!(names(&files), ["000001"]);
    assert_eq!(all(&db), expected(0, N_TIMES));
    // Parts of chunks, in a file and on the way there.
    let querier = db.querier(10 * STEP_MS, 450 * STEP_MS).unwrap();
    assert_eq!(read(&querier), expected(10, 451));
    drop(querier);
    assert_eq!(db.stats().n_chunks, 4 * 400);

    // A directory that is only read is made from the log.
    let read_only = Db::open_read_only(dir.path()).unwrap();
    let seen = read(&read_only.querier(i64::MIN, i64::MAX).unwrap());
    assert_eq!(seen, expected(0, N_TIMES));

    // What an open reader sees stays in the files.
    write(&db, N_TIMES, 3 * N_TIMES);
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    db.compact_head().unwrap();
    assert_eq!(read(&querier), expected(0, 3 * N_TIMES));
    drop(querier);
    db.maintain().unwrap();
    assert_eq!(db.stats().n_series, 0);
    assert_eq!(all(&db), expected(0, 3 * N_TIMES));
    // Now the file is complete, and nothing needs it any more.
    write(&db, 2000, 2100);
    db.compact_head().unwrap();
    assert!(!names(&files).contains(&"000001".to_owned()), "{:?}", names(&files));
}

#[test]
fn files_of_an_earlier_run_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), long_blocks()).unwrap();
    write(&db, 0, N_TIMES);
    drop(db);
    for is_damaged in [false, true] {
        if is_damaged {
            std::fs::write(dir.path().join("chunks_head/000001"), [7; 100]).unwrap();
        }
        let db = Db::open(dir.path(), long_blocks()).unwrap();
        assert_eq!(all(&db), expected(0, N_TIMES));
        assert!(db.memory().full_chunk_bytes < 2 << 20, "{:?}", db.memory());
        db.maintain().unwrap();
        assert_eq!(db.memory().full_chunk_bytes, 0);
        assert_eq!(all(&db), expected(0, N_TIMES));
    }
}
