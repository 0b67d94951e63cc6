//! Decoding records in the order of the log: series are made here, samples handed to the workers.

use std::mem;
use std::sync::atomic::Ordering;

use ferula_index::{Labels, METRIC_NAME, SeriesRef};
use ferula_wal::LogRecord;
use ferula_wal::record::Record;
use ferula_wal::record::exemplars::RefExemplar;
use ferula_wal::record::histograms::RefHistogram;
use ferula_wal::record::metadata::RefMetadata;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::samples_v2::RefStartedSample;

use super::known::{KnownSeries, Named};
use super::worker::{Job, Workers};
use super::{Loaded, ReplayStats};
use crate::error::Error;
use crate::exemplar::{Exemplar, check_labels};
use crate::head::batch::PendingHistogram;
use crate::head::exemplars::Logged;
use crate::head::isolation::BatchId;
use crate::head::metadata::Description;
use crate::head::series::page_number;
use crate::head::{Head, is_valid_time};
use crate::histogram::NativeHistogram;

/// Series that are made together at most.
const NAMED_BATCH: usize = 1024;

/// Series of a record whose metadata is taken at once.
const DESCRIBED_AT_ONCE: usize = 1024;

/// Decodes the records of a log.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    head: &'a Head,
    workers: Workers<'a>,
    loaded: Loaded,
    stats: ReplayStats,
    segment: Option<(bool, u32)>,
    valid_from: i64,
    /// Series that a record named and that are not made yet.
    named: Vec<(SeriesRef, Labels)>,
}

impl<'a> Decoder<'a> {
    /// Begins with the first record.
    pub(super) fn new(head: &'a Head, workers: Workers<'a>, loaded: Loaded) -> Self {
        Self {
            head,
            workers,
            loaded,
            stats: ReplayStats::default(),
            segment: None,
            valid_from: head.times.valid_from.load(Ordering::Relaxed),
            named: Vec::new(),
        }
    }

    /// Applies the next record.
    pub(super) fn apply(&mut self, record: &LogRecord<'_>) -> Result<(), Error> {
        let segment = (record.is_checkpoint, record.segment);
        if self.segment.replace(segment) != Some(segment) {
            self.stats.segments += 1;
        }
        self.stats.records += 1;
        let failed =
            |source| Error::Replay { segment: record.segment, offset: record.offset, source };
        match record.decode().map_err(failed)? {
            Record::Series(mut series) => {
                while let Some((series, labels)) = series.next().map_err(failed)? {
                    if series == SeriesRef(u64::MAX) {
                        // Sets of refs have no room for this one, which no store hands out.
                        self.stats.skipped_records += 1;
                        continue;
                    }
                    self.named.push((series, labels));
                    if self.named.len() >= NAMED_BATCH {
                        self.add_named()?;
                    }
                }
                self.add_named()?;
            }
            Record::Samples(mut samples) => {
                while let Some(sample) = samples.next().map_err(failed)? {
                    self.add_sample(sample);
                }
            }
            Record::SamplesV2(mut samples) => {
                while let Some(sample) = samples.next().map_err(failed)? {
                    self.add_started_sample(sample);
                }
            }
            Record::Tombstones(mut deleted) => {
                while let Some(mut tombstone) = deleted.next().map_err(failed)? {
                    if let Some(series) = self.known().resolve(tombstone.series) {
                        tombstone.series = series;
                        self.workers.put(page_number(series), Job::Delete(tombstone));
                    }
                }
            }
            Record::Histograms(mut histograms) => {
                while let Some(entry) = histograms.next().map_err(failed)? {
                    self.add_histogram(&entry);
                }
            }
            Record::FloatHistograms(mut histograms) => {
                while let Some(entry) = histograms.next().map_err(failed)? {
                    self.add_histogram(&entry);
                }
            }
            Record::Exemplars(mut exemplars) => {
                while let Some(exemplar) = exemplars.next().map_err(failed)? {
                    self.add_exemplar(exemplar);
                }
            }
            Record::Metadata(mut entries) => {
                let mut described = Vec::new();
                while let Some(entry) = entries.next().map_err(failed)? {
                    described.push(entry);
                    if described.len() >= DESCRIBED_AT_ONCE {
                        self.add_metadata(&mut described);
                    }
                }
                self.add_metadata(&mut described);
            }
            _ => self.stats.skipped_records += 1,
        }
        Ok(())
    }

    fn known(&mut self) -> &mut KnownSeries {
        &mut self.loaded.known
    }

