//! Columns of times that series share.
//!
//! Series that are scraped together have the same times, to the millisecond. A block keeps each
//! column once, in a table, and its pages refer to a column and a range in it: what the times of
//! a target cost is divided by its thousand series.

use std::collections::HashMap;
use std::ops::Range;

use super::chunk::{VERSION, check_version, read_count};
use super::ints::IntEncoder;
use super::timestamps::{self, TimeColumn};
use super::{ColumnField, chunk::within};
use crate::Error;
use crate::cursor::{Cursor, put_u8, put_u32_be, put_uvarint};

/// Times of a chunk: a column of a [`TimeTable`] and a range of indexes in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TimeRef {
    /// Number of the column, from 0.
    pub column: u32,
    /// Index of the first time.
    pub start: u16,
    /// Number of times.
    pub count: u16,
}

impl TimeRef {
    /// The range of indexes in the column.
    pub fn range(self) -> Range<usize> {
        let start = usize::from(self.start);
        start..start + usize::from(self.count)
    }
}

/// Collects the columns of times of a block, each of them once.
///
/// Times that continue an earlier column's, or those with which one ends, are found in that
/// column, so that a series that came or went while its target was scraped needs none of its own.
#[derive(Clone, Debug, Default)]
pub struct TimeTableWriter {
    columns: Vec<Vec<i64>>,
    n_times: usize,
    /// Columns by their first time, by their last one, and by both.
    by_ends: HashMap<(i64, i64), Vec<u32>>,
    by_first: HashMap<i64, Vec<u32>>,
    by_last: HashMap<i64, Vec<u32>>,
}

/// Columns that are compared with times that are not the same as those of any.
const MAX_COMPARED: usize = 64;

impl TimeTableWriter {
    /// Makes an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds or adds a column with these times, 1 to [`MAX_SAMPLES`](super::MAX_SAMPLES) that
    /// ascend.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] or [`Error::ColumnLength`].
    pub fn add(&mut self, timestamps: &[i64]) -> Result<TimeRef, Error> {
        timestamps::check(timestamps)?;
        if let Some(found) = self.find(timestamps) {
            return Ok(found);
        }
        let column = u32::try_from(self.columns.len()).expect("fewer columns than series");
        let (first, last) = ends(timestamps);
        self.by_ends.entry((first, last)).or_default().push(column);
        self.by_first.entry(first).or_default().push(column);
        self.by_last.entry(last).or_default().push(column);
        self.columns.push(timestamps.to_vec());
        self.n_times += timestamps.len();
        Ok(reference(column, 0, timestamps.len()))
    }

    fn find(&self, timestamps: &[i64]) -> Option<TimeRef> {
        let n = timestamps.len();
        let (first, last) = ends(timestamps);
        let equal = self
            .columns(self.by_ends.get(&(first, last)))
            .find(|(_, times)| *times == timestamps)
            .map(|(column, _)| reference(column, 0, n));
        let front = || {
            self.columns(self.by_first.get(&first))
                .find(|(_, times)| times.starts_with(timestamps))
                .map(|(column, _)| reference(column, 0, n))
        };
        let back = || {
            self.columns(self.by_last.get(&last))
                .find(|(_, times)| times.ends_with(timestamps))
                .map(|(column, times)| reference(column, times.len() - n, n))
        };
        equal.or_else(front).or_else(back)
    }

    fn columns(&self, found: Option<&Vec<u32>>) -> impl Iterator<Item = (u32, &[i64])> {
        let numbers: Vec<u32> = found.into_iter().flatten().copied().take(MAX_COMPARED).collect();
        numbers.into_iter().map(|column| (column, &self.columns[column as usize][..]))
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Tells whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Number of times of all columns: what its memory goes by, 8 bytes each.
    pub fn n_times(&self) -> usize {
        self.n_times
    }

    /// Appends the table to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut ints = IntEncoder::default();
        let mut body = Vec::new();
        put_u8(out, VERSION);
        put_uvarint(out, self.columns.len() as u64);
        for column in &self.columns {
            put_uvarint(&mut body, column.len() as u64);
            timestamps::write(column, &mut ints, &mut body);
            put_u32_be(out, u32::try_from(body.len()).expect("a table is below 4 GiB"));
        }
        out.extend_from_slice(&body);
    }
}

