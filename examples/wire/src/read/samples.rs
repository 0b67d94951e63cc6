//! Series as an answer has them that is sent whole: all samples, one behind the other.

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Span};
use ferula_index::Labels;

use crate::protobuf::write::{
    FIXED64, push_bytes, push_double, push_doubles, push_key, push_sint32, push_uint,
};

/// Appends a `TimeSeries` to a `QueryResult`, whose field 1 it is: 1 labels, 2 samples, 4 histograms.
pub(crate) fn push_series(out: &mut Vec<u8>, labels: &Labels, batch: &SampleBatch) {
    let mut series = Vec::new();
    push_labels(&mut series, labels);
    let (mut sample, mut encoded) = (Vec::new(), Vec::new());
    for (place, (timestamp, value)) in batch.timestamps().iter().zip(batch.values()).enumerate() {
        sample.clear();
        if let Some(histogram) = batch.histogram(place) {
            encoded.clear();
            push_histogram(&mut encoded, *timestamp, histogram);
            push_bytes(&mut series, 4, &encoded);
            continue;
        }
        push_double(&mut sample, 1, *value);
        push_uint(&mut sample, 2, timestamp.cast_unsigned());
        push_bytes(&mut series, 2, &sample);
    }
    push_bytes(out, 1, &series);
}

/// Appends labels, each of which is field 1: 1 name, 2 value.
pub(super) fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    let mut label = Vec::new();
    for (name, value) in labels {
        label.clear();
        push_bytes(&mut label, 1, name.as_bytes());
        push_bytes(&mut label, 2, value.as_bytes());
        push_bytes(out, 1, &label);
    }
}

/// Writes a `Histogram` of floats: 2 count, 3 sum, 4 schema, 5 zero threshold, 7 zero count, 8 and 11 spans,
/// 10 and 13 counts, 14 reset hint, 15 timestamp, 16 custom bounds.
fn push_histogram(out: &mut Vec<u8>, timestamp: i64, histogram: &FloatHistogram) {
    // That it is there says that the counts are floats.
    push_key(out, 2, FIXED64);
    out.extend_from_slice(&histogram.count.to_le_bytes());
    push_double(out, 3, histogram.sum);
    push_sint32(out, 4, histogram.schema);
    push_double(out, 5, histogram.zero_threshold);
    push_key(out, 7, FIXED64);
    out.extend_from_slice(&histogram.zero_count.to_le_bytes());
    push_spans(out, 8, &histogram.negative_spans);
    push_doubles(out, 10, &histogram.negative_buckets);
    push_spans(out, 11, &histogram.positive_spans);
    push_doubles(out, 13, &histogram.positive_buckets);
    push_uint(
        out,
        14,
        match histogram.counter_reset_hint {
            CounterResetHint::Unknown => 0,
            CounterResetHint::Reset => 1,
            CounterResetHint::NotReset => 2,
            CounterResetHint::Gauge => 3,
        },
    );
    push_uint(out, 15, timestamp.cast_unsigned());
    push_doubles(out, 16, &histogram.custom_values);
}

fn push_spans(out: &mut Vec<u8>, number: u64, spans: &[Span]) {
    let mut encoded = Vec::new();
    for span in spans {
        encoded.clear();
        push_sint32(&mut encoded, 1, span.offset);
        push_uint(&mut encoded, 2, span.length.into());
        push_bytes(out, number, &encoded);
    }
}
