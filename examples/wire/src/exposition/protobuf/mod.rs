//! Pages in protobuf: messages of the type `io.prometheus.client.MetricFamily`, each behind its length.
//!
//! Series, and their order, are those that Prometheus makes of such a page
//! (`model/textparse/protobufparse.go`, release 3.14). A family is read at a time, and a metric of it at a time.

mod histogram;

use ferula_chunkenc::stale::NORMAL_NAN;
use ferula_index::METRIC_NAME;
use ferula_tsdb::NativeHistogram;

use self::histogram::ProtoHistogram;
use super::MetricType;
use super::classic::{self, ClassicError, Parts, mark_gauge};
use super::sample::{Pairs, Sample, SampleSource, SampleValue};
use super::text::ExemplarLine;
use crate::number;
use crate::protobuf::{DecodeError, Field, Fields, Value};
use crate::remote::{DecodeProblem, MAX_HISTOGRAM_BUCKETS};

/// A page that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metric family {family}")]
pub struct ProtobufError {
    /// Its place on the page, counted from 1.
    pub family: usize,
    /// What is wrong.
    #[source]
    pub problem: ProtobufProblem,
}

/// What is wrong with a metric family.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtobufProblem {
    /// A message cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The page ends within a message, or its length is none.
    #[error("the page ends within a message")]
    End,
    /// The family has no name.
    #[error("metric name is missing")]
    NoMetricName,
    /// The type is none of the known ones.
    #[error("unknown metric type {0}")]
    MetricType(u64),
    /// A native histogram has another number of buckets than its spans have room for.
    #[error("spans require {expected} buckets, there are {found}")]
    Buckets {
        /// Buckets of the spans.
        expected: u64,
        /// Buckets that there are.
        found: usize,
    },
    /// A classic histogram cannot be converted.
    #[error("cannot convert the histogram")]
    Classic(#[from] ClassicError),
}

/// What becomes of histograms.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistogramOptions {
    /// Whether native histograms are taken; they are read as classic ones otherwise.
    pub native: bool,
    /// Whether the classic series of a histogram are taken even if it is taken as a native one.
    pub always_classic: bool,
    /// Whether classic histograms become native ones with custom buckets.
    pub convert: bool,
}

/// Reads the metric families of one page.
#[derive(Clone, Debug)]
pub struct ProtobufParser<'a> {
    page: &'a [u8],
    at: usize,
    n_families: usize,
    options: HistogramOptions,
}

/// One metric family, its metrics undecoded.
#[derive(Clone, Debug)]
pub struct Family<'a> {
    /// Name of the metric.
    pub metric: &'a str,
    /// What it means.
    pub help: &'a str,
    /// What its values are counted in; empty if that is not told.
    pub unit: &'a str,
    /// The kind of its values.
    pub kind: MetricType,
    metrics: Vec<&'a [u8]>,
    place: usize,
    options: HistogramOptions,
}

impl<'a> ProtobufParser<'a> {
    /// Starts at the beginning of `page`.
    pub fn new(page: &'a [u8], options: HistogramOptions) -> Self {
        Self { page, at: 0, n_families: 0, options }
    }

    /// Place of the family read last, counted from 1.
    pub fn place(&self) -> usize {
        self.n_families
    }

