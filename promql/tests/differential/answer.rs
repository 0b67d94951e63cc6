//! Answers of either engine in one shape, and how two of them compare.

use std::collections::BTreeSet;
use std::fmt;

use ferula_chunkenc::histogram::{FloatHistogram, Span};
use ferula_promql::{Error, Query, QueryResult, Value};
use serde_json::Value as Json;

/// What came of a query.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Failed(String),
    Answered(Answer),
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) kind: &'static str,
    pub(crate) text: String,
    pub(crate) series: Vec<Series>,
    pub(crate) annotations: BTreeSet<String>,
}

pub(crate) type Labels = Vec<(String, String)>;

#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    pub(crate) points: Vec<(i64, Point)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Point {
    Float(f64),
    Histogram(Box<Histogram>),
}

/// A histogram without its empty buckets.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    schema: i64,
    hint: i64,
    /// Count, sum, count and width of the zero bucket.
    numbers: [f64; 4],
    positive: Vec<(i64, f64)>,
    negative: Vec<(i64, f64)>,
    custom: Vec<f64>,
}

/// How two answers differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    /// One failed, or both with errors of different classes.
    Errors {
        ours: String,
        theirs: String,
    },
    Kind,
    Series(String),
    Values(String),
    Annotations {
        missing: Vec<String>,
        more: Vec<String>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors { ours, theirs } => write!(f, "errors: ours {ours:?}, theirs {theirs:?}"),
            Self::Kind => f.write_str("kinds of result"),
            Self::Series(text) => write!(f, "series: {text}"),
            Self::Values(text) => write!(f, "values: {text}"),
            Self::Annotations { missing, more } => {
                write!(f, "annotations: missing {missing:?}, more {more:?}")
            }
        }
    }
}

/// Largest difference of two floats that count as equal. See the section about sums over
/// time in docs/promql.md.
pub(crate) const TOLERANCE: Tolerance = Tolerance { relative: 1e-12, absolute: 0.0 };

/// By how much floats may differ that count as equal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    /// Part of the larger one.
    pub(crate) relative: f64,
    pub(crate) absolute: f64,
}

impl Outcome {
    /// What this engine answered.
    pub(crate) fn ours(query: &Query, result: Result<QueryResult, Error>) -> Self {
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                let source = std::error::Error::source(&error);
                let source = source.map(|source| format!(": {source}")).unwrap_or_default();
                return Self::Failed(format!("{error}{source}"));
            }
        };
        let text = query.text();
        let annotations = &result.annotations;
        let annotations =
            normal(annotations.warnings(text).into_iter().chain(annotations.infos(text)));
        let mut answer =
            Answer { kind: "scalar", text: String::new(), series: Vec::new(), annotations };
        let labels = |labels: &ferula_index::Labels| {
            labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let point = |value, histogram: Option<&FloatHistogram>| match histogram {
            None => Point::Float(value),
            Some(histogram) => Point::Histogram(Box::new(Histogram::ours(histogram))),
        };
        match result.value {
            Value::Scalar(sample) => {
                let points = vec![(sample.timestamp, Point::Float(sample.value))];
                answer.series.push(Series { labels: Vec::new(), points });
            }
            Value::String { text, .. } => (answer.kind, answer.text) = ("string", text),
            Value::Vector(vector) => {
                answer.kind = "vector";
                answer.series.extend(vector.iter().map(|sample| Series {
                    labels: labels(&sample.labels),
                    points: vec![(
                        sample.timestamp,
                        point(sample.value, sample.histogram.as_deref()),
                    )],
                }));
            }
            Value::Matrix(matrix) => {
                answer.kind = "matrix";
                answer.series.extend(matrix.iter().map(|series| {
                    let samples = series.samples.iter().enumerate().map(|(index, sample)| {
                        let histogram = series.samples.histogram(index).map(|h| &**h);
                        (sample.timestamp, point(sample.value, histogram))
                    });
                    Series { labels: labels(&series.labels), points: samples.collect() }
                }));
            }
            other => panic!("a value of another kind: {other:?}"),
        }
        Self::Answered(answer)
    }

    /// What the peer answered.
    pub(crate) fn theirs(json: &Json) -> Self {
        if let Some(error) = json["error"].as_str() {
            return Self::Failed(error.to_owned());
        }
        let texts = |key: &str| -> Vec<String> {
            let list = json[key].as_array().into_iter().flatten();
            list.map(|text| text.as_str().expect("a text").to_owned()).collect()
        };
        let series = json["series"].as_array().into_iter().flatten().map(|series| {
            let labels = series["labels"].as_array().into_iter().flatten().map(|pair| {
                let text = |at: usize| pair[at].as_str().expect("a text").to_owned();
                (text(0), text(1))
            });
            let points = series["points"].as_array().into_iter().flatten().map(|point| {
                let value = match point["v"].as_str() {
                    Some(_) => Point::Float(float(&point["v"])),
                    None => Point::Histogram(Box::new(Histogram::theirs(&point["h"]))),
                };
                (integer(&point["t"]), value)
            });
            Series { labels: labels.collect(), points: points.collect() }
        });
        let kinds = ["scalar", "string", "vector", "matrix"];
        let kind = kinds.into_iter().find(|kind| json["kind"] == *kind).expect("a known kind");
        Self::Answered(Answer {
            kind,
            text: json["text"].as_str().unwrap_or_default().to_owned(),
            series: series.collect(),
            annotations: normal(texts("warnings").into_iter().chain(texts("infos"))),
        })
    }

    /// The error's class, if it failed.
    pub(crate) fn class(&self) -> Option<String> {
        match self {
            Self::Failed(text) => Some(class(text)),
            Self::Answered(_) => None,
        }
    }

    /// How the answers differ, if they do. The order of a vector counts if `ordered`.
    pub(crate) fn difference(&self, theirs: &Self, ordered: bool) -> Option<Difference> {
        self.difference_within(theirs, ordered, TOLERANCE)
    }

    /// The same, with another difference of floats that count as equal.
    pub(crate) fn difference_within(
        &self,
        theirs: &Self,
        ordered: bool,
        tolerance: Tolerance,
    ) -> Option<Difference> {
        match (self, theirs) {
            (Self::Answered(ours), Self::Answered(theirs)) => {
                ours.difference(theirs, ordered, tolerance)
            }
            _ if self.class() == theirs.class() => None,
            _ => {
                let text = |outcome: &Self| match outcome {
                    Self::Failed(text) => text.clone(),
                    Self::Answered(_) => String::new(),
                };
                Some(Difference::Errors { ours: text(self), theirs: text(theirs) })
            }
        }
    }
}

