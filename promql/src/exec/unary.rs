//! Vectors changed value by value.

use super::batch::{Column, Grid, SeriesMeta};
use super::{BoxOperator, Context, Operator, Overlap, build, merge_same};
use crate::Error;
use crate::plan::Node;

/// What happens to metric names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    Keep,
    Drop,
}

/// Makes an operator that applies `apply` to whole columns of `inner`.
pub(super) fn map_columns(
    inner: BoxOperator,
    naming: Naming,
    context: &Context,
    apply: impl FnMut(&mut Column) + Send + 'static,
) -> Result<BoxOperator, Error> {
    let metas = match naming {
        Naming::Keep => inner.series().to_vec(),
        Naming::Drop => drop_names(inner.series(), context)?,
    };
    let mapped = Box::new(Mapped { inner, metas, apply });
    if naming == Naming::Keep || context.features.delayed_name_removal {
        return Ok(mapped);
    }
    Ok(merge_same(mapped, Overlap::AtSameStep))
}

/// Turns the signs of a vector.
pub(super) fn negate(inner: &Node, grid: Grid, context: &Context) -> Result<BoxOperator, Error> {
    let inner = build(inner, grid, context)?;
    map_columns(inner, Naming::Drop, context, |column| column.map(|_, value| Some(-value)))
}

/// The series after their names were dropped.
pub(super) fn drop_names(
    series: &[SeriesMeta],
    context: &Context,
) -> Result<Vec<SeriesMeta>, Error> {
    series.iter().map(|meta| context.drop_name(meta)).collect()
}

struct Mapped<F> {
    inner: BoxOperator,
    metas: Vec<SeriesMeta>,
    apply: F,
}

impl<F: FnMut(&mut Column) + Send> Operator for Mapped<F> {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.inner.read(index, out)?;
        (self.apply)(out);
        Ok(())
    }
}
