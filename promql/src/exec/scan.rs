//! Instant selectors: the newest sample of each series at each step.

use std::sync::Arc;

use ferula_chunkenc::{SampleBatch, stale};

use super::batch::{Column, Grid, SeriesMeta};
use super::{BoxOperator, Context, Operator};
use crate::ast::Boundary;
use crate::functions::rate;
use crate::plan::{Selector, Shift};
use crate::storage::{SelectHints, SeriesSet};
use crate::{Error, Span};

/// What is taken of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    Value,
    /// Its time, in seconds.
    Timestamp,
}

/// Makes the operator of an instant selector.
pub(super) fn instant(
    selector: &Selector,
    _span: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    if selector.boundary == Some(Boundary::Smoothed) {
        let scan = Scan::new(selector, Take::Value, grid, context)?;
        return Ok(Box::new(SmoothedScan { scan }));
    }
    Ok(Box::new(Scan::new(selector, Take::Value, grid, context)?))
}

/// Makes the operator of an instant selector that yields the times of samples.
pub(super) fn timestamps(
    selector: &Selector,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    Ok(Box::new(Scan::new(selector, Take::Timestamp, grid, context)?))
}

/// Selects the series of a selector for the steps of `grid`.
pub(super) fn select(
    selector: &Selector,
    range_ms: Option<i64>,
    grid: Grid,
    context: &Context,
) -> Result<Arc<dyn SeriesSet>, Error> {
    let range = selector.needed(grid.start, grid.end(), range_ms, context.lookback_ms);
    let mut hints = SelectHints::new(range);
    hints.step_ms = if grid.len > 1 { grid.step } else { 0 };
    hints.window_ms = range_ms.unwrap_or(0);
    selector.used_by.clone_into(&mut hints.function);
    context.select(&selector.matchers, &hints)
}

/// Labels of all series of a set.
pub(super) fn metas(set: &dyn SeriesSet) -> Vec<SeriesMeta> {
    (0..set.len()).map(|index| SeriesMeta::new(set.labels(index))).collect()
}

/// Reads a series into `batch`, counting its samples instead of those it held.
pub(super) fn read(
    set: &dyn SeriesSet,
    index: usize,
    batch: &mut SampleBatch,
    context: &Context,
) -> Result<(), Error> {
    context.limits.check()?;
    context.limits.release(batch.len());
    batch.clear();
    set.read(index, batch).map_err(Error::Storage)?;
    context.limits.count_read(batch.len());
    context.limits.hold(batch.len())
}

struct Scan {
    set: Arc<dyn SeriesSet>,
    metas: Vec<SeriesMeta>,
    grid: Grid,
    shift: Shift,
    take: Take,
    batch: SampleBatch,
    context: Context,
}

impl Scan {
    fn new(selector: &Selector, take: Take, grid: Grid, context: &Context) -> Result<Self, Error> {
        let set = select(selector, None, grid, context)?;
        Ok(Self {
            metas: metas(&*set),
            set,
            grid,
            shift: selector.shift,
            take,
            batch: SampleBatch::new(),
            context: context.clone(),
        })
    }
}

impl Operator for Scan {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        read(&*self.set, index, &mut self.batch, &self.context)?;
        out.reset(self.grid.len);
        let (times, values) = (self.batch.timestamps(), self.batch.values());
        let mut next = 0;
        for (step, at) in self.shift.times(self.grid).enumerate() {
            while next < times.len() && times[next] <= at {
                next += 1;
            }
            let Some(last) = next.checked_sub(1) else { continue };
            // A sample exactly as old as the lookback delta is too old.
            if times[last] <= at.saturating_sub(self.context.lookback_ms)
                || stale::is_stale(values[last])
            {
                continue;
            }
            out.set(
                step,
                match self.take {
                    Take::Value => values[last],
                    Take::Timestamp => seconds(times[last]),
                },
            );
        }
        Ok(())
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.context.limits.release(self.batch.len());
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are given in seconds")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1e3
}

/// A `smoothed` instant selector: interpolated between the samples around each step.
struct SmoothedScan {
    scan: Scan,
}

impl Operator for SmoothedScan {
    fn series(&self) -> &[SeriesMeta] {
        &self.scan.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        let Scan { set, grid, shift, batch, context, .. } = &mut self.scan;
        read(&**set, index, batch, context)?;
        out.reset(grid.len);
        let (times, values): (Vec<i64>, Vec<f64>) = batch
            .iter()
            .filter(|sample| !stale::is_stale(sample.value))
            .map(|sample| (sample.timestamp, sample.value))
            .unzip();
        let lookback = context.lookback_ms;
        for (step, at) in shift.times(*grid).enumerate() {
            let next = times.partition_point(|time| *time < at);
            let after = (next < times.len() && times[next] <= at.saturating_add(lookback))
                .then(|| (times[next], values[next]));
            let before = next
                .checked_sub(1)
                .filter(|before| times[*before] > at.saturating_sub(lookback))
                .map(|before| (times[before], values[before]));
            match (before, after) {
                (_, Some((time, value))) if time == at => out.set(step, value),
                (Some(before), Some(after)) => {
                    out.set(step, rate::between(before, after, at, false));
                }
                (Some((_, value)), None) => out.set(step, value),
                (None, _) => {}
            }
        }
        Ok(())
    }
}
