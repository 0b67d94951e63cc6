//! Blocks are made of samples that come in any order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{RANGE, all, labels, names, read, sample, scrape, short_blocks};
use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{FloatHistogram, Histogram, Span};
use ferula_chunkenc::stale::STALE_NAN;
use ferula_index::Labels;
use ferula_tsdb::{
    Backfill, BackfillOptions, BackfillReport, BlockFormat, Db, Error, MAX_TIME_MS,
    MIN_BACKFILL_MEMORY_BYTES, ReadOnlyDb, verify,
};
use ferula_wal::fs::{Fault, FaultFs, Fs, Survival};

/// Values as bits, or counts of histograms.
type Model = BTreeMap<Labels, BTreeMap<i64, (u64, bool)>>;

fn backfill_options(format: BlockFormat, memory_bytes: usize) -> BackfillOptions {
    let mut options = BackfillOptions::default();
    (options.block_range_ms, options.block_format) = (RANGE, format);
    options.memory_bytes = memory_bytes;
    options
}

fn histogram(count: u64) -> Histogram {
    Histogram {
        count,
        sum: count as f64,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive_buckets: vec![i64::try_from(count).unwrap()],
        ..Histogram::default()
    }
}

/// Numbers that look like chance.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// Appends `n` samples of 30 series in ten ranges, in no order, some of them twice.
fn fill(backfill: &mut Backfill, n: u64, seed: u64) -> Model {
    let mut number = numbers(seed);
    let mut model = Model::new();
    for i in 0..n {
        let at = number(30);
        let series = labels(&[("__name__", "m"), ("n", &at.to_string())]);
        let time =
            i64::try_from(number(10 * RANGE.unsigned_abs() / 100)).unwrap() * 100 - 3 * RANGE;
        let is_histogram = at.is_multiple_of(10);
        if is_histogram && at == 0 {
            backfill.append_histogram(&series, time, histogram(i + 1)).unwrap();
        } else if is_histogram {
            let float: FloatHistogram = histogram(i + 1).to_float();
            backfill.append_histogram(&series, time, float).unwrap();
        } else {
            let value = if i % 100 == 7 { STALE_NAN } else { i as f64 / 4.0 };
            backfill.append(&series, time, value).unwrap();
            model.entry(series).or_default().entry(time).or_insert((value.to_bits(), false));
            continue;
        }
        let count = ((i + 1) as f64).to_bits();
        model.entry(series).or_default().entry(time).or_insert((count, true));
    }
    model
}

fn content(db: &ReadOnlyDb) -> Model {
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    let found = querier.select(&[]).unwrap();
    let of_series = |index| {
        let mut batch = SampleBatch::new();
        found.read(index, &mut batch).unwrap();
        let sample = |at: usize| match batch.histogram(at) {
            Some(histogram) => (batch.timestamps()[at], (histogram.count.to_bits(), true)),
            None => (batch.timestamps()[at], (batch.values()[at].to_bits(), false)),
        };
        (found.labels(index), (0..batch.len()).map(sample).collect())
    };
    (0..found.len()).map(of_series).collect()
}

fn finish(backfill: Backfill) -> BackfillReport {
    backfill.finish(&mut |done, all| assert!(done <= all)).unwrap()
}

#[test]
fn samples_in_no_order_are_found_once_each() {
    for format in [BlockFormat::Ferula, BlockFormat::Prometheus] {
        // All in memory, and in so many runs that they are merged on the way.
        for (n, memory_bytes) in [(20_000, 1 << 30), (120_000, MIN_BACKFILL_MEMORY_BYTES)] {
            let dir = tempfile::tempdir().unwrap();
            let options = backfill_options(format, memory_bytes);
            let mut backfill = Backfill::open(dir.path(), options).unwrap();
            let model = fill(&mut backfill, n, 7);
            let report = finish(backfill);
            assert_eq!(report.runs > 64, memory_bytes < 1 << 30, "{}", report.runs);
            let n_samples: usize = model.values().map(BTreeMap::len).sum();
            assert_eq!(report.samples, n_samples as u64);
            assert_eq!(report.samples + report.duplicates, n);
            assert_eq!(report.blocks.len(), 10);
            for (at, meta) in (-3..).zip(&report.blocks) {
                assert!(at * RANGE <= meta.mint && meta.maxt <= (at + 1) * RANGE, "{meta:?}");
                assert!(!meta.compaction.hints.iter().any(|hint| hint.contains("order")));
            }
            let db = Db::open_read_only(dir.path()).unwrap();
            assert!(content(&db) == model);
            assert_eq!(db.stats().blocks.len(), 10);
            let found = verify(dir.path(), &mut |_, _| {}).unwrap();
            assert!(found.is_intact() && found.notes.is_empty(), "{found:?}");
            assert_eq!(names(dir.path()).len(), 11, "blocks and the lock");
        }
    }
}

#[test]
fn the_same_input_gives_the_same_samples_whatever_the_memory() {
    let made = |memory_bytes| {
        let dir = tempfile::tempdir().unwrap();
        let options = backfill_options(BlockFormat::Prometheus, memory_bytes);
        let mut backfill = Backfill::open(dir.path(), options).unwrap();
        fill(&mut backfill, 30_000, 3);
        finish(backfill);
        let db = Db::open_read_only(dir.path()).unwrap();
        content(&db)
    };
    assert!(made(1 << 30) == made(100_000));
}

