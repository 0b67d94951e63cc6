//! Windows of samples at regular times: all of them have the same shape, and lie one behind the other.
//!
//! Nearly all series are scraped at regular times, and nearly all ranges and steps are multiples of
//! those. Finding each window anew costs more than most functions do with it, and keeps the processor
//! from computing several at once.

use std::ops::Range;

use super::window::Windows;

/// Fewest steps that are worth to be treated apart.
const MIN_STEPS: usize = 16;

/// Steps that are computed together, before one that is out of the ordinary is looked for.
const PART_STEPS: usize = 64;

/// Gaps between samples that are compared without looking at the outcome in between.
const GAPS_AT_ONCE: usize = 32;

/// Windows that lie within samples at equal distances, for steps that are multiples of that apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The steps whose windows these are.
    pub(super) steps: Range<usize>,
    /// The first sample of the first window.
    pub(super) first: usize,
    /// Samples of each window, at least one.
    pub(super) n_samples: usize,
    /// Samples from one window to the next.
    pub(super) stride: usize,
}

impl Run {
    /// The steps, some at a time.
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let steps = self.steps.clone();
        let end = steps.end;
        steps.step_by(PART_STEPS).map(move |from| from..end.min(from + PART_STEPS))
    }

    /// The first sample of the window that ends at a step of the run.
    pub(super) fn first_of(&self, step: usize) -> usize {
        self.first + (step - self.steps.start) * self.stride
    }
}

impl Windows {
    /// The steps at which windows are regular, in order; at the others they may have any shape.
    pub(super) fn runs(&self, timestamps: &[i64]) -> Vec<Run> {
        let mut runs = Vec::new();
        if self.boundary.is_some() || self.shift.at.is_some() || self.grid.len < MIN_STEPS {
            return runs;
        }
        let mut from = 0;
        while from + MIN_STEPS < timestamps.len() {
            let gap = timestamps[from + 1] - timestamps[from];
            let to = from + 1 + equal_gaps(&timestamps[from..], gap);
            runs.extend(self.run(timestamps, from..to, gap));
            from = (to - 1).max(from + 1);
        }
        runs
    }

    /// The windows that have nothing but samples from a range, all of which are `gap` apart.
    fn run(&self, timestamps: &[i64], samples: Range<usize>, gap: i64) -> Option<Run> {
        let step = self.grid.step;
        if gap <= 0 || step % gap != 0 || samples.len() < MIN_STEPS {
            return None;
        }
        let (oldest, newest) = (timestamps[samples.start], timestamps[samples.end - 1]);
        // The last window may not reach up to the next sample, wherever that is.
        let end = if samples.end < timestamps.len() { newest.checked_sub(1)? } else { newest };
        let end = end.checked_add(if samples.end < timestamps.len() { 0 } else { gap - 1 })?;
        let first_end = self.shift.apply(self.grid.start);
        let ends_from = oldest.checked_add(self.range_ms)?;
        let from = ceiling(ends_from.checked_sub(first_end)?, step).max(0);
        let past = end.checked_sub(first_end)?.checked_div_euclid(step)?.checked_add(1)?;
        let past = usize::try_from(past).ok()?.min(self.grid.len);
        let from = usize::try_from(from).ok()?;
        if past < from.checked_add(MIN_STEPS)? {
            return None;
        }
        let window_end = first_end + step * i64::try_from(from).ok()?;
        let behind_start = window_end - self.range_ms - oldest;
        let first = samples.start + usize::try_from(behind_start.div_euclid(gap) + 1).ok()?;
        let last = samples.start + usize::try_from((window_end - oldest).div_euclid(gap)).ok()?;
        let n_samples = (last + 1).checked_sub(first).filter(|n| *n > 0)?;
        let stride = usize::try_from(step / gap).ok()?;
        Some(Run { steps: from..past, first, n_samples, stride })
    }
}

fn ceiling(n: i64, by: i64) -> i64 {
    n.div_euclid(by) + i64::from(n.rem_euclid(by) > 0)
}

/// How many gaps from the first one on are `gap`.
fn equal_gaps(timestamps: &[i64], gap: i64) -> usize {
    let n_gaps = timestamps.len() - 1;
    let mut n = 0;
    while n + GAPS_AT_ONCE <= n_gaps {
        let part = &timestamps[n..=n + GAPS_AT_ONCE];
        let differ = part.windows(2).fold(0, |differ, pair| differ | ((pair[1] - pair[0]) ^ gap));
        if differ != 0 {
            break;
        }
        n += GAPS_AT_ONCE;
    }
    n + timestamps[n..].windows(2).take_while(|pair| pair[1] - pair[0] == gap).count()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::exec::Context;
    use crate::exec::batch::Grid;
    use crate::plan::Shift;

    fn windows(start: i64, step: i64, len: usize, range_ms: i64) -> Windows {
        Windows {
            grid: Grid { start, step, len, is_range: true },
            shift: Shift { offset_ms: 0, at: None },
            range_ms,
            boundary: None,
            lookback_ms: 0,
            use_starts: false,
            limits: Arc::clone(&Context::unbounded().limits),
        }
    }

    #[test]
    fn all_inner_windows_of_a_regular_series_are_one_run() {
        let times: Vec<i64> = (0..100).map(|i| 3 + i * 15).collect();
        let runs = windows(0, 30, 60, 60).runs(&times);
        // The first window that begins with samples ends at 63, the last one before 1503.
        let expected = Run { steps: 3..51, first: 2, n_samples: 4, stride: 2 };
        assert_eq!(runs, [expected]);
        assert_eq!(windows(0, 20, 60, 60).runs(&times), []);
    }

    proptest! {
        #[test]
        fn runs_say_of_windows_what_these_are(
            gaps in prop::collection::vec((1..4_i64, 1..60_usize), 1..5),
            start in -50..500_i64,
            step in 1..13_i64,
            len in 1..200_usize,
            range in 1..40_i64,
        ) {
            let gaps = gaps.into_iter().flat_map(|(gap, n)| std::iter::repeat_n(gap * 2, n));
            let times: Vec<i64> = gaps.scan(0, |time, gap| { *time += gap; Some(*time) }).collect();
            let windows = windows(start, step * 2, len, range);
            let mut found = vec![0..0; len];
            windows.each(&times, |w| found[w.step] = w.samples);
            let mut next = 0;
            for run in windows.runs(&times) {
                prop_assert!(run.steps.start >= next && run.steps.end <= len);
                next = run.steps.end;
                for step in run.steps.clone() {
                    let first = run.first_of(step);
                    prop_assert_eq!(&found[step], &(first..first + run.n_samples));
                }
            }
        }
    }
}
