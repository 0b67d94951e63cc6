//! Operators, modifiers, calls and aggregations.

use super::{Node, Parsed, Parser, failure};
use crate::Span;
use crate::ast::{
    AggregateExpr, AggregateGrouping, AggregateOp, At, BinaryExpr, BinaryOp, Boundary, Call,
    DurationExpr, DurationKind, Expr, ExprKind, Grouping, Matching, MatchingLabels, MatrixSelector,
    Modifiers, NumberLiteral, Side, Subquery, UnaryExpr, UnaryOp,
};
use crate::error::ParseErrorKind;
use crate::functions::signatures::{self, ValueType};
use crate::lexer::{Keyword, Special, TokenKind};

/// How tightly an operator binds; a sign binds like `*`.
pub(super) const fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => 6,
    }
}

/// How tightly the operand to the right of `op` must be bound to belong to it.
pub(super) const fn right_precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Pow => precedence(op),
        _ => precedence(op) + 1,
    }
}

/// What a sign applies to is bound at least this tightly.
pub(super) const SIGN_OPERAND: u8 = precedence(BinaryOp::Pow);

impl Parser<'_> {
    /// Parses an expression of operators that bind at least as tightly as `min`.
    pub(super) fn expression(&mut self, min: u8) -> Parsed<Node> {
        self.enter()?;
        let mut left = self.operand()?;
        while let TokenKind::Binary(op) = self.current.kind {
            if precedence(op) < min {
                break;
            }
            left = self.binary(left, op)?;
        }
        self.leave();
        Ok(left)
    }

    fn binary(&mut self, left: Node, op: BinaryOp) -> Parsed<Node> {
        let op_span = self.advance().span;
        let return_bool = self.eat(TokenKind::Keyword(Keyword::Bool));
        let mut matching = self.matching()?;
        let right = self.expression(right_precedence(op))?;
        let is_vector = |node: &Node| node.expr.value_type() == ValueType::Vector;
        if let Some(MatchingLabels::On(names) | MatchingLabels::Ignoring(names)) = &matching.labels
            && names.is_empty()
            && !(is_vector(&left) && is_vector(&right))
        {
            // To match on nothing says nothing where nothing is matched.
            (matching.labels, matching.group) = (None, None);
        }
        let span = left.expr.span.to(right.expr.span);
        let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        if filled && !self.options.binop_fill_modifiers {
            return Err(failure(ParseErrorKind::FillNotEnabled, span));
        }
        let height = left.height.max(right.height);
        let binary =
            BinaryExpr { op, op_span, left: left.expr, right: right.expr, return_bool, matching };
        self.node(ExprKind::Binary(binary), span, height)
    }

    fn matching(&mut self) -> Parsed<Matching> {
        let mut matching = Matching::default();
        if self.eat(TokenKind::Keyword(Keyword::On)) {
            matching.labels = Some(MatchingLabels::On(self.grouping_labels()?));
        } else if self.eat(TokenKind::Keyword(Keyword::Ignoring)) {
            matching.labels = Some(MatchingLabels::Ignoring(self.grouping_labels()?));
        }
        if matching.labels.is_some() {
            let many = match self.current.kind {
                TokenKind::Keyword(Keyword::GroupLeft) => Some(Side::Left),
                TokenKind::Keyword(Keyword::GroupRight) => Some(Side::Right),
                _ => None,
            };
            if let Some(many) = many {
                self.advance();
                let is_fill = matches!(
                    self.current.kind,
                    TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)
                );
                let is_listed = self.at(TokenKind::LeftParen) || !is_fill && !self.at_operand();
                let include = if is_listed { self.grouping_labels()? } else { Vec::new() };
                matching.group = Some(Grouping { many, include });
            } else if matching.labels == Some(MatchingLabels::Ignoring(Vec::new())) {
                // To ignore nothing is what happens anyway.
                matching.labels = None;
            }
        }
        if self.eat(TokenKind::Keyword(Keyword::Fill)) {
            let value = self.fill_value()?;
            matching.fill_left = Some(value);
            matching.fill_right = Some(value);
        } else if self.eat(TokenKind::Keyword(Keyword::FillLeft)) {
            matching.fill_left = Some(self.fill_value()?);
            if self.eat(TokenKind::Keyword(Keyword::FillRight)) {
                matching.fill_right = Some(self.fill_value()?);
            }
        } else if self.eat(TokenKind::Keyword(Keyword::FillRight)) {
            matching.fill_right = Some(self.fill_value()?);
            if self.eat(TokenKind::Keyword(Keyword::FillLeft)) {
                matching.fill_left = Some(self.fill_value()?);
            }
        }
        Ok(matching)
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(TokenKind::LeftParen)?;
        let sign = self.eat_sign();
        let Some((number, _)) = self.number_literal()? else {
            return Err(self.unexpected());
        };
        self.expect(TokenKind::RightParen)?;
        Ok(signed(sign, number.value))
    }

    /// Consumes a sign if there is one.
    pub(super) fn eat_sign(&mut self) -> Option<UnaryOp> {
        let sign = match self.current.kind {
            TokenKind::Binary(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Binary(BinaryOp::Sub) => UnaryOp::Minus,
            _ => return None,
        };
        self.advance();
        Some(sign)
    }

    /// Parses an operand with its sign and with what is written behind it.
    fn operand(&mut self) -> Parsed<Node> {
        let start = self.current.span.start;
        if let Some(op) = self.eat_sign() {
            let operand = self.expression(SIGN_OPERAND)?;
            return self.with_sign(op, operand, start);
        }
        let node = self.primary()?;
        self.with_modifiers(node)
    }

    fn with_sign(&self, op: UnaryOp, mut operand: Node, start: usize) -> Parsed<Node> {
        let span = Span::new(start, operand.expr.span.end);
        if let ExprKind::Number(number) = &mut operand.expr.kind {
            number.value = signed(Some(op), number.value);
            operand.expr.span = span;
            return Ok(operand);
        }
        let kind = ExprKind::Unary(UnaryExpr { op, expr: operand.expr });
        self.node(kind, span, operand.height)
    }

    /// Parses the modifiers and windows behind an operand.
    fn with_modifiers(&mut self, mut node: Node) -> Parsed<Node> {
        loop {
            match self.current.kind {
                TokenKind::Keyword(Keyword::Offset) => self.offset(&mut node)?,
                TokenKind::At => self.at_modifier(&mut node)?,
                TokenKind::Keyword(Keyword::Anchored) => {
                    self.boundary(&mut node, Boundary::Anchored)?;
                }
                TokenKind::Keyword(Keyword::Smoothed) => {
                    self.boundary(&mut node, Boundary::Smoothed)?;
                }
                TokenKind::LeftBracket => node = self.window(node)?,
                _ => return Ok(node),
            }
        }
    }

    /// Tells whether the current token may begin an expression.
    fn at_operand(&self) -> bool {
        match self.current.kind {
            TokenKind::Number
            | TokenKind::Duration
            | TokenKind::String
            | TokenKind::LeftParen
            | TokenKind::LeftBrace
            | TokenKind::Binary(BinaryOp::Add | BinaryOp::Sub) => true,
            kind => super::is_metric_name(kind),
        }
    }

    fn primary(&mut self) -> Parsed<Node> {
        let token = self.current;
        match token.kind {
            TokenKind::Number | TokenKind::Duration | TokenKind::String => self.literal(),
            TokenKind::LeftParen => {
                self.advance();
                let inner = self.expression(0)?;
                self.parenthesized(inner, token.span)
            }
            TokenKind::Aggregate(op) => self.aggregate_or_selector(op),
            TokenKind::Identifier | TokenKind::Special(_) => {
                self.advance();
                if self.at(TokenKind::LeftParen) {
                    self.call(token.span)
                } else {
                    self.selector(Some(token))
                }
            }
            TokenKind::LeftBrace => self.selector(None),
            kind if super::is_metric_name(kind) => {
                self.advance();
                self.selector(Some(token))
            }
            _ => Err(self.unexpected()),
        }
    }

    // Frames of the functions that recurse stay small where the nodes are made in others.

    fn literal(&mut self) -> Parsed<Node> {
        if let Some((number, span)) = self.number_literal()? {
            return self.node(ExprKind::Number(number), span, 0);
        }
        let span = self.current.span;
        let text = self.string_literal()?;
        self.node(ExprKind::String(text), span, 0)
    }

    fn parenthesized(&mut self, inner: Node, open: Span) -> Parsed<Node> {
        let close = self.expect(TokenKind::RightParen)?.span;
        self.node(ExprKind::Paren(inner.expr), open.to(close), inner.height)
    }

    fn call(&mut self, function_span: Span) -> Parsed<Node> {
        let args = self.arguments()?;
        self.call_of(function_span, args)
    }

    fn call_of(&mut self, function_span: Span, args: (Vec<Expr>, usize)) -> Parsed<Node> {
        let (args, height) = args;
        let name = &self.text[function_span.start..function_span.end];
        let Some(signature) = self.functions.signature(name) else {
            let suggestion = signatures::suggest(name);
            let kind = ParseErrorKind::UnknownFunction { name: name.to_owned(), suggestion };
            return Err(failure(kind, function_span));
        };
        if signature.experimental && !self.options.experimental_functions {
            let kind = ParseErrorKind::FunctionNotEnabled { name: name.to_owned() };
            return Err(failure(kind, function_span));
        }
        let span = Span::new(function_span.start, self.last_end);
        let call = Call { function: name.to_owned(), function_span, args };
        self.node(ExprKind::Call(call), span, height)
    }

    /// Parses arguments in parentheses; also gives the height of the highest.
    fn arguments(&mut self) -> Parsed<(Vec<Expr>, usize)> {
        self.expect(TokenKind::LeftParen)?;
        let (mut args, mut height) = (Vec::new(), 0);
        if self.eat(TokenKind::RightParen) {
            return Ok((args, height));
        }
        loop {
            let arg = self.expression(0)?;
            height = height.max(arg.height);
            push_argument(&mut args, arg);
            let comma = self.current.span;
            if !self.eat(TokenKind::Comma) {
                break;
            }
            if !self.at_operand() && !self.at(TokenKind::Invalid) {
                return Err(failure(ParseErrorKind::TrailingComma, comma));
            }
        }
        self.expect(TokenKind::RightParen)?;
        Ok((args, height))
    }

    fn aggregate_or_selector(&mut self, op: AggregateOp) -> Parsed<Node> {
        let token = self.advance();
        match self.current.kind {
            TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without) => {
                self.aggregations += 1;
                let before = self.aggregate_grouping()?;
                let args = self.arguments()?;
                let node = self.aggregate(op, token.span, before, args)?;
                self.aggregations -= 1;
                Ok(node)
            }
            _ => self.selector(Some(token)),
        }
    }

    fn aggregate(
        &mut self,
        op: AggregateOp,
        op_span: Span,
        mut grouping: Option<AggregateGrouping>,
        args: (Vec<Expr>, usize),
    ) -> Parsed<Node> {
        let (mut args, height) = args;
        if grouping.is_none() {
            grouping = self.aggregate_grouping()?;
        }
        let span = Span::new(op_span.start, self.last_end);
        // Without a clause the next token is read before the aggregation is understood.
        if grouping.is_none() && self.at(TokenKind::Invalid) {
            return Err(self.unexpected());
        }
        if args.is_empty() {
            return Err(failure(ParseErrorKind::NoAggregateArguments, span));
        }
        if op.is_experimental() && !self.options.experimental_functions {
            return Err(failure(ParseErrorKind::AggregateNotEnabled { op }, span));
        }
        let expected = if op.takes_param() { 2 } else { 1 };
        if args.len() != expected {
            let kind = ParseErrorKind::AggregateArgumentCount { expected, found: args.len() };
            return Err(failure(kind, span));
        }
        let expr = Box::new(args.pop().expect("there is one argument at least"));
        let param = args.pop().map(Box::new);
        // To group by nothing is what happens without a clause.
        let grouping = grouping.filter(|grouping| *grouping != AggregateGrouping::By(Vec::new()));
        let aggregate = AggregateExpr { op, op_span, param, expr, grouping };
        self.node(ExprKind::Aggregate(aggregate), span, height)
    }

    fn aggregate_grouping(&mut self) -> Parsed<Option<AggregateGrouping>> {
        if self.eat(TokenKind::Keyword(Keyword::By)) {
            Ok(Some(AggregateGrouping::By(self.grouping_labels()?)))
        } else if self.eat(TokenKind::Keyword(Keyword::Without)) {
            Ok(Some(AggregateGrouping::Without(self.grouping_labels()?)))
        } else {
            Ok(None)
        }
    }

    fn offset(&mut self, node: &mut Node) -> Parsed<()> {
        self.advance();
        let offset = self.offset_duration()?;
        let end = self.last_end;
        let span = node.expr.span;
        let modifiers = modifiers(node, "offset")?;
        if modifiers.offset.is_some() {
            return Err(failure(ParseErrorKind::OffsetTwice, span));
        }
        // An offset of nothing is as good as none, to Prometheus too.
        modifiers.offset = Some(offset).filter(|offset| !is_zero(offset));
        node.expr.span.end = end;
        Ok(())
    }

    fn at_modifier(&mut self, node: &mut Node) -> Parsed<()> {
        self.advance();
        let span = node.expr.span;
        let at =
            match self.current.kind {
                TokenKind::Special(special @ (Special::Start | Special::End)) => {
                    self.advance();
                    if !self.eat(TokenKind::LeftParen) || !self.eat(TokenKind::RightParen) {
                        return Err(self.unexpected_in(Some("@"), Some("timestamp")));
                    }
                    if special == Special::Start { At::Start } else { At::End }
                }
                _ => {
                    let sign = self.eat_sign();
                    let Some((number, _)) = self.number_literal()? else {
                        return Err(self.unexpected_in(Some("@"), Some("timestamp")));
                    };
                    let timestamp = signed(sign, number.value);
                    At::Timestamp(timestamp_ms(timestamp).ok_or_else(|| {
                        failure(ParseErrorKind::AtOutOfBounds { timestamp }, span)
                    })?)
                }
            };
        let end = self.last_end;
        let modifiers = modifiers(node, "@")?;
        if modifiers.at.is_some() {
            return Err(failure(ParseErrorKind::AtTwice, span));
        }
        modifiers.at = Some(at);
        node.expr.span.end = end;
        Ok(())
    }

    fn boundary(&mut self, node: &mut Node, boundary: Boundary) -> Parsed<()> {
        self.advance();
        let modifier = boundary.as_str();
        let end = self.last_end;
        let span = node.expr.span;
        let fail = |kind| Err(failure(kind, span));
        if !self.options.extended_range_selectors {
            return fail(ParseErrorKind::BoundaryNotEnabled { modifier });
        }
        let selector = match &mut node.expr.kind {
            ExprKind::Selector(selector) => selector,
            ExprKind::Matrix(matrix) => &mut matrix.selector,
            ExprKind::Subquery(_) => {
                return fail(ParseErrorKind::BoundaryOnSubquery { modifier });
            }
            _ => return fail(ParseErrorKind::BoundaryMisplaced { modifier }),
        };
        if selector.boundary.is_some_and(|before| before != boundary) {
            return fail(ParseErrorKind::AnchoredAndSmoothed);
        }
        selector.boundary = Some(boundary);
        node.expr.span.end = end;
        Ok(())
    }

    /// Parses the window of a range selector or subquery behind what it applies to.
    fn window(&mut self, node: Node) -> Parsed<Node> {
        let open = self.advance().span;
        let range = self.window_duration()?;
        let subquery = self.eat(TokenKind::Colon);
        let step = if subquery && !self.at(TokenKind::RightBracket) {
            Some(self.step_duration()?)
        } else {
            None
        };
        if !self.at(TokenKind::RightBracket) {
            return Err(if subquery {
                self.unexpected_in(Some("subquery selector"), Some("\"]\""))
            } else {
                self.unexpected_in(Some("subquery or range"), Some("\":\" or \"]\""))
            });
        }
        let close = self.advance().span;
        let inner_span = node.expr.span;
        let span = inner_span.to(close);
        if subquery {
            let modifiers = Modifiers::default();
            let subquery = Subquery { expr: node.expr, range, step, modifiers };
            return self.node(ExprKind::Subquery(subquery), span, node.height);
        }
        let kind = match node.expr.kind {
            ExprKind::Selector(selector) => match &selector.modifiers {
                Modifiers {
                    offset: Some(DurationExpr { kind: DurationKind::Literal(n), .. }),
                    ..
                } if n.value != 0.0 => ParseErrorKind::OffsetBeforeRange,
                Modifiers { at: Some(At::Timestamp(_)), .. } => ParseErrorKind::AtBeforeRange,
                _ => {
                    let matrix = MatrixSelector { selector, selector_span: inner_span, range };
                    return self.node(ExprKind::Matrix(matrix), span, 0);
                }
            },
            _ => ParseErrorKind::RangeOnNonSelector,
        };
        Err(failure(kind, open.to(close)))
    }
}

