//! Samples keep their start timestamps, in the head, in the log and in blocks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{RANGE, labels, short_blocks};
use ferula_chunkenc::histogram::{Histogram, Span};
use ferula_chunkenc::{SampleBatch, stale};
use ferula_index::{Labels, MatchOp, Matcher};
use ferula_tsdb::{Db, NativeHistogram, Options};
use ferula_wal::LogReader;
use ferula_wal::fs::{FaultFs, Survival};
use ferula_wal::record::Record;

/// Kinds of series.
const KINDS: [&str; 6] = ["plain", "started", "restarted", "mixed", "integers", "floats"];

/// Since when the sample at `timestamp` of a series has been counting.
fn start_of(kind: &str, timestamp: i64) -> i64 {
    match kind {
        "plain" => 0,
        "started" => -5_000,
        "mixed" if timestamp % 3_000 == 0 => 0,
        _ => timestamp / 20_000 * 20_000 + 1,
    }
}

fn histogram(n: i64) -> Histogram {
    Histogram {
        count: n.unsigned_abs() + 1,
        sum: n as f64,
        zero_count: 1,
        positive_spans: vec![Span::new(0, 1)],
        positive_buckets: vec![n],
        ..Histogram::default()
    }
}

fn labels_of(kind: &str) -> Labels {
    labels(&[("__name__", "m"), ("kind", kind)])
}

fn open_with(fs: &FaultFs, options: Options) -> Db {
    Db::open_with(Arc::new(fs.clone()), Path::new("/data"), options).unwrap()
}

fn open(fs: &FaultFs) -> Db {
    open_with(fs, short_blocks())
}

/// What is left where the process ends without closing the database.
fn kill(fs: &FaultFs, db: Db) -> FaultFs {
    let left = fs.crash(Survival::Everything);
    drop(db);
    left
}

/// Commits one sample of each kind per second, in batches of all of them.
fn fill(db: &Db, from: i64, to: i64) {
    for timestamp in (from..to).step_by(1_000) {
        let mut batch = db.appender();
        for kind in KINDS {
            let (series, start) = (labels_of(kind), start_of(kind, timestamp));
            let n = timestamp / 1_000;
            match kind {
                "integers" => {
                    batch.append_histogram_with_start(&series, start, timestamp, histogram(n))
                }
                "floats" => {
                    let histogram = histogram(n).to_float();
                    batch.append_histogram_with_start(&series, start, timestamp, histogram)
                }
                _ => batch.append_with_start(&series, start, timestamp, n as f64),
            }
            .unwrap();
        }
        assert_eq!(batch.commit().unwrap().samples, KINDS.len());
    }
}

/// All samples of a series.
fn read(db: &Db, kind: &str) -> SampleBatch {
    let matcher = Matcher::new(MatchOp::Equal, "kind", kind).unwrap();
    let found = db.querier(i64::MIN, i64::MAX).unwrap().select(&[matcher]).unwrap();
    let mut batch = SampleBatch::new();
    if !found.is_empty() {
        found.read(0, &mut batch).unwrap();
    }
    batch
}

/// Start timestamps and times of a series.
fn starts(db: &Db, kind: &str) -> Vec<(i64, i64)> {
    let batch = read(db, kind);
    batch
        .iter()
        .enumerate()
        .map(|(i, sample)| (batch.start_timestamp(i), sample.timestamp))
        .collect()
}

#[track_caller]
fn assert_filled(db: &Db, times: impl Iterator<Item = i64> + Clone) {
    for kind in KINDS {
        let batch = read(db, kind);
        let expected: Vec<_> = times.clone().map(|time| (start_of(kind, time), time)).collect();
        assert_eq!(starts(db, kind), expected, "{kind}");
        for (i, sample) in batch.iter().enumerate() {
            let n = sample.timestamp / 1_000;
            match batch.histogram(i) {
                Some(found) => assert_eq!(found.sum, n as f64),
                None => assert_eq!(sample.value, n as f64),
            }
        }
    }
}

#[test]
fn start_timestamps_survive_crashes_snapshots_blocks_and_compaction() {
    let fs = FaultFs::new();
    let times = |to: i64| (0..to).step_by(1_000);
    let db = open(&fs);
    fill(&db, 0, RANGE);
    assert_filled(&db, times(RANGE));
    let chunks = db.stats().n_chunks;
    assert!(chunks > KINDS.len() as u64, "{chunks}");
    // The process dies, and the log is replayed.
    let fs = kill(&fs, db);
    let db = open(&fs);
    assert!(!db.open_report().from_snapshot);
    assert_filled(&db, times(RANGE));
    fill(&db, RANGE, RANGE + 30_000);
    // It ends in order, and the snapshot is read.
    db.close().unwrap();
    let db = open(&fs);
    assert!(db.open_report().from_snapshot);
    assert_filled(&db, times(RANGE + 30_000));
    fill(&db, RANGE + 30_000, 4 * RANGE);
    assert!(!db.maintain().unwrap().is_empty());
    assert_filled(&db, times(4 * RANGE));
    let fs = kill(&fs, db);
    let db = open(&fs);
    assert_filled(&db, times(4 * RANGE));
    db.compact_head().unwrap();
    assert_eq!(db.stats().n_series, 0);
    assert_filled(&db, times(4 * RANGE));
    // Deleting makes blocks whose chunks are encoded anew.
    db.delete(&[], 10_500, 20_500).unwrap();
    let left = || times(4 * RANGE).filter(|time| !(10_500..=20_500).contains(time));
    assert_filled(&db, left());
    db.clean_tombstones().unwrap();
    assert_filled(&db, left());
    let before = db.stats().blocks.len();
    db.compact().unwrap();
    assert!(db.stats().blocks.len() < before);
    assert_filled(&db, left());
    assert_filled(&open(&kill(&fs, db)), left());
}

