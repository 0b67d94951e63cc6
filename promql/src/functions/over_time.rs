//! Aggregations of the values of one window.
//!
//! Each looks at its window afresh. What can be carried over from one window to the next without
//! losing digits is in [`sliding`](super::sliding).

use std::cmp::Ordering;
use std::convert::Infallible;

use super::sum::{Mean, Sum};

/// Sum in order of time.
pub(crate) fn sum(values: &[f64]) -> f64 {
    let mut sum = Sum::default();
    for value in values {
        sum.add(*value);
    }
    // What an infinite sum has compensated since means nothing.
    if sum.value.is_infinite() { sum.value } else { sum.total() }
}

/// Mean of at least one value.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let mut mean = Mean::new(values[0]);
    for value in &values[1..] {
        mean.add(*value);
    }
    mean.get()
}

/// Population variance, by Welford's method with compensated sums.
pub(crate) fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let (mut mean, mut squares) = (Sum::default(), Sum::default());
    for value in values {
        count += 1.0;
        let delta = value - mean.total();
        mean.add(delta / count);
        squares.add(delta * (value - mean.total()));
    }
    squares.total() / count
}

/// The `q`-quantile, interpolated; NaN are the smallest. Leaves `values` in another order.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    let selected = quantile_by(q, values, |values, nth| {
        values.select_nth_unstable_by(nth, order);
        Ok::<_, Infallible>(())
    });
    match selected {
        Ok(quantile) => quantile,
    }
}

/// The same, for someone with another way to bring the value that is the nth in order to its place,
/// with smaller ones in front of it and larger ones behind.
#[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 samples")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded by the length"
)]
pub(crate) fn quantile_by<E>(
    q: f64,
    values: &mut [f64],
    select: impl FnOnce(&mut [f64], usize) -> Result<(), E>,
) -> Result<f64, E> {
    if values.is_empty() || q.is_nan() {
        return Ok(f64::NAN);
    }
    if q < 0.0 {
        return Ok(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return Ok(f64::INFINITY);
    }
    let n = values.len() as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let weight = rank - rank.floor();
    // Two neighbours in the order are all that is needed of it.
    let lower = lower as usize;
    select(values, lower)?;
    let low = values[lower];
    let high = values[lower + 1..].iter().copied().min_by(order).unwrap_or(low);
    Ok(low * (1.0 - weight) + high * weight)
}

/// NaN first, then all numbers.
pub(crate) fn order(a: &f64, b: &f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(b),
        (a, b) => b.cmp(&a),
    }
}

/// Median of the distances to the median; uses `scratch` for sorting.
pub(crate) fn median_absolute_deviation(values: &[f64], scratch: &mut Vec<f64>) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    scratch.clear();
    scratch.extend_from_slice(values);
    let median = quantile(0.5, scratch);
    for value in scratch.iter_mut() {
        *value = (*value - median).abs();
    }
    quantile(0.5, scratch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_values(
            values in prop::collection::vec(prop_oneof![
                8 => -10.0..10.0_f64,
                4 => (-3..3_i32).prop_map(f64::from),
                1 => Just(f64::NAN),
                1 => Just(f64::INFINITY),
            ], 1..50),
            q in 0.0..=1.0_f64,
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(order);
            let last = sorted.len() - 1;
            let rank = q * last as f64;
            let lower = (0..=last).rev().find(|at| *at as f64 <= rank).unwrap_or(0);
            let weight = rank - rank.floor();
            let expected =
                sorted[lower] * (1.0 - weight) + sorted[(lower + 1).min(last)] * weight;
            let found = quantile(q, &mut values.clone());
            prop_assert!(found == expected || (found.is_nan() && expected.is_nan()));
        }
    }

    #[test]
    fn quantiles_are_interpolated() {
        assert_eq!(quantile(0.5, &mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(0.25, &mut [0.0, 1.0]), 0.25);
        assert!(quantile(0.0, &mut [1.0, f64::NAN]).is_nan());
        assert_eq!(quantile(-1.0, &mut [1.0]), f64::NEG_INFINITY);
        assert_eq!(median_absolute_deviation(&[1.0, 2.0, 9.0], &mut Vec::new()), 1.0);
    }

    #[test]
    fn spreads_are_those_of_the_population() {
        assert_eq!(variance(&[1.0, 3.0]), 1.0);
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }
}
