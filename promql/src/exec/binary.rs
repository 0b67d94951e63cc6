//! Binary operations: which operator evaluates one, and those between a vector and a number.

use super::arithmetic::{changes_metric, combine, compare, is_comparison};
use super::batch::Grid;
use super::histogram_pair::{Operand, Outcome};
use super::pairs::Matched;
use super::unary::{Naming, map_columns};
use super::{BoxOperator, Context, Scalar, build as build_operator, histogram_pair, set};
use crate::ast::BinaryOp;
use crate::functions::signatures::ValueType;
use crate::plan::Binary;
use crate::{AnnotationKind, Error, Span};

/// Makes the operator of a binary operation with a vector on one side at least.
pub(super) fn build(
    binary: &Binary,
    span: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    match (binary.left.value_type(), binary.right.value_type()) {
        (ValueType::Vector, ValueType::Scalar) => {
            let vector = build_operator(&binary.left, grid, context)?;
            let scalar = Scalar::evaluate(&binary.right, grid, context)?;
            with_scalar(binary, span, vector, scalar, false, context)
        }
        (ValueType::Scalar, ValueType::Vector) => {
            let scalar = Scalar::evaluate(&binary.left, grid, context)?;
            let vector = build_operator(&binary.right, grid, context)?;
            with_scalar(binary, span, vector, scalar, true, context)
        }
        _ if matches!(binary.op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless) => {
            set::build_set(binary, grid, context)
        }
        _ => {
            let left = build_operator(&binary.left, grid, context)?;
            let right = build_operator(&binary.right, grid, context)?;
            Ok(Box::new(Matched::new(binary, span, left, right, grid, context)?))
        }
    }
}

/// What becomes of a pair of values: `None` if a comparison does not hold.
#[inline]
pub(super) fn apply(op: BinaryOp, return_bool: bool, left: f64, right: f64) -> Option<f64> {
    match compare(op, left, right) {
        None => Some(combine(op, left, right)),
        Some(holds) if return_bool => Some(f64::from(u8::from(holds))),
        Some(holds) => holds.then_some(left),
    }
}

/// Whether an operator trims histograms.
pub(super) fn is_trim(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper)
}

fn with_scalar(
    binary: &Binary,
    span: Span,
    vector: BoxOperator,
    scalar: Scalar,
    scalar_is_left: bool,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let (op, return_bool) = (binary.op, binary.return_bool);
    let naming = if changes_metric(op) || return_bool { Naming::Drop } else { Naming::Keep };
    let keeps_value = is_comparison(op) && !return_bool;
    let noted = context.clone();
    let note = move |kind: AnnotationKind| noted.annotate(kind, span);
    map_columns(vector, naming, context, move |column| {
        if is_trim(op) {
            column.map(|step, value| {
                let (number, value) = (Operand::Float(scalar.at(step)), Operand::Float(value));
                let (left, right) = if scalar_is_left { (number, value) } else { (value, number) };
                histogram_pair::apply(op, left, right, &note);
                None
            });
        } else {
            column.map(|step, value| {
                let number = scalar.at(step);
                let (left, right) = if scalar_is_left { (number, value) } else { (value, number) };
                let result = apply(op, return_bool, left, right);
                // A comparison that holds keeps the value of the vector, on whichever side it
                // stands.
                if keeps_value { result.map(|_| value) } else { result }
            });
        }
        if column.has_histograms() {
            column.map_histograms(|step, histogram| {
                let number = Operand::Float(scalar.at(step));
                let value = Operand::Histogram(&histogram);
                let (left, right) = if scalar_is_left { (number, value) } else { (value, number) };
                match histogram_pair::apply(op, left, right, &note) {
                    Outcome::Histogram(result) => Some(result),
                    _ => None,
                }
            });
        }
    })
}
