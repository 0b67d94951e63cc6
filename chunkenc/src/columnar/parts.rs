//! Columns of values that make up one chunk, one behind the other.
//!
//! Chunks that follow each other become one without their values being written anew: the columns
//! are copied as they are, each with its number of values. Implements "Parts" of
//! `docs/formats/columnar.md`.

use std::ops::Range;

use super::ColumnField;
use super::page::DISTANCE_MASK;
use super::values::{DECIMAL, RELATIVE};
use crate::Error;
use crate::cursor::{Cursor, put_u8, put_uvarint};

/// The kind of a column that consists of others.
pub(super) const PARTS: u8 = 7;

/// A column of some of the values of a chunk, and where its bytes are in the page.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Indexes of its values in the chunk.
    pub(super) range: Range<usize>,
    /// How many chunks back the one is that it is relative to; 0: it is not.
    pub(super) distance: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The parts of a chunk, in order; of most there is one.
pub(super) enum Parts {
    One(Option<Part>),
    Many(std::vec::IntoIter<Part>),
}

impl Iterator for Parts {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        match self {
            Self::One(part) => part.take(),
            Self::Many(parts) => parts.next(),
        }
    }
}

impl Parts {
    /// Finds the parts of a column of `n` values that takes all that is left; `distance` is that of
    /// the chunk.
    pub(super) fn parse(cursor: &mut Cursor<'_>, n: usize, distance: usize) -> Result<Self, Error> {
        let start = cursor.offset();
        let end = start + cursor.remaining();
        if cursor.clone().u8()? != PARTS {
            return Ok(Self::One(Some(Part { range: 0..n, distance, start, end })));
        }
        cursor.u8()?;
        let invalid = |found: u64| {
            let field = ColumnField::Parts;
            Err(Error::Columnar { offset: start, field, found })
        };
        if distance > 0 {
            return invalid(distance as u64);
        }
        let found = cursor.uvarint()?;
        let Some(n_parts) = usize::try_from(found).ok().filter(|&parts| (2..=n).contains(&parts))
        else {
            return invalid(found);
        };
        // As many counts, nibbles and sizes, so what is allocated is there.
        if n_parts > cursor.remaining() {
            return invalid(found);
        }
        let mut parts = Vec::with_capacity(n_parts);
        let mut at = 0;
        for index in 0..n_parts {
            let left = n - at;
            let count = if index + 1 < n_parts { cursor.uvarint()? } else { left as u64 };
            let Some(count) =
                usize::try_from(count).ok().filter(|count| (1..=left).contains(count))
            else {
                return invalid(count);
            };
            parts.push(Part { range: at..at + count, distance: 0, start: 0, end });
            at += count;
        }
        let distances = cursor.bytes(n_parts.div_ceil(2))?;
        for (index, part) in parts.iter_mut().enumerate() {
            part.distance = usize::from(distances[index / 2] >> (4 * (index % 2)) & DISTANCE_MASK);
        }
        let mut size = 0_usize;
        for part in &mut parts[..n_parts - 1] {
            part.start = size;
            size = size.saturating_add(usize::try_from(cursor.uvarint()?).unwrap_or(usize::MAX));
            part.end = size;
        }
        let base = cursor.offset();
        if size > cursor.remaining() {
            let (needed, available) = (size, cursor.remaining());
            return Err(Error::Truncated { offset: base, needed, available });
        }
        for part in &mut parts[..n_parts - 1] {
            (part.start, part.end) = (part.start + base, part.end + base);
        }
        parts[n_parts - 1].start = base + size;
        Ok(Self::Many(parts.into_iter()))
    }
}

/// Appends the head of a column of parts: number of values, distance and size of each.
pub(super) fn write_head(parts: &[(usize, usize, usize)], out: &mut Vec<u8>) {
    put_u8(out, PARTS);
    put_uvarint(out, parts.len() as u64);
    for &(count, ..) in &parts[..parts.len() - 1] {
        put_uvarint(out, count as u64);
    }
    for pair in parts.chunks(2) {
        let nibble = |part: &(usize, usize, usize)| part.1.to_le_bytes()[0] & DISTANCE_MASK;
        put_u8(out, nibble(&pair[0]) | pair.get(1).map_or(0, nibble) << 4);
    }
    for &(.., size) in &parts[..parts.len() - 1] {
        put_uvarint(out, size as u64);
    }
}

/// A column of values in a page, to be copied into another one.
#[derive(Clone, Debug)]
pub struct PageColumn<'a> {
    range: Range<usize>,
    distance: usize,
    data: &'a [u8],
}

impl<'a> PageColumn<'a> {
    pub(super) fn new(part: &Part, body: &'a [u8]) -> Self {
        let data = &body[part.start..part.end];
        Self { range: part.range.clone(), distance: part.distance, data }
    }

    /// Indexes in its chunk of the values that the column holds.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// How many chunks back in its page the one is that it is relative to; 0: it is not.
    pub fn distance(&self) -> usize {
        self.distance
    }

    /// The exponent of decimals; others are not relative, and nothing is relative to them.
    pub fn exponent(&self) -> Option<u8> {
        exponent_of(self.data)
    }

    /// The column as it is written.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
}

/// The exponent of a column of decimals.
pub(super) fn exponent_of(column: &[u8]) -> Option<u8> {
    let tag = column.first()?;
    matches!(tag & 15, DECIMAL | RELATIVE).then_some(tag >> 4)
}

/// What a part of a chunk is made of.
#[derive(Clone, Debug)]
pub enum PagePart<'a> {
    /// A column of another page, and the chunk of this one that it is relative to: it must hold the
    /// same decimals as the one that it was relative to there.
    Copied {
        /// The column.
        column: PageColumn<'a>,
        /// Number of the chunk, if the column is relative to one.
        relative_to: Option<usize>,
    },
    /// Values that are written anew.
    Values(&'a [f64]),
}

impl PagePart<'_> {
    /// Number of values.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Copied { column, .. } => column.range.len(),
            Self::Values(values) => values.len(),
        }
    }
}
