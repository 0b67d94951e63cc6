//! Following the log, and handing what it says to the queues.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ferula_index::{Labels, LabelsBuilder, SeriesRef};
use ferula_tsdb::{Exemplar, Metadata, NativeHistogram};
use ferula_wal::fs::StdFs;
use ferula_wal::record::Record;
use ferula_wal::{LogRecord, LogTail, TailPosition, TailStart};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tracing::{info, warn};

use super::item::{Item, SentSeries, What};
use super::metrics::Metrics;
use super::position::Positions;
use crate::config::RemoteWrite;
use crate::error::chain;
use crate::relabel;

/// Samples of a piece of the log; a record more are.
const PIECE_SAMPLES: usize = 8192;

/// How long the reader waits when there is nothing new.
const IDLE: Duration = Duration::from_millis(100);

/// How long it waits when the log cannot be read.
const FAILURE_BREAK: Duration = Duration::from_secs(5);

/// How often positions are written down.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Follows the log for one place.
pub(super) struct Reader {
    config: Arc<RemoteWrite>,
    external_labels: BTreeMap<String, String>,
    dir: PathBuf,
    queues: Vec<Sender<Vec<Item>>>,
    metrics: Arc<Metrics>,
    /// Series of the log; those that are not sent have none.
    series: HashMap<u64, Option<Arc<SentSeries>>>,
    /// What was read and not handed on yet.
    items: Vec<Item>,
    unanswered: Arc<AtomicUsize>,
}

