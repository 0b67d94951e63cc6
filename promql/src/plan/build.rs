//! Builds the plan of a checked syntax tree.
//!
//! What may be evaluated once is found as Prometheus does it (`preprocessExprHelper`): a part is
//! invariant if all its selectors have an `@` and no function in it looks at the time of the step;
//! the largest such parts are marked. Depth is bounded by the parser.

use super::{
    Aggregate, Binary, Call, Node, NodeKind, RangeCall, RangeSource, Selector, Shift, Subquery,
    duration, pushdown, stats,
};
use crate::ast::{self, At, Boundary, Expr, ExprKind, Modifiers, UnaryOp};
use crate::exec::arithmetic;
use crate::functions::{InstantFunction, RangeFunction};
use crate::host::HostFunctions;
use crate::{Error, Span};

/// The steps that a query asks for, and the defaults that its plan depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryTimes {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// 0 for an instant query.
    pub(crate) step: i64,
    pub(crate) subquery_step: i64,
}

/// Builds the plan of `expr`, which was parsed from `text` and checked.
pub(crate) fn build(
    expr: &Expr,
    text: &str,
    times: QueryTimes,
    functions: &HostFunctions,
) -> Result<Node, Error> {
    let builder = Builder { text, times, functions };
    let part = builder.part(expr, "")?;
    let mut plan = part.wrapped();
    stats::mark(&mut plan, false);
    pushdown::apply(&mut plan);
    Ok(plan)
}

/// A planned part and what is known of it.
struct Part {
    node: Node,
    /// Has the same value at every step.
    invariant: bool,
    /// Is worth being evaluated once.
    wrap: bool,
}

impl Part {
    fn constant(kind: NodeKind, span: Span) -> Self {
        Self { node: Node::new(kind, span), invariant: true, wrap: false }
    }

    fn wrapped(self) -> Node {
        if !self.wrap {
            return self.node;
        }
        let Node { span, signed, .. } = self.node;
        Node { kind: NodeKind::Invariant(Box::new(self.node)), span, signed }
    }
}

struct Builder<'a> {
    text: &'a str,
    times: QueryTimes,
    functions: &'a HostFunctions,
}

