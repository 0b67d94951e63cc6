//! What the tests of the database share.

#![allow(dead_code, reason = "each test binary uses some of it")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(unix)]
pub(crate) mod prometheus;

use std::path::Path;

use ferula_chunkenc::{Sample, SampleBatch};
use ferula_index::Labels;
use ferula_tsdb::{BlockFormat, Db, Options, Querier, SyncPolicy};

/// Every series of a database with its samples.
pub(crate) type Content = Vec<(Labels, Vec<Sample>)>;

/// Settings without a thread and without syncs, so that tests are fast and alone.
pub(crate) fn options() -> Options {
    Options::builder().sync(SyncPolicy::Never).maintenance_interval(None).build().unwrap()
}

/// Length of a block in tests that cut some, in milliseconds.
pub(crate) const RANGE: i64 = 60_000;

/// [`options`] with blocks of [`RANGE`] and small segments.
pub(crate) fn short_blocks() -> Options {
    let builder = Options::builder().sync(SyncPolicy::Never).maintenance_interval(None);
    builder.block_range_ms(RANGE).wal_segment_bytes(32 << 10).build().unwrap()
}

/// The same settings with blocks of a format.
pub(crate) fn in_format(mut options: Options, format: BlockFormat) -> Options {
    options.block_format = format;
    options
}

/// [`short_blocks`] that Prometheus reads.
pub(crate) fn short_prometheus_blocks() -> Options {
    in_format(short_blocks(), BlockFormat::Prometheus)
}

/// Opens a database with [`options`].
pub(crate) fn open(dir: &Path) -> Db {
    Db::open(dir, options()).unwrap()
}

/// Makes a label set.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

/// Makes a sample.
pub(crate) fn sample(timestamp: i64, value: f64) -> Sample {
    Sample::new(timestamp, value)
}

/// All that a database holds.
pub(crate) fn all(db: &Db) -> Content {
    read(&db.querier(i64::MIN, i64::MAX).unwrap())
}

/// All that a querier sees.
pub(crate) fn read(querier: &Querier) -> Content {
    let series = querier.select(&[]).unwrap();
    (0..series.len())
        .map(|index| {
            let mut batch = SampleBatch::new();
            series.read(index, &mut batch).unwrap();
            (series.labels(index).clone(), batch.iter().collect())
        })
        .collect()
}

/// Commits samples of one series.
pub(crate) fn commit(db: &Db, labels: &Labels, samples: &[Sample]) {
    let mut appender = db.appender();
    for sample in samples {
        appender.append(labels, sample.timestamp, sample.value).unwrap();
    }
    appender.commit().unwrap();
}

/// Commits one sample per second of `n_series` series from `from` up to `to`, in batches of all
/// series.
pub(crate) fn scrape(db: &Db, n_series: usize, from: i64, to: i64) {
    let all: Vec<Labels> = (0..n_series)
        .map(|i| labels(&[("__name__", "m"), ("job", "test"), ("n", &i.to_string())]))
        .collect();
    for t in (from..to).step_by(1000) {
        let mut appender = db.appender();
        for (i, labels) in all.iter().enumerate() {
            appender.append(labels, t, t as f64 + i as f64).unwrap();
        }
        assert_eq!(appender.commit().unwrap().samples, n_series);
    }
}

/// Names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
