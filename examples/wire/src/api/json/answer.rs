//! The answers of queries: scalars, strings, vectors and matrices.

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{Bucket, FloatHistogram};
use ferula_promql::{MatrixSeries, Part, VectorSample};

use super::{push_labels, push_list, push_quoted, push_string, push_timestamp};
use crate::number;

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
pub(in crate::api) struct PointStarts {
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
pub(in crate::api) struct AnswerWriter {
    starts: PointStarts,
    /// Series that were written, of a list that is to be closed.
    n_series: Option<usize>,
    /// Most series that are written.
    limit: usize,
    is_cut: bool,
}

impl AnswerWriter {
    /// A writer of no more than `limit` series.
    pub(in crate::api) fn new(limit: Option<usize>) -> Self {
        let limit = limit.unwrap_or(usize::MAX);
        Self { starts: PointStarts::default(), n_series: None, limit, is_cut: false }
    }

    /// Writes the next part.
    pub(in crate::api) fn push(&mut self, out: &mut Vec<u8>, part: &Part) {
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
    pub(in crate::api) fn finish(self, out: &mut Vec<u8>) -> bool {
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

pub(in crate::api) fn push_series(
    out: &mut Vec<u8>,
    series: &MatrixSeries,
    starts: &mut PointStarts,
) {
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
