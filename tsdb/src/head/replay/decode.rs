//! Decoding records in the order of the log: series are made here, samples handed to the workers.

use std::sync::atomic::Ordering;

use ferula_index::{METRIC_NAME, SeriesRef};
use ferula_wal::LogRecord;
use ferula_wal::record::Record;
use ferula_wal::record::exemplars::RefExemplar;
use ferula_wal::record::histograms::RefHistogram;
use ferula_wal::record::metadata::RefMetadata;
use ferula_wal::record::samples::{RefSample, SamplesDecoder};
use ferula_wal::record::samples_v2::RefStartedSample;
use ferula_wal::record::tombstones::Tombstone;

use super::known::{KnownSeries, Named};
use super::making::{Made, Maker};
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
    /// Number of the newest batch with samples out of order.
    newest_late: u64,
    /// Records that are still to come of samples out of order.
    n_late: u64,
    /// What is deleted, for samples out of order, each with the number of the batch before it.
    deleted: Vec<(u64, Tombstone)>,
    /// Series that records named.
    maker: Maker<'a>,
}

impl<'a> Decoder<'a> {
    /// Begins with the first record.
    pub(super) fn new(
        head: &'a Head,
        maker: Maker<'a>,
        workers: Workers<'a>,
        loaded: Loaded,
    ) -> Self {
        Self {
            head,
            maker,
            workers,
            loaded,
            stats: ReplayStats::default(),
            segment: None,
            valid_from: head.times.valid_from.load(Ordering::Relaxed),
            newest_late: 0,
            n_late: 0,
            deleted: Vec::new(),
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
        if self.n_late > 0 {
            self.n_late -= 1;
            return Ok(());
        }
        let record = record.decode().map_err(failed)?;
        if !self.maker.is_idle() && !matches!(record, Record::Series(_)) {
            self.note_made()?;
        }
        match record {
            Record::OutOfOrder(announced) => {
                self.newest_late = self.newest_late.max(announced.number);
                self.n_late = announced.n_records;
            }
            Record::Series(mut series) => {
                while let Some((series, labels)) = series.next().map_err(failed)? {
                    if series == SeriesRef(u64::MAX) {
                        // Sets of refs have no room for this one, which no store hands out.
                        self.stats.skipped_records += 1;
                        continue;
                    }
                    self.maker.put(series, labels);
                }
            }
            Record::Samples(samples) => self.add_samples(samples).map_err(failed)?,
            Record::SamplesV2(mut samples) => {
                while let Some(sample) = samples.next().map_err(failed)? {
                    self.add_started_sample(sample);
                }
            }
            Record::Tombstones(mut deleted) => {
                while let Some(mut tombstone) = deleted.next().map_err(failed)? {
                    if let Some(series) = self.known().resolve(tombstone.series) {
                        tombstone.series = series;
                        self.deleted.push((self.newest_late, tombstone));
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

    /// Notes the series that records named, when they are made.
    fn note_made(&mut self) -> Result<(), Error> {
        while let Some(Made { series, aliases }) = self.maker.next_made()? {
            let mut next_alias = aliases.iter().copied().peekable();
            for series in series {
                if next_alias.next_if(|(alias, _)| *alias == series).is_none() {
                    self.known().add(series);
                }
            }
            // A series that was removed and made anew has two refs in the log.
            for (alias, known) in aliases {
                if self.known().until(alias).is_some() {
                    self.workers.put(page_number(known), Job::Adopt(alias, known));
                }
                self.known().add_alias(alias, known);
                self.head.aliases.lock().insert(alias, known);
            }
        }
        Ok(())
    }

    fn add_samples(&mut self, mut samples: SamplesDecoder<'_>) -> Result<(), ferula_wal::Error> {
        while let Some(sample) = samples.next()? {
            if let Some(series) = self.find(sample.series, sample.timestamp) {
                self.workers.put_sample(RefSample { series, ..sample });
            }
        }
        Ok(())
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
    #[inline(always)]
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
    pub(super) fn finish(mut self) -> Result<Option<ReplayStats>, Error> {
        self.note_made()?;
        let Self { head, maker, workers, mut loaded, mut stats, newest_late, deleted, .. } = self;
        maker.finish();
        head.out_of_order.note_logged(newest_late, deleted);
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
