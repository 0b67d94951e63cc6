//! Reading the values of the chunks of a page.
//!
//! A column may be relative to another one, which may be relative to a third. Whoever reads a page
//! in order remembers the columns that were decoded last, so that each is decoded once.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::chunk::{ChunkContent, check_length, within};
use super::page::{DISTANCE_MASK, Entry, MAX_DISTANCE, Page};
use super::time_table::TimeRef;
use super::{ColumnField, decimal};
use crate::histogram::{FloatHistogram, Histogram};
use crate::{Error, SampleBatch};

/// Integers of a chunk that was decoded whole.
#[derive(Clone, Debug)]
struct Recent {
    chunk: usize,
    /// One for each value.
    ints: Vec<i64>,
    /// Where the values are decimals, which have them.
    decimals: Vec<Range<usize>>,
}

/// The columns of one page that were decoded last.
///
/// It is meant to be kept beside its page; [`clear`](Self::clear) makes it ready for another one.
#[derive(Clone, Debug, Default)]
pub struct PageMemory {
    recent: VecDeque<Recent>,
    ints: Vec<i64>,
    decimals: Vec<Range<usize>>,
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
        .unwrap_or(Recent { chunk, ints: Vec::new(), decimals: Vec::new() });
        recent.chunk = chunk;
        std::mem::swap(&mut recent.ints, &mut self.ints);
        std::mem::swap(&mut recent.decimals, &mut self.decimals);
        self.recent.push_back(recent);
    }

    /// The integers of these values of a chunk, if they are remembered.
    fn recent(&self, chunk: usize, range: &Range<usize>) -> Option<&[i64]> {
        let recent = self.recent.iter().find(|recent| recent.chunk == chunk)?;
        let is_within =
            |decimals: &Range<usize>| decimals.start <= range.start && range.end <= decimals.end;
        recent.decimals.iter().any(is_within).then(|| recent.ints.get(range.clone()))?
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
        let mut ints = std::mem::take(&mut memory.ints);
        let mut decimals = std::mem::take(&mut memory.decimals);
        ints.clear();
        ints.resize(range.len(), 0);
        decimals.clear();
        let decoded = self.decode_parts(memory, chunk, &range, &mut ints, &mut decimals, out);
        (memory.ints, memory.decimals) = (ints, decimals);
        decoded?;
        if range.len() == n && !memory.decimals.is_empty() {
            memory.remember(chunk);
        }
        Ok(())
    }

    /// Decodes the columns of a chunk. Of decimals the integers are left in `ints`, and where they
    /// are in `decimals`.
    fn decode_parts(
        &self,
        memory: &PageMemory,
        chunk: usize,
        range: &Range<usize>,
        ints: &mut [i64],
        decimals: &mut Vec<Range<usize>>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let Entry { times, .. } = *self.entry(chunk)?;
        let is_whole = range.len() == usize::from(times.count);
        for part in self.parts(chunk)? {
            let Some((within, of_range)) = overlap(&part.range, range) else { continue };
            let column = self.column(&part)?;
            let (ints, out) = (&mut ints[of_range.clone()], &mut out[of_range.clone()]);
            let exponent = column.exponent().filter(|_| is_whole || column.is_relative());
            let Some(exponent) = exponent else {
                column.decode(within, out)?;
                continue;
            };
            column.decode_ints(within.clone(), ints)?;
            let indexes = range.start + of_range.start..range.start + of_range.end;
            if part.distance > 0 {
                let at = self.back(chunk, part.distance)?;
                self.add_ints(memory, at, &indexes, times, usize::from(DISTANCE_MASK), ints)?;
            }
            out.copy_from_slice(bytemuck::cast_slice(ints));
            decimal::to_floats(out, exponent);
            column.patch(within, out);
            decimals.push(indexes);
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

    /// Adds the integers of decimals that a chunk has in `range` to `ints`. It must have these
    /// `times`, and lead to a column that is not relative in `steps` at most.
    fn add_ints(
        &self,
        memory: &PageMemory,
        chunk: usize,
        range: &Range<usize>,
        times: TimeRef,
        steps: usize,
        ints: &mut [i64],
    ) -> Result<(), Error> {
        let entry = self.entry(chunk)?;
        if entry.times != times || steps == 0 {
            let (offset, found) = (entry.start, chunk as u64);
            return Err(Error::Columnar { offset, field: ColumnField::Reference, found });
        }
        if let Some(recent) = memory.recent(chunk, range) {
            add(ints, recent);
            return Ok(());
        }
        let mut added = Vec::new();
        for part in self.parts(chunk)? {
            let Some((within, of_range)) = overlap(&part.range, range) else { continue };
            added.clear();
            added.resize(within.len(), 0);
            self.column(&part)?.decode_ints(within, &mut added)?;
            let ints = &mut ints[of_range.clone()];
            add(ints, &added);
            if part.distance > 0 {
                let at = self.back(chunk, part.distance)?;
                let indexes = range.start + of_range.start..range.start + of_range.end;
                self.add_ints(memory, at, &indexes, times, steps - 1, ints)?;
            }
        }
        Ok(())
    }

    /// The chunk so many before another one.
    fn back(&self, chunk: usize, distance: usize) -> Result<usize, Error> {
        let offset = self.entry(chunk)?.start;
        let (field, found) = (ColumnField::Reference, distance as u64);
        chunk.checked_sub(distance).ok_or(Error::Columnar { offset, field, found })
    }
}

/// What two ranges have in common: as indexes in each of them.
fn overlap(a: &Range<usize>, b: &Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    let (start, end) = (a.start.max(b.start), a.end.min(b.end));
    (start < end).then(|| (start - a.start..end - a.start, start - b.start..end - b.start))
}

fn add(ints: &mut [i64], others: &[i64]) {
    for (int, other) in ints.iter_mut().zip(others) {
        *int = int.wrapping_add(*other);
    }
}
