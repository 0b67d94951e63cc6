//! Warnings and infos about a query that was answered all the same.
//!
//! The kinds and their texts are those of Prometheus, `util/annotations`. Each carries the place
//! in the query that it is about; equal ones are kept once.

use std::collections::BTreeMap;
use std::fmt;

use crate::Span;
use crate::text::{FloatText, TwoDigits, UtcSecond};

/// How serious an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The result is probably not what was wanted.
    Warning,
    /// The result may not be what was wanted.
    Info,
}

/// What an annotation says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AnnotationKind {
    /// A quantile outside 0 to 1.
    InvalidQuantile {
        /// The quantile.
        value: f64,
    },
    /// A ratio outside -1 to 1.
    InvalidRatio {
        /// The ratio.
        value: f64,
        /// What it was capped to.
        capped_to: f64,
    },
    /// A bucket of a classic histogram without a number in its `le` label.
    BadBucketLabel {
        /// Name of the metric, or empty.
        metric: String,
        /// Value of the label.
        label: String,
    },
    /// `sort` in a range query.
    SortInRangeQuery,
    /// `rate` or `increase` of a metric whose name is not that of a counter.
    PossibleNonCounter {
        /// Name of the metric.
        metric: String,
    },
    /// `rate` or `increase` of a metric whose `__type__` is not that of a counter.
    PossibleNonCounterLabel {
        /// Name of the metric.
        metric: String,
        /// Its `__type__`.
        type_label: String,
    },
    /// Buckets of a classic histogram that fall.
    ForcedMonotonicity(ForcedMonotonicity),
    /// An operator between types that it does not take.
    IncompatibleTypes {
        /// `float` or `histogram`.
        left: &'static str,
        /// The operator.
        op: &'static str,
        /// `float` or `histogram`.
        right: &'static str,
    },
    /// A window with both floats and histograms, for a function that takes either.
    MixedFloatsHistograms {
        /// Name of the metric, or empty.
        metric: String,
    },
    /// Both floats and histograms in a group of `sum` or `avg`.
    MixedFloatsHistogramsInAggregation,
    /// Buckets of a classic histogram beside a native histogram of the same labels.
    MixedClassicNative {
        /// Name of the metric, or empty.
        metric: String,
    },
    /// Histograms with exponential buckets beside some with custom buckets.
    MixedExponentialCustom {
        /// Name of the metric, or empty.
        metric: String,
    },
    /// An operator between histograms with exponential and with custom buckets.
    IncompatibleBucketLayout {
        /// The operator.
        op: &'static str,
    },
    /// A function of counters on a gauge histogram.
    HistogramNotCounter {
        /// Name of the metric, or empty.
        metric: String,
    },
    /// A function of gauges on a counter histogram.
    HistogramNotGauge {
        /// Name of the metric, or empty.
        metric: String,
    },
    /// Histograms of which one says that it follows a counter reset, and another that it does not.
    CounterResetCollision {
        /// What was done with them.
        operation: HistogramOperation,
    },
    /// Histograms whose custom buckets have different bounds.
    MismatchedCustomBuckets {
        /// What was done with them.
        operation: HistogramOperation,
    },
    /// A histogram that an aggregation does not take.
    HistogramIgnoredInAggregation {
        /// The aggregation.
        aggregation: &'static str,
    },
    /// Histograms in a window with floats, for a function that takes only these.
    HistogramIgnoredInMixedRange {
        /// Name of the metric, or empty.
        metric: String,
    },
    /// A sample that claims to have counted before the one in front of it was taken.
    StartTimeOverlap(StartTimeOverlap),
    /// So many observations are NaN that a quantile is.
    QuantileOfNaN {
        /// Name of the metric, or empty.
        metric: String,
    },
    /// Observations that are NaN count as if they were above all others.
    QuantileSkewedByNaN {
        /// Name of the metric, or empty.
        metric: String,
    },
    /// Observations that are NaN are in no fraction.
    FractionWithoutNaN {
        /// Name of the metric, or empty.
        metric: String,
    },
}

/// Samples that claim to have counted before the ones in front of them were taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartTimeOverlap {
    /// Name of the metric, or empty.
    pub metric: String,
    /// Windows with such samples.
    pub count: u64,
}

