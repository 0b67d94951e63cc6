//! Putting a batch into memory: samples to their series, as far as they still fit there.
//!
//! Samples were checked when the batch took them; another batch or a block cut may have overtaken
//! them since.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_chunkenc::Sample;
use ferula_index::SeriesRef;

use super::Head;
use super::batch::{Batch, Bounds, PartEnd, PendingHistogram};
use super::float::Float;
use super::isolation::{BatchId, Views};
use super::out_of_order::Arrivals;
use super::series::{AppendContext, Newest, Page, PageState, SeriesMut, page_number};
use crate::recode::{Recoded, Value};

/// What applying a batch came to.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) refused: usize,
    /// Those of them that are histograms.
    pub(super) refused_histograms: usize,
    pub(super) mint: i64,
    pub(super) maxt: i64,
    /// Series that no committed batch had appended to.
    pub(super) new_series: Vec<SeriesRef>,
    /// Pages in which chunks became full.
    filled: Vec<Arc<Page>>,
    /// What came out of order.
    pub(super) out_of_order: Arrivals,
    bounds: Bounds,
}

impl Head {
    /// Appends the samples of a batch to their series. Those that are there already leave the batch,
    /// and so do those that were overtaken since the batch accepted them.
    pub(super) fn apply(&self, batch: &mut Batch, id: BatchId, views: &Views) -> Applied {
        let (block_range_ms, xor2_encoding) = (self.block_range_ms, self.xor2_encoding);
        let context = AppendContext { batch: id, views, block_range_ms, xor2_encoding };
        let mut applied = Applied {
            refused: 0,
            refused_histograms: 0,
            mint: i64::MAX,
            maxt: i64::MIN,
            new_series: Vec::new(),
            filled: Vec::new(),
            out_of_order: Arrivals::new(self.out_of_order.era()),
            bounds: Bounds {
                in_order: self.times.valid_from.load(Ordering::Acquire).max(batch.bounds.in_order),
                ..batch.bounds
            },
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
        self.store_sealed(&mut applied.out_of_order);
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
        let Sample { timestamp, value } = sample;
        let mut found = unpinned(page, float.series());
        let newest = found.newest().filter(|newest| newest.timestamp() >= timestamp);
        if newest.is_some() || timestamp < self.bounds.in_order {
            let is_same = newest == Some(Newest::Float(sample));
            let late = || Recoded { start: float.start(), timestamp, value: Value::Float(value) };
            self.insert(&mut found, timestamp, is_same, context, late);
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
        if newest.is_some() || *timestamp < self.bounds.in_order {
            let is_same = newest == Some(*timestamp)
                && found.newest_histogram().is_some_and(|newest| newest.equals(histogram));
            let value = || Value::Histogram(Box::new(histogram.clone()));
            let (start, timestamp) = (*start, *timestamp);
            let late = || Recoded { start, timestamp, value: value() };
            let refused = self.refused;
            self.insert(&mut found, timestamp, is_same, context, late);
            self.refused_histograms += self.refused - refused;
            return false;
        }
        let appended = found.append_histogram(*start, *timestamp, histogram, context);
        appended.expect("histograms are checked when a batch takes them");
        self.note(&mut found, *timestamp);
        true
    }

    /// Takes a sample that is not newer than what its series has, or older than what is taken in
    /// order. `is_same` tells whether it is the newest one of the series.
    #[cold]
    fn insert(
        &mut self,
        found: &mut SeriesMut<'_>,
        timestamp: i64,
        is_same: bool,
        context: AppendContext<'_>,
        late: impl FnOnce() -> Recoded,
    ) {
        let newest = found.newest().map(Newest::timestamp);
        let is_of_newest = newest == Some(timestamp) && timestamp >= self.bounds.in_order;
        let is_late = self.bounds.out_of_order.is_some_and(|from| timestamp >= from);
        if is_of_newest || !is_late {
            self.refused += usize::from(!is_same);
        } else if self.out_of_order.insert(found, late(), context) && found.publish() {
            self.new_series.push(found.series_ref());
        }
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
