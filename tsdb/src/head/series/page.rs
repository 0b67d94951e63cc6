//! Series with consecutive refs, under one lock.
//!
//! Batches mostly go through refs in sequence, so a page is found, locked and read into the
//! nearest memory once for many samples. Only series that exist take memory: they lie without
//! gaps, and a word of bits tells which there are. What a page has too much of when series leave is
//! given back.

use std::sync::Arc;

use ferula_chunkenc::{Chunk, Encoding, Error};
use ferula_index::{ChunkRef, SeriesRef};
use parking_lot::{Mutex, MutexGuard};

use super::full::{ChunkData, FullChunks, Stored};
use super::histogram::OpenHistograms;
use super::isolated::Isolated;
use super::ooo::OutOfOrder;
use super::open::Open;
use super::pool::{Cell, Pool};
use super::{PAGE_LEN, SeriesMut, SeriesView, Slot};
use crate::head::isolation::{BatchId, Views};
use crate::head::memory::{Counters, PageUsage};
use crate::histogram::NativeHistogram;

/// Number of the page that the series with this ref belongs to.
#[inline]
pub(crate) fn page_number(SeriesRef(series): SeriesRef) -> u64 {
    series / PAGE_LEN as u64
}

/// The place of a series in its page.
#[inline]
fn slot_number(SeriesRef(series): SeriesRef) -> u8 {
    u8::try_from(series % PAGE_LEN as u64).expect("below 64")
}

/// Up to [`PAGE_LEN`] series with consecutive refs.
#[derive(Debug)]
pub(crate) struct Page {
    number: u64,
    counters: Arc<Counters>,
    state: Mutex<PageState>,
}

impl Page {
    /// Makes a page without series.
    pub(crate) fn new(number: u64, counters: Arc<Counters>) -> Self {
        counters.add_page();
        Self { number, counters, state: Mutex::new(PageState { number, ..PageState::default() }) }
    }

    /// What all refs of the page have in common.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Locks the page, to look at its series or to note something of them.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, PageState> {
        self.state.lock()
    }

    /// Locks the page to change what its series hold, and counts what that takes.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut PageState) -> T) -> T {
        let mut state = self.state.lock();
        let before = state.usage();
        let result = change(&mut state);
        let after = state.usage();
        drop(state);
        self.counters.change(&before, &after);
        result
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let usage = self.state.get_mut().usage();
        self.counters.remove_page(&usage);
    }
}

/// A series, found.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    page: Arc<Page>,
    series_ref: SeriesRef,
}

impl Series {
    pub(crate) fn new(page: Arc<Page>, series_ref: SeriesRef) -> Self {
        Self { page, series_ref }
    }

    /// Its ref.
    pub(crate) fn series_ref(&self) -> SeriesRef {
        self.series_ref
    }

    /// Looks at the series; `None` if it was removed meanwhile.
    pub(crate) fn view<T>(&self, look: impl FnOnce(SeriesView<'_>) -> T) -> Option<T> {
        self.page.lock().view(self.series_ref).map(look)
    }
}

/// The series of a page. Guarded by its lock.
#[derive(Debug, Default)]
pub(crate) struct PageState {
    pub(super) number: u64,
    /// Which series there are, by the place of their refs.
    occupied: u64,
    /// Which of them are logged and in the index.
    published: u64,
    /// What there is of them, in the order of their refs.
    slots: Vec<Slot>,
    isolated: Isolated,
    cells: Pool<Cell>,
    full: FullChunks,
    /// Absent unless some series have samples out of order.
    pub(super) ooo: Option<Box<OutOfOrder>>,
    n_open: usize,
    /// Bytes of open chunks that do not lie in cells.
    heap_bytes: usize,
    /// Whether somebody is about to write the full chunks that are kept in memory.
    is_queued: bool,
}

/// A full chunk that is kept in memory.
#[derive(Debug)]
pub(crate) struct FullChunk {
    pub(crate) series: SeriesRef,
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) encoding: Encoding,
    pub(crate) data: Arc<[u8]>,
}

impl PageState {
    /// Where a series lies among those that there are.
    #[inline]
    fn index_of(&self, number: u8) -> Option<usize> {
        let bit = 1_u64 << number;
        if self.occupied & bit == 0 {
            return None;
        }
        let below = bit - 1;
        // Most pages have no gaps, and counting bits is slow on the plainest processors.
        if self.occupied & below == below {
            return Some(usize::from(number));
        }
        Some((self.occupied & below).count_ones() as usize)
    }