/// Annotations without numbers of occurrences: Prometheus counts some of them again whenever it merges
/// annotations, and those at several places together.
fn normal(texts: impl Iterator<Item = String>) -> BTreeSet<String> {
    let without_count = |text: String| {
        if let Some((before, after)) = text.split_once(", over ") {
            let (_, after) = after.split_once(' ').expect("a number of samples");
            return format!("{before}, over {after}");
        }
        match text.split_once(" occurrences) ") {
            Some((before, place)) => {
                let (before, _) = before.rsplit_once(" (").expect("a number of occurrences");
                format!("{before} {place}")
            }
            None => text,
        }
    };
    texts.map(without_count).collect()
}

/// Errors that say the same with other details count as one.
fn class(text: &str) -> String {
    const CLASSES: [&str; 17] = [
        "found duplicate series for the match group",
        "multiple matches for labels: many-to-one",
        "multiple matches for labels: grouping labels",
        "same labelset",
        "duplicate series for info metric",
        "conflicting label",
        "info sample should be float",
        "Parameter value is NaN",
        "Ratio value is NaN",
        "underflows int64",
        "overflows int64",
        "invalid smoothing factor",
        "invalid trend factor",
        "modifier can only be used with",
        "modifier is not supported with histograms",
        "invalid label name",
        "duration",
    ];
    let known = CLASSES.into_iter().find(|class| text.contains(class));
    known.map_or_else(|| format!("other: {text}"), str::to_owned)
}