#[test]
fn a_batch_keeps_the_order_of_its_samples_while_another_has_the_series_too() {
    let fs = FaultFs::new();
    let db = open(&fs);
    let series = labels_of("side by side");
    let (mut first, mut second) = (db.appender(), db.appender());
    let known = first.append_with_start(&series, 5, 10, 1.0).unwrap();
    second.append_ref(known, 1, 1.0).unwrap();
    // Of another kind than the one before, which the second batch has hidden from the first.
    first.append_ref(known, 20, 2.0).unwrap();
    second.append_ref(known, 2, 1.0).unwrap();
    first.append_histogram_ref_with_start(known, 0, 30, histogram(3)).unwrap();
    second.append_ref(known, 3, 1.0).unwrap();
    first.append_ref_with_start(known, 5, 40, 4.0).unwrap();
    second.append_ref(known, 4, 1.0).unwrap();
    first.append_histogram_ref_with_start(known, 5, 50, histogram(5)).unwrap();
    second.append_ref(known, 5, 1.0).unwrap();
    first.append_histogram_ref_with_start(known, 0, 60, histogram(6)).unwrap();
    let committed = first.commit().unwrap();
    assert_eq!((committed.samples, committed.refused), (6, 0));
    assert_eq!(second.commit().unwrap().refused, 5);
    let expected = [(5, 10), (0, 20), (0, 30), (5, 40), (5, 50), (0, 60)];
    assert_eq!(starts(&db, "side by side"), expected);
    assert_eq!(starts(&open(&kill(&fs, db)), "side by side"), expected);
}

#[test]
fn what_is_deleted_in_the_head_leaves_the_others_their_start_timestamps() {
    let fs = FaultFs::new();
    let db = open(&fs);
    fill(&db, 0, RANGE);
    db.delete(&[], 10_500, 20_500).unwrap();
    let left = || (0..RANGE).step_by(1_000).filter(|time| !(10_500..=20_500).contains(time));
    assert_filled(&db, left());
    drop(db);
    // Replaying it encodes what is left anew.
    let db = open(&fs);
    assert_filled(&db, left());
    db.compact_head().unwrap();
    assert_filled(&db, left());
}

/// Kinds of the records of samples in a log, and how many of each.
fn sample_records(fs: &FaultFs) -> [usize; 6] {
    let mut log = LogReader::open(Arc::new(fs.clone()), Path::new("/data/wal")).unwrap();
    let mut counts = [0; 6];
    while let Some(record) = log.next_record().unwrap() {
        let kind = match record.decode().unwrap() {
            Record::Samples(_) => 0,
            Record::SamplesV2(_) => 1,
            Record::Histograms(histograms) if histograms.kind().0 < 11 => 2,
            Record::Histograms(_) => 3,
            Record::FloatHistograms(histograms) if histograms.kind().0 < 11 => 4,
            Record::FloatHistograms(_) => 5,
            _ => continue,
        };
        counts[kind] += 1;
    }
    counts
}

#[test]
fn only_samples_with_start_timestamps_are_logged_with_them() {
    let fs = FaultFs::new();
    let db = open(&fs);
    let append = |starts: [i64; 3], timestamp| {
        let mut batch = db.appender();
        let series = ["plain", "integers", "floats"].map(labels_of);
        batch.append_with_start(&series[0], starts[0], timestamp, 1.0).unwrap();
        let of_time = || histogram(timestamp);
        batch.append_histogram_with_start(&series[1], starts[1], timestamp, of_time()).unwrap();
        let floats: NativeHistogram = of_time().to_float().into();
        batch.append_histogram_with_start(&series[2], starts[2], timestamp, floats).unwrap();
        batch.commit().unwrap();
    };
    append([0; 3], 1);
    assert_eq!(sample_records(&fs), [1, 0, 1, 0, 1, 0]);
    append([1, 0, 0], 2);
    assert_eq!(sample_records(&fs), [1, 1, 2, 0, 2, 0]);
    append([0, 1, 0], 3);
    assert_eq!(sample_records(&fs), [2, 1, 2, 1, 3, 0]);
    append([0, 0, 1], 4);
    assert_eq!(sample_records(&fs), [3, 1, 3, 1, 3, 1]);
    let fs = kill(&fs, db);
    let db = open(&fs);
    assert_eq!(starts(&db, "plain"), [(0, 1), (1, 2), (0, 3), (0, 4)]);
    assert_eq!(starts(&db, "integers"), [(0, 1), (0, 2), (1, 3), (0, 4)]);
    assert_eq!(starts(&db, "floats"), [(0, 1), (0, 2), (0, 3), (1, 4)]);
}

