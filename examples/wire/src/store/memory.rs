//! A store in memory, for tests: keeps what is committed, and fails when told to.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ferula_chunkenc::{Sample, SampleBatch};
use ferula_index::{Labels, Matcher, SeriesRef};
use ferula_promql::storage::{Querier, Queryable, SelectHints, SeriesSet, StorageError, TimeRange};
use ferula_tsdb::{
    AppendError, Committed, Error, Exemplar, ExemplarError, Metadata, MetadataError,
    NativeHistogram, Stats,
};
use parking_lot::Mutex;

use crate::store::{Batch, Store};

/// What tests write to and query.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    series: BTreeMap<Labels, Vec<Sample>>,
    refs: HashMap<u64, Labels>,
    next_ref: u64,
    fail_commits: bool,
    lookups: usize,
    exemplars: Vec<(Labels, Exemplar)>,
    metadata: BTreeMap<Labels, Metadata>,
    /// How often a series was told its metadata.
    n_told: usize,
    histograms: Vec<String>,
    starts: Vec<String>,
}

impl MemoryStore {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Makes every commit fail from now on, or succeed again.
    pub(crate) fn fail_commits(&self, fail: bool) {
        self.inner.lock().fail_commits = fail;
    }

    /// Forgets all refs, as a store does that has dropped its series.
    pub(crate) fn forget_refs(&self) {
        self.inner.lock().refs.clear();
    }

    /// How often a series was looked up by its labels.
    pub(crate) fn lookups(&self) -> usize {
        self.inner.lock().lookups
    }

    /// Everything stored: labels as text, and samples.
    pub(crate) fn dump(&self) -> Vec<(String, Vec<Sample>)> {
        let inner = self.inner.lock();
        inner.series.iter().map(|(l, s)| (l.to_string(), s.clone())).collect()
    }

    /// All exemplars as `name trace time:value`.
    pub(crate) fn exemplars(&self) -> Vec<String> {
        let text = |(labels, exemplar): &(Labels, Exemplar)| {
            let Exemplar { timestamp, value, labels: trace } = exemplar;
            format!("{} {trace} {timestamp}:{value}", labels.metric_name())
        };
        self.inner.lock().exemplars.iter().map(text).collect()
    }

    /// What series say, as `name type unit help`, and how often any was told.
    pub(crate) fn metadata(&self) -> (Vec<String>, usize) {
        let inner = self.inner.lock();
        let text = |(labels, metadata): (&Labels, &Metadata)| {
            let Metadata { metric_type, unit, help } = metadata;
            format!("{} {metric_type:?} {unit} {help}", labels.metric_name())
        };
        (inner.metadata.iter().map(text).collect(), inner.n_told)
    }

    /// All native histograms as `labels time:start text`.
    pub(crate) fn histograms(&self) -> Vec<String> {
        self.inner.lock().histograms.clone()
    }

    /// All starts of floats that have one as `labels time:start`.
    pub(crate) fn starts(&self) -> Vec<String> {
        self.inner.lock().starts.clone()
    }

    /// Stores one sample.
    pub(crate) fn put(&self, labels: &[(&str, &str)], timestamp: i64, value: f64) {
        let labels = Labels::from_pairs(labels.iter().copied()).unwrap();
        let samples = &mut self.inner.lock().series;
        samples.entry(labels).or_default().push(Sample::new(timestamp, value));
    }
}

struct MemoryBatch<'a> {
    store: &'a MemoryStore,
    pending: Vec<(Labels, Sample)>,
    exemplars: Vec<(Labels, Exemplar)>,
    metadata: Vec<(Labels, Metadata)>,
    histograms: Vec<String>,
    starts: Vec<String>,
}

impl Store for MemoryStore {
    fn batch(&self) -> Box<dyn Batch + '_> {
        Box::new(MemoryBatch {
            store: self,
            pending: Vec::new(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
            histograms: Vec::new(),
            starts: Vec::new(),
        })
    }

    fn snapshot(&self, dir: &Path) -> Result<(), Error> {
        let file = dir.join("01BX5ZZKBKACTAV9WEVGEMMVRZ");
        std::fs::create_dir(&file).map_err(|source| Error::Io { op: "make", file, source })
    }

    fn delete(&self, matchers: &[Matcher], mint: i64, maxt: i64) -> Result<(), Error> {
        let matches = |labels: &Labels| {
            matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
        };
        let mut inner = self.inner.lock();
        for (_, samples) in inner.series.iter_mut().filter(|(labels, _)| matches(labels)) {
            samples.retain(|sample| !(mint..=maxt).contains(&sample.timestamp));
        }
        inner.series.retain(|_, samples| !samples.is_empty());
        Ok(())
    }

