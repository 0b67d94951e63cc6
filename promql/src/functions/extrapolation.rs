//! Extrapolation to the bounds of windows, remembered from one window to the next.
//!
//! Where samples and steps are regular, the windows of a series have the same shape nearly always, and
//! how far to extrapolate depends on the shape alone, but for counters that may have been zero within
//! the window. What is computed is what [`stretch`] computes, to the bit.

use super::rate::{RateKind, Stretch, reach_back, seconds, stretch};

/// How the samples of a window lie in it; times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    before: i64,
    sampled: i64,
    after: i64,
    n_gaps: usize,
}

/// Extrapolates the increases of windows of one length.
#[derive(Clone, Debug)]
pub(crate) struct Extrapolation {
    kind: RateKind,
    shape: Option<Shape>,
    /// For the shape, if the counter was not zero within the window.
    factor: f64,
    /// Seconds from the first to the last sample, and before the first one.
    sampled: f64,
    to_start: f64,
}

/// Increases below this are looked at exactly: products with them may lose digits.
const TINY: f64 = 1e-280;

impl Extrapolation {
    pub(crate) fn new(kind: RateKind) -> Self {
        Self { kind, shape: None, factor: 0.0, sampled: 0.0, to_start: 0.0 }
    }

    /// By what the increase between the samples at `first` and `last` stands for the whole window from
    /// `start` to `end`, or for a second of it.
    #[inline]
    pub(crate) fn factor(
        &mut self,
        (first, last): (i64, i64),
        n_gaps: usize,
        (start, end): (i64, i64),
        (first_value, increase): (f64, f64),
    ) -> f64 {
        let (before, after) = (first - start, end - last);
        let shape = Shape { before, sampled: last - first, after, n_gaps };
        if self.shape != Some(shape) {
            let samples = Stretch { first, last, n_gaps, zero: None, since: None };
            self.factor = stretch(samples, start, end, self.kind);
            self.sampled = seconds(shape.sampled);
            self.to_start = reach_back(samples, start);
            self.shape = Some(shape);
        }
        let may_be_zero = self.kind.is_counter && increase > 0.0 && first_value >= 0.0;
        if !may_be_zero {
            return self.factor;
        }
        // Far above zero, which is the rule, a counter was not zero within the window. A division is
        // saved, and what rounding could change is left to it.
        let is_far = self.sampled * first_value > self.to_start * increase * (1.0 + 1e-9);
        if is_far && increase > TINY {
            return self.factor;
        }
        let zero = Some(first_value / increase);
        stretch(Stretch { first, last, n_gaps, zero, since: None }, start, end, self.kind)
    }
}

/// A window that others are like, and the times of its ends; in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowShape {
    /// Times of the first and the last sample.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// One less than the number of samples.
    pub(crate) n_gaps: usize,
    /// Exclusive.
    pub(crate) start: i64,
    /// Inclusive.
    pub(crate) end: i64,
}

impl Extrapolation {
    /// The increases of many windows of one shape, extrapolated. `ends` are the values from the first and
    /// from the last sample of the first window on, of which every other window has those `stride` further
    /// on. False if one of them has to be computed by itself; `out` then holds nothing to rely on.
    pub(crate) fn apply_all(
        &mut self,
        shape: WindowShape,
        ends: (&[f64], &[f64]),
        stride: usize,
        out: &mut [f64],
    ) -> bool {
        let WindowShape { first, last, n_gaps, start, end } = shape;
        // That of a counter that does not rise depends on the shape alone.
        let factor = self.factor((first, last), n_gaps, (start, end), (0.0, 0.0));
        let (sampled, to_start) = (self.sampled, self.to_start * (1.0 + 1e-9));
        let is_counter = self.kind.is_counter;
        let mut are_far = true;
        let mut one = |out: &mut f64, first: f64, last: f64| {
            let increase = last - first;
            let may_be_zero = is_counter & (increase > 0.0) & (first >= 0.0);
            let is_far = (sampled * first > to_start * increase) & (increase > TINY);
            are_far &= !may_be_zero | is_far;
            *out = increase * factor;
        };
        if stride == 1 {
            let pairs = ends.0.iter().zip(ends.1);
            out.iter_mut().zip(pairs).for_each(|(out, (first, last))| one(out, *first, *last));
        } else {
            let pairs = ends.0.iter().step_by(stride).zip(ends.1.iter().step_by(stride));
            out.iter_mut().zip(pairs).for_each(|(out, (first, last))| one(out, *first, *last));
        }
        are_far
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn factors_are_those_of_each_window_by_itself(
            windows in prop::collection::vec(
                (0..3_i64, 0..3_i64, 1..4_usize, prop_oneof![0.0..10.0_f64, Just(0.0), Just(5e-324)],
                 prop_oneof![-1.0..100.0_f64, Just(0.0), Just(5e-324), Just(f64::INFINITY)]),
                1..20,
            ),
            is_counter: bool,
        ) {
            let kind = RateKind { is_counter, per_second: true };
            let mut extrapolation = Extrapolation::new(kind);
            for (step, (before, after, n_gaps, first_value, increase)) in (0..).zip(windows) {
                let start = step * 60_000;
                let (first, last) = (start + before * 9_000, start + before * 9_000 + 20_000);
                let end = last + after * 7_000;
                let zero =
                    (increase > 0.0 && first_value >= 0.0).then(|| first_value / increase);
                let samples = Stretch { first, last, n_gaps, zero, since: None };
                let found = extrapolation.factor(
                    (first, last), n_gaps, (start, end), (first_value, increase),
                );
                prop_assert_eq!(found.to_bits(), stretch(samples, start, end, kind).to_bits());
            }
        }
    }
}
