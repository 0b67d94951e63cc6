//! Walks over syntax trees.
//!
//! Trees made by the parser are at most [`MAX_DEPTH`](crate::parser::MAX_DEPTH) nodes high, which
//! bounds every recursion here.

use std::ops::ControlFlow;

use crate::ast::{Expr, ExprKind};

/// Sees the nodes of a tree.
pub trait Visitor {
    /// What a walk that is stopped early yields.
    type Break;

    /// Called before the children of `expr` are visited.
    fn enter(&mut self, expr: &Expr) -> ControlFlow<Self::Break>;

    /// Called when the children of `expr` have been visited.
    fn leave(&mut self, _expr: &Expr) -> ControlFlow<Self::Break> {
        ControlFlow::Continue(())
    }
}

/// Visits `expr` and everything in it, left to right.
pub fn walk<V: Visitor>(expr: &Expr, visitor: &mut V) -> ControlFlow<V::Break> {
    visitor.enter(expr)?;
    for child in expr.children() {
        walk(child, visitor)?;
    }
    visitor.leave(expr)
}

/// Calls `f` for `expr` and everything in it, left to right.
///
/// ```
/// use ferula_promql::{ast::ExprKind, visit};
///
/// let expr = ferula_promql::parse("sum(a) / sum(b)")?;
/// let mut names = Vec::new();
/// visit::for_each(&expr, |expr| {
///     if let ExprKind::Selector(selector) = &expr.kind {
///         names.extend(selector.name.clone());
///     }
/// });
/// assert_eq!(names, ["a", "b"]);
/// # Ok::<(), ferula_promql::ParseError>(())
/// ```
pub fn for_each<'e>(expr: &'e Expr, mut f: impl FnMut(&'e Expr)) {
    let mut pending = vec![expr];
    while let Some(expr) = pending.pop() {
        f(expr);
        pending.extend(expr.children().into_iter().rev());
    }
}

impl Expr {
    /// The expressions directly in this one, left to right.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::Selector(_)
            | ExprKind::Matrix(_) => Vec::new(),
            ExprKind::Subquery(subquery) => vec![&subquery.expr],
            ExprKind::Unary(unary) => vec![&unary.expr],
            ExprKind::Paren(inner) => vec![inner],
            ExprKind::Binary(binary) => vec![&binary.left, &binary.right],
            ExprKind::Call(call) => call.args.iter().collect(),
            ExprKind::Aggregate(aggregate) => {
                aggregate.param.iter().chain([&aggregate.expr]).map(|expr| &**expr).collect()
            }
        }
    }

    /// The expressions directly in this one, left to right, to be changed.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::Selector(_)
            | ExprKind::Matrix(_) => Vec::new(),
            ExprKind::Subquery(subquery) => vec![&mut subquery.expr],
            ExprKind::Unary(unary) => vec![&mut unary.expr],
            ExprKind::Paren(inner) => vec![inner],
            ExprKind::Binary(binary) => vec![&mut binary.left, &mut binary.right],
            ExprKind::Call(call) => call.args.iter_mut().collect(),
            ExprKind::Aggregate(aggregate) => aggregate
                .param
                .iter_mut()
                .chain([&mut aggregate.expr])
                .map(|expr| &mut **expr)
                .collect(),
        }
    }
}
