//! Prometheus's own test scripts, over the head and over blocks: what passes over samples in memory
//! passes over them too.

#![cfg(feature = "promql")]

use std::path::Path;
use std::sync::Arc;

use ferula_chunkenc::histogram::FloatHistogram;
use ferula_chunkenc::{Sample, SampleBatch};
use ferula_index::Labels;
use ferula_promql::Engine;
use ferula_promql::storage::{Queryable, StorageError};
use ferula_promql::testlang::suite::{Suite, SuiteReport};
use ferula_promql::testlang::{MemoryStorage, TestStorage, engine_options};
use ferula_tsdb::{BlockFormat, Db, MAX_BLOCK_RANGE_MS, Options, SyncPolicy};
use ferula_wal::fs::FaultFs;

/// A database on a file system in memory.
fn open(block_range_ms: i64, format: BlockFormat) -> Result<Db, StorageError> {
    let options = Options::builder()
        .block_format(format)
        .sync(SyncPolicy::Never)
        .maintenance_interval(None)
        .block_range_ms(block_range_ms)
        .build()?;
    Ok(Db::open_with(Arc::new(FaultFs::new()), "/data", options)?)
}

/// Everything stays in the head.
#[derive(Default)]
struct InHead {
    db: Option<Arc<Db>>,
    loaded: Vec<(Labels, SampleBatch)>,
}

impl TestStorage for InHead {
    fn clear(&mut self) -> Result<(), StorageError> {
        self.loaded.clear();
        // Loads begin at time zero again and again, which only a wide window accepts.
        self.db = Some(Arc::new(open(MAX_BLOCK_RANGE_MS, BlockFormat::default())?));
        Ok(())
    }

    fn stores_histograms(&self) -> bool {
        true
    }

    fn stores_start_timestamps(&self) -> bool {
        true
    }

    fn append(&mut self, labels: &Labels, samples: &SampleBatch) -> Result<(), StorageError> {
        self.loaded.push((labels.clone(), samples.clone()));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        let db = self.db.as_ref().expect("cleared before a script");
        append(db, &self.loaded)?;
        self.loaded.clear();
        Ok(())
    }

    fn queryable(&mut self) -> Result<Arc<dyn Queryable>, StorageError> {
        Ok(Arc::clone(self.db.as_ref().expect("cleared before a script")) as Arc<dyn Queryable>)
    }
}

/// Everything is cut into blocks of two hours before it is queried.
struct InBlocks {
    format: BlockFormat,
    db: Option<Arc<Db>>,
    /// Of all loads: blocks do not take what a later load adds.
    loaded: Vec<(Labels, SampleBatch)>,
}

impl InBlocks {
    fn new(format: BlockFormat) -> Self {
        Self { format, db: None, loaded: Vec::new() }
    }
}

impl TestStorage for InBlocks {
    fn clear(&mut self) -> Result<(), StorageError> {
        *self = Self::new(self.format);
        Ok(())
    }

    fn stores_histograms(&self) -> bool {
        true
    }

    fn stores_start_timestamps(&self) -> bool {
        true
    }

    fn append(&mut self, labels: &Labels, samples: &SampleBatch) -> Result<(), StorageError> {
        self.db = None;
        self.loaded.push((labels.clone(), samples.clone()));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn queryable(&mut self) -> Result<Arc<dyn Queryable>, StorageError> {
        if self.db.is_none() {
            let db = open(ferula_tsdb::DEFAULT_BLOCK_RANGE_MS, self.format)?;
            append(&db, &self.loaded)?;
            db.compact_head()?;
            assert_eq!(db.stats().n_series, 0, "the head is empty");
            self.db = Some(Arc::new(db));
        }
        Ok(Arc::clone(self.db.as_ref().expect("made above")) as Arc<dyn Queryable>)
    }
}

fn append(db: &Db, loaded: &[(Labels, SampleBatch)]) -> Result<(), StorageError> {
    let mut appender = db.appender();
    for (labels, samples) in loaded {
        for (index, Sample { timestamp, value }) in samples.iter().enumerate() {
            let start = samples.start_timestamp(index);
            match samples.histogram(index) {
                Some(histogram) => {
                    let histogram = FloatHistogram::clone(histogram);
                    appender.append_histogram_with_start(labels, start, timestamp, histogram)?;
                }
                None => {
                    appender.append_with_start(labels, start, timestamp, value)?;
                }
            }
        }
    }
    appender.commit()?;
    Ok(())
}

/// Runs the scripts over `storage`: nothing that passed before may be lost, and what passes over
/// samples in memory passes here.
fn run(mut storage: impl TestStorage) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let suite = Suite::from_env(root, Path::new("tsdb/tests/data/promqltest-baseline.txt"));
    let engine = Engine::new(engine_options());
    let outcome = suite.run(&engine, &mut storage).expect("readable scripts");
    assert!(outcome.losses.is_empty(), "lost: {:#?}", outcome.losses);

    let present = suite.directories.iter().filter(|directory| directory.is_dir());
    let in_memory = present.flat_map(|directory| {
        let report = SuiteReport::run(directory, &engine, &mut MemoryStorage::new());
        report.expect("readable scripts").files
    });
    for (found, expected) in outcome.report.files.iter().zip(in_memory) {
        assert_eq!((&found.name, found.outcomes.len()), (&expected.name, expected.outcomes.len()));
        for (found, expected) in found.outcomes.iter().zip(&expected.outcomes) {
            assert!(
                found.result.is_ok() || expected.result.is_err(),
                "line {}: {}: {:?}",
                found.line,
                found.query,
                found.result
            );
        }
    }
}

#[test]
fn scripts_pass_over_the_head() {
    run(InHead::default());
}

#[test]
fn scripts_pass_over_blocks() {
    run(InBlocks::new(BlockFormat::Ferula));
}

#[test]
fn scripts_pass_over_blocks_of_prometheus() {
    run(InBlocks::new(BlockFormat::Prometheus));
}