    /// Looks at a series.
    pub(crate) fn view(&self, series: SeriesRef) -> Option<SeriesView<'_>> {
        let number = slot_number(series);
        let slot = &self.slots[self.index_of(number)?];
        Some(SeriesView { page: self, slot, number, series })
    }

    /// Looks at all series, in the order of their refs.
    pub(crate) fn views(&self) -> impl Iterator<Item = SeriesView<'_>> {
        let numbers = (0..64_u8).filter(|number| self.occupied & 1 << number != 0);
        numbers.zip(&self.slots).map(|(number, slot)| {
            let series = SeriesRef(self.number * PAGE_LEN as u64 + u64::from(number));
            SeriesView { page: self, slot, number, series }
        })
    }

    /// Changes a series.
    #[inline]
    pub(crate) fn series_mut(&mut self, series: SeriesRef) -> Option<SeriesMut<'_>> {
        let number = slot_number(series);
        let index = self.index_of(number)?;
        Some(SeriesMut { page: self, index, number, series })
    }

    /// Adds a series without samples. Does nothing if there is one.
    pub(crate) fn insert(&mut self, series: SeriesRef) {
        let number = slot_number(series);
        if self.index_of(number).is_some() {
            return;
        }
        self.occupied |= 1 << number;
        let index = self.index_of(number).expect("just added");
        self.slots.insert(index, Slot::new());
    }

    /// Removes a series with all it holds. Tells whether there was one.
    pub(crate) fn remove(&mut self, series: SeriesRef) -> bool {
        let number = slot_number(series);
        let Some(index) = self.index_of(number) else { return false };
        self.clear_slot(index);
        self.slots.remove(index);
        self.occupied &= !(1 << number);
        self.published &= !(1 << number);
        self.isolated.forget(number);
        if let Some(ooo) = &mut self.ooo {
            ooo.forget(number);
        }
        true
    }

    /// Tells whether there are no series.
    pub(crate) fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Removes the chunks whose samples all lie before `mint`.
    pub(crate) fn truncate(&mut self, mint: i64) {
        for index in 0..self.slots.len() {
            self.truncate_slot(index, mint);
        }
    }

    /// Gives back memory, if most of what the page has is not in use.
    pub(crate) fn shrink(&mut self) {
        if self.slots.len() <= self.slots.capacity() / 2 {
            self.slots.shrink_to_fit();
        }
        self.full.shrink(self.slots.iter_mut().map(|slot| &mut slot.full));
        if self.cells.is_sparse() {
            let mut cells = Pool::default();
            for slot in &mut self.slots {
                slot.open.move_to(&self.cells, &mut cells);
            }
            self.cells = cells;
        }
    }

    /// Tells, once, that there are full chunks to be written.
    pub(crate) fn queue(&mut self) -> bool {
        let is_due = !self.is_queued && self.full.n_kept() > 0;
        self.is_queued |= is_due;
        is_due
    }

    /// Collects the full chunks that are kept in memory, those of each series in time order. From
    /// then on the page can be queued again.
    pub(crate) fn take_queued(&mut self, chunks: &mut Vec<FullChunk>) {
        self.is_queued = false;
        if self.full.n_kept() == 0 {
            return;
        }
        for view in self.views() {
            let start = chunks.len();
            chunks.extend(self.full.iter(view.slot.full).filter_map(|link| {
                let Stored::Kept(ChunkData { encoding, data }) = self.full.stored(link)? else {
                    return None;
                };
                let (series, mint, maxt) = (view.series, link.mint(), link.maxt());
                Some(FullChunk { series, mint, maxt, encoding, data })
            }));
            chunks[start..].reverse();
        }
    }

    /// Notes that a full chunk is in a file. Does nothing if it is gone.
    pub(crate) fn note_written(&mut self, series: SeriesRef, mint: i64, chunk: ChunkRef) {
        if let Some(index) = self.index_of(slot_number(series)) {
            self.full.note_written(self.slots[index].full, mint, chunk);
        }
    }

    /// What the page takes, and what of it is in use.
    pub(crate) fn usage(&self) -> PageUsage {
        let ooo = self.ooo.as_deref();
        PageUsage {
            n_series: self.slots.len(),
            n_chunks: self.n_open + self.full.len() + ooo.map_or(0, OutOfOrder::n_chunks),
            n_ooo_series: ooo.map_or(0, OutOfOrder::n_series),
            ooo_bytes: ooo.map_or(0, OutOfOrder::size_bytes),
            series_bytes: self.slots.capacity() * size_of::<Slot>() + self.isolated.size_bytes(),
            open_used_bytes: self.cells.used_bytes() + self.heap_bytes,
            open_bytes: self.cells.size_bytes() + self.heap_bytes,
            list_bytes: self.full.list_bytes(),
            kept_bytes: self.full.kept_bytes(),
        }
    }
}

/// What series do with the page that they are in.
impl PageState {
    #[inline]
    pub(super) fn slot(&self, index: usize) -> &Slot {
        &self.slots[index]
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, index: usize) -> &mut Slot {
        &mut self.slots[index]
    }

