//! Range functions: where their samples come from, and the operators around their arithmetic.

use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};

use super::batch::{Column, Grid, SeriesMeta};
use super::context::{LabelReader, Unnamed};
use super::metas::Metas;
use super::notes::Notes;
use super::reader::{self, Reader};
use super::window::{Windowed, Windows};
use super::{BoxOperator, Context, Operator, Overlap, Scalar, merge_same, scan, subquery};
use crate::functions::RangeFunction;
use crate::plan::{RangeCall, RangeSource};
use crate::storage::Wanted;
use crate::{AnnotationKind, Error, Span};

/// Series of samples at times of their own.
pub(crate) trait SampleSource: Send {
    /// What is known of the series.
    fn series(&self) -> &Metas;

    /// Replaces what `batch` holds by the samples of the series at `index`, without staleness
    /// markers.
    fn read(&mut self, index: usize, batch: &mut SampleBatch) -> Result<(), Error>;

    /// Makes another reader of the same series, if that is possible.
    fn fork(&self) -> Option<Box<dyn SampleSource>>;
}

/// Makes the source of the samples of the windows that end at the steps of `grid`.
pub(crate) fn source(
    source: &RangeSource,
    grid: Grid,
    context: &Context,
) -> Result<Box<dyn SampleSource>, Error> {
    source_with(source, None, Wanted::All, grid, context)
}

/// The same, for someone who looks at the `needed` labels only, if there are any given, besides
/// those that describe the metric.
fn source_with(
    source: &RangeSource,
    needed: Option<&[&str]>,
    wanted: Wanted,
    grid: Grid,
    context: &Context,
) -> Result<Box<dyn SampleSource>, Error> {
    match source {
        RangeSource::Selector { selector, range_ms } => {
            let set = scan::select(selector, Some(*range_ms), wanted, needed, grid, context)?;
            let metas = reader::metas(&*set, needed, context)?;
            let reader = Reader::new(set, selector.stats_only, WINDOW_SCRATCH, context);
            Ok(Box::new(Stored { reader, metas }))
        }
        RangeSource::Subquery(subquery) => subquery::source(subquery, grid, context),
    }
}

/// Bytes that range functions need for each sample at most, beside it: a copy without staleness
/// markers, or floats and histograms apart, marks, and what sums over windows carry along.
pub(super) const WINDOW_SCRATCH: usize = 64;

/// Samples of a storage.
struct Stored {
    reader: Reader,
    metas: Metas,
}

impl SampleSource for Stored {
    fn series(&self) -> &Metas {
        &self.metas
    }

    fn read(&mut self, index: usize, batch: &mut SampleBatch) -> Result<(), Error> {
        self.reader.read(index, batch)?;
        if scan::any_stale(batch.values()) {
            *batch = scan::without_stale(batch);
        }
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn SampleSource>> {
        Some(Box::new(Self { reader: self.reader.fork(), metas: self.metas.clone() }))
    }
}

/// Makes the operator of a range function.
pub(super) fn build(
    call: &RangeCall,
    reader: LabelReader<'_>,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let wanted = match call.function {
        RangeFunction::Last
        | RangeFunction::Present
        | RangeFunction::Absent
        | RangeFunction::TsOfLast => Wanted::NewestNotStale,
        _ => Wanted::All,
    };
    let mut source = source_with(&call.source, reader.needed(), wanted, grid, context)?;
    let params = call
        .params
        .iter()
        .map(|param| Scalar::evaluate(param, grid, context))
        .collect::<Result<Vec<_>, _>>()?;
    let windows = Windows {
        grid,
        shift: call.source.shift(),
        range_ms: call.source.range_ms(),
        boundary: call.source.boundary(),
        lookback_ms: context.lookback_ms,
        use_starts: context.features.use_start_timestamps && call.function.uses_start_timestamps(),
        limits: Arc::clone(&context.limits),
    };
    let functions = context.functions.clone();
    let windowed = Windowed::new(call.function, params.into(), windows, functions);
    if call.function == RangeFunction::Absent {
        let labels = match &call.source {
            RangeSource::Selector { selector, .. } => absent_labels(&selector.matchers)?,
            RangeSource::Subquery(_) => Labels::empty(),
        };
        let metas = Metas::few(context, vec![SeriesMeta { labels, drop_name: true }]);
        return Ok(Box::new(AbsentOverTime { source, windowed, metas, context: context.clone() }));
    }
    let Unnamed { metas, may_clash } = if call.function.keeps_name() {
        Unnamed { metas: source.series().clone(), may_clash: false }
    } else {
        let unnamed = context.drop_names(source.series(), reader)?;
        if unnamed.may_clash && reader.needed().is_some() {
            // Which of them are the same without their names is told by all their labels.
            source = source_with(&call.source, None, wanted, grid, context)?;
            context.drop_names(source.series(), reader)?
        } else {
            unnamed
        }
    };
    let operator = Box::new(RangeOperator {
        source,
        metas,
        windowed,
        batch: SampleBatch::new(),
        first_span: call.first_span,
        noted: None,
        context: context.clone(),
    });
    if may_clash { merge_same(operator, Overlap::Anywhere, context) } else { Ok(operator) }
}

