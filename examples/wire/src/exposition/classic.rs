//! Classic histograms, which are a series for each bucket, as native ones with custom bounds.
//!
//! Rules and refusals are those of Prometheus (`util/convertnhcb` and `model/textparse/nhcbparse.go`, release
//! 3.14).

use ferula_chunkenc::histogram::{
    CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Histogram, Span,
};
use ferula_index::METRIC_NAME;
use ferula_tsdb::NativeHistogram;

use super::MetricType;
use super::sample::{Pairs, Sample, SampleSource, SampleValue};
use super::text::ExemplarLine;

/// Empty buckets that a histogram of whole counts keeps between others.
const MAX_EMPTY: usize = 2;

/// Most buckets of one histogram.
const MAX_BUCKETS: usize = 65_536;

/// Why the samples of a classic histogram make none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClassicError {
    /// A bound is not a number.
    #[error("a bucket has the bound NaN")]
    Bound,
    /// A bucket or the count is negative.
    #[error("a bucket or the count is negative")]
    Negative,
    /// A bucket counts less than the one below it.
    #[error("the buckets do not grow")]
    NotCumulative,
    /// The count is another one than the highest bucket's.
    #[error("the count is not that of the last bucket")]
    CountMismatch,
    /// There are too many buckets.
    #[error("more than {MAX_BUCKETS} buckets")]
    TooMany,
}

/// What the series of one classic histogram tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    /// Upper bounds and cumulative counts, in the order of the page.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl Parts {
    pub(super) fn push_bucket(&mut self, upper: f64, count: f64) {
        // One more than is taken tells that there are too many.
        if self.buckets.len() <= MAX_BUCKETS {
            self.buckets.push((upper, count));
        }
    }

    pub(super) fn set_count(&mut self, count: f64) {
        self.count = Some(count);
    }

    pub(super) fn set_sum(&mut self, sum: f64) {
        self.sum = sum;
    }

    /// Makes a native histogram.
    pub(super) fn convert(mut self) -> Result<NativeHistogram, ClassicError> {
        if self.buckets.len() > MAX_BUCKETS {
            return Err(ClassicError::TooMany);
        }
        if self.buckets.iter().any(|(upper, _)| upper.is_nan()) {
            return Err(ClassicError::Bound);
        }
        if self.buckets.iter().any(|(_, count)| *count < 0.0) || self.count.is_some_and(|n| n < 0.0)
        {
            return Err(ClassicError::Negative);
        }
        // Of two buckets with one bound the first one counts.
        self.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        self.buckets.dedup_by(|(b, _), (a, _)| a == b);
        if self.buckets.windows(2).any(|pair| pair[1].1 < pair[0].1) {
            return Err(ClassicError::NotCumulative);
        }
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|(_, count)| count)).unwrap_or(0.0);
        if last.is_none_or(|(upper, _)| upper != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        if self.buckets.last().is_none_or(|(_, highest)| *highest != count) {
            return Err(ClassicError::CountMismatch);
        }
        let bounds: Vec<f64> =
            self.buckets.iter().map(|(upper, _)| *upper).filter(|b| *b != f64::INFINITY).collect();
        let spans = vec![Span::new(0, u32::try_from(self.buckets.len()).unwrap_or(u32::MAX))];
        let whole: Option<Vec<i64>> = self.buckets.iter().map(|(_, n)| whole(*n)).collect();
        let Some(whole) = whole else {
            let mut below = 0.0;
            let counts = self.buckets.iter().map(|(_, n)| n - std::mem::replace(&mut below, *n));
            let mut histogram = FloatHistogram {
                schema: CUSTOM_BUCKETS_SCHEMA,
                count,
                sum: self.sum,
                positive_spans: spans,
                positive_buckets: counts.collect(),
                custom_values: bounds.into(),
                ..FloatHistogram::default()
            };
            histogram.compact(0);
            return Ok(histogram.into());
        };
        let (mut below, mut before) = (0, 0);
        let mut deltas = Vec::with_capacity(whole.len());
        for n in &whole {
            let count = n - std::mem::replace(&mut below, *n);
            deltas.push(count - std::mem::replace(&mut before, count));
        }
        let mut histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: whole.last().map_or(0, |n| n.unsigned_abs()),
            sum: self.sum,
            positive_spans: spans,
            positive_buckets: deltas,
            custom_values: bounds.into(),
            ..Histogram::default()
        };
        histogram.compact(MAX_EMPTY);
        Ok(histogram.into())
    }
}

/// A count as a whole number, if it is one that every float holds.
fn whole(count: f64) -> Option<i64> {
    let is_whole = count.fract() == 0.0 && count < 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
    is_whole.then_some(count as i64)
}

/// Marks a histogram as one whose counts may fall.
pub(super) fn mark_gauge(histogram: &mut NativeHistogram) {
    match histogram {
        NativeHistogram::Integer(h) => h.counter_reset_hint = CounterResetHint::Gauge,
        NativeHistogram::Float(h) => h.counter_reset_hint = CounterResetHint::Gauge,
    }
}

/// Gathers the series of classic histograms of a text, one histogram at a time.
#[derive(Debug, Default)]
pub(crate) struct Collector<'a> {
    current: Option<Collected<'a>>,
}

/// A classic histogram as far as its series were read.
#[derive(Debug)]
pub(crate) struct Collected<'a> {
    /// Name and labels without those of buckets, as no text writes them.
    key: Vec<u8>,
    labels: Pairs<'a>,
    parts: Parts,
    exemplars: Vec<ExemplarLine<'a>>,
    timestamp: Option<i64>,
    start: i64,
}

