//! Native histograms as remote read and write have them.

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
use ferula_tsdb::NativeHistogram;

use crate::protobuf::write::{
    FIXED64, VARINT, push_bytes, push_double, push_doubles, push_key, push_sint32, push_uint,
    push_varint,
};

/// Writes a `Histogram`: 1 or 2 count, 3 sum, 4 schema, 5 zero threshold, 6 or 7 zero count, 8 and 11 spans, 9
/// and 12 differences of counts or 10 and 13 counts, 14 reset hint, 15 timestamp, 16 custom bounds.
pub(crate) fn push_histogram(out: &mut Vec<u8>, timestamp: i64, histogram: &NativeHistogram) {
    match histogram {
        NativeHistogram::Integer(histogram) => push_integer(out, timestamp, histogram),
        NativeHistogram::Float(histogram) => push_float(out, timestamp, histogram),
    }
}

fn push_integer(out: &mut Vec<u8>, timestamp: i64, histogram: &Histogram) {
    // That it is there says that the counts are integers.
    push_key(out, 1, VARINT);
    push_varint(out, histogram.count);
    push_double(out, 3, histogram.sum);
    push_sint32(out, 4, histogram.schema);
    push_double(out, 5, histogram.zero_threshold);
    push_key(out, 6, VARINT);
    push_varint(out, histogram.zero_count);
    push_spans(out, 8, &histogram.negative_spans);
    push_deltas(out, 9, &histogram.negative_buckets);
    push_spans(out, 11, &histogram.positive_spans);
    push_deltas(out, 12, &histogram.positive_buckets);
    push_uint(out, 14, hint(histogram.counter_reset_hint));
    push_uint(out, 15, timestamp.cast_unsigned());
    push_doubles(out, 16, &histogram.custom_values);
}

pub(super) fn push_float(out: &mut Vec<u8>, timestamp: i64, histogram: &FloatHistogram) {
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
    push_uint(out, 14, hint(histogram.counter_reset_hint));
    push_uint(out, 15, timestamp.cast_unsigned());
    push_doubles(out, 16, &histogram.custom_values);
}

fn hint(hint: CounterResetHint) -> u64 {
    match hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::Reset => 1,
        CounterResetHint::NotReset => 2,
        CounterResetHint::Gauge => 3,
    }
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

fn push_deltas(out: &mut Vec<u8>, number: u64, deltas: &[i64]) {
    if !deltas.is_empty() {
        let mut packed = Vec::with_capacity(deltas.len());
        for delta in deltas {
            push_varint(&mut packed, (delta << 1 ^ delta >> 63).cast_unsigned());
        }
        push_bytes(out, number, &packed);
    }
}
