//! Functions of classic histograms: series that differ in `le` only become one.

use std::collections::HashMap;

use ferula_index::{Labels, LabelsBuilder};

use super::batch::{Column, Grid, SeriesMeta};
use super::context::NameReader;
use super::{BoxOperator, Context, Operator, Overlap, Scalar, merge_same};
use crate::annotations::ForcedMonotonicity;
use crate::functions::histogram::{self, Bucket};
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
    let metas = context.drop_names(&metas, NameReader::Anyone)?.metas;
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

/// The histograms among the series of a vector.
struct Histograms {
    inner: BoxOperator,
    metas: Vec<SeriesMeta>,
    /// Bounds and series of the buckets, per histogram.
    buckets: Vec<Vec<(f64, usize)>>,
    span: Span,
    context: Context,
}

impl Histograms {
    fn new(inner: BoxOperator, span: Span, context: &Context) -> Result<Self, Error> {
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let (mut metas, mut buckets) = (Vec::new(), Vec::<Vec<(f64, usize)>>::new());
        let mut malformed = Vec::new();
        for (index, meta) in inner.series().iter().enumerate() {
            let Some(bound) = histogram::parse_bound(meta.labels.get(BUCKET_LABEL)) else {
                malformed.push(index);
                continue;
            };
            let labels =
                Labels::from_pairs(meta.labels.iter().filter(|(name, _)| *name != BUCKET_LABEL))?;
            let at = *known.entry(labels).or_insert_with_key(|labels| {
                metas.push(SeriesMeta::new(labels.clone()));
                buckets.push(Vec::new());
                buckets.len() - 1
            });
            buckets[at].push((bound, index));
        }
        let mut histograms = Self { inner, metas, buckets, span, context: context.clone() };
        histograms.warn_of(&malformed)?;
        Ok(histograms)
    }

    /// Name of a metric as annotations tell it.
    fn metric_name(&self, labels: &Labels) -> String {
        let delayed = self.context.features.delayed_name_removal;
        if delayed { labels.metric_name().to_owned() } else { String::new() }
    }

    /// Warns of series that are no buckets but have values.
    fn warn_of(&mut self, malformed: &[usize]) -> Result<(), Error> {
        let mut column = Column::new();
        for &index in malformed {
            self.inner.read(index, &mut column)?;
            if column.is_empty() {
                continue;
            }
            let labels = &self.inner.series()[index].labels;
            let kind = AnnotationKind::BadBucketLabel {
                metric: self.metric_name(labels),
                label: labels.get(BUCKET_LABEL).unwrap_or_default().to_owned(),
            };
            self.context.annotate(kind, self.span);
        }
        Ok(())
    }

    /// Reads the columns of all buckets of a histogram, which count as held from then on.
    fn read(&mut self, index: usize, len: usize) -> Result<Vec<(f64, Column)>, Error> {
        let mut columns = Vec::with_capacity(self.buckets[index].len());
        self.context.limits.hold(self.buckets[index].len().saturating_mul(len))?;
        for (bound, series) in self.buckets[index].clone() {
            let mut column = Column::new();
            self.inner.read(series, &mut column)?;
            columns.push((bound, column));
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
        let mut buckets = Vec::with_capacity(columns.len());
        for step in 0..self.grid.len {
            buckets.clear();
            buckets.extend(columns.iter().filter_map(|(upper_bound, column)| {
                let count = column.get(step)?;
                Some(Bucket { upper_bound: *upper_bound, count })
            }));
            if !buckets.is_empty() {
                let value = self.value(histogram, wanted, step, &mut buckets);
                out.set(step, value);
            }
        }
        self.histograms.context.limits.release(columns.len().saturating_mul(self.grid.len));
        Ok(())
    }
}

impl OfHistograms {
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
        let Histograms { context, span, metas, .. } = &self.histograms;
        let (value, raised) = histogram::quantile(q, buckets);
        if let Some(raised) = raised {
            let time = self.grid.time(step);
            let fixed = ForcedMonotonicity {
                metric: self.histograms.metric_name(&metas[histogram].labels),
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
