//! Quantiles and fractions of histograms, classic and native.
//!
//! The series of a classic histogram differ in `le` only, and become one. A series without a bound
//! in `le` may hold native histograms; where there are classic buckets of the same labels beside
//! them, neither counts.

use std::collections::HashMap;
use std::sync::Arc;

use ferula_chunkenc::histogram::FloatHistogram;
use ferula_index::{Labels, LabelsBuilder};

use super::batch::{Column, Grid, SeriesMeta};
use super::context::LabelReader;
use super::metas::{CHECK_EVERY, Metas};
use super::{BoxOperator, Context, Operator, Overlap, Scalar, merge_same};
use crate::annotations::ForcedMonotonicity;
use crate::functions::histogram::{self, Bucket};
use crate::functions::native::{self, NanEffect};
use crate::ledger::Charge;
use crate::text::OpenMetricsFloat;
use crate::{AnnotationKind, Error, Span};

/// Label that holds the upper bound of a bucket.
const BUCKET_LABEL: &str = "le";

/// A scalar argument and where it stands.
type Argument = (Scalar, Span);

/// `histogram_quantile`.
pub(super) fn quantile(
    q: Argument,
    inner: BoxOperator,
    span: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let histograms = Histograms::new(inner, span, context)?;
    let metas = histograms.table.metas.clone();
    finish(histograms, vec![Wanted::Quantile(q, None)], metas, grid, context)
}

/// `histogram_quantiles`: each quantile under a label of its own.
pub(super) fn quantiles(
    qs: Vec<Argument>,
    label: &str,
    inner: BoxOperator,
    span: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let histograms = Histograms::new(inner, span, context)?;
    let mut wanted = Vec::new();
    for (q, span) in qs {
        // One that changes from step to step has a label for each of its values.
        let n_looked_at = if matches!(q, Scalar::Constant(_)) { grid.len.min(1) } else { grid.len };
        let mut values: Vec<f64> = (0..n_looked_at).map(|step| q.at(step)).collect();
        values.sort_by(f64::total_cmp);
        values.dedup_by_key(|value| value.to_bits());
        wanted.extend(values.into_iter().map(|value| ((q.clone(), span), value)));
    }
    let n_series = histograms.table.metas.len().saturating_mul(wanted.len());
    let mut metas = Metas::builder(context, n_series)?;
    for meta in &*histograms.table.metas {
        for (_, q) in &wanted {
            let value = OpenMetricsFloat(*q).to_string();
            let labels = LabelsBuilder::from_labels(&meta.labels).set(label, &value).build()?;
            metas.push_made(SeriesMeta { labels, ..meta.clone() })?;
        }
    }
    let wanted = wanted.into_iter().map(|(q, value)| Wanted::Quantile(q, Some(value))).collect();
    finish(histograms, wanted, metas.build(), grid, context)
}

/// `histogram_fraction`.
pub(super) fn fraction(
    (lower, upper): (Scalar, Scalar),
    inner: BoxOperator,
    span: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let histograms = Histograms::new(inner, span, context)?;
    let metas = histograms.table.metas.clone();
    finish(histograms, vec![Wanted::Fraction(lower, upper)], metas, grid, context)
}

fn finish(
    histograms: Histograms,
    wanted: Vec<Wanted>,
    metas: Metas,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let metas = context.drop_names(&metas, LabelReader::Anyone)?.metas;
    for quantile in wanted.iter().filter(|wanted| matches!(wanted, Wanted::Quantile(..))) {
        warn_of_quantile(quantile, grid, context);
    }
    let operator = Box::new(OfHistograms {
        histograms,
        wanted: wanted.into(),
        metas,
        grid,
        columns: Columns::default(),
    });
    // The label of a quantile may take the place of one that told histograms apart.
    merge_same(operator, Overlap::AtSameStep, context)
}

/// What is asked of each histogram.
enum Wanted {
    /// A quantile; where it has this value only, if there is one given.
    Quantile(Argument, Option<f64>),
    Fraction(Scalar, Scalar),
}

impl Wanted {
    /// The quantile at a step, if one is wanted there.
    fn quantile(&self, step: usize) -> Option<f64> {
        match self {
            Self::Quantile((q, _), only) => {
                let q = q.at(step);
                only.is_none_or(|only| only.to_bits() == q.to_bits()).then_some(q)
            }
            Self::Fraction(..) => None,
        }
    }

    /// Tells whether anything is wanted at a step.
    fn is_at(&self, step: usize) -> bool {
        matches!(self, Self::Fraction(..)) || self.quantile(step).is_some()
    }