#[test]
fn what_no_store_takes_is_refused_and_the_rest_stands() {
    let dir = tempfile::tempdir().unwrap();
    let mut backfill = Backfill::open(dir.path(), BackfillOptions::default()).unwrap();
    let series = labels(&[("a", "b")]);
    let refused = backfill.append(&Labels::empty(), 1, 1.0).unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }));
    assert!(backfill.append(&series, MAX_TIME_MS + 1, 1.0).is_err());
    let broken = Histogram { count: 3, ..histogram(1) };
    assert!(backfill.append_histogram(&series, 1, broken).is_err());
    backfill.append(&series, 1, 1.0).unwrap();
    let report = finish(backfill);
    assert_eq!((report.samples, report.duplicates, report.blocks.len()), (1, 0, 1));
    let mut options = BackfillOptions::default();
    options.memory_bytes = MIN_BACKFILL_MEMORY_BYTES - 1;
    assert!(matches!(Backfill::open(dir.path(), options), Err(Error::InvalidOption { .. })));
}

#[test]
fn nothing_is_made_of_nothing_and_what_is_given_up_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let backfill = Backfill::open(dir.path(), BackfillOptions::default()).unwrap();
    let busy = Db::open(dir.path(), short_blocks());
    assert!(matches!(busy, Err(Error::Locked { .. })), "{busy:?}");
    assert_eq!(finish(backfill), BackfillReport::default());
    let options = backfill_options(BlockFormat::Ferula, MIN_BACKFILL_MEMORY_BYTES);
    let mut backfill = Backfill::open(dir.path(), options).unwrap();
    fill(&mut backfill, 10_000, 1);
    assert_eq!(names(dir.path()).len(), 2, "runs beside the lock");
    drop(backfill);
    assert_eq!(names(dir.path()), ["lock"]);
}

#[test]
fn the_log_keeps_what_a_new_block_overlaps() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    scrape(&db, 3, 0, 3 * RANGE);
    db.maintain().unwrap();
    let before = all(&db);
    db.close().unwrap();

    let options = backfill_options(BlockFormat::Ferula, 1 << 20);
    let mut backfill = Backfill::open(dir.path(), options).unwrap();
    let other = labels(&[("other", "series")]);
    // In what a block covers, in the middle of what only the log has, and behind it.
    let times = [500, 2 * RANGE + 500, 3 * RANGE + 500];
    for time in times {
        backfill.append(&other, time, 1.0).unwrap();
    }
    // Of two samples at the same time one stays.
    backfill.append(&before[0].0, 2 * RANGE + 1000, 9e9).unwrap();
    let report = finish(backfill);
    let hints = report.blocks.iter().map(|meta| !meta.compaction.hints.is_empty());
    assert_eq!(hints.collect::<Vec<_>>(), [false, true, true]);

    let mut expected = before.clone();
    expected.push((other, times.map(|time| sample(time, 1.0)).to_vec()));
    for options in [short_blocks(), short_blocks()] {
        let db = Db::open(dir.path(), options).unwrap();
        assert!(all(&db) == expected);
        db.maintain().unwrap();
        assert!(all(&db) == expected);
        db.close().unwrap();
    }
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    db.compact_head().unwrap();
    db.compact().unwrap();
    assert!(all(&db) == expected);
}

#[test]
fn a_disk_that_fails_leaves_all_blocks_or_none() {
    let options = || backfill_options(BlockFormat::Ferula, MIN_BACKFILL_MEMORY_BYTES);
    let attempt = |fs: &FaultFs| -> Result<BackfillReport, Error> {
        let mut backfill = Backfill::open_with(Arc::new(fs.clone()), "/data", options())?;
        for i in 0..2000 {
            let series = labels(&[("n", &(i % 7).to_string())]);
            backfill.append(&series, (i * 7919) % (3 * RANGE), i as f64)?;
        }
        backfill.finish(&mut |_, _| {})
    };
    let seen = |fs: &FaultFs| {
        let db = ReadOnlyDb::open_with(Arc::new(fs.clone()), "/data").unwrap();
        read(&db.querier(i64::MIN, i64::MAX).unwrap())
    };
    let fs = FaultFs::new();
    let report = attempt(&fs).unwrap();
    assert!(report.runs > 1 && report.blocks.len() == 3);
    let expected = seen(&fs);
    assert!(expected == seen(&fs.crash(Survival::Nothing)), "what is made is durable");
    let n_operations = fs.operations();
    for operation in 0..n_operations {
        for fault in [Fault::NoSpace, Fault::Io] {
            let fs = FaultFs::new();
            fs.inject(operation, fault);
            match attempt(&fs) {
                Ok(_) => assert!(seen(&fs.crash(Survival::Nothing)) == expected, "{operation}"),
                Err(_) if fs.exists("/data".as_ref()).unwrap() => {
                    fs.clear_faults();
                    assert!(seen(&fs).is_empty(), "operation {operation}");
                }
                Err(_) => {}
            }
        }
    }
}
