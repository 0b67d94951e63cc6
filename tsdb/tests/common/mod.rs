//! What the tests of the database share.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::path::Path;

use ferula_chunkenc::{Sample, SampleBatch};
use ferula_index::Labels;
use ferula_tsdb::{Db, Options, Querier, SyncPolicy};

/// Every series of a database with its samples.
pub type Content = Vec<(Labels, Vec<Sample>)>;

/// Settings without a thread and without syncs, so that tests are fast and alone.
pub fn options() -> Options {
    Options::builder().sync(SyncPolicy::Never).maintenance_interval(None).build().unwrap()
}

/// Opens a database with [`options`].
pub fn open(dir: &Path) -> Db {
    Db::open(dir, options()).unwrap()
}

/// Makes a label set.
pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

/// Makes a sample.
pub fn sample(timestamp: i64, value: f64) -> Sample {
    Sample::new(timestamp, value)
}

/// All that a database holds.
pub fn all(db: &Db) -> Content {
    read(&db.querier(i64::MIN, i64::MAX).unwrap())
}

/// All that a querier sees.
pub fn read(querier: &Querier) -> Content {
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
pub fn commit(db: &Db, labels: &Labels, samples: &[Sample]) {
    let mut appender = db.appender();
    for sample in samples {
        appender.append(labels, sample.timestamp, sample.value).unwrap();
    }
    appender.commit().unwrap();
}
