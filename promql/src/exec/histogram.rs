//! Quantiles and fractions of histograms, classic and native.
//!
//! The series of a classic histogram differ in `le` only, and become one. A series without a bound
//! in `le` may hold native histograms; where there are classic buckets of the same labels beside
//! them, neither counts.

use std::collections::HashMap;

use ferula_chunkenc::histogram::FloatHistogram;
use ferula_index::{Labels, LabelsBuilder};

use super::batch::{Column, Grid, SeriesMeta};
use super::context::LabelReader;
use super::{BoxOperator, Context, Operator, Overlap, Scalar, merge_same};
use crate::annotations::ForcedMonotonicity;
use crate::functions::histogram::{self, Bucket};
use crate::functions::native::{self, NanEffect};
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
    let metas = histograms.metas.clone();
    finish(histograms, vec![Wanted::Quantile(q)], metas, grid, context)
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
    let mut metas = Vec::new();
    for meta in &histograms.metas {
        for (q, _) in &qs {
            let value = OpenMetricsFloat(q.at(0)).to_string();
            let labels = LabelsBuilder::from_labels(&meta.labels).set(label, &value).build()?;
            metas.push(SeriesMeta { labels, ..meta.clone() });
        }
    }
    finish(histograms, qs.into_iter().map(Wanted::Quantile).collect(), metas, grid, context)
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
    let metas = histograms.metas.clone();
    finish(histograms, vec![Wanted::Fraction(lower, upper)], metas, grid, context)
}

fn finish(
    histograms: Histograms,
    wanted: Vec<Wanted>,
    metas: Vec<SeriesMeta>,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let metas = context.drop_names(&metas, LabelReader::Anyone)?.metas;
    for (q, span) in wanted.iter().filter_map(Wanted::as_quantile) {
        warn_of_quantile(q, *span, grid, context);
    }
    let operator = Box::new(OfHistograms { histograms, wanted, metas, grid });
    // The label of a quantile may take the place of one that told histograms apart.
    Ok(merge_same(operator, Overlap::AtSameStep))
}

/// What is asked of each histogram.
enum Wanted {
    Quantile(Argument),
    Fraction(Scalar, Scalar),
}

impl Wanted {
    fn as_quantile(&self) -> Option<&Argument> {
        match self {
            Self::Quantile(argument) => Some(argument),
            Self::Fraction(..) => None,
        }
    }
}

/// Warns if a quantile lies outside of 0 to 1 at any step.
fn warn_of_quantile(q: &Scalar, span: Span, grid: Grid, context: &Context) {
    let steps = if matches!(q, Scalar::Constant(_)) { grid.len.min(1) } else { grid.len };
    for value in (0..steps).map(|step| q.at(step)).filter(|q| !(0.0..=1.0).contains(q)) {
        context.annotate(AnnotationKind::InvalidQuantile { value }, span);
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
struct Columns {
    buckets: Vec<(f64, Column)>,
    native: Option<Column>,
    /// Number of samples that they count as.
    held: usize,
}

/// The histograms among the series of a vector.
struct Histograms {
    inner: BoxOperator,
    metas: Vec<SeriesMeta>,
    /// What each histogram is made of.
    sources: Vec<Source>,
    span: Span,
    context: Context,
}

impl Histograms {
    fn new(inner: BoxOperator, span: Span, context: &Context) -> Result<Self, Error> {
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let (mut metas, mut sources) = (Vec::new(), Vec::<Source>::new());
        for (index, meta) in inner.series().iter().enumerate() {
            let bound = histogram::parse_bound(meta.labels.get(BUCKET_LABEL));
            let kept = |name: &str| bound.is_none() || name != BUCKET_LABEL;
            let labels = Labels::from_pairs(meta.labels.iter().filter(|(name, _)| kept(name)))?;
            let at = *known.entry(labels).or_insert_with_key(|labels| {
                metas.push(SeriesMeta::new(labels.clone()));
                sources.push(Source::default());
                sources.len() - 1
            });
            match bound {
                Some(bound) => sources[at].buckets.push((bound, index)),
                None => sources[at].native = Some(index),
            }
        }
        Ok(Self { inner, metas, sources, span, context: context.clone() })
    }

    /// Name of a metric as annotations tell it.
    fn metric_name(&self, labels: &Labels) -> String {
        let delayed = self.context.features.delayed_name_removal;
        if delayed { labels.metric_name().to_owned() } else { String::new() }
    }

    /// Reads the columns of a histogram, which count as held from then on. Warns of floats in a
    /// series that is no bucket.
    fn read(&mut self, index: usize, len: usize) -> Result<Columns, Error> {
        let Source { buckets, native } = &self.sources[index];
        let n_columns = buckets.len() + usize::from(native.is_some());
        let held = n_columns.saturating_mul(len);
        self.context.limits.hold(held)?;
        let mut columns =
            Columns { buckets: Vec::with_capacity(buckets.len()), native: None, held };
        for (bound, series) in buckets {
            let mut column = Column::new();
            self.inner.read(*series, &mut column)?;
            columns.buckets.push((*bound, column));
        }
        let Some(series) = *native else { return Ok(columns) };
        let mut column = Column::new();
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
            let histograms = column.held() - column.len();
            self.context.limits.hold(histograms)?;
            columns.held += histograms;
            columns.native = Some(column);
        }
        Ok(columns)
    }
}

/// A function of the histograms of a vector.
struct OfHistograms {
    histograms: Histograms,
    /// Each histogram has as many output series, side by side.
    wanted: Vec<Wanted>,
    metas: Vec<SeriesMeta>,
    grid: Grid,
}

impl Operator for OfHistograms {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        out.reset(self.grid.len);
        let (histogram, wanted) = (index / self.wanted.len(), index % self.wanted.len());
        let columns = self.histograms.read(histogram, self.grid.len)?;
        let mut buckets = Vec::with_capacity(columns.buckets.len());
        for step in 0..self.grid.len {
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
        self.histograms.context.limits.release(columns.held);
        Ok(())
    }
}

impl OfHistograms {
    fn metric_name(&self, histogram: usize) -> String {
        self.histograms.metric_name(&self.histograms.metas[histogram].labels)
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
                (value, effect.map(|_| AnnotationKind::FractionWithoutNaN { metric: metric() }))
            }
            Wanted::Quantile((q, _)) => {
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
            Wanted::Quantile((q, _)) => q.at(step),
        };
        let Histograms { context, span, .. } = &self.histograms;
        let (value, raised) = histogram::quantile(q, buckets);
        if let Some(raised) = raised {
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
