//! Values that do not fit the coding of their column: where they are and their bits.
//!
//! Staleness markers, other NaNs, infinities, negative zeros among decimals, and the odd value with
//! too many digits. The column repeats the value before in their place, so that they cost nothing
//! there.

use std::ops::Range;

use super::ColumnField;
use crate::Error;
use crate::cursor::{Cursor, put_u64_be, put_uvarint};
use crate::stale::{NORMAL_NAN, STALE_NAN};

/// Kinds of exceptions, the low bits of the gap in front of them.
const RAW: u64 = 0;
const STALE: u64 = 1;
const NAN: u64 = 2;
/// The bits of the last raw one.
const REPEATED: u64 = 3;

/// Appends exceptions, as ascending indexes and bits.
pub(super) fn write(exceptions: &[(usize, u64)], out: &mut Vec<u8>) {
    put_uvarint(out, exceptions.len() as u64);
    let mut next = 0;
    let mut last_raw = None;
    for &(index, bits) in exceptions {
        let kind = match bits {
            _ if bits == STALE_NAN.to_bits() => STALE,
            _ if bits == NORMAL_NAN.to_bits() => NAN,
            _ if last_raw == Some(bits) => REPEATED,
            _ => RAW,
        };
        put_uvarint(out, ((index - next) as u64) << 2 | kind);
        if kind == RAW {
            put_u64_be(out, bits);
            last_raw = Some(bits);
        }
        next = index + 1;
    }
}

/// Bits that exceptions take.
pub(super) fn cost_bits(exceptions: &[(usize, u64)]) -> u64 {
    let is_raw = |bits| bits != STALE_NAN.to_bits() && bits != NORMAL_NAN.to_bits();
    exceptions.iter().map(|&(_, bits)| if is_raw(bits) { 80 } else { 16 }).sum()
}

/// Exceptions of a column, checked as they were found.
#[derive(Clone, Debug, Default)]
pub(super) struct Exceptions<'a> {
    count: usize,
    data: &'a [u8],
}

impl<'a> Exceptions<'a> {
    /// Finds the exceptions of a column of `n` values.
    pub(super) fn parse(cursor: &mut Cursor<'a>, n: usize) -> Result<Self, Error> {
        let offset = cursor.offset();
        let found = cursor.uvarint()?;
        let invalid = Error::Columnar { offset, field: ColumnField::Exception, found };
        let count = usize::try_from(found).map_err(|_| invalid.clone())?;
        if count > n {
            return Err(invalid);
        }
        let data = cursor.rest();
        let mut next = 0_u64;
        for _ in 0..count {
            let offset = cursor.offset();
            let entry = cursor.uvarint()?;
            if entry & 3 == RAW {
                cursor.skip(8)?;
            }
            next += (entry >> 2) + 1;
            if next > n as u64 {
                let field = ColumnField::Exception;
                return Err(Error::Columnar { offset, field, found: entry });
            }
        }
        Ok(Self { count, data })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Indexes and bits, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u64)> + 'a {
        let mut data = Cursor::new(self.data);
        let mut next = 0;
        let mut last_raw = 0;
        (0..self.count).map_while(move |_| {
            let entry = data.uvarint().ok()?;
            let index = next + usize::try_from(entry >> 2).ok()?;
            next = index + 1;
            let bits = match entry & 3 {
                STALE => STALE_NAN.to_bits(),
                NAN => NORMAL_NAN.to_bits(),
                RAW => {
                    last_raw = data.u64_be().ok()?;
                    last_raw
                }
                _ => last_raw,
            };
            Some((index, bits))
        })
    }

    /// Puts the exceptions within `range` into `out`, which holds the values of that range.
    pub(super) fn patch(&self, range: Range<usize>, out: &mut [f64]) {
        if self.count == 0 {
            return;
        }
        let within = self.iter().skip_while(|&(index, _)| index < range.start);
        for (index, bits) in within.take_while(|&(index, _)| index < range.end) {
            out[index - range.start] = f64::from_bits(bits);
        }
    }
}