impl Answer {
    fn difference(&self, theirs: &Self, ordered: bool, tolerance: Tolerance) -> Option<Difference> {
        if (self.kind, &self.text) != (theirs.kind, &theirs.text) {
            return Some(Difference::Kind);
        }
        let (mut ours_in_order, mut theirs_in_order) = (self.series.clone(), theirs.series.clone());
        if !ordered {
            ours_in_order.sort_by(|a, b| a.labels.cmp(&b.labels));
            theirs_in_order.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        let labels =
            |series: &[Series]| series.iter().map(|s| s.labels.clone()).collect::<Vec<_>>();
        let (ours_labels, theirs_labels) = (labels(&ours_in_order), labels(&theirs_in_order));
        if ours_labels != theirs_labels {
            let text = format!("{ours_labels:?} instead of {theirs_labels:?}");
            return Some(Difference::Series(text));
        }
        for (ours, theirs) in ours_in_order.iter().zip(&theirs_in_order) {
            let times = |series: &Series| series.points.iter().map(|(t, _)| *t).collect::<Vec<_>>();
            if times(ours) != times(theirs) {
                let text =
                    format!("{:?}: {:?} instead of {:?}", ours.labels, times(ours), times(theirs));
                return Some(Difference::Values(text));
            }
            for ((time, ours_value), (_, theirs_value)) in ours.points.iter().zip(&theirs.points) {
                if !ours_value.is_same(theirs_value, tolerance) {
                    let labels = &ours.labels;
                    let text =
                        format!("{labels:?} at {time}: {ours_value:?} instead of {theirs_value:?}");
                    return Some(Difference::Values(text));
                }
            }
        }
        let missing = theirs.annotations.difference(&self.annotations).cloned().collect::<Vec<_>>();
        let more = self.annotations.difference(&theirs.annotations).cloned().collect::<Vec<_>>();
        (!missing.is_empty() || !more.is_empty())
            .then_some(Difference::Annotations { missing, more })
    }
}

fn integer(json: &Json) -> i64 {
    json.as_i64().expect("an integer")
}

fn float(json: &Json) -> f64 {
    let bits = u64::from_str_radix(json.as_str().expect("bits"), 16).expect("bits");
    f64::from_bits(bits)
}

/// Tells whether two floats are the same, but for the last digits.
fn is_same(a: f64, b: f64, tolerance: Tolerance) -> bool {
    let Tolerance { relative, absolute } = tolerance;
    let most = (relative * a.abs().max(b.abs())).max(absolute);
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= most
}

fn are_same(a: &[f64], b: &[f64], tolerance: Tolerance) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(*a, *b, tolerance))
}

impl Point {
    fn is_same(&self, other: &Self, tolerance: Tolerance) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => is_same(*a, *b, tolerance),
            (Self::Histogram(a), Self::Histogram(b)) => a.is_same(b, tolerance),
            _ => false,
        }
    }
}

/// The schema of custom buckets.
const CUSTOM: i64 = -53;

/// The hint that there was no counter reset.
const NOT_RESET: i64 = 2;

impl Histogram {
    fn ours(histogram: &FloatHistogram) -> Self {
        // Custom buckets have no zero bucket: what may stand there means nothing.
        let zero = if histogram.uses_custom_buckets() { 0.0 } else { histogram.zero_count };
        Self {
            schema: i64::from(histogram.schema),
            hint: histogram.counter_reset_hint as i64,
            numbers: [histogram.count, histogram.sum, zero, histogram.zero_threshold],
            positive: buckets(&histogram.positive_spans, &histogram.positive_buckets),
            negative: buckets(&histogram.negative_spans, &histogram.negative_buckets),
            custom: histogram.custom_values.to_vec(),
        }
    }

    fn theirs(json: &Json) -> Self {
        let list = |key: &str| json[key].as_array().expect("a list").iter();
        let pair = |bucket: &Json| (integer(&bucket["index"]), float(&bucket["count"]));
        Self {
            schema: integer(&json["schema"]),
            hint: integer(&json["hint"]),
            numbers: ["count", "sum", "zero", "threshold"].map(|key| match key {
                "zero" if integer(&json["schema"]) == CUSTOM => 0.0,
                key => float(&json[key]),
            }),
            positive: list("positive").map(pair).collect(),
            negative: list("negative").map(pair).collect(),
            custom: list("custom").map(float).collect(),
        }
    }

    fn is_same(&self, other: &Self, tolerance: Tolerance) -> bool {
        let indexes = |buckets: &[(i64, f64)]| buckets.iter().map(|b| b.0).collect::<Vec<_>>();
        let counts = |buckets: &[(i64, f64)]| buckets.iter().map(|b| b.1).collect::<Vec<_>>();
        let same_buckets = |a: &[(i64, f64)], b: &[(i64, f64)]| {
            indexes(a) == indexes(b) && are_same(&counts(a), &counts(b), tolerance)
        };
        // The first histogram of a chunk has no hint, and the peer's chunks begin where they like.
        let same_hint = self.hint == other.hint || (self.hint, other.hint) == (NOT_RESET, 0);
        self.schema == other.schema
            && same_hint
            && are_same(&self.numbers, &other.numbers, tolerance)
            && are_same(&self.custom, &other.custom, tolerance)
            && same_buckets(&self.positive, &other.positive)
            && same_buckets(&self.negative, &other.negative)
    }
}

fn buckets(spans: &[Span], counts: &[f64]) -> Vec<(i64, f64)> {
    let mut index = 0;
    let mut counts = counts.iter();
    let mut all = Vec::new();
    for span in spans {
        index += i64::from(span.offset);
        for count in counts.by_ref().take(span.length as usize) {
            if *count != 0.0 {
                all.push((index, *count));
            }
            index += 1;
        }
    }
    all
}
