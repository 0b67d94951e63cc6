//! How fast values change: from the first to the last sample of a window, and between the last two.
//!
//! Extrapolation to the bounds of the window follows Prometheus's `extrapolatedRate`, the variants
//! for `anchored` and `smoothed` its `extendedRate`.

use std::ops::Range;

use super::RangeFunction;
use super::starts::Starts;

/// What a function of this module computes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateKind {
    /// Falls are counter resets, and values below zero cannot have been.
    pub(crate) is_counter: bool,
    /// The result is per second.
    pub(crate) per_second: bool,
}

impl RateKind {
    pub(crate) fn of(function: RangeFunction) -> Self {
        Self {
            is_counter: matches!(
                function,
                RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Irate
            ),
            per_second: matches!(function, RangeFunction::Rate | RangeFunction::Irate),
        }
    }
}

/// Samples of a window, and the window itself; times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    pub(crate) timestamps: &'a [i64],
    pub(crate) values: &'a [f64],
    pub(crate) starts: Starts<'a>,
    /// Exclusive.
    pub(crate) start: i64,
    /// Inclusive.
    pub(crate) end: i64,
}

#[expect(clippy::cast_precision_loss, reason = "spans of time are far below 2^53 ms")]
pub(crate) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1e3
}

/// Rate, increase or delta over the window, extrapolated to its bounds.
///
/// `lost` are the values before which a counter fell, in order of time.
pub(crate) fn extrapolated(
    window: Span<'_>,
    lost: impl Iterator<Item = f64>,
    kind: RateKind,
) -> Option<f64> {
    let Span { timestamps, values, starts, start, end } = window;
    let last = values.len().checked_sub(1)?;
    let since = if kind.is_counter { starts.zero_within(start) } else { None };
    if last == 0 && since.is_none() {
        return None;
    }
    let mut result = values[last] - values[0];
    if kind.is_counter {
        for value in lost {
            result += value;
        }
    }
    if since.is_some() {
        result += values[0];
    }
    let zero = (result > 0.0 && values[0] >= 0.0).then(|| values[0] / result);
    let (first, last_at) = (timestamps[0], timestamps[last]);
    let samples = Stretch { first, last: last_at, n_gaps: last, zero, since };
    Some(result * stretch(samples, start, end, kind))
}

/// The samples of a window, as far as they decide how far to extrapolate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    /// Times of the first and the last one.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// One less than their number; zero only if there is a `since`.
    pub(crate) n_gaps: usize,
    /// How long before the first one a counter was zero if it always rose like that, in multiples
    /// of the time between first and last.
    pub(crate) zero: Option<f64>,
    /// When the counter is known to have been zero; the increase is that since then.
    pub(crate) since: Option<i64>,
}

/// How many times the usual gap away from its bound a window is taken to begin or end with its
/// samples.
const FAR: f64 = 1.1;

/// Seconds between two samples, on average.
fn average_gap(samples: Stretch) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 samples")]
    let n_gaps = samples.n_gaps as f64;
    if samples.n_gaps > 0 { seconds(samples.last - samples.first) / n_gaps } else { 0.0 }
}

/// How many seconds to extrapolate before the first sample, unless a counter was zero later.
pub(crate) fn reach_back(samples: Stretch, start: i64) -> f64 {
    let to_start = seconds(samples.first - start);
    let average = average_gap(samples);
    if to_start >= average * FAR { average / 2.0 } else { to_start }
}

