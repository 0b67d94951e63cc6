//! Values as integers: decimals scaled by a power of ten, and the bits of floats in their order.
//!
//! A decimal is *i* ÷ 10^*e* with |*i*| ≤ 2^53 and *e* ≤ 15, in which both numbers are exact, so that
//! the quotient is the float nearest to the decimal: what parsing its digits gives. ALP (Afroozeh
//! et al. 2024, section 3.1) multiplies with an inverse instead, which is not exact and leaves
//! more exceptions; the division costs little beside it.

use super::vectorized;

/// Largest exponent of a scaled decimal.
pub(super) const MAX_EXPONENT: u8 = 15;

/// Powers of ten, exact as floats.
const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Up to here all integers are floats.
const LIMIT: f64 = 9_007_199_254_740_992.0;

/// Adding and subtracting this rounds floats up to 2^51 to integers.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// Values that tell whether a column is one of decimals.
const PROBES: usize = 16;

/// The integer that is `value` · 10^`exponent`, if the quotient has the same bits as `value`.
#[inline(always)]
pub(super) fn to_int(value: f64, exponent: u8) -> Option<i64> {
    let power = POWERS[usize::from(exponent & 15)];
    let scaled = value * power;
    let rounded =
        if scaled.abs() < LIMIT / 4.0 { (scaled + ROUNDER) - ROUNDER } else { scaled.trunc() };
    // Comparing bits keeps the sign of zero; of a NaN nothing is left here.
    let is_exact = (rounded / power).to_bits() == value.to_bits() && rounded.abs() <= LIMIT;
    #[expect(clippy::cast_possible_truncation, reason = "an integer of at most 54 bits")]
    is_exact.then_some(rounded as i64)
}

/// The float that is `int` ÷ 10^`exponent`.
pub(super) fn to_float(int: i64, exponent: u8) -> f64 {
    int as f64 / POWERS[usize::from(exponent & 15)]
}

/// Turns integers, each in the place of its float, into floats.
pub(super) fn to_floats(out: &mut [f64], exponent: u8) {
    let power = POWERS[usize::from(exponent & 15)];
    vectorized(
        #[inline(always)]
        || match exponent {
            0 => out.iter_mut().for_each(|v| *v = v.to_bits().cast_signed() as f64),
            _ => out.iter_mut().for_each(|v| *v = v.to_bits().cast_signed() as f64 / power),
        },
    );
}

/// The exponent that the values seem to have; none if too few of them are decimals.
pub(super) fn probe(values: &[f64]) -> Option<u8> {
    let mut exponent = 0;
    let (mut n_probed, mut n_failed) = (0, 0);
    for i in 0..values.len().min(PROBES) {
        let value = values[i * values.len() / values.len().min(PROBES)];
        if !value.is_finite() {
            continue;
        }
        n_probed += 1;
        match smallest_exponent(value, exponent) {
            Some(found) => exponent = found,
            None => n_failed += 1,
        }
    }
    (n_failed * 4 <= n_probed).then_some(exponent)
}

/// The smallest exponent from `least` on by which the value becomes an integer.
fn smallest_exponent(value: f64, least: u8) -> Option<u8> {
    (least..=MAX_EXPONENT).find(|&exponent| to_int(value, exponent).is_some())
}

/// Integers that stand for a column, and the values that none stands for.
#[derive(Clone, Debug, Default)]
pub(super) struct Ints {
    /// One for each value; in place of an exception the integer in front of it.
    pub(super) ints: Vec<i64>,
    pub(super) exceptions: Vec<(usize, u64)>,
}

impl Ints {
    /// Scales a column and returns the exponent; none if there are too many exceptions.
    pub(super) fn fill_decimals(&mut self, values: &[f64]) -> Option<u8> {
        let mut exponent = probe(values)?;
        let limit = 4 + values.len() / 32;
        loop {
            match self.scale(values, exponent, limit) {
                Ok(()) => return Some(exponent),
                Err(larger) => exponent = larger?,
            }
        }
    }

