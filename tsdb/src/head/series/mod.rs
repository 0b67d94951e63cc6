//! The series of the head: what one holds, and what can be done with it.
//!
//! Series lie side by side in [`page`]s, which they share a lock and memory with. A series is
//! its [open chunk](open) and a [list of full ones](full), cut as [`cutting`] says; the bytes of
//! open chunks lie in a [`pool`]. Which batches a reader may see is [noted](isolated) once per
//! page, and what it may see is [taken under the lock and decoded outside](seen). What an earlier
//! run has left is [given to them](load). Samples that came [out of order](ooo) are kept apart.

mod cutting;
mod full;
mod histogram;
mod isolated;
mod load;
mod ooo;
mod open;
mod page;
mod pool;
mod seen;
#[cfg(test)]
mod tests;

use ferula_chunkenc::Sample;
use ferula_index::SeriesRef;

use self::cutting::{
    MAX_SAMPLES_PER_CHUNK, SAMPLES_PER_CHUNK, longest_span, predicted_span, span_by_ratio,
};
use self::full::{Link, Stored};
use self::histogram::OpenHistograms;
use self::open::Open;
use self::pool::{ChainSink, NONE};
use self::seen::SeenChunk;
use super::chunk_files::ChunkFiles;
use super::isolation::{BatchId, Views};
use crate::error::Error;
use crate::histogram::NativeHistogram;
use crate::recode::{Recoded, Recoder, Value};

pub(crate) use self::cutting::range_end;
pub(crate) use self::load::{ChunkInFile, OpenChunk};
pub(crate) use self::ooo::{Era, InsertContext, OutOfOrderRuns, SealedChunk, Sought};
pub(crate) use self::open::Newest;
pub(crate) use self::page::{FullChunk, Page, PageState, Series, page_number};
pub(crate) use self::seen::SeenChunks;

/// Series of one page at most: one bit of a word for each.
pub(crate) const PAGE_LEN: usize = 64;

/// What a page holds of one series.
#[derive(Debug)]
struct Slot {
    /// The chunk appended to; empty until the first sample.
    open: Open,
    /// Time of the first sample of the open chunk.
    open_mint: i64,
    /// Time of the newest sample before the newest batch that appended, `i64::MIN` if there was
    /// none.
    newest_before: i64,
    /// How long after its first sample the open chunk is cut, in milliseconds.
    cut_span: u32,
    /// Where the batch that last took a sample of this series put it. A hint: whoever follows it
    /// checks that it leads back here, so that batches need no map of their series.
    hint: u32,
    /// How many samples of open batches are of this series. It stays while there are some.
    n_pins: u32,
    /// The newest of the full chunks.
    full: u32,
}

impl Slot {
    /// From the first to the last sample of the open chunk, in milliseconds.
    fn taken_span(&self) -> u32 {
        let newest = self.open.last_timestamp().unwrap_or(self.open_mint);
        u32::try_from(newest.saturating_sub(self.open_mint)).unwrap_or(u32::MAX)
    }

    fn new() -> Self {
        Self {
            open: Open::Empty,
            open_mint: 0,
            newest_before: i64::MIN,
            cut_span: 0,
            hint: u32::MAX,
            n_pins: 0,
            full: NONE,
        }
    }
}

/// What the samples of a batch are appended with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppendContext<'a> {
    /// The batch.
    pub(crate) batch: BatchId,
    /// What open and future readers may see.
    pub(crate) views: &'a Views,
    /// Length of a block range, which no chunk crosses.
    pub(crate) block_range_ms: i64,
    /// Whether floats without start timestamps are encoded as those with.
    pub(crate) xor2_encoding: bool,
}

/// A series that is looked at, under the lock of its page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeriesView<'a> {
    page: &'a PageState,
    slot: &'a Slot,
    number: u8,
    series: SeriesRef,
}

