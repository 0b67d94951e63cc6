//! Checks what the grammar cannot: types of operands and arguments, and what may be combined.
//!
//! Errors come in the order in which Prometheus finds them, inner expressions first. The tree is
//! not changed.

use ferula_index::METRIC_NAME;

use crate::ast::{
    AggregateExpr, AggregateOp, BinaryExpr, Call, Expr, ExprKind, MatchingLabels, VectorSelector,
};
use crate::error::{ParseError, ParseErrorKind};
use crate::functions::signatures::{self, ValueType};
use crate::host::HostFunctions;
use crate::span::Span;

impl Expr {
    /// The type of the expression's value.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Selector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Unary(unary) => unary.expr.value_type(),
            ExprKind::Paren(inner) => inner.value_type(),
            ExprKind::Call(call) => {
                // Those that the host program added give vectors.
                signatures::find(&call.function).map_or(ValueType::Vector, |f| f.returns)
            }
            ExprKind::Binary(binary) => {
                binary_type(binary.left.value_type(), binary.right.value_type())
            }
        }
    }
}

fn binary_type(left: ValueType, right: ValueType) -> ValueType {
    match (left, right) {
        (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
        _ => ValueType::Vector,
    }
}

/// Checks a whole query.
pub(crate) fn check(
    expr: &Expr,
    query: &str,
    functions: &HostFunctions,
) -> Result<ValueType, ParseError> {
    Checker { query, functions }.expr(expr)
}

struct Checker<'a> {
    query: &'a str,
    functions: &'a HostFunctions,
}

type Checked<T = ()> = Result<T, ParseError>;

