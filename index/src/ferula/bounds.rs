//! What is known of the values of a chunk: the first, the last, the smallest and the largest.
//!
//! Mostly these are integers or short decimals, and the same number more than once: a counter ends
//! with its largest value. So they are written as integers where all four are such, and each only
//! where it is not the one expected.

use ferula_chunkenc::cursor::{Cursor, put_u8, put_uvarint, put_varint};

use crate::Error;
use crate::block::SectionReader;
use crate::error::Corruption;

/// Flags in front of the numbers.
const IS_KNOWN: u8 = 1;
const IS_SCALED: u8 = 2;
const HAS_LAST: u8 = 4;
const HAS_MIN: u8 = 8;
const HAS_MAX: u8 = 16;
/// From this bit on stands the exponent.
const EXPONENT_SHIFT: u32 = 5;

/// What decimals are multiplied by to become integers.
const POWERS: [f64; 8] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];

/// Largest integer that is written as such: floats hold all integers up to here.
const MAX_INT: f64 = 9_007_199_254_740_992.0;

/// What is known of the values of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct ValueBounds {
    /// The first value, bit for bit.
    pub first: f64,
    /// The last value, bit for bit.
    pub last: f64,
    /// The smallest value that is not a NaN; a NaN if there is none.
    pub min: f64,
    /// The largest value that is not a NaN; a NaN if there is none.
    pub max: f64,
}

impl ValueBounds {
    /// Those of `values`; nothing if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let (first, last) = (*values.first()?, *values.last()?);
        let mut bounds = Self { first, last, min: f64::NAN, max: f64::NAN };
        for &value in values.iter().filter(|value| !value.is_nan()) {
            // Of zeros of both signs the one that comes first counts.
            if bounds.min.is_nan() || value < bounds.min {
                bounds.min = value;
            }
            if bounds.max.is_nan() || value > bounds.max {
                bounds.max = value;
            }
        }
        Some(bounds)
    }

    /// Those of the values that these bounds are of, and behind them those that `next` is of.
    pub fn followed_by(&self, next: &Self) -> Self {
        let least = |own: f64, next: f64| if own.is_nan() || next < own { next } else { own };
        let most = |own: f64, next: f64| if own.is_nan() || next > own { next } else { own };
        Self {
            first: self.first,
            last: next.last,
            min: least(self.min, next.min),
            max: most(self.max, next.max),
        }
    }

    fn bits(&self) -> [u64; 4] {
        [self.first, self.last, self.min, self.max].map(f64::to_bits)
    }

    fn scaled(&self) -> Option<(u8, [i64; 4])> {
        (0_u8..).zip(POWERS).find_map(|(exponent, power)| {
            let int = |value: f64| to_int(value, power);
            let ints = [int(self.first)?, int(self.last)?, int(self.min)?, int(self.max)?];
            Some((exponent, ints))
        })
    }
}

impl PartialEq for ValueBounds {
    /// Bit for bit, so that NaNs compare.
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for ValueBounds {}

/// The integer that `value` is when multiplied, if it is got back from it bit for bit.
fn to_int(value: f64, power: f64) -> Option<i64> {
    let scaled = (value * power).round();
    if scaled.is_nan() || scaled.abs() > MAX_INT || to_float(scaled, power) != value.to_bits() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "an integer that 64 bits hold")]
    Some(scaled as i64)
}

fn to_float(scaled: f64, power: f64) -> u64 {
    // Zero has one sign as an integer.
    (scaled / power + 0.0).to_bits()
}

/// Appends what is known of a chunk.
pub(super) fn put(out: &mut Vec<u8>, bounds: Option<&ValueBounds>) {
    let Some(bounds) = bounds else { return put_u8(out, 0) };
    if let Some((exponent, [first, last, min, max])) = bounds.scaled() {
        let (low, high) = (first.min(last), first.max(last));
        let mut flags = IS_KNOWN | IS_SCALED | exponent << EXPONENT_SHIFT;
        flags |= if last == first { 0 } else { HAS_LAST };
        flags |= if min == low { 0 } else { HAS_MIN };
        flags |= if max == high { 0 } else { HAS_MAX };
        put_u8(out, flags);
        put_varint(out, first);
        for (flag, difference) in
            [(HAS_LAST, last - first), (HAS_MIN, min - low), (HAS_MAX, max - high)]
        {
            if flags & flag != 0 {
                put_varint(out, difference);
            }
        }
        return;
    }
    let [first, last, min, max] = bounds.bits();
    let mut flags = IS_KNOWN;
    flags |= if last == first { 0 } else { HAS_LAST };
    flags |= if min == first { 0 } else { HAS_MIN };
    flags |= if max == last { 0 } else { HAS_MAX };
    put_u8(out, flags);
    put_bits(out, first);
    for (flag, bits) in [(HAS_LAST, last), (HAS_MIN, min), (HAS_MAX, max)] {
        if flags & flag != 0 {
            put_bits(out, bits);
        }
    }
}

