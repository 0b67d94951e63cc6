//! From the operators of a query to its value.

use std::collections::HashMap;
use std::sync::Arc;

use ferula_chunkenc::histogram::FloatHistogram;
use ferula_chunkenc::{Sample, SampleBatch, stale};
use ferula_index::Labels;

use crate::ast::Boundary;
use crate::exec::batch::{Grid, SeriesMeta};
use crate::exec::{
    Context, Metas, Operator, Overlap, Renamed, Scalar, build, build_source, merge_same, read_all,
    without_metadata,
};
use crate::functions::rate;
use crate::functions::signatures::ValueType;
use crate::functions::starts::Starts;
use crate::plan::{Node, NodeKind, RangeSource};
use crate::{Error, MatrixSeries, Value, VectorSample, limits};

/// Evaluates a plan at one step.
pub(crate) fn instant(plan: &Node, grid: Grid, context: &Context) -> Result<Value, Error> {
    let timestamp = grid.start;
    let context = &context.at(plan.span, grid);
    match (&plan.kind, plan.value_type()) {
        (NodeKind::String(text), _) => Ok(Value::String { timestamp, text: text.clone() }),
        (NodeKind::Range(source), _) => matrix(source, grid, context),
        (_, ValueType::Scalar) => {
            let value = Scalar::evaluate(plan, grid, context)?.at(0);
            Ok(Value::Scalar(Sample::new(timestamp, value)))
        }
        _ => {
            let mut operator = root(plan, grid, context)?;
            let mut charge = context.charge("the result");
            let mut samples: Vec<(usize, f64, Option<Arc<FloatHistogram>>)> = Vec::new();
            read_all(&mut *operator, context, |index, column| {
                if column.has(0) {
                    context.limits.hold(column.weight())?;
                    let value = column.get(0).unwrap_or(stale::NORMAL_NAN);
                    let histogram = column.histogram(0).map_or(0, |h| h.size_bytes());
                    // A list that grows to twice its size, and the one that is made of it.
                    charge.add(2 * size_of::<(usize, f64, usize)>() + size_of::<VectorSample>())?;
                    charge.add(histogram)?;
                    samples.push((index, value, column.histogram(0).cloned()));
                }
                Ok(())
            })?;
            let labelled = |(index, value, histogram): (usize, f64, _)| VectorSample {
                labels: operator.series()[index].labels.clone(),
                timestamp,
                value,
                histogram,
            };
            let vector: Vec<VectorSample> = samples.into_iter().map(labelled).collect();
            Ok(Value::Vector(vector))
        }
    }
}

/// Bytes of a series of a matrix: in a list that grows to twice its size, and in the one made of it.
const ROW_BYTES: usize = 2 * size_of::<(usize, SampleBatch)>() + size_of::<MatrixSeries>();

/// Evaluates a plan at every step of `grid`.
pub(crate) fn range(plan: &Node, grid: Grid, context: &Context) -> Result<Value, Error> {
    let context = &context.at(plan.span, grid);
    let mut operator = root(plan, grid, context)?;
    let mut charge = context.charge("the result");
    let mut rows: Vec<(usize, SampleBatch)> = Vec::new();
    read_all(&mut *operator, context, |index, column| {
        let count = column.count();
        if count > 0 {
            context.limits.hold(column.weight())?;
            charge.add(ROW_BYTES + column.result_bytes())?;
            let mut samples = SampleBatch::new();
            samples.reserve(count);
            column.append_to(grid, &mut samples);
            rows.push((index, samples));
        }
        Ok(())
    })?;
    let series = operator.series();
    Ok(sorted(
        rows.into_iter()
            .map(|(index, samples)| MatrixSeries { labels: series[index].labels.clone(), samples }),
    ))
}

