//! Numbers: one for every step.

use std::sync::Arc;

use super::batch::{Column, Grid, SeriesMeta};
use super::metas::Metas;
use super::{BoxOperator, Context, Operator, arithmetic, build, read_all};
use crate::Error;
use crate::functions::{InstantFunction, math};
use crate::ledger::Charge;
use crate::plan::{Node, NodeKind};
use ferula_index::Labels;

/// The value of a scalar expression.
#[derive(Clone)]
pub(crate) enum Scalar {
    /// The same at every step.
    Constant(f64),
    /// One per step.
    Steps(Arc<Steps>),
}

/// A number for every step.
pub(crate) struct Steps {
    values: Vec<f64>,
    _charge: Charge,
}

impl Scalar {
    /// Evaluates a scalar expression at the steps of `grid`.
    pub(crate) fn evaluate(node: &Node, grid: Grid, context: &Context) -> Result<Self, Error> {
        let context = &context.at(node, grid);
        match &node.kind {
            NodeKind::Number(number) => Ok(Self::Constant(*number)),
            NodeKind::Negate(inner) => {
                Self::evaluate(inner, grid, context)?.map(grid, context, |value| -value)
            }
            NodeKind::Invariant(inner) => {
                let once = Grid { len: grid.len.min(1), is_range: false, ..grid };
                Ok(Self::Constant(Self::evaluate(inner, once, context)?.at(0)))
            }
            NodeKind::Binary(binary) => {
                let left = Self::evaluate(&binary.left, grid, context)?;
                let right = Self::evaluate(&binary.right, grid, context)?;
                left.zip(&right, grid, context, |a, b| arithmetic::of_scalars(binary.op, a, b))
            }
            NodeKind::Call(call) => Self::call(call.function, &call.args, node, grid, context),
            _ => Err(context.unsupported("a scalar of this form", node.span)),
        }
    }

    fn call(
        function: InstantFunction,
        args: &[Node],
        node: &Node,
        grid: Grid,
        context: &Context,
    ) -> Result<Self, Error> {
        match (function, args) {
            #[expect(clippy::cast_precision_loss, reason = "times are given in seconds")]
            (InstantFunction::Time, []) => {
                Self::steps(grid, context, |step| grid.time(step) as f64 / 1e3)
            }
            (InstantFunction::Scalar, [vector]) => Self::only_series(vector, grid, context),
            (InstantFunction::MinOf | InstantFunction::MaxOf, [left, right]) => {
                let left = Self::evaluate(left, grid, context)?;
                let right = Self::evaluate(right, grid, context)?;
                let pick = if function == InstantFunction::MinOf { math::min } else { math::max };
                left.zip(&right, grid, context, pick)
            }
            _ => Err(context.unsupported("a scalar of this form", node.span)),
        }
    }

    /// The value of the only series at each step; NaN where there is none, or several.
    fn only_series(vector: &Node, grid: Grid, context: &Context) -> Result<Self, Error> {
        let mut operator = build(vector, grid, context)?;
        let mut charge = context.charge("a number for every step");
        charge.add_each(grid.len, size_of::<f64>() + size_of::<u8>())?;
        let mut values = vec![f64::NAN; grid.len];
        let mut counts = vec![0_u8; grid.len];
        read_all(&mut *operator, context, |_, column| {
            column.for_each(|step, value| {
                counts[step] = counts[step].saturating_add(1);
                values[step] = if counts[step] == 1 { value } else { f64::NAN };
            });
            Ok(())
        })?;
        Ok(Self::Steps(Arc::new(Steps { values, _charge: charge })))
    }

    /// Makes a number for every step.
    pub(crate) fn steps(
        grid: Grid,
        context: &Context,
        value: impl Fn(usize) -> f64,
    ) -> Result<Self, Error> {
        let mut charge = context.charge("a number for every step");
        charge.add_each(grid.len, size_of::<f64>())?;
        let values = (0..grid.len).map(value).collect();
        Ok(Self::Steps(Arc::new(Steps { values, _charge: charge })))
    }

    /// The value at a step.
    #[inline]
    pub(crate) fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Steps(steps) => steps.values.get(step).copied().unwrap_or(f64::NAN),
        }
    }

    fn map(
        &self,
        grid: Grid,
        context: &Context,
        change: impl Fn(f64) -> f64,
    ) -> Result<Self, Error> {
        match self {
            Self::Constant(value) => Ok(Self::Constant(change(*value))),
            Self::Steps(_) => Self::steps(grid, context, |step| change(self.at(step))),
        }
    }

    fn zip(
        &self,
        other: &Self,
        grid: Grid,
        context: &Context,
        combine: impl Fn(f64, f64) -> f64,
    ) -> Result<Self, Error> {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Ok(Self::Constant(combine(*a, *b))),
            _ => Self::steps(grid, context, |step| combine(self.at(step), other.at(step))),
        }
    }
}

/// A scalar as the only series of a vector without labels.
pub(super) struct ScalarSeries {
    scalar: Scalar,
    grid: Grid,
    metas: Metas,
}

impl ScalarSeries {
    pub(super) fn new(scalar: Scalar, grid: Grid, context: &Context) -> Self {
        let metas = Metas::few(context, vec![SeriesMeta::new(Labels::empty())]);
        Self { scalar, grid, metas }
    }
}

impl Operator for ScalarSeries {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, _index: usize, out: &mut Column) -> Result<(), Error> {
        out.fill(self.grid.len, |step| self.scalar.at(step))
    }

    fn fork(&self) -> Option<BoxOperator> {
        let (scalar, metas) = (self.scalar.clone(), self.metas.clone());
        Some(Box::new(Self { scalar, grid: self.grid, metas }))
    }
}