impl SeriesView<'_> {
    /// Its ref.
    pub(crate) fn series_ref(&self) -> SeriesRef {
        self.series
    }

    /// The newest sample, whether or not it is visible yet.
    pub(crate) fn newest(&self) -> Option<Newest> {
        self.slot.open.last()
    }

    /// Time of the oldest sample.
    pub(crate) fn oldest(&self) -> Option<i64> {
        let full = self.page.full().iter(self.slot.full).last().map(Link::mint);
        full.or(self.open_range().map(|(mint, _)| mint))
    }

    /// Tells whether there are no samples in order.
    pub(crate) fn is_empty(&self) -> bool {
        self.slot.open.is_empty()
    }

    /// Tells whether the series is logged and in the index. A series stays out of both until a
    /// batch that appends to it commits.
    pub(crate) fn is_published(&self) -> bool {
        self.page.is_published(self.number)
    }

    /// Tells whether an open batch holds samples of the series.
    pub(crate) fn is_pinned(&self) -> bool {
        self.slot.n_pins > 0
    }

    /// Time of the newest sample that a reader of `seen` may see.
    pub(crate) fn newest_seen(&self, seen: BatchId) -> Option<i64> {
        let newest = self.newest()?.timestamp();
        let isolated = self.page.isolated();
        let before = isolated.newest_seen(self.number, self.slot.newest_before, seen);
        let Some(before) = before else { return Some(newest) };
        let visible = before.min(newest);
        (visible >= self.oldest()? && visible != i64::MIN).then_some(visible)
    }

    /// The newest sample, if it is a float from `mint` to `maxt`, both inclusive, that a reader of
    /// `seen` may see.
    pub(crate) fn newest_float(&self, mint: i64, maxt: i64, seen: BatchId) -> Option<Sample> {
        let Newest::Float(newest) = self.newest()? else { return None };
        let isolated = self.page.isolated();
        let is_seen = isolated.newest_seen(self.number, self.slot.newest_before, seen).is_none();
        (is_seen && mint <= newest.timestamp && newest.timestamp <= maxt).then_some(newest)
    }

    fn open_range(&self) -> Option<(i64, i64)> {
        self.newest().map(|newest| (self.slot.open_mint, newest.timestamp()))
    }

    /// Times of the first and last samples of the chunks, newest chunk first.
    fn ranges(&self) -> impl Iterator<Item = (i64, i64)> {
        let full = self.page.full().iter(self.slot.full).map(|link| (link.mint(), link.maxt()));
        self.open_range().into_iter().chain(full)
    }

    /// Tells whether a reader of `seen` may see samples from `mint` to `maxt`, both inclusive, as
    /// far as the ranges of the chunks tell.
    pub(crate) fn has_samples(&self, mint: i64, maxt: i64, seen: BatchId) -> bool {
        let Some(newest) = self.newest_seen(seen) else { return false };
        let maxt = maxt.min(newest);
        mint <= maxt && self.ranges().any(|(from, to)| from <= maxt && mint <= to)
    }

    /// Time of the oldest sample at or after `from` that a reader of `seen` may see, or a time
    /// between `from` and it.
    pub(crate) fn oldest_from(&self, from: i64, seen: BatchId) -> Option<i64> {
        let newest_seen = self.newest_seen(seen)?;
        let (mint, _) = self.ranges().take_while(|(_, maxt)| *maxt >= from).last()?;
        Some(mint.max(from)).filter(|oldest| *oldest <= newest_seen)
    }

    /// The chunks with samples from `mint` to `maxt`, both inclusive, that a reader of `seen` may
    /// see, and the time of the newest sample it may see. Chunks are shared, not decoded.
    pub(crate) fn chunks(&self, mint: i64, maxt: i64, seen: BatchId) -> Option<SeenChunks> {
        let maxt = maxt.min(self.newest_seen(seen)?);
        let overlaps = |from: i64, to: i64| from <= maxt && to >= mint;
        let open = self.open_range().filter(|(from, to)| overlaps(*from, *to));
        let open = open.and_then(|(mint, maxt)| {
            let data = self.slot.open.to_data(self.page.cells())?;
            Some(SeenChunk { mint, maxt, data: Stored::Kept(data) })
        });
        let full = self.page.full();
        let seen = full.iter(self.slot.full).take_while(|link| link.maxt() >= mint);
        let seen = seen.filter(|link| link.mint() <= maxt).filter_map(|link| {
            let data = full.stored(link)?;
            Some(SeenChunk { mint: link.mint(), maxt: link.maxt(), data })
        });
        let mut chunks: Vec<SeenChunk> = open.into_iter().chain(seen).collect();
        chunks.reverse();
        Some(SeenChunks { series: self.series, mint, maxt, chunks })
    }
}

/// A series that is changed, under the lock of its page.
#[derive(Debug)]
pub(crate) struct SeriesMut<'a> {
    page: &'a mut PageState,
    index: usize,
    number: u8,
    series: SeriesRef,
}