impl Builder<'_> {
    /// Plans `expr`, the argument of `used_by`.
    fn part(&self, expr: &Expr, used_by: &'static str) -> Result<Part, Error> {
        let span = expr.span;
        Ok(match &expr.kind {
            ExprKind::Number(number) => Part::constant(NodeKind::Number(number.value), span),
            ExprKind::String(text) => Part::constant(NodeKind::String(text.clone()), span),
            ExprKind::Selector(selector) => {
                let selector = self.selector(selector, used_by)?;
                let invariant = selector.shift.at.is_some();
                let node = Node::new(NodeKind::Selector(selector), span);
                Part { node, invariant, wrap: invariant }
            }
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => {
                let (source, invariant) = self.source(expr, used_by)?;
                Part { node: Node::new(NodeKind::Range(source), span), invariant, wrap: false }
            }
            ExprKind::Unary(unary) => self.unary(unary, span)?,
            ExprKind::Binary(binary) => self.binary(binary, span)?,
            ExprKind::Call(call) => self.call(call, span)?,
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, span)?,
            // As in Prometheus, nothing points at the parentheses.
            ExprKind::Paren(inner) => self.part(inner, used_by)?,
        })
    }

    fn selector(
        &self,
        selector: &ast::VectorSelector,
        used_by: &'static str,
    ) -> Result<Selector, Error> {
        Ok(Selector {
            matchers: selector.matchers.clone(),
            shift: self.shift(&selector.modifiers)?,
            boundary: selector.boundary,
            used_by,
            stats_only: false,
        })
    }

    fn shift(&self, modifiers: &Modifiers) -> Result<Shift, Error> {
        let offset_ms = match &modifiers.offset {
            Some(offset) => duration::offset_ms(offset, &self.times)?,
            None => 0,
        };
        let at = modifiers.at.map(|at| match at {
            At::Timestamp(time) => time,
            At::Start => self.times.start,
            At::End => self.times.end,
        });
        Ok(Shift { offset_ms, at })
    }

    /// Plans a range vector, and tells whether it is the same at every step.
    fn source(&self, expr: &Expr, used_by: &'static str) -> Result<(RangeSource, bool), Error> {
        match &expr.kind {
            ExprKind::Paren(inner) => self.source(inner, used_by),
            ExprKind::Matrix(matrix) => {
                let selector = self.selector(&matrix.selector, used_by)?;
                let range_ms = duration::positive_ms(&matrix.range, &self.times)?;
                let invariant = selector.shift.at.is_some();
                Ok((RangeSource::Selector { selector, range_ms }, invariant))
            }
            ExprKind::Subquery(subquery) => {
                let range_ms = duration::positive_ms(&subquery.range, &self.times)?;
                let step_ms = match &subquery.step {
                    Some(step) => duration::positive_ms(step, &self.times)?,
                    None => self.times.subquery_step,
                };
                let shift = self.shift(&subquery.modifiers)?;
                let mut part = self.part(&subquery.expr, "")?;
                part.wrap = part.invariant && !matches!(part.node.kind, NodeKind::Number(_));
                let node = Box::new(part.wrapped());
                let source = RangeSource::Subquery(Subquery { node, range_ms, step_ms, shift });
                Ok((source, shift.at.is_some()))
            }
            _ => Err(self.unsupported("a range vector of this form", expr.span)),
        }
    }

    fn unary(&self, unary: &ast::UnaryExpr, span: Span) -> Result<Part, Error> {
        let mut part = self.part(&unary.expr, "")?;
        if unary.op == UnaryOp::Plus {
            part.node.signed = span;
            return Ok(part);
        }
        if let NodeKind::Number(number) = part.node.kind {
            return Ok(Part::constant(NodeKind::Number(-number), span));
        }
        let (invariant, wrap) = (part.invariant, part.wrap);
        let node = Node::new(NodeKind::Negate(Box::new(part.node)), span);
        Ok(Part { node, invariant, wrap })
    }

    fn binary(&self, binary: &ast::BinaryExpr, span: Span) -> Result<Part, Error> {
        let left = self.part(&binary.left, "")?;
        let right = self.part(&binary.right, "")?;
        if let (NodeKind::Number(a), NodeKind::Number(b)) = (&left.node.kind, &right.node.kind) {
            let value = arithmetic::of_scalars(binary.op, *a, *b);
            return Ok(Part::constant(NodeKind::Number(value), span));
        }
        let invariant = left.invariant && right.invariant;
        // Inside an invariant part nothing needs to be marked again.
        let finish = |part: Part| if invariant { part.node } else { part.wrapped() };
        let kind = NodeKind::Binary(Binary {
            op: binary.op,
            left: Box::new(finish(left)),
            right: Box::new(finish(right)),
            return_bool: binary.return_bool,
            matching: binary.matching.clone(),
        });
        Ok(Part { node: Node::new(kind, span), invariant, wrap: invariant })
    }

    fn aggregate(&self, aggregate: &ast::AggregateExpr, span: Span) -> Result<Part, Error> {
        let param = match &aggregate.param {
            Some(param) => Some(Box::new(self.part(param, "")?.node)),
            None => None,
        };
        let input = self.part(&aggregate.expr, aggregate.op.as_str())?;
        let (invariant, wrap) = (input.invariant, input.wrap);
        let kind = NodeKind::Aggregate(Aggregate {
            op: aggregate.op,
            param,
            input: Box::new(input.node),
            grouping: aggregate.grouping.clone(),
        });
        Ok(Part { node: Node::new(kind, span), invariant, wrap })
    }

    fn call(&self, call: &ast::Call, span: Span) -> Result<Part, Error> {
        if let Some(number) = self.query_context(&call.function) {
            return Ok(Part::constant(NodeKind::Number(number), span));
        }
        let host = self.functions.find(&call.function);
        let takes_window = call.args.first().is_some_and(is_range);
        let of_host = host.filter(|_| takes_window).map(RangeFunction::Host);
        if let Some(function) = RangeFunction::find(&call.function).or(of_host) {
            return self.range_call(function, call, span);
        }
        let of_host = host.map(InstantFunction::Host);
        let Some(function) = InstantFunction::find(&call.function).or(of_host) else {
            let what = format!("function {}", call.function);
            return Err(self.unsupported(&what, call.function_span));
        };
        let used_by = self.name_of(&call.function);
        let args: Vec<Part> =
            call.args.iter().map(|arg| self.part(arg, used_by)).collect::<Result<_, _>>()?;
        let all_invariant = args.iter().all(|arg| arg.invariant);
        let invariant = match function {
            // The timestamp of a sample that `@` fixes does not move.
            InstantFunction::Timestamp => {
                all_invariant
                    && args.iter().all(|arg| matches!(arg.node.kind, NodeKind::Selector(_)))
            }
            _ => all_invariant && !function.depends_on_time(),
        };
        let args =
            args.into_iter().map(|arg| if invariant { arg.node } else { arg.wrapped() }).collect();
        let kind = NodeKind::Call(Call { function, args });
        Ok(Part { node: Node::new(kind, span), invariant, wrap: invariant })
    }

    /// Functions that are constants of the query.
    #[expect(clippy::cast_precision_loss, reason = "times are given in seconds")]
    fn query_context(&self, name: &str) -> Option<f64> {
        let QueryTimes { start, end, step, .. } = self.times;
        Some(match name {
            "pi" => std::f64::consts::PI,
            "start" => start as f64 / 1e3,
            "end" => end as f64 / 1e3,
            "range" => end.saturating_sub(start) as f64 / 1e3,
            "step" if start == end => 0.0,
            "step" => step as f64 / 1e3,
            _ => return None,
        })
    }

    fn range_call(
        &self,
        function: RangeFunction,
        call: &ast::Call,
        span: Span,
    ) -> Result<Part, Error> {
        let name = self.name_of(&call.function);
        let mut found = None;
        let mut params = Vec::new();
        for arg in &call.args {
            if found.is_none() && is_range(arg) {
                found = Some(self.source(arg, name)?);
            } else {
                params.push(self.part(arg, "")?);
            }
        }
        let Some((source, source_invariant)) = found else {
            return Err(self.unsupported("a call without a range vector", span));
        };
        check_boundary(function, name, source.boundary())?;
        let invariant = source_invariant
            && !function.depends_on_time()
            && params.iter().all(|param| param.invariant);
        let first_span = call.args.first().map_or(span, |arg| unwrapped(arg).span);
        let kind = NodeKind::RangeCall(RangeCall {
            function,
            source,
            params: params
                .into_iter()
                .map(|param| if invariant { param.node } else { param.wrapped() })
                .collect(),
            first_span,
        });
        Ok(Part { node: Node::new(kind, span), invariant, wrap: invariant })
    }

    fn name_of(&self, function: &str) -> &'static str {
        self.functions.signature(function).map_or("", |signature| signature.name)
    }

    fn unsupported(&self, what: &str, span: Span) -> Error {
        let (line, column) = span.line_column(self.text);
        Error::Unsupported { what: what.to_owned(), span, line, column }
    }
}

/// An expression without the parentheses around it.
fn unwrapped(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Paren(inner) => unwrapped(inner),
        _ => expr,
    }
}

fn is_range(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Matrix(_) | ExprKind::Subquery(_) => true,
        ExprKind::Paren(inner) => is_range(inner),
        _ => false,
    }
}

/// Fails if a function does not take a window with such bounds.
fn check_boundary(
    function: RangeFunction,
    name: &'static str,
    boundary: Option<Boundary>,
) -> Result<(), Error> {
    use RangeFunction::{Changes, Delta, Increase, Rate, Resets};
    let (modifier, allowed) = match boundary {
        Some(Boundary::Anchored)
            if !matches!(function, Changes | Delta | Increase | Rate | Resets) =>
        {
            ("anchored", "changes, delta, increase, rate, resets")
        }
        Some(Boundary::Smoothed) if !matches!(function, Delta | Increase | Rate) => {
            ("smoothed", "delta, increase, rate")
        }
        _ => return Ok(()),
    };
    Err(Error::Boundary { modifier, allowed, function: name })
}