impl StartTimeOverlap {
    /// Of one window.
    pub(crate) fn of(metric: &str) -> Self {
        Self { metric: metric.to_owned(), count: 1 }
    }
}

/// What was done with histograms that do not quite fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistogramOperation {
    /// They were added by an operator or a function.
    Addition,
    /// One was subtracted from the other.
    Subtraction,
    /// They were summed up or averaged.
    Aggregation,
}

impl fmt::Display for HistogramOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        })
    }
}

/// Where and by how much the buckets of classic histograms fell.
#[derive(Clone, Debug, PartialEq)]
pub struct ForcedMonotonicity {
    /// Name of the metric, or empty.
    pub metric: String,
    /// Time of the first occurrence, in milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// Time of the last one.
    pub last_ms: i64,
    /// Smallest bucket that was raised.
    pub min_bucket: f64,
    /// Largest bucket that was raised.
    pub max_bucket: f64,
    /// Most that a bucket was raised by.
    pub max_diff: f64,
    /// Number of histograms that were fixed.
    pub count: u64,
}

impl ForcedMonotonicity {
    fn merge(&mut self, other: &Self) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.min_bucket = self.min_bucket.min(other.min_bucket);
        self.max_bucket = self.max_bucket.max(other.max_bucket);
        self.max_diff = self.max_diff.max(other.max_diff);
        self.count += other.count;
    }
}

/// A warning or info about a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    kind: AnnotationKind,
    span: Span,
}

impl Annotation {
    pub(crate) fn new(kind: AnnotationKind, span: Span) -> Self {
        Self { kind, span }
    }

    /// What it says.
    pub fn kind(&self) -> &AnnotationKind {
        &self.kind
    }

    /// What in the query it is about.
    pub fn span(&self) -> Span {
        self.span
    }

    /// How serious it is.
    pub fn severity(&self) -> Severity {
        match self.kind {
            AnnotationKind::InvalidQuantile { .. }
            | AnnotationKind::InvalidRatio { .. }
            | AnnotationKind::BadBucketLabel { .. }
            | AnnotationKind::SortInRangeQuery
            | AnnotationKind::MixedFloatsHistograms { .. }
            | AnnotationKind::MixedFloatsHistogramsInAggregation
            | AnnotationKind::MixedClassicNative { .. }
            | AnnotationKind::MixedExponentialCustom { .. }
            | AnnotationKind::IncompatibleBucketLayout { .. }
            | AnnotationKind::HistogramNotCounter { .. }
            | AnnotationKind::HistogramNotGauge { .. }
            | AnnotationKind::CounterResetCollision { .. }
            | AnnotationKind::StartTimeOverlap(_) => Severity::Warning,
            AnnotationKind::PossibleNonCounter { .. }
            | AnnotationKind::PossibleNonCounterLabel { .. }
            | AnnotationKind::ForcedMonotonicity(_)
            | AnnotationKind::IncompatibleTypes { .. }
            | AnnotationKind::MismatchedCustomBuckets { .. }
            | AnnotationKind::HistogramIgnoredInAggregation { .. }
            | AnnotationKind::HistogramIgnoredInMixedRange { .. }
            | AnnotationKind::QuantileOfNaN { .. }
            | AnnotationKind::QuantileSkewedByNaN { .. }
            | AnnotationKind::FractionWithoutNaN { .. } => Severity::Info,
        }
    }

    /// The whole text as Prometheus writes it, with the line and column in `query`.
    pub fn text(&self, query: &str) -> String {
        let (line, column) = self.span.line_column(query);
        match &self.kind {
            AnnotationKind::ForcedMonotonicity(fixed) => {
                format!("{self}{} ({line}:{column})", MonotonicityDetail(fixed))
            }
            AnnotationKind::StartTimeOverlap(StartTimeOverlap { count: count @ 2.., .. }) => {
                format!("{self} ({count} occurrences) ({line}:{column})")
            }
            _ => format!("{self} ({line}:{column})"),
        }
    }
}

