//! Putting a batch into memory: samples to their series, as far as they still fit there.
//!
//! Samples were checked when the batch took them; another batch or a block cut may have overtaken
//! them since.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_index::SeriesRef;

use super::Head;
use super::batch::{Batch, PartEnd, PendingHistogram};
use super::float::Float;
use super::isolation::{BatchId, Views};
use super::series::{AppendContext, Newest, Page, PageState, SeriesMut, page_number};

/// What applying a batch came to.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) refused: usize,
    pub(super) mint: i64,
    pub(super) maxt: i64,
    /// Series that no committed batch had appended to.
    pub(super) new_series: Vec<SeriesRef>,
    /// Pages in which chunks became full.
    filled: Vec<Arc<Page>>,
    valid_from: i64,
}

impl Head {
    /// Appends the samples of a batch to their series. Those that are there already leave the batch,
    /// and so do those that were overtaken since the batch accepted them.
    pub(super) fn apply(&self, batch: &mut Batch, id: BatchId, views: &Views) -> Applied {
        let (block_range_ms, xor2_encoding) = (self.block_range_ms, self.xor2_encoding);
        let context = AppendContext { batch: id, views, block_range_ms, xor2_encoding };
        let mut applied = Applied {
            refused: 0,
            mint: i64::MAX,
            maxt: i64::MIN,
            new_series: Vec::new(),
            filled: Vec::new(),
            valid_from: self.times.valid_from.load(Ordering::Acquire),
        };
        batch.note_unpinned();
        let all = batch.end();
        let (mut start, mut kept) = (PartEnd::default(), PartEnd::default());
        for part in 0..=batch.ends.len() {
            let end = batch.ends.get(part).copied().unwrap_or(all);
            let floats = start.floats..end.floats;
            kept.floats =
                self.apply_floats(&mut batch.floats, floats, kept.floats, &mut applied, context);
            let started = start.started..end.started;
            kept.started =
                self.apply_floats(&mut batch.started, started, kept.started, &mut applied, context);
            for at in start.histograms..end.histograms {
                if self.apply_histogram(&batch.histograms[at], &mut applied, context) {
                    batch.histograms.swap(kept.histograms, at);
                    kept.histograms += 1;
                }
            }
            if let Some(end) = batch.ends.get_mut(part) {
                *end = kept;
            }
            start = end;
        }
        batch.floats.truncate(kept.floats);
        batch.started.truncate(kept.started);
        batch.histograms.truncate(kept.histograms);
        self.queue_full_chunks(&mut applied.filled);
        applied
    }

    /// Applies the floats in a range, and moves those that are to be logged to `n_kept` and after.
    /// Returns where they end.
    fn apply_floats<F: Float>(
        &self,
        floats: &mut [F],
        range: Range<usize>,
        mut n_kept: usize,
        applied: &mut Applied,
        context: AppendContext<'_>,
    ) -> usize {
        let mut start = range.start;
        while start < range.end {
            let number = page_number(floats[start].series());
            let is_near = |sample: &&F| page_number(sample.series()) == number;
            let end = start + floats[start..range.end].iter().take_while(is_near).count();
            let found = self.page_of_pinned(number);
            found.change(|page| {
                page.warm(floats[start..end].iter().map(F::series));
                for at in start..end {
                    let sample = floats[at];
                    if applied.append(page, sample, context) {
                        floats[n_kept] = sample;
                        n_kept += 1;
                    }
                }
                if page.queue() {
                    applied.filled.push(Arc::clone(&found));
                }
            });
            start = end;
        }
        n_kept
    }

    /// Applies a histogram. Tells whether it is to be logged.
    fn apply_histogram(
        &self,
        pending: &PendingHistogram,
        applied: &mut Applied,
        context: AppendContext<'_>,
    ) -> bool {
        let found = self.page_of_pinned(page_number(pending.series));
        found.change(|page| {
            let is_kept = applied.append_histogram(page, pending, context);
            if page.queue() {
                applied.filled.push(Arc::clone(&found));
            }
            is_kept
        })
    }
}

impl Applied {
    /// Appends a float to its series. Tells whether it is to be logged.
    #[inline]
    fn append(
        &mut self,
        page: &mut PageState,
        float: impl Float,
        context: AppendContext<'_>,
    ) -> bool {
        let sample = float.sample();
        let timestamp = sample.timestamp;
        let mut found = unpinned(page, float.series());
        if let Some(newest) = found.newest().filter(|newest| newest.timestamp() >= timestamp) {
            self.refused += usize::from(newest != Newest::Float(sample));
            return false;
        }
        if timestamp < self.valid_from {
            self.refused += 1;
            return false;
        }
        found.append(float.start(), sample, context);
        self.note(&mut found, timestamp);
        true
    }

    /// Appends a histogram to its series. Tells whether it is to be logged.
    fn append_histogram(
        &mut self,
        page: &mut PageState,
        pending: &PendingHistogram,
        context: AppendContext<'_>,
    ) -> bool {
        let PendingHistogram { series, start, timestamp, histogram } = pending;
        let mut found = unpinned(page, *series);
        let newest = found.newest().map(Newest::timestamp).filter(|newest| newest >= timestamp);
        if let Some(newest) = newest {
            let is_same = || found.newest_histogram().is_some_and(|n| n.equals(histogram));
            self.refused += usize::from(newest != *timestamp || !is_same());
            return false;
        }
        if *timestamp < self.valid_from {
            self.refused += 1;
            return false;
        }
        let appended = found.append_histogram(*start, *timestamp, histogram, context);
        appended.expect("histograms are checked when a batch takes them");
        self.note(&mut found, *timestamp);
        true
    }

    #[inline]
    fn note(&mut self, series: &mut SeriesMut<'_>, timestamp: i64) {
        if series.publish() {
            self.new_series.push(series.series_ref());
        }
        self.mint = self.mint.min(timestamp);
        self.maxt = self.maxt.max(timestamp);
    }
}

/// A series that the batch being applied held.
#[inline]
fn unpinned(page: &mut PageState, series: SeriesRef) -> SeriesMut<'_> {
    let found = page.series_mut(series);
    let mut found = found.expect("a series stays while a batch holds samples of it");
    found.unpin();
    found
}
