//! The text format 0.0.4 and OpenMetrics 1.0.0, with timestamps.

use ferula_chunkenc::histogram::FloatHistogram;

use super::names::{Escaping, is_plain};
use super::{Kind, Newest, Writer};
use crate::api::json;
use crate::number;

/// Writes lines of text.
pub(super) struct TextWriter {
    out: Vec<u8>,
    escaping: Escaping,
    is_open_metrics: bool,
}

impl TextWriter {
    pub(super) fn new(escaping: Escaping, is_open_metrics: bool) -> Self {
        Self { out: Vec::new(), escaping, is_open_metrics }
    }

    fn line(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        bound: Option<f64>,
        value: f64,
        timestamp: i64,
    ) {
        let name = self.escaping.apply(name);
        let mut separator = b'{';
        if is_plain(&name) {
            self.out.extend_from_slice(name.as_bytes());
        } else {
            self.out.push(b'{');
            self.push_quoted(&name);
            separator = b',';
        }
        for (label, value) in labels {
            self.out.push(separator);
            separator = b',';
            let label = self.escaping.apply(label);
            if is_plain(&label) {
                self.out.extend_from_slice(label.as_bytes());
            } else {
                self.push_quoted(&label);
            }
            self.out.push(b'=');
            self.push_quoted(value);
        }
        if let Some(bound) = bound {
            self.out.push(separator);
            separator = b',';
            self.out.extend_from_slice(b"le=\"");
            if self.is_open_metrics {
                self.out.extend_from_slice(number::openmetrics(bound).as_bytes());
            } else {
                number::push_text(&mut self.out, bound);
            }
            self.out.push(b'"');
        }
        if separator == b',' {
            self.out.push(b'}');
        }
        self.out.push(b' ');
        number::push_text(&mut self.out, value);
        self.out.push(b' ');
        if self.is_open_metrics {
            json::push_timestamp(&mut self.out, timestamp);
        } else {
            number::push_integer(&mut self.out, timestamp);
        }
        self.out.push(b'\n');
    }

    fn push_quoted(&mut self, text: &str) {
        self.out.push(b'"');
        for byte in text.bytes() {
            match byte {
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                byte => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    /// A histogram with bounds of its own, as a classic one.
    fn classic(&mut self, name: &str, labels: &[(&str, &str)], time: i64, of: &FloatHistogram) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in cumulative(of) {
            self.line(&bucket, labels, Some(bound), count, time);
        }
        self.line(&bucket, labels, Some(f64::INFINITY), of.count, time);
        self.line(&format!("{name}_sum"), labels, None, of.sum, time);
        self.line(&format!("{name}_count"), labels, None, of.count, time);
    }
}

impl Writer for TextWriter {
    fn family(&mut self, name: &str, kind: Kind) {
        let name = self.escaping.apply(name);
        self.out.extend_from_slice(b"# TYPE ");
        if is_plain(&name) {
            self.out.extend_from_slice(name.as_bytes());
        } else {
            self.push_quoted(&name);
        }
        let kind: &[u8] = match (kind, self.is_open_metrics) {
            (Kind::Untyped, false) => b" untyped\n",
            (Kind::Untyped, true) => b" unknown\n",
            (Kind::GaugeHistogram, true) => b" gaugehistogram\n",
            _ => b" histogram\n",
        };
        self.out.extend_from_slice(kind);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], sample: &Newest) {
        match &sample.histogram {
            None => self.line(name, labels, None, sample.value, sample.timestamp),
            Some(histogram) => self.classic(name, labels, sample.timestamp, histogram),
        }
    }

    fn finish(mut self: Box<Self>) -> Vec<u8> {
        if self.is_open_metrics {
            self.out.extend_from_slice(b"# EOF\n");
        }
        self.out
    }
}

/// The bounds of a histogram that has its own, each with the observations up to it.
pub(super) fn cumulative(histogram: &FloatHistogram) -> Vec<(f64, f64)> {
    let mut counts = vec![0.0; histogram.custom_values.len()];
    let (mut index, mut buckets) = (0_i64, histogram.positive_buckets.iter());
    for span in &histogram.positive_spans {
        index += i64::from(span.offset);
        for count in buckets.by_ref().take(usize::try_from(span.length).unwrap_or(usize::MAX)) {
            if let Some(slot) = usize::try_from(index).ok().and_then(|i| counts.get_mut(i)) {
                *slot = *count;
            }
            index += 1;
        }
    }
    let mut total = 0.0;
    let bounds = histogram.custom_values.iter().zip(counts);
    bounds
        .map(|(bound, count)| {
            (*bound, {
                total += count;
                total
            })
        })
        .collect()
}
