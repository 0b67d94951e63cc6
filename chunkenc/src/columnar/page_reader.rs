//! Reading the values of the chunks of a page.
//!
//! A column may be relative to another one, which may be relative to a third. Whoever reads a page
//! in order remembers the columns that were decoded last, so that each is decoded once.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::chunk::{ChunkContent, check_length, within};
use super::page::{DISTANCE_MASK, MAX_DISTANCE, Page};
use super::values::ValueColumn;
use super::{ColumnField, decimal};
use crate::histogram::{FloatHistogram, Histogram};
use crate::{Error, SampleBatch};

/// Integers of a column that was decoded whole.
#[derive(Clone, Debug)]
struct Recent {
    chunk: usize,
    ints: Vec<i64>,
}

/// The columns of one page that were decoded last.
///
/// It is meant to be kept beside its page; [`clear`](Self::clear) makes it ready for another one.
#[derive(Clone, Debug, Default)]
pub struct PageMemory {
    recent: VecDeque<Recent>,
    ints: Vec<i64>,
}

impl PageMemory {
    /// Remembers nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all columns, and keeps the memory.
    pub fn clear(&mut self) {
        for recent in &mut self.recent {
            // No page has as many chunks.
            recent.chunk = usize::MAX;
        }
    }

    /// Bytes that it takes.
    pub fn size_bytes(&self) -> usize {
        let columns = self.recent.iter().map(|recent| recent.ints.capacity());
        (self.ints.capacity() + columns.sum::<usize>()) * size_of::<i64>()
    }

    fn remember(&mut self, chunk: usize) {
        let mut recent = match self.recent.len() {
            MAX_DISTANCE => self.recent.pop_front(),
            _ => None,
        }
        .unwrap_or(Recent { chunk, ints: Vec::new() });
        recent.chunk = chunk;
        std::mem::swap(&mut recent.ints, &mut self.ints);
        self.recent.push_back(recent);
    }
}

/// Reads the values of the chunks of a page.
///
/// It remembers the columns that it decoded last, so that a page that is read in order is decoded
/// once, however many columns are relative to others.
#[derive(Clone, Debug)]
pub struct PageReader<'p> {
    page: &'p Page<'p>,
    memory: PageMemory,
}

impl<'p> PageReader<'p> {
    pub(super) fn new(page: &'p Page<'p>) -> Self {
        Self { page, memory: PageMemory::new() }
    }

    /// Fills `out` with the values of a chunk whose indexes are in `range`, of which there are as
    /// many.
    ///
    /// # Errors
    /// If there is no such chunk, it has fewer values, or its column is malformed.
    pub fn decode(
        &mut self,
        chunk: usize,
        range: Range<usize>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        self.page.decode(&mut self.memory, chunk, range, out)
    }
}

impl Page<'_> {
    /// Fills `out` with the values of a chunk whose indexes are in `range`, of which there are as
    /// many. `memory` is of this page.
    ///
    /// # Errors
    /// If there is no such chunk, it has fewer values, or its column is malformed.
    pub fn decode(
        &self,
        memory: &mut PageMemory,
        chunk: usize,
        range: Range<usize>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let n = usize::from(self.entry(chunk)?.times.count);
        if range.end > n || range.len() != out.len() {
            return Err(Error::ColumnLength { found: range.end, limit: n });
        }
        let column = self.column(chunk)?;
        let Some(exponent) = column.exponent() else { return column.decode(range, out) };
        if range.len() < n && !column.is_relative() {
            return column.decode(range, out);
        }
        self.decode_ints(memory, chunk, &column, range.clone())?;
        out.copy_from_slice(bytemuck::cast_slice(&memory.ints));
        decimal::to_floats(out, exponent);
        column.patch(range.clone(), out);
        if range.len() == n {
            memory.remember(chunk);
        }
        Ok(())
    }

    /// Appends the samples of a chunk whose indexes are in `range` to `batch`, with their start
    /// timestamps; histograms as ones that count in floats. `times` are those of the whole chunk,
    /// and `memory` is of this page.
    ///
    /// # Errors
    /// If there is no such chunk, it has another number of times, or is malformed; the batch is then
    /// as it was.
    pub fn decode_into(
        &self,
        memory: &mut PageMemory,
        chunk: usize,
        times: &[i64],
        range: Range<usize>,
        batch: &mut SampleBatch,
    ) -> Result<(), Error> {
        let entry = self.entry(chunk)?;
        check_length(times.len(), entry.times.count.into())?;
        let range = within(range, times.len());
        let before = batch.len();
        let decoded = if entry.has_histograms {
            self.decode_as_floats(chunk, times, range.clone(), batch)
        } else {
            let (into_times, values) = batch.extend_zeroed(range.len());
            into_times.copy_from_slice(&times[range.clone()]);
            self.decode(memory, chunk, range.clone(), values)
        };
        match decoded.and_then(|()| self.starts(chunk, range)) {
            Ok(None) => Ok(()),
            Ok(Some(starts)) => {
                batch.set_last_start_timestamps(&starts);
                Ok(())
            }
            Err(error) => {
                batch.truncate(before);
                Err(error)
            }
        }
    }

    fn decode_as_floats(
        &self,
        chunk: usize,
        times: &[i64],
        range: Range<usize>,
        batch: &mut SampleBatch,
    ) -> Result<(), Error> {
        let mut histograms = Vec::with_capacity(range.len());
        if self.content(chunk)? == ChunkContent::Histograms {
            let mut integers: Vec<Histogram> = Vec::with_capacity(range.len());
            self.histograms(chunk, range.clone(), &mut integers)?;
            histograms.extend(integers.iter().map(Histogram::to_float));
        } else {
            self.histograms::<FloatHistogram>(chunk, range.clone(), &mut histograms)?;
        }
        check_length(histograms.len(), range.len())?;
        for (timestamp, histogram) in times[range].iter().zip(histograms) {
            // As elsewhere, a staleness marker is one of floats.
            if histogram.is_stale() {
                batch.push(*timestamp, histogram.sum);
            } else {
                batch.push_histogram(*timestamp, Arc::new(histogram));
            }
        }
        Ok(())
    }

    /// Adds up the columns that make up this one.
    fn decode_ints(
        &self,
        memory: &mut PageMemory,
        chunk: usize,
        column: &ValueColumn<'_>,
        range: Range<usize>,
    ) -> Result<(), Error> {
        memory.ints.clear();
        memory.ints.resize(range.len(), 0);
        column.decode_ints(range.clone(), &mut memory.ints)?;
        let times = self.entry(chunk)?.times;
        let mut added = Vec::new();
        let mut at = chunk;
        for _ in 0..=usize::from(DISTANCE_MASK) {
            let distance = self.entry(at)?.distance;
            if distance == 0 {
                return Ok(());
            }
            at -= distance;
            if self.entry(at)?.times != times {
                break;
            }
            if let Some(recent) = memory.recent.iter().find(|recent| recent.chunk == at) {
                add(&mut memory.ints, recent.ints.get(range).unwrap_or_default());
                return Ok(());
            }
            let column = self.column(at)?;
            added.resize(range.len(), 0);
            column.decode_ints(range.clone(), &mut added)?;
            add(&mut memory.ints, &added);
        }
        let (offset, found) = (self.entry(at)?.start, at as u64);
        Err(Error::Columnar { offset, field: ColumnField::Reference, found })
    }
}

fn add(ints: &mut [i64], others: &[i64]) {
    for (int, other) in ints.iter_mut().zip(others) {
        *int = int.wrapping_add(*other);
    }
}