    /// Tells whether this is a quantile that depends on the buckets.
    fn looks_at_buckets(&self, step: usize) -> bool {
        self.quantile(step).is_some_and(|q| (0.0..=1.0).contains(&q))
    }
}

/// Warns if a quantile lies outside of 0 to 1 at any step.
fn warn_of_quantile(wanted: &Wanted, grid: Grid, context: &Context) {
    let Wanted::Quantile((q, span), only) = wanted else { return };
    let is_constant = matches!(q, Scalar::Constant(_));
    let steps = if is_constant || only.is_some() { grid.len.min(1) } else { grid.len };
    let values = (0..steps).map(|step| only.unwrap_or_else(|| q.at(step)));
    for value in values.filter(|q| !(0.0..=1.0).contains(q)) {
        context.annotate(AnnotationKind::InvalidQuantile { value }, *span);
    }
}

/// The series of a histogram.
#[derive(Debug, Default)]
struct Source {
    /// Bounds and series of classic buckets.
    buckets: Vec<(f64, usize)>,
    /// The series of these very labels, which has native histograms if it has anything to do here.
    native: Option<usize>,
}

/// What was read of a histogram.
#[derive(Default)]
struct Columns {
    buckets: Vec<(f64, Column)>,
    native: Option<Column>,
}

/// The histograms among the series of a vector.
struct Histograms {
    inner: BoxOperator,
    table: Arc<Table>,
    span: Span,
    context: Context,
}

/// Which series make up which histogram.
struct Table {
    metas: Metas,
    /// What each histogram is made of.
    sources: Vec<Source>,
    _charge: Charge,
}

/// Bytes of a series in the table, of which each may be a histogram of its own: its bucket in a list
/// that has room for four, and the entry of its labels.
const ENTRY_BYTES: usize =
    size_of::<Source>() + 4 * size_of::<(f64, usize)>() + 3 * size_of::<(Labels, usize)>();

impl Table {
    fn new(series: &[SeriesMeta], context: &Context) -> Result<Self, Error> {
        let mut charge = context.charge("histograms of series");
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let (mut metas, mut sources) = (Metas::builder(context, 0)?, Vec::<Source>::new());
        for (index, meta) in series.iter().enumerate() {
            if index.is_multiple_of(CHECK_EVERY) {
                context.limits.check()?;
            }
            let bound = histogram::parse_bound(meta.labels.get(BUCKET_LABEL));
            let kept = |name: &str| bound.is_none() || name != BUCKET_LABEL;
            let labels = Labels::from_pairs(meta.labels.iter().filter(|(name, _)| kept(name)))?;
            let at = match known.get(&labels) {
                Some(at) => *at,
                None => {
                    charge.add(2 * ENTRY_BYTES)?;
                    metas.push_made(SeriesMeta::new(labels.clone()))?;
                    sources.push(Source::default());
                    known.insert(labels, sources.len() - 1);
                    sources.len() - 1
                }
            };
            match bound {
                Some(bound) => {
                    charge.add(2 * size_of::<(f64, usize)>())?;
                    sources[at].buckets.push((bound, index));
                }
                None => sources[at].native = Some(index),
            }
        }
        Ok(Self { metas: metas.build(), sources, _charge: charge })
    }
}

impl Histograms {
    fn new(inner: BoxOperator, span: Span, context: &Context) -> Result<Self, Error> {
        let table = Arc::new(Table::new(inner.series(), context)?);
        Ok(Self { inner, table, span, context: context.clone() })
    }

    /// Name of a metric as annotations tell it.
    fn metric_name(&self, labels: &Labels) -> String {
        let delayed = self.context.features.delayed_name_removal;
        if delayed { labels.metric_name().to_owned() } else { String::new() }
    }

    /// Reads the columns of a histogram into those of the last one. Warns of floats in a series that
    /// is no bucket.
    fn read(&mut self, index: usize, columns: &mut Columns) -> Result<(), Error> {
        let Source { buckets, native } = &self.table.sources[index];
        columns.buckets.truncate(buckets.len());
        for (at, (bound, series)) in buckets.iter().enumerate() {
            if at == columns.buckets.len() {
                columns.buckets.push((0.0, self.context.column()));
            }
            let (upper_bound, column) = &mut columns.buckets[at];
            *upper_bound = *bound;
            self.inner.read(*series, column)?;
        }
        columns.native = None;
        let Some(series) = *native else { return Ok(()) };
        let mut column = self.context.column();
        self.inner.read(series, &mut column)?;
        if column.iter().next().is_some() {
            let labels = &self.inner.series()[series].labels;
            let kind = AnnotationKind::BadBucketLabel {
                metric: self.metric_name(labels),
                label: labels.get(BUCKET_LABEL).unwrap_or_default().to_owned(),
            };
            self.context.annotate(kind, self.span);
        }
        if column.has_histograms() {
            columns.native = Some(column);
        }
        Ok(())
    }
}

