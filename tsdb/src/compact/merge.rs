//! Walking over the series of several blocks in label order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ferula_index::postings::{Iter, Postings};
use ferula_index::{ChunkMeta, Labels, SeriesRef};

use crate::block::Block;
use crate::error::Error;

/// Merges the symbols of blocks: sorted, each once.
pub(super) fn merge_symbols<'a>(blocks: &[&'a Block]) -> Result<Vec<&'a str>, Error> {
    let mut merged: Vec<&str> = Vec::new();
    for block in blocks {
        let symbols = block.symbols().collect::<Result<Vec<&str>, _>>()?;
        merged = merge_two(&merged, &symbols);
    }
    Ok(merged)
}

fn merge_two<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<&'a str> {
    let mut merged = Vec::with_capacity(a.len().max(b.len()));
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
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

/// What a source has of a series.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Which source.
    pub(super) source: usize,
    /// Ref of the series there.
    pub(super) series: SeriesRef,
    /// Its chunks, in time order.
    pub(super) chunks: Vec<ChunkMeta>,
}

/// The series of several blocks in label order, each once.
pub(super) struct SeriesMerge<'a> {
    sources: Vec<Source<'a>>,
    /// The next series of every source that has one.
    next: BinaryHeap<Reverse<(Labels, usize)>>,
    parts: Vec<Part>,
}

struct Source<'a> {
    block: &'a Block,
    series: Iter<'a>,
    /// What was read of the next series.
    part: Part,
}

impl<'a> SeriesMerge<'a> {
    /// Begins before the first series of the `sources`, which are given with what to read of them.
    pub(super) fn new(
        sources: impl Iterator<Item = (&'a Block, &'a Postings)>,
    ) -> Result<Self, Error> {
        let source = |(source, (block, series)): (usize, (&'a Block, &'a Postings))| Source {
            block,
            series: series.iter(),
            part: Part { source, ..Part::default() },
        };
        let sources: Vec<Source<'a>> = sources.enumerate().map(source).collect();
        let n_sources = sources.len();
        let mut merge = Self { sources, next: BinaryHeap::new(), parts: Vec::new() };
        for source in 0..n_sources {
            merge.read(source)?;
        }
        Ok(merge)
    }

    /// Reads the next series, and what the sources have of it, in the order of the sources.
    pub(super) fn next(&mut self) -> Result<Option<(Labels, &[Part])>, Error> {
        let Some(Reverse((labels, first))) = self.next.pop() else { return Ok(None) };
        let mut n_parts = 0;
        let mut source = first;
        loop {
            if self.parts.len() == n_parts {
                self.parts.push(Part::default());
            }
            // The memory of an old part serves the next series of its source.
            std::mem::swap(&mut self.parts[n_parts], &mut self.sources[source].part);
            n_parts += 1;
            self.read(source)?;
            match self.next.peek() {
                Some(Reverse((next, next_source))) if *next == labels => source = *next_source,
                _ => return Ok(Some((labels, &self.parts[..n_parts]))),
            }
            self.next.pop();
        }
    }

    fn read(&mut self, source: usize) -> Result<(), Error> {
        let Source { block, series, part } = &mut self.sources[source];
        if let Some(series) = series.next() {
            (part.source, part.series) = (source, series);
            let labels = block.series(series, &mut part.chunks)?;
            self.next.push(Reverse((labels, source)));
        }
        Ok(())
    }
}