fn sorted(series: impl Iterator<Item = MatrixSeries>) -> Value {
    let mut series: Vec<MatrixSeries> = series.collect();
    // Storages and most operators keep the order of labels.
    if !series.is_sorted_by(|a, b| a.labels <= b.labels) {
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    Value::Matrix(series)
}

/// The operator of the whole query, which removes the names that are to be removed at the end.
fn root(plan: &Node, grid: Grid, context: &Context) -> Result<Box<dyn Operator>, Error> {
    let operator = build(plan, grid, context)?;
    // Otherwise they are gone already, and clashes were found where they were dropped.
    let delayed = context.features.delayed_name_removal;
    if !delayed || operator.series().iter().all(|meta| !meta.drop_name) {
        return Ok(operator);
    }
    let mut metas = Metas::builder(context, operator.series().len())?;
    for meta in operator.series() {
        if meta.drop_name {
            let labels = without_metadata(&meta.labels)?;
            metas.push_made(SeriesMeta { labels, drop_name: false })?;
        } else {
            metas.push_shared(meta.clone())?;
        }
    }
    let unnamed = Renamed { inner: operator, metas: metas.build() };
    merge_same(Box::new(unnamed), Overlap::AtSameStep, context)
}

/// The samples of a range vector as they are.
fn matrix(source: &RangeSource, grid: Grid, context: &Context) -> Result<Value, Error> {
    let end = source.shift().apply(grid.start);
    let start = end.saturating_sub(source.range_ms());
    let mut samples = build_source(source, grid, context)?;
    let mut charge = context.charge("the result");
    let mut batch = SampleBatch::new();
    let mut rows: Vec<(Labels, SampleBatch)> = Vec::new();
    for index in 0..samples.series().len() {
        samples.read(index, &mut batch)?;
        let kept = match source.boundary() {
            None => inside(&batch, start, end),
            Some(boundary) => {
                let smoothed = boundary == Boundary::Smoothed;
                if near(&batch, start, end, smoothed, context.lookback_ms).has_histograms() {
                    let modifier = if smoothed { "smoothed" } else { "anchored" };
                    return Err(Error::HistogramsExtended { modifier });
                }
                extended(&batch, start, end, smoothed, context.lookback_ms)
            }
        };
        if kept.is_empty() {
            continue;
        }
        context.limits.hold(limits::weight_of_batch(&kept))?;
        charge.add(2 * ROW_BYTES + 2 * kept.len() * size_of::<Sample>())?;
        let meta = &samples.series()[index];
        let labels =
            if meta.drop_name { without_metadata(&meta.labels)? } else { meta.labels.clone() };
        rows.push((labels, kept));
    }
    let mut known: HashMap<Labels, ()> = HashMap::with_capacity(rows.len());
    if rows.iter().any(|(labels, _)| known.insert(labels.clone(), ()).is_some()) {
        return Err(Error::DuplicateLabelset);
    }
    Ok(sorted(rows.into_iter().map(|(labels, samples)| MatrixSeries { labels, samples })))
}

/// The samples of a window.
fn inside(batch: &SampleBatch, start: i64, end: i64) -> SampleBatch {
    let first = batch.timestamps().partition_point(|time| *time <= start);
    let last = batch.timestamps().partition_point(|time| *time <= end).max(first);
    let mut kept = SampleBatch::new();
    kept.extend_from_batch(batch, first..last);
    kept
}

/// The samples that an `anchored` or `smoothed` window is made from.
fn near(
    batch: &SampleBatch,
    start: i64,
    end: i64,
    smoothed: bool,
    lookback_ms: i64,
) -> SampleBatch {
    let ahead = if smoothed { lookback_ms } else { 0 };
    inside(batch, start.saturating_sub(lookback_ms), end.saturating_add(ahead))
}

/// The samples of an `anchored` or `smoothed` window, values at its bounds included.
fn extended(
    batch: &SampleBatch,
    start: i64,
    end: i64,
    smoothed: bool,
    lookback_ms: i64,
) -> SampleBatch {
    let near = near(batch, start, end, smoothed, lookback_ms);
    let (timestamps, values) = (near.timestamps(), near.values());
    let window = rate::Span { timestamps, values, starts: Starts::NONE, start, end };
    let mut kept = SampleBatch::new();
    for (time, value) in rate::extended_samples(window, smoothed) {
        kept.push(time, value);
    }
    kept
}