impl SeriesMut<'_> {
    #[inline]
    fn slot(&self) -> &Slot {
        self.page.slot(self.index)
    }

    #[inline]
    fn slot_mut(&mut self) -> &mut Slot {
        self.page.slot_mut(self.index)
    }

    /// Its ref.
    #[inline]
    pub(crate) fn series_ref(&self) -> SeriesRef {
        self.series
    }

    /// Looks at the series.
    pub(crate) fn view(&self) -> SeriesView<'_> {
        SeriesView { page: self.page, slot: self.slot(), number: self.number, series: self.series }
    }

    /// The newest sample, whether or not it is visible yet.
    #[inline]
    pub(crate) fn newest(&self) -> Option<Newest> {
        self.slot().open.last()
    }

    /// The newest sample, if it is a histogram.
    pub(crate) fn newest_histogram(&self) -> Option<&NativeHistogram> {
        match &self.slot().open {
            Open::Histograms(open) => Some(open.last()),
            Open::Empty | Open::Xor { .. } | Open::Xor2(_) => None,
        }
    }

    /// Where the batch that last took a sample of this series put it, if some open batch holds one.
    #[inline]
    pub(crate) fn hint(&self) -> Option<usize> {
        let slot = self.slot();
        if slot.n_pins == 0 { None } else { usize::try_from(slot.hint).ok() }
    }

    /// Keeps the series from being removed, for a sample that an open batch puts at `index`.
    #[inline]
    pub(crate) fn pin(&mut self, index: usize) {
        let slot = self.slot_mut();
        slot.n_pins = slot.n_pins.checked_add(1).expect("so many samples do not fit memory");
        slot.hint = u32::try_from(index).unwrap_or(u32::MAX);
    }

    /// Keeps the series from being removed, for a sample that comes out of order: where an open batch
    /// has the newest one stays as it is noted, if `is_hint_right`.
    pub(crate) fn pin_late(&mut self, is_hint_right: bool) {
        let hint = usize::try_from(self.slot().hint).ok().filter(|_| is_hint_right);
        self.pin(hint.unwrap_or(usize::MAX));
    }

    /// Ends what one [`pin`](Self::pin) did.
    #[inline]
    pub(crate) fn unpin(&mut self) {
        self.slot_mut().n_pins -= 1;
    }

    /// Tells whether the series is logged and in the index.
    #[inline]
    pub(crate) fn is_published(&self) -> bool {
        self.page.is_published(self.number)
    }

    /// Notes that the series is logged and in the index, or about to be. Tells whether this is new.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        self.page.publish(self.number)
    }

    /// Appends a float that has been counting since `start`, zero for unknown. It must be newer than
    /// the newest sample.
    #[inline]
    pub(crate) fn append(&mut self, start: i64, sample: Sample, context: AppendContext<'_>) {
        let Sample { timestamp, value } = sample;
        self.note_batch(context.batch, context.views);
        self.open_for(start, timestamp, context);
        let (slot, cells) = self.page.slot_and_cells(self.index);
        let appended = match &mut slot.open {
            Open::Xor { state, chain } => {
                state.append(timestamp, value, &mut ChainSink { cells, chain })
            }
            Open::Xor2(open) => open.append(start, sample, cells),
            Open::Empty | Open::Histograms(_) => {
                unreachable!("a chunk of floats was opened for this sample")
            }
        };
        appended.expect("newer than the last sample of a chunk that has room");
    }

    /// Appends a histogram that has been counting since `start`, zero for unknown. It must be newer
    /// than the newest sample.
    ///
    /// # Errors
    /// What keeps it from being encoded; nothing has changed then, to any reader.
    pub(crate) fn append_histogram(
        &mut self,
        start: i64,
        timestamp: i64,
        histogram: &NativeHistogram,
        context: AppendContext<'_>,
    ) -> Result<(), ferula_chunkenc::Error> {
        self.note_batch(context.batch, context.views);
        let is_due = match &self.slot().open {
            Open::Histograms(open) if open.takes(start, histogram) => {
                is_due(open, self.slot(), timestamp, context.block_range_ms)
            }
            _ => {
                let open = OpenHistograms::new(start, timestamp, histogram)?;
                self.end_chunk();
                self.page.open_histograms(self.index, open);
                self.begin_span(timestamp, context.block_range_ms);
                return Ok(());
            }
        };
        if self.page.append_histogram(self.index, start, timestamp, histogram, is_due)? {
            self.begin_span(timestamp, context.block_range_ms);
        } else {
            self.predict_histograms();
        }
        Ok(())
    }

    /// Notes that a batch appends.
    #[inline]
    fn note_batch(&mut self, batch: BatchId, views: &Views) {
        if self.page.isolated().batch() != batch {
            self.page.begin_batch(batch, views);
        }
        if self.page.note_member(self.number) {
            let newest = self.newest().map_or(i64::MIN, Newest::timestamp);
            self.slot_mut().newest_before = newest;
        }
    }

    /// Makes sure that there is an open chunk into which a float at `timestamp` belongs that has been
    /// counting since `start`. Once start timestamps have come up, a chunk takes floats without.
    #[inline]
    fn open_for(&mut self, start: i64, timestamp: i64, context: AppendContext<'_>) {
        let slot = self.slot_mut();
        let n_samples = slot.open.float_count();
        // At a quarter of the samples wanted, predict where the chunk should end.
        if n_samples == SAMPLES_PER_CHUNK / 4 {
            self.predict();
        }
        let slot = self.slot();
        let end = slot.open_mint.saturating_add_unsigned(u64::from(slot.cut_span));
        let is_full = timestamp >= end || n_samples >= MAX_SAMPLES_PER_CHUNK || n_samples == 0;
        if is_full || !slot.open.takes_start(start) {
            self.end_chunk();
            self.page.open_chunk(self.index, start != 0 || context.xor2_encoding);
            self.begin_span(timestamp, context.block_range_ms);
        }
    }

    /// Notes when the open chunk begins, and that it lasts as long as it may.
    fn begin_span(&mut self, mint: i64, block_range_ms: i64) {
        let slot = self.slot_mut();
        slot.open_mint = mint;
        slot.cut_span = longest_span(mint, block_range_ms);
    }

    fn predict(&mut self) {
        let slot = self.slot_mut();
        slot.cut_span = predicted_span(slot.taken_span(), slot.cut_span);
    }

    /// At a quarter of the size wanted, predicts where a chunk of histograms should end.
    fn predict_histograms(&mut self) {
        let slot = self.slot_mut();
        let taken = slot.taken_span();
        if let Open::Histograms(open) = &mut slot.open
            && !open.is_predicted
            && let Some(ratio) = open.ratio_to_full()
        {
            open.is_predicted = true;
            slot.cut_span = span_by_ratio(taken, slot.cut_span, ratio);
        }
    }

    /// Moves the open chunk, if there is one, to the full ones.
    fn end_chunk(&mut self) {
        let slot = self.slot();
        let mint = slot.open_mint;
        let Some(newest) = slot.open.last_timestamp() else { return };
        let span = u32::try_from(newest.saturating_sub(mint));
        let span = span.expect("a chunk is cut before it spans more");
        self.page.end_chunk(self.index, mint, span);
    }

    /// Removes the samples from `mint` to `maxt`, both inclusive, of a series that nobody reads yet.
    pub(crate) fn delete(
        &mut self,
        mint: i64,
        maxt: i64,
        context: AppendContext<'_>,
        files: Option<&ChunkFiles>,
    ) -> Result<(), Error> {
        let all = BatchId::REPLAYED;
        let is_hit = self.view().has_samples(mint, maxt, all);
        let chunks = self.view().chunks(i64::MIN, i64::MAX, all).filter(|_| is_hit);
        let Some(chunks) = chunks else { return Ok(()) };
        let mut samples = Recoder::default();
        chunks.recode(files, &mut samples)?;
        samples.merge(&[(mint, maxt)]);
        self.page.clear_slot(self.index);
        let series = self.series;
        for Recoded { start, timestamp, value } in samples.into_samples() {
            match value {
                Value::Float(value) => {
                    self.append(start, Sample::new(timestamp, value), context);
                }
                Value::Histogram(histogram) => {
                    let appended = self.append_histogram(start, timestamp, &histogram, context);
                    appended.map_err(|source| Error::HeadChunk { series, source })?;
                }
            }
        }
        Ok(())
    }
}

/// Tells whether a chunk of histograms is to end before a sample at `timestamp`. One that has few
/// samples goes on, but not beyond its block range.
fn is_due(open: &OpenHistograms, slot: &Slot, timestamp: i64, block_range_ms: i64) -> bool {
    let since = timestamp.saturating_sub(slot.open_mint);
    let is_full = since >= i64::from(slot.cut_span) || open.is_oversized();
    let longest = longest_span(slot.open_mint, block_range_ms);
    is_full && open.has_enough_samples() || since >= i64::from(longest)
}
