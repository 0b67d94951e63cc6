//! Messages `io.prometheus.client.MetricFamily`, each after its length.

use ferula_chunkenc::histogram::{FloatHistogram, Span};

use super::names::Escaping;
use super::text::cumulative;
use super::{Kind, Newest, Writer};
use crate::api::message::{push_bytes, push_double, push_number, push_varint};

/// Writes messages; a family is written when the next one begins.
pub(super) struct ProtobufWriter {
    out: Vec<u8>,
    family: Vec<u8>,
    escaping: Escaping,
}

impl ProtobufWriter {
    pub(super) fn new(escaping: Escaping) -> Self {
        Self { out: Vec::new(), family: Vec::new(), escaping }
    }

    fn end_family(&mut self) {
        if !self.family.is_empty() {
            push_varint(&mut self.out, self.family.len() as u64);
            self.out.append(&mut self.family);
        }
    }
}

impl Writer for ProtobufWriter {
    fn family(&mut self, name: &str, kind: Kind) {
        self.end_family();
        push_bytes(&mut self.family, 1, self.escaping.apply(name).as_bytes());
        let kind = match kind {
            Kind::Untyped => 3,
            Kind::Histogram => 4,
            Kind::GaugeHistogram => 5,
        };
        push_number(&mut self.family, 3, kind);
    }

    fn sample(&mut self, _: &str, labels: &[(&str, &str)], sample: &Newest) {
        let mut metric = Vec::new();
        for (name, value) in labels {
            let mut pair = Vec::new();
            push_bytes(&mut pair, 1, self.escaping.apply(name).as_bytes());
            push_bytes(&mut pair, 2, value.as_bytes());
            push_bytes(&mut metric, 1, &pair);
        }
        match &sample.histogram {
            None => {
                let mut value = Vec::new();
                push_double(&mut value, 1, sample.value);
                push_bytes(&mut metric, 5, &value);
            }
            Some(of) if of.uses_custom_buckets() => push_bytes(&mut metric, 7, &classic(of)),
            Some(histogram) => push_bytes(&mut metric, 7, &native(histogram)),
        }
        push_number(&mut metric, 6, sample.timestamp.cast_unsigned());
        push_bytes(&mut self.family, 4, &metric);
    }

    fn finish(mut self: Box<Self>) -> Vec<u8> {
        self.end_family();
        self.out
    }
}

fn classic(histogram: &FloatHistogram) -> Vec<u8> {
    let mut out = Vec::new();
    push_double(&mut out, 2, histogram.sum);
    for (bound, count) in cumulative(histogram) {
        let mut bucket = Vec::new();
        push_double(&mut bucket, 2, bound);
        push_double(&mut bucket, 4, count);
        push_bytes(&mut out, 3, &bucket);
    }
    push_double(&mut out, 4, histogram.count);
    out
}

fn native(histogram: &FloatHistogram) -> Vec<u8> {
    let mut out = Vec::new();
    push_double(&mut out, 2, histogram.sum);
    push_double(&mut out, 4, histogram.count);
    push_number(&mut out, 5, zigzag(histogram.schema));
    push_double(&mut out, 6, histogram.zero_threshold);
    push_double(&mut out, 8, histogram.zero_count);
    push_side(&mut out, 9, &histogram.negative_spans, &histogram.negative_buckets);
    push_side(&mut out, 12, &histogram.positive_spans, &histogram.positive_buckets);
    out
}

/// Writes spans, and two fields later the counts of their buckets.
fn push_side(out: &mut Vec<u8>, field: u64, spans: &[Span], counts: &[f64]) {
    for span in spans {
        let mut message = Vec::new();
        push_number(&mut message, 1, zigzag(span.offset));
        push_number(&mut message, 2, span.length.into());
        push_bytes(out, field, &message);
    }
    counts.iter().for_each(|count| push_double(out, field + 2, *count));
}

fn zigzag(value: i32) -> u64 {
    u64::from(((value << 1) ^ (value >> 31)).cast_unsigned())
}