/// A function of the histograms of a vector.
struct OfHistograms {
    histograms: Histograms,
    /// Each histogram has as many output series, side by side.
    wanted: Arc<[Wanted]>,
    metas: Metas,
    grid: Grid,
    /// Of the histogram that was read last.
    columns: Columns,
}

impl Operator for OfHistograms {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        out.reset(self.grid.len)?;
        let (histogram, wanted) = (index / self.wanted.len(), index % self.wanted.len());
        let mut columns = std::mem::take(&mut self.columns);
        self.histograms.read(histogram, &mut columns)?;
        let mut buckets = Vec::with_capacity(columns.buckets.len());
        let is_wanted = |step: &usize| self.wanted[wanted].is_at(*step);
        for step in (0..self.grid.len).filter(is_wanted) {
            buckets.clear();
            buckets.extend(columns.buckets.iter().filter_map(|(upper_bound, column)| {
                let count = column.get(step)?;
                Some(Bucket { upper_bound: *upper_bound, count })
            }));
            let native = columns.native.as_ref().and_then(|column| column.histogram(step));
            match native {
                Some(_) if !buckets.is_empty() => {
                    let metric = self.metric_name(histogram);
                    let kind = AnnotationKind::MixedClassicNative { metric };
                    self.histograms.context.annotate(kind, self.histograms.span);
                }
                Some(native) => out.set(step, self.of_native(histogram, wanted, step, native)),
                None if !buckets.is_empty() => {
                    out.set(step, self.value(histogram, wanted, step, &mut buckets));
                }
                None => {}
            }
        }
        self.columns = columns;
        Ok(())
    }

    fn fork(&self) -> Option<BoxOperator> {
        let Histograms { inner, table, span, context } = &self.histograms;
        let inner = inner.fork()?;
        let (table, context) = (Arc::clone(table), context.clone());
        Some(Box::new(Self {
            histograms: Histograms { inner, table, span: *span, context },
            wanted: Arc::clone(&self.wanted),
            metas: self.metas.clone(),
            grid: self.grid,
            columns: Columns::default(),
        }))
    }
}

impl OfHistograms {
    fn metric_name(&self, histogram: usize) -> String {
        self.histograms.metric_name(&self.histograms.table.metas[histogram].labels)
    }

    fn of_native(
        &self,
        histogram: usize,
        wanted: usize,
        step: usize,
        value: &FloatHistogram,
    ) -> f64 {
        let metric = || self.metric_name(histogram);
        let (value, kind) = match &self.wanted[wanted] {
            Wanted::Fraction(lower, upper) => {
                let (value, effect) = native::fraction(lower.at(step), upper.at(step), value);
                let kind = effect.map(|_| AnnotationKind::FractionWithoutNaN { metric: metric() });
                (value, kind)
            }
            Wanted::Quantile((q, _), _) => {
                let (value, effect) = native::quantile(q.at(step), value);
                let kind = effect.map(|effect| match effect {
                    NanEffect::Result => AnnotationKind::QuantileOfNaN { metric: metric() },
                    NanEffect::Skew => AnnotationKind::QuantileSkewedByNaN { metric: metric() },
                });
                (value, kind)
            }
        };
        if let Some(kind) = kind {
            self.histograms.context.annotate(kind, self.histograms.span);
        }
        value
    }

    fn value(
        &self,
        histogram: usize,
        wanted: usize,
        step: usize,
        buckets: &mut Vec<Bucket>,
    ) -> f64 {
        let q = match &self.wanted[wanted] {
            Wanted::Fraction(lower, upper) => {
                return histogram::fraction(lower.at(step), upper.at(step), buckets);
            }
            Wanted::Quantile((q, _), _) => q.at(step),
        };
        let Histograms { context, span, .. } = &self.histograms;
        let (value, raised) = histogram::quantile(q, buckets);
        // Told once of a histogram of which several quantiles are taken.
        let is_first = !self.wanted[..wanted].iter().any(|other| other.looks_at_buckets(step));
        if let Some(raised) = raised.filter(|_| is_first) {
            let time = self.grid.time(step);
            let fixed = ForcedMonotonicity {
                metric: self.metric_name(histogram),
                first_ms: time,
                last_ms: time,
                min_bucket: raised.min_bucket,
                max_bucket: raised.max_bucket,
                max_diff: raised.max_diff,
                count: 1,
            };
            context.annotate(AnnotationKind::ForcedMonotonicity(fixed), *span);
        }
        value
    }
}
