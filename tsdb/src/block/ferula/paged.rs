//! Chunks of floats on their way from one block to another, as their page has them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ferula_chunkenc::Error;
use ferula_chunkenc::columnar::{Page, PageMemory, TimeRef, TimeTable, ValueStats};
use ferula_index::ferula::ValueBounds;
use parking_lot::Mutex;

use crate::block::segments::Place;
use crate::block::{ColumnValues, Columns};

/// A page, and what was decoded of it last.
#[derive(Debug)]
pub(super) struct SharedPage {
    pub(super) place: Place,
    pub(super) page: Page<'static>,
    memory: Mutex<PageMemory>,
}

impl SharedPage {
    pub(super) fn new(place: Place, page: Page<'static>) -> Self {
        Self { place, page, memory: Mutex::new(PageMemory::new()) }
    }
}

/// Which times of a source a chunk has: columns are told apart by source, segment and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TimesKey {
    source: usize,
    segment: u32,
    times: TimeRef,
}

/// A chunk of a page, of which neither times nor values are decoded. It has no start timestamps.
#[derive(Clone, Debug)]
pub(crate) struct PagedChunk {
    pub(super) page: Arc<SharedPage>,
    /// Its number in the page.
    pub(super) at: usize,
    /// The times of its segment.
    table: Bytes,
    times: TimeRef,
    /// Which of the blocks that are read it comes from.
    pub(super) source: usize,
    pub(super) bounds: Option<ValueBounds>,
}

impl PagedChunk {
    /// A chunk whose `times` are in a `table`.
    pub(super) fn new(page: Arc<SharedPage>, at: usize, table: Bytes, times: TimeRef) -> Self {
        Self { page, at, table, times, source: 0, bounds: None }
    }

    /// Notes which of the blocks that are read it comes from, and what its index says of it.
    pub(crate) fn set_source(&mut self, source: usize, bounds: Option<ValueBounds>) {
        (self.source, self.bounds) = (source, bounds);
    }

    /// Number of samples.
    pub(crate) fn n_samples(&self) -> usize {
        self.times.count.into()
    }

    /// Times of all samples.
    pub(crate) fn times(&self) -> Result<Vec<i64>, Error> {
        let mut times = vec![0; self.n_samples()];
        TimeTable::parse(&self.table)?.decode_into(self.times, &mut times)?;
        Ok(times)
    }

    /// Times of the first and the last sample.
    pub(crate) fn time_bounds(&self) -> Result<(i64, i64), Error> {
        TimeTable::parse(&self.table)?.bounds(self.times)
    }

    pub(super) fn times_key(&self) -> TimesKey {
        let Place { segment, .. } = self.page.place;
        TimesKey { source: self.source, segment, times: self.times }
    }

    /// Bytes that its columns take in their page.
    pub(crate) fn size_bytes(&self) -> usize {
        self.page.page.column_bytes(self.at).map_or(0, <[u8]>::len)
    }

    /// What is known of its values without decoding them.
    pub(crate) fn stats(&self) -> Result<ValueStats, Error> {
        self.page.page.stats(self.at)
    }

    /// Decodes the values of a range.
    pub(crate) fn values(&self, range: Range<usize>) -> Result<Vec<f64>, Error> {
        let mut values = vec![0.0; range.len()];
        let SharedPage { page, memory, .. } = &*self.page;
        page.decode(&mut memory.lock(), self.at, range, &mut values)?;
        Ok(values)
    }

    /// Decodes it.
    pub(crate) fn decode(&self) -> Result<Columns, Error> {
        let times = self.times()?;
        let values = ColumnValues::Floats(self.values(0..times.len())?);
        Ok(Columns { times, values, starts: None })
    }
}
