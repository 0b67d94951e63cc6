//! Windows of samples at regular times: all of them have as many samples, and lie one behind the other.
//!
//! Nearly all series are scraped at regular times, but for a scrape that is late now and then, and nearly
//! all ranges and steps are multiples of those. Finding each window anew costs more than most functions do
//! with it, and keeps the processor from computing several at once.

use std::ops::Range;

use super::window::{Window, Windows};
use crate::vectorized::vectorized;

/// Fewest steps that are worth to be treated apart.
const MIN_STEPS: usize = 16;

/// Most samples for each step of a query that are worth to be looked at.
const MAX_SAMPLES_A_STEP: usize = 8;

/// Samples whose times are looked at together.
const PART_SAMPLES: usize = 16;

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
    /// How far the first sample is behind the start of a window, and the last one before its end, if they
    /// are on time; in milliseconds.
    pub(super) margins: (i64, i64),
    /// The samples that are not on time, without any effect on which samples a window has.
    odd: Vec<usize>,
}

impl Run {
    /// The first sample of the window that ends at a step of the run.
    pub(super) fn first_of(&self, step: usize) -> usize {
        self.first + (step - self.steps.start) * self.stride
    }

    /// The window that ends at a step of the run.
    pub(super) fn window(&self, step: usize, windows: &Windows) -> Window {
        let first = self.first_of(step);
        let end = windows.shift.apply(windows.grid.time(step));
        let start = end.saturating_sub(windows.range_ms);
        Window { step, start, end, samples: first..first + self.n_samples }
    }

    /// The steps whose windows hold the sample at `before` and the one behind it.
    pub(super) fn steps_with_pair(&self, before: usize) -> Range<usize> {
        let from = (before + 2).saturating_sub(self.first + self.n_samples).div_ceil(self.stride);
        let past = match before.checked_sub(self.first) {
            Some(behind) => behind / self.stride + 1,
            None => 0,
        };
        let n_steps = self.steps.len();
        self.steps.start + from.min(n_steps)..self.steps.start + past.min(n_steps)
    }

    /// The windows that begin or end with a sample that is not on time.
    pub(super) fn odd_windows(&self, windows: &Windows) -> impl Iterator<Item = Window> {
        let step_at = |from: usize, sample: usize| {
            let behind = sample.checked_sub(from)?;
            let step = self.steps.start + behind / self.stride;
            (behind % self.stride == 0 && step < self.steps.end).then_some(step)
        };
        let last = self.first + self.n_samples - 1;
        let steps = self.odd.iter().flat_map(move |&sample| {
            [step_at(self.first, sample), step_at(last, sample).filter(|_| self.n_samples > 1)]
        });
        steps.flatten().map(|step| self.window(step, windows))
    }
}

/// Samples at equal distances.
struct Regular {
    samples: Range<usize>,
    /// Time of the first sample, were it on time, and from one to the next.
    oldest: i64,
    gap: i64,
    /// How much too early the earliest is, not above zero, and how much too late the latest.
    earliest: i64,
    latest: i64,
    odd: Vec<usize>,
}

impl Windows {
    /// The steps at which windows are regular, in order; at the others they may have any shape.
    pub(super) fn runs(&self, timestamps: &[i64]) -> Vec<Run> {
        let mut runs = Vec::new();
        // Where there are many more samples than steps, looking at their distances costs more than it
        // saves.
        let is_worth_it =
            self.grid.len >= MIN_STEPS && timestamps.len() <= MAX_SAMPLES_A_STEP * self.grid.len;
        if self.boundary.is_some() || self.shift.at.is_some() || !is_worth_it {
            return runs;
        }
        let mut from = 0;
        while from + MIN_STEPS < timestamps.len() {
            let regular = Regular::new(timestamps, from);
            from = regular.samples.end.max(from + 1);
            runs.extend(self.run(timestamps.len(), regular));
        }
        runs
    }

    /// The windows that have nothing but samples of these.
    fn run(&self, n_samples: usize, regular: Regular) -> Option<Run> {
        let Regular { samples, oldest, gap, earliest, latest, odd } = regular;
        let step = self.grid.step;
        if gap <= 0 || step % gap != 0 || samples.len() < MIN_STEPS {
            return None;
        }
        let index_at = |time: i64| (time - oldest).div_euclid(gap);
        let n = i64::try_from(samples.len()).ok()?;
        let first_end = self.shift.apply(self.grid.start);
        // The sample before a window is one of these, and so is the one behind it, if there is one.
        let from = oldest.checked_add(self.range_ms)?.checked_sub(first_end)?;
        let from = (from.div_euclid(step) + i64::from(from.rem_euclid(step) > 0)).max(0);
        let last = if samples.end < n_samples { n - 2 } else { n - 1 };
        let end = oldest.checked_add(gap.checked_mul(last + 1)?)?.checked_sub(1)?;
        let past = end.checked_sub(first_end)?.div_euclid(step).checked_add(1)?;
        let past = usize::try_from(past).ok()?.min(self.grid.len);
        let from = usize::try_from(from).ok()?;
        if past < from.checked_add(MIN_STEPS)? {
            return None;
        }
        let window_end = self.shift.apply(self.grid.time(from));
        let window_start = window_end - self.range_ms;
        let (before, newest) = (index_at(window_start), index_at(window_end));
        // However early or late samples are, those of one window are not in another one.
        let keeps_place = |time: i64, index: i64| {
            let behind = time - oldest - index * gap;
            latest <= behind && behind < earliest + gap
        };
        let is_placed = keeps_place(window_start, before) && keeps_place(window_end, newest);
        if newest <= before || !is_placed {
            return None;
        }
        Some(Run {
            steps: from..past,
            first: samples.start + usize::try_from(before + 1).ok()?,
            n_samples: usize::try_from(newest - before).ok()?,
            stride: usize::try_from(step / gap).ok()?,
            margins: (
                oldest + (before + 1) * gap - window_start,
                window_end - oldest - newest * gap,
            ),
            odd,
        })
    }
}

