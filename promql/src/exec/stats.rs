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
        let start = batch.start_timestamp(index);
        let Some(histogram) = batch.histogram(index) else {
            reduced.push(*time, *value);
            reduced.set_last_start_timestamp(start);
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
        reduced.set_last_start_timestamp(start);
    }
    *batch = reduced;
}

#[cfg(test)]
mod tests {
    use ferula_chunkenc::histogram::Span;

    use super::*;

    #[test]
    fn hints_take_the_place_of_buckets() {
        let of = |count: f64, counter_reset_hint| {
            Arc::new(FloatHistogram {
                counter_reset_hint,
                count,
                positive_spans: vec![Span::new(0, 1)],
                positive_buckets: vec![count],
                ..FloatHistogram::default()
            })
        };
        let mut batch = SampleBatch::new();
        batch.push_histogram(0, of(3.0, CounterResetHint::Unknown));
        batch.push(1, 7.0);
        batch.push_histogram(2, of(4.0, CounterResetHint::Unknown));
        batch.set_last_start_timestamp(1);
        batch.push_histogram(3, of(1.0, CounterResetHint::Unknown));
        batch.push_histogram(4, of(0.5, CounterResetHint::Gauge));
        leave_buckets(&mut batch);
        assert_eq!((batch.len(), batch.values()[1]), (5, 7.0));
        assert_eq!(batch.start_timestamps(), [0, 0, 1]);
        let hints: Vec<_> = (0..5).filter_map(|i| batch.histogram(i)).collect();
        assert!(hints.iter().all(|histogram| histogram.positive_buckets.is_empty()));
        let hints: Vec<_> = hints.iter().map(|histogram| histogram.counter_reset_hint).collect();
        let expected = [
            CounterResetHint::Unknown,
            CounterResetHint::NotReset,
            CounterResetHint::Reset,
            CounterResetHint::Gauge,
        ];
        assert_eq!(hints, expected);
    }
}
