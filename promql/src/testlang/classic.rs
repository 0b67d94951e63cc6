//! Classic histograms as native ones with custom buckets, for `load_with_nhcb`.
//!
//! The series `x_bucket`, `x_count` and `x_sum` of one load become one series `x`, in the way of
//! Prometheus's `util/convertnhcb`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferula_chunkenc::histogram::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Span};
use ferula_chunkenc::{Sample, SampleBatch};
use ferula_index::{Labels, LabelsBuilder, METRIC_NAME};

/// Why the samples at one time make no histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClassicError {
    #[error("a bucket or the count is negative")]
    Negative,
    #[error("the buckets do not grow")]
    NotCumulative,
    #[error("the count is not that of the last bucket")]
    CountMismatch,
}

/// The classic histograms of a load, as far as they were read.
#[derive(Debug, Default)]
pub(super) struct ClassicHistograms {
    series: BTreeMap<Labels, BTreeMap<i64, Parts>>,
}

/// What a series tells of a classic histogram.
#[derive(Clone, Copy, Debug)]
enum Part {
    Bucket { upper: f64 },
    Count,
    Sum,
}

impl ClassicHistograms {
    /// Takes the float samples of a series if it is part of a classic histogram.
    pub(super) fn take(&mut self, labels: &Labels, samples: impl Iterator<Item = Sample>) {
        let Some((base, part)) = part(labels) else { return };
        let histograms = self.series.entry(base).or_default();
        for Sample { timestamp, value } in samples {
            let parts = histograms.entry(timestamp).or_default();
            match part {
                Part::Bucket { upper } => parts.set_bucket(upper, value),
                Part::Count => parts.set_count(value),
                Part::Sum => parts.sum = value,
            }
        }
    }

    /// Converts everything that was taken, one series after the other. Where the samples at one
    /// time make no histogram, the series has the error instead.
    pub(super) fn into_native(
        self,
    ) -> impl Iterator<Item = (Labels, Result<SampleBatch, ClassicError>)> {
        self.series.into_iter().map(|(labels, histograms)| {
            let mut native = SampleBatch::new();
            let result = histograms.into_iter().try_for_each(|(timestamp, parts)| {
                native.push_histogram(timestamp, Arc::new(parts.into_native()?));
                Ok(())
            });
            (labels, result.map(|()| native))
        })
    }
}

/// The series of the native histogram that a series becomes part of, and as what.
fn part(labels: &Labels) -> Option<(Labels, Part)> {
    let name = labels.metric_name();
    let (base, part) = if let Some(base) = name.strip_suffix("_bucket") {
        let upper = labels.get("le")?.parse().ok().filter(|upper: &f64| !upper.is_nan())?;
        (base, Part::Bucket { upper })
    } else if let Some(base) = name.strip_suffix("_sum") {
        (base, Part::Sum)
    } else {
        (name.strip_suffix("_count")?, Part::Count)
    };
    let base = LabelsBuilder::from_labels(labels).set(METRIC_NAME, base).remove("le").build();
    Some((base.ok()?, part))
}

/// The samples of one classic histogram at one time.
#[derive(Debug, Default)]
struct Parts {
    /// Upper bounds and cumulative counts, by bounds.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
    error: Option<ClassicError>,
}

impl Parts {
    fn set_bucket(&mut self, upper: f64, count: f64) {
        if self.error.is_some() {
            return;
        }
        if count < 0.0 {
            self.error = Some(ClassicError::Negative);
            return;
        }
        let at = self.buckets.partition_point(|(bound, _)| *bound < upper);
        let (before, behind) = self.buckets.split_at(at);
        // The first of several samples for one bucket counts.
        if behind.first().is_some_and(|(bound, _)| *bound == upper) {
            return;
        }
        if before.last().is_some_and(|(_, below)| count < *below)
            || behind.first().is_some_and(|(_, above)| count > *above)
        {
            self.error = Some(ClassicError::NotCumulative);
            return;
        }
        self.buckets.insert(at, (upper, count));
    }

    fn set_count(&mut self, count: f64) {
        if count < 0.0 {
            self.error = self.error.or(Some(ClassicError::Negative));
        }
        self.count = Some(count);
    }

    fn into_native(mut self) -> Result<FloatHistogram, ClassicError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|(_, count)| count)).unwrap_or_default();
        match last {
            Some((f64::INFINITY, in_last)) if in_last == count => {}
            Some((f64::INFINITY, _)) => return Err(ClassicError::CountMismatch),
            _ => self.buckets.push((f64::INFINITY, count)),
        }
        let mut below = 0.0;
        let counts: Vec<f64> = self
            .buckets
            .iter()
            .map(|(_, cumulative)| {
                let count = cumulative - below;
                below = *cumulative;
                count
            })
            .collect();
        let is_whole = counts.iter().chain([&count]).all(|count| count.fract() == 0.0);
        let length = u32::try_from(counts.len()).unwrap_or(u32::MAX);
        // The last bound is infinite and goes without saying.
        let bounds = self.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite());
        let mut histogram = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length }],
            positive_buckets: counts,
            custom_values: bounds.collect(),
            ..FloatHistogram::default()
        };
        histogram.compact(if is_whole { 2 } else { 0 });
        Ok(histogram)
    }
}