    /// Reads the next family.
    ///
    /// # Errors
    /// What is wrong with the page and where. Nothing after it can be read.
    pub fn next_family(&mut self) -> Result<Option<Family<'a>>, ProtobufError> {
        if self.at == self.page.len() {
            return Ok(None);
        }
        self.n_families += 1;
        let family = self.n_families;
        self.family().map(Some).map_err(|problem| ProtobufError { family, problem })
    }

    fn family(&mut self) -> Result<Family<'a>, ProtobufProblem> {
        let message = self.message()?;
        let mut fields = Fields::new("MetricFamily", message);
        let (mut metric, mut help, mut unit, mut kind) = ("", "", "", 0);
        let mut metrics = Vec::new();
        while let Some(field) = fields.next_field()? {
            match field {
                Field { number: 1, .. } => metric = fields.text(&field)?,
                Field { number: 2, .. } => help = fields.text(&field)?,
                Field { number: 3, value: Value::Varint(bits), .. } => kind = bits,
                Field { number: 4, .. } => metrics.push(fields.bytes(&field)?),
                Field { number: 5, .. } => unit = fields.text(&field)?,
                Field { number: 3, .. } => return Err(fields.wrong_type(&field).into()),
                _ => {}
            }
        }
        let kind = match kind {
            0 => MetricType::Counter,
            1 => MetricType::Gauge,
            2 => MetricType::Summary,
            3 => MetricType::Untyped,
            4 => MetricType::Histogram,
            5 => MetricType::GaugeHistogram,
            other => return Err(ProtobufProblem::MetricType(other)),
        };
        if metric.is_empty() && !metrics.is_empty() {
            return Err(ProtobufProblem::NoMetricName);
        }
        let (place, options) = (self.n_families, self.options);
        Ok(Family { metric, help, unit, kind, metrics, place, options })
    }

    /// Takes the next message off the page.
    fn message(&mut self) -> Result<&'a [u8], ProtobufProblem> {
        let rest = &self.page[self.at..];
        let n_length = rest.iter().take(10).position(|byte| byte & 0x80 == 0);
        let n_length = n_length.ok_or(ProtobufProblem::End)? + 1;
        let mut length = 0;
        Fields::each_packed("MetricFamily", &rest[..n_length], |bits| {
            length = bits;
            Ok(())
        })?;
        let end = usize::try_from(length).ok().and_then(|length| n_length.checked_add(length));
        let message = end.and_then(|end| rest.get(n_length..end)).ok_or(ProtobufProblem::End)?;
        self.at += n_length + message.len();
        Ok(message)
    }
}

/// A metric, decoded: a label set and its value.
#[derive(Debug, Default)]
struct Metric<'a> {
    labels: Vec<(&'a str, &'a str)>,
    value: f64,
    exemplar: Option<ExemplarLine<'a>>,
    start: i64,
    timestamp: Option<i64>,
    summary: Summary,
    histogram: ProtoHistogram<'a>,
}

#[derive(Debug, Default)]
struct Summary {
    count: u64,
    sum: f64,
    quantiles: Vec<(f64, f64)>,
}

/// One sample of a metric.
#[derive(Debug)]
pub(crate) struct ProtoSample<'s> {
    name: &'s str,
    labels: &'s [(&'s str, &'s str)],
    /// Bound or quantile.
    part: Option<(&'static str, String)>,
    exemplars: &'s [&'s ExemplarLine<'s>],
}

impl SampleSource for ProtoSample<'_> {
    fn labels(&self) -> Pairs<'_> {
        let mut labels: Pairs<'_> = vec![(METRIC_NAME.into(), self.name.into())];
        labels.extend(self.labels.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        labels.extend(self.part.iter().map(|(name, value)| ((*name).into(), value.into())));
        labels
    }

    fn exemplars(&self) -> Vec<ExemplarLine<'_>> {
        self.exemplars.iter().map(|exemplar| (*exemplar).clone()).collect()
    }
}

impl<'a> Family<'a> {
    /// Decodes the metrics and hands over their samples, as long as `take` takes them.
    pub(crate) fn each_sample<E: From<ProtobufError>>(
        &self,
        take: &mut dyn FnMut(&Sample<'_>, &ProtoSample<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let located = |problem| ProtobufError { family: self.place, problem };
        for message in &self.metrics {
            let metric = metric(message).map_err(|e| located(e.into()))?;
            let mut out = Out { family: self, metric: &metric, take };
            match self.kind {
                MetricType::Summary => out.summary()?,
                MetricType::Histogram | MetricType::GaugeHistogram => {
                    let native = out.native_histogram().map_err(located)?;
                    if native.is_none() || self.options.always_classic {
                        out.classic_histogram(native.is_some())?;
                    }
                    if let Some(native) = native {
                        out.histogram(native)?;
                    }
                }
                _ => {
                    let exemplars: Vec<_> = metric.exemplar.iter().collect();
                    out.float("", None, metric.value, &exemplars)?;
                }
            }
        }
        Ok(())
    }
}

/// Where the samples of a metric go.
struct Out<'o, 'a, E> {
    family: &'o Family<'a>,
    metric: &'o Metric<'a>,
    take: &'o mut dyn FnMut(&Sample<'_>, &ProtoSample<'_>) -> Result<(), E>,
}

impl<E> Out<'_, '_, E> {
    fn summary(&mut self) -> Result<(), E> {
        let Summary { count, sum, quantiles } = &self.metric.summary;
        self.float("_count", None, *count as f64, &[])?;
        self.float("_sum", None, *sum, &[])?;
        for (quantile, value) in quantiles {
            self.float("", Some(("quantile", number::openmetrics(*quantile))), *value, &[])?;
        }
        Ok(())
    }

