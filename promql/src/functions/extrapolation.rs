//! Extrapolation to the bounds of windows, remembered from one window to the next.
//!
//! Where samples and steps are regular, the windows of a series have the same shape nearly always, and
//! how far to extrapolate depends on the shape alone, but for counters that may have been zero within
//! the window. What is computed is what [`stretch`] computes, to the bit.

use super::rate::{RateKind, Stretch, reach_back, seconds, stretch};
use crate::vectorized::vectorized;

/// How the samples of a window lie in it; times in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shape {
    before: i64,
    sampled: i64,
    after: i64,
    n_gaps: usize,
}

/// What a shape decides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reach {
    /// Of what it was found; there is no window of no length.
    shape: Shape,
    is_counter: bool,
    /// By what increases are multiplied, if the counter was not zero within the window.
    factor: f64,
    /// Seconds from the first to the last sample, and before the first one.
    sampled: f64,
    to_start: f64,
}

/// Extrapolates the increases of windows of one length.
#[derive(Clone, Debug)]
pub(crate) struct Extrapolation {
    kind: RateKind,
    /// Of the shape that was looked at last.
    last: Reach,
}

/// Increases below this are looked at exactly: products with them may lose digits.
const TINY: f64 = 1e-280;

impl Extrapolation {
    pub(crate) fn new(kind: RateKind) -> Self {
        Self { kind, last: Reach::default() }
    }

    /// What the shape of a window decides.
    #[inline]
    pub(crate) fn reach(&mut self, window: WindowShape) -> Reach {
        let WindowShape { first, last, n_gaps, start, end } = window;
        let (before, after) = (first - start, end - last);
        let shape = Shape { before, sampled: last - first, after, n_gaps };
        if self.last.shape != shape {
            self.look_at(shape, window);
        }
        self.last
    }

    fn look_at(&mut self, shape: Shape, window: WindowShape) {
        let WindowShape { start, end, .. } = window;
        let samples = window.stretch(None);
        self.last = Reach {
            shape,
            is_counter: self.kind.is_counter,
            factor: stretch(samples, start, end, self.kind),
            sampled: seconds(shape.sampled),
            to_start: reach_back(samples, start),
        };
    }

    /// By what the increase between the first and the last sample of a window, which have the values `ends`,
    /// stands for the whole window, or for a second of it.
    #[inline]
    pub(crate) fn factor(&mut self, window: WindowShape, ends: (f64, f64)) -> f64 {
        let reach = self.reach(window);
        if reach.is_plain(ends.0, ends.1) {
            return reach.factor;
        }
        let zero = ends.0 / (ends.1 - ends.0);
        stretch(window.stretch(Some(zero)), window.start, window.end, self.kind)
    }
}

/// The ends of a window and of its samples; times in milliseconds.
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

impl WindowShape {
    fn stretch(self, zero: Option<f64>) -> Stretch {
        let Self { first, last, n_gaps, .. } = self;
        Stretch { first, last, n_gaps, zero, since: None }
    }
}

impl Reach {
    /// The increases of many windows of this shape, extrapolated. `ends` are the values from the first and
    /// from the last sample of the first window on, of which every other window has those `stride` further
    /// on. False if not all of them are [plain](Self::is_plain).
    pub(crate) fn apply_all(self, ends: (&[f64], &[f64]), stride: usize, out: &mut [f64]) -> bool {
        vectorized(
            #[inline(always)]
            || {
                let mut are_plain = true;
                let mut one = |(out, (first, last)): (&mut f64, (&f64, &f64))| {
                    are_plain &= self.is_plain(*first, *last);
                    *out = (*last - *first) * self.factor;
                };
                if stride == 1 {
                    out.iter_mut().zip(ends.0.iter().zip(ends.1)).for_each(&mut one);
                } else {
                    let (first, last) = (ends.0.iter(), ends.1.iter());
                    let pairs = first.step_by(stride).zip(last.step_by(stride));
                    out.iter_mut().zip(pairs).for_each(&mut one);
                }
                are_plain
            },
        )
    }

    /// Tells whether a window with these values at its ends is extrapolated by its shape alone: unless it is
    /// one of a counter that may have been zero within.
    ///
    /// Far above zero, which is the rule, it was not. That saves a division, and what rounding could change
    /// is left to it.
    #[inline(always)]
    pub(crate) fn is_plain(&self, first: f64, last: f64) -> bool {
        let increase = last - first;
        let may_be_zero = self.is_counter & (increase > 0.0) & (first >= 0.0);
        let reach = self.to_start * (1.0 + 1e-9);
        let is_far = (self.sampled * first > reach * increase) & (increase > TINY);
        !may_be_zero | is_far
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
            for (step, (before, after, n_gaps, first_value, increase)) in (0_i64..).zip(windows) {
                let start = step * 60_000;
                let (first, last) = (start + before * 9_000, start + before * 9_000 + 20_000);
                let end = last + after * 7_000;
                let ends = (first_value, first_value + increase);
                let increase = ends.1 - ends.0;
                let zero =
                    (increase > 0.0 && first_value >= 0.0).then(|| first_value / increase);
                let samples = Stretch { first, last, n_gaps, zero, since: None };
                let window = WindowShape { first, last, n_gaps, start, end };
                let found = extrapolation.factor(window, ends);
                prop_assert_eq!(found.to_bits(), stretch(samples, start, end, kind).to_bits());
            }
        }
    }
}
