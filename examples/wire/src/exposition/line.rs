//! Single samples as lines of text: OpenMetrics, and the form of `promtool tsdb dump`.

use ferula_chunkenc::histogram::FloatHistogram;
use ferula_index::labels::{is_legacy_label_name, is_legacy_metric_name};
use ferula_index::{Labels, METRIC_NAME};

use crate::number;

/// What an OpenMetrics text ends with.
pub const OPENMETRICS_END: &[u8] = b"# EOF\n";

/// Writes a float sample as a line of OpenMetrics, its time in seconds.
///
/// ```
/// use ferula_index::Labels;
/// use ferula_wire::exposition::line::push_openmetrics;
///
/// let labels = Labels::from_pairs([("__name__", "up"), ("job", "a")])?;
/// let mut out = Vec::new();
/// push_openmetrics(&mut out, &labels, 1_500, 1.0);
/// assert_eq!(out, b"up{job=\"a\"} 1 1.5\n");
/// # Ok::<(), ferula_index::Error>(())
/// ```
pub fn push_openmetrics(out: &mut Vec<u8>, labels: &Labels, timestamp_ms: i64, value: f64) {
    let name = labels.metric_name();
    let is_plain = is_legacy_metric_name(name);
    if is_plain {
        out.extend_from_slice(name.as_bytes());
    }
    let mut separator = b'{';
    if !is_plain && !name.is_empty() {
        out.push(b'{');
        push_quoted(out, name);
        separator = b',';
    }
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        out.push(separator);
        separator = b',';
        match is_legacy_label_name(name) {
            true => out.extend_from_slice(name.as_bytes()),
            false => push_quoted(out, name),
        }
        out.push(b'=');
        push_quoted(out, value);
    }
    match separator {
        b',' => out.extend_from_slice(b"} "),
        _ => out.push(b' '),
    }
    number::push_text(out, value);
    out.push(b' ');
    push_seconds(out, timestamp_ms);
    out.push(b'\n');
}

/// Writes a sample as `promtool tsdb dump` does, its time in milliseconds.
pub fn push_dumped(
    out: &mut Vec<u8>,
    labels: &Labels,
    timestamp_ms: i64,
    value: f64,
    histogram: Option<&FloatHistogram>,
) {
    out.extend_from_slice(labels.to_string().as_bytes());
    out.push(b' ');
    match histogram {
        None => number::push_text(out, value),
        Some(histogram) => push_histogram(out, histogram),
    }
    out.push(b' ');
    number::push_integer(out, timestamp_ms);
    out.push(b'\n');
}

/// Writes count, sum and the buckets that are not empty.
fn push_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    out.extend_from_slice(b"{count:");
    number::push_text(out, histogram.count);
    out.extend_from_slice(b", sum:");
    number::push_text(out, histogram.sum);
    for bucket in histogram.all_buckets().filter(|bucket| bucket.count != 0.0) {
        let text = bucket.to_string();
        let bounds = text.rsplit_once(':').map_or("", |(bounds, _)| bounds);
        out.extend_from_slice(b", ");
        out.extend_from_slice(bounds.as_bytes());
        out.push(b':');
        number::push_text(out, bucket.count);
    }
    out.push(b'}');
}

fn push_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' => out.extend_from_slice(b"\\\""),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Writes milliseconds as seconds, without zeros at the end.
fn push_seconds(out: &mut Vec<u8>, ms: i64) {
    if ms < 0 {
        out.push(b'-');
    }
    let ms = ms.unsigned_abs();
    number::push_unsigned(out, ms / 1000);
    let fraction = format!(".{:03}", ms % 1000);
    out.extend_from_slice(fraction.trim_end_matches('0').trim_end_matches('.').as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for (pairs, ms, expected) in [
            (vec![("__name__", "up")], 0, "up 2.5 0\n"),
            (
                vec![("__name__", "ü p"), ("a.b", "c\"\n\\")],
                -1,
                "{\"ü p\",\"a.b\"=\"c\\\"\\n\\\\\"} 2.5 -0.001\n",
            ),
            (vec![("a", "b")], 1_700_000_000_120, "{a=\"b\"} 2.5 1700000000.12\n"),
            (vec![("__name__", "ü p")], 60_000, "{\"ü p\"} 2.5 60\n"),
        ] {
            let labels = Labels::from_pairs(pairs).expect("valid labels");
            let mut out = Vec::new();
            push_openmetrics(&mut out, &labels, ms, 2.5);
            assert_eq!(String::from_utf8(out).expect("text"), expected);
        }
    }
}
