//! Making a head from a log.
//!
//! Records are applied in the order of the log, which is the order in which they were applied when
//! they were logged, so the head comes out the same. Samples that a block already covers are left
//! out: the block was cut before the log could be truncated.

use std::mem;
use std::sync::atomic::Ordering;

use ferula_chunkenc::Sample;
use ferula_index::{Labels, SeriesRef};
use ferula_wal::LogRecord;
use ferula_wal::record::Record;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::tombstones::Tombstone;

use super::isolation::{BatchId, Views};
use super::series::{AppendContext, SeriesMut, page_number};
use super::{Head, is_valid_time};
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
    /// Samples of one record.
    samples: Vec<RefSample>,
    views: Views,
}

impl<'a> Replay<'a> {
    /// Begins with the first record.
    pub(crate) fn new(head: &'a mut Head) -> Self {
        Self {
            head,
            stats: ReplayStats::default(),
            segment: None,
            samples: Vec::new(),
            views: Views::default(),
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
                let mut all = mem::take(&mut self.samples);
                all.clear();
                while let Some(sample) = samples.next().map_err(failed)? {
                    all.push(sample);
                }
                self.add_samples(&all);
                self.samples = all;
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
        head.stripes.insert(series);
        if let Some(page) = head.stripes.page(page_number(series))
            && let Some(mut made) = page.lock().series_mut(series)
        {
            made.publish();
        }
        Ok(())
    }

    fn add_samples(&mut self, samples: &[RefSample]) {
        let is_near = |a: &RefSample, b: &RefSample| page_number(a.series) == page_number(b.series);
        let mut strays = Vec::new();
        for of_page in samples.chunk_by(is_near) {
            let Some(page) = self.head.stripes.page(page_number(of_page[0].series)) else {
                strays.extend_from_slice(of_page);
                continue;
            };
            page.change(|page| {
                for sample in of_page {
                    match page.series_mut(sample.series) {
                        Some(found) => self.add_sample(found, sample),
                        None => strays.push(*sample),
                    }
                }
            });
        }
        for sample in &strays {
            let known = self.head.aliases.get_mut().get(&sample.series).copied();
            let page = known.and_then(|known| self.head.stripes.page(page_number(known)));
            let is_added = page.zip(known).is_some_and(|(page, known)| {
                page.change(|page| {
                    let found = page.series_mut(known);
                    found.map(|found| self.add_sample(found, sample)).is_some()
                })
            });
            // Otherwise its record went with a checkpoint, when all of its samples were in blocks.
            self.stats.covered_samples += u64::from(!is_added);
        }
    }

    fn add_sample(&mut self, mut found: SeriesMut<'_>, sample: &RefSample) {
        let &RefSample { timestamp, value, .. } = sample;
        let head = &mut *self.head;
        if !is_valid_time(timestamp)
            || timestamp < *head.times.valid_from.get_mut()
            || found.newest().is_some_and(|newest| newest.timestamp >= timestamp)
        {
            self.stats.covered_samples += 1;
            return;
        }
        found.append(
            Sample::new(timestamp, value),
            AppendContext {
                batch: BatchId::REPLAYED,
                views: &self.views,
                block_range_ms: head.block_range_ms,
            },
        );
        self.stats.samples += 1;
        let (mint, maxt) = (head.times.mint.get_mut(), head.times.maxt.get_mut());
        (*mint, *maxt) = ((*mint).min(timestamp), (*maxt).max(timestamp));
    }

    /// Removes what was deleted when the record was written. Samples logged later stay.
    fn delete(&mut self, Tombstone { series, mint, maxt }: Tombstone) -> Result<(), Error> {
        let head = &*self.head;
        let alias = head.aliases.lock().get(&series).copied();
        let known = if head.stripes.has(series) { series } else { alias.unwrap_or(series) };
        let Some(page) = head.stripes.page(page_number(known)) else { return Ok(()) };
        let block_range_ms = head.block_range_ms;
        page.change(|page| {
            let Some(mut found) = page.series_mut(known) else { return Ok(()) };
            let deleted = found.delete(mint, maxt, block_range_ms);
            deleted.map_err(|source| Error::HeadChunk { series: known, source })
        })
    }

    /// Ends the replay: removes the series that came without samples.
    pub(crate) fn finish(self) -> ReplayStats {
        self.head.remove_empty_series();
        self.head.appended.store(0, Ordering::Relaxed);
        self.stats
    }
}
