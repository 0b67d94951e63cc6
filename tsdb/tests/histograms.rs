//! Native histograms are kept as what they are, in the head, in the log and in blocks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{RANGE, commit, labels, sample, short_blocks};
use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
use ferula_chunkenc::stale::{STALE_NAN, is_stale};
use ferula_index::Labels;
use ferula_tsdb::{AppendError, Db, MAX_BATCH_HISTOGRAM_BYTES, NativeHistogram};
use ferula_wal::fs::FaultFs;

/// A counter of `n + 1` and `2 n + 1` observations in two buckets, and one near zero.
fn counter(n: u64) -> Histogram {
    let growth = i64::try_from(n).unwrap();
    Histogram {
        count: 3 * n + 3,
        sum: n as f64 * 1.5,
        zero_count: 1,
        zero_threshold: 0.001,
        schema: 1,
        positive_spans: vec![Span::new(0, 2)],
        positive_buckets: vec![1 + growth, growth],
        ..Histogram::default()
    }
}

fn open(fs: &FaultFs) -> Db {
    Db::open_with(Arc::new(fs.clone()), Path::new("/data"), short_blocks()).unwrap()
}

/// All samples of the only series: time, and the histogram or the float.
fn read(db: &Db) -> Vec<(i64, Result<Arc<FloatHistogram>, f64>)> {
    let series = db.querier(i64::MIN, i64::MAX).unwrap().select(&[]).unwrap();
    assert_eq!(series.len(), 1);
    let mut batch = SampleBatch::new();
    series.read(0, &mut batch).unwrap();
    let value = |i| batch.histogram(i).cloned().ok_or(batch.values()[i]);
    batch.timestamps().iter().enumerate().map(|(i, t)| (*t, value(i))).collect()
}

fn append(db: &Db, series: &Labels, entries: impl IntoIterator<Item = (i64, NativeHistogram)>) {
    let mut appender = db.appender();
    for (timestamp, histogram) in entries {
        appender.append_histogram(series, timestamp, histogram).unwrap();
    }
    appender.commit().unwrap();
}

#[track_caller]
fn assert_counters(found: &[(i64, Result<Arc<FloatHistogram>, f64>)], n: usize) {
    assert_eq!(found.len(), n);
    for (i, (time, histogram)) in found.iter().enumerate() {
        let expected = counter(i as u64).to_float();
        let histogram = histogram.as_ref().unwrap();
        assert_eq!(*time, i as i64 * 1_000);
        assert_eq!((histogram.count, histogram.sum), (expected.count, expected.sum), "at {time}");
        assert_eq!(histogram.positive_buckets, expected.positive_buckets);
    }
}

#[test]
fn histograms_survive_a_crash_and_a_block() {
    let fs = FaultFs::new();
    let series = labels(&[("__name__", "latency_seconds")]);
    let db = open(&fs);
    let n = 3 * usize::try_from(RANGE).unwrap() / 1_000;
    for part in (0..n).collect::<Vec<_>>().chunks(50) {
        append(&db, &series, part.iter().map(|&i| (i as i64 * 1_000, counter(i as u64).into())));
    }
    assert_counters(&read(&db), n);
    assert!(db.stats().n_chunks >= 3, "chunks are cut");
    drop(db);

    let db = open(&fs);
    assert_eq!(db.open_report().skipped_records, 0);
    assert_counters(&read(&db), n);
    assert!(!db.maintain().unwrap().is_empty());
    assert_counters(&read(&db), n);
    db.compact_head().unwrap();
    let blocks = db.stats().blocks;
    let of_blocks: u64 = blocks.iter().map(|block| block.stats.num_histogram_samples).sum();
    assert_eq!(of_blocks, n as u64);
    drop(db);
    assert_counters(&read(&open(&fs)), n);
}

#[test]
fn a_series_may_change_between_floats_and_both_kinds_of_histograms() {
    let fs = FaultFs::new();
    let series = labels(&[("a", "b")]);
    let db = open(&fs);
    let mut batch = db.appender();
    // All in one batch: the order must survive the log.
    batch.append(&series, 1, 1.0).unwrap();
    batch.append_histogram(&series, 2, counter(2)).unwrap();
    batch.append(&series, 3, 3.0).unwrap();
    batch.append_histogram(&series, 4, counter(4).to_float()).unwrap();
    batch.append_histogram(&series, 5, counter(5)).unwrap();
    batch.append(&series, 6, 6.0).unwrap();
    assert_eq!(batch.len(), 6);
    let done = batch.commit().unwrap();
    assert_eq!((done.samples, done.refused), (6, 0));
    let check = |db: &Db| {
        let found = read(db);
        let kinds: Vec<_> = found.iter().map(|(t, v)| (*t, v.as_ref().err().copied())).collect();
        let expected =
            [(1, Some(1.0)), (2, None), (3, Some(3.0)), (4, None), (5, None), (6, Some(6.0))];
        assert_eq!(kinds, expected);
    };
    check(&db);
    drop(db);
    let db = open(&fs);
    check(&db);
    db.compact_head().unwrap();
    check(&db);
}

