//! Trends: linear regression and double exponential smoothing.

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
    use super::*;

    #[test]
    fn lines_are_found() {
        let (slope, value) = linear_regression(&[0, 1000, 2000], &[1.0, 3.0, 5.0], 1000);
        assert!((slope - 2.0).abs() < 1e-12 && (value - 3.0).abs() < 1e-12);
        assert_eq!(linear_regression(&[0, 1000], &[7.0, 7.0], 0), (0.0, 7.0));
    }

    #[test]
    fn straight_lines_are_not_smoothed() {
        let level = double_exponential_smoothing(&[1.0, 2.0, 3.0], 0.3, 0.3).unwrap();
        assert!((level - 3.0).abs() < 1e-12);
        assert_eq!(double_exponential_smoothing(&[1.0], 0.3, 0.3), None);
    }
}
