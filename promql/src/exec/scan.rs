//! Instant selectors: the newest sample of each series at each step.

use std::ops::Range;
use std::sync::Arc;

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram};
use ferula_chunkenc::{SampleBatch, stale};

use super::batch::{Column, Grid, SeriesMeta};
use super::metas::Metas;
use super::notes::Notes;
use super::reader::{self, Reader};
use super::window::Windows;
use super::{BoxOperator, Context, Operator};
use crate::ast::Boundary;
use crate::functions::native::Incompatible;
use crate::functions::{native_rate, rate};
use crate::ledger::Site;
use crate::plan::Selector;
use crate::storage::{Budget, SelectHints, SeriesSet, Wanted};
use crate::vectorized::vectorized;
use crate::{AnnotationKind, Error, Span};

/// Steps that are computed together, before a staleness marker is looked for.
const PART_STEPS: usize = 64;

/// What is taken of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    Value,
    /// Its time, in seconds.
    Timestamp,
    /// Since when it has been counting, in seconds; zero if that is unknown.
    StartTimestamp,
}

/// Makes the operator of an instant selector.
pub(super) fn instant(
    selector: &Selector,
    span: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    instant_with(selector, span, None, grid, context)
}

/// Makes the operator of an instant selector for someone who looks at the `needed` labels only, if
/// there are any given.
pub(super) fn instant_with(
    selector: &Selector,
    span: Span,
    needed: Option<&[&str]>,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let scan = Scan::new(selector, Take::Value, needed, grid, context)?;
    Ok(if selector.boundary == Some(Boundary::Smoothed) {
        Box::new(SmoothedScan { scan, span })
    } else {
        Box::new(scan)
    })
}

/// Makes the operator of an instant selector that yields times of samples.
pub(super) fn timestamps(
    selector: &Selector,
    take: Take,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    Ok(Box::new(Scan::new(selector, take, None, grid, context)?))
}

/// Selects the series of a selector for the steps of `grid`, of which the `wanted` samples are looked
/// at if there is one step only, and the `needed` labels, if there are any given, and those that describe the
/// metric.
pub(super) fn select(
    selector: &Selector,
    range_ms: Option<i64>,
    wanted: Wanted,
    needed: Option<&[&str]>,
    grid: Grid,
    context: &Context,
) -> Result<Arc<dyn SeriesSet>, Error> {
    let range = selector.needed(grid.start, grid.end(), range_ms, context.lookback_ms);
    let mut hints = SelectHints::new(range);
    hints.step_ms = if grid.len > 1 { grid.step } else { 0 };
    hints.window_ms = range_ms.unwrap_or(0);
    selector.used_by.clone_into(&mut hints.function);
    if grid.len <= 1 && selector.boundary.is_none() {
        hints.wanted = wanted;
    }
    hints.any_order = context.any_order;
    hints.needed = needed.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    let site = Site { what: "the selected series", span: context.span };
    hints.budget = Budget::new(&context.limits, site);
    context.select(&selector.matchers, &hints)
}

struct Scan {
    reader: Reader,
    metas: Metas,
    /// What a step looks back over.
    windows: Windows,
    take: Take,
    batch: SampleBatch,
    context: Context,
}

impl Scan {
    fn new(
        selector: &Selector,
        take: Take,
        needed: Option<&[&str]>,
        grid: Grid,
        context: &Context,
    ) -> Result<Self, Error> {
        let wanted = if take == Take::StartTimestamp { Wanted::All } else { Wanted::Newest };
        let set = select(selector, None, wanted, needed, grid, context)?;
        // A copy of the samples if there are staleness markers among those of a smoothed selector.
        let scratch = if selector.boundary.is_some() { size_of::<(i64, f64)>() } else { 0 };
        Ok(Self {
            metas: reader::metas_with(&*set, needed, context)?,
            reader: Reader::new(set, selector.stats_only, scratch, context),
            windows: Windows {
                grid,
                shift: selector.shift,
                range_ms: context.lookback_ms,
                boundary: None,
                lookback_ms: context.lookback_ms,
                use_starts: false,
                limits: Arc::clone(&context.limits),
            },
            take,
            batch: SampleBatch::new(),
            context: context.clone(),
        })
    }

    fn fork(&self) -> Self {
        Self {
            reader: self.reader.fork(),
            metas: self.metas.clone(),
            windows: self.windows.clone(),
            take: self.take,
            batch: SampleBatch::new(),
            context: self.context.clone(),
        }
    }
}

impl Operator for Scan {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.reader.read(index, &mut self.batch)?;
        out.reset(self.windows.grid.len)?;
        let has_histograms = self.batch.has_histograms();
        if self.take != Take::Value || has_histograms {
            self.take_of(0..self.windows.grid.len, out);
            return Ok(());
        }
        let values = self.batch.values();
        let mut next = 0;
        for run in self.windows.runs(self.batch.timestamps()) {
            self.take_of(next..run.steps.start, out);
            next = run.steps.end;
            for from in run.steps.clone().step_by(PART_STEPS) {
                let steps = from..run.steps.end.min(from + PART_STEPS);
                let newest = run.first_of(from) + run.n_samples - 1;
                let found = values[newest..].iter().step_by(run.stride);
                let mut any_stale = false;
                for (to, value) in out.set_all(steps.clone()).iter_mut().zip(found) {
                    any_stale |= stale::is_stale(*value);
                    *to = *value;
                }
                if any_stale {
                    steps.clone().for_each(|step| out.unset(step));
                    self.take_of(steps, out);
                }
            }
        }
        self.take_of(next..self.windows.grid.len, out);
        Ok(())
    }

    fn metric_name(&self, index: usize) -> String {
        // The label need not be among those that were asked for.
        self.reader.labels(index).metric_name().to_owned()
    }

    fn fork(&self) -> Option<BoxOperator> {
        Some(Box::new(Self::fork(self)))
    }
}

