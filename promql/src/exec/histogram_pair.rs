//! Binary operators with a native histogram on one side at least.

use std::sync::Arc;

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Trim};

use crate::ast::BinaryOp;
use crate::functions::native::{Combined, Incompatible, add, sub};
use crate::{AnnotationKind, HistogramOperation};

/// One side of an operator.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

impl Operand<'_> {
    fn type_name(self) -> &'static str {
        match self {
            Self::Float(_) => "float",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What becomes of a pair.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The operator does not take it: as if the two had not met.
    Refused,
    /// A comparison does not hold.
    False,
    /// A comparison of floats holds, or there is a float as result.
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// Applies an operator to a pair that has a histogram, or to any pair if it is one that trims. What
/// comes up besides is handed to `note`.
pub(super) fn apply(
    op: BinaryOp,
    left: Operand<'_>,
    right: Operand<'_>,
    mut note: impl FnMut(AnnotationKind),
) -> Outcome {
    match (left, right) {
        (Operand::Histogram(left), Operand::Histogram(right)) => match op {
            BinaryOp::Add | BinaryOp::Sub => return combine(op, left, right, note),
            BinaryOp::Eq | BinaryOp::Ne => {
                let holds = left.equals(right) == (op == BinaryOp::Eq);
                return if holds { Outcome::Histogram(Arc::clone(left)) } else { Outcome::False };
            }
            _ => {}
        },
        (Operand::Float(factor), Operand::Histogram(histogram))
        | (Operand::Histogram(histogram), Operand::Float(factor))
            if op == BinaryOp::Mul =>
        {
            return changed(histogram, |result| {
                result.multiply(factor);
                result.compact(0);
            });
        }
        (Operand::Histogram(histogram), Operand::Float(number)) => match op {
            BinaryOp::Div => {
                return changed(histogram, |result| {
                    result.divide(number);
                    result.compact(0);
                });
            }
            BinaryOp::TrimUpper => return changed(histogram, |h| h.trim(number, Trim::KeepBelow)),
            BinaryOp::TrimLower => return changed(histogram, |h| h.trim(number, Trim::KeepAbove)),
            _ => {}
        },
        _ => {}
    }
    note(AnnotationKind::IncompatibleTypes {
        left: left.type_name(),
        op: op.as_str(),
        right: right.type_name(),
    });
    Outcome::Refused
}

fn changed(histogram: &FloatHistogram, change: impl FnOnce(&mut FloatHistogram)) -> Outcome {
    let mut result = histogram.clone();
    if result.uses_custom_buckets() {
        // There is no zero bucket; an operation before may have divided its count by zero.
        result.zero_count = 0.0;
    }
    change(&mut result);
    Outcome::Histogram(Arc::new(result))
}

/// Sum or difference. Like Prometheus, yields nothing if counter resets collide.
fn combine(
    op: BinaryOp,
    left: &FloatHistogram,
    right: &FloatHistogram,
    mut note: impl FnMut(AnnotationKind),
) -> Outcome {
    let mut result = left.clone();
    let (combined, operation) = if op == BinaryOp::Add {
        (add(&mut result, right), HistogramOperation::Addition)
    } else {
        let combined = sub(&mut result, right);
        result.counter_reset_hint = CounterResetHint::Gauge;
        (combined, HistogramOperation::Subtraction)
    };
    match combined {
        Err(Incompatible) => {
            note(AnnotationKind::IncompatibleBucketLayout { op: op.as_str() });
            return Outcome::Refused;
        }
        Ok(Combined { collision: true, .. }) => {
            note(AnnotationKind::CounterResetCollision { operation });
            return Outcome::Refused;
        }
        Ok(Combined { reconciled: true, .. }) => {
            note(AnnotationKind::MismatchedCustomBuckets { operation });
        }
        Ok(_) => {}
    }
    result.compact(0);
    Outcome::Histogram(Arc::new(result))
}

#[cfg(test)]
mod tests {
    use ferula_chunkenc::histogram::Span;

    use super::*;

    fn of(count: f64) -> Arc<FloatHistogram> {
        Arc::new(FloatHistogram {
            count,
            positive_spans: vec![Span::new(0, 1)],
            positive_buckets: vec![count],
            ..FloatHistogram::default()
        })
    }

    fn counts(op: BinaryOp, left: Operand<'_>, right: Operand<'_>) -> Option<f64> {
        match apply(op, left, right, |_| {}) {
            Outcome::Histogram(histogram) => Some(histogram.count),
            _ => None,
        }
    }

    #[test]
    fn histograms_are_combined_with_each_other_and_scaled_by_numbers() {
        let (a, b) = (of(3.0), of(1.0));
        let (a, b, two) = (Operand::Histogram(&a), Operand::Histogram(&b), Operand::Float(2.0));
        assert_eq!(counts(BinaryOp::Add, a, b), Some(4.0));
        assert_eq!(counts(BinaryOp::Sub, a, b), Some(2.0));
        assert_eq!(counts(BinaryOp::Mul, a, two), Some(6.0));
        assert_eq!(counts(BinaryOp::Mul, two, a), Some(6.0));
        assert_eq!(counts(BinaryOp::Div, a, two), Some(1.5));
        assert_eq!(counts(BinaryOp::Div, two, a), None);
        assert_eq!(apply(BinaryOp::Eq, a, b, |_| {}), Outcome::False);
        assert_eq!(counts(BinaryOp::Ne, a, b), Some(3.0));
    }

    #[test]
    fn what_is_refused_is_told() {
        let a = of(3.0);
        let mut told = Vec::new();
        let outcome = apply(BinaryOp::Lt, Operand::Float(1.0), Operand::Histogram(&a), |kind| {
            told.push(kind);
        });
        assert_eq!(outcome, Outcome::Refused);
        let (left, right) = ("float", "histogram");
        assert_eq!(told, [AnnotationKind::IncompatibleTypes { left, op: "<", right }]);
    }

    #[test]
    fn colliding_counter_resets_yield_nothing() {
        let hinted = |hint| {
            let histogram = (*of(1.0)).clone();
            Arc::new(FloatHistogram { counter_reset_hint: hint, ..histogram })
        };
        let (a, b) = (hinted(CounterResetHint::Reset), hinted(CounterResetHint::NotReset));
        let mut told = Vec::new();
        let outcome =
            apply(BinaryOp::Add, Operand::Histogram(&a), Operand::Histogram(&b), |kind| {
                told.push(kind);
            });
        assert_eq!(outcome, Outcome::Refused);
        let operation = HistogramOperation::Addition;
        assert_eq!(told, [AnnotationKind::CounterResetCollision { operation }]);
    }
}