struct RangeOperator {
    source: Box<dyn SampleSource>,
    metas: Metas,
    windowed: Windowed,
    batch: SampleBatch,
    first_span: Span,
    /// Metric that was last said to be no counter.
    noted: Option<String>,
    context: Context,
}

impl Operator for RangeOperator {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.source.read(index, &mut self.batch)?;
        let labels = &self.source.series()[index].labels;
        let (context, metric) = (&self.context, labels.metric_name());
        let notes = Notes { context, metric, span: self.first_span };
        self.windowed.compute(&self.batch, notes, out)?;
        if out.iter().next().is_some() {
            self.annotate(index, out);
        }
        Ok(())
    }

    fn fork(&self) -> Option<BoxOperator> {
        Some(Box::new(Self {
            source: self.source.fork()?,
            metas: self.metas.clone(),
            windowed: self.windowed.fork(),
            batch: SampleBatch::new(),
            first_span: self.first_span,
            noted: None,
            context: self.context.clone(),
        }))
    }
}

impl RangeOperator {
    fn annotate(&mut self, index: usize, out: &Column) {
        if self.windowed.function.wants_counter() {
            self.doubt_counter(index);
        }
        if self.windowed.function == RangeFunction::Quantile
            && let Some(q) = self.windowed.params.first()
        {
            for (step, _) in out.iter() {
                let value = q.at(step);
                if !(0.0..=1.0).contains(&value) {
                    let kind = AnnotationKind::InvalidQuantile { value };
                    self.context.annotate(kind, self.first_span);
                }
            }
        }
    }

    /// Tells if a metric does not look like a counter.
    fn doubt_counter(&mut self, index: usize) {
        let labels = &self.source.series()[index].labels;
        let metric = labels.metric_name();
        if metric.is_empty() || self.noted.as_deref() == Some(metric) {
            return;
        }
        let metric = metric.to_owned();
        let kind = if self.context.features.type_and_unit_labels {
            match labels.get("__type__").unwrap_or_default() {
                "counter" | "histogram" => return,
                other => AnnotationKind::PossibleNonCounterLabel {
                    metric: metric.clone(),
                    type_label: other.to_owned(),
                },
            }
        } else {
            let suffixes = ["_total", "_sum", "_count", "_bucket"];
            if suffixes.iter().any(|suffix| metric.ends_with(suffix)) {
                return;
            }
            AnnotationKind::PossibleNonCounter { metric: metric.clone() }
        };
        self.context.annotate(kind, self.first_span);
        self.noted = Some(metric);
    }
}

/// `absent_over_time`: 1 at the steps whose window holds no sample of any series.
struct AbsentOverTime {
    source: Box<dyn SampleSource>,
    windowed: Windowed,
    metas: Metas,
    context: Context,
}

impl Operator for AbsentOverTime {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, _index: usize, out: &mut Column) -> Result<(), Error> {
        out.fill(self.windowed.windows.grid.len, |_| 1.0)?;
        let (mut batch, mut found) = (SampleBatch::new(), self.context.column());
        for index in 0..self.source.series().len() {
            self.source.read(index, &mut batch)?;
            let notes = Notes { context: &self.context, metric: "", span: Span::default() };
            self.windowed.compute(&batch, notes, &mut found)?;
            for step in found.presence().iter_ones() {
                out.unset(step);
            }
        }
        Ok(())
    }

    fn fork(&self) -> Option<BoxOperator> {
        None
    }
}

/// The labels that a series must have had if it were not absent: those asked for with `=` once.
pub(super) fn absent_labels(matchers: &[Matcher]) -> Result<Labels, Error> {
    let mut labels = LabelsBuilder::new();
    let mut set: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name() != METRIC_NAME) {
        if matcher.op() == MatchOp::Equal && !set.contains(&matcher.name()) {
            labels.set(matcher.name(), matcher.value());
            set.push(matcher.name());
        } else {
            labels.remove(matcher.name());
        }
    }
    Ok(labels.build()?)
}
