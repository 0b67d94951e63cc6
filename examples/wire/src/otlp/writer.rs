//! One request on its way into the store.

use std::fmt;

use ferula_chunkenc::histogram::Histogram;
use ferula_chunkenc::stale::STALE_NAN;
use ferula_index::{Labels, LabelsBuilder, METRIC_NAME, SeriesRef};
use ferula_tsdb::{AppendError, Exemplar, Metadata, MetricType, NativeHistogram};

use super::exemplar::exemplar;
use super::histogram;
use super::name::{self, LabelNames, NamedType};
use super::options::{Deltas, OtlpOptions};
use super::point::{Buckets, Kind, Measured, Point, varint};
use super::receipt::OtlpReceipt;
use super::receiver::{MAX_REQUEST_LABEL_BYTES, OtlpError};
use super::resource::{Resource, Scope, attribute_labels};
use crate::number;
use crate::protobuf::{DecodeError, Fields};
use crate::remote::excerpt;
use crate::store::Batch;

/// `AggregationTemporality`.
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// One request on its way into the store.
pub(super) struct Writer<'a> {
    options: &'a OtlpOptions,
    batch: Box<dyn Batch + 'a>,
    max_timestamp: i64,
    names: LabelNames,
    receipt: OtlpReceipt,
    /// Labels of all samples so far, in bytes.
    label_bytes: usize,
    /// Whether something of the present point was refused, and whether for want of room.
    refused: bool,
    over_limit: bool,
}

/// A metric without its points.
struct Metric<'a> {
    kind: Kind,
    /// The message that has the points.
    data: &'a [u8],
    /// Its name in the store, or why it has none.
    name: Result<String, String>,
    metadata: Metadata,
    is_delta: bool,
}

/// A sample of a series.
enum Sample {
    Float(f64),
    Histogram(Histogram),
}