    fn clean_tombstones(&self) -> Result<(), Error> {
        Err(Error::Closed)
    }

    fn stats(&self) -> Stats {
        let inner = self.inner.lock();
        let mut stats = Stats::default();
        stats.n_series = inner.series.len() as u64;
        stats.head_mint = inner.series.values().flatten().map(|s| s.timestamp).min();
        stats.head_maxt = inner.series.values().flatten().map(|s| s.timestamp).max();
        stats
    }
}

impl MemoryBatch<'_> {
    fn is_there(&self, labels: &Labels) -> bool {
        let is_pending = self.pending.iter().any(|(pending, _)| pending == labels);
        is_pending || self.store.inner.lock().series.contains_key(labels)
    }

    fn push(&mut self, labels: Labels, sample: Sample) -> Result<(), AppendError> {
        let inner = self.store.inner.lock();
        let stored = inner.series.get(&labels).into_iter().flatten();
        let pending = self.pending.iter().filter(|(l, _)| *l == labels).map(|(_, s)| s);
        match stored.chain(pending).last() {
            Some(last) if last.timestamp > sample.timestamp => {
                let (timestamp, newest) = (sample.timestamp, last.timestamp);
                return Err(AppendError::OutOfOrder { timestamp, newest });
            }
            Some(last) if *last == sample => return Ok(()),
            Some(last) if last.timestamp == sample.timestamp => {
                return Err(AppendError::DuplicateTimestamp {
                    timestamp: sample.timestamp,
                    existing: last.value,
                    offered: sample.value,
                });
            }
            _ => {}
        }
        drop(inner);
        self.pending.push((labels, sample));
        Ok(())
    }
}

impl Batch for MemoryBatch<'_> {
    fn append(
        &mut self,
        labels: &Labels,
        timestamp: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        let mut inner = self.store.inner.lock();
        inner.lookups += 1;
        let known = inner.refs.iter().find(|(_, l)| *l == labels).map(|(r, _)| *r);
        let series = known.unwrap_or_else(|| {
            inner.next_ref += 1;
            let series = inner.next_ref;
            inner.refs.insert(series, labels.clone());
            series
        });
        drop(inner);
        self.push(labels.clone(), Sample::new(timestamp, value))?;
        Ok(SeriesRef(series))
    }

    fn append_ref(
        &mut self,
        series: SeriesRef,
        timestamp: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        let labels = self.store.inner.lock().refs.get(&series.0).cloned();
        let labels = labels.ok_or(AppendError::UnknownSeries { series })?;
        self.push(labels, Sample::new(timestamp, value))
    }

    fn append_with_start(
        &mut self,
        labels: &Labels,
        start: i64,
        timestamp: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        self.starts.push(format!("{labels} {timestamp}:{start}"));
        self.append(labels, timestamp, value)
    }

    fn append_ref_with_start(
        &mut self,
        series: SeriesRef,
        start: i64,
        timestamp: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        self.append_ref(series, timestamp, value)?;
        let labels = self.store.inner.lock().refs[&series.0].clone();
        self.starts.push(format!("{labels} {timestamp}:{start}"));
        Ok(())
    }

    fn append_histogram(
        &mut self,
        labels: &Labels,
        start: i64,
        timestamp: i64,
        histogram: NativeHistogram,
    ) -> Result<SeriesRef, AppendError> {
        let check = match &histogram {
            NativeHistogram::Integer(histogram) => histogram.validate(),
            NativeHistogram::Float(histogram) => histogram.validate(),
        };
        check.map_err(|source| AppendError::InvalidHistogram { source })?;
        let text = match &histogram {
            NativeHistogram::Integer(histogram) => histogram.to_string(),
            NativeHistogram::Float(histogram) => format!("float {histogram}"),
        };
        self.histograms.push(format!("{labels} {timestamp}:{start} {text}"));
        // The sum stands for it among the samples.
        let sum = match &histogram {
            NativeHistogram::Integer(histogram) => histogram.sum,
            NativeHistogram::Float(histogram) => histogram.sum,
        };
        self.append(labels, timestamp, sum)
    }

    fn append_histogram_ref(
        &mut self,
        series: SeriesRef,
        start: i64,
        timestamp: i64,
        histogram: NativeHistogram,
    ) -> Result<(), AppendError> {
        let labels = self.store.inner.lock().refs.get(&series.0).cloned();
        let labels = labels.ok_or(AppendError::UnknownSeries { series })?;
        self.append_histogram(&labels, start, timestamp, histogram).map(drop)
    }

    fn append_exemplar(
        &mut self,
        labels: &Labels,
        exemplar: Exemplar,
    ) -> Result<(), ExemplarError> {
        if !self.is_there(labels) {
            return Err(ExemplarError::NoSeries { labels: labels.clone() });
        }
        self.exemplars.push((labels.clone(), exemplar));
        Ok(())
    }

    fn append_exemplar_ref(
        &mut self,
        series: SeriesRef,
        exemplar: Exemplar,
    ) -> Result<(), ExemplarError> {
        let labels = self.store.inner.lock().refs.get(&series.0).cloned();
        let labels = labels.ok_or(ExemplarError::UnknownSeries { series })?;
        self.append_exemplar(&labels, exemplar)
    }

    fn update_metadata(
        &mut self,
        series: SeriesRef,
        metadata: &Metadata,
    ) -> Result<(), MetadataError> {
        let labels = self.store.inner.lock().refs.get(&series.0).cloned();
        let labels = labels.ok_or(MetadataError::UnknownSeries { series })?;
        self.metadata.push((labels, metadata.clone()));
        Ok(())
    }

    fn update_metadata_of_metric(
        &mut self,
        metric: &str,
        metadata: &Metadata,
    ) -> Result<usize, MetadataError> {
        let inner = self.store.inner.lock();
        let is_due = |labels: &&Labels| {
            labels.metric_name() == metric && inner.metadata.get(*labels) != Some(metadata)
        };
        let due: Vec<Labels> = inner.series.keys().filter(is_due).cloned().collect();
        drop(inner);
        self.metadata.extend(due.iter().map(|labels| (labels.clone(), metadata.clone())));
        Ok(due.len())
    }

    fn commit(self: Box<Self>) -> Result<Committed, Error> {
        let mut inner = self.store.inner.lock();
        if inner.fail_commits {
            return Err(Error::LogFailed);
        }
        let mut committed = Committed::default();
        committed.samples = self.pending.len();
        committed.exemplars = self.exemplars.len();
        committed.metadata = self.metadata.len();
        inner.n_told += self.metadata.len();
        inner.exemplars.extend(self.exemplars);
        inner.metadata.extend(self.metadata);
        inner.histograms.extend(self.histograms);
        inner.starts.extend(self.starts);
        for (labels, sample) in self.pending {
            inner.series.entry(labels).or_default().push(sample);
        }
        Ok(committed)
    }
}