impl fmt::Display for Annotation {
    /// Writes severity and text, without the position.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity() {
            Severity::Warning => "PromQL warning: ",
            Severity::Info => "PromQL info: ",
        })?;
        match &self.kind {
            AnnotationKind::InvalidQuantile { value } => {
                let value = FloatText(*value);
                write!(f, "quantile value should be between 0 and 1, got {value}")
            }
            AnnotationKind::InvalidRatio { value, capped_to } => write!(
                f,
                "ratio value should be between -1 and 1, got {}, capping to {}",
                FloatText(*value),
                FloatText(*capped_to)
            ),
            AnnotationKind::BadBucketLabel { metric, label } => {
                let text = "bucket label \"le\" is missing or has a malformed value of";
                write!(f, "{text} {label:?}{}", ForMetric(metric))
            }
            AnnotationKind::SortInRangeQuery => f.write_str(
                "sort is ineffective for range queries since results are always ordered by labels",
            ),
            AnnotationKind::PossibleNonCounter { metric } => write!(
                f,
                "metric might not be a counter, name does not end in \
                 _total/_sum/_count/_bucket: {metric:?}"
            ),
            AnnotationKind::PossibleNonCounterLabel { metric, type_label } => write!(
                f,
                "metric might not be a counter, __type__ label is not set to \"counter\" or \
                 \"histogram\", got {type_label:?}: {metric:?}"
            ),
            AnnotationKind::ForcedMonotonicity(fixed) => write!(
                f,
                "input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/\
                 #histogram_quantile){}",
                ForMetric(&fixed.metric)
            ),
            AnnotationKind::IncompatibleTypes { left, op, right } => write!(
                f,
                "incompatible sample types encountered for binary operator {op:?}: \
                 {left} {op} {right}"
            ),
            AnnotationKind::MixedFloatsHistograms { metric } => {
                write!(f, "encountered a mix of histograms and floats for metric name {metric:?}")
            }
            AnnotationKind::MixedFloatsHistogramsInAggregation => {
                f.write_str("encountered a mix of histograms and floats for aggregation")
            }
            AnnotationKind::MixedClassicNative { metric } => write!(
                f,
                "vector contains a mix of classic and native histograms{}",
                ForMetric(metric)
            ),
            AnnotationKind::MixedExponentialCustom { metric } => write!(
                f,
                "vector contains a mix of histograms with exponential and custom buckets \
                 schemas for metric name {metric:?}"
            ),
            AnnotationKind::IncompatibleBucketLayout { op } => {
                write!(f, "incompatible bucket layout encountered for binary operator {op}")
            }
            AnnotationKind::HistogramNotCounter { metric } => {
                write!(f, "this native histogram metric is not a counter: {metric:?}")
            }
            AnnotationKind::HistogramNotGauge { metric } => {
                write!(f, "this native histogram metric is not a gauge: {metric:?}")
            }
            AnnotationKind::CounterResetCollision { operation } => {
                write!(f, "conflicting counter resets during histogram {operation}")
            }
            AnnotationKind::MismatchedCustomBuckets { operation } => {
                write!(f, "mismatched custom buckets were reconciled during {operation}")
            }
            AnnotationKind::HistogramIgnoredInAggregation { aggregation } => {
                write!(f, "ignored histogram in {aggregation} aggregation")
            }
            AnnotationKind::HistogramIgnoredInMixedRange { metric } => write!(
                f,
                "ignored histograms in a range containing both floats and histograms for \
                 metric name {metric:?}"
            ),
            AnnotationKind::StartTimeOverlap(StartTimeOverlap { metric, .. }) => write!(
                f,
                "sample has start time that overlaps with previous sample timestamp for metric \
                 {metric:?}"
            ),
            AnnotationKind::QuantileOfNaN { metric } => write!(
                f,
                "input to histogram_quantile has NaN observations, result is NaN{}",
                ForMetric(metric)
            ),
            AnnotationKind::QuantileSkewedByNaN { metric } => write!(
                f,
                "input to histogram_quantile has NaN observations, result is skewed higher{}",
                ForMetric(metric)
            ),
            AnnotationKind::FractionWithoutNaN { metric } => write!(
                f,
                "input to histogram_fraction has NaN observations, which are excluded from \
                 all fractions{}",
                ForMetric(metric)
            ),
        }
    }
}

