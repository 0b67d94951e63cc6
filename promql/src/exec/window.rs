//! Windows over the samples of a series, and what range functions make of them.
//!
//! Times are walked with two cursors that never go back, so that finding the windows costs what the
//! samples and steps cost. Functions that need no more than the ends of a window, counts, extremes
//! or sums carry their state along; the others look at each window afresh.

use std::ops::Range;
use std::sync::Arc;

use super::batch::{Column, Grid};
use super::notes::Notes;
use super::{Scalar, mixed};
use crate::ast::Boundary;
use crate::functions::extrapolation::{Extrapolation, WindowShape};
use crate::functions::rate::{self, RateKind};
use crate::functions::sliding::{self, Extreme, SlidingSum};
use crate::functions::starts::Starts;
use crate::functions::{RangeFunction, over_time, trend};
use crate::host::{Computes, FloatWindow, HostFunction, HostFunctions, MAX_HOST_SCALARS};
use crate::limits::Limits;
use crate::plan::Shift;
use crate::vectorized::vectorized;
use crate::{AnnotationKind, Error, ParameterError, StartTimeOverlap};
use ferula_chunkenc::SampleBatch;

/// Samples in windows after which time and cancellation are looked at.
const CHECK_EVERY: usize = 1 << 16;

/// The windows of all steps.
#[derive(Clone)]
pub(super) struct Windows {
    pub(super) grid: Grid,
    pub(super) shift: Shift,
    pub(super) range_ms: i64,
    pub(super) boundary: Option<Boundary>,
    pub(super) lookback_ms: i64,
    /// Start timestamps tell of counter resets.
    pub(super) use_starts: bool,
    pub(super) limits: Arc<Limits>,
}

/// One window: left-open, right-closed.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) step: usize,
    /// Exclusive.
    pub(super) start: i64,
    /// Inclusive.
    pub(super) end: i64,
    /// The samples in it, and beyond it as far as an extended selector reaches; never empty.
    pub(super) samples: Range<usize>,
}

impl Windows {
    /// Calls `each` with every window that has samples. Stops early if the query has to, which
    /// [`Windowed::compute`] makes an error of.
    #[inline]
    pub(super) fn each(&self, timestamps: &[i64], each: impl FnMut(Window)) {
        self.each_of(0..self.grid.len, timestamps, each);
    }

    /// Calls `each` with the windows of some steps that have samples, as [`each`](Self::each) does.
    #[inline]
    pub(super) fn each_of(
        &self,
        steps: Range<usize>,
        timestamps: &[i64],
        mut each: impl FnMut(Window),
    ) {
        let back = if self.boundary.is_some() { self.lookback_ms } else { 0 };
        let ahead = if self.smoothed() { self.lookback_ms } else { 0 };
        let (mut low, mut high, mut unchecked) = (0, 0, 0);
        if steps.start > 0 {
            let end = self.shift.apply(self.grid.time(steps.start));
            let from = end.saturating_sub(self.range_ms).saturating_sub(back);
            low = timestamps.partition_point(|time| *time <= from);
        }
        let start = self.grid.time(steps.start);
        let times = self.shift.times(Grid { start, len: steps.len(), ..self.grid });
        for (step, end) in steps.zip(times) {
            let start = end.saturating_sub(self.range_ms);
            let (from, to) = (start.saturating_sub(back), end.saturating_add(ahead));
            while low < timestamps.len() && timestamps[low] <= from {
                low += 1;
            }
            high = high.max(low);
            while high < timestamps.len() && timestamps[high] <= to {
                high += 1;
            }
            if low < high {
                unchecked += high - low;
                if unchecked >= CHECK_EVERY {
                    if self.limits.check().is_err() {
                        return;
                    }
                    unchecked = 0;
                }
                if self.limits.ledger().is_overdrawn() {
                    return;
                }
                each(Window { step, start, end, samples: low..high });
            }
        }
    }

