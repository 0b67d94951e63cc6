//! Subqueries: an expression evaluated at steps of its own, whose values become the samples of
//! windows.

use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram};

use super::batch::{Column, Grid};
use super::matrix::WINDOW_SCRATCH;
use super::metas::Metas;
use super::reader::BatchCharge;
use super::{BoxOperator, Context, SampleSource, build};
use crate::Error;
use crate::plan::Subquery;

/// Makes the source of the samples of a subquery for windows that end at the steps of `grid`.
pub(super) fn source(
    subquery: &Subquery,
    grid: Grid,
    context: &Context,
) -> Result<Box<dyn SampleSource>, Error> {
    let (start, end) = subquery.bounds(grid.start, grid.end());
    let inner_grid = context.grid(start, end, subquery.step_ms)?;
    if inner_grid.len == 0 {
        return Ok(Box::new(Nothing(Metas::few(context, Vec::new()))));
    }
    let inner = build(&subquery.node, inner_grid, context)?;
    let mut metas = Metas::builder(context, inner.series().len())?;
    inner.series().iter().try_for_each(|meta| metas.push_shared(meta.clone()))?;
    Ok(Box::new(Evaluated::new(inner, metas.build(), inner_grid, context)))
}

struct Evaluated {
    inner: BoxOperator,
    metas: Metas,
    grid: Grid,
    column: Column,
    charge: BatchCharge,
    context: Context,
}

impl Evaluated {
    fn new(inner: BoxOperator, metas: Metas, grid: Grid, context: &Context) -> Self {
        let charge = BatchCharge::new(WINDOW_SCRATCH, context);
        let (column, context) = (context.column(), context.clone());
        Self { inner, metas, grid, column, charge, context }
    }
}

impl SampleSource for Evaluated {
    fn series(&self) -> &Metas {
        &self.metas
    }

    fn read(&mut self, index: usize, batch: &mut SampleBatch) -> Result<(), Error> {
        self.context.limits.check()?;
        self.charge.clear(batch);
        self.inner.read(index, &mut self.column)?;
        let grid = self.grid;
        if self.column.has_histograms() {
            self.column.map_histograms(|_, histogram| Some(without_hint(histogram)));
        }
        self.charge.reserve(batch, self.column.count())?;
        self.column.append_to(grid, batch);
        self.charge.settle(batch)
    }

    fn fork(&self) -> Option<Box<dyn SampleSource>> {
        let (inner, metas) = (self.inner.fork()?, self.metas.clone());
        Some(Box::new(Self::new(inner, metas, self.grid, &self.context)))
    }
}

/// A histogram that says nothing of counter resets: what its hint said was about the sample in
/// front of it, which the subquery may have left out or repeated.
fn without_hint(mut histogram: Arc<FloatHistogram>) -> Arc<FloatHistogram> {
    let hint = histogram.counter_reset_hint;
    if matches!(hint, CounterResetHint::Reset | CounterResetHint::NotReset) {
        Arc::make_mut(&mut histogram).counter_reset_hint = CounterResetHint::Unknown;
    }
    histogram
}

/// A subquery without steps.
struct Nothing(Metas);

impl SampleSource for Nothing {
    fn series(&self) -> &Metas {
        &self.0
    }

    fn read(&mut self, _index: usize, batch: &mut SampleBatch) -> Result<(), Error> {
        batch.clear();
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn SampleSource>> {
        None
    }
}