impl Reader {
    pub(super) fn new(
        config: Arc<RemoteWrite>,
        external_labels: BTreeMap<String, String>,
        data: &Path,
        queues: Vec<Sender<Vec<Item>>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            config,
            external_labels,
            dir: data.join("wal"),
            queues,
            metrics,
            series: HashMap::new(),
            items: Vec::new(),
            unanswered: Arc::default(),
        }
    }

    /// Follows the log until it is to stop. The positions are given back for what is under way then.
    pub(super) fn run(
        mut self,
        mut positions: Positions,
        stop: &AtomicBool,
        runtime: &Handle,
    ) -> Positions {
        while !stop.load(Ordering::Acquire) {
            let followed = self.follow(&mut positions, stop, runtime);
            // It ended because it is to, or because nobody takes what it reads.
            let Err(error) = followed else { break };
            warn!(url = self.config.shown_url(), error = chain(&error), "cannot follow the log");
            use ferula_wal::Error::{MissingSegment, PositionLost};
            if matches!(error, MissingSegment { .. } | PositionLost { .. }) {
                self.metrics.lost_positions.inc();
            } else {
                pause(FAILURE_BREAK, stop);
            }
        }
        positions.save();
        positions
    }

    /// Finds the position of a place that has none: what was there before it is not sent.
    pub(super) fn begin(&self, positions: &mut Positions) -> Result<(), ferula_wal::Error> {
        if positions.start().is_none() {
            let end = LogTail::open(Arc::new(StdFs), &self.dir, TailStart::End)?.position();
            positions.begin_at(end.unwrap_or(TailPosition { segment: 0, offset: 0 }));
            positions.save();
        }
        Ok(())
    }

    /// Reads the log from its beginning, for its series, and hands on what stands behind the position.
    fn follow(
        &mut self,
        positions: &mut Positions,
        stop: &AtomicBool,
        runtime: &Handle,
    ) -> Result<(), ferula_wal::Error> {
        self.begin(positions)?;
        let start = positions.start().unwrap_or(TailPosition { segment: 0, offset: 0 });
        info!(
            url = self.config.shown_url(),
            segment = start.segment,
            offset = start.offset,
            "sending"
        );
        self.items.clear();
        self.unanswered = Arc::default();
        self.series.clear();
        let mut tail = LogTail::open(Arc::new(StdFs), &self.dir, TailStart::Beginning)?;
        let mut last = None;
        let mut saved = Instant::now();
        while !stop.load(Ordering::Acquire) {
            let mut is_idle = false;
            while self.items.len() < PIECE_SAMPLES && !is_idle && !stop.load(Ordering::Acquire) {
                match tail.next_record()? {
                    Some(record) => self.take(&record, start)?,
                    None => is_idle = true,
                }
            }
            // A position is the end of a batch: what is read beyond it is not answered by it.
            if let Some(position) = tail.position()
                && (position.segment, position.offset) > (start.segment, start.offset)
                && (last != Some(position) || !self.items.is_empty())
            {
                last = Some(position);
                positions.push(position, self.unanswered.clone());
            }
            if !self.hand_on(runtime) {
                return Ok(());
            }
            if saved.elapsed() >= SAVE_INTERVAL {
                positions.save();
                saved = Instant::now();
            }
            if is_idle {
                pause(IDLE, stop);
            }
        }
        Ok(())
    }

    /// Takes up a record: series in any case, samples if they stand behind the start.
    fn take(
        &mut self,
        record: &LogRecord<'_>,
        start: TailPosition,
    ) -> Result<(), ferula_wal::Error> {
        let is_before =
            record.is_checkpoint || (record.segment, record.offset) < (start.segment, start.offset);
        match record.decode()? {
            Record::Series(mut series) => {
                while let Some((number, labels)) = series.next()? {
                    let sent = self.sent_labels(&labels).map(|labels| {
                        let metadata = Mutex::default();
                        Arc::new(SentSeries { number: number.0, labels, metadata })
                    });
                    self.series.insert(number.0, sent);
                }
            }
            Record::Metadata(mut all) => {
                while let Some(said) = all.next()? {
                    if let Some(Some(series)) = self.series.get(&said.series.0) {
                        let metadata = Metadata::new(said.metric_type, said.unit, said.help);
                        *series.metadata.lock() = Some(Arc::new(metadata));
                    }
                }
            }
            _ if is_before => {}
            Record::Samples(mut samples) => {
                while let Some(sample) = samples.next()? {
                    let (timestamp, value) = (sample.timestamp, sample.value);
                    self.push(sample.series, What::Float { start: 0, timestamp, value });
                }
            }
            Record::SamplesV2(mut samples) => {
                while let Some(sample) = samples.next()? {
                    let (start, timestamp) = (sample.start_timestamp, sample.timestamp);
                    let what = What::Float { start, timestamp, value: sample.value };
                    self.push(sample.series, what);
                }
            }
            Record::Histograms(mut histograms) => {
                while let Some(h) = histograms.next()? {
                    let histogram = NativeHistogram::Integer(h.histogram.clone());
                    self.histogram(h.series, h.start_timestamp, h.timestamp, histogram);
                }
            }
            Record::FloatHistograms(mut histograms) => {
                while let Some(h) = histograms.next()? {
                    let histogram = NativeHistogram::Float(h.histogram.clone());
                    self.histogram(h.series, h.start_timestamp, h.timestamp, histogram);
                }
            }
            Record::Exemplars(mut exemplars) => {
                while let Some(exemplar) = exemplars.next()? {
                    let series = exemplar.series;
                    if self.config.send_exemplars {
                        let (timestamp, value) = (exemplar.timestamp, exemplar.value);
                        let exemplar = Exemplar::new(timestamp, value, exemplar.labels);
                        self.push(series, What::Exemplar(exemplar));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        series: SeriesRef,
        start: i64,
        timestamp: i64,
        histogram: NativeHistogram,
    ) {
        if self.config.send_native_histograms {
            let histogram = Box::new(histogram);
            self.push(series, What::Histogram { start, timestamp, histogram });
        } else {
            self.metrics.dropped.inc();
        }
    }

    fn push(&mut self, series: SeriesRef, what: What) {
        match self.series.get(&series.0) {
            Some(Some(series)) => {
                let series = series.clone();
                self.unanswered.fetch_add(1, Ordering::AcqRel);
                let unanswered = self.unanswered.clone();
                self.items.push(Item { series, what, unanswered });
            }
            _ => self.metrics.dropped.inc(),
        }
    }

    /// The labels that a series is sent with, if it is.
    fn sent_labels(&self, labels: &Labels) -> Option<Labels> {
        let mut builder = LabelsBuilder::from_labels(labels);
        for (name, value) in &self.external_labels {
            if builder.get(name).is_none() {
                builder.set(name, value);
            }
        }
        let labels = builder.build().ok()?;
        let relabelled = relabel::process(&labels, &self.config.relabel).ok().flatten()?;
        (!relabelled.is_empty()).then_some(relabelled)
    }

    /// Hands what was read to the queues, with all of a series together; waits for room. False if nobody
    /// takes it any more.
    fn hand_on(&mut self, runtime: &Handle) -> bool {
        self.unanswered = Arc::default();
        if self.items.is_empty() {
            return true;
        }
        let n_queues = self.queues.len() as u64;
        let mut parts: Vec<Vec<Item>> = self.queues.iter().map(|_| Vec::new()).collect();
        // The sort is stable: the order within a series stays.
        self.items.sort_by_key(|item| item.series.number);
        for item in self.items.drain(..) {
            let queue = usize::try_from(item.series.number % n_queues).expect("there are few");
            parts[queue].push(item);
        }
        for (part, queue) in parts.into_iter().zip(&self.queues) {
            if !part.is_empty() && runtime.block_on(queue.send(part)).is_err() {
                return false;
            }
        }
        true
    }
}

/// Sleeps, but not on when it is to stop.
fn pause(longest: Duration, stop: &AtomicBool) {
    let end = Instant::now() + longest;
    while Instant::now() < end && !stop.load(Ordering::Acquire) {
        thread::sleep(IDLE.min(longest));
    }
}
