//! Subqueries: an expression evaluated at steps of its own, whose values become the samples of
//! windows.

use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram};

use super::batch::{Column, Grid, SeriesMeta};
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
        return Ok(Box::new(Nothing));
    }
    let inner = build(&subquery.node, inner_grid, context)?;
    let source =
        Evaluated { inner, grid: inner_grid, column: Column::new(), context: context.clone() };
    Ok(Box::new(source))
}

struct Evaluated {
    inner: BoxOperator,
    grid: Grid,
    column: Column,
    context: Context,
}

impl SampleSource for Evaluated {
    fn series(&self) -> &[SeriesMeta] {
        self.inner.series()
    }

    fn read(&mut self, index: usize, batch: &mut SampleBatch) -> Result<(), Error> {
        self.context.limits.check()?;
        self.context.limits.release_batch(batch);
        batch.clear();
        self.inner.read(index, &mut self.column)?;
        let grid = self.grid;
        if self.column.has_histograms() {
            self.column.map_histograms(|_, histogram| Some(without_hint(histogram)));
        }
        self.column.append_to(grid, batch);
        self.context.limits.hold_batch(batch)
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
struct Nothing;

impl SampleSource for Nothing {
    fn series(&self) -> &[SeriesMeta] {
        &[]
    }

    fn read(&mut self, _index: usize, batch: &mut SampleBatch) -> Result<(), Error> {
        batch.clear();
        Ok(())
    }
}
