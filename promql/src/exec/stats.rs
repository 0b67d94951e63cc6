//! Histograms without their buckets, for those who ask for count and sum only.
//!
//! Buckets are looked at once, to tell which histograms follow a counter reset; what is found stays
//! in their hints, as in Prometheus's `HistogramStatsIterator`.

use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram};

/// Removes the buckets of all histograms of a series.
pub(super) fn leave_buckets(batch: &mut SampleBatch) {
    if !batch.has_histograms() {
        return;
    }
    let mut reduced = SampleBatch::new();
    reduced.reserve(batch.len());
    let mut before: Option<&FloatHistogram> = None;
    for (index, (time, value)) in batch.timestamps().iter().zip(batch.values()).enumerate() {
        let Some(histogram) = batch.histogram(index) else {
            reduced.push(*time, *value);
            continue;
        };
        let hint = match (histogram.counter_reset_hint, before) {
            (CounterResetHint::Unknown, Some(before)) if histogram.detect_reset(before) => {
                CounterResetHint::Reset
            }
            (CounterResetHint::Unknown, Some(_)) => CounterResetHint::NotReset,
            (hint, _) => hint,
        };
        before = Some(histogram);
        let stats = FloatHistogram {
            counter_reset_hint: hint,
            schema: histogram.schema,
            count: histogram.count,
            sum: histogram.sum,
            ..FloatHistogram::default()
        };
        reduced.push_histogram(*time, Arc::new(stats));
    }
    *batch = reduced;
}
