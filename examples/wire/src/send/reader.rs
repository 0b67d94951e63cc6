//! Following the log, and handing what it says to the queues.

use std::collections::{BTreeMap, HashMap, HashSet};
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
use tokio::sync::mpsc::error::TrySendError;
use tracing::{debug, info, warn};

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

/// How often it looks whether all was answered, when it waits for that.
const ANSWER_CHECK: Duration = Duration::from_millis(10);

/// How often the reader looks for a checkpoint that it has not seen.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// How often positions are written down.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Follows the log for one place.
pub(super) struct Reader {
    config: Arc<RemoteWrite>,
    external_labels: BTreeMap<String, String>,
    dir: PathBuf,
    /// An empty piece has what waits in a queue sent at once.
    queues: Vec<Sender<Vec<Item>>>,
    /// How many of the queues are used: more and more while they are slower than the log.
    n_used: usize,
    metrics: Arc<Metrics>,
    /// Series that the log tells of.
    series: HashMap<u64, KnownSeries>,
    /// The checkpoint after which series were forgotten last.
    checkpoint: Option<u32>,
    /// What was read and not handed on yet.
    items: Vec<Item>,
    unanswered: Arc<AtomicUsize>,
}

/// A series of the log.
struct KnownSeries {
    /// What is sent; none if it is not.
    sent: Option<Arc<SentSeries>>,
    /// The last segment that its labels stand in, or the number of the checkpoint.
    segment: u32,
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
            n_used: 1,
            metrics,
            series: HashMap::new(),
            checkpoint: None,
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
            }
            // Even a gap may be there again the next time.
            pause(FAILURE_BREAK, stop);
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
        self.checkpoint = None;
        let mut tail = LogTail::open(Arc::new(StdFs), &self.dir, TailStart::Beginning)?;
        let mut last = None;
        let (mut saved, mut looked) = (Instant::now(), Instant::now());
        while !stop.load(Ordering::Acquire) {
            let mut is_idle = false;
            while self.items.len() < PIECE_SAMPLES && !is_idle && !stop.load(Ordering::Acquire) {
                match tail.next_record()? {
                    Some(record) => self.take(&record, start)?,
                    None => is_idle = true,
                }
            }
            // A position is the end of a batch: what is read beyond it is not answered by it.
            // While that is the start still, samples of the first batch may be under way all the same.
            if let Some(position) = tail.position().map(|position| position.max(start))
                && (!self.items.is_empty() || (position > start && last != Some(position)))
            {
                last = Some(position);
                positions.push(position, self.unanswered.clone());
            }
            match self.hand_on(runtime) {
                Handed::On => {}
                Handed::Late if !is_idle && self.n_used < self.queues.len() => {
                    if !self.use_more(positions, stop, runtime) {
                        return Ok(());
                    }
                }
                Handed::Late => {}
                Handed::ToNobody => return Ok(()),
            }
            if saved.elapsed() >= SAVE_INTERVAL {
                positions.save();
                saved = Instant::now();
            }
            if looked.elapsed() >= CHECKPOINT_INTERVAL
                && let Some(position) = tail.position()
            {
                if let Err(error) = self.forget_series(position.segment) {
                    // The checkpoint may have been replaced meanwhile: the next one does as well.
                    debug!(error = chain(&error), "cannot read the checkpoint");
                }
                looked = Instant::now();
            }
            if is_idle {
                pause(IDLE, stop);
            }
        }
        Ok(())
    }

    /// Forgets the series that the newest checkpoint has left out, if all that it replaced was read before
    /// segment `reached`: nothing that follows is of them.
    fn forget_series(&mut self, reached: u32) -> Result<(), ferula_wal::Error> {
        let mut tail = LogTail::open(Arc::new(StdFs), &self.dir, TailStart::Beginning)?;
        let (mut checkpoint, mut kept) = (None, HashSet::new());
        while let Some(record) = tail.next_record()?
            && record.is_checkpoint
            && record.segment < reached
            && Some(record.segment) != self.checkpoint
        {
            checkpoint = Some(record.segment);
            if let Record::Series(mut series) = record.decode()? {
                while let Some((number, _)) = series.next()? {
                    kept.insert(number.0);
                }
            }
        }
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        self.series.retain(|number, known| known.segment > checkpoint || kept.contains(number));
        self.series.shrink_to_fit();
        self.checkpoint = Some(checkpoint);
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
                    let segment = record.segment;
                    self.series.insert(number.0, KnownSeries { sent, segment });
                }
            }
            Record::Metadata(mut all) => {
                while let Some(said) = all.next()? {
                    let known = self.series.get(&said.series.0);
                    if let Some(series) = known.and_then(|known| known.sent.as_ref()) {
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
        match self.series.get(&series.0).and_then(|known| known.sent.as_ref()) {
            Some(series) => {
                let series = series.clone();
                self.unanswered.fetch_add(1, Ordering::AcqRel);
                let unanswered = self.unanswered.clone();
                self.items.push(Item { series, what, unanswered });
            }
            None => self.metrics.dropped.inc(),
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

    /// Hands what was read to the queues, with all of a series together; waits for room.
    fn hand_on(&mut self, runtime: &Handle) -> Handed {
        self.unanswered = Arc::default();
        if self.items.is_empty() {
            return Handed::On;
        }
        let n_queues = self.n_used as u64;
        let mut parts: Vec<Vec<Item>> = (0..n_queues).map(|_| Vec::new()).collect();
        // The sort is stable: the order within a series stays.
        self.items.sort_by_key(|item| item.series.number);
        for item in self.items.drain(..) {
            let queue = usize::try_from(item.series.number % n_queues).expect("there are few");
            parts[queue].push(item);
        }
        let mut handed = Handed::On;
        for (part, queue) in parts.into_iter().zip(&self.queues) {
            if part.is_empty() {
                continue;
            }
            let part = match queue.try_send(part) {
                Ok(()) => continue,
                Err(TrySendError::Full(part)) => part,
                Err(TrySendError::Closed(_)) => return Handed::ToNobody,
            };
            handed = Handed::Late;
            if runtime.block_on(queue.send(part)).is_err() {
                return Handed::ToNobody;
            }
        }
        handed
    }

    /// Uses twice as many queues, once all that is under way was answered: a series may be in another queue
    /// then, and its samples must not overtake each other. False if it is to end.
    fn use_more(&mut self, positions: &mut Positions, stop: &AtomicBool, runtime: &Handle) -> bool {
        for queue in &self.queues[..self.n_used] {
            if runtime.block_on(queue.send(Vec::new())).is_err() {
                return false;
            }
        }
        while !positions.are_all_answered() {
            if stop.load(Ordering::Acquire) {
                return false;
            }
            positions.save();
            thread::sleep(ANSWER_CHECK);
        }
        self.n_used = (self.n_used * 2).min(self.queues.len());
        debug!(url = self.config.shown_url(), queues = self.n_used, "more requests at a time");
        true
    }
}

/// What became of a piece of the log.
enum Handed {
    On,
    /// There was no room for it at first.
    Late,
    /// Nobody takes it any more.
    ToNobody,
}

/// Sleeps, but not on when it is to stop.
fn pause(longest: Duration, stop: &AtomicBool) {
    let end = Instant::now() + longest;
    while Instant::now() < end && !stop.load(Ordering::Acquire) {
        thread::sleep(IDLE.min(longest));
    }
}

#[cfg(test)]
mod tests {
    use ferula_wal::record::{samples, series};
    use ferula_wal::{Options, Wal};

    use super::*;
    use crate::config::ScrapeFile;
    use crate::telemetry::Registry;

    fn labels_record(number: u64) -> Vec<u8> {
        let labels = Labels::from_pairs([("__name__", format!("m{number}"))]).unwrap();
        let mut record = Vec::new();
        series::encode([(SeriesRef(number), &labels)], &mut record);
        record
    }

    fn sample_record(number: u64) -> Vec<u8> {
        let sample = samples::RefSample { series: SeriesRef(number), timestamp: 1, value: 1.0 };
        let mut record = Vec::new();
        samples::encode([sample], &mut record);
        record
    }

    #[test]
    fn series_that_a_checkpoint_left_out_are_forgotten() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("wal");
        let (wal, _) = Wal::open(Arc::new(StdFs), &dir, Options::default()).unwrap();
        let text = "scrape_configs: [{job_name: j}]\nremote_write: [{url: 'http://a'}]";
        let file = ScrapeFile::parse(text, Path::new("x.yml")).unwrap();
        let config = Arc::new(file.remote_write[0].clone());
        let metrics = Arc::new(Metrics::new(&Registry::new(), "a"));
        let mut reader = Reader::new(config, BTreeMap::new(), data.path(), Vec::new(), metrics);
        let mut tail = LogTail::open(Arc::new(StdFs), &dir, TailStart::Beginning).unwrap();
        let start = TailPosition { segment: 0, offset: 0 };
        let mut read = |reader: &mut Reader| {
            while let Some(record) = tail.next_record().unwrap() {
                reader.take(&record, start).unwrap();
            }
            tail.position().unwrap().segment
        };
        let known = |reader: &Reader| {
            let mut numbers: Vec<u64> = reader.series.keys().copied().collect();
            numbers.sort_unstable();
            numbers
        };
        // The first goes, the second is kept, the third is told again later, the fourth comes later.
        let records = [1, 2, 3].map(labels_record);
        wal.append(&[&records[0], &records[1], &records[2]]).unwrap();
        wal.rotate().unwrap();
        wal.append(&[&labels_record(3), &labels_record(4), &sample_record(2)]).unwrap();
        let reached = read(&mut reader);
        reader.forget_series(reached).unwrap();
        assert_eq!(known(&reader), [1, 2, 3, 4]);
        wal.checkpoint(reached - 1, 0, |series| series.0 == 2).unwrap();
        // While it has not read what the checkpoint replaced, samples of all of them may come.
        reader.forget_series(reached - 1).unwrap();
        assert_eq!(known(&reader), [1, 2, 3, 4]);
        reader.forget_series(reached).unwrap();
        assert_eq!(known(&reader), [2, 3, 4]);
        assert_eq!(reader.checkpoint, Some(reached - 1));

        // The second checkpoint leaves out one that the first had kept.
        wal.rotate().unwrap();
        wal.append(&[&sample_record(3), &sample_record(4)]).unwrap();
        wal.checkpoint(reached, 0, |series| series.0 > 2).unwrap();
        let reached = read(&mut reader);
        reader.forget_series(reached).unwrap();
        assert_eq!(known(&reader), [3, 4]);
        assert_eq!(reader.items.len(), 3);
    }
}