    #[inline]
    pub(super) fn slot_and_cells(&mut self, index: usize) -> (&mut Slot, &mut Pool<Cell>) {
        (&mut self.slots[index], &mut self.cells)
    }

    pub(super) fn cells(&self) -> &Pool<Cell> {
        &self.cells
    }

    pub(super) fn full(&self) -> &FullChunks {
        &self.full
    }

    #[inline]
    pub(super) fn isolated(&self) -> &Isolated {
        &self.isolated
    }

    #[inline]
    pub(super) fn is_published(&self, number: u8) -> bool {
        self.published & 1 << number != 0
    }

    #[inline]
    pub(super) fn publish(&mut self, number: u8) -> bool {
        let before = self.published;
        self.published |= 1 << number;
        before != self.published
    }

    #[cold]
    pub(super) fn begin_batch(&mut self, batch: BatchId, views: &Views) {
        let Self { occupied, slots, isolated, .. } = self;
        isolated.begin(batch, views, |number| {
            let below = *occupied & ((1 << number) - 1);
            slots[below.count_ones() as usize].newest_before
        });
    }

    #[inline]
    pub(super) fn note_member(&mut self, number: u8) -> bool {
        self.isolated.note(number)
    }

    /// Begins a chunk of floats, with start timestamps or without.
    pub(super) fn open_chunk(&mut self, index: usize, with_starts: bool) {
        let cells = &mut self.cells;
        let open = if with_starts { Open::xor2(cells) } else { Open::xor(cells) };
        self.heap_bytes += open.heap_bytes();
        self.slots[index].open = open;
        self.n_open += 1;
    }

    /// Begins a chunk of histograms.
    pub(super) fn open_histograms(&mut self, index: usize, open: OpenHistograms) {
        self.heap_bytes += open.size_bytes();
        self.slots[index].open = Open::Histograms(Box::new(open));
        self.n_open += 1;
    }

    /// Appends to the open chunk of histograms. Tells whether the histogram began another one.
    pub(super) fn append_histogram(
        &mut self,
        index: usize,
        start: i64,
        timestamp: i64,
        histogram: &NativeHistogram,
        is_due: bool,
    ) -> Result<bool, Error> {
        let slot = &mut self.slots[index];
        let span = slot.taken_span();
        let Open::Histograms(open) = &mut slot.open else {
            unreachable!("a chunk of histograms was opened for this sample")
        };
        let before = open.size_bytes();
        let finished = open.append(start, timestamp, histogram, is_due)?;
        self.heap_bytes = self.heap_bytes - before + open.size_bytes();
        let Some(Chunk { encoding, data }) = finished else { return Ok(false) };
        let data = ChunkData { encoding, data: Arc::from(&data[..]) };
        self.full.push(&mut slot.full, slot.open_mint, span, data);
        Ok(true)
    }

    /// Goes on with a chunk that holds samples already, where there is no open one.
    pub(super) fn resume_chunk(&mut self, index: usize, chunk: &Chunk) -> Result<(), Error> {
        let open = Open::resume(chunk, &mut self.cells)?;
        self.n_open += usize::from(!open.is_empty());
        self.heap_bytes += open.heap_bytes();
        self.slots[index].open = open;
        Ok(())
    }

    /// Adds a full chunk that is in a file.
    pub(super) fn load_chunk(&mut self, index: usize, mint: i64, span: u32, at: ChunkRef) -> bool {
        self.full.push_stored(&mut self.slots[index].full, mint, span, at)
    }

    /// Removes the newest full chunk.
    pub(super) fn pop_full(&mut self, index: usize) {
        self.full.pop(&mut self.slots[index].full);
    }

    /// Moves the open chunk to the full ones.
    pub(super) fn end_chunk(&mut self, index: usize, mint: i64, span: u32) {
        let slot = &mut self.slots[index];
        if let Some(data) = slot.open.to_data(&self.cells) {
            self.full.push(&mut slot.full, mint, span, data);
            self.clear_open(index);
        }
    }

    fn clear_open(&mut self, index: usize) {
        let open = &mut self.slots[index].open;
        self.heap_bytes -= open.heap_bytes();
        open.clear(&mut self.cells);
        self.n_open -= 1;
    }

    pub(super) fn truncate_slot(&mut self, index: usize, mint: i64) {
        let slot = &mut self.slots[index];
        self.full.truncate(&mut slot.full, mint);
        if slot.open.last_timestamp().is_some_and(|newest| newest < mint) {
            self.clear_open(index);
        }
    }

    pub(super) fn clear_slot(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        self.full.clear(&mut slot.full);
        if !slot.open.is_empty() {
            self.clear_open(index);
        }
    }
}
