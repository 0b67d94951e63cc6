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