    /// Index of the first sample that counts where neighbours are compared: for `anchored` windows
    /// the last one before the window. `None` if no sample lies in the window itself.
    pub(super) fn first_to_compare(&self, times: &[i64], window: &Window) -> Option<usize> {
        let first = window.samples.start;
        if self.boundary != Some(Boundary::Anchored) {
            return Some(first);
        }
        let before = times[window.samples.clone()].partition_point(|t| *t <= window.start);
        let inside = first + before;
        (inside < window.samples.end).then(|| first.max(inside.saturating_sub(1)))
    }

    /// What the start timestamps of a series tell of counter resets.
    pub(super) fn starts<'a>(&self, batch: &'a SampleBatch) -> Starts<'a> {
        if self.use_starts { Starts::of(batch) } else { Starts::NONE }
    }

    fn smoothed(&self) -> bool {
        self.boundary == Some(Boundary::Smoothed)
    }
}

/// A range function, its scalar arguments, and the memory it reuses from series to series.
pub(super) struct Windowed {
    pub(super) function: RangeFunction,
    pub(super) params: Arc<[Scalar]>,
    pub(super) windows: Windows,
    /// Functions that the host program added.
    functions: HostFunctions,
    extrapolation: Extrapolation,
    marks: Vec<usize>,
    scratch: Vec<f64>,
}

impl Windowed {
    pub(super) fn new(
        function: RangeFunction,
        params: Arc<[Scalar]>,
        windows: Windows,
        functions: HostFunctions,
    ) -> Self {
        let extrapolation = Extrapolation::new(RateKind::of(function));
        let (marks, scratch) = (Vec::new(), Vec::new());
        Self { function, params, windows, functions, extrapolation, marks, scratch }
    }

    /// The same with memory of its own.
    pub(super) fn fork(&self) -> Self {
        let (params, functions) = (Arc::clone(&self.params), self.functions.clone());
        Self::new(self.function, params, self.windows.clone(), functions)
    }

    /// Computes the function over all windows of a series.
    pub(super) fn compute(
        &mut self,
        batch: &SampleBatch,
        notes: Notes<'_>,
        out: &mut Column,
    ) -> Result<(), Error> {
        let starts = self.windows.starts(batch);
        if batch.has_histograms() {
            mixed::compute(self, batch, starts, notes, out)?;
        } else {
            self.compute_floats(batch.timestamps(), batch.values(), starts, out)?;
        }
        if starts.any_overlap() {
            self.note_overlaps(batch, starts, notes);
        }
        self.windows.limits.check()
    }

    /// Tells of windows of floats in which start timestamps cannot be right.
    fn note_overlaps(&self, batch: &SampleBatch, starts: Starts<'_>, notes: Notes<'_>) {
        let extrapolates = matches!(self.function, RangeFunction::Rate | RangeFunction::Increase)
            && self.windows.boundary.is_none();
        if !extrapolates {
            return;
        }
        let overlapped: Vec<usize> = starts.overlapped().collect();
        // Overlaps before the current window, which only moves on.
        let mut passed = 0;
        self.windows.each(batch.timestamps(), |w| {
            while passed < overlapped.len() && overlapped[passed] < w.samples.start {
                passed += 1;
            }
            let overlaps = overlapped.get(passed).is_some_and(|before| before + 1 < w.samples.end);
            let is_float = |index| batch.histogram(index).is_none();
            if overlaps && (!batch.has_histograms() || w.samples.clone().all(is_float)) {
                notes.add(AnnotationKind::StartTimeOverlap(StartTimeOverlap::of(notes.metric)));
            }
        });
    }

