//! Duration expressions: windows, steps and offsets.
//!
//! As in Prometheus, a sign before a literal becomes part of it, a plus before anything else is
//! dropped, and so are parentheses around literals. Where dropping them would change what the
//! canonical text means, they are kept or added.

use super::expr::{SIGN_OPERAND, precedence, right_precedence, signed};
use super::{Parsed, Parser, failure, literal};
use crate::Span;
use crate::ast::{BinaryOp, DurationExpr, DurationKind, UnaryOp};
use crate::error::ParseErrorKind;
use crate::lexer::{Special, TokenKind};

/// Longest duration in seconds, either way: 64 bits of nanoseconds.
const MAX_SECONDS: f64 = 9_223_372_036.854_776;

/// Where a duration expression stands, for messages.
#[derive(Clone, Copy)]
struct Place {
    context: &'static str,
    expected: &'static str,
}

const WINDOW: Place = Place {
    context: "subquery or range selector",
    expected: "number, duration, step(), or range()",
};
const STEP: Place =
    Place { context: "subquery selector", expected: "number, duration, step(), range(), or \"]\"" };
const OFFSET: Place = Place { context: "offset", expected: "number, duration, step(), or range()" };

impl Parser<'_> {
    /// Parses the length of a window.
    pub(super) fn window_duration(&mut self) -> Parsed<DurationExpr> {
        let duration = self.duration(0, WINDOW)?;
        self.positive(duration)
    }

    /// Parses the step of a subquery.
    pub(super) fn step_duration(&mut self) -> Parsed<DurationExpr> {
        let duration = self.duration(0, STEP)?;
        self.positive(duration)
    }

    /// Parses an offset. Unless it starts with a parenthesis or two signs, it ends before the next
    /// operator, which belongs to the expression around it.
    pub(super) fn offset_duration(&mut self) -> Parsed<DurationExpr> {
        let start = self.current.span.start;
        let sign = self.eat_sign();
        let single = match self.current.kind {
            TokenKind::LeftParen => sign.is_some(),
            TokenKind::Binary(BinaryOp::Add | BinaryOp::Sub) => false,
            _ => true,
        };
        if single {
            let primary = self.duration_primary(OFFSET)?;
            return apply_sign(sign, primary, start).map(whole);
        }
        let first = match sign {
            Some(_) => {
                let operand = self.duration(SIGN_OPERAND, OFFSET)?;
                apply_sign(sign, operand, start)?
            }
            None => self.duration_primary(OFFSET)?,
        };
        let duration = self.duration_operators(first, 0, OFFSET)?;
        // Without parentheses, the text would end at the first operator when read again.
        Ok(match duration.kind {
            DurationKind::Binary { .. } => {
                DurationExpr { span: duration.span, kind: DurationKind::Paren(Box::new(duration)) }
            }
            _ => whole(duration),
        })
    }

    fn positive(&mut self, duration: DurationExpr) -> Parsed<DurationExpr> {
        match duration.kind {
            // What cannot be split into tokens comes before what the tokens mean.
            _ if self.at(TokenKind::Invalid) => Err(self.unexpected()),
            DurationKind::Literal(number) if number.value <= 0.0 => {
                Err(failure(ParseErrorKind::DurationNotPositive, duration.span))
            }
            _ => Ok(whole(duration)),
        }
    }

    fn duration(&mut self, min: u8, place: Place) -> Parsed<DurationExpr> {
        self.enter()?;
        let start = self.current.span.start;
        let first = match self.eat_sign() {
            Some(sign) => {
                let operand = self.duration(SIGN_OPERAND, place)?;
                apply_sign(Some(sign), operand, start)?
            }
            None => self.duration_primary(place)?,
        };
        let duration = self.duration_operators(first, min, place)?;
        self.leave();
        Ok(duration)
    }

    fn duration_operators(
        &mut self,
        first: DurationExpr,
        min: u8,
        place: Place,
    ) -> Parsed<DurationExpr> {
        let mut left = first;
        let mut operators = 0;
        while let TokenKind::Binary(op) = self.current.kind {
            let is_arithmetic = matches!(
                op,
                BinaryOp::Add
                    | BinaryOp::Sub
                    | BinaryOp::Mul
                    | BinaryOp::Div
                    | BinaryOp::Mod
                    | BinaryOp::Pow
            );
            if !is_arithmetic || precedence(op) < min {
                break;
            }
            operators += 1;
            self.check_height(self.depth + operators)?;
            let op_span = self.advance().span;
            let right = self.duration(right_precedence(op), place)?;
            left = combine(op, op_span, left, right)?;
        }
        Ok(left)
    }

    fn duration_primary(&mut self, place: Place) -> Parsed<DurationExpr> {
        let start = self.current.span;
        if let Some((number, span)) = self.number_literal()? {
            return in_range(DurationExpr { kind: DurationKind::Literal(number), span });
        }
        let kind = match self.current.kind {
            TokenKind::LeftParen => {
                self.advance();
                let inner = self.duration(0, place)?;
                self.duration_token(TokenKind::RightParen, place)?;
                let span = Span::new(start.start, self.last_end);
                return Ok(match inner.kind {
                    DurationKind::Literal(_) => inner,
                    kind @ DurationKind::Paren(_) => DurationExpr { kind, span },
                    _ => DurationExpr { kind: DurationKind::Paren(Box::new(inner)), span },
                });
            }
            TokenKind::Special(Special::Step) => {
                self.advance();
                self.duration_token(TokenKind::LeftParen, place)?;
                DurationKind::Step
            }
            TokenKind::Special(Special::Range) => {
                self.advance();
                self.duration_token(TokenKind::LeftParen, place)?;
                DurationKind::Range
            }
            TokenKind::Special(special @ (Special::MinOf | Special::MaxOf)) => {
                self.advance();
                self.duration_token(TokenKind::LeftParen, place)?;
                let left = Box::new(self.duration(0, place)?);
                self.duration_token(TokenKind::Comma, place)?;
                let right = Box::new(self.duration(0, place)?);
                if special == Special::MinOf {
                    DurationKind::MinOf(left, right)
                } else {
                    DurationKind::MaxOf(left, right)
                }
            }
            _ => return Err(self.unexpected_in(Some(place.context), Some(place.expected))),
        };
        self.duration_token(TokenKind::RightParen, place)?;
        Ok(DurationExpr { kind, span: Span::new(start.start, self.last_end) })
    }

    fn duration_token(&mut self, kind: TokenKind, place: Place) -> Parsed<()> {
        if self.eat(kind) {
            return Ok(());
        }
        Err(self.unexpected_in(Some(place.context), Some(place.expected)))
    }
}