/// By what an increase between samples is multiplied to stand for the whole window, or for a second
/// of it.
pub(crate) fn stretch(samples: Stretch, start: i64, end: i64, kind: RateKind) -> f64 {
    let mut to_start = reach_back(samples, start);
    let mut to_end = seconds(end - samples.last);
    let mut sampled = seconds(samples.last - samples.first);
    let average = average_gap(samples);
    let threshold = average * FAR;
    if let Some(since) = samples.since {
        to_start = 0.0;
        sampled = seconds(samples.last - since);
    } else {
        if let (true, Some(zero)) = (kind.is_counter, samples.zero) {
            to_start = to_start.min(sampled * zero);
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    if kind.per_second {
        factor /= seconds(end - start);
    }
    factor
}

/// Rate or delta between the last two samples of a window.
pub(crate) fn instant(window: Span<'_>, kind: RateKind) -> Option<f64> {
    let Span { timestamps, values, starts, .. } = window;
    let &[.., before, last] = values else { return None };
    let &[.., before_at, last_at] = timestamps else { return None };
    if last_at == before_at {
        return None;
    }
    let is_reset = kind.is_counter && (last < before || starts.is_reset(values.len() - 2));
    let mut result = if is_reset { last } else { last - before };
    if kind.per_second {
        result /= seconds(last_at - before_at);
    }
    Some(result)
}

/// Rate, increase or delta between the bounds of the window, for `anchored` and `smoothed`.
///
/// The samples reach beyond the window: back to one before its start at least if there is one, and
/// ahead too if `smoothed`.
pub(crate) fn extended(window: Span<'_>, smoothed: bool, kind: RateKind) -> Option<f64> {
    let Extended { left, right, inside } = extend(&window, smoothed, kind.is_counter)?;
    let mut result = right - left;
    if kind.is_counter {
        // What was lost is summed up by itself, as Prometheus does.
        let (mut before, mut lost) = (left, 0.0);
        for &value in window.values[inside].iter().chain([&right]) {
            if value < before {
                lost += before;
            }
            before = value;
        }
        result += lost;
    }
    Some(if kind.per_second { result / seconds(window.end - window.start) } else { result })
}

/// The samples of the window with values at its very bounds.
pub(crate) fn extended_samples(window: Span<'_>, smoothed: bool) -> Vec<(i64, f64)> {
    let Some(Extended { left, right, inside }) = extend(&window, smoothed, false) else {
        return Vec::new();
    };
    let samples = inside.map(|index| (window.timestamps[index], window.values[index]));
    [(window.start, left)].into_iter().chain(samples).chain([(window.end, right)]).collect()
}

/// A window with values at its bounds.
struct Extended {
    left: f64,
    right: f64,
    /// Indices of the samples strictly between the bounds.
    inside: Range<usize>,
}

/// Finds the values at the bounds of a window; `None` if there is nothing to find them from.
fn extend(window: &Span<'_>, smoothed: bool, is_counter: bool) -> Option<Extended> {
    let Span { timestamps, start, end, .. } = *window;
    let mut last = timestamps.len().checked_sub(1)?;
    let mut first = timestamps[..last].partition_point(|t| *t <= start).saturating_sub(1);
    if smoothed {
        last = timestamps[..last].partition_point(|t| *t < end);
    }
    if timestamps[last] <= start || (smoothed && timestamps[first] > end) {
        return None;
    }
    let left = left_bound(window, first, smoothed, is_counter);
    let right = right_bound(window, last, smoothed, is_counter);
    if timestamps[first] <= start {
        first += 1;
    }
    let behind = if timestamps[last] >= end { last } else { last + 1 };
    Some(Extended { left, right, inside: first..behind.max(first) })
}

fn left_bound(window: &Span<'_>, first: usize, smoothed: bool, is_counter: bool) -> f64 {
    if smoothed && window.timestamps[first] < window.start && first + 1 < window.values.len() {
        return interpolate(window, first, window.start, is_counter);
    }
    window.values[first]
}

fn right_bound(window: &Span<'_>, last: usize, smoothed: bool, is_counter: bool) -> f64 {
    if smoothed && last > 0 && window.timestamps[last] > window.end {
        return interpolate(window, last - 1, window.end, is_counter);
    }
    window.values[last]
}

fn interpolate(window: &Span<'_>, index: usize, time: i64, is_counter: bool) -> f64 {
    let at = |i: usize| (window.timestamps[i], window.values[i]);
    between(at(index), at(index + 1), time, is_counter)
}

/// The value at `time` on the line between two samples; a counter that was reset between them is
/// taken to have started from zero.
#[expect(clippy::cast_precision_loss, reason = "spans of time are far below 2^53 ms")]
pub(crate) fn between(
    (from, low): (i64, f64),
    (to, high): (i64, f64),
    time: i64,
    is_counter: bool,
) -> f64 {
    let low = if is_counter && high < low { 0.0 } else { low };
    low + (high - low) * (time - from) as f64 / (to - from) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: RateKind = RateKind { is_counter: true, per_second: true };

    fn window<'a>(timestamps: &'a [i64], values: &'a [f64], start: i64, end: i64) -> Span<'a> {
        Span { timestamps, values, starts: Starts::NONE, start, end }
    }

    fn none() -> std::iter::Empty<f64> {
        std::iter::empty()
    }

    #[test]
    fn rates_are_extrapolated_to_near_bounds_only() {
        let (times, values) = ([10_000, 20_000, 30_000], [100.0, 110.0, 120.0]);
        let near = extrapolated(window(&times, &values, 0, 40_000), none(), RATE);
        assert_eq!(near, Some(1.0));
        let far = extrapolated(window(&times, &values, -100_000, 140_000), none(), RATE).unwrap();
        assert!((far - 30.0 / 240.0).abs() < 1e-12);
        assert_eq!(extrapolated(window(&times[..1], &values[..1], 0, 40_000), none(), RATE), None);
    }

    #[test]
    fn resets_add_what_was_lost() {
        let (times, values) = ([0, 10_000, 20_000], [5.0, 2.0, 4.0]);
        let kind = RateKind { is_counter: true, per_second: false };
        assert_eq!(
            extrapolated(window(&times, &values, 0, 20_000), [5.0].into_iter(), kind),
            Some(4.0)
        );
        assert_eq!(instant(window(&times[..2], &values[..2], 0, 20_000), RATE), Some(0.2));
    }

    #[test]
    fn starts_within_the_window_are_zeros() {
        let (times, values) = ([20_000, 30_000], [5.0, 8.0]);
        let kind = RateKind { is_counter: true, per_second: false };
        let since = |starts, n| Span {
            starts: Starts::new(&times[..n], starts),
            ..window(&times[..n], &values[..n], 10_000, 30_000)
        };
        assert_eq!(extrapolated(since(&[15_000], 1), none(), kind), Some(5.0));
        assert_eq!(extrapolated(since(&[10_000], 1), none(), kind), None);
        assert_eq!(extrapolated(since(&[15_000; 2], 2), none(), kind), Some(8.0));
        assert_eq!(extrapolated(since(&[15_000; 2], 2), [5.0].into_iter(), kind), Some(13.0));
        let delta = RateKind { is_counter: false, per_second: false };
        assert_eq!(extrapolated(since(&[15_000], 1), none(), delta), None);
        assert_eq!(instant(since(&[15_000, 25_000], 2), RATE), Some(0.8));
        assert_eq!(instant(since(&[15_000, 25_000], 2), delta), Some(3.0));
    }

    #[test]
    fn bounds_are_interpolated_if_smoothed() {
        let (times, values) = ([0, 10_000, 20_000], [0.0, 10.0, 20.0]);
        let kind = RateKind { is_counter: true, per_second: false };
        assert_eq!(extended(window(&times, &values, 5_000, 15_000), true, kind), Some(10.0));
        assert_eq!(extended(window(&times, &values, 5_000, 25_000), false, kind), Some(20.0));
        assert_eq!(
            extended_samples(window(&times, &values, 5_000, 15_000), true),
            [(5_000, 5.0), (10_000, 10.0), (15_000, 15.0)]
        );
        assert_eq!(extended_samples(window(&times, &values, 30_000, 40_000), false), []);
    }
}
