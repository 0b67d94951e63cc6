//! Operators between numbers.

use crate::ast::BinaryOp;

/// The result of an operator between scalars; comparisons yield 0 or 1.
pub(crate) fn of_scalars(op: BinaryOp, left: f64, right: f64) -> f64 {
    match compare(op, left, right) {
        Some(holds) => f64::from(u8::from(holds)),
        None => combine(op, left, right),
    }
}

/// Whether a comparison holds; `None` if `op` is none.
#[inline]
pub(crate) fn compare(op: BinaryOp, left: f64, right: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Eq => left == right,
        BinaryOp::Ne => left != right,
        BinaryOp::Lt => left < right,
        BinaryOp::Le => left <= right,
        BinaryOp::Gt => left > right,
        BinaryOp::Ge => left >= right,
        _ => return None,
    })
}

/// The result of an arithmetic operator; NaN for any other.
#[inline]
pub(crate) fn combine(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        // Both round towards zero and keep the sign of the dividend.
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => f64::NAN,
    }
}

/// Whether an operator compares and keeps or drops.
pub(crate) fn is_comparison(op: BinaryOp) -> bool {
    compare(op, 0.0, 0.0).is_some()
}

/// Whether an operator makes another metric out of its operands.
pub(crate) fn changes_metric(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Atan2
    )
}
