//! JSON as Prometheus's API writes it, straight into a buffer.
//!
//! Two kinds of strings differ in what they escape: label names and values inside of results are
//! written as they are, everything else has `<`, `>` and `&` escaped.

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{Bucket, FloatHistogram};
use ferula_index::Labels;
use ferula_promql::{MatrixSeries, Part, VectorSample};

use crate::number;

/// Writes a string of a label set.
pub(super) fn push_label(out: &mut Vec<u8>, text: &str) {
    push_escaped(out, text, |byte| byte < 0x20 || matches!(byte, b'"' | b'\\'));
}

/// Writes any other string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    if !text.contains(['\u{2028}', '\u{2029}']) {
        push_escaped(out, text, is_special);
        return;
    }
    // These two end lines in JavaScript and are escaped for its sake.
    out.push(b'"');
    for part in text.split_inclusive(['\u{2028}', '\u{2029}']) {
        let bare = part.trim_end_matches(['\u{2028}', '\u{2029}']);
        push_inner(out, bare, is_special);
        match part[bare.len()..].chars().next() {
            Some('\u{2028}') => out.extend_from_slice(b"\\u2028"),
            Some(_) => out.extend_from_slice(b"\\u2029"),
            None => {}
        }
    }
    out.push(b'"');
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

fn push_escaped(out: &mut Vec<u8>, text: &str, is_special: fn(u8) -> bool) {
    out.push(b'"');
    push_inner(out, text, is_special);
    out.push(b'"');
}

fn push_inner(out: &mut Vec<u8>, text: &str, is_special: fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Writes a list, whose items `push` writes.
pub(super) fn push_list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

/// Writes a list of strings.
pub(super) fn push_strings<S: AsRef<str>>(out: &mut Vec<u8>, items: impl IntoIterator<Item = S>) {
    push_list(out, items, |out, item| push_string(out, item.as_ref()));
}

/// Writes a label set as an object.
pub(super) fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_label(out, name);
        out.push(b':');
        push_label(out, value);
    }
    out.push(b'}');
}

/// Writes a time in milliseconds as seconds.
pub(super) fn push_timestamp(out: &mut Vec<u8>, timestamp: i64) {
    if timestamp < 0 {
        out.push(b'-');
    }
    let magnitude = timestamp.unsigned_abs();
    number::push_unsigned(out, magnitude / 1000);
    let fraction = magnitude % 1000;
    if fraction != 0 {
        out.push(b'.');
        out.extend(
            [100, 10, 1].map(|place| {
                b'0' + u8::try_from(fraction / place % 10).expect("a digit fits a byte")
            }),
        );
    }
}

/// Writes a time in milliseconds as seconds, as short as possible: the form of scalars and strings.
fn push_seconds(out: &mut Vec<u8>, timestamp: i64) {
    number::push_json(out, timestamp as f64 / 1000.0);
}

/// Most timestamps whose texts are kept: those of the longest range query.
const MAX_KEPT_COUNT: usize = 11_001;

/// Writes the start of a point, `[1435781451.781,"`.
///
/// The series of a range query mostly have their points at the same times, so the text of the
/// n-th point is kept for the n-th point of the next series.
#[derive(Default)]
pub(super) struct PointStarts {
    kept: Vec<PointStart>,
}

struct PointStart {
    timestamp: i64,
    text: [u8; Self::MAX_BYTES],
    len: usize,
}

impl PointStart {
    /// A sign, nineteen digits, a point, and the punctuation around.
    const MAX_BYTES: usize = 24;