#[test]
fn a_series_may_change_within_a_batch() {
    let fs = FaultFs::new();
    let db = open(&fs);
    let series = labels_of("mixed");
    let mut batch = db.appender();
    let entry = batch.append(&series, 1, 1.0).unwrap();
    batch.append_ref_with_start(entry, 1, 2, 2.0).unwrap();
    batch.append_ref_with_start(entry, 1, 3, 3.0).unwrap();
    batch.append_ref(entry, 4, 4.0).unwrap();
    batch.append_histogram_ref(entry, 5, histogram(5)).unwrap();
    batch.append_histogram_ref_with_start(entry, 4, 6, histogram(6)).unwrap();
    batch.append_ref_with_start(entry, 5, 7, 7.0).unwrap();
    assert_eq!(batch.len(), 7);
    let done = batch.commit().unwrap();
    assert_eq!((done.samples, done.refused), (7, 0));
    let expected = [(0, 1), (1, 2), (1, 3), (0, 4), (0, 5), (4, 6), (5, 7)];
    assert_eq!(starts(&db, "mixed"), expected);
    let fs = kill(&fs, db);
    let db = open(&fs);
    assert_eq!(starts(&db, "mixed"), expected);
    db.close().unwrap();
    let db = open(&fs);
    assert_eq!(starts(&db, "mixed"), expected);
    db.compact_head().unwrap();
    assert_eq!(starts(&db, "mixed"), expected);
}

#[test]
fn what_is_there_already_is_not_compared_by_its_start_timestamp() {
    let fs = FaultFs::new();
    let db = open(&fs);
    let (floats, histograms) = (labels_of("started"), labels_of("integers"));
    for start in [5, 0, 6] {
        let mut batch = db.appender();
        batch.append_with_start(&floats, start, 10, 1.0).unwrap();
        batch.append_histogram_with_start(&histograms, start, 10, histogram(1)).unwrap();
        let done = batch.commit().unwrap();
        assert_eq!((done.samples, done.refused), (if start == 5 { 2 } else { 0 }, 0));
    }
    let mut batch = db.appender();
    assert!(batch.append_with_start(&floats, 5, 10, 2.0).is_err());
    assert!(batch.append_with_start(&floats, 5, 9, 1.0).is_err());
    drop(batch);
    assert_eq!(starts(&db, "started"), [(5, 10)]);
    assert_eq!(starts(&db, "integers"), [(5, 10)]);
}

#[test]
fn markers_end_series_with_start_timestamps() {
    let fs = FaultFs::new();
    let db = open(&fs);
    let series = ["started", "integers"].map(labels_of);
    let mut batch = db.appender();
    batch.append_with_start(&series[0], 5, 10, 1.0).unwrap();
    batch.append_histogram_with_start(&series[1], 5, 10, histogram(1)).unwrap();
    for series in &series {
        batch.append(series, 20, stale::STALE_NAN).unwrap();
    }
    batch.commit().unwrap();
    let check = |db: &Db| {
        for kind in ["started", "integers"] {
            assert_eq!(starts(db, kind), [(5, 10), (0, 20)]);
            assert!(stale::is_stale(read(db, kind).values()[1]));
        }
    };
    check(&db);
    let fs = kill(&fs, db);
    let db = open(&fs);
    check(&db);
    db.compact_head().unwrap();
    check(&db);
}

#[test]
fn all_floats_may_be_encoded_as_those_with_start_timestamps() {
    let fs = FaultFs::new();
    let xor2 = || {
        let mut options = short_blocks();
        options.xor2_encoding = true;
        options
    };
    let db = open_with(&fs, xor2());
    fill(&db, 0, 30_000);
    db.close().unwrap();
    // Turning it off and on again goes on with what there is.
    let db = open(&fs);
    fill(&db, 30_000, 3 * RANGE);
    let fs = kill(&fs, db);
    let db = open_with(&fs, xor2());
    fill(&db, 3 * RANGE, 4 * RANGE);
    assert_filled(&db, (0..4 * RANGE).step_by(1_000));
    db.compact_head().unwrap();
    assert_filled(&db, (0..4 * RANGE).step_by(1_000));
}

#[test]
fn start_timestamps_survive_a_power_cut() {
    let fs = FaultFs::new();
    let mut options = short_blocks();
    options.sync = ferula_tsdb::SyncPolicy::Always;
    let db = open_with(&fs, options);
    fill(&db, 0, 45_000);
    drop(db);
    let left = fs.crash(Survival::Nothing);
    let db = open(&left);
    assert_filled(&db, (0..45_000).step_by(1_000));
}