    /// Computes the function over all windows of a series of floats.
    pub(super) fn compute_floats(
        &mut self,
        times: &[i64],
        values: &[f64],
        starts: Starts<'_>,
        out: &mut Column,
    ) -> Result<(), Error> {
        use RangeFunction as F;
        out.reset(self.windows.grid.len)?;
        let windows = self.windows.clone();
        match self.function {
            F::Rate | F::Increase | F::Delta => self.rate(times, values, starts, out),
            F::Irate | F::Idelta => {
                let kind = RateKind::of(self.function);
                windows.each(times, |w| {
                    if let Some(rate) = rate::instant(span(times, values, starts, &w), kind) {
                        out.set(w.step, rate);
                    }
                });
            }
            F::Resets if starts.is_empty() => {
                self.count_marks(times, out, |i| values[i + 1] < values[i]);
            }
            F::Resets => {
                self.count_marks(times, out, |i| values[i + 1] < values[i] || starts.is_reset(i))
            }
            F::Changes => self.count_marks(times, out, |i| {
                let (before, value) = (values[i], values[i + 1]);
                value != before && !(value.is_nan() && before.is_nan())
            }),
            F::Deriv | F::PredictLinear => self.regression(times, values, out),
            F::DoubleExponentialSmoothing => return self.smoothing(times, values, out),
            F::Sum | F::Avg => self.sum(times, values, out),
            F::Min | F::Max | F::TsOfMin | F::TsOfMax => self.extreme(times, values, out),
            F::Count => windows.each(times, |w| out.set(w.step, count(w.samples.len()))),
            F::First => windows.each(times, |w| out.set(w.step, values[w.samples.start])),
            F::Last => windows.each(times, |w| out.set(w.step, values[w.samples.end - 1])),
            F::Present | F::Absent => windows.each(times, |w| out.set(w.step, 1.0)),
            F::TsOfFirst => {
                windows.each(times, |w| out.set(w.step, seconds(times[w.samples.start])))
            }
            F::TsOfLast => {
                windows.each(times, |w| out.set(w.step, seconds(times[w.samples.end - 1])));
            }
            F::Stdvar => {
                windows.each(times, |w| out.set(w.step, over_time::variance(&values[w.samples])));
            }
            F::Stddev => windows
                .each(times, |w| out.set(w.step, over_time::variance(&values[w.samples]).sqrt())),
            F::Quantile => {
                let scratch = &mut self.scratch;
                let q = self.params.first();
                windows.each(times, |w| {
                    scratch.clear();
                    scratch.extend_from_slice(&values[w.samples]);
                    let q = q.map_or(f64::NAN, |q| q.at(w.step));
                    out.set(w.step, over_time::quantile(q, scratch));
                });
            }
            F::Mad => {
                let scratch = &mut self.scratch;
                windows.each(times, |w| {
                    let values = &values[w.samples];
                    out.set(w.step, over_time::median_absolute_deviation(values, scratch));
                });
            }
            F::Host(place) => self.of_host(place, times, values, out),
        }
        Ok(())
    }

    /// Computes a function of the host program.
    fn of_host(&self, place: usize, times: &[i64], values: &[f64], out: &mut Column) {
        let function = self.functions.get(place).map(HostFunction::computes);
        // The planner takes no other one for a function of windows.
        let Some(Computes::Windows(apply)) = function else { return };
        let mut of_step = [0.0; MAX_HOST_SCALARS];
        self.windows.each(times, |w| {
            let params = of_step.iter_mut().zip(self.params.iter());
            params.for_each(|(to, scalar)| *to = scalar.at(w.step));
            let window = FloatWindow {
                start_ms: w.start,
                end_ms: w.end,
                timestamps: &times[w.samples.clone()],
                values: &values[w.samples],
            };
            if let Some(value) = apply(window, &of_step[..self.params.len()]) {
                out.set(w.step, value);
            }
        });
    }

