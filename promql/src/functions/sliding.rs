//! Aggregations that slide: each sample is looked at a constant number of times, however far
//! windows overlap.
//!
//! Extremes are kept in a queue whose values only rise or only fall. Sums are kept in two stacks
//! (one of suffix sums, one running sum), so that nothing is ever subtracted and no digits are
//! lost: the result is that of a compensated sum taken in another order of association.

use std::collections::VecDeque;
use std::ops::Range;

use super::sum::Sum;

/// The extreme value of a sliding window.
#[derive(Clone, Debug)]
pub(crate) struct Extreme {
    /// Indices of values, each more extreme than those behind it.
    queue: VecDeque<usize>,
    seen: usize,
    /// 1 for the largest, -1 for the smallest.
    sign: f64,
    /// Among equal values, whether the newest one wins.
    newest: bool,
}

impl Extreme {
    pub(crate) fn new(largest: bool, newest: bool) -> Self {
        let sign = if largest { 1.0 } else { -1.0 };
        Self { queue: VecDeque::new(), seen: 0, sign, newest }
    }

    /// Index of the extreme among `values[window]`, which is not empty; its bounds never go back.
    /// NaN loses to every number.
    pub(crate) fn slide(&mut self, values: &[f64], window: Range<usize>) -> usize {
        for index in self.seen.max(window.start)..window.end {
            self.push(values, index);
        }
        self.seen = self.seen.max(window.end);
        while self.queue.front().is_some_and(|index| *index < window.start) {
            self.queue.pop_front();
        }
        self.queue.front().copied().unwrap_or(window.end - 1)
    }

    fn push(&mut self, values: &[f64], index: usize) {
        let new = values[index] * self.sign;
        while let Some(back) = self.queue.back() {
            let old = values[*back] * self.sign;
            let beaten = new > old || old.is_nan() || (self.newest && new == old);
            if !beaten {
                break;
            }
            self.queue.pop_back();
        }
        self.queue.push_back(index);
    }
}

/// The sum of a sliding window of finite values.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlidingSum {
    /// `suffixes[i]` is the sum of the values from `split - 1 - i` up to `split`.
    suffixes: Vec<Sum>,
    /// End of the values that `suffixes` covers.
    split: usize,
    /// Sum of the values from `split` to `end`.
    rest: Sum,
    end: usize,
}

impl SlidingSum {
    /// Sum of `values[window]`, which is not empty; its bounds never go back.
    pub(crate) fn slide(&mut self, values: &[f64], window: Range<usize>) -> Sum {
        if window.start >= self.split {
            self.rebuild(values, &window);
        }
        for value in &values[self.end..window.end] {
            self.rest.add(*value);
        }
        self.end = window.end;
        let covered = self.split.saturating_sub(window.start);
        match covered.checked_sub(1).and_then(|last| self.suffixes.get(last)) {
            Some(suffix) => {
                let mut sum = *suffix;
                sum.merge(self.rest);
                sum
            }
            None => self.rest,
        }
    }

    /// Makes suffix sums of the whole window.
    fn rebuild(&mut self, values: &[f64], window: &Range<usize>) {
        self.suffixes.clear();
        let mut sum = Sum::default();
        for value in values[window.clone()].iter().rev() {
            sum.add(*value);
            self.suffixes.push(sum);
        }
        self.split = window.end;
        self.rest = Sum::default();
        self.end = window.end;
    }
}

/// Whether sums over such windows are better carried over than taken afresh, and may be: a value
/// near the largest could make a partial sum overflow that the whole does not.
pub(crate) fn pays(values: &[f64], range_ms: i64, step_ms: i64) -> bool {
    const SAFE: f64 = 1e300;
    range_ms / step_ms.max(1) >= 4 && values.iter().all(|value| value.abs() < SAFE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Windows whose bounds never go back, over `len` values.
    fn windows(len: usize) -> impl Strategy<Value = Vec<Range<usize>>> {
        prop::collection::vec((0..4_usize, 0..6_usize), 1..30).prop_map(move |moves| {
            let (mut start, mut end) = (0, 1);
            let mut all = Vec::new();
            for (by, to) in moves {
                start = (start + by).min(len - 1);
                end = (end + to).clamp(start + 1, len);
                all.push(start..end);
            }
            all
        })
    }

    proptest! {
        #[test]
        fn sliding_equals_looking_afresh(
            values in prop::collection::vec(-1e6..1e6_f64, 40),
            windows in windows(40),
        ) {
            let mut sums = SlidingSum::default();
            let (mut high, mut low) = (Extreme::new(true, false), Extreme::new(false, true));
            for window in windows {
                let slice = &values[window.clone()];
                let sum = sums.slide(&values, window.clone()).total();
                prop_assert!((sum - slice.iter().sum::<f64>()).abs() < 1e-6);
                let max = slice.iter().copied().fold(f64::MIN, f64::max);
                let min = slice.iter().copied().fold(f64::MAX, f64::min);
                prop_assert_eq!(values[high.slide(&values, window.clone())], max);
                prop_assert_eq!(values[low.slide(&values, window)], min);
            }
        }
    }

    #[test]
    fn nan_loses_and_ties_go_the_asked_way() {
        let values = [f64::NAN, 2.0, f64::NAN, 2.0, f64::NAN];
        let mut first = Extreme::new(true, false);
        assert_eq!(first.slide(&values, 0..5), 1);
        assert_eq!(first.slide(&values, 2..5), 3);
        assert_eq!(first.slide(&values, 4..5), 4);
        assert_eq!(Extreme::new(true, true).slide(&values, 0..5), 3);
    }
}