impl Scan {
    /// Takes the newest samples at some steps.
    fn take_of(&self, steps: Range<usize>, out: &mut Column) {
        let (times, values) = (self.batch.timestamps(), self.batch.values());
        let has_histograms = self.batch.has_histograms();
        let Windows { grid, shift, .. } = self.windows;
        let at = shift.apply(grid.time(steps.start));
        let mut next = if steps.start > 0 { times.partition_point(|t| *t <= at) } else { 0 };
        let part = Grid { start: grid.time(steps.start), len: steps.len(), ..grid };
        for (step, at) in steps.zip(shift.times(part)) {
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
            match self.take {
                Take::Value if has_histograms => set_sample(out, step, &self.batch, last),
                Take::Value => out.set(step, values[last]),
                Take::Timestamp => out.set(step, seconds(times[last])),
                Take::StartTimestamp => {
                    out.set(step, seconds(self.batch.start_timestamp(last)));
                }
            }
        }
    }
}

/// Sets the value at a step to that of a sample.
pub(super) fn set_sample(out: &mut Column, step: usize, batch: &SampleBatch, sample: usize) {
    match batch.histogram(sample) {
        Some(histogram) => out.set_histogram(step, Arc::clone(histogram)),
        None => out.set(step, batch.values()[sample]),
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are given in seconds")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1e3
}

/// A `smoothed` instant selector: interpolated between the samples around each step.
struct SmoothedScan {
    scan: Scan,
    /// The selector in the query.
    span: Span,
}

impl Operator for SmoothedScan {
    fn series(&self) -> &[SeriesMeta] {
        &self.scan.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        let metric = self.metric_name(index);
        let Scan { reader, windows: Windows { grid, shift, .. }, batch, context, .. } =
            &mut self.scan;
        reader.read(index, batch)?;
        out.reset(grid.len)?;
        let batch = without_stale(batch);
        let notes = Notes { context, metric: &metric, span: self.span };
        let lookback = context.lookback_ms;
        let times = batch.timestamps();
        for (step, at) in shift.times(*grid).enumerate() {
            if batch.has_histograms() {
                context.limits.check()?;
            }
            let (from, to) = (at.saturating_sub(lookback), at.saturating_add(lookback));
            let next = times.partition_point(|time| *time < at);
            let after = (next < times.len() && times[next] <= to).then_some(next);
            let before = next.checked_sub(1).filter(|before| times[*before] > from);
            if batch.has_histograms() {
                let first = times.partition_point(|time| *time <= from);
                let end = times.partition_point(|time| *time <= to);
                let kinds = (first..end).map(|sample| batch.histogram(sample).is_some());
                if kinds.clone().any(|is| is) && !kinds.clone().all(|is| is) {
                    notes.add(AnnotationKind::MixedFloatsHistograms { metric: notes.metric() });
                    continue;
                }
            }
            match (before, after) {
                (_, Some(sample)) if times[sample] == at => set_sample(out, step, &batch, sample),
                (Some(before), Some(after)) => between(&batch, before, after, at, step, notes, out),
                (Some(before), None) => match batch.histogram(before) {
                    Some(histogram) => {
                        let mut carried = (**histogram).clone();
                        // A hint tells of two samples in a row, not of the value.
                        carried.counter_reset_hint = CounterResetHint::Unknown;
                        out.set_histogram(step, Arc::new(carried));
                    }
                    None => out.set(step, batch.values()[before]),
                },
                (None, _) => {}
            }
        }
        Ok(())
    }

    fn metric_name(&self, index: usize) -> String {
        self.scan.metric_name(index)
    }

    fn fork(&self) -> Option<BoxOperator> {
        Some(Box::new(Self { scan: self.scan.fork(), span: self.span }))
    }
}

/// Sets the value at a step to what lies between two samples of the same type.
fn between(
    batch: &SampleBatch,
    before: usize,
    after: usize,
    at: i64,
    step: usize,
    notes: Notes<'_>,
    out: &mut Column,
) {
    let (times, values) = (batch.timestamps(), batch.values());
    let (Some(low), Some(high)) = (batch.histogram(before), batch.histogram(after)) else {
        let low = (times[before], values[before]);
        out.set(step, rate::between(low, (times[after], values[after]), at, false));
        return;
    };
    if low.uses_custom_buckets() != high.uses_custom_buckets() {
        notes.add(AnnotationKind::MixedExponentialCustom { metric: notes.metric() });
        return;
    }
    let is_gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
    let is_counter = !is_gauge(low) || !is_gauge(high);
    let mut found = Vec::new();
    let (low, high) = ((times[before], &**low), (times[after], &**high));
    let result = native_rate::between(low, high, at, is_counter, &mut found);
    notes.take(&mut found);
    match result {
        Ok(histogram) => out.set_histogram(step, Arc::new(histogram)),
        Err(Incompatible) => {
            notes.add(AnnotationKind::MixedExponentialCustom { metric: notes.metric() });
        }
    }
}

/// Tells whether there is a staleness marker among values.
pub(super) fn any_stale(values: &[f64]) -> bool {
    vectorized(
        #[inline(always)]
        || values.iter().fold(false, |any, value| any | stale::is_stale(*value)),
    )
}

/// A copy of a batch without staleness markers.
pub(super) fn without_stale(batch: &SampleBatch) -> SampleBatch {
    let mut kept = SampleBatch::new();
    let mut from = 0;
    for (index, value) in batch.values().iter().enumerate() {
        if stale::is_stale(*value) {
            kept.extend_from_batch(batch, from..index);
            from = index + 1;
        }
    }
    kept.extend_from_batch(batch, from..batch.len());
    kept
}
