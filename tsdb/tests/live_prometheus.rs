//! The directory of a real Prometheus is read while that goes on: blocks, log, checkpoints and the log
//! of samples out of order, whatever it cuts, truncates and compacts meanwhile.
//!
//! `FERULA_PROMETHEUS` names the binary, or `prometheus` is looked for in `PATH`; without one the
//! test is skipped and says so.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::names;
use common::prometheus::{Prometheus, binary, time_of};
use ferula_chunkenc::SampleBatch;
use ferula_tsdb::{Db, ReadOnlyDb, verify};

/// The first sample, in milliseconds; the end of a block range.
const START: i64 = 1_700_006_400_000;

/// Between two samples of a series.
const STEP: i64 = 5_000;

/// Most requests, each with a sample of every series; there are less if all has happened that is to.
const MAX_ROUNDS: usize = 6000;

const N_SERIES: usize = 10;

/// Starts one that cuts blocks of two minutes and makes those of six of them.
fn start(binary: &Path, dir: &Path) -> Prometheus {
    let blocks = ["--storage.tsdb.min-block-duration=2m", "--storage.tsdb.max-block-duration=6m"];
    Prometheus::start(binary, dir, "10m", &blocks)
}

/// Writes a sample of each of the series.
fn write(prometheus: &Prometheus, samples: &[(usize, i64)]) {
    let samples = samples.iter().map(|(n, time)| (n.to_string(), [(*time, value(*n, *time))]));
    let samples: Vec<_> = samples.collect();
    let series: Vec<(&str, &[(i64, f64)])> =
        samples.iter().map(|(n, samples)| (n.as_str(), samples.as_slice())).collect();
    prometheus.write(&series);
}

/// Times and values of each series.
fn content_of(prometheus: &Prometheus) -> BTreeMap<usize, Vec<(i64, f64)>> {
    let end = (START + STEP * i64::try_from(MAX_ROUNDS).unwrap()) / 1000;
    let content = prometheus.query("m%5B9h%5D", end).into_iter().map(|series| {
        let n = series["metric"]["n"].as_str().unwrap().parse().unwrap();
        let samples = series["values"].as_array().unwrap().iter();
        (n, samples.map(|s| (time_of(s), s[1].as_str().unwrap().parse().unwrap())).collect())
    });
    content.collect()
}

/// The value that a series has at a time.
fn value(n: usize, time: i64) -> f64 {
    (time - START) as f64 / 8.0 + n as f64
}

/// What is written in a round: a sample of each series, and in some a late one.
fn round(at: usize) -> Vec<(usize, i64)> {
    let time = START + STEP * i64::try_from(at).unwrap();
    let mut samples: Vec<(usize, i64)> = (0..N_SERIES).map(|n| (n, time)).collect();
    if at > 60 && at.is_multiple_of(20) {
        samples.push((at % 3, time - STEP * 40 + 1_000));
    }
    samples
}

fn content(db: &ReadOnlyDb) -> BTreeMap<usize, Vec<(i64, f64)>> {
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    let found = querier.select(&[]).unwrap();
    let of_series = |index| {
        let mut batch = SampleBatch::new();
        found.read(index, &mut batch).unwrap();
        let samples = batch.iter().map(|sample| (sample.timestamp, sample.value)).collect();
        (found.labels(index).get("n").unwrap().parse().unwrap(), samples)
    };
    (0..found.len()).map(of_series).collect()
}

/// Checks that what is read is what was sent, and has all that was acknowledged in the first rounds.
fn check(found: &BTreeMap<usize, Vec<(i64, f64)>>, n_acknowledged: usize) {
    let mut times: BTreeMap<usize, BTreeSet<i64>> = BTreeMap::new();
    for (n, samples) in found {
        assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "series {n} has each time once, in order");
        for (time, found) in samples {
            assert_eq!(*found, value(*n, *time), "series {n} at {time}");
        }
        times.insert(*n, samples.iter().map(|(time, _)| *time).collect());
    }
    for at in 0..n_acknowledged {
        for (n, time) in round(at) {
            let is_there = times.get(&n).is_some_and(|times| times.contains(&time));
            assert!(is_there, "{time} of series {n}, round {at} of {n_acknowledged}, is missing");
        }
    }
}

#[test]
fn a_running_prometheus_is_followed() {
    let Some(binary) = binary() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let prometheus = start(&binary, dir.path());
    let (acknowledged, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let has_checkpoint =
        || names(&data.join("wal")).iter().any(|name| name.starts_with("checkpoint."));
    let has_compacted = || {
        let metas = names(&data).into_iter().map(|name| data.join(name).join("meta.json"));
        let mut metas = metas.filter_map(|meta| std::fs::read_to_string(meta).ok());
        metas.any(|meta| meta.contains("\"level\": 2"))
    };
    let (n_reads, levels) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let reader = Db::open_read_only(&data).unwrap();
            let (mut n_reads, mut levels) = (0, BTreeSet::new());
            loop {
                let (is_last, before) =
                    (is_over.load(Ordering::Acquire), acknowledged.load(Ordering::Acquire));
                reader.reload().unwrap();
                check(&content(&reader), before);
                let stats = reader.stats();
                assert!(stats.quarantined.is_empty(), "{:?}", stats.quarantined);
                levels.extend(stats.blocks.iter().map(|meta| meta.compaction.level));
                n_reads += 1;
                if is_last {
                    return (n_reads, levels);
                }
            }
        });
        for at in 0..MAX_ROUNDS {
            write(&prometheus, &round(at));
            acknowledged.store(at + 1, Ordering::Release);
            // It cuts and truncates between two requests, and compacts when nothing is to be cut.
            let is_pause = at % 90 == 89;
            std::thread::sleep(Duration::from_millis(if is_pause { 500 } else { 2 }));
            if reader.is_finished() || is_pause && has_compacted() && has_checkpoint() {
                break;
            }
        }
        is_over.store(true, Ordering::Release);
        reader.join().unwrap()
    });
    assert!(n_reads > 3, "{n_reads}");
    assert!(levels.contains(&1) && levels.len() > 1, "compacted blocks were read: {levels:?}");
    assert!(has_checkpoint());
    assert!(names(&data).contains(&"wbl".to_owned()));

    let reader = Db::open_read_only(&data).unwrap();
    assert_eq!(content(&reader), content_of(&prometheus));
    let found = verify(&data, &mut |_, _| {}).unwrap();
    assert!(found.is_intact(), "{found:?}");
    let target = dir.path().join("backup");
    let backup = reader.backup(&target).unwrap();
    assert!(backup.damaged.is_empty());
    assert_eq!(content(&Db::open_read_only(&target).unwrap()), content_of(&prometheus));
    // It is none the worse for it.
    write(&prometheus, &[(0, START + STEP * 10_000)]);
}
