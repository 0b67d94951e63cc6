//! Columns of values: how floats are turned into integers, and what is known of them without
//! decoding.
//!
//! Implements "Values" of `docs/formats/columnar.md`; which kind is written is chosen in
//! [`pick`](super::pick).

use std::ops::Range;

use super::ColumnField;
use super::decimal::{self, from_ordered, to_float, to_floats};
use super::dictionary::DictionaryColumn;
use super::exceptions::Exceptions;
use super::ints::IntColumn;
use super::packed::{packed_len, value_at};
use crate::Error;
use crate::cursor::Cursor;

/// Kinds of columns, the low four bits of the first byte.
pub(super) const CONSTANT: u8 = 0;
pub(super) const PATCHED_CONSTANT: u8 = 1;
pub(super) const DECIMAL: u8 = 2;
pub(super) const BITS: u8 = 3;
pub(super) const SPLIT: u8 = 4;
pub(super) const DICTIONARY: u8 = 5;
/// Decimals less those of another column.
pub(super) const RELATIVE: u8 = 6;

/// The exponent of a constant that is written as its bits.
pub(super) const RAW_CONSTANT: u8 = 15;

/// Flags in front of all columns but constants.
pub(super) const HAS_EXCEPTIONS: u8 = 1;
pub(super) const HAS_MIN: u8 = 2;
pub(super) const HAS_MAX: u8 = 4;
const ALL_FLAGS: u8 = HAS_EXCEPTIONS | HAS_MIN | HAS_MAX;

/// What is known of the values of a column without decoding it.
#[derive(Clone, Copy, Debug)]
pub struct ValueStats {
    /// The first value, bit for bit.
    pub first: f64,
    /// The last value, bit for bit.
    pub last: f64,
    /// The smallest value that is not a NaN; a NaN if there is none.
    pub min: f64,
    /// The largest value that is not a NaN; a NaN if there is none.
    pub max: f64,
    /// Number of staleness markers.
    pub n_stale: usize,
    /// Number of NaNs, staleness markers included.
    pub n_nan: usize,
}

impl ValueStats {
    /// Those of a column that this one and `next` make up.
    pub(super) fn followed_by(&self, next: &Self) -> Self {
        Self {
            first: self.first,
            last: next.last,
            // Of a number and a NaN these give the number.
            min: self.min.min(next.min),
            max: self.max.max(next.max),
            n_stale: self.n_stale + next.n_stale,
            n_nan: self.n_nan + next.n_nan,
        }
    }
}

/// A column of values to be read.
#[derive(Clone, Debug)]
pub(super) struct ValueColumn<'a> {
    n: usize,
    /// First, last, smallest and largest of those that are no exceptions.
    known: [f64; 4],
    exceptions: Exceptions<'a>,
    body: Body<'a>,
}