    /// The native histogram that this one is taken as, if it is.
    fn native_histogram(&self) -> Result<Option<NativeHistogram>, ProtobufProblem> {
        let HistogramOptions { native, convert, .. } = self.family.options;
        let histogram = &self.metric.histogram;
        let mut found = if native && histogram.is_native() {
            histogram.native()?
        } else if convert {
            let mut parts = Parts::default();
            parts.set_count(histogram.count());
            parts.set_sum(histogram.sum);
            for bucket in &histogram.buckets {
                parts.push_bucket(bucket.upper, bucket.count);
            }
            parts.convert()?
        } else {
            return Ok(None);
        };
        if self.family.kind == MetricType::GaugeHistogram {
            mark_gauge(&mut found);
        }
        Ok(Some(found))
    }

    /// The series of a classic histogram. Beside a native one they are left out if there are no buckets.
    fn classic_histogram(&mut self, is_beside: bool) -> Result<(), E> {
        let histogram = &self.metric.histogram;
        if is_beside && histogram.buckets.is_empty() {
            return Ok(());
        }
        self.float("_count", None, histogram.count(), &[])?;
        self.float("_sum", None, histogram.sum, &[])?;
        let mut has_highest = false;
        for bucket in &histogram.buckets {
            let bound = ("le", number::openmetrics(bucket.upper));
            let exemplars: Vec<_> = bucket.exemplar.iter().collect();
            self.float("_bucket", Some(bound), bucket.count, &exemplars)?;
            has_highest = bucket.upper == f64::INFINITY;
        }
        if !has_highest {
            let bound = ("le", "+Inf".to_owned());
            self.float("_bucket", Some(bound), histogram.count(), &[])?;
        }
        Ok(())
    }

    /// A native histogram, with the exemplars that it has itself, or those of its classic buckets.
    fn histogram(&mut self, histogram: NativeHistogram) -> Result<(), E> {
        let ProtoHistogram { exemplars, buckets, .. } = &self.metric.histogram;
        let mut all: Vec<_> = exemplars.iter().collect();
        if all.is_empty() {
            all.extend(buckets.iter().filter_map(|bucket| bucket.exemplar.as_ref()));
        }
        let value = SampleValue::Histogram(Box::new(histogram));
        self.sample("", None, value, &all)
    }