/// Writes ` for metric name "…"` unless the name is empty.
struct ForMetric<'a>(&'a str);

impl fmt::Display for ForMetric<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " for metric name {:?}", self.0) }
    }
}

/// Writes what is known of raised buckets.
struct MonotonicityDetail<'a>(&'a ForcedMonotonicity);

impl fmt::Display for MonotonicityDetail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = self.0;
        write!(
            f,
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            FloatText(fixed.min_bucket),
            FloatText(fixed.max_bucket),
            TwoDigits(fixed.max_diff),
            fixed.count,
            UtcSecond(fixed.first_ms),
            UtcSecond(fixed.last_ms),
        )
    }
}

/// The annotations of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    /// By position and text, so that the order is stable and equal ones meet.
    entries: BTreeMap<(usize, String), Annotation>,
}

impl Annotations {
    /// Iterates over all annotations, in the order of their places in the query.
    pub fn iter(&self) -> impl Iterator<Item = &Annotation> {
        self.entries.values()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Texts of the warnings, with positions in `query`.
    pub fn warnings(&self, query: &str) -> Vec<String> {
        self.texts(Severity::Warning, query)
    }

    /// Texts of the infos, with positions in `query`.
    pub fn infos(&self, query: &str) -> Vec<String> {
        self.texts(Severity::Info, query)
    }

    fn texts(&self, severity: Severity, query: &str) -> Vec<String> {
        self.iter().filter(|a| a.severity() == severity).map(|a| a.text(query)).collect()
    }

    /// Adds an annotation, and tells about how many bytes more that takes.
    pub(crate) fn add(&mut self, kind: AnnotationKind, span: Span) -> usize {
        let annotation = Annotation::new(kind, span);
        let key = (span.start, annotation.to_string());
        match self.entries.get_mut(&key) {
            Some(known) => {
                match (&mut known.kind, &annotation.kind) {
                    (
                        AnnotationKind::ForcedMonotonicity(known),
                        AnnotationKind::ForcedMonotonicity(new),
                    ) => known.merge(new),
                    (
                        AnnotationKind::StartTimeOverlap(known),
                        AnnotationKind::StartTimeOverlap(new),
                    ) => known.count = known.count.saturating_add(new.count),
                    _ => {}
                }
                0
            }
            None => {
                // The text names all that the kind holds.
                let entry = size_of::<((usize, String), Annotation)>();
                let bytes = 2 * (entry + key.1.len());
                self.entries.insert(key, annotation);
                bytes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_annotations_are_kept_once_and_fixes_add_up() {
        let mut annotations = Annotations::default();
        let fix = |at: i64, diff: f64| {
            AnnotationKind::ForcedMonotonicity(ForcedMonotonicity {
                metric: String::new(),
                first_ms: at,
                last_ms: at,
                min_bucket: 1.0,
                max_bucket: 2.0,
                max_diff: diff,
                count: 1,
            })
        };
        annotations.add(fix(0, 2.0), Span::new(3, 5));
        annotations.add(fix(60_000, 1.0), Span::new(3, 5));
        annotations.add(AnnotationKind::InvalidQuantile { value: 2.0 }, Span::new(0, 1));
        let texts = annotations.infos("q(\n x)");
        assert_eq!(texts.len(), 1);
        assert!(texts[0].ends_with(
            ", from buckets 1 to 2, with a max diff of 2, over 2 samples from \
             1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (2:1)"
        ));
        assert_eq!(
            annotations.warnings("q(\n x)"),
            ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:1)"]
        );
    }

    #[test]
    fn windows_with_overlaps_are_counted() {
        let mut annotations = Annotations::default();
        let mut add = || {
            let overlap = StartTimeOverlap::of("m");
            annotations.add(AnnotationKind::StartTimeOverlap(overlap), Span::new(0, 1));
            annotations.warnings("m").remove(0)
        };
        let text = "PromQL warning: sample has start time that overlaps with previous sample \
                    timestamp for metric \"m\"";
        assert_eq!(add(), format!("{text} (1:1)"));
        assert_eq!(add(), format!("{text} (2 occurrences) (1:1)"));
    }
}