/// The low bits of most floats are zeros, so these go to the top.
fn put_bits(out: &mut Vec<u8>, bits: u64) {
    put_uvarint(out, bits.swap_bytes());
}

/// Reads what is known of a chunk.
pub(super) fn read(reader: &mut SectionReader<'_>) -> Result<Option<ValueBounds>, Error> {
    let flags = reader.read(Cursor::u8)?;
    if flags & IS_KNOWN == 0 {
        let found = flags.into();
        return if flags == 0 {
            Ok(None)
        } else {
            Err(reader.corrupt(Corruption::Count { found }))
        };
    }
    if flags & IS_SCALED != 0 {
        let power = POWERS[usize::from(flags >> EXPONENT_SHIFT)];
        let first = reader.read(Cursor::varint)?;
        let mut next = |flag: u8, base: i64| {
            let has = flags & flag != 0;
            let difference = if has { reader.read(Cursor::varint)? } else { 0 };
            Ok::<i64, Error>(base.wrapping_add(difference))
        };
        let last = next(HAS_LAST, first)?;
        let min = next(HAS_MIN, first.min(last))?;
        let max = next(HAS_MAX, first.max(last))?;
        let [first, last, min, max] =
            [first, last, min, max].map(|int| f64::from_bits(to_float(int as f64, power)));
        return Ok(Some(ValueBounds { first, last, min, max }));
    }
    if flags >> EXPONENT_SHIFT != 0 {
        return Err(reader.corrupt(Corruption::Count { found: flags.into() }));
    }
    let mut bits = || Ok::<u64, Error>(reader.read(Cursor::uvarint)?.swap_bytes());
    let first = bits()?;
    let last = if flags & HAS_LAST != 0 { bits()? } else { first };
    let min = if flags & HAS_MIN != 0 { bits()? } else { first };
    let max = if flags & HAS_MAX != 0 { bits()? } else { last };
    let [first, last, min, max] = [first, last, min, max].map(f64::from_bits);
    Ok(Some(ValueBounds { first, last, min, max }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::block::Section;

    fn round_trip(bounds: Option<ValueBounds>) -> usize {
        let mut out = Vec::new();
        put(&mut out, bounds.as_ref());
        let mut reader = SectionReader::of(Section::Series, 0, &out);
        assert_eq!(read(&mut reader).unwrap(), bounds);
        assert_eq!(reader.offset(), out.len() as u64);
        out.len()
    }

    #[test]
    fn the_usual_ones_are_short() {
        let size = |values: &[f64]| round_trip(ValueBounds::of(values));
        assert_eq!(round_trip(None), 1);
        assert_eq!(size(&[]), 1);
        assert_eq!(size(&[1.0, 1.0]), 2);
        assert_eq!(size(&[1000.0, 1010.0, 1060.0]), 4);
        assert_eq!(size(&[0.25, 0.1, 0.5]), 4);
        assert_eq!(size(&[f64::INFINITY]), 4);
        assert_eq!(size(&[-0.0]), 3);
        assert!(size(&[1.0, f64::from_bits(0x7ff0_0000_0000_0002)]) <= 16);
        assert!(size(&[std::f64::consts::PI, 1e300]) <= 21);
    }

    proptest! {
        #[test]
        fn any_bits_survive(bits in prop::collection::vec(any::<u64>(), 1..5)) {
            let values: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
            round_trip(ValueBounds::of(&values));
        }

        #[test]
        fn decimals_survive(ints in prop::collection::vec(-1_000_000_i64..1_000_000, 1..5), e in 0..9) {
            let values: Vec<f64> =
                ints.into_iter().map(|int| int as f64 / 10_f64.powi(e)).collect();
            round_trip(ValueBounds::of(&values));
        }
    }
}
