//! Trends: linear regression and double exponential smoothing.

use std::ops::Range;

use super::sum::Sum;

/// Slope and value at `origin` of the line of least squares through the samples; times in
/// milliseconds, the slope per second. There is at least one sample.
#[expect(clippy::cast_precision_loss, reason = "spans of time are far below 2^53 ms")]
pub(crate) fn linear_regression(timestamps: &[i64], values: &[f64], origin: i64) -> (f64, f64) {
    let first = values[0];
    if values.iter().all(|value| *value == first) || values.len() == 1 {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut sum_x, mut sum_y) = (Sum::default(), Sum::default());
    let (mut sum_xy, mut sum_xx) = (Sum::default(), Sum::default());
    for (time, value) in timestamps.iter().zip(values) {
        let x = time.saturating_sub(origin) as f64 / 1e3;
        sum_x.add(x);
        sum_y.add(*value);
        sum_xy.add(x * value);
        sum_xx.add(x * x);
    }
    let n = values.len() as f64;
    let (x, y) = (sum_x.total(), sum_y.total());
    let covariance = sum_xy.total() - x * y / n;
    let variance = sum_xx.total() - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// Sums from which the line of least squares through some samples follows. Times are exact; they are
/// told from an origin near the samples, so that products lose no more than those of a single window.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    x_ms: i64,
    xx_ms: i128,
    y: Sum,
    xy: Sum,
}

impl Moments {
    #[expect(clippy::cast_precision_loss, reason = "spans of time are far below 2^53 ms")]
    fn add(&mut self, x_ms: i64, y: f64) {
        self.x_ms += x_ms;
        self.xx_ms += i128::from(x_ms) * i128::from(x_ms);
        self.y.add(y);
        self.xy.add(x_ms as f64 / 1e3 * y);
    }

    fn merge(&mut self, other: Self) {
        self.x_ms += other.x_ms;
        self.xx_ms += other.xx_ms;
        self.y.merge(other.y);
        self.xy.merge(other.xy);
    }
}

/// The line of least squares through the samples of a sliding window, whose values are finite.
///
/// Each sample is looked at twice: sums are kept in two stacks, as in
/// [`SlidingSum`](super::sliding::SlidingSum), so that nothing is ever subtracted. The last digits
/// differ from those of [`linear_regression`], which sums up each window in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlidingLine {
    /// `suffixes[i]` sums up the samples from `split - 1 - i` up to `split`.
    suffixes: Vec<Moments>,
    /// End of the samples that `suffixes` covers.
    split: usize,
    /// Sums of the samples from `split` to `end`.
    rest: Moments,
    end: usize,
    origin: i64,
    /// Where the run of equal values that ends at `end` begins.
    equal_from: usize,
}

impl SlidingLine {
    /// Slope per second and value at `at` of the line through `window`, which has two samples at
    /// least; its bounds never go back.
    #[expect(clippy::cast_precision_loss, reason = "spans of time are far below 2^53 ms")]
    pub(crate) fn slide(
        &mut self,
        timestamps: &[i64],
        values: &[f64],
        window: Range<usize>,
        at: i64,
    ) -> (f64, f64) {
        let n = window.len() as f64;
        let sums = self.sums(timestamps, values, &window);
        if self.equal_from <= window.start {
            return (0.0, values[window.start]);
        }
        let (x, xx) = (sums.x_ms as f64 / 1e3, sums.xx_ms as f64 / 1e6);
        let y = sums.y.total();
        let slope = (sums.xy.total() - x * y / n) / (xx - x * x / n);
        let to_origin = (at - self.origin) as f64 / 1e3;
        (slope, y / n - slope * (x / n - to_origin))
    }

    fn sums(&mut self, timestamps: &[i64], values: &[f64], window: &Range<usize>) -> Moments {
        if window.start >= self.split {
            self.suffixes.clear();
            self.origin = timestamps[window.end - 1];
            let mut sums = Moments::default();
            for at in window.clone().rev() {
                sums.add(timestamps[at] - self.origin, values[at]);
                self.suffixes.push(sums);
            }
            for at in self.end.max(1)..window.end {
                self.note_equal(values, at);
            }
            self.split = window.end;
            self.rest = Moments::default();
            self.end = window.end;
        }
        for at in self.end..window.end {
            self.rest.add(timestamps[at] - self.origin, values[at]);
            self.note_equal(values, at);
        }
        self.end = self.end.max(window.end);
        let covered = self.split - window.start;
        let mut sums = self.suffixes[covered - 1];
        sums.merge(self.rest);
        sums
    }

    fn note_equal(&mut self, values: &[f64], at: usize) {
        if at > 0 && values[at] != values[at - 1] {
            self.equal_from = at;
        }
    }
}

/// The last value of the series smoothed by Holt's linear method; `None` below two samples.
pub(crate) fn double_exponential_smoothing(
    values: &[f64],
    smoothing: f64,
    trend: f64,
) -> Option<f64> {
    let [first, second, ..] = *values else { return None };
    let mut slope = second - first;
    let (mut before, mut level) = (0.0, first);
    for (i, value) in values[1..].iter().enumerate() {
        if i > 0 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + slope);
        (before, level) = (level, next);
    }
    Some(level)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_found() {
        let (slope, value) = linear_regression(&[0, 1000, 2000], &[1.0, 3.0, 5.0], 1000);
        assert!((slope - 2.0).abs() < 1e-12 && (value - 3.0).abs() < 1e-12);
        assert_eq!(linear_regression(&[0, 1000], &[7.0, 7.0], 0), (0.0, 7.0));
    }

    proptest! {
        #[test]
        fn sliding_lines_are_those_of_their_windows(
            samples in prop::collection::vec((1..60_000_i64, prop_oneof![
                3 => -1e6..1e6_f64,
                1 => Just(7.0),
            ]), 60),
            moves in prop::collection::vec((0..3_usize, 0..4_usize), 40),
        ) {
            let mut time = 1_700_000_000_000;
            let mut times = Vec::new();
            for (gap, _) in &samples {
                time += gap;
                times.push(time);
            }
            let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
            let mut line = SlidingLine::default();
            let (mut start, mut end) = (0, 2);
            for (by, to) in moves {
                start = (start + by).min(values.len() - 2);
                end = (end + to).clamp(start + 2, values.len());
                let window = start..end;
                let at = times[end - 1] + 5_000;
                let (slope, value) = line.slide(&times, &values, window.clone(), at);
                let (times, values) = (&times[window.clone()], &values[window]);
                let (expected_slope, expected) = linear_regression(times, values, at);
                let scale = values.iter().fold(1.0, |max: f64, value| max.max(value.abs()));
                let span = (times[times.len() - 1] - times[0]) as f64 / 1e3;
                prop_assert!((slope - expected_slope).abs() * span <= 1e-9 * scale);
                prop_assert!((value - expected).abs() <= 1e-8 * scale.max(expected.abs()));
                if values.iter().all(|value| *value == values[0]) {
                    prop_assert_eq!((slope, value), (0.0, values[0]));
                }
            }
        }
    }

    #[test]
    fn straight_lines_are_not_smoothed() {
        let level = double_exponential_smoothing(&[1.0, 2.0, 3.0], 0.3, 0.3).unwrap();
        assert!((level - 3.0).abs() < 1e-12);
        assert_eq!(double_exponential_smoothing(&[1.0], 0.3, 0.3), None);
    }
}
