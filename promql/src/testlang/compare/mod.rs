//! Whether a result is the expected one.

mod histogram;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ferula_chunkenc::histogram::FloatHistogram;
use ferula_chunkenc::{Sample, SampleBatch, stale};
use ferula_index::Labels;

use self::histogram::almost_equal_histograms;
use super::parse::{Eval, EvalTime, Expected, Steps};
use super::series::{SeriesLine, SeriesValue};
use crate::{Annotations, MatrixSeries, Value, VectorSample};

/// Relative error that is allowed.
const EPSILON: f64 = 1e-6;

/// How a result differs from the expected one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The result has another type.
    #[error("expected {expected}, got {found}")]
    Type {
        /// What was expected.
        expected: &'static str,
        /// What came out.
        found: String,
    },
    /// A series that was not expected.
    #[error("unexpected series {labels} with {values}")]
    UnexpectedSeries {
        /// The series.
        labels: Labels,
        /// Its values.
        values: String,
    },
    /// A series that is not there.
    #[error("expected series {labels} not found")]
    MissingSeries {
        /// The series.
        labels: Labels,
    },
    /// A series stands in the wrong place.
    #[error("expected {labels} at position {expected} but it is at {found}")]
    Position {
        /// The series.
        labels: Labels,
        /// Its position in the script, from 1.
        expected: usize,
        /// Its position in the result, from 1.
        found: usize,
    },
    /// A matrix is not sorted by labels.
    #[error("{labels} is out of order in a matrix")]
    Unsorted {
        /// A series that sorts before the one in front of it.
        labels: Labels,
    },
    /// A series has values at other times.
    #[error("expected {labels} to have {expected}, got {found}")]
    Points {
        /// The series.
        labels: Labels,
        /// Times and values expected.
        expected: String,
        /// Times and values that came out.
        found: String,
    },
    /// A value is another one.
    #[error("expected {expected} for {labels} at {timestamp}, got {found}")]
    Value {
        /// The series.
        labels: Labels,
        /// When, in milliseconds since the Unix epoch.
        timestamp: i64,
        /// The value expected.
        expected: String,
        /// The value that came out.
        found: String,
    },
    /// The script expects more values than the query has steps.
    #[error("{labels} is expected at more steps than the query has")]
    TooManyPoints {
        /// The series.
        labels: Labels,
    },
    /// An annotation was expected that did not come up.
    #[error("expected {kind} {expected} not found among {found:?}")]
    MissingAnnotation {
        /// `warning` or `info`.
        kind: &'static str,
        /// What was expected.
        expected: String,
        /// What came up.
        found: Vec<String>,
    },
    /// An annotation came up that was not expected.
    #[error("unexpected {kind}: {found}")]
    UnexpectedAnnotation {
        /// `warning` or `info`.
        kind: &'static str,
        /// What came up.
        found: String,
    },
}

/// Tells whether two values are equal as far as rounding allows. Staleness markers equal only each
/// other, and so do other NaNs.
pub(super) fn almost_equal(a: f64, b: f64) -> bool {
    if stale::is_stale(a) || stale::is_stale(b) {
        return stale::is_stale(a) && stale::is_stale(b);
    }
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, diff) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < EPSILON * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < EPSILON
}

/// A value of a result, or the one expected.
#[derive(Clone, Copy)]
enum Point<'a> {
    Float(f64),
    Histogram {
        histogram: &'a FloatHistogram,
        /// Whether the counter reset hint of the expected one matters.
        is_hint_set: bool,
    },
}

impl<'a> Point<'a> {
    fn found(value: f64, histogram: Option<&'a Arc<FloatHistogram>>) -> Self {
        match histogram {
            Some(histogram) => Self::Histogram { histogram, is_hint_set: false },
            None => Self::Float(value),
        }
    }

    /// The expected value; `None` if there is to be none.
    fn expected(value: &'a SeriesValue) -> Option<Self> {
        match value {
            SeriesValue::Omitted => None,
            SeriesValue::Float(value) => Some(Self::Float(*value)),
            SeriesValue::Histogram { histogram, is_hint_set } => {
                Some(Self::Histogram { histogram, is_hint_set: *is_hint_set })
            }
        }
    }