    fn rate(&mut self, times: &[i64], values: &[f64], starts: Starts<'_>, out: &mut Column) {
        let kind = RateKind::of(self.function);
        let windows = self.windows.clone();
        if windows.boundary.is_some() {
            let smoothed = windows.smoothed();
            windows.each(times, |w| {
                let span = span(times, values, Starts::NONE, &w);
                if let Some(rate) = rate::extended(span, smoothed, kind) {
                    out.set(w.step, rate);
                }
            });
            return;
        }
        let resets = &mut self.marks;
        resets.clear();
        if kind.is_counter {
            let pairs = values.windows(2).enumerate();
            if !starts.is_empty() {
                let is_reset = |(before, pair): &(usize, &[f64])| {
                    pair[1] < pair[0] || starts.is_reset(*before)
                };
                resets.extend(pairs.filter(is_reset).map(|(before, _)| before));
            } else if falls(values) {
                resets
                    .extend(pairs.filter(|(_, pair)| pair[1] < pair[0]).map(|(before, _)| before));
            }
        }
        let extrapolation = &mut self.extrapolation;
        let one = |w: Window, extrapolation: &mut Extrapolation, out: &mut Column| {
            let (first, last) = (w.samples.start, w.samples.end - 1);
            let passed = resets.partition_point(|before| *before < first);
            let has_resets = resets.get(passed).is_some_and(|before| *before < last);
            if starts.is_empty() && !has_resets && first < last {
                let increase = values[last] - values[first];
                let (start, end) = (w.start, w.end);
                let (first_at, last_at, n_gaps) = (times[first], times[last], last - first);
                let shape = WindowShape { first: first_at, last: last_at, n_gaps, start, end };
                let factor = extrapolation.factor(shape, (values[first], values[last]));
                out.set(w.step, increase * factor);
                return;
            }
            let lost = resets[passed..]
                .iter()
                .take_while(|before| **before < last)
                .map(|before| values[*before]);
            let span = span(times, values, starts, &w);
            if let Some(rate) = rate::extrapolated(span, lost, kind) {
                out.set(w.step, rate);
            }
        };
        let runs = if starts.is_empty() { windows.runs(times) } else { Vec::new() };
        let mut next = 0;
        for run in runs.iter().filter(|run| run.n_samples > 1) {
            windows.each_of(next..run.steps.start, times, |w| one(w, extrapolation, out));
            next = run.steps.end;
            let Window { start, end, .. } = run.window(run.steps.start, &windows);
            let n_gaps = run.n_samples - 1;
            let (first, last) = (start + run.margins.0, end - run.margins.1);
            let shape = WindowShape { first, last, n_gaps, start, end };
            let ends = (&values[run.first..], &values[run.first + n_gaps..]);
            let reach = extrapolation.reach(shape);
            if !reach.apply_all(ends, run.stride, out.set_all(run.steps.clone())) {
                for step in run.steps.clone() {
                    let at = run.first_of(step);
                    if !reach.is_plain(values[at], values[at + n_gaps]) {
                        one(run.window(step, &windows), extrapolation, out);
                    }
                }
            }
            let mut done = run.steps.start;
            let from = resets.partition_point(|before| *before < run.first);
            for before in &resets[from..] {
                let steps = run.steps_with_pair(*before);
                for step in steps.start.max(done)..steps.end {
                    one(run.window(step, &windows), extrapolation, out);
                }
                done = done.max(steps.end);
                if steps.start >= run.steps.end {
                    break;
                }
            }
            run.odd_windows(&windows).for_each(|w| one(w, extrapolation, out));
        }
        windows.each_of(next..windows.grid.len, times, |w| one(w, extrapolation, out));
    }

    /// Counts the pairs of samples in each window that differ as `marked` says of the first.
    fn count_marks(&mut self, times: &[i64], out: &mut Column, marked: impl Fn(usize) -> bool) {
        // `marks[i]` is the number of marked samples up to and including the one at `i`.
        let marks = &mut self.marks;
        marks.clear();
        marks.push(0);
        for i in 0..times.len().saturating_sub(1) {
            marks.push(marks[i] + usize::from(marked(i)));
        }
        let windows = self.windows.clone();
        windows.each(times, |w| {
            if let Some(first) = windows.first_to_compare(times, &w) {
                out.set(w.step, count(marks[w.samples.end - 1] - marks[first]));
            }
        });
    }