    fn float(
        &mut self,
        suffix: &str,
        part: Option<(&'static str, String)>,
        value: f64,
        exemplars: &[&ExemplarLine<'_>],
    ) -> Result<(), E> {
        let value = if value.is_nan() { NORMAL_NAN } else { value };
        self.sample(suffix, part, SampleValue::Float(value), exemplars)
    }

    fn sample(
        &mut self,
        suffix: &str,
        part: Option<(&'static str, String)>,
        value: SampleValue,
        exemplars: &[&ExemplarLine<'_>],
    ) -> Result<(), E> {
        let name = format!("{}{suffix}", self.family.metric);
        let Metric { labels, timestamp, start, .. } = self.metric;
        let source = ProtoSample { name: &name, labels, part, exemplars };
        let series = classic::key(&source.labels());
        let sample = Sample { series: &series, value, timestamp: *timestamp, start: *start };
        (self.take)(&sample, &source)
    }
}

/// Decodes a `Metric`: 1 labels, 2 gauge, 3 counter, 4 summary, 5 untyped, 6 time, 7 histogram.
fn metric(message: &[u8]) -> Result<Metric<'_>, DecodeError> {
    let mut fields = Fields::new("Metric", message);
    let mut metric = Metric::default();
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, .. } => metric.labels.push(label(fields.bytes(&field)?)?),
            Field { number: 2 | 3 | 5, .. } => value(fields.bytes(&field)?, &mut metric)?,
            Field { number: 4, .. } => summary(fields.bytes(&field)?, &mut metric)?,
            Field { number: 6, value: Value::Varint(bits), .. } => {
                // No time and the time zero are the same here.
                metric.timestamp = Some(bits.cast_signed()).filter(|time| *time != 0);
            }
            Field { number: 7, .. } => {
                (metric.histogram, metric.start) = histogram::decode(fields.bytes(&field)?)?;
            }
            Field { number: 6, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    Ok(metric)
}

/// Decodes a `Gauge`, `Counter` or `Untyped`: 1 value, 2 exemplar, 3 start.
fn value<'a>(message: &'a [u8], metric: &mut Metric<'a>) -> Result<(), DecodeError> {
    let mut fields = Fields::new("Counter", message);
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, value: Value::Fixed64(bits), .. } => {
                metric.value = f64::from_bits(bits);
            }
            Field { number: 2, .. } => metric.exemplar = Some(exemplar(fields.bytes(&field)?)?),
            Field { number: 3, .. } => metric.start = timestamp(fields.bytes(&field)?)?,
            Field { number: 1, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    Ok(())
}

/// Decodes a `Summary`: 1 count, 2 sum, 3 quantiles, 4 start.
fn summary(message: &[u8], metric: &mut Metric<'_>) -> Result<(), DecodeError> {
    let mut fields = Fields::new("Summary", message);
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, value: Value::Varint(bits), .. } => metric.summary.count = bits,
            Field { number: 2, value: Value::Fixed64(bits), .. } => {
                metric.summary.sum = f64::from_bits(bits);
            }
            Field { number: 3, .. } => {
                let quantiles = &mut metric.summary.quantiles;
                if quantiles.len() == MAX_HISTOGRAM_BUCKETS {
                    let limit = MAX_HISTOGRAM_BUCKETS;
                    let problem = DecodeProblem::TooMany { field: 3, limit };
                    return Err(fields.error(field.offset, problem));
                }
                quantiles.push(pair_of_floats("Quantile", fields.bytes(&field)?)?);
            }
            Field { number: 4, .. } => metric.start = timestamp(fields.bytes(&field)?)?,
            Field { number: 1 | 2, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    Ok(())
}

/// Decodes a message of two floats.
fn pair_of_floats(name: &'static str, message: &[u8]) -> Result<(f64, f64), DecodeError> {
    let mut fields = Fields::new(name, message);
    let mut pair = (0.0, 0.0);
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, value: Value::Fixed64(bits), .. } => pair.0 = f64::from_bits(bits),
            Field { number: 2, value: Value::Fixed64(bits), .. } => pair.1 = f64::from_bits(bits),
            Field { number: 1 | 2, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    Ok(pair)
}

/// Decodes a `LabelPair`: 1 name, 2 value.
fn label(message: &[u8]) -> Result<(&str, &str), DecodeError> {
    let mut fields = Fields::new("LabelPair", message);
    let mut pair = ("", "");
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => pair.0 = fields.text(&field)?,
            2 => pair.1 = fields.text(&field)?,
            _ => {}
        }
    }
    Ok(pair)
}

/// Decodes an `Exemplar`: 1 labels, 2 value, 3 time.
fn exemplar(message: &[u8]) -> Result<ExemplarLine<'_>, DecodeError> {
    let mut fields = Fields::new("Exemplar", message);
    let mut exemplar = ExemplarLine { labels: Vec::new(), value: 0.0, timestamp: None };
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, .. } => {
                let (name, value) = label(fields.bytes(&field)?)?;
                exemplar.labels.push((name.into(), value.into()));
            }
            Field { number: 2, value: Value::Fixed64(bits), .. } => {
                let value = f64::from_bits(bits);
                exemplar.value = if value.is_nan() { NORMAL_NAN } else { value };
            }
            Field { number: 3, .. } => {
                exemplar.timestamp = Some(timestamp(fields.bytes(&field)?)?);
            }
            Field { number: 2, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    Ok(exemplar)
}

/// Decodes a `Timestamp`, 1 seconds and 2 nanoseconds, as milliseconds.
fn timestamp(message: &[u8]) -> Result<i64, DecodeError> {
    let mut fields = Fields::new("Timestamp", message);
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, value: Value::Varint(bits), .. } => seconds = bits.cast_signed(),
            Field { number: 2, value: Value::Varint(bits), .. } => nanos = bits.cast_signed(),
            Field { number: 1 | 2, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}

#[cfg(test)]
mod tests;
