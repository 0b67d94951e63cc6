//! Parts of a query that are the same at every step: evaluated at the first, repeated at all.

use super::batch::{Column, Grid, SeriesMeta};
use super::{BoxOperator, Context, Operator};
use crate::Error;
use crate::plan::Node;

/// Makes the operator that evaluates `inner` once.
pub(super) fn build(inner: &Node, grid: Grid, context: &Context) -> Result<BoxOperator, Error> {
    if grid.len <= 1 {
        return super::build(inner, Grid { is_range: false, ..grid }, context);
    }
    let inner = super::build(inner, Grid::instant(grid.start), context)?;
    Ok(Box::new(Repeated { inner, len: grid.len }))
}

struct Repeated {
    inner: BoxOperator,
    len: usize,
}

impl Operator for Repeated {
    fn series(&self) -> &[SeriesMeta] {
        self.inner.series()
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.inner.read(index, out)?;
        out.broadcast(self.len)
    }

    fn fork(&self) -> Option<BoxOperator> {
        Some(Box::new(Self { inner: self.inner.fork()?, len: self.len }))
    }
}
