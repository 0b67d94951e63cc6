//! From the operators of a query to its value.

use ferula_chunkenc::{Sample, SampleBatch, stale};
use ferula_index::Labels;

use crate::ast::Boundary;
use crate::exec::batch::{Grid, SeriesMeta};
use crate::exec::{
    Context, Metas, Operator, Overlap, Renamed, Scalar, build, build_source, by_all_labels,
    merge_same, read_named, without_metadata,
};
use crate::functions::rate;
use crate::functions::signatures::ValueType;
use crate::functions::starts::Starts;
use crate::ledger::Charge;
use crate::plan::{Node, NodeKind, RangeSource};
use crate::sorting::{CHECK_EVERY, sort_within};
use crate::{Error, MatrixSeries, Part, Value, VectorSample, limits};

/// Takes the parts of an answer, in order.
pub(crate) type Take<'a> = dyn FnMut(Part) -> Result<(), Error> + 'a;

/// Evaluates a plan at one step.
pub(crate) fn instant(
    plan: &Node,
    grid: Grid,
    context: &Context,
    take: &mut Take<'_>,
) -> Result<(), Error> {
    let timestamp = grid.start;
    let context = &context.at(plan, grid);
    match (&plan.kind, plan.value_type()) {
        (NodeKind::String(text), _) => take(Part::String { timestamp, text: text.clone() }),
        (NodeKind::Range(source), _) => matrix(source, grid, context, take),
        (_, ValueType::Scalar) => {
            let value = Scalar::evaluate(plan, grid, context)?.at(0);
            take(Part::Scalar(Sample::new(timestamp, value)))
        }
        _ => {
            let mut operator = root(plan, grid, context)?;
            take(Part::Vector)?;
            read_named(&mut *operator, context, |_, meta, column| {
                if !column.has(0) {
                    return Ok(());
                }
                context.limits.hold(column.weight())?;
                take(Part::Sample(VectorSample {
                    labels: meta.labels.clone(),
                    timestamp,
                    value: column.get(0).unwrap_or(stale::NORMAL_NAN),
                    histogram: column.histogram(0).cloned(),
                }))
            })
        }
    }
}

/// Evaluates a plan at every step of `grid`.
pub(crate) fn range(
    plan: &Node,
    grid: Grid,
    context: &Context,
    take: &mut Take<'_>,
) -> Result<(), Error> {
    let context = &context.at(plan, grid);
    let mut operator = by_all_labels(root(plan, grid, context)?, context)?;
    take(Part::Matrix)?;
    let mut charge = context.charge("the result");
    read_named(&mut *operator, context, |_, meta, column| {
        let count = column.count();
        if count == 0 {
            return Ok(());
        }
        context.limits.hold(column.weight())?;
        charge.raise_to(column.result_bytes())?;
        let mut samples = SampleBatch::new();
        samples.reserve(count);
        column.append_to(grid, &mut samples);
        take(Part::Series(MatrixSeries { labels: meta.labels.clone(), samples }))
    })
}

/// Collects the parts of an answer, which count as memory of the query from then on.
pub(crate) struct Collected {
    value: Option<Value>,
    charge: Charge,
}

impl Collected {
    pub(crate) fn new(context: &Context) -> Self {
        Self { value: None, charge: context.charge("the result") }
    }

    /// Takes the next part.
    pub(crate) fn take(&mut self, part: Part) -> Result<(), Error> {
        match (part, &mut self.value) {
            (Part::Scalar(sample), _) => self.value = Some(Value::Scalar(sample)),
            (Part::String { timestamp, text }, _) => {
                self.value = Some(Value::String { timestamp, text });
            }
            (Part::Vector, _) => self.value = Some(Value::Vector(Vec::new())),
            (Part::Matrix, _) => self.value = Some(Value::Matrix(Vec::new())),
            (Part::Sample(sample), Some(Value::Vector(vector))) => {
                let histogram = sample.histogram.as_ref().map_or(0, |h| h.size_bytes());
                // The list grows to twice its size.
                self.charge.add(2 * size_of::<VectorSample>() + histogram)?;
                vector.push(sample);
            }
            (Part::Series(series), Some(Value::Matrix(matrix))) => {
                let samples = limits::batch_bytes(&series.samples);
                self.charge.add(2 * size_of::<MatrixSeries>() + samples)?;
                matrix.push(series);
            }
            (Part::Sample(_) | Part::Series(_), _) => unreachable!("the kind comes first"),
        }
        Ok(())
    }

    /// The whole answer.
    pub(crate) fn into_value(self) -> Value {
        self.value.unwrap_or(Value::Matrix(Vec::new()))
    }
}

/// Makes the operators of a plan and reads nothing but what they must know to be made. Yields the
/// number of series of the answer.
pub(crate) fn prepare(plan: &Node, grid: Grid, context: &Context) -> Result<usize, Error> {
    let context = &context.at(plan, grid);
    match &plan.kind {
        NodeKind::String(_) => Ok(0),
        NodeKind::Range(source) => Ok(build_source(source, grid, context)?.series().len()),
        _ => Ok(root(plan, grid, context)?.series().len()),
    }
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
fn matrix(
    source: &RangeSource,
    grid: Grid,
    context: &Context,
    take: &mut Take<'_>,
) -> Result<(), Error> {
    let end = source.shift().apply(grid.start);
    let start = end.saturating_sub(source.range_ms());
    let mut samples = build_source(source, grid, context)?;
    let mut charge = context.charge("the result");
    let mut batch = SampleBatch::new();
    let mut rows: Vec<MatrixSeries> = Vec::new();
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
        charge.add(4 * size_of::<MatrixSeries>() + limits::batch_bytes(&kept))?;
        let meta = &samples.series()[index];
        let labels =
            if meta.drop_name { without_metadata(&meta.labels)? } else { meta.labels.clone() };
        rows.push(MatrixSeries { labels, samples: kept });
    }
    let order = by_labels(&rows, context)?;
    take(Part::Matrix)?;
    order.into_iter().try_for_each(|index| {
        let empty = MatrixSeries { labels: Labels::empty(), samples: SampleBatch::new() };
        take(Part::Series(std::mem::replace(&mut rows[index], empty)))
    })
}

/// The places of series in the order of their labels, of which no two may be the same.
fn by_labels(rows: &[MatrixSeries], context: &Context) -> Result<Vec<usize>, Error> {
    let mut charge = context.charge("what is sorted");
    charge.add_each(rows.len(), 2 * size_of::<usize>())?;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    sort_within(&mut order, &context.limits, |a, b| rows[*a].labels.cmp(&rows[*b].labels))?;
    for (at, pair) in order.windows(2).enumerate() {
        if at.is_multiple_of(CHECK_EVERY) {
            context.limits.check()?;
        }
        if rows[pair[0]].labels == rows[pair[1]].labels {
            return Err(Error::DuplicateLabelset);
        }
    }
    Ok(order)
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