/// A copy of the samples in a range of time.
struct View {
    range: TimeRange,
    series: Vec<(Labels, Vec<Sample>)>,
}

impl Queryable for MemoryStore {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
        let series = self.inner.lock().series.clone();
        Ok(Box::new(View { range, series: series.into_iter().collect() }))
    }
}

impl View {
    fn matching(&self, matchers: &[Matcher]) -> impl Iterator<Item = (Labels, Vec<Sample>)> {
        let is_in = |s: &Sample| (self.range.mint()..=self.range.maxt()).contains(&s.timestamp);
        let passes = |labels: &Labels| {
            matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
        };
        let series = self.series.iter().filter(move |(labels, _)| passes(labels));
        series
            .map(move |(l, s)| (l.clone(), s.iter().copied().filter(is_in).collect::<Vec<_>>()))
            .filter(|(_, s)| !s.is_empty())
            .collect::<Vec<_>>()
            .into_iter()
    }
}

impl Querier for View {
    fn select(
        &self,
        matchers: &[Matcher],
        _: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StorageError> {
        if matchers.iter().any(|m| m.value() == "broken_storage") {
            return Err("cannot read block".into());
        }
        Ok(Box::new(Selected(self.matching(matchers).collect())))
    }

    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, StorageError> {
        let mut names: Vec<String> = self
            .matching(matchers)
            .flat_map(|(l, _)| l.iter().map(|(n, _)| n.to_owned()).collect::<Vec<_>>())
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, StorageError> {
        let mut values: Vec<String> =
            self.matching(matchers).filter_map(|(l, _)| l.get(name).map(str::to_owned)).collect();
        values.sort();
        values.dedup();
        Ok(values)
    }
}

struct Selected(Vec<(Labels, Vec<Sample>)>);

impl SeriesSet for Selected {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, index: usize) -> Labels {
        self.0[index].0.clone()
    }

    fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError> {
        for sample in &self.0[index].1 {
            batch.push(sample.timestamp, sample.value);
        }
        Ok(())
    }
}