    /// Fails with a larger exponent that is needed, or with none.
    fn scale(&mut self, values: &[f64], exponent: u8, limit: usize) -> Result<(), Option<u8>> {
        self.clear();
        let mut n_odd = 0;
        for (index, &value) in values.iter().enumerate() {
            if let Some(int) = to_int(value, exponent) {
                self.ints.push(int);
                continue;
            }
            if value.is_finite() {
                if let Some(larger) = smallest_exponent(value, exponent + 1) {
                    return Err(Some(larger));
                }
                n_odd += 1;
                if n_odd > limit {
                    return Err(None);
                }
            }
            self.push_exception(index, value);
        }
        self.fill_front();
        Ok(())
    }

    /// Takes the bits of the values for integers.
    pub(super) fn fill_bits(&mut self, values: &[f64]) {
        self.clear();
        for (index, &value) in values.iter().enumerate() {
            if value.is_nan() {
                self.push_exception(index, value);
            } else {
                self.ints.push(to_ordered(value));
            }
        }
        self.fill_front();
    }

    fn clear(&mut self) {
        self.ints.clear();
        self.exceptions.clear();
    }

    fn push_exception(&mut self, index: usize, value: f64) {
        self.exceptions.push((index, value.to_bits()));
        self.ints.push(self.ints.last().copied().unwrap_or_default());
    }

    /// Gives the exceptions that nothing is in front of the first integer there is.
    fn fill_front(&mut self) {
        let n_leading =
            self.exceptions.iter().enumerate().take_while(|&(i, &(index, _))| i == index).count();
        if let Some(&first) = self.ints.get(n_leading) {
            self.ints[..n_leading].fill(first);
        }
    }
}

/// The bits of a float as an integer that orders like the float.
pub(super) fn to_ordered(value: f64) -> i64 {
    let bits = value.to_bits().cast_signed();
    bits ^ (bits >> 63 & i64::MAX)
}

/// Reverts [`to_ordered`].
#[inline(always)]
pub(super) fn from_ordered(int: i64) -> f64 {
    f64::from_bits((int ^ (int >> 63 & i64::MAX)).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_what_their_digits_say() {
        let cases = [
            ("0", 0, 0),
            ("-17", -17, 0),
            ("0.1", 1, 1),
            ("123.456", 123_456, 3),
            ("1700000000.123", 1_700_000_000_123, 3),
            ("9007199254740992", 9_007_199_254_740_992, 0),
            ("0.000000000000001", 1, 15),
        ];
        for (text, int, exponent) in cases {
            let value: f64 = text.parse().unwrap();
            assert_eq!(smallest_exponent(value, 0), Some(exponent), "{text}");
            assert_eq!(to_int(value, exponent), Some(int), "{text}");
            assert_eq!(to_float(int, exponent).to_bits(), value.to_bits());
        }
        for value in [-0.0, f64::NAN, f64::INFINITY, 1.0 / 3.0, 1e300, f64::MIN_POSITIVE, 1e16] {
            assert_eq!(smallest_exponent(value, 0), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn integers_give_the_float_back(bits in any::<u64>(), exponent in 0_u8..=15) {
            let value = f64::from_bits(bits);
            if let Some(int) = to_int(value, exponent) {
                prop_assert_eq!(to_float(int, exponent).to_bits(), bits);
            }
            prop_assert_eq!(from_ordered(to_ordered(value)).to_bits(), bits);
        }

        #[test]
        fn scaled_decimals_are_found(
            int in -9_007_199_254_740_992_i64..=9_007_199_254_740_992,
            exponent in 0_u8..=15,
        ) {
            let value = to_float(int, exponent);
            if int != 0 && value * POWERS[usize::from(exponent)] == int as f64 {
                prop_assert_eq!(to_int(value, exponent), Some(int));
            }
        }

        #[test]
        fn bits_order_like_floats(a in any::<f64>(), b in any::<f64>()) {
            if a < b {
                prop_assert!(to_ordered(a) < to_ordered(b));
            }
        }
    }
}
