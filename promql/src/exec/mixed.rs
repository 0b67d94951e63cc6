//! Range functions of series with native histograms, beside floats or alone.
//!
//! Most functions take floats and pass over histograms; they run as ever over what is left
//! without these. Those that take both tell apart windows of floats, of histograms, and mixed
//! ones, which most refuse with a warning.

use std::ops::Range;
use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::FloatHistogram;

use super::batch::Column;
use super::notes::Notes;
use super::scan::set_sample;
use super::window::{Window, Windowed, Windows, count};
use crate::ast::Boundary;
use crate::functions::RangeFunction;
use crate::functions::native_rate::{self, HistogramWindow, Pair};
use crate::functions::native_sum::HistogramSum;
use crate::functions::rate::{self, RateKind};
use crate::functions::starts::Starts;
use crate::{AnnotationKind, Error, HistogramOperation};

/// The samples of a series by type.
struct Split {
    float_times: Vec<i64>,
    float_starts: Vec<i64>,
    floats: Vec<f64>,
    histogram_times: Vec<i64>,
    histogram_starts: Vec<i64>,
    histograms: Vec<Arc<FloatHistogram>>,
    /// Whether each histogram follows a counter reset; empty if nobody asks.
    resets: Vec<bool>,
    /// Number of histograms before each sample, and in all.
    before: Vec<usize>,
}

impl Split {
    fn new(batch: &SampleBatch, starts: Starts<'_>, with_resets: bool) -> Self {
        let mut split = Self {
            float_times: Vec::new(),
            float_starts: Vec::new(),
            floats: Vec::new(),
            histogram_times: Vec::new(),
            histogram_starts: Vec::new(),
            histograms: Vec::new(),
            resets: Vec::new(),
            before: vec![0],
        };
        for (index, (time, value)) in batch.timestamps().iter().zip(batch.values()).enumerate() {
            let has_starts = !starts.is_empty();
            match batch.histogram(index) {
                Some(histogram) => {
                    split.histogram_times.push(*time);
                    split.histogram_starts.extend(has_starts.then(|| starts.get(index)));
                    split.histograms.push(Arc::clone(histogram));
                }
                None => {
                    split.float_times.push(*time);
                    split.float_starts.extend(has_starts.then(|| starts.get(index)));
                    split.floats.push(*value);
                }
            }
            split.before.push(split.histograms.len());
        }
        if with_resets {
            split.resets.extend(split.histograms.first().map(|_| false));
            let pairs = split.histograms.windows(2);
            split.resets.extend(pairs.map(|pair| pair[1].detect_reset(&pair[0])));
        }
        split
    }

    /// Computes a function over the floats alone.
    fn compute_floats(&self, windowed: &mut Windowed, out: &mut Column) -> Result<(), Error> {
        let starts = Starts::new(&self.float_times, &self.float_starts);
        windowed.compute_floats(&self.float_times, &self.floats, starts, out)
    }

    /// Indices of the histograms among some samples.
    fn histograms_of(&self, samples: &Range<usize>) -> Range<usize> {
        self.before[samples.start]..self.before[samples.end]
    }

    fn has_float(&self, samples: &Range<usize>) -> bool {
        self.histograms_of(samples).len() < samples.len()
    }
}

/// Computes a function over all windows of a series with histograms.
pub(super) fn compute(
    windowed: &mut Windowed,
    batch: &SampleBatch,
    starts: Starts<'_>,
    notes: Notes<'_>,
    out: &mut Column,
) -> Result<(), Error> {
    use RangeFunction as F;
    let windows = windowed.windows.clone();
    let times = batch.timestamps();
    match windowed.function {
        F::Count | F::Present | F::Absent | F::TsOfFirst | F::TsOfLast => {
            return windowed.compute_floats(times, batch.values(), starts, out);
        }
        F::First => {
            out.reset(windows.grid.len)?;
            windows.each(times, |w| set_sample(out, w.step, batch, w.samples.start));
        }
        F::Last => {
            out.reset(windows.grid.len)?;
            windows.each(times, |w| set_sample(out, w.step, batch, w.samples.end - 1));
        }
        F::Resets | F::Changes => count_marks(windowed.function, &windows, batch, starts, out)?,
        F::Irate | F::Idelta => {
            out.reset(windows.grid.len)?;
            let kind = RateKind::of(windowed.function);
            windows.each(times, |w| last_two(batch, starts, &w, kind, notes, out));
        }
        F::Rate | F::Increase | F::Delta | F::Sum | F::Avg => {
            let function = windowed.function;
            let split = Split::new(batch, starts, function.wants_counter());
            split.compute_floats(windowed, out)?;
            windows.each(times, |w| {
                let histograms = split.histograms_of(&w.samples);
                if histograms.is_empty() {
                    return;
                }
                if split.has_float(&w.samples) {
                    out.unset(w.step);
                    notes.add(AnnotationKind::MixedFloatsHistograms { metric: notes.metric() });
                    return;
                }
                let found = match function {
                    F::Sum | F::Avg => {
                        over_time(&split.histograms[histograms], function == F::Avg, notes)
                    }
                    _ => rate_of(&split, histograms, &w, &windows, function, notes),
                };
                if let Some(histogram) = found {
                    out.set_histogram(w.step, Arc::new(histogram));
                }
            });
        }
        _ => {
            let split = Split::new(batch, starts, false);
            split.compute_floats(windowed, out)?;
            let mut ignored = false;
            windows.each(times, |w| {
                let is_mixed =
                    split.has_float(&w.samples) && !split.histograms_of(&w.samples).is_empty();
                ignored |= is_mixed;
            });
            if ignored {
                let metric = notes.metric();
                notes.add(AnnotationKind::HistogramIgnoredInMixedRange { metric });
            }
        }
    }
    Ok(())
}

