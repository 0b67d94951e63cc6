//! Columns of times: ascending integers that are mostly the same step apart.
//!
//! The times of a regular scrape are an origin and a step; those that are late now and then cost
//! what the delays cost. A column may stand in front of the values of one chunk, or be shared by
//! the series that were scraped together: see [`page`](super::page).

use std::ops::Range;

use super::ints::{IntColumn, IntEncoder};
use super::{MAX_SAMPLES, VECTOR};
use crate::Error;
use crate::cursor::{Cursor, put_uvarint};

/// Checks that times can stand in a column: 1 to [`MAX_SAMPLES`] of them, ascending.
pub(super) fn check(timestamps: &[i64]) -> Result<(), Error> {
    if timestamps.is_empty() || timestamps.len() > MAX_SAMPLES {
        return Err(Error::ColumnLength { found: timestamps.len(), limit: MAX_SAMPLES });
    }
    let disorder = timestamps.windows(2).find(|pair| pair[0] >= pair[1]);
    disorder.map_or(Ok(()), |pair| Err(Error::OutOfOrder { timestamp: pair[1], last: pair[0] }))
}

/// Appends a column: the time from first to last, the size of the integers, the integers.
pub(super) fn write(timestamps: &[i64], ints: &mut IntEncoder, out: &mut Vec<u8>) {
    let [first, .., last] = timestamps else {
        put_uvarint(out, 0);
        return write_ints(timestamps, ints, out);
    };
    put_uvarint(out, last.wrapping_sub(*first).cast_unsigned());
    write_ints(timestamps, ints, out);
}

/// Appends integers behind their size.
pub(super) fn write_ints(values: &[i64], ints: &mut IntEncoder, out: &mut Vec<u8>) {
    let mut column = Vec::new();
    ints.plan(values);
    ints.write(&mut column);
    put_uvarint(out, column.len() as u64);
    out.extend_from_slice(&column);
}

/// Finds a column of `n` integers behind its size.
pub(super) fn parse_ints<'a>(cursor: &mut Cursor<'a>, n: usize) -> Result<IntColumn<'a>, Error> {
    let column = cursor.prefixed_bytes()?;
    IntColumn::parse(&mut Cursor::new(column), n)
}

/// A column of times to be read.
#[derive(Clone, Debug)]
pub(super) struct TimeColumn<'a> {
    n: usize,
    last: i64,
    ints: IntColumn<'a>,
}

impl<'a> TimeColumn<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>, n: usize) -> Result<Self, Error> {
        let span = cursor.uvarint()?;
        let ints = parse_ints(cursor, n)?;
        Ok(Self { n, last: ints.origin().wrapping_add_unsigned(span), ints })
    }

    pub(super) fn first(&self) -> i64 {
        self.ints.origin()
    }

    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// Fills `out` with the times whose indexes are in `range`.
    pub(super) fn decode(&self, range: Range<usize>, out: &mut [i64]) -> Result<(), Error> {
        self.ints.decode(range, out)
    }

    /// Indexes of the times from `mint` to `maxt`, both included.
    pub(super) fn range_of(&self, mint: i64, maxt: i64) -> Result<Range<usize>, Error> {
        let start = if mint <= self.first() { 0 } else { self.n_before(mint)? };
        let end = if maxt >= self.last { self.n } else { self.n_before(maxt.saturating_add(1))? };
        Ok(start..end.max(start))
    }

    /// Number of times before `time`: of the vectors only the one with the border is decoded.
    fn n_before(&self, time: i64) -> Result<usize, Error> {
        let borders = if self.n > VECTOR { self.ints.borders()? } else { Vec::new() };
        let start = borders.partition_point(|&border| border < time) * VECTOR;
        let end = if borders.is_empty() { self.n } else { self.n.min(start + VECTOR) };
        let mut times = vec![0; end - start];
        self.ints.decode(start..end, &mut times)?;
        Ok(start + times.partition_point(|&t| t < time))
    }
}