#[test]
fn a_staleness_marker_ends_a_series_of_histograms() {
    let fs = FaultFs::new();
    let series = labels(&[("a", "b")]);
    let db = open(&fs);
    append(&db, &series, [(1, counter(1).into())]);
    commit(&db, &series, &[sample(2, STALE_NAN)]);
    let check = |db: &Db| {
        let found = read(db);
        assert_eq!(found.len(), 2);
        assert!(found[1].1.as_ref().is_err_and(|value| is_stale(*value)), "{found:?}");
    };
    check(&db);
    drop(db);
    let db = open(&fs);
    check(&db);
    db.compact_head().unwrap();
    check(&db);
    assert_eq!(db.stats().blocks[0].stats.num_histogram_samples, 2);
}

#[test]
fn what_cannot_be_stored_is_refused_with_its_reason() {
    let db = open(&FaultFs::new());
    let series = labels(&[("a", "b")]);
    let mut batch = db.appender();
    let by_ref = batch.append_histogram(&series, 10, counter(3)).unwrap();
    // Repeating is no error, differing is.
    batch.append_histogram_ref(by_ref, 10, counter(3)).unwrap();
    assert_eq!(batch.len(), 1);
    let refused = batch.append_histogram_ref(by_ref, 10, counter(4)).unwrap_err();
    assert_eq!(refused, AppendError::DuplicateHistogram { timestamp: 10 });
    let refused = batch.append_ref(by_ref, 10, 1.0).unwrap_err();
    assert_eq!(refused, AppendError::DuplicateHistogram { timestamp: 10 });
    let refused = batch.append_histogram_ref(by_ref, 9, counter(4)).unwrap_err();
    assert_eq!(refused, AppendError::OutOfOrder { timestamp: 9, newest: 10 });
    let wrong = Histogram { count: 7, ..counter(4) };
    let refused = batch.append_histogram_ref(by_ref, 11, wrong).unwrap_err();
    assert!(matches!(refused, AppendError::InvalidHistogram { .. }), "{refused:?}");
    let n = u32::try_from(MAX_BATCH_HISTOGRAM_BYTES / 8 + 1).unwrap();
    let large = Histogram {
        positive_spans: vec![Span::new(0, n)],
        positive_buckets: vec![0; n as usize],
        ..Histogram::default()
    };
    let refused = batch.append_histogram_ref(by_ref, 11, large).unwrap_err();
    assert_eq!(refused, AppendError::BatchTooLarge { limit: MAX_BATCH_HISTOGRAM_BYTES });
    batch.commit().unwrap();
    // The same against what is committed.
    let mut batch = db.appender();
    batch.append_histogram_ref(by_ref, 10, counter(3)).unwrap();
    assert!(batch.is_empty());
    let refused = batch.append_histogram_ref(by_ref, 10, counter(3).to_float()).unwrap_err();
    assert_eq!(refused, AppendError::DuplicateHistogram { timestamp: 10 });
    assert_eq!(db.stats().refused, 6);
}

#[test]
fn a_histogram_that_was_overtaken_is_told_apart_from_floats() {
    let db = open(&FaultFs::new());
    let (floats, histograms) = (labels(&[("a", "f")]), labels(&[("a", "h")]));
    let (mut first, mut second) = (db.appender(), db.appender());
    for (batch, time) in [(&mut first, 20), (&mut second, 10)] {
        batch.append(&floats, time, 1.0).unwrap();
        batch.append_histogram(&histograms, time, counter(0)).unwrap();
    }
    second.append_histogram(&histograms, 15, counter(1)).unwrap();
    assert_eq!(first.commit().unwrap().samples, 2);
    let done = second.commit().unwrap();
    assert_eq!((done.samples, done.refused, done.refused_histograms), (0, 3, 2));
}

#[test]
fn resets_and_gauges_begin_chunks_of_their_own() {
    let db = open(&FaultFs::new());
    let series = labels(&[("a", "b")]);
    append(&db, &series, [(1, counter(5).into()), (2, counter(6).into()), (3, counter(1).into())]);
    let gauge = Histogram { counter_reset_hint: CounterResetHint::Gauge, ..counter(2) };
    append(&db, &series, [(4, gauge.into())]);
    assert_eq!(db.stats().n_chunks, 3);
    let hints: Vec<_> =
        read(&db).iter().map(|(_, h)| h.as_ref().unwrap().counter_reset_hint).collect();
    // As in Prometheus, what begins a chunk is to be compared again by whoever reads it.
    use CounterResetHint::{Gauge, NotReset, Unknown};
    assert_eq!(hints, [Unknown, NotReset, Unknown, Gauge]);
}