/// Rate, increase or delta of a window of histograms.
fn rate_of(
    split: &Split,
    histograms: Range<usize>,
    window: &Window,
    windows: &Windows,
    function: RangeFunction,
    notes: Notes<'_>,
) -> Option<FloatHistogram> {
    let of_window = HistogramWindow {
        timestamps: &split.histogram_times[histograms.clone()],
        resets: split.resets.get(histograms.clone()).unwrap_or_default(),
        starts: Starts::new(&split.histogram_times, &split.histogram_starts)
            .slice(histograms.clone()),
        histograms: &split.histograms[histograms],
        start: window.start,
        end: window.end,
        metric: notes.metric,
    };
    let kind = RateKind::of(function);
    let mut found = Vec::new();
    let rate = match windows.boundary {
        None => native_rate::extrapolated(of_window, kind, &mut found),
        Some(boundary) => {
            let smoothed = boundary == Boundary::Smoothed;
            native_rate::extended(of_window, smoothed, kind, &mut found)
        }
    };
    notes.take(&mut found);
    rate
}

/// Sum or mean of a window of histograms.
fn over_time(
    histograms: &[Arc<FloatHistogram>],
    mean: bool,
    notes: Notes<'_>,
) -> Option<FloatHistogram> {
    let (first, others) = histograms.split_first()?;
    let mut sum = HistogramSum::new(first, mean);
    for histogram in others {
        if sum.add(histogram).is_err() {
            notes.add(AnnotationKind::MixedExponentialCustom { metric: notes.metric() });
            return None;
        }
    }
    let operation = HistogramOperation::Aggregation;
    if sum.has_collision() {
        notes.add(AnnotationKind::CounterResetCollision { operation });
    }
    if sum.was_reconciled() {
        notes.add(AnnotationKind::MismatchedCustomBuckets { operation });
    }
    Some(sum.into_total())
}

/// Rate or delta between the last two samples of a window.
fn last_two(
    batch: &SampleBatch,
    starts: Starts<'_>,
    window: &Window,
    kind: RateKind,
    notes: Notes<'_>,
    out: &mut Column,
) {
    if window.samples.len() < 2 {
        return;
    }
    let last = window.samples.end - 1;
    let pair = last - 1..last + 1;
    let timestamps = &batch.timestamps()[pair.clone()];
    let starts = starts.slice(pair.clone());
    match (batch.histogram(last - 1), batch.histogram(last)) {
        (None, None) => {
            let values = &batch.values()[pair];
            let (start, end) = (window.start, window.end);
            let span = rate::Span { timestamps, values, starts, start, end };
            if let Some(rate) = rate::instant(span, kind) {
                out.set(window.step, rate);
            }
        }
        (Some(before), Some(last)) => {
            let mut found = Vec::new();
            let ms = timestamps[1] - timestamps[0];
            let (is_reset, metric) = (starts.is_reset(0), notes.metric);
            let pair = Pair { before, last, ms, is_reset, metric };
            let rate = native_rate::instant(pair, kind, &mut found);
            notes.take(&mut found);
            if let Some(rate) = rate {
                out.set_histogram(window.step, Arc::new(rate));
            }
        }
        _ => notes.add(AnnotationKind::MixedFloatsHistograms { metric: notes.metric() }),
    }
}

/// Counts the resets or changes within each window; a change of type is both.
fn count_marks(
    function: RangeFunction,
    windows: &Windows,
    batch: &SampleBatch,
    starts: Starts<'_>,
    out: &mut Column,
) -> Result<(), Error> {
    out.reset(windows.grid.len)?;
    let (times, values) = (batch.timestamps(), batch.values());
    let is_marked = |at: usize| match (batch.histogram(at - 1), batch.histogram(at)) {
        (None, None) if function == RangeFunction::Resets => {
            values[at] < values[at - 1] || starts.is_reset(at - 1)
        }
        (None, None) => {
            values[at] != values[at - 1] && !(values[at].is_nan() && values[at - 1].is_nan())
        }
        (Some(before), Some(histogram)) if function == RangeFunction::Resets => {
            starts.is_reset(at - 1) || histogram.detect_reset(before)
        }
        (Some(before), Some(histogram)) => !histogram.equals(before),
        _ => true,
    };
    // `marks[i]` is the number of marked samples up to and including the one at `i`.
    let mut marks = vec![0_usize];
    for at in 1..values.len() {
        marks.push(marks[at - 1] + usize::from(is_marked(at)));
    }
    windows.each(times, |w| {
        if let Some(first) = windows.first_to_compare(times, &w) {
            out.set(w.step, count(marks[w.samples.end - 1] - marks[first]));
        }
    });
    Ok(())
}
