//! Making a head from a log.
//!
//! Records are applied in the order of the log, which is the order in which they were applied when
//! they were logged, so the head comes out the same. Samples that a block already covers are left
//! out: the block was cut before the log could be truncated.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_chunkenc::Sample;
use ferula_index::{Labels, SeriesRef};
use ferula_wal::LogRecord;
use ferula_wal::record::Record;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::tombstones::Tombstone;

use super::isolation::BatchId;
use super::series::Series;
use super::{Head, Stripes, is_valid_time};
use crate::error::Error;

/// What a replay read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplayStats {
    pub(crate) segments: u64,
    pub(crate) records: u64,
    pub(crate) samples: u64,
    pub(crate) covered_samples: u64,
    pub(crate) skipped_records: u64,
}

/// Applies the records of a log to a head that nobody else uses yet.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    head: &'a mut Head,
    stats: ReplayStats,
    segment: Option<(bool, u32)>,
}

impl<'a> Replay<'a> {
    /// Begins with the first record.
    pub(crate) fn new(head: &'a mut Head) -> Self {
        Self { head, stats: ReplayStats::default(), segment: None }
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
                while let Some(tombstone) = deleted.next().map_err(failed)? {
                    self.delete(tombstone)?;
                }
            }
            _ => {
                self.head.has_opaque_records = true;
                self.stats.skipped_records += 1;
            }
        }
        Ok(())
    }

    fn add_series(&mut self, series: SeriesRef, labels: &Labels) -> Result<(), Error> {
        let head = &mut *self.head;
        let next = head.next_ref.get_mut();
        *next = (*next).max(series.0.saturating_add(1));
        if let Some(known) = head.index.get(labels) {
            // A series that was removed and made anew has two refs in the log.
            if known != series {
                head.aliases.get_mut().insert(series, known);
            }
            return Ok(());
        }
        let failed = |source| Error::HeadIndex { series, source };
        head.index.insert(series, labels).map_err(failed)?;
        let made = Series::new(series);
        made.lock().is_published = true;
        head.stripes.insert(Arc::new(made));
        Ok(())
    }

    fn add_sample(&mut self, sample: RefSample) {
        let RefSample { series, timestamp, value } = sample;
        let head = &mut *self.head;
        if !is_valid_time(timestamp) || timestamp < *head.times.valid_from.get_mut() {
            self.stats.covered_samples += 1;
            return;
        }
        let Some(found) = find(&head.stripes, head.aliases.get_mut(), series) else {
            // Its record went with a checkpoint, when all of its samples were in blocks.
            self.stats.covered_samples += 1;
            return;
        };
        let mut state = found.lock();
        if state.newest().is_some_and(|newest| newest.timestamp >= timestamp) {
            self.stats.covered_samples += 1;
            return;
        }
        let batch = BatchId::REPLAYED;
        state.append(Sample::new(timestamp, value), batch, batch, head.block_range_ms);
        self.stats.samples += 1;
        let (mint, maxt) = (head.times.mint.get_mut(), head.times.maxt.get_mut());
        (*mint, *maxt) = ((*mint).min(timestamp), (*maxt).max(timestamp));
    }

    /// Removes what was deleted when the record was written. Samples logged later stay.
    fn delete(&mut self, Tombstone { series, mint, maxt }: Tombstone) -> Result<(), Error> {
        let head = &mut *self.head;
        let Some(found) = find(&head.stripes, head.aliases.get_mut(), series) else {
            return Ok(());
        };
        let failed = |source| Error::HeadChunk { series: found.series_ref(), source };
        found.lock().delete(mint, maxt, head.block_range_ms).map_err(failed)
    }

    /// Ends the replay: removes the series that came without samples.
    pub(crate) fn finish(self) -> ReplayStats {
        self.head.remove_empty_series();
        self.head.appended.store(0, Ordering::Relaxed);
        self.stats
    }
}

fn find(
    stripes: &Stripes,
    aliases: &std::collections::HashMap<SeriesRef, SeriesRef>,
    series: SeriesRef,
) -> Option<Arc<Series>> {
    stripes.get(series).or_else(|| aliases.get(&series).and_then(|known| stripes.get(*known)))
}
