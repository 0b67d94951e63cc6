//! A real Prometheus goes on with samples out of order that were taken here, and the other way round.
//!
//! `FERULA_PROMETHEUS` names the binary, or `prometheus` is looked for in `PATH`; without one the
//! tests are skipped and say so.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::prometheus::{Prometheus, binary, time_of};
use common::{labels, names, options};
use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{Histogram, Span};
use ferula_tsdb::{BlockFormat, Db, Options};
use serde_json::Value;

/// Times and values, or counts of histograms, by series.
type Content = BTreeMap<String, Vec<(i64, f64)>>;

/// Where all tests have their samples, in milliseconds.
const NOW: i64 = 1_700_000_000_000;

fn start(binary: &Path, dir: &Path) -> Prometheus {
    Prometheus::start(binary, dir, "1h", &["--enable-feature=native-histograms"])
}

fn content_of(prometheus: &Prometheus) -> Content {
    let mut content = Content::new();
    for series in prometheus.query("%7Bn%3D~%22.%2B%22%7D%5B3h%5D", NOW / 1000 + 1) {
        let n = series["metric"]["n"].as_str().unwrap().to_owned();
        let number = |value: &Value| value.as_str().unwrap().parse().unwrap();
        let floats = series["values"].as_array().into_iter().flatten();
        let floats = floats.map(|pair| (time_of(pair), number(&pair[1])));
        let histograms = series["histograms"].as_array().into_iter().flatten();
        let histograms = histograms.map(|pair| (time_of(pair), number(&pair[1]["count"])));
        let mut samples: Vec<(i64, f64)> = floats.chain(histograms).collect();
        samples.sort_by_key(|(time, _)| *time);
        content.insert(n, samples);
    }
    content
}

fn with_window() -> Options {
    let mut options = options();
    options.out_of_order_window_ms = 3_600_000;
    options.block_format = BlockFormat::Prometheus;
    options
}

fn content(db: &Db) -> Content {
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    let series = querier.select(&[]).unwrap();
    let read = |index| {
        let mut batch = SampleBatch::new();
        series.read(index, &mut batch).unwrap();
        let value = |index: usize| match batch.histogram(index) {
            Some(histogram) => histogram.count,
            None => batch.values()[index],
        };
        let samples = (0..batch.len()).map(|i| (batch.timestamps()[i], value(i))).collect();
        (series.labels(index).get("n").unwrap().to_owned(), samples)
    };
    (0..series.len()).map(read).collect()
}

/// Times in no order, `n` of them, at most 50 minutes before [`NOW`].
fn late_times(n: i64, seed: i64) -> impl Iterator<Item = i64> {
    (0..n).map(move |i| NOW - 1000 * (1 + (i * 7919 + seed * 131) % 3000))
}

fn histogram(count: u64) -> Histogram {
    Histogram {
        count,
        sum: 1.5,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive_buckets: vec![i64::try_from(count).unwrap()],
        ..Histogram::default()
    }
}

/// Batches of samples in and out of order.
fn append(db: &Db, seed: i64, n: i64) {
    let series = |n: &str| labels(&[("__name__", "m"), ("n", n)]);
    for (i, time) in late_times(n, seed).enumerate() {
        let mut batch = db.appender();
        let value = i as f64 + seed as f64;
        batch.append(&series("floats"), time, value).unwrap();
        if i % 3 == 0 {
            batch.append(&series("few"), time + 1, value).unwrap();
        }
        batch.append_histogram(&series("histograms"), time, histogram(1 + i as u64)).unwrap();
        let in_order = NOW - 500 * (4 - seed) + i as i64;
        batch.append(&series("in order"), in_order, value).unwrap();
        batch.commit().unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

#[test]
fn prometheus_finds_what_was_taken_here_out_of_order() {
    let Some(binary) = binary() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let db = Db::open(&data, with_window()).unwrap();
    let mut first = db.appender();
    for n in ["floats", "few", "in order"] {
        first.append(&labels(&[("__name__", "m"), ("n", n)]), NOW - 3000, 0.0).unwrap();
    }
    let n = labels(&[("__name__", "m"), ("n", "histograms")]);
    first.append_histogram(&n, NOW - 3000, histogram(9)).unwrap();
    first.commit().unwrap();
    append(&db, 1, 150);
    let expected = content(&db);
    assert_eq!(expected["floats"].len(), 151);
    // As a process leaves it that is killed.
    let killed = tempfile::tempdir().unwrap();
    copy(&data, &killed.path().join("data"));
    let check = |dir: &Path| {
        let prometheus = start(&binary, dir);
        assert_eq!(content_of(&prometheus), expected);
        let log = prometheus.log();
        assert!(!log.contains("Unknown series references"), "{log}");
        assert!(!log.contains("level=ERROR"), "{log}");
    };
    check(killed.path());
    db.close().unwrap();
    check(dir.path());
    // After what was lost of chunk files and log was made anew.
    std::fs::remove_dir_all(killed.path().join("data/chunks_head")).unwrap();
    let db = Db::open(killed.path().join("data"), with_window()).unwrap();
    assert_eq!(content(&db), expected);
    db.close().unwrap();
    check(killed.path());
}

#[test]
fn what_prometheus_took_out_of_order_is_found_here() {
    let Some(binary) = binary() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut expected = Content::new();
    {
        let prometheus = start(&binary, dir.path());
        prometheus.write(&[("floats", &[(NOW - 1000, 0.5)])]);
        prometheus.write(&[("few", &[(NOW - 1000, 0.5)])]);
        for (i, time) in late_times(120, 5).enumerate().filter(|(_, time)| *time < NOW - 1000) {
            prometheus.write(&[("floats", &[(time, i as f64)])]);
            if i % 7 == 0 {
                prometheus.write(&[("few", &[(time, i as f64)])]);
            }
        }
        expected.extend(content_of(&prometheus));
    }
    assert!(expected["floats"].len() > 100 && names(&data).contains(&"wbl".to_owned()));
    // Killed, as it is here.
    let db = Db::open_read_only(&data).unwrap();
    assert!(db.open_report().out_of_order_samples > 100);
    let db = Db::open(&data, with_window()).unwrap();
    assert_eq!(content(&db), expected);
    append(&db, 2, 70);
    let expected = content(&db);
    db.close().unwrap();
    let prometheus = start(&binary, dir.path());
    assert_eq!(content_of(&prometheus), expected);
    prometheus.write(&[("few", &[(NOW - 12_345, 7.0)])]);
    let expected = content_of(&prometheus);
    drop(prometheus);
    let db = Db::open(&data, with_window()).unwrap();
    assert_eq!(content(&db), expected);
    // As blocks too.
    db.compact_head().unwrap();
    db.compact().unwrap();
    assert_eq!(content(&db), expected);
    db.close().unwrap();
    assert_eq!(content_of(&start(&binary, dir.path())), expected);
}
