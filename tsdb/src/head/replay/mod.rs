//! Making a head from a log.
//!
//! Records are read and decoded in the order of the log, which is the order in which they were
//! applied when they were logged. Samples are handed to [`worker`]s by page: those of one series
//! stay in order, and the head comes out the same whatever the number of workers. What is on its
//! way between threads is bounded, so that a replay takes no more memory than the head it makes.
//!
//! Samples that a block already covers are left out: the block was cut before the log could be
//! truncated.

mod known;
mod worker;

use std::sync::atomic::Ordering;
use std::thread;

use ferula_index::{Labels, SeriesRef};
use ferula_wal::LogRecord;
use ferula_wal::record::Record;
use ferula_wal::record::histograms::RefHistogram;
use ferula_wal::record::samples::RefSample;

use self::known::KnownSeries;
use self::worker::{Job, Workers};
use super::batch::PendingHistogram;
use super::series::page_number;
use super::{Head, is_valid_time};
use crate::error::Error;
use crate::histogram::NativeHistogram;

/// What a replay read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplayStats {
    pub(crate) segments: u64,
    pub(crate) records: u64,
    pub(crate) samples: u64,
    pub(crate) covered_samples: u64,
    pub(crate) skipped_records: u64,
    pub(crate) invalid_histograms: u64,
}

impl Head {
    /// Applies the records that `read` gives to the replay, in the order of the log. Nobody else uses
    /// the head yet. After an error it is not to be used at all.
    pub(crate) fn replay(
        &mut self,
        read: impl FnOnce(&mut Replay<'_>) -> Result<(), Error>,
    ) -> Result<ReplayStats, Error> {
        let head = &*self;
        let stats = thread::scope(|scope| {
            let mut replay = Replay::new(head, Workers::start(head, scope)?);
            read(&mut replay)?;
            replay.finish()
        })?;
        self.has_opaque_records = stats.skipped_records > 0;
        self.remove_empty_series();
        *self.appended.get_mut() = 0;
        Ok(stats)
    }
}

/// Applies the records of a log to a head.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    head: &'a Head,
    workers: Workers<'a>,
    known: KnownSeries,
    stats: ReplayStats,
    segment: Option<(bool, u32)>,
    valid_from: i64,
}

impl<'a> Replay<'a> {
    fn new(head: &'a Head, workers: Workers<'a>) -> Self {
        Self {
            head,
            workers,
            known: KnownSeries::default(),
            stats: ReplayStats::default(),
            segment: None,
            valid_from: head.times.valid_from.load(Ordering::Relaxed),
        }
    }

    /// Applies the next record.
    pub(crate) fn apply(&mut self, record: &LogRecord<'_>) -> Result<(), Error> {
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
                    self.add_series(series, &labels)?;
                }
            }
            Record::Samples(mut samples) => {
                while let Some(sample) = samples.next().map_err(failed)? {
                    self.add_sample(sample);
                }
            }
            Record::Tombstones(mut deleted) => {
                while let Some(mut tombstone) = deleted.next().map_err(failed)? {
                    if let Some(series) = self.known.find(tombstone.series) {
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
            _ => self.stats.skipped_records += 1,
        }
        Ok(())
    }

    fn add_series(&mut self, series: SeriesRef, labels: &Labels) -> Result<(), Error> {
        let head = self.head;
        head.next_ref.fetch_max(series.0.saturating_add(1), Ordering::Relaxed);
        if let Some(known) = head.index.get(labels) {
            // A series that was removed and made anew has two refs in the log.
            if known != series {
                self.known.add_alias(series, known);
                head.aliases.lock().insert(series, known);
            }
            return Ok(());
        }
        let failed = |source| Error::HeadIndex { series, source };
        head.index.insert(series, labels).map_err(failed)?;
        head.stripes.insert(series);
        if let Some(page) = head.stripes.page(page_number(series))
            && let Some(mut made) = page.lock().series_mut(series)
        {
            made.publish();
        }
        self.known.add(series);
        Ok(())
    }

    #[inline]
    fn add_sample(&mut self, sample: RefSample) {
        match self.find(sample.series, sample.timestamp) {
            Some(series) => self.workers.put_sample(RefSample { series, ..sample }),
            None => self.stats.covered_samples += 1,
        }
    }

    fn add_histogram<H: Clone + Into<NativeHistogram>>(&mut self, entry: &RefHistogram<'_, H>) {
        let timestamp = entry.timestamp;
        match self.find(entry.series, timestamp) {
            Some(series) => {
                let histogram = entry.histogram.clone().into();
                self.workers.put_histogram(PendingHistogram { series, timestamp, histogram });
            }
            None => self.stats.covered_samples += 1,
        }
    }

    /// The series of a sample at `timestamp`, unless blocks cover it.
    #[inline]
    fn find(&mut self, series: SeriesRef, timestamp: i64) -> Option<SeriesRef> {
        let is_wanted = timestamp >= self.valid_from && is_valid_time(timestamp);
        // Otherwise its record went with a checkpoint, when all of its samples were in blocks.
        self.known.find(series).filter(|_| is_wanted)
    }

    /// Ends the replay, when the workers are done.
    fn finish(self) -> Result<ReplayStats, Error> {
        let Self { head, workers, mut stats, .. } = self;
        let done = workers.finish()?;
        stats.samples += done.samples;
        stats.covered_samples += done.covered_samples;
        stats.invalid_histograms += done.invalid_histograms;
        head.times.mint.fetch_min(done.mint, Ordering::Relaxed);
        head.times.maxt.fetch_max(done.maxt, Ordering::Relaxed);
        Ok(stats)
    }
}