    fn regression(&mut self, times: &[i64], values: &[f64], out: &mut Column) {
        let windows = self.windows.clone();
        let predict = self.function == RangeFunction::PredictLinear;
        let ahead = self.params.first();
        let moves = windows.grid.len > 1 && windows.shift.at.is_none();
        let slides = moves && sliding::pays(values, windows.range_ms, windows.grid.step);
        let mut line = trend::SlidingLine::default();
        windows.each(times, |w| {
            if slides && w.samples.len() > 1 {
                let at = windows.grid.time(w.step);
                let (slope, value) = line.slide(times, values, w.samples, at);
                let ahead = ahead.map_or(f64::NAN, |ahead| ahead.at(w.step));
                out.set(w.step, if predict { slope * ahead + value } else { slope });
                return;
            }
            let (times, values) = (&times[w.samples.clone()], &values[w.samples]);
            if values.len() < 2 {
                return;
            }
            let origin = if predict { windows.grid.time(w.step) } else { times[0] };
            let (slope, value) = trend::linear_regression(times, values, origin);
            if predict {
                let ahead = ahead.map_or(f64::NAN, |ahead| ahead.at(w.step));
                out.set(w.step, slope * ahead + value);
            } else {
                out.set(w.step, slope);
            }
        });
    }

    fn smoothing(&mut self, times: &[i64], values: &[f64], out: &mut Column) -> Result<(), Error> {
        let [smoothing, trend] = &*self.params else { return Ok(()) };
        let mut failed = None;
        self.windows.each(times, |w| {
            let (smoothing, trend) = (smoothing.at(w.step), trend.at(w.step));
            let invalid = |factor: f64| factor <= 0.0 || factor >= 1.0;
            if invalid(smoothing) {
                failed = failed.take().or(Some(("smoothing", "sf", smoothing)));
            } else if invalid(trend) {
                failed = failed.take().or(Some(("trend", "tf", trend)));
            } else if let Some(value) =
                trend::double_exponential_smoothing(&values[w.samples], smoothing, trend)
            {
                out.set(w.step, value);
            }
        });
        match failed {
            Some((which, short, value)) => {
                Err(Error::Parameter(ParameterError::Factor { which, short, value }))
            }
            None => Ok(()),
        }
    }

    fn sum(&mut self, times: &[i64], values: &[f64], out: &mut Column) {
        let windows = self.windows.clone();
        let mean = self.function == RangeFunction::Avg;
        let moves = windows.grid.len > 1 && windows.shift.at.is_none();
        if !moves || !sliding::pays(values, windows.range_ms, windows.grid.step) {
            let of = if mean { over_time::mean } else { over_time::sum };
            windows.each(times, |w| out.set(w.step, of(&values[w.samples])));
            return;
        }
        let mut sums = SlidingSum::default();
        windows.each(times, |w| {
            let n = count(w.samples.len());
            let sum = sums.slide(values, w.samples);
            let value = if mean { sum.value / n + sum.compensation / n } else { sum.total() };
            out.set(w.step, value);
        });
    }

    fn extreme(&mut self, times: &[i64], values: &[f64], out: &mut Column) {
        use RangeFunction::{Max, TsOfMax, TsOfMin};
        let largest = matches!(self.function, Max | TsOfMax);
        let when = matches!(self.function, TsOfMax | TsOfMin);
        let mut extreme = Extreme::new(largest, when);
        self.windows.each(times, |w| {
            let found = extreme.slide(values, w.samples);
            out.set(w.step, if when { seconds(times[found]) } else { values[found] });
        });
    }
}

/// Tells whether any value is below the one before it.
fn falls(values: &[f64]) -> bool {
    let Some(behind) = values.get(1..) else { return false };
    vectorized(
        #[inline(always)]
        || values.iter().zip(behind).fold(false, |falls, (before, value)| falls | (value < before)),
    )
}

fn span<'a>(
    times: &'a [i64],
    values: &'a [f64],
    starts: Starts<'a>,
    window: &Window,
) -> rate::Span<'a> {
    rate::Span {
        timestamps: &times[window.samples.clone()],
        values: &values[window.samples.clone()],
        starts: starts.slice(window.samples.clone()),
        start: window.start,
        end: window.end,
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are given in seconds")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 samples")]
pub(super) fn count(n: usize) -> f64 {
    n as f64
}