    /// Makes the series that a record named.
    fn add_named(&mut self) -> Result<(), Error> {
        let named = mem::take(&mut self.named);
        let Some((first, _)) = named.first() else { return Ok(()) };
        let head = self.head;
        let aliases = head.index.insert_all(&named).map_err(Error::index_all(*first))?;
        let mut next_alias = aliases.iter().copied().peekable();
        for (series, _) in &named {
            head.note_ref(*series);
            if next_alias.next_if(|(alias, _)| alias == series).is_some() {
                continue;
            }
            head.stripes.insert(*series);
            if let Some(page) = head.stripes.page(page_number(*series))
                && let Some(mut made) = page.lock().series_mut(*series)
            {
                made.publish();
            }
            self.known().add(*series);
        }
        // A series that was removed and made anew has two refs in the log.
        for (alias, known) in aliases {
            if self.known().until(alias).is_some() {
                self.workers.put(page_number(known), Job::Adopt(alias, known));
            }
            self.known().add_alias(alias, known);
            head.aliases.lock().insert(alias, known);
        }
        self.named = named;
        self.named.clear();
        Ok(())
    }

    #[inline]
    fn add_sample(&mut self, sample: RefSample) {
        if let Some(series) = self.find(sample.series, sample.timestamp) {
            self.workers.put_sample(RefSample { series, ..sample });
        }
    }

    fn add_started_sample(&mut self, sample: RefStartedSample) {
        let RefStartedSample { timestamp, value, .. } = sample;
        if let Some(series) = self.find(sample.series, timestamp) {
            if sample.start_timestamp == 0 {
                self.workers.put_sample(RefSample { series, timestamp, value });
            } else {
                self.workers.put_started_sample(RefStartedSample { series, ..sample });
            }
        }
    }

    fn add_histogram<H: Clone + Into<NativeHistogram>>(&mut self, entry: &RefHistogram<'_, H>) {
        let (start, timestamp) = (entry.start_timestamp, entry.timestamp);
        if let Some(series) = self.find(entry.series, timestamp) {
            let histogram = entry.histogram.clone().into();
            self.workers.put_histogram(PendingHistogram { series, start, timestamp, histogram });
        }
    }

    /// Takes an exemplar as a batch would. Prometheus logs some that it does not take then.
    fn add_exemplar(&mut self, logged: RefExemplar) {
        let RefExemplar { series: logged_as, timestamp, value, labels } = logged;
        let series = self.known().resolve(logged_as).filter(|_| is_valid_time(timestamp));
        let Some(series) = series else { return };
        let exemplar = Exemplar::new(timestamp, value, labels);
        if check_labels(&exemplar.labels).is_err() {
            return;
        }
        let offered = Logged { logged_as, exemplar };
        let labels = || self.head.index.labels(series);
        let _ = self.head.exemplars.add(series, labels, offered, BatchId::REPLAYED);
    }

    /// Has series say what the log says they do. The names of their metrics are found for many at
    /// once.
    fn add_metadata(&mut self, described: &mut Vec<RefMetadata<'_>>) {
        for entry in &mut *described {
            // None has the ref zero.
            entry.series = self.known().resolve(entry.series).unwrap_or_default();
        }
        let series: Vec<SeriesRef> = described.iter().map(|entry| entry.series).collect();
        let names = self.head.index.labels_among(&series, &[METRIC_NAME]);
        for (entry, name) in described.drain(..).zip(names) {
            let Some(name) = name else { continue };
            let RefMetadata { series, metric_type, ref unit, ref help } = entry;
            let description = Description { metric: name.metric_name(), metric_type, unit, help };
            self.head.metadata.restore(series, description);
        }
    }

    /// The series of a sample that is to be appended, and not in a block or a chunk already.
    #[inline]
    fn find(&mut self, series: SeriesRef, timestamp: i64) -> Option<SeriesRef> {
        if timestamp < self.valid_from || !is_valid_time(timestamp) {
            self.stats.covered_samples += 1;
            return None;
        }
        match self.loaded.known.find(series, timestamp) {
            Named::Series(series) => return Some(series),
            Named::InChunk => self.stats.samples += 1,
            // Its record went with a checkpoint, when all of its samples were in blocks.
            Named::Unknown => self.stats.covered_samples += 1,
        }
        None
    }

    /// Ends the replay, when the workers are done. `None` if chunks do not go together with the log.
    pub(super) fn finish(self) -> Result<Option<ReplayStats>, Error> {
        let Self { head, workers, mut loaded, mut stats, .. } = self;
        let done = workers.finish()?;
        let is_usable = !loaded.is_unusable() && !done.is_at_odds;
        if !is_usable || !head.open_loaded(&mut loaded.known) {
            return Ok(None);
        }
        stats.samples += done.samples;
        stats.covered_samples += done.covered_samples;
        stats.invalid_histograms += done.invalid_histograms;
        head.times.mint.fetch_min(done.mint.min(loaded.mint), Ordering::Relaxed);
        head.times.maxt.fetch_max(done.maxt.max(loaded.maxt), Ordering::Relaxed);
        Ok(Some(stats))
    }
}
