//! Samples in memory: the simplest storage, and one that takes the engine at its word.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, custom_bounds_match};
use ferula_chunkenc::{Sample, SampleBatch, stale};
use ferula_index::{Labels, Matcher};

use super::TestStorage;
use crate::storage::{
    Drawn, Querier, Queryable, Room, SelectHints, SeriesSet, StorageError, TimeRange, Wanted,
};

/// Samples that are read at a time.
const PIECE_SAMPLES: usize = 128;

type Series = BTreeMap<Labels, Arc<SampleBatch>>;

/// A map of series. Its querier gives no sample outside of the hinted range, so that hints that are
/// too narrow show.
///
/// Histograms have the counter reset hints that they would have if they came from the chunks of a
/// database: what a chunk begins with is unknown, and there is no reset inside of a chunk.
///
/// ```
/// use ferula_chunkenc::SampleBatch;
/// use ferula_index::Labels;
/// use ferula_promql::storage::{Queryable, TimeRange};
/// use ferula_promql::testlang::{MemoryStorage, TestStorage};
///
/// let mut storage = MemoryStorage::new();
/// let labels = Labels::from_pairs([("__name__", "up")])?;
/// let mut samples = SampleBatch::new();
/// samples.push(0, 1.0);
/// storage.append(&labels, &samples)?;
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

    fn stores_histograms(&self) -> bool {
        true
    }

    fn stores_start_timestamps(&self) -> bool {
        true
    }

    fn append(&mut self, labels: &Labels, samples: &SampleBatch) -> Result<(), StorageError> {
        let series = Arc::make_mut(&mut self.series).entry(labels.clone()).or_default();
        let stored = Arc::make_mut(series);
        for (index, sample) in samples.iter().enumerate() {
            let histogram = samples.histogram(index);
            if let Some(last) = last(stored)
                && last.timestamp >= sample.timestamp
            {
                // The same sample may come twice.
                if last.is_same(sample, histogram) {
                    continue;
                }
                let (timestamp, last) = (sample.timestamp, last.timestamp);
                return Err(Box::new(OutOfOrder { timestamp, last }));
            }
            match histogram {
                None => stored.push(sample.timestamp, sample.value),
                Some(histogram) => {
                    histogram.validate()?;
                    let before = last(stored).and_then(|last| last.histogram);
                    let hint = stored_hint(before, histogram);
                    let histogram =
                        FloatHistogram { counter_reset_hint: hint, ..(**histogram).clone() };
                    stored.push_histogram(sample.timestamp, Arc::new(histogram));
                }
            }
            stored.set_last_start_timestamp(samples.start_timestamp(index));
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

/// The last sample of a series.
struct LastSample<'a> {
    timestamp: i64,
    value: f64,
    histogram: Option<&'a FloatHistogram>,
}

fn last(samples: &SampleBatch) -> Option<LastSample<'_>> {
    let (&timestamp, &value) = (samples.timestamps().last()?, samples.values().last()?);
    let histogram = samples.histogram(samples.len() - 1).map(|histogram| &**histogram);
    Some(LastSample { timestamp, value, histogram })
}

impl LastSample<'_> {
    fn is_same(&self, sample: Sample, histogram: Option<&Arc<FloatHistogram>>) -> bool {
        let is_same_value = match (self.histogram, histogram) {
            (None, None) => self.value.to_bits() == sample.value.to_bits(),
            (Some(stored), Some(histogram)) => stored.equals(histogram),
            _ => false,
        };
        self.timestamp == sample.timestamp && is_same_value
    }
}

/// The hint that a histogram has when it is read from a chunk. It goes on with the chunk of the
/// sample `before` if there is a histogram that it continues; otherwise it begins a chunk.
fn stored_hint(before: Option<&FloatHistogram>, histogram: &FloatHistogram) -> CounterResetHint {
    match (histogram.counter_reset_hint, before) {
        (CounterResetHint::Gauge, _) => CounterResetHint::Gauge,
        (CounterResetHint::Unknown | CounterResetHint::NotReset, Some(before))
            if before.counter_reset_hint != CounterResetHint::Gauge
                && continues(before, histogram) =>
        {
            CounterResetHint::NotReset
        }
        _ => CounterResetHint::Unknown,
    }
}

/// Tells whether a histogram has the layout of the one before, and no smaller count in any bucket.
fn continues(before: &FloatHistogram, histogram: &FloatHistogram) -> bool {
    let unhinted =
        FloatHistogram { counter_reset_hint: CounterResetHint::Unknown, ..histogram.clone() };
    before.schema == histogram.schema
        && before.zero_threshold == histogram.zero_threshold
        && custom_bounds_match(&before.custom_values, &histogram.custom_values)
        && !unhinted.detect_reset(before)
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
    ) -> impl Iterator<Item = (&'a Labels, &'a Arc<SampleBatch>)> {
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
        let mut drawn = hints.budget.draw(0)?;
        let mut series = Vec::new();
        for (labels, samples) in self.matching(matchers) {
            hints.budget.check()?;
            // The list may have grown to twice its size.
            drawn.add(2 * size_of::<(Labels, Arc<SampleBatch>)>())?;
            series.push((labels.clone(), Arc::clone(samples)));
        }
        // So that it shows if the order matters after all.
        if hints.any_order {
            series.reverse();
        }
        let wanted = hints.wanted;
        Ok(Box::new(MemorySeriesSet { series, mint, maxt, wanted, _drawn: drawn }))
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
    series: Vec<(Labels, Arc<SampleBatch>)>,
    mint: i64,
    maxt: i64,
    wanted: Wanted,
    _drawn: Drawn,
}

impl MemorySeriesSet {
    /// All samples of a series, and where those of the range are.
    /// No more than is wanted, so that a hint that asks for too little shows.
    fn within(&self, index: usize) -> (&SampleBatch, Range<usize>) {
        let samples = &self.series[index].1;
        let start = samples.timestamps().partition_point(|time| *time < self.mint);
        let end = samples.timestamps().partition_point(|time| *time <= self.maxt);
        let end = end.max(start);
        let newest = match self.wanted {
            Wanted::Newest => (start..end).next_back(),
            Wanted::NewestNotStale => {
                (start..end).rfind(|at| !stale::is_stale(samples.values()[*at]))
            }
            _ => return (samples, start..end),
        };
        match newest {
            Some(at) if samples.histogram(at).is_some() => (samples, start..end),
            Some(at) => (samples, at..at + 1),
            None => (samples, end..end),
        }
    }
}

impl SeriesSet for MemorySeriesSet {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, index: usize) -> Labels {
        self.series[index].0.clone()
    }

    fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError> {
        let (samples, range) = self.within(index);
        batch.extend_from_batch(samples, range);
        Ok(())
    }

    fn read_within(
        &self,
        index: usize,
        batch: &mut SampleBatch,
        room: &mut dyn Room,
    ) -> Result<(), StorageError> {
        let (samples, range) = self.within(index);
        for start in range.clone().step_by(PIECE_SAMPLES) {
            let piece = start..range.end.min(start + PIECE_SAMPLES);
            room.make(batch, piece.len())?;
            batch.extend_from_batch(samples, piece);
        }
        Ok(())
    }
}
