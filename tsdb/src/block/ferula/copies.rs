//! Chunks that are copied from other blocks: which become one, and what they are relative to.
//!
//! A column of values may be relative to one of an earlier chunk of its page. It is copied if that
//! chunk was copied into the same page before, so where each comes from is remembered as long as
//! it can be referred to.

use std::collections::VecDeque;
use std::ops::Range;

use ferula_chunkenc::columnar::{MAX_SAMPLES, PageColumn, TimeRef};

use super::layout::MIN_COPIED;
use super::paged::PagedChunk;
use crate::block::segments::Place;
use crate::block::{BlockChunk, StoredChunk};

/// How many chunks back a column may refer to.
const MAX_BACK: usize = 15;

/// How many of the first chunks of a series are copied, as one, or written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leading {
    Copied(usize),
    Anew(usize),
}

impl Leading {
    /// Looks at the first chunks of `rest`, which are the last ones of a series of `n_chunks`.
    pub(super) fn of(rest: &[BlockChunk], n_chunks: usize) -> Self {
        let (mut n, mut n_samples) = (0, 0);
        for chunk in rest {
            let StoredChunk::Paged(paged) = &chunk.chunk else { break };
            if n_samples + paged.n_samples() > MAX_SAMPLES {
                break;
            }
            n_samples += paged.n_samples();
            n += 1;
        }
        // Short columns take more room than one long one.
        match n_samples >= n * MIN_COPIED || n_chunks == 1 {
            _ if n == 0 => Self::Anew(1),
            true => Self::Copied(n),
            false => Self::Anew(n),
        }
    }
}

/// Where values of a chunk come from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    source: usize,
    place: Place,
    /// The chunk of that page.
    chunk: usize,
    /// Indexes that the values had in it.
    was: Range<usize>,
    /// Indexes that they have now.
    is: Range<usize>,
    exponent: Option<u8>,
}

impl Origin {
    /// That of a column of `chunk`, which becomes a part of another one from index `start` on.
    pub(super) fn new(chunk: &PagedChunk, column: &PageColumn<'_>, start: usize) -> Self {
        Self {
            source: chunk.source,
            place: chunk.page.place,
            chunk: chunk.at,
            was: column.range(),
            is: start..start + column.range().len(),
            exponent: column.exponent(),
        }
    }

    /// The indexes that the values have now.
    pub(super) fn is(&self) -> Range<usize> {
        self.is.clone()
    }

    /// The same, written anew with another exponent.
    pub(super) fn written_anew(self, exponent: Option<u8>) -> Self {
        Self { exponent, ..self }
    }

    /// Tells whether these are the values that those of `other` are relative to, `distance` back.
    fn is_reference(&self, other: &Self, distance: usize) -> bool {
        (self.source, self.place) == (other.source, other.place)
            && self.chunk + distance == other.chunk
            && self.exponent == other.exponent
            && self.was.start <= other.was.start
            && other.was.end <= self.was.end
            && other.was.start - self.was.start == other.is.start.wrapping_sub(self.is.start)
    }
}

/// The chunks of a page that were copied last.
#[derive(Debug, Default)]
pub(super) struct Copied(VecDeque<(usize, TimeRef, Vec<Origin>)>);

impl Copied {
    /// Forgets everything, as at the beginning of a page.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes that the next chunk of the page, with this number, was copied.
    pub(super) fn push(&mut self, chunk: usize, times: TimeRef, parts: Vec<Origin>) {
        self.0.push_back((chunk, times, parts));
        while self.0.front().is_some_and(|(first, ..)| *first + MAX_BACK <= chunk) {
            self.0.pop_front();
        }
    }

    /// The chunk that a part of the chunk `next` with these `times` is relative to if it is copied.
    pub(super) fn find(
        &self,
        next: usize,
        times: Option<TimeRef>,
        part: &Origin,
        distance: usize,
    ) -> Option<usize> {
        let is_reference = |(chunk, of_chunk, parts): &&(usize, TimeRef, Vec<Origin>)| {
            next - chunk <= MAX_BACK
                && times.is_none_or(|times| times == *of_chunk)
                && parts.iter().any(|own| own.is_reference(part, distance))
        };
        self.0.iter().rev().find(is_reference).map(|(chunk, ..)| *chunk)
    }
}