    fn new(timestamp: i64) -> Self {
        let mut out = Vec::with_capacity(Self::MAX_BYTES);
        out.push(b'[');
        push_timestamp(&mut out, timestamp);
        out.extend_from_slice(b",\"");
        let mut text = [0; Self::MAX_BYTES];
        text[..out.len()].copy_from_slice(&out);
        Self { timestamp, text, len: out.len() }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

impl PointStarts {
    fn push(&mut self, out: &mut Vec<u8>, index: usize, timestamp: i64) {
        match self.kept.get_mut(index) {
            Some(kept) => {
                if kept.timestamp != timestamp {
                    *kept = PointStart::new(timestamp);
                }
                out.extend_from_slice(kept.as_bytes());
            }
            None => {
                let start = PointStart::new(timestamp);
                out.extend_from_slice(start.as_bytes());
                if index == self.kept.len() && index < MAX_KEPT_COUNT {
                    self.kept.push(start);
                }
            }
        }
    }
}

/// Writes the value that ends a point.
fn push_point_value(out: &mut Vec<u8>, value: f64) {
    number::push_json(out, value);
    out.extend_from_slice(b"\"]");
}

/// Writes type and contents of a query's answer, the fields `resultType` and `result`, as its parts
/// come.
pub(super) struct AnswerWriter {
    starts: PointStarts,
    /// Series that were written, of a list that is to be closed.
    n_series: Option<usize>,
    /// Most series that are written.
    limit: usize,
    is_cut: bool,
}

impl AnswerWriter {
    /// A writer of no more than `limit` series.
    pub(super) fn new(limit: Option<usize>) -> Self {
        let limit = limit.unwrap_or(usize::MAX);
        Self { starts: PointStarts::default(), n_series: None, limit, is_cut: false }
    }

    /// Writes the next part.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, part: &Part) {
        match part {
            Part::Scalar(sample) => {
                out.extend_from_slice(b"\"resultType\":\"scalar\",\"result\":[");
                push_seconds(out, sample.timestamp);
                out.extend_from_slice(b",\"");
                // Scalars never have an exponent.
                number::push_plain(out, sample.value);
                out.extend_from_slice(b"\"]");
            }
            Part::String { timestamp, text } => {
                out.extend_from_slice(b"\"resultType\":\"string\",\"result\":[");
                push_seconds(out, *timestamp);
                out.push(b',');
                push_string(out, text);
                out.push(b']');
            }
            Part::Vector => {
                out.extend_from_slice(b"\"resultType\":\"vector\",\"result\":[");
                self.n_series = Some(0);
            }
            Part::Matrix => {
                out.extend_from_slice(b"\"resultType\":\"matrix\",\"result\":[");
                self.n_series = Some(0);
            }
            Part::Sample(sample) => {
                if self.begin_series(out) {
                    push_sample(out, sample, &mut self.starts);
                }
            }
            Part::Series(series) => {
                if self.begin_series(out) {
                    push_series(out, series, &mut self.starts);
                }
            }
            other => unreachable!("the engine answered {other:?}, which the API does not know"),
        }
    }

    /// Tells whether another series is written.
    fn begin_series(&mut self, out: &mut Vec<u8>) -> bool {
        let n_series = self.n_series.get_or_insert(0);
        if *n_series == self.limit {
            self.is_cut = true;
            return false;
        }
        if *n_series > 0 {
            out.push(b',');
        }
        *n_series += 1;
        true
    }

    /// Ends the answer, and tells whether there were more series than the limit.
    pub(super) fn finish(self, out: &mut Vec<u8>) -> bool {
        if self.n_series.is_some() {
            out.push(b']');
        }
        self.is_cut
    }
}

fn push_sample(out: &mut Vec<u8>, sample: &VectorSample, starts: &mut PointStarts) {
    out.extend_from_slice(b"{\"metric\":");
    push_labels(out, &sample.labels);
    match &sample.histogram {
        None => {
            out.extend_from_slice(b",\"value\":");
            starts.push(out, 0, sample.timestamp);
            push_point_value(out, sample.value);
        }
        Some(histogram) => {
            out.extend_from_slice(b",\"histogram\":");
            push_histogram_point(out, sample.timestamp, histogram);
        }
    }
    out.push(b'}');
}

pub(super) fn push_series(out: &mut Vec<u8>, series: &MatrixSeries, starts: &mut PointStarts) {
    let samples = &series.samples;
    out.extend_from_slice(b"{\"metric\":");
    push_labels(out, &series.labels);
    if !samples.has_histograms() {
        if !samples.is_empty() {
            out.extend_from_slice(b",\"values\":");
            push_list(out, samples.iter().enumerate(), |out, (index, sample)| {
                starts.push(out, index, sample.timestamp);
                push_point_value(out, sample.value);
            });
        }
    } else {
        push_mixed_points(out, samples, starts);
    }
    out.push(b'}');
}

/// Writes the floats of a series, if there are any, and then its histograms.
fn push_mixed_points(out: &mut Vec<u8>, samples: &SampleBatch, starts: &mut PointStarts) {
    let is_float = |index: &usize| samples.histogram(*index).is_none();
    let mut floats = (0..samples.len()).filter(is_float).peekable();
    if floats.peek().is_some() {
        out.extend_from_slice(b",\"values\":");
        push_list(out, floats, |out, index| {
            starts.push(out, index, samples.timestamps()[index]);
            push_point_value(out, samples.values()[index]);
        });
    }
    out.extend_from_slice(b",\"histograms\":");
    let histograms = samples.timestamps().iter().enumerate();
    let histograms = histograms.filter_map(|(i, time)| Some((*time, samples.histogram(i)?)));
    push_list(out, histograms, |out, (time, histogram)| push_histogram_point(out, time, histogram));
}

/// Writes a histogram with its time.
fn push_histogram_point(out: &mut Vec<u8>, timestamp: i64, histogram: &FloatHistogram) {
    out.push(b'[');
    push_timestamp(out, timestamp);
    out.extend_from_slice(b",{\"count\":");
    push_quoted(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    push_quoted(out, histogram.sum);
    let mut buckets = histogram.all_buckets().filter(|bucket| bucket.count != 0.0).peekable();
    if buckets.peek().is_some() {
        out.extend_from_slice(b",\"buckets\":");
        push_list(out, buckets, |out, bucket| push_bucket(out, &bucket));
    }
    out.extend_from_slice(b"}]");
}

fn push_bucket(out: &mut Vec<u8>, bucket: &Bucket<f64>) {
    let rule = match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => b'0',
        (true, false) => b'1',
        (false, false) => b'2',
        (true, true) => b'3',
    };
    out.extend_from_slice(&[b'[', rule]);
    for value in [bucket.lower, bucket.upper, bucket.count] {
        out.push(b',');
        push_quoted(out, value);
    }
    out.push(b']');
}

pub(super) fn push_quoted(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    number::push_json(out, value);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferula_chunkenc::Sample;
    use ferula_chunkenc::histogram::Span;
    use ferula_promql::Value;

    use super::*;

    fn push_value(out: &mut Vec<u8>, value: &Value) {
        let mut writer = AnswerWriter::new(None);
        match value.clone() {
            Value::Scalar(sample) => writer.push(out, &Part::Scalar(sample)),
            Value::String { timestamp, text } => {
                writer.push(out, &Part::String { timestamp, text });
            }
            Value::Vector(vector) => {
                writer.push(out, &Part::Vector);
                vector.into_iter().for_each(|sample| writer.push(out, &Part::Sample(sample)));
            }
            Value::Matrix(matrix) => {
                writer.push(out, &Part::Matrix);
                matrix.into_iter().for_each(|series| writer.push(out, &Part::Series(series)));
            }
            _ => unreachable!("no other kind"),
        }
        assert!(!writer.finish(out));
    }

    #[test]
    fn no_more_series_than_the_limit_are_written() {
        let series = |value: &str| {
            let labels = Labels::from_pairs([("a", value)]).unwrap();
            Part::Series(MatrixSeries { labels, samples: SampleBatch::new() })
        };
        for (limit, expected, is_cut) in [
            (2, r#"[{"metric":{"a":"1"}},{"metric":{"a":"2"}}]"#, false),
            (1, r#"[{"metric":{"a":"1"}}]"#, true),
            (0, "[]", true),
        ] {
            let mut writer = AnswerWriter::new(Some(limit));
            let written = text(|out| {
                [Part::Matrix, series("1"), series("2")].iter().for_each(|p| writer.push(out, p));
                assert_eq!(writer.finish(out), is_cut);
            });
            assert_eq!(written, format!(r#""resultType":"matrix","result":{expected}"#));
        }
    }

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_as_prometheus_does() {
        let odd = "a\"b\\c\n\r\t\u{1}\u{7f}<&>ü\u{2028}x";
        assert_eq!(
            text(|out| push_string(out, odd)),
            "\"a\\\"b\\\\c\\n\\r\\t\\u0001\u{7f}\\u003c\\u0026\\u003eü\\u2028x\""
        );
        assert_eq!(
            text(|out| push_label(out, odd)),
            "\"a\\\"b\\\\c\\n\\r\\t\\u0001\u{7f}<&>ü\u{2028}x\""
        );
    }

    #[test]
    fn timestamps_are_seconds() {
        for (timestamp, expected) in [
            (0, "0"),
            (1, "0.001"),
            (-1, "-0.001"),
            (10, "0.010"),
            (1_435_781_451_781, "1435781451.781"),
            (1_435_781_451_700, "1435781451.700"),
            (-1500, "-1.500"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(text(|out| push_timestamp(out, timestamp)), expected);
        }
    }

    #[test]
    fn points_of_different_times_keep_theirs() {
        let series = |timestamps: &[i64]| {
            let mut samples = SampleBatch::new();
            for &timestamp in timestamps {
                samples.push(timestamp, 0.5);
            }
            MatrixSeries { labels: Labels::empty(), samples }
        };
        let matrix = Value::Matrix(vec![
            series(&[1000, 2000]),
            series(&[2000, i64::MIN, 3001]),
            series(&[1000, 2000, 3001]),
        ]);
        assert_eq!(
            text(|out| push_value(out, &matrix)),
            r#""resultType":"matrix","result":[{"metric":{},"values":[[1,"0.5"],[2,"0.5"]]},{"metric":{},"values":[[2,"0.5"],[-9223372036854775.808,"0.5"],[3.001,"0.5"]]},{"metric":{},"values":[[1,"0.5"],[2,"0.5"],[3.001,"0.5"]]}]"#
        );
    }

    #[test]
    fn values_have_the_form_of_their_type() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a<b")]).unwrap();
        let mut samples = SampleBatch::new();
        samples.push(1000, 1.0);
        samples.push(1500, f64::NAN);
        for (value, expected) in [
            (
                Value::Scalar(Sample::new(1500, 1e300)),
                format!("\"resultType\":\"scalar\",\"result\":[1.5,\"1{}\"]", "0".repeat(300)),
            ),
            (
                Value::String { timestamp: 0, text: "a&b".to_owned() },
                r#""resultType":"string","result":[0,"a\u0026b"]"#.to_owned(),
            ),
            (Value::Vector(Vec::new()), r#""resultType":"vector","result":[]"#.to_owned()),
            (
                Value::Vector(vec![VectorSample {
                    labels: labels.clone(),
                    timestamp: 5000,
                    value: f64::INFINITY,
                    histogram: None,
                }]),
                r#""resultType":"vector","result":[{"metric":{"__name__":"up","job":"a<b"},"value":[5,"+Inf"]}]"#
                    .to_owned(),
            ),
            (
                Value::Matrix(vec![MatrixSeries { labels, samples }]),
                r#""resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a<b"},"values":[[1,"1"],[1.500,"NaN"]]}]"#
                    .to_owned(),
            ),
        ] {
            assert_eq!(text(|out| push_value(out, &value)), expected);
        }
    }

    #[test]
    fn histograms_stand_beside_floats() {
        let histogram = Arc::new(FloatHistogram {
            count: 6.5,
            sum: -2.0,
            zero_threshold: 0.5,
            zero_count: 1.0,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_buckets: vec![0.0, 4.0],
            negative_spans: vec![Span { offset: 1, length: 1 }],
            negative_buckets: vec![1.5],
            ..FloatHistogram::default()
        });
        let written = r#"{"count":"6.5","sum":"-2","buckets":[[1,"-2","-1","1.5"],[3,"-0.5","0.5","1"],[0,"2","4","4"]]}"#;
        let sample = VectorSample {
            labels: Labels::empty(),
            timestamp: 1500,
            value: f64::NAN,
            histogram: Some(Arc::clone(&histogram)),
        };
        assert_eq!(
            text(|out| push_value(out, &Value::Vector(vec![sample]))),
            format!(
                r#""resultType":"vector","result":[{{"metric":{{}},"histogram":[1.500,{written}]}}]"#
            )
        );
        let mut samples = SampleBatch::new();
        samples.push_histogram(1000, histogram);
        samples.push(2000, 7.0);
        samples.push_histogram(3000, Arc::default());
        let empty = r#"{"count":"0","sum":"0"}"#;
        let series = MatrixSeries { labels: Labels::empty(), samples };
        assert_eq!(
            text(|out| push_value(out, &Value::Matrix(vec![series]))),
            format!(
                r#""resultType":"matrix","result":[{{"metric":{{}},"values":[[2,"7"]],"histograms":[[1,{written}],[3,{empty}]]}}]"#
            )
        );
    }
}
