//! Numbers: one for every step.

use super::batch::{Column, Grid, SeriesMeta};
use super::{Context, Operator, arithmetic, build, read_all};
use crate::Error;
use crate::functions::{InstantFunction, math};
use crate::plan::{Node, NodeKind};
use ferula_index::Labels;

/// The value of a scalar expression.
#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    /// The same at every step.
    Constant(f64),
    /// One per step.
    Steps(Vec<f64>),
}

impl Scalar {
    /// Evaluates a scalar expression at the steps of `grid`.
    pub(crate) fn evaluate(node: &Node, grid: Grid, context: &Context) -> Result<Self, Error> {
        match &node.kind {
            NodeKind::Number(number) => Ok(Self::Constant(*number)),
            NodeKind::Negate(inner) => {
                Ok(Self::evaluate(inner, grid, context)?.map(|value| -value))
            }
            NodeKind::Invariant(inner) => {
                let once = Grid { len: grid.len.min(1), ..grid };
                Ok(Self::Constant(Self::evaluate(inner, once, context)?.at(0)))
            }
            NodeKind::Binary(binary) => {
                let left = Self::evaluate(&binary.left, grid, context)?;
                let right = Self::evaluate(&binary.right, grid, context)?;
                Ok(left.zip(&right, grid, |a, b| arithmetic::of_scalars(binary.op, a, b)))
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
                Ok(Self::Steps(grid.times().map(|time| time as f64 / 1e3).collect()))
            }
            (InstantFunction::Scalar, [vector]) => Self::only_series(vector, grid, context),
            (InstantFunction::MinOf | InstantFunction::MaxOf, [left, right]) => {
                let left = Self::evaluate(left, grid, context)?;
                let right = Self::evaluate(right, grid, context)?;
                let pick = if function == InstantFunction::MinOf { math::min } else { math::max };
                Ok(left.zip(&right, grid, pick))
            }
            _ => Err(context.unsupported("a scalar of this form", node.span)),
        }
    }

    /// The value of the only series at each step; NaN where there is none, or several.
    fn only_series(vector: &Node, grid: Grid, context: &Context) -> Result<Self, Error> {
        let mut operator = build(vector, grid, context)?;
        let mut values = vec![f64::NAN; grid.len];
        let mut counts = vec![0_u8; grid.len];
        read_all(&mut *operator, context, |_, column| {
            column.for_each(|step, value| {
                counts[step] = counts[step].saturating_add(1);
                values[step] = if counts[step] == 1 { value } else { f64::NAN };
            });
            Ok(())
        })?;
        Ok(Self::Steps(values))
    }

    /// The value at a step.
    #[inline]
    pub(crate) fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Steps(values) => values.get(step).copied().unwrap_or(f64::NAN),
        }
    }

    fn map(self, change: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(change(value)),
            Self::Steps(values) => Self::Steps(values.into_iter().map(change).collect()),
        }
    }

    fn zip(&self, other: &Self, grid: Grid, combine: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(combine(*a, *b)),
            _ => Self::Steps(
                (0..grid.len).map(|step| combine(self.at(step), other.at(step))).collect(),
            ),
        }
    }
}

/// A scalar as the only series of a vector without labels.
pub(super) struct ScalarSeries {
    scalar: Scalar,
    grid: Grid,
    metas: [SeriesMeta; 1],
}

impl ScalarSeries {
    pub(super) fn new(scalar: Scalar, grid: Grid) -> Self {
        Self { scalar, grid, metas: [SeriesMeta::new(Labels::empty())] }
    }
}

impl Operator for ScalarSeries {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, _index: usize, out: &mut Column) -> Result<(), Error> {
        *out = match &self.scalar {
            Scalar::Constant(value) => Column::full(vec![*value; self.grid.len]),
            Scalar::Steps(values) => Column::full(values.clone()),
        };
        Ok(())
    }
}