/// What the samples of a point have in common.
struct Common<'a> {
    /// Labels but for the name, and for what tells buckets apart.
    labels: LabelsBuilder,
    name: &'a str,
    metadata: &'a Metadata,
    start: i64,
    timestamp: i64,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        options: &'a OtlpOptions,
        batch: Box<dyn Batch + 'a>,
        max_timestamp: i64,
    ) -> Self {
        Self {
            options,
            batch,
            max_timestamp,
            names: LabelNames::new(options),
            receipt: OtlpReceipt::default(),
            label_bytes: 0,
            refused: false,
            over_limit: false,
        }
    }

    /// What is to be committed, and what was counted.
    pub(super) fn finish(self) -> (Box<dyn Batch + 'a>, OtlpReceipt) {
        (self.batch, self.receipt)
    }

    /// Walks over an `ExportMetricsServiceRequest`: 1 metrics of a resource.
    pub(super) fn request(&mut self, request: &[u8]) -> Result<(), OtlpError> {
        let mut fields = Fields::new("ExportMetricsServiceRequest", request);
        while let Some(field) = fields.next_field()? {
            if field.number == 1 {
                self.resource_metrics(fields.bytes(&field)?)?;
            }
        }
        Ok(())
    }

    /// Walks over a `ResourceMetrics`: 1 resource, 2 metrics of a scope.
    fn resource_metrics(&mut self, message: &[u8]) -> Result<(), OtlpError> {
        let mut fields = Fields::new("ResourceMetrics", message);
        let mut resource = &[][..];
        while let Some(field) = fields.next_field()? {
            if field.number == 1 {
                resource = fields.bytes(&field)?;
            }
        }
        let mut resource = Resource::read(resource)?;
        let promoted = resource.promote(self.options, &mut self.names);
        let mut fields = Fields::new("ResourceMetrics", message);
        while let Some(field) = fields.next_field()? {
            if field.number == 2 {
                let promoted = promoted.as_ref();
                self.scope_metrics(fields.bytes(&field)?, &mut resource, promoted)?;
            }
        }
        if promoted.is_ok() {
            self.target_info(&resource)?;
        }
        Ok(())
    }

    /// Walks over a `ScopeMetrics`: 1 scope, 2 metric, 3 URL of the schema.
    fn scope_metrics(
        &mut self,
        message: &[u8],
        resource: &mut Resource<'_>,
        promoted: Result<&(), &String>,
    ) -> Result<(), OtlpError> {
        let mut fields = Fields::new("ScopeMetrics", message);
        let (mut scope, mut schema) = (&[][..], "");
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => scope = fields.bytes(&field)?,
                3 => schema = fields.text(&field)?,
                _ => {}
            }
        }
        let scope = Scope::read(scope, schema, self.options, &mut self.names)?;
        let scope = promoted.map_err(Clone::clone).and(scope);
        let mut fields = Fields::new("ScopeMetrics", message);
        while let Some(field) = fields.next_field()? {
            if field.number == 2
                && let Some(metric) = self.metric(fields.bytes(&field)?)?
            {
                self.points(&metric, resource, &scope)?;
            }
        }
        Ok(())
    }

    /// Decodes a `Metric` but for its points: 1 name, 2 description, 3 unit, and the points of its kind.
    /// `None` is one without points.
    fn metric<'m>(&self, message: &'m [u8]) -> Result<Option<Metric<'m>>, OtlpError> {
        let mut fields = Fields::new("Metric", message);
        let (mut name, mut help, mut unit, mut data) = ("", "", "", None);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => name = fields.text(&field)?,
                2 => help = fields.text(&field)?,
                3 => unit = fields.text(&field)?,
                number => {
                    if let Some(kind) = Kind::of_field(number) {
                        data = Some((kind, fields.bytes(&field)?));
                    }
                }
            }
        }
        let Some((kind, data)) = data else { return Ok(None) };
        let (temporality, is_monotonic) = aggregation(kind, data)?;
        let is_delta = temporality == DELTA;
        let named_type = match kind {
            Kind::Gauge => NamedType::Gauge,
            Kind::Sum if is_monotonic => NamedType::Counter,
            _ => NamedType::Other,
        };
        let metric_type = match kind {
            Kind::Gauge => MetricType::Gauge,
            Kind::Summary => MetricType::Summary,
            _ if is_delta => MetricType::Unknown,
            Kind::Sum if is_monotonic => MetricType::Counter,
            Kind::Sum => MetricType::Gauge,
            Kind::Histogram | Kind::Exponential => MetricType::Histogram,
        };
        let is_taken = match temporality {
            CUMULATIVE => true,
            DELTA => self.options.deltas == Deltas::Keep,
            _ => false,
        };
        let full_name = if is_taken {
            name::metric(name, unit, named_type, self.options.translation)
        } else {
            Err(format!("invalid temporality and type combination for metric {name:?}"))
        };
        let metadata = Metadata::new(metric_type, name::unit(unit), help);
        Ok(Some(Metric { kind, data, name: full_name, metadata, is_delta }))
    }

    /// Appends the points of a metric: field 1, whatever its kind.
    fn points(
        &mut self,
        metric: &Metric<'_>,
        resource: &mut Resource<'_>,
        scope: &Result<Scope, String>,
    ) -> Result<(), OtlpError> {
        let mut fields = Fields::new(metric.kind.message(), metric.data);
        while let Some(field) = fields.next_field()? {
            if field.number != 1 {
                continue;
            }
            let point = Point::read(metric.kind, fields.bytes(&field)?)?;
            resource.note_time(point.time);
            self.receipt.points += 1;
            (self.refused, self.over_limit) = (false, false);
            match (&metric.name, scope) {
                (Ok(name), Ok(scope)) => self.point(point, metric, name, resource, scope)?,
                (Err(reason), _) | (_, Err(reason)) => self.refuse(format_args!("{reason}")),
            }
            self.receipt.refused_points += u64::from(self.refused);
            self.receipt.over_limit += u64::from(self.over_limit);
        }
        Ok(())
    }

    fn point(
        &mut self,
        point: Point<'_>,
        metric: &Metric<'_>,
        name: &str,
        resource: &Resource<'_>,
        scope: &Scope,
    ) -> Result<(), OtlpError> {
        let attributes = point.attributes.iter().filter(|(key, _)| *key != METRIC_NAME);
        let mut labels = match attribute_labels(attributes, &mut self.names) {
            Ok((labels, has_collided)) => {
                self.receipt.collisions += u64::from(has_collided);
                labels
            }
            Err(reason) => {
                self.refuse(format_args!("{reason}"));
                return Ok(());
            }
        };
        resource.label(&mut labels);
        scope.label(&mut labels);
        let common = Common {
            labels,
            name,
            metadata: &metric.metadata,
            start: point.start_timestamp(),
            timestamp: point.timestamp(),
        };
        let mut exemplars = Vec::with_capacity(point.exemplars.len());
        // Gauges have none in Prometheus.
        for message in point.exemplars.into_iter().filter(|_| metric.kind != Kind::Gauge) {
            match exemplar(message, common.timestamp)? {
                Some(exemplar) => exemplars.push(exemplar),
                None => self.receipt.refused_exemplars += 1,
            }
        }
        let is_stale = point.is_stale;
        let float = |value: f64| Sample::Float(if is_stale { STALE_NAN } else { value });
        match point.measured {
            Measured::Number(value) => {
                self.append(&common, "", None, float(value), &exemplars)?;
            }
            Measured::Histogram(buckets) if self.options.custom_buckets => {
                let made = histogram::custom(buckets, metric.is_delta);
                self.native(&common, made, is_stale, &exemplars)?;
            }
            Measured::Exponential(exponential) => {
                let made = histogram::exponential(&exponential, metric.is_delta);
                self.native(&common, made, is_stale, &exemplars)?;
            }
            Measured::Histogram(buckets) => self.classic(&common, &buckets, float, &exemplars)?,
            Measured::Summary { count, sum, quantiles } => {
                self.append(&common, "_sum", None, float(sum), &[])?;
                self.append(&common, "_count", None, float(count as f64), &[])?;
                for (quantile, value) in quantiles {
                    let label = Some(("quantile", quantile));
                    self.append(&common, "", label, float(value), &[])?;
                }
            }
        }
        Ok(())
    }

    /// Appends a histogram as a classic one. Exemplars go to the bucket that they fell in.
    fn classic(
        &mut self,
        common: &Common<'_>,
        buckets: &Buckets,
        float: impl Fn(f64) -> Sample,
        mut exemplars: &[Exemplar],
    ) -> Result<(), OtlpError> {
        if let Some(sum) = buckets.sum {
            self.append(common, "_sum", None, float(sum), &[])?;
        }
        let count = buckets.count as f64;
        self.append(common, "_count", None, float(count), &[])?;
        let mut cumulative = 0_u64;
        for (bound, count) in buckets.bounds.iter().zip(&buckets.counts) {
            cumulative = cumulative.saturating_add(*count);
            let inside = exemplars.iter().take_while(|exemplar| exemplar.value <= *bound).count();
            let (inside, above) = exemplars.split_at(inside);
            exemplars = above;
            let label = Some(("le", *bound));
            self.append(common, "_bucket", label, float(cumulative as f64), inside)?;
        }
        let label = Some(("le", f64::INFINITY));
        self.append(common, "_bucket", label, float(count), exemplars)
    }

    fn native(
        &mut self,
        common: &Common<'_>,
        made: Result<Histogram, String>,
        is_stale: bool,
        exemplars: &[Exemplar],
    ) -> Result<(), OtlpError> {
        match made {
            Ok(_) if is_stale => {
                let stale = Sample::Histogram(histogram::stale());
                self.append(common, "", None, stale, exemplars)
            }
            Ok(made) => self.append(common, "", None, Sample::Histogram(made), exemplars),
            Err(reason) => {
                self.refuse(format_args!("{reason}"));
                Ok(())
            }
        }
    }

    /// Appends one sample of a point, to the series whose name ends with `suffix` and that has the label.
    fn append(
        &mut self,
        common: &Common<'_>,
        suffix: &str,
        label: Option<(&str, f64)>,
        sample: Sample,
        exemplars: &[Exemplar],
    ) -> Result<(), OtlpError> {
        let mut labels = common.labels.clone();
        labels.set(METRIC_NAME, &format!("{}{suffix}", common.name));
        if let Some((name, value)) = label {
            let mut text = Vec::new();
            number::push_plain(&mut text, value);
            labels.set(name, std::str::from_utf8(&text).expect("numbers are ASCII"));
        }
        let labels = match labels.build() {
            Ok(labels) => labels,
            Err(error) => {
                self.refuse(format_args!("{error}"));
                return Ok(());
            }
        };
        let Some(series) = self.sample(&labels, common.start, common.timestamp, sample)? else {
            return Ok(());
        };
        let told = self.batch.update_metadata(series, common.metadata);
        self.receipt.refused_metadata += u64::from(told.is_err());
        for exemplar in exemplars {
            let is_ahead = exemplar.timestamp > self.max_timestamp;
            let is_stored =
                !is_ahead && self.batch.append_exemplar_ref(series, exemplar.clone()).is_ok();
            self.receipt.exemplars += u64::from(is_stored);
            self.receipt.refused_exemplars += u64::from(!is_stored);
        }
        Ok(())
    }

    /// Appends a sample, or tells why not.
    fn sample(
        &mut self,
        labels: &Labels,
        start: i64,
        timestamp: i64,
        sample: Sample,
    ) -> Result<Option<SeriesRef>, OtlpError> {
        self.label_bytes += labels.size_bytes();
        if self.label_bytes > MAX_REQUEST_LABEL_BYTES {
            return Err(OtlpError::TooManyLabels);
        }
        if timestamp > self.max_timestamp {
            self.refuse(format_args!(
                "sample at {timestamp} is too far in the future, series {labels}"
            ));
            return Ok(None);
        }
        let is_histogram = matches!(sample, Sample::Histogram(_));
        let appended = match sample {
            Sample::Float(value) if start == 0 => self.batch.append(labels, timestamp, value),
            Sample::Float(value) => self.batch.append_with_start(labels, start, timestamp, value),
            Sample::Histogram(histogram) => {
                let histogram = NativeHistogram::Integer(histogram);
                self.batch.append_histogram(labels, start, timestamp, histogram)
            }
        };
        match appended {
            Ok(series) => {
                self.receipt.samples += 1;
                self.receipt.histograms += u64::from(is_histogram);
                return Ok(Some(series));
            }
            Err(AppendError::BatchFull { limit }) => {
                return Err(OtlpError::TooManySamples { limit });
            }
            Err(AppendError::BatchTooLarge { limit }) => {
                return Err(OtlpError::TooManyBuckets { limit });
            }
            Err(error) => {
                self.over_limit |= matches!(error, AppendError::TooManySeries { .. });
                match &error {
                    AppendError::InvalidHistogram { source } => {
                        self.refuse(format_args!("{error}: {source}, series {labels}"));
                    }
                    error => self.refuse(format_args!("{error}, series {labels}")),
                }
            }
        }
        Ok(None)
    }

    /// Appends what is told of a resource. It is told again with its next points, so that it does not
    /// matter if the store refuses it; but that it has no room is told.
    fn target_info(&mut self, resource: &Resource<'_>) -> Result<(), OtlpError> {
        let times = resource.target_times();
        if times.is_empty() {
            return Ok(());
        }
        let Ok(Some(labels)) = resource.target_info(self.options, &mut self.names) else {
            return Ok(());
        };
        let metadata = Metadata::new(MetricType::Gauge, "", "Target metadata");
        self.over_limit = false;
        for time in times {
            let first_refusal = self.receipt.first_refusal.clone();
            if let Some(series) = self.sample(&labels, 0, time, Sample::Float(1.0))? {
                let told = self.batch.update_metadata(series, &metadata);
                self.receipt.refused_metadata += u64::from(told.is_err());
            } else if !self.over_limit {
                self.receipt.first_refusal = first_refusal;
            }
        }
        self.receipt.over_limit += u64::from(self.over_limit);
        Ok(())
    }

    /// Notes that something of the present point is refused, and why if it is the first time.
    fn refuse(&mut self, reason: fmt::Arguments<'_>) {
        self.refused = true;
        self.receipt.first_refusal.get_or_insert_with(|| excerpt(reason));
    }
}

/// Whether a metric tells what was added or all there is, and whether it only grows: 2 and 3.
fn aggregation(kind: Kind, data: &[u8]) -> Result<(u64, bool), DecodeError> {
    let (mut temporality, mut is_monotonic) = (0, false);
    if matches!(kind, Kind::Gauge | Kind::Summary) {
        return Ok((CUMULATIVE, false));
    }
    let mut fields = Fields::new(kind.message(), data);
    while let Some(field) = fields.next_field()? {
        match field.number {
            2 => temporality = varint(&fields, &field)?,
            3 if kind == Kind::Sum => is_monotonic = varint(&fields, &field)? != 0,
            _ => {}
        }
    }
    Ok((temporality, is_monotonic))
}