    /// Tells whether `found` will do where this is expected.
    fn accepts(self, found: Self) -> bool {
        match (self, found) {
            (Self::Float(expected), Self::Float(found)) => almost_equal(expected, found),
            (
                Self::Histogram { histogram: expected, is_hint_set },
                Self::Histogram { histogram: found, .. },
            ) => almost_equal_histograms(expected, found, is_hint_set),
            _ => false,
        }
    }
}

impl fmt::Display for Point<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(value) => value.fmt(f),
            Self::Histogram { histogram, .. } => {
                write!(f, "{histogram} ({:?})", histogram.counter_reset_hint)
            }
        }
    }
}

/// Values with their times, for messages.
struct Points<'a>(&'a [(i64, Point<'a>)]);

impl fmt::Display for Points<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, (timestamp, point)) in self.0.iter().enumerate() {
            let separator = if i > 0 { ", " } else { "" };
            write!(f, "{separator}{point} @ {timestamp}")?;
        }
        f.write_str("]")
    }
}

/// Compares a result with what an evaluation expects.
pub(super) fn compare(eval: &Eval, value: &Value) -> Result<(), Mismatch> {
    match (value, &eval.expected) {
        (Value::String { text, .. }, Expected::String(expected)) if text == expected => Ok(()),
        (Value::Scalar(sample), Expected::Scalar(expected)) => {
            let (expected, found) = (Point::Float(*expected), Point::Float(sample.value));
            equal(&Labels::empty(), sample.timestamp, expected, found)
        }
        (Value::Vector(vector), Expected::Series(expected)) => {
            compare_vector(vector, expected, eval.is_ordered)
        }
        (Value::Matrix(_), _) if eval.is_ordered => {
            Err(Mismatch::Type { expected: "an ordered vector", found: "a matrix".to_owned() })
        }
        (Value::Matrix(matrix), Expected::Series(expected)) => {
            compare_matrix(matrix, expected, steps(eval))
        }
        (found, expected) => Err(Mismatch::Type {
            expected: match expected {
                Expected::Scalar(_) => "a scalar",
                Expected::String(_) => "a certain string",
                Expected::Series(_) => "series",
            },
            found: match found {
                Value::Scalar(sample) => format!("scalar {}", sample.value),
                Value::String { text, .. } => format!("string {text:?}"),
                Value::Vector(_) => "a vector".to_owned(),
                Value::Matrix(_) => "a matrix".to_owned(),
            },
        }),
    }
}

fn steps(eval: &Eval) -> Steps {
    match (eval.window, eval.time) {
        (Some(steps), _) | (None, EvalTime::Range(steps)) => steps,
        (None, EvalTime::Instant(at)) => Steps { start: at, end: at, step: 1 },
    }
}

fn equal(
    labels: &Labels,
    timestamp: i64,
    expected: Point<'_>,
    found: Point<'_>,
) -> Result<(), Mismatch> {
    if expected.accepts(found) {
        return Ok(());
    }
    let (expected, found) = (expected.to_string(), found.to_string());
    Err(Mismatch::Value { labels: labels.clone(), timestamp, expected, found })
}

/// Expected series with their positions from 1; a later line replaces an earlier one.
fn by_labels(expected: &[SeriesLine]) -> BTreeMap<&Labels, (usize, &[SeriesValue])> {
    expected
        .iter()
        .enumerate()
        .map(|(i, line)| (&line.labels, (i + 1, line.values.as_slice())))
        .collect()
}

fn compare_vector(
    vector: &[VectorSample],
    expected: &[SeriesLine],
    is_ordered: bool,
) -> Result<(), Mismatch> {
    let expected = by_labels(expected);
    let mut missing = expected.clone();
    for (i, sample) in vector.iter().enumerate() {
        let labels = &sample.labels;
        let found = Point::found(sample.value, sample.histogram.as_ref());
        let Some((position, values)) = expected.get(labels) else {
            return Err(Mismatch::UnexpectedSeries {
                labels: labels.clone(),
                values: found.to_string(),
            });
        };
        if is_ordered && *position != i + 1 {
            return Err(Mismatch::Position {
                labels: labels.clone(),
                expected: *position,
                found: i + 1,
            });
        }
        let value =
            values.first().ok_or_else(|| Mismatch::TooManyPoints { labels: labels.clone() })?;
        // No value stands for zero here.
        let value = Point::expected(value).unwrap_or(Point::Float(0.0));
        equal(labels, sample.timestamp, value, found)?;
        missing.remove(labels);
    }
    nothing_missing(&missing)
}