fn combine(
    op: BinaryOp,
    op_span: Span,
    mut left: DurationExpr,
    right: DurationExpr,
) -> Parsed<DurationExpr> {
    if matches!(right.kind, DurationKind::Literal(number) if number.value == 0.0) {
        match op {
            BinaryOp::Div => return Err(failure(ParseErrorKind::DivisionByZero, op_span)),
            BinaryOp::Mod => return Err(failure(ParseErrorKind::ModuloByZero, op_span)),
            _ => {}
        }
    }
    // Errors point at what is inside of parentheses, as those of Prometheus do.
    let span = inside(&left).to(inside(&right));
    // The sign of the literal would apply to the power when read again.
    let is_negative = matches!(left.kind, DurationKind::Literal(n) if n.value.is_sign_negative());
    if op == BinaryOp::Pow && is_negative {
        left = DurationExpr { span: left.span, kind: DurationKind::Paren(Box::new(left)) };
    }
    let kind = DurationKind::Binary { op, left: Box::new(left), right: Box::new(right) };
    Ok(DurationExpr { kind, span })
}

fn inside(duration: &DurationExpr) -> Span {
    match &duration.kind {
        DurationKind::Paren(inner) => inside(inner),
        _ => duration.span,
    }
}

fn apply_sign(sign: Option<UnaryOp>, operand: DurationExpr, start: usize) -> Parsed<DurationExpr> {
    let Some(sign) = sign else { return Ok(operand) };
    let span = Span::new(start, operand.span.end);
    let kind = match operand.kind {
        DurationKind::Literal(mut number) => {
            number.value = signed(Some(sign), number.value);
            return in_range(DurationExpr { kind: DurationKind::Literal(number), span });
        }
        kind if sign == UnaryOp::Plus => kind,
        kind => DurationKind::Unary {
            op: sign,
            expr: Box::new(DurationExpr { kind, span: operand.span }),
        },
    };
    Ok(DurationExpr { kind, span })
}

fn in_range(duration: DurationExpr) -> Parsed<DurationExpr> {
    match duration.kind {
        DurationKind::Literal(number)
            if number.value.is_nan() || number.value.abs() > MAX_SECONDS =>
        {
            Err(failure(ParseErrorKind::DurationOutOfRange, duration.span))
        }
        _ => Ok(duration),
    }
}

/// Makes a number of seconds that stands alone a duration, unless it has parts of milliseconds.
fn whole(mut duration: DurationExpr) -> DurationExpr {
    if let DurationKind::Literal(number) = &mut duration.kind {
        number.is_duration = literal::whole_ms(number.value.abs()).is_some();
    }
    duration
}