fn push_argument(args: &mut Vec<Expr>, arg: Node) {
    args.push(*arg.expr);
}

/// What `offset` and `@` behind an expression apply to.
fn modifiers<'n>(node: &'n mut Node, modifier: &'static str) -> Parsed<&'n mut Modifiers> {
    match &mut node.expr.kind {
        ExprKind::Selector(selector) => Ok(&mut selector.modifiers),
        ExprKind::Matrix(matrix) => Ok(&mut matrix.selector.modifiers),
        ExprKind::Subquery(subquery) => Ok(&mut subquery.modifiers),
        _ => Err(failure(ParseErrorKind::ModifierMisplaced { modifier }, node.expr.span)),
    }
}

fn is_zero(duration: &DurationExpr) -> bool {
    matches!(duration.kind, DurationKind::Literal(NumberLiteral { value: 0.0, .. }))
}

/// Applies a sign; a NaN is left as it is.
pub(super) fn signed(sign: Option<UnaryOp>, value: f64) -> f64 {
    if sign == Some(UnaryOp::Minus) && !value.is_nan() { -value } else { value }
}

/// Seconds as milliseconds, unless they are out of bounds.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, as it should")]
#[expect(clippy::cast_precision_loss, reason = "the bounds are powers of two")]
fn timestamp_ms(seconds: f64) -> Option<i64> {
    let in_bounds = seconds > i64::MIN as f64 && seconds < i64::MAX as f64;
    in_bounds.then(|| (seconds * 1000.0).round() as i64)
}
