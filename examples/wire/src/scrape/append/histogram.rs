//! Native histograms as finely divided as their job allows.

use ferula_chunkenc::histogram::{EXPONENTIAL_SCHEMA_MIN, HistogramError, is_exponential_schema};
use ferula_tsdb::NativeHistogram;

use crate::config::Job;
use crate::exposition::SampleValue;

/// Reduces the resolution of a histogram until it is within the limits of its job. `None` if no resolution is;
/// the scrape fails then.
pub(super) fn limited(
    job: &Job,
    value: &SampleValue,
) -> Result<Option<SampleValue>, HistogramError> {
    let SampleValue::Histogram(histogram) = value else { return Ok(Some(value.clone())) };
    let mut histogram = histogram.clone();
    if let Some(max) = job.histograms.max_schema
        && is_exponential_schema(schema(&histogram))
        && schema(&histogram) > max
    {
        reduce(&mut histogram, max)?;
    }
    if let Some(limit) = job.limits.histogram_buckets {
        while n_buckets(&histogram) > limit {
            let schema = schema(&histogram);
            if !is_exponential_schema(schema) || schema <= EXPONENTIAL_SCHEMA_MIN {
                return Ok(None);
            }
            reduce(&mut histogram, schema - 1)?;
        }
    }
    Ok(Some(SampleValue::Histogram(histogram)))
}

fn schema(histogram: &NativeHistogram) -> i32 {
    match histogram {
        NativeHistogram::Integer(h) => h.schema,
        NativeHistogram::Float(h) => h.schema,
    }
}

fn n_buckets(histogram: &NativeHistogram) -> usize {
    match histogram {
        NativeHistogram::Integer(h) => h.positive_buckets.len() + h.negative_buckets.len(),
        NativeHistogram::Float(h) => h.positive_buckets.len() + h.negative_buckets.len(),
    }
}

fn reduce(histogram: &mut NativeHistogram, schema: i32) -> Result<(), HistogramError> {
    match histogram {
        NativeHistogram::Integer(h) => h.reduce_resolution(schema),
        NativeHistogram::Float(h) => h.reduce_resolution(schema),
    }
}