fn nothing_missing(missing: &BTreeMap<&Labels, (usize, &[SeriesValue])>) -> Result<(), Mismatch> {
    match missing.keys().next() {
        Some(labels) => Err(Mismatch::MissingSeries { labels: (*labels).clone() }),
        None => Ok(()),
    }
}

fn compare_matrix(
    matrix: &[MatrixSeries],
    expected: &[SeriesLine],
    steps: Steps,
) -> Result<(), Mismatch> {
    is_sorted(matrix)?;
    let expected = by_labels(expected);
    let mut missing = expected.clone();
    for series in matrix {
        let labels = &series.labels;
        let found = points(&series.samples);
        let Some((_, values)) = expected.get(labels) else {
            return Err(Mismatch::UnexpectedSeries {
                labels: labels.clone(),
                values: Points(&found).to_string(),
            });
        };
        let mut points = Vec::new();
        for (i, value) in values.iter().enumerate() {
            let timestamp = i64::try_from(i)
                .ok()
                .and_then(|i| steps.step.checked_mul(i)?.checked_add(steps.start))
                .filter(|timestamp| *timestamp <= steps.end)
                .ok_or_else(|| Mismatch::TooManyPoints { labels: labels.clone() })?;
            points.extend(Point::expected(value).map(|point| (timestamp, point)));
        }
        let times = |points: &[(i64, Point<'_>)]| points.iter().map(|p| p.0).collect::<Vec<_>>();
        if times(&points) != times(&found) {
            return Err(Mismatch::Points {
                labels: labels.clone(),
                expected: Points(&points).to_string(),
                found: Points(&found).to_string(),
            });
        }
        for ((timestamp, expected), (_, found)) in points.iter().zip(&found) {
            equal(labels, *timestamp, *expected, *found)?;
        }
        missing.remove(labels);
    }
    nothing_missing(&missing)
}

fn points(samples: &SampleBatch) -> Vec<(i64, Point<'_>)> {
    let point = |(i, sample): (usize, Sample)| {
        (sample.timestamp, Point::found(sample.value, samples.histogram(i)))
    };
    samples.iter().enumerate().map(point).collect()
}

/// Checks that a matrix is sorted by labels, as the result of a range query must be.
pub(super) fn is_sorted(matrix: &[MatrixSeries]) -> Result<(), Mismatch> {
    match matrix.windows(2).find(|pair| pair[0].labels > pair[1].labels) {
        Some(pair) => Err(Mismatch::Unsorted { labels: pair[1].labels.clone() }),
        None => Ok(()),
    }
}

/// Compares annotations with what an evaluation expects. `query` is the text they are about.
pub(super) fn compare_annotations(
    eval: &Eval,
    annotations: &Annotations,
    query: &str,
) -> Result<(), Mismatch> {
    let kinds = [
        ("warning", &eval.warns, eval.no_warn, annotations.warnings(query)),
        ("info", &eval.infos, eval.no_info, annotations.infos(query)),
    ];
    for (kind, expected, none_allowed, found) in kinds {
        if let Some(test) = expected.iter().find(|test| !found.iter().any(|text| test.passes(text)))
        {
            let expected = format!("{test:?}");
            return Err(Mismatch::MissingAnnotation { kind, expected, found });
        }
        let is_expected = |text: &String| {
            !none_allowed && (expected.is_empty() || expected.iter().any(|t| t.passes(text)))
        };
        if let Some(found) = found.into_iter().find(|text| !is_expected(text)) {
            return Err(Mismatch::UnexpectedAnnotation { kind, found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_equal_up_to_rounding() {
        assert!(almost_equal(1.0, 1.0 + 1e-7));
        assert!(!almost_equal(1.0, 1.0 + 1e-5));
        assert!(!almost_equal(0.0, 1e-9));
        assert!(almost_equal(f64::NAN, stale::NORMAL_NAN));
        assert!(!almost_equal(f64::NAN, stale::STALE_NAN));
        assert!(almost_equal(stale::STALE_NAN, stale::STALE_NAN));
        assert!(almost_equal(f64::INFINITY, f64::INFINITY));
        assert!(!almost_equal(f64::INFINITY, 1.0));
    }
}