/// What a series tells of a classic histogram.
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

impl<'a> Collector<'a> {
    /// Takes a sample that may be part of a histogram called `family`. Tells whether it is, and yields the
    /// histogram before it if that is complete now.
    pub(crate) fn take(
        &mut self,
        family: &'a str,
        kind: MetricType,
        mut labels: Pairs<'a>,
        sample: &Sample<'_>,
        exemplar: Option<ExemplarLine<'a>>,
    ) -> (bool, Option<Collected<'a>>) {
        let part = match kind {
            MetricType::Histogram => part(family, &labels),
            _ => None,
        };
        let (Some(part), SampleValue::Float(value)) = (part, &sample.value) else {
            return (false, self.current.take());
        };
        labels.retain(|(name, _)| !matches!(&**name, METRIC_NAME | "le"));
        labels.sort();
        labels.insert(0, (METRIC_NAME.into(), family.into()));
        let key = key(&labels);
        let is_same = self.current.as_ref().is_some_and(|current| current.key == key);
        let before = if is_same { None } else { self.current.take() };
        let current = self.current.get_or_insert_with(|| Collected {
            key,
            labels,
            parts: Parts::default(),
            exemplars: Vec::new(),
            timestamp: None,
            start: sample.start,
        });
        current.timestamp = sample.timestamp;
        current.exemplars.extend(exemplar);
        match part {
            Part::Bucket(upper) => current.parts.push_bucket(upper, *value),
            Part::Count => current.parts.set_count(*value),
            Part::Sum => current.parts.set_sum(*value),
        }
        (true, before)
    }

    /// Ends the histogram that is gathered.
    pub(crate) fn finish(&mut self) -> Option<Collected<'a>> {
        self.current.take()
    }
}

impl Collected<'_> {
    /// Makes a sample of what was gathered; none if it makes no histogram.
    pub(crate) fn sample(&self) -> Option<Sample<'_>> {
        let histogram = self.parts.clone().convert().ok()?;
        Some(Sample {
            series: &self.key,
            value: SampleValue::Histogram(Box::new(histogram)),
            timestamp: self.timestamp,
            start: self.start,
        })
    }
}

impl SampleSource for Collected<'_> {
    fn labels(&self) -> Pairs<'_> {
        self.labels.iter().map(|(n, v)| ((&**n).into(), (&**v).into())).collect()
    }

    fn exemplars(&self) -> Vec<ExemplarLine<'_>> {
        self.exemplars.clone()
    }
}

fn part(family: &str, labels: &Pairs<'_>) -> Option<Part> {
    let (_, name) = labels.first()?;
    match name.strip_prefix(family)? {
        "_bucket" => {
            let (_, bound) = labels.iter().find(|(name, _)| name == "le")?;
            bound.parse().ok().filter(|bound: &f64| !bound.is_nan()).map(Part::Bucket)
        }
        "_count" => Some(Part::Count),
        "_sum" => Some(Part::Sum),
        _ => None,
    }
}

/// Labels as a text that no line of a page begins with.
pub(super) fn key(labels: &Pairs<'_>) -> Vec<u8> {
    let mut key = Vec::new();
    for (name, value) in labels {
        for text in [name, value] {
            key.push(0xff);
            key.extend_from_slice(text.as_bytes());
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(buckets: &[(f64, f64)], count: Option<f64>) -> Result<String, ClassicError> {
        let mut parts = Parts { count, sum: 5.0, ..Parts::default() };
        for (upper, count) in buckets {
            parts.push_bucket(*upper, *count);
        }
        parts.convert().map(|histogram| match histogram {
            NativeHistogram::Integer(h) => {
                h.validate().expect("valid");
                format!("{h} {:?} {:?}", h.positive_buckets, h.custom_values)
            }
            NativeHistogram::Float(h) => {
                h.validate().expect("valid");
                format!("float {h} {:?} {:?}", h.positive_buckets, h.custom_values)
            }
        })
    }

    #[test]
    fn buckets_become_custom_ones() {
        let inf = f64::INFINITY;
        assert_eq!(
            converted(&[(1.0, 2.0), (5.0, 2.0), (10.0, 7.0), (inf, 8.0)], Some(8.0)).unwrap(),
            "{count:8, sum:5, [-Inf,1]:2, (5,10]:5, (10,+Inf]:1} [2, -2, 5, -4] [1.0, 5.0, 10.0]"
        );
        // In any order, twice, and without the highest one.
        assert_eq!(
            converted(&[(10.0, 7.0), (1.0, 2.0), (1.0, 9.0)], Some(8.0)).unwrap(),
            "{count:8, sum:5, [-Inf,1]:2, (1,10]:5, (10,+Inf]:1} [2, 3, -4] [1.0, 10.0]"
        );
        let float = converted(&[(1.0, 0.5), (inf, 1.0)], None).unwrap();
        assert!(float.starts_with("float {count:1, sum:5, [-Inf,1]:0.5, (1,+Inf]:0.5}"), "{float}");
    }

    #[test]
    fn what_makes_no_histogram_is_told() {
        for (buckets, count, error) in [
            (vec![(1.0, 2.0), (2.0, 1.0)], None, ClassicError::NotCumulative),
            (vec![(1.0, -2.0)], None, ClassicError::Negative),
            (vec![(f64::NAN, 2.0)], None, ClassicError::Bound),
            (vec![(f64::INFINITY, 2.0)], Some(3.0), ClassicError::CountMismatch),
            (vec![(1.0, 2.0)], Some(-1.0), ClassicError::Negative),
        ] {
            assert_eq!(converted(&buckets, count), Err(error), "{buckets:?}");
        }
    }
}