#[derive(Clone, Debug)]
enum Body<'a> {
    Constant { value: f64 },
    Decimal { exponent: u8, is_relative: bool, ints: IntColumn<'a> },
    Bits(IntColumn<'a>),
    Split { cut: u32, high: IntColumn<'a>, low: &'a [u8] },
    Dictionary(DictionaryColumn<'a>),
}

impl<'a> ValueColumn<'a> {
    /// Finds the parts of a column of `n` values that takes all that is left.
    pub(super) fn parse(cursor: &mut Cursor<'a>, n: usize) -> Result<Self, Error> {
        let offset = cursor.offset();
        let tag = cursor.u8()?;
        let (kind, exponent) = (tag & 15, tag >> 4);
        if kind == CONSTANT || kind == PATCHED_CONSTANT {
            return Self::parse_constant(cursor, n, kind, exponent);
        }
        let flags = cursor.u8()?;
        let is_valid = kind <= RELATIVE && flags <= ALL_FLAGS;
        if !is_valid || (exponent > 0 && kind != DECIMAL && kind != RELATIVE) {
            return Err(Error::Columnar { offset, field: ColumnField::Kind, found: tag.into() });
        }
        let exceptions = match flags & HAS_EXCEPTIONS {
            0 => Exceptions::default(),
            _ => Exceptions::parse(cursor, n)?,
        };
        let (known, body) = match kind {
            DECIMAL => {
                let (known, ints) = parse_known_ints(cursor, n, flags, false)?;
                let known = known.map(|int| to_float(int, exponent));
                (known, Body::Decimal { exponent, is_relative: false, ints })
            }
            RELATIVE => {
                let (known, ints) = parse_known_ints(cursor, n, flags, true)?;
                let known = known.map(|int| to_float(int, exponent));
                (known, Body::Decimal { exponent, is_relative: true, ints })
            }
            BITS => {
                let (known, ints) = parse_known_ints(cursor, n, flags, false)?;
                (known.map(from_ordered), Body::Bits(ints))
            }
            SPLIT => (parse_known_floats(cursor)?, parse_split(cursor, n)?),
            _ => {
                let known = parse_known_floats(cursor)?;
                (known, Body::Dictionary(DictionaryColumn::parse(cursor, n)?))
            }
        };
        Ok(Self { n, known, exceptions, body })
    }

    fn parse_constant(
        cursor: &mut Cursor<'a>,
        n: usize,
        kind: u8,
        exponent: u8,
    ) -> Result<Self, Error> {
        let value = match exponent {
            RAW_CONSTANT => cursor.f64_be()?,
            _ => to_float(cursor.varint()?, exponent),
        };
        let exceptions = match kind {
            CONSTANT => Exceptions::default(),
            _ => Exceptions::parse(cursor, n)?,
        };
        Ok(Self { n, known: [value; 4], exceptions, body: Body::Constant { value } })
    }

    /// What is known without decoding.
    pub(super) fn stats(&self) -> ValueStats {
        let [first, last, min, max] = self.known;
        let mut stats = ValueStats { first, last, min, max, n_stale: 0, n_nan: 0 };
        if self.exceptions.count() == self.n {
            (stats.min, stats.max) = (f64::NAN, f64::NAN);
        }
        for (index, bits) in self.exceptions.iter() {
            let value = f64::from_bits(bits);
            if index == 0 {
                stats.first = value;
            }
            if index + 1 == self.n {
                stats.last = value;
            }
            stats.n_stale += usize::from(crate::stale::is_stale(value));
            stats.n_nan += usize::from(value.is_nan());
            // Of a number and a NaN these give the number.
            stats.min = stats.min.min(value);
            stats.max = stats.max.max(value);
        }
        if let Body::Constant { value } = &self.body
            && value.is_nan()
        {
            let n_constant = self.n - self.exceptions.count();
            stats.n_nan += n_constant;
            stats.n_stale += if crate::stale::is_stale(*value) { n_constant } else { 0 };
        }
        stats
    }

    /// The exponent of decimals, whose integers another column may be relative to.
    pub(super) fn exponent(&self) -> Option<u8> {
        match self.body {
            Body::Decimal { exponent, .. } => Some(exponent),
            _ => None,
        }
    }

    /// Tells whether the integers of another column are needed for decoding this one.
    pub(super) fn is_relative(&self) -> bool {
        matches!(self.body, Body::Decimal { is_relative: true, .. })
    }

    /// Fills `out` with the integers of decimals; those of a relative column are what is to be
    /// added to the other one's.
    pub(super) fn decode_ints(&self, range: Range<usize>, out: &mut [i64]) -> Result<(), Error> {
        match &self.body {
            Body::Decimal { ints, .. } => ints.decode(range, out),
            _ => Err(Error::Columnar { offset: 0, field: ColumnField::Reference, found: 0 }),
        }
    }

    /// Puts what is no decimal into `out`, which holds the values of `range`.
    pub(super) fn patch(&self, range: Range<usize>, out: &mut [f64]) {
        self.exceptions.patch(range, out);
    }

    /// Fills `out` with the values whose indexes are in `range`, of which there are as many. The
    /// column must not be relative.
    pub(super) fn decode(&self, range: Range<usize>, out: &mut [f64]) -> Result<(), Error> {
        debug_assert!(range.end <= self.n && range.len() == out.len(), "the caller made room");
        match &self.body {
            Body::Constant { value } => out.fill(*value),
            Body::Decimal { exponent, ints, .. } => {
                ints.decode(range.clone(), bytemuck::cast_slice_mut(out))?;
                to_floats(out, *exponent);
            }
            Body::Bits(ints) => {
                ints.decode(range.clone(), bytemuck::cast_slice_mut(out))?;
                out.iter_mut().for_each(|value| *value = from_ordered(int_in(*value)));
            }
            Body::Split { cut, high, low } => {
                high.decode(range.clone(), bytemuck::cast_slice_mut(out))?;
                for (value, index) in out.iter_mut().zip(range.start..) {
                    *value = from_ordered(int_in(*value) << cut | value_at(low, *cut, index));
                }
            }
            Body::Dictionary(dictionary) => {
                dictionary.indexes.decode(range.clone(), bytemuck::cast_slice_mut(out))?;
                for value in &mut *out {
                    *value = dictionary.entry(int_in(*value))?;
                }
            }
        }
        self.exceptions.patch(range, out);
        Ok(())
    }
}

/// The integer that was decoded into the place of a float.
#[inline(always)]
fn int_in(value: f64) -> i64 {
    value.to_bits().cast_signed()
}

/// First, last, smallest and largest integer, and the column behind them.
fn parse_known_ints<'a>(
    cursor: &mut Cursor<'a>,
    n: usize,
    flags: u8,
    is_relative: bool,
) -> Result<([i64; 4], IntColumn<'a>), Error> {
    let first = if is_relative { cursor.varint()? } else { 0 };
    let last = cursor.varint()?;
    let below = if flags & HAS_MIN == 0 { 0 } else { cursor.uvarint()? };
    let above = if flags & HAS_MAX == 0 { 0 } else { cursor.uvarint()? };
    let ints = IntColumn::parse(cursor, n)?;
    let (first, scale) = if is_relative { (first, 1) } else { (ints.origin(), ints.multiplier()) };
    let last = first.wrapping_add(last.wrapping_mul(scale));
    let min = first.min(last).wrapping_sub(below.cast_signed().wrapping_mul(scale));
    let max = first.max(last).wrapping_add(above.cast_signed().wrapping_mul(scale));
    Ok(([first, last, min, max], ints))
}

fn parse_known_floats(cursor: &mut Cursor<'_>) -> Result<[f64; 4], Error> {
    Ok([cursor.f64_be()?, cursor.f64_be()?, cursor.f64_be()?, cursor.f64_be()?])
}

fn parse_split<'a>(cursor: &mut Cursor<'a>, n: usize) -> Result<Body<'a>, Error> {
    let offset = cursor.offset();
    let cut = cursor.u8()?;
    if !(1..=63).contains(&cut) {
        return Err(Error::Columnar { offset, field: ColumnField::Cut, found: cut.into() });
    }
    let cut = cut.into();
    let low = cursor.bytes(packed_len(n, cut))?;
    Ok(Body::Split { cut, high: IntColumn::parse(cursor, n)?, low })
}

/// Integers of a constant column of decimals, for the encoder.
pub(super) fn constant_int(value: f64) -> Option<(u8, i64)> {
    (0..RAW_CONSTANT).find_map(|exponent| Some((exponent, decimal::to_int(value, exponent)?)))
}
