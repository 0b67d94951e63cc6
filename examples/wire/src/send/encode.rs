//! Requests out of samples.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferula_index::Labels;
use ferula_tsdb::{Metadata, MetricType};

use super::item::{Item, SentSeries, What};
use crate::protobuf::write::{push_bytes, push_double, push_uint, push_varint};
use crate::read::push_histogram;
use crate::remote::Version;

/// How long it is before metadata is sent again in 1.0.
const METADATA_INTERVAL: Duration = Duration::from_secs(60);

/// Metrics whose metadata is remembered; beyond that it is sent more often.
const MAX_DESCRIBED: usize = 100_000;

/// Encodes the requests of one queue.
pub(super) struct Encoder {
    version: Version,
    send_metadata: bool,
    /// When metadata of metrics was sent last.
    described: HashMap<String, Instant>,
}

impl Encoder {
    pub(super) fn new(version: Version, send_metadata: bool) -> Self {
        Self { version, send_metadata, described: HashMap::new() }
    }

    /// A request with these samples, compressed. Those of a series that stand together become one.
    pub(super) fn encode(&mut self, items: &[Item]) -> Vec<u8> {
        let runs = items.chunk_by(|a, b| Arc::ptr_eq(&a.series, &b.series));
        let request = match self.version {
            Version::V1 => self.encode_1(runs),
            Version::V2 => self.encode_2(runs),
        };
        snap::raw::Encoder::new().compress_vec(&request).expect("requests are far below 4 GiB")
    }

    /// A `WriteRequest`: 1 series, 3 metadata.
    fn encode_1<'a>(&mut self, runs: impl Iterator<Item = &'a [Item]>) -> Vec<u8> {
        let (mut request, mut metadata) = (Vec::new(), Vec::new());
        let mut series = Vec::new();
        for run in runs {
            series.clear();
            push_labels(&mut series, &run[0].series.labels);
            for item in run {
                match &item.what {
                    What::Float { timestamp, value, .. } => {
                        push_bytes(&mut series, 2, &sample(0, *timestamp, *value));
                    }
                    What::Histogram { timestamp, histogram, .. } => {
                        push_bytes(&mut series, 4, &encoded_histogram(0, *timestamp, histogram));
                    }
                    What::Exemplar(exemplar) => {
                        let mut encoded = Vec::new();
                        push_labels(&mut encoded, &exemplar.labels);
                        push_double(&mut encoded, 2, exemplar.value);
                        push_uint(&mut encoded, 3, exemplar.timestamp.cast_unsigned());
                        push_bytes(&mut series, 3, &encoded);
                    }
                }
            }
            push_bytes(&mut request, 1, &series);
            self.describe(&mut metadata, &run[0].series);
        }
        request.append(&mut metadata);
        request
    }

    /// Appends what a series says of its metric, unless that was sent a short time ago.
    fn describe(&mut self, out: &mut Vec<u8>, series: &SentSeries) {
        let Some(metadata) = series.metadata.lock().clone() else { return };
        if !self.send_metadata {
            return;
        }
        let family = family(series.labels.metric_name(), &metadata);
        if self.described.get(family).is_some_and(|sent| sent.elapsed() < METADATA_INTERVAL) {
            return;
        }
        if self.described.len() >= MAX_DESCRIBED {
            self.described.clear();
        }
        self.described.insert(family.to_owned(), Instant::now());
        let mut encoded = Vec::new();
        push_uint(&mut encoded, 1, metadata.metric_type.to_byte().into());
        push_bytes(&mut encoded, 2, family.as_bytes());
        push_bytes(&mut encoded, 4, metadata.help.as_bytes());
        push_bytes(&mut encoded, 5, metadata.unit.as_bytes());
        push_bytes(out, 3, &encoded);
    }

    /// A `Request`: 4 symbols, 5 series.
    fn encode_2<'a>(&self, runs: impl Iterator<Item = &'a [Item]>) -> Vec<u8> {
        let mut symbols = Symbols::default();
        symbols.number("");
        let (mut request, mut all) = (Vec::new(), Vec::new());
        let mut series = Vec::new();
        for run in runs {
            series.clear();
            let labels = symbols.numbers(&run[0].series.labels);
            push_bytes(&mut series, 1, &labels);
            for item in run {
                match &item.what {
                    What::Float { start, timestamp, value } => {
                        push_bytes(&mut series, 2, &sample(*start, *timestamp, *value));
                    }
                    What::Histogram { start, timestamp, histogram } => {
                        let encoded = encoded_histogram(*start, *timestamp, histogram);
                        push_bytes(&mut series, 3, &encoded);
                    }
                    What::Exemplar(exemplar) => {
                        let mut encoded = Vec::new();
                        push_bytes(&mut encoded, 1, &symbols.numbers(&exemplar.labels));
                        push_double(&mut encoded, 2, exemplar.value);
                        push_uint(&mut encoded, 3, exemplar.timestamp.cast_unsigned());
                        push_bytes(&mut series, 4, &encoded);
                    }
                }
            }
            let metadata = run[0].series.metadata.lock().clone();
            if let Some(metadata) = metadata.filter(|_| self.send_metadata) {
                let mut encoded = Vec::new();
                push_uint(&mut encoded, 1, number_of_type(metadata.metric_type));
                push_uint(&mut encoded, 3, symbols.number(&metadata.help));
                push_uint(&mut encoded, 4, symbols.number(&metadata.unit));
                push_bytes(&mut series, 5, &encoded);
            }
            push_bytes(&mut all, 5, &series);
        }
        for symbol in &symbols.all {
            push_bytes(&mut request, 4, symbol.as_bytes());
        }
        request.append(&mut all);
        request
    }
}

/// The number of a type, the same in both versions.
fn number_of_type(metric_type: MetricType) -> u64 {
    metric_type.to_byte().into()
}

/// A `Sample`: 1 value, 2 time, 3 start.
fn sample(start: i64, timestamp: i64, value: f64) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(24);
    push_double(&mut encoded, 1, value);
    push_uint(&mut encoded, 2, timestamp.cast_unsigned());
    push_uint(&mut encoded, 3, start.cast_unsigned());
    encoded
}

fn encoded_histogram(
    start: i64,
    timestamp: i64,
    histogram: &ferula_tsdb::NativeHistogram,
) -> Vec<u8> {
    let mut encoded = Vec::new();
    push_histogram(&mut encoded, timestamp, histogram);
    push_uint(&mut encoded, 17, start.cast_unsigned());
    encoded
}

/// Appends labels, each of which is field 1: 1 name, 2 value.
fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    let mut label = Vec::new();
    for (name, value) in labels {
        label.clear();
        push_bytes(&mut label, 1, name.as_bytes());
        push_bytes(&mut label, 2, value.as_bytes());
        push_bytes(out, 1, &label);
    }
}

/// The name of the metric that a series belongs to.
fn family<'a>(name: &'a str, metadata: &Metadata) -> &'a str {
    let suffixes: &[&str] = match metadata.metric_type {
        MetricType::Histogram => &["_bucket", "_count", "_sum"],
        MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricType::Summary => &["_count", "_sum"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// Texts of a request of 2.0, each once.
#[derive(Default)]
struct Symbols {
    all: Vec<String>,
    numbers: HashMap<String, u64>,
}

impl Symbols {
    fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.all.len() as u64;
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    /// The numbers of names and values, packed.
    fn numbers(&mut self, labels: &Labels) -> Vec<u8> {
        let mut packed = Vec::new();
        for (name, value) in labels {
            push_varint(&mut packed, self.number(name));
            push_varint(&mut packed, self.number(value));
        }
        packed
    }
}
