//! Samples in memory: the simplest storage, and one that takes the engine at its word.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferula_chunkenc::{Sample, SampleBatch};
use ferula_index::{Labels, Matcher};

use super::TestStorage;
use crate::storage::{Querier, Queryable, SelectHints, SeriesSet, StorageError, TimeRange};

type Series = BTreeMap<Labels, Arc<Vec<Sample>>>;

/// A map of series. Its querier gives no sample outside of the hinted range, so that hints that are
/// too narrow show.
///
/// ```
/// use ferula_chunkenc::Sample;
/// use ferula_index::Labels;
/// use ferula_promql::storage::{Queryable, TimeRange};
/// use ferula_promql::testlang::{MemoryStorage, TestStorage};
///
/// let mut storage = MemoryStorage::new();
/// let labels = Labels::from_pairs([("__name__", "up")])?;
/// storage.append(&labels, &[Sample::new(0, 1.0)])?;
/// let querier = storage.queryable()?.querier(TimeRange::ALL)?;
/// assert_eq!(querier.label_names(&[])?, ["__name__"]);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    series: Arc<Series>,
}

/// A sample that does not fit those already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sample at {timestamp} is not behind the last one, at {last}")]
struct OutOfOrder {
    timestamp: i64,
    last: i64,
}

impl MemoryStorage {
    /// Makes an empty storage.
    pub fn new() -> Self {
        Self::default()
    }
}

impl TestStorage for MemoryStorage {
    fn clear(&mut self) -> Result<(), StorageError> {
        self.series = Arc::default();
        Ok(())
    }

    fn append(&mut self, labels: &Labels, samples: &[Sample]) -> Result<(), StorageError> {
        let series = Arc::make_mut(&mut self.series).entry(labels.clone()).or_default();
        let stored = Arc::make_mut(series);
        for &sample in samples {
            match stored.last() {
                // The same sample may come twice.
                Some(last) if *last == sample => {}
                Some(last) if last.timestamp >= sample.timestamp => {
                    let (timestamp, last) = (sample.timestamp, last.timestamp);
                    return Err(Box::new(OutOfOrder { timestamp, last }));
                }
                _ => stored.push(sample),
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn queryable(&mut self) -> Result<Arc<dyn Queryable>, StorageError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Queryable for MemoryStorage {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
        Ok(Box::new(MemoryQuerier { series: Arc::clone(&self.series), range }))
    }
}

struct MemoryQuerier {
    series: Arc<Series>,
    range: TimeRange,
}

impl MemoryQuerier {
    fn matching<'a>(
        &'a self,
        matchers: &'a [Matcher],
    ) -> impl Iterator<Item = (&'a Labels, &'a Arc<Vec<Sample>>)> {
        self.series.iter().filter(|(labels, _)| {
            matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
        })
    }
}

impl Querier for MemoryQuerier {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StorageError> {
        let mint = self.range.mint().max(hints.range.mint());
        let maxt = self.range.maxt().min(hints.range.maxt());
        let series = self
            .matching(matchers)
            .map(|(labels, samples)| (labels.clone(), Arc::clone(samples)))
            .collect();
        Ok(Box::new(MemorySeriesSet { series, mint, maxt }))
    }

    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, StorageError> {
        let mut names: Vec<String> = self
            .matching(matchers)
            .flat_map(|(labels, _)| labels.iter().map(|(name, _)| name.to_owned()))
            .collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, StorageError> {
        let mut values: Vec<String> = self
            .matching(matchers)
            .filter_map(|(labels, _)| labels.get(name).map(str::to_owned))
            .collect();
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }
}

struct MemorySeriesSet {
    series: Vec<(Labels, Arc<Vec<Sample>>)>,
    mint: i64,
    maxt: i64,
}

impl SeriesSet for MemorySeriesSet {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, index: usize) -> Labels {
        self.series[index].0.clone()
    }

    fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError> {
        let samples = &self.series[index].1;
        let start = samples.partition_point(|sample| sample.timestamp < self.mint);
        for sample in samples[start..].iter().take_while(|s| s.timestamp <= self.maxt) {
            batch.push(sample.timestamp, sample.value);
        }
        Ok(())
    }
}