/// First and last time.
fn ends(timestamps: &[i64]) -> (i64, i64) {
    let first = timestamps.first().copied().unwrap_or_default();
    (first, timestamps.last().copied().unwrap_or(first))
}

fn reference(column: u32, start: usize, count: usize) -> TimeRef {
    let narrow = |n: usize| u16::try_from(n).expect("at most 8,192");
    TimeRef { column, start: narrow(start), count: narrow(count) }
}

/// A table of columns of times to be read.
#[derive(Clone, Copy, Debug)]
pub struct TimeTable<'a> {
    /// Where each column ends.
    ends: &'a [[u8; 4]],
    body: &'a [u8],
}

impl<'a> TimeTable<'a> {
    /// Finds the columns of the table whose bytes are `data`.
    ///
    /// # Errors
    /// If the bytes are those of another version or end early.
    pub fn parse(data: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(data);
        check_version(&mut cursor)?;
        let offset = cursor.offset();
        let found = cursor.uvarint()?;
        let n = usize::try_from(found).ok().filter(|n| *n <= cursor.remaining() / 4);
        let n = n.ok_or(Error::Columnar { offset, field: ColumnField::Count, found })?;
        let (ends, _) = cursor.bytes(4 * n)?.as_chunks();
        Ok(Self { ends, body: cursor.rest() })
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Tells whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Decodes a whole column.
    ///
    /// # Errors
    /// If there is no such column or it is malformed.
    pub fn decode(&self, column: u32) -> Result<Vec<i64>, Error> {
        let (n, times) = self.column(column)?;
        let mut out = vec![0; n];
        times.decode(0..n, &mut out)?;
        Ok(out)
    }

    /// Decodes the times that `times` refers to into `out`, which has as many.
    ///
    /// # Errors
    /// If there is no such column, it is shorter, or malformed.
    pub fn decode_into(&self, times: TimeRef, out: &mut [i64]) -> Result<(), Error> {
        let (n, column) = self.column(times.column)?;
        let range = within(times.range(), n);
        super::chunk::check_length(range.len(), out.len())?;
        column.decode(range, out)
    }

    /// First and last of the times that `times` refers to.
    ///
    /// # Errors
    /// If there is no such column, it is shorter, or malformed.
    pub fn bounds(&self, times: TimeRef) -> Result<(i64, i64), Error> {
        let (n, column) = self.column(times.column)?;
        let Range { start, end } = times.range();
        if end > n || end == start {
            return Err(Error::ColumnLength { found: end, limit: n });
        }
        let at = |index: usize| {
            let mut time = [0];
            column.decode(index..index + 1, &mut time).map(|()| time[0])
        };
        let first = if start == 0 { column.first() } else { at(start)? };
        let last = if end == n { column.last() } else { at(end - 1)? };
        Ok((first, last))
    }

    fn column(&self, column: u32) -> Result<(usize, TimeColumn<'a>), Error> {
        let index = column as usize;
        let end_of =
            |index: usize| self.ends.get(index).map(|end| u32::from_be_bytes(*end) as usize);
        let start = if index == 0 { Some(0) } else { end_of(index - 1) };
        let data = start.zip(end_of(index)).and_then(|(start, end)| self.body.get(start..end));
        let field = ColumnField::TimeColumn;
        let data = data.ok_or(Error::Columnar { offset: 0, field, found: column.into() })?;
        let mut cursor = Cursor::new(data);
        let n = read_count(&mut cursor)?;
        Ok((n, TimeColumn::parse(&mut cursor, n)?))
    }
}
