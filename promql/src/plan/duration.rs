//! Durations: from what was written to milliseconds.

use super::QueryTimes;
use crate::ast::{BinaryOp, DurationExpr, DurationKind, UnaryOp};
use crate::{DurationError, Error};

/// Longest duration in seconds; that of a 64-bit number of nanoseconds.
const MAX_SECONDS: f64 = 9_223_372_036.854_776;

/// Resolves a duration that may be negative or zero.
pub(super) fn offset_ms(expr: &DurationExpr, times: &QueryTimes) -> Result<i64, Error> {
    resolve(expr, times)
}

/// Resolves a duration that must be positive.
pub(super) fn positive_ms(expr: &DurationExpr, times: &QueryTimes) -> Result<i64, Error> {
    match resolve(expr, times)? {
        // Fractions of a millisecond are cut off, and so is all of a positive duration below one.
        ms if ms > 0 => Ok(ms),
        _ => Err(Error::Duration { span: expr.span, reason: DurationError::NotPositive }),
    }
}

fn resolve(expr: &DurationExpr, times: &QueryTimes) -> Result<i64, Error> {
    let seconds = seconds(expr, times)?;
    let fail = |reason| Err(Error::Duration { span: expr.span, reason });
    if !seconds.is_finite() {
        return fail(DurationError::NotFinite);
    }
    if seconds.abs() > MAX_SECONDS {
        return fail(DurationError::OutOfRange);
    }
    let ms = match expr.kind {
        // A literal is exact to the nanosecond before it is cut to milliseconds.
        DurationKind::Literal(_) => (seconds * 1e9).round() / 1e6,
        _ => seconds * 1e3,
    };
    #[expect(clippy::cast_possible_truncation, reason = "bounded above; the fraction is cut off")]
    Ok(ms as i64)
}

fn seconds(expr: &DurationExpr, times: &QueryTimes) -> Result<f64, Error> {
    #[expect(clippy::cast_precision_loss, reason = "durations are given in seconds")]
    let to_seconds = |ms: i64| ms as f64 / 1e3;
    Ok(match &expr.kind {
        DurationKind::Literal(number) => number.value,
        DurationKind::Step => to_seconds(times.step),
        DurationKind::Range => to_seconds(times.end.saturating_sub(times.start)),
        DurationKind::Unary { op: UnaryOp::Plus, expr } | DurationKind::Paren(expr) => {
            seconds(expr, times)?
        }
        DurationKind::Unary { op: UnaryOp::Minus, expr } => -seconds(expr, times)?,
        DurationKind::MinOf(a, b) => seconds(a, times)?.min(seconds(b, times)?),
        DurationKind::MaxOf(a, b) => seconds(a, times)?.max(seconds(b, times)?),
        DurationKind::Binary { op, left, right } => {
            let (left, right) = (seconds(left, times)?, seconds(right, times)?);
            let fail = |reason| Err(Error::Duration { span: expr.span, reason });
            match op {
                BinaryOp::Add => left + right,
                BinaryOp::Sub => left - right,
                BinaryOp::Mul => left * right,
                BinaryOp::Div if right == 0.0 => return fail(DurationError::DivisionByZero),
                BinaryOp::Div => left / right,
                BinaryOp::Mod if right == 0.0 => return fail(DurationError::ModuloByZero),
                BinaryOp::Mod => left % right,
                BinaryOp::Pow => left.powf(right),
                _ => f64::NAN,
            }
        }
    })
}
