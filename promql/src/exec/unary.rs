//! Vectors changed value by value.

use std::sync::Arc;

use super::batch::{Column, Grid, SeriesMeta};
use super::context::{LabelReader, Unnamed};
use super::metas::Metas;
use super::{BoxOperator, Context, Operator, Overlap, build, merge_same};
use crate::Error;
use crate::limits::Limits;
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
    apply: impl Fn(&mut Column) + Send + Sync + 'static,
) -> Result<BoxOperator, Error> {
    let (apply, limits) = (Arc::new(apply), Arc::clone(&context.limits));
    if naming == Naming::Keep {
        return Ok(Box::new(Mapped { inner, metas: None, apply, limits }));
    }
    let Unnamed { metas, may_clash } = context.drop_names(inner.series(), LabelReader::Anyone)?;
    let mapped = Box::new(Mapped { inner, metas: Some(metas), apply, limits });
    if may_clash { merge_same(mapped, Overlap::AtSameStep, context) } else { Ok(mapped) }
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
    /// `None` if they are those of `inner`.
    metas: Option<Metas>,
    apply: Arc<F>,
    limits: Arc<Limits>,
}

impl<F: Fn(&mut Column) + Send + Sync + 'static> Operator for Mapped<F> {
    fn series(&self) -> &[SeriesMeta] {
        self.metas.as_deref().unwrap_or(self.inner.series())
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.inner.read(index, out)?;
        (self.apply)(out);
        if out.has_histograms() { self.limits.check() } else { Ok(()) }
    }

    fn fork(&self) -> Option<BoxOperator> {
        Some(Box::new(Self {
            inner: self.inner.fork()?,
            metas: self.metas.clone(),
            apply: Arc::clone(&self.apply),
            limits: Arc::clone(&self.limits),
        }))
    }
}
