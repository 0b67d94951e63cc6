//! Series as an answer has them that is sent whole: all samples, one behind the other.

use ferula_chunkenc::SampleBatch;
use ferula_index::Labels;

use super::histogram::push_float;
use crate::protobuf::write::{push_bytes, push_double, push_uint};

/// Appends a `TimeSeries` to a `QueryResult`, whose field 1 it is: 1 labels, 2 samples, 4 histograms.
pub(crate) fn push_series(out: &mut Vec<u8>, labels: &Labels, batch: &SampleBatch) {
    let mut series = Vec::new();
    push_labels(&mut series, labels);
    let (mut sample, mut encoded) = (Vec::new(), Vec::new());
    for (place, (timestamp, value)) in batch.timestamps().iter().zip(batch.values()).enumerate() {
        sample.clear();
        if let Some(histogram) = batch.histogram(place) {
            encoded.clear();
            push_float(&mut encoded, *timestamp, histogram);
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
