//! Vectors changed value by value.

use std::sync::Arc;

use super::batch::{Column, Grid, SeriesMeta};
use super::context::{LabelReader, Unnamed};
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
    if naming == Naming::Keep {
        let metas = inner.series().to_vec();
        return Ok(Box::new(Mapped { inner, metas, apply }));
    }
    let Unnamed { metas, may_clash } = context.drop_names(inner.series(), LabelReader::Anyone)?;
    let mapped = Box::new(Mapped { inner, metas, apply });
    Ok(if may_clash { merge_same(mapped, Overlap::AtSameStep) } else { mapped })
}

/// Turns the signs of a vector.
pub(super) fn negate(inner: &Node, grid: Grid, context: &Context) -> Result<BoxOperator, Error> {
    let inner = build(inner, grid, context)?;
    map_columns(inner, Naming::Drop, context, |column| {
        column.map(|_, value| Some(-value));
        column.map_histograms(|_, histogram| {
            let mut turned = Arc::unwrap_or_clone(histogram);
            turned.multiply(-1.0);
            Some(Arc::new(turned))
        });
    })
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
