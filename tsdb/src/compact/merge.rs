//! Walking over the series of several blocks in label order.
//!
//! Labels are compared as numbers: symbols are sorted, so numbers of merged symbols sort like the
//! text. No label is read as text but when the symbols are merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ferula_index::ferula::ChunkEntry;
use ferula_index::postings::{Iter, Postings};
use ferula_index::{ChunkMeta, SeriesRef};

use crate::block::{Block, BlockCursor};
use crate::error::Error;

/// Strings one behind the other.
#[derive(Debug, Default)]
pub(super) struct Texts {
    text: String,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }

    /// Those of both, of which each is sorted.
    fn merge(&self, other: &Self) -> Self {
        let mut merged = Self::default();
        let (mut a, mut b) = (self.iter().peekable(), other.iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(left), Some(right)) if left == right => {
                    b.next();
                    a.next()
                }
                (Some(left), Some(right)) if left > right => b.next(),
                (Some(_), _) => a.next(),
                (None, _) => b.next(),
            };
            let Some(next) = next else { return merged };
            merged.push(next);
        }
    }
}

/// The symbols of several blocks.
#[derive(Debug, Default)]
pub(super) struct MergedSymbols {
    /// Sorted, each once.
    pub(super) texts: Texts,
    /// For each block which numbers its symbols have among all.
    numbers: Vec<Vec<u32>>,
}

impl MergedSymbols {
    /// Merges the symbols of `blocks`.
    pub(super) fn new(blocks: &[&Block]) -> Result<Self, Error> {
        let mut texts = Texts::default();
        for block in blocks {
            let mut of_block = Texts::default();
            block.for_each_symbol(|text| of_block.push(text))?;
            texts = texts.merge(&of_block);
        }
        // Read again rather than kept: this is done with the symbols of one block in memory.
        let numbers = blocks.iter().map(|block| number(block, &texts)).collect::<Result<_, _>>()?;
        Ok(Self { texts, numbers })
    }
}

/// Where each of the symbols of a block stands in `all`.
fn number(block: &Block, all: &Texts) -> Result<Vec<u32>, Error> {
    let mut all = (0_u32..).zip(all.iter());
    let mut numbers = Vec::new();
    block.for_each_symbol(|text| {
        let found = all.find(|(_, other)| *other == text);
        numbers.push(found.map_or(u32::MAX, |(number, _)| number));
    })?;
    Ok(numbers)
}

/// Labels as pairs of numbers of merged symbols, which are in the same order as the text.
pub(super) type NumberedLabels = Vec<(u32, u32)>;

/// What a source has of a series.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Which source.
    pub(super) source: usize,
    /// Ref of the series there.
    pub(super) series: SeriesRef,
    /// Its chunks, in time order.
    pub(super) chunks: Vec<ChunkMeta>,
    /// What its index says of each of them beside that; nothing if it says no more.
    pub(super) entries: Vec<ChunkEntry>,
}

/// The series of several blocks in label order, each once.
pub(super) struct SeriesMerge<'a> {
    sources: Vec<Source<'a>>,
    /// The next series of every source that has one.
    next: BinaryHeap<Reverse<(NumberedLabels, usize)>>,
    /// Labels of the series that was read last.
    labels: NumberedLabels,
    /// Memory for labels.
    spare: Vec<NumberedLabels>,
    parts: Vec<Part>,
}

struct Source<'a> {
    cursor: BlockCursor<'a>,
    /// Numbers of its symbols among all.
    numbers: &'a [u32],
    series: Iter<'a>,
    /// What was read of the next series.
    part: Part,
}

impl<'a> SeriesMerge<'a> {
    /// Begins before the first series of the `sources`, which are given with what to read of them.
    pub(super) fn new(
        sources: impl Iterator<Item = (&'a Block, &'a Postings)>,
        symbols: &'a MergedSymbols,
    ) -> Result<Self, Error> {
        let sources: Vec<Source<'a>> = sources
            .zip(&symbols.numbers)
            .enumerate()
            .map(|(source, ((block, series), numbers))| Source {
                cursor: block.cursor(),
                numbers,
                series: series.iter(),
                part: Part { source, ..Part::default() },
            })
            .collect();
        let n_sources = sources.len();
        let (next, parts, spare) = (BinaryHeap::new(), Vec::new(), Vec::new());
        let mut merge = Self { sources, next, labels: Vec::new(), spare, parts };
        for source in 0..n_sources {
            merge.read(source)?;
        }
        Ok(merge)
    }

    /// Reads the next series, and what the sources have of it, in the order of the sources.
    pub(super) fn next(&mut self) -> Result<Option<(&NumberedLabels, &[Part])>, Error> {
        let Some(Reverse((labels, mut source))) = self.next.pop() else { return Ok(None) };
        self.spare.push(std::mem::replace(&mut self.labels, labels));
        let mut n_parts = 0;
        loop {
            if self.parts.len() == n_parts {
                self.parts.push(Part::default());
            }
            // The memory of an old part serves the next series of its source.
            std::mem::swap(&mut self.parts[n_parts], &mut self.sources[source].part);
            n_parts += 1;
            self.read(source)?;
            let is_same =
                |Reverse((labels, _)): &Reverse<(NumberedLabels, usize)>| *labels == self.labels;
            if !self.next.peek().is_some_and(is_same) {
                return Ok(Some((&self.labels, &self.parts[..n_parts])));
            }
            if let Some(Reverse((labels, next_source))) = self.next.pop() {
                self.spare.push(labels);
                source = next_source;
            }
        }
    }

    fn read(&mut self, source: usize) -> Result<(), Error> {
        let Source { cursor, numbers, series, part } = &mut self.sources[source];
        if let Some(series) = series.next() {
            (part.source, part.series) = (source, series);
            let mut labels = self.spare.pop().unwrap_or_default();
            cursor.numbered_series(series, &mut labels, &mut part.chunks)?;
            cursor.entries(series, &mut part.entries)?;
            for (name, value) in &mut labels {
                (*name, *value) = (numbers[*name as usize], numbers[*value as usize]);
            }
            self.next.push(Reverse((labels, source)));
        }
        Ok(())
    }
}