impl Checker<'_> {
    fn fail<T>(&self, kind: ParseErrorKind, span: Span) -> Checked<T> {
        Err(ParseError::new(kind, span, self.query))
    }

    /// Checks an expression and everything in it, and gives its type.
    fn expr(&self, expr: &Expr) -> Checked<ValueType> {
        match &expr.kind {
            ExprKind::Number(_) => Ok(ValueType::Scalar),
            ExprKind::String(_) => Ok(ValueType::String),
            ExprKind::Selector(selector) => {
                self.selector(selector, expr.span)?;
                Ok(ValueType::Vector)
            }
            ExprKind::Matrix(matrix) => {
                self.selector(&matrix.selector, matrix.selector_span)?;
                Ok(ValueType::Matrix)
            }
            ExprKind::Subquery(subquery) => match self.expr(&subquery.expr)? {
                ValueType::Vector => Ok(ValueType::Matrix),
                found => self.fail(ParseErrorKind::SubqueryOperandType { found }, expr.span),
            },
            ExprKind::Unary(unary) => match self.expr(&unary.expr)? {
                found @ (ValueType::Scalar | ValueType::Vector) => Ok(found),
                found => self.fail(ParseErrorKind::UnaryOperandType { found }, expr.span),
            },
            ExprKind::Paren(inner) => self.expr(inner),
            ExprKind::Call(call) => self.call(call, expr.span),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Binary(binary) => self.binary(binary, expr.span),
        }
    }

    fn aggregate(&self, aggregate: &AggregateExpr) -> Checked<ValueType> {
        self.expect(&aggregate.expr, ValueType::Vector, "aggregation expression")?;
        if let Some(param) = &aggregate.param {
            let expected = match aggregate.op {
                AggregateOp::CountValues => ValueType::String,
                _ => ValueType::Scalar,
            };
            self.expect(param, expected, "aggregation parameter")?;
        }
        Ok(ValueType::Vector)
    }

    fn expect(&self, expr: &Expr, expected: ValueType, context: &'static str) -> Checked {
        match self.expr(expr)? {
            found if found == expected => Ok(()),
            found => self.fail(ParseErrorKind::WrongType { expected, context, found }, expr.span),
        }
    }

    fn binary(&self, binary: &BinaryExpr, span: Span) -> Checked<ValueType> {
        let left = self.expr(&binary.left)?;
        let right = self.expr(&binary.right)?;
        let op = binary.op;
        let is_scalar = binary_type(left, right) == ValueType::Scalar;
        if binary.return_bool && !op.is_comparison() {
            return self.fail(ParseErrorKind::BoolOnNonComparison, binary.op_span);
        }
        if op.is_comparison() && !binary.return_bool && is_scalar {
            return self.fail(ParseErrorKind::ScalarComparisonWithoutBool, binary.op_span);
        }
        let matching = &binary.matching;
        if let (Some(MatchingLabels::On(on)), Some(group)) = (&matching.labels, &matching.group)
            && let Some(label) = on.iter().find(|label| group.include.contains(label))
        {
            let kind = ParseErrorKind::LabelInOnAndGroup { label: label.clone() };
            return self.fail(kind, binary.op_span);
        }
        for (found, side) in [(left, &binary.left), (right, &binary.right)] {
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                return self.fail(ParseErrorKind::BinaryOperandType, side.span);
            }
        }
        let is_filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        let has_scalar = left == ValueType::Scalar || right == ValueType::Scalar;
        if has_scalar {
            if let Some(MatchingLabels::On(names) | MatchingLabels::Ignoring(names)) =
                &matching.labels
                && !names.is_empty()
            {
                return self.fail(ParseErrorKind::MatchingOnScalar, span);
            }
            if is_filled {
                return self.fail(ParseErrorKind::FillOnScalar, span);
            }
            if op.is_set() {
                return self.fail(ParseErrorKind::SetOperatorOnScalar { op }, span);
            }
        } else if op.is_set() {
            if matching.group.is_some() {
                return self.fail(ParseErrorKind::GroupingOnSetOperator { op }, span);
            }
            if is_filled {
                return self.fail(ParseErrorKind::FillOnSetOperator, span);
            }
        }
        Ok(binary_type(left, right))
    }

    fn call(&self, call: &Call, span: Span) -> Checked<ValueType> {
        let function = || call.function.clone();
        let Some(signature) = self.functions.signature(&call.function) else {
            let kind = ParseErrorKind::UnknownFunction { name: function(), suggestion: None };
            return self.fail(kind, call.function_span);
        };
        let (found, min) = (call.args.len(), signature.min_args());
        match signature.max_args() {
            Some(max) if max == signature.args.len() && min == max && found != max => {
                let kind =
                    ParseErrorKind::ArgumentCount { function: function(), expected: max, found };
                return self.fail(kind, span);
            }
            _ if found < min => {
                let kind =
                    ParseErrorKind::TooFewArguments { function: function(), expected: min, found };
                return self.fail(kind, span);
            }
            Some(max) if found > max => {
                let kind =
                    ParseErrorKind::TooManyArguments { function: function(), expected: max, found };
                return self.fail(kind, span);
            }
            _ => {}
        }
        let info_selector = if call.function == "info" { call.args.get(1) } else { None };
        if let Some(arg) = info_selector {
            self.info_selector(arg, span)?;
        }
        for (i, arg) in call.args.iter().enumerate() {
            let expected = signature.args[i.min(signature.args.len() - 1)];
            if info_selector.is_some() && i == 1 {
                continue;
            }
            let found = self.expr(arg)?;
            if found != expected {
                let kind = ParseErrorKind::ArgumentType { function: function(), expected, found };
                return self.fail(kind, arg.span);
            }
        }
        Ok(signature.returns)
    }

    /// The second argument of `info` is no selection of series but of labels to add.
    fn info_selector(&self, arg: &Expr, call_span: Span) -> Checked {
        let found = arg.value_type();
        if found != ValueType::Vector {
            let expected = ValueType::Vector;
            let kind =
                ParseErrorKind::InfoArgumentType { function: "info".to_owned(), expected, found };
            return self.fail(kind, call_span);
        }
        match &arg.kind {
            ExprKind::Selector(selector) if selector.name.is_none() => Ok(()),
            kind => {
                let named = matches!(kind, ExprKind::Selector(_));
                self.fail(ParseErrorKind::LabelSelectorsOnly { named }, arg.span)
            }
        }
    }

    fn selector(&self, selector: &VectorSelector, span: Span) -> Checked {
        if let Some(name) = &selector.name {
            let (_, inside) = selector.matchers.split_last().unzip();
            return match inside.unwrap_or_default().iter().find(|m| m.name() == METRIC_NAME) {
                Some(again) => {
                    let (first, second) = (name.clone(), again.value().to_owned());
                    self.fail(ParseErrorKind::MetricNameTwice { first, second }, span)
                }
                None => Ok(()),
            };
        }
        if selector.matchers.iter().all(|matcher| matcher.matches_empty()) {
            return self.fail(ParseErrorKind::EmptySelector, span);
        }
        Ok(())
    }
}