impl Regular {
    /// The samples from `from` on that are, but for small delays, as far apart as some of the first of them.
    fn new(timestamps: &[i64], from: usize) -> Self {
        let (samples, odd) = (from..from + 1, Vec::new());
        let mut regular = Self { samples, oldest: 0, gap: 0, earliest: 0, latest: 0, odd };
        // Two equal gaps in a row are between samples on time.
        let gaps = timestamps[from..].windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        let pairs = gaps.clone().zip(gaps.skip(1)).take(MIN_STEPS);
        let mut equal = (0_i64..).zip(pairs).filter(|(_, (gap, next))| gap == next);
        let Some((at, (gap, _))) = equal.next() else { return regular };
        let Some(oldest) = at
            .checked_mul(gap)
            .and_then(|behind| timestamps[from + usize::try_from(at).ok()?].checked_sub(behind))
        else {
            return regular;
        };
        (regular.oldest, regular.gap) = (oldest, gap);
        let (mut expected, tolerance) = (oldest, (gap / 4).unsigned_abs());
        let mut end = from;
        'regular: for part in timestamps[from..].chunks(PART_SAMPLES) {
            if are_on_time(part, expected, gap) {
                end += part.len();
                expected = expected.saturating_add(gap.saturating_mul(PART_SAMPLES as i64));
                continue;
            }
            for &time in part {
                let late = time.wrapping_sub(expected);
                if late != 0 {
                    if late.unsigned_abs() > tolerance {
                        break 'regular;
                    }
                    regular.earliest = regular.earliest.min(late);
                    regular.latest = regular.latest.max(late);
                    regular.odd.push(end);
                }
                end += 1;
                expected = expected.saturating_add(gap);
            }
        }
        regular.samples.end = end.max(from + 1);
        regular
    }
}

/// Tells whether samples are exactly `gap` apart, from `first` on. False if that is beyond all times.
fn are_on_time(times: &[i64], first: i64, gap: i64) -> bool {
    let Ok(times) = <&[i64; PART_SAMPLES]>::try_from(times) else { return false };
    vectorized(
        #[inline(always)]
        || {
            let (mut expected, mut differing) = (first, 0);
            for time in times {
                differing |= time ^ expected;
                expected = expected.wrapping_add(gap);
            }
            differing == 0
        },
    )
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
        let (margins, odd) = ((3, 12), vec![]);
        let expected = Run { steps: 3..51, first: 2, n_samples: 4, stride: 2, margins, odd };
        assert_eq!(runs, [expected]);
        assert_eq!(windows(0, 20, 60, 60).runs(&times), []);
    }

    proptest! {
        #[test]
        fn runs_say_of_windows_what_these_are(
            gaps in prop::collection::vec((1..4_i64, 1..60_usize), 1..5),
            late in prop::collection::vec((0..200_usize, -9..10_i64), 0..8),
            start in -50..500_i64,
            step in 1..13_i64,
            len in 1..200_usize,
            range in 1..40_i64,
        ) {
            let gaps = gaps.into_iter().flat_map(|(gap, n)| std::iter::repeat_n(gap * 20, n));
            let mut times: Vec<i64> =
                gaps.scan(0, |time, gap| { *time += gap; Some(*time) }).collect();
            for (at, late) in late {
                if let Some(time) = times.get_mut(at) {
                    *time = (*time / 20) * 20 + late;
                }
            }
            let windows = windows(start, step * 20, len, range * 10);
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
                let odd: Vec<usize> = run.odd_windows(&windows).map(|w| w.step).collect();
                for step in run.steps.clone() {
                    let Window { start, end, samples, .. } =
                        run.window(step, &windows);
                    prop_assert_eq!(&samples, &found[step]);
                    let (first, last) = (times[samples.start], times[samples.end - 1]);
                    let is_on_time = (first - start, end - last) == run.margins;
                    prop_assert_eq!(is_on_time, !odd.contains(&step));
                }
                for before in 0..times.len() {
                    let with_pair = |step: &usize| {
                        found[*step].contains(&before) && found[*step].contains(&(before + 1))
                    };
                    let expected: Vec<usize> = run.steps.clone().filter(with_pair).collect();
                    let steps: Vec<usize> = run.steps_with_pair(before).collect();
                    prop_assert_eq!(steps, expected);
                }
            }
        }
    }
}
