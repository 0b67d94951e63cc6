//! Remote write 1.0: a snappy-compressed `prometheus.WriteRequest`.
//!
//! A request is walked once and appended as it is read, in one batch. If it turns out not to be a
//! valid message, the batch is rolled back and nothing of it is stored. Samples that the store
//! refuses, and series whose labels are invalid, are left out and counted by reason; the rest of
//! the request is stored, and the sender is told not to send it again.
//!
//! Label sets are recognised by their encoded bytes, so that a series that was written to before
//! costs one hash; series known like that, with one sample each, are appended together. Native
//! histograms are counted and left out.

mod labels;
mod notes;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use ferula_index::{Labels, SeriesRef};
use ferula_tsdb::{AppendError, RefSample};
use parking_lot::Mutex;

use self::labels::{decode_labels, excerpt, only_sample, split_labels};
use self::notes::{Families, FamilyMetadata};
use super::protobuf::{DecodeError, Field, Fields, Value};
use super::refs::{LabelsKey, Last, MIN_GENERATION, OpenCache, RefCache};
use crate::exposition::MetricType;
use crate::store::{Batch, Store};
use crate::telemetry::{Counter, Registry};

/// Largest request that is decompressed, in bytes.
pub const MAX_REQUEST_BYTES: usize = 32 << 20;

/// How far a sample may lie in the future, in milliseconds.
pub const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;

/// Buffers for decompressed requests that are kept for the next ones, and the largest of them, in
/// bytes.
const MAX_SPARE: usize = 16;
const MAX_SPARE_BYTES: usize = 2 << 20;

/// Why a request is not stored as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The body is no snappy block.
    #[error("invalid snappy block")]
    Snappy(#[source] snap::Error),
    /// The body would decompress to more than is accepted.
    #[error("request of {size_bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Size that the body declares, in bytes.
        size_bytes: usize,
        /// Largest size that is accepted, in bytes.
        limit: usize,
    },
    /// The body is no `WriteRequest`.
    #[error("invalid write request")]
    Decode(#[from] DecodeError),
    /// The store failed; the request may be sent again.
    #[error("cannot store samples")]
    Store(#[source] ferula_tsdb::Error),
    /// The request holds more samples than the store takes at once.
    #[error("request of more than {limit} samples")]
    TooManySamples {
        /// Most samples that the store takes at once.
        limit: usize,
    },
}

/// Stores the requests of all senders.
pub struct Receiver {
    store: Arc<dyn Store>,
    refs: Arc<RefCache>,
    families: Families,
    /// Buffers that requests were decompressed into. Memory that is used again is neither zeroed nor
    /// mapped anew, which for a request takes as long as decompressing it.
    spare: Mutex<Vec<Vec<u8>>>,
    metrics: Metrics,
}

impl Receiver {
    /// Makes a receiver that writes to `store` and counts in `registry`.
    pub fn new(store: Arc<dyn Store>, registry: &Registry) -> Self {
        let refs = Arc::new(RefCache::new(MIN_GENERATION));
        let counted = refs.clone();
        registry.read(
            "ferula_remote_write_cached_series",
            "Series that remote write recognises without looking at their labels.",
            MetricType::Gauge,
            move || counted.len() as f64,
        );
        let (families, spare) = (Families::default(), Mutex::default());
        Self { store, refs, families, spare, metrics: Metrics::new(registry) }
    }

    /// Stores the compressed request `body`, received at `now_ms` milliseconds since the epoch.
    ///
    /// Blocks until what it stored is as durable as the store makes it.
    ///
    /// # Errors
    /// [`ReceiveError`] if nothing was stored. That some samples were refused is no error here but
    /// told by the [`Receipt`].
    pub fn receive(&self, body: &[u8], now_ms: i64) -> Result<Receipt, ReceiveError> {
        let size_bytes = snap::raw::decompress_len(body).map_err(ReceiveError::Snappy)?;
        if size_bytes > MAX_REQUEST_BYTES {
            return Err(ReceiveError::TooLarge { size_bytes, limit: MAX_REQUEST_BYTES });
        }
        let mut buffer = self.spare.lock().pop().unwrap_or_default();
        let result = self.store(body, size_bytes, &mut buffer, now_ms);
        if buffer.len() <= MAX_SPARE_BYTES {
            let mut spare = self.spare.lock();
            if spare.len() < MAX_SPARE {
                spare.push(buffer);
            }
        }
        result
    }

    /// Stores a request that has `size_bytes` bytes once it is decompressed into `buffer`.
    fn store(
        &self,
        body: &[u8],
        size_bytes: usize,
        buffer: &mut Vec<u8>,
        now_ms: i64,
    ) -> Result<Receipt, ReceiveError> {
        if buffer.len() < size_bytes {
            buffer.resize(size_bytes, 0);
        }
        let request = &mut buffer[..size_bytes];
        snap::raw::Decoder::new().decompress(body, request).map_err(ReceiveError::Snappy)?;
        let mut writer = Writer {
            refs: &self.refs,
            last: Last::default(),
            batch: self.store.batch(),
            max_timestamp: now_ms.saturating_add(MAX_AHEAD_MS),
            receipt: Receipt::default(),
            created: Vec::new(),
            ready: Vec::new(),
            refused: Vec::new(),
            families: &self.families,
            said: Vec::new(),
        };
        writer.request(request)?;
        let Writer { batch, mut receipt, said, .. } = writer;
        let committed = batch.commit().map_err(ReceiveError::Store)?;
        // Other senders may have written to the same series in the meantime.
        let overtaken = committed.refused as u64;
        receipt.appended = receipt.appended.saturating_sub(overtaken);
        receipt.out_of_order += overtaken;
        receipt.repeated = receipt.appended.saturating_sub(committed.samples as u64);
        receipt.exemplars = committed.exemplars as u64;
        receipt.out_of_order_exemplars += committed.refused_exemplars as u64;
        let told = self.tell(&said, &mut receipt);
        self.metrics.count(&receipt);
        told?;
        Ok(receipt)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("cached_series", &self.refs.len()).finish_non_exhaustive()
    }
}

/// What became of a request.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Receipt {
    /// Samples that the store has now. One that it had already, or that the request repeats, counts, as
    /// a sender that got no answer sends everything again.
    pub appended: u64,
    /// Those of them that were not stored anew.
    pub repeated: u64,
    /// Samples refused because their series has a later one.
    pub out_of_order: u64,
    /// Samples refused because their series has another value at that time.
    pub duplicate: u64,
    /// Samples refused because they are too old or too far in the future.
    pub out_of_bounds: u64,
    /// Samples refused because the labels of their series are invalid.
    pub invalid_labels: u64,
    /// Native histograms, which are not stored.
    pub skipped_histograms: u64,
    /// Exemplars that were stored. One that is there already does not count.
    pub exemplars: u64,
    /// Exemplars refused because their series has a later one. The request does not fail for these
    /// and the following.
    pub out_of_order_exemplars: u64,
    /// Exemplars refused for another reason: their labels, or that there is no such series.
    pub refused_exemplars: u64,
    /// Descriptions of metrics that were read.
    pub metadata: u64,
    /// Those of them that were refused.
    pub refused_metadata: u64,
    /// The first refusal, in words; only their start if there are many.
    pub first_refusal: Option<String>,
}

impl Receipt {
    /// Number of samples that were refused.
    pub fn refused(&self) -> u64 {
        self.out_of_order + self.duplicate + self.out_of_bounds + self.invalid_labels
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = self.refused();
        write!(f, "{refused} of {} samples refused", refused + self.appended)?;
        let reasons = [
            (self.out_of_order, "out of order"),
            (self.duplicate, "duplicate"),
            (self.out_of_bounds, "out of bounds"),
            (self.invalid_labels, "with invalid labels"),
        ];
        let mut separator = ": ";
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {reason}")?;
            separator = ", ";
        }
        match &self.first_refusal {
            Some(first) => write!(f, "; first: {first}"),
            None => Ok(()),
        }
    }
}

/// Series that are looked up together. Enough to hide what a look-up waits for memory, few enough
/// to keep what a request of countless tiny series takes within bounds.
const WINDOW_COUNT: usize = 256;

/// One request on its way into the store.
struct Writer<'a> {
    refs: &'a RefCache,
    last: Last,
    batch: Box<dyn Batch + 'a>,
    max_timestamp: i64,
    receipt: Receipt,
    /// Series that were not known and are now, and how many bytes their labels take.
    created: Vec<(LabelsKey, usize, SeriesRef)>,
    /// Samples that are appended together, and which of them were refused.
    ready: Vec<RefSample>,
    refused: Vec<(usize, AppendError)>,
    families: &'a Families,
    /// What the request says of metrics.
    said: Vec<FamilyMetadata>,
}

/// A `TimeSeries` message whose labels were found.
struct Part<'a> {
    labels: Cow<'a, [u8]>,
    key: LabelsKey,
    known: Option<SeriesRef>,
    rest: Rest<'a>,
}

/// What follows the labels.
#[derive(Clone)]
enum Rest<'a> {
    /// One sample, at this time.
    Sample(i64, f64),
    /// The message from the first field on that is no label.
    Fields(Fields<'a>),
}

impl<'a> Part<'a> {
    /// Finds the labels, and the series if that is not better left for later.
    #[inline]
    fn find(message: &'a [u8], refs: &mut OpenCache<'_>) -> Result<Self, DecodeError> {
        if let Some((key, len, series)) = refs.expected(message)
            && let Some((timestamp, value)) = only_sample(&message[len..])
        {
            refs.advance();
            let labels = message[..len].into();
            return Ok(Self {
                labels,
                key,
                known: Some(series),
                rest: Rest::Sample(timestamp, value),
            });
        }
        let (labels, rest) = split_labels(message)?;
        let (key, known) = refs.surprise(&labels);
        Ok(Self { labels, key, known, rest: Rest::Fields(rest) })
    }

    /// The sample, if it is the only one and of a known series, and lies no later than `max_timestamp`.
    fn ready(&self, max_timestamp: i64) -> Option<RefSample> {
        let (&Rest::Sample(timestamp, value), Some(series)) = (&self.rest, self.known) else {
            return None;
        };
        (timestamp <= max_timestamp).then_some(RefSample { series, timestamp, value })
    }
}

/// A series of the request.
enum Series {
    Known(SeriesRef),
    New(Labels),
    Invalid,
}

impl Writer<'_> {
    fn request(&mut self, request: &[u8]) -> Result<(), ReceiveError> {
        let mut fields = Fields::new("WriteRequest", request);
        let mut window = Vec::with_capacity(WINDOW_COUNT);
        while self.fill(&mut fields, &mut window)? {
            self.window(&mut window)?;
        }
        self.window(&mut window)
    }

    /// Walks on in a `WriteRequest`, 1 time series, 3 metadata, and looks its series up. False at the
    /// end; else the window is full.
    fn fill<'r>(
        &mut self,
        fields: &mut Fields<'r>,
        window: &mut Vec<Part<'r>>,
    ) -> Result<bool, ReceiveError> {
        let mut refs = self.refs.open(self.last);
        while window.len() < WINDOW_COUNT
            && let Some(field) = fields.next_field()?
        {
            match field.number {
                1 => window.push(Part::find(fields.bytes(&field)?, &mut refs)?),
                3 => self.metadata(fields.bytes(&field)?)?,
                _ => {}
            }
        }
        for part in window.iter_mut().filter(|part| part.known.is_none()) {
            part.known = refs.find(part.key);
        }
        self.last = refs.last();
        Ok(window.len() == WINDOW_COUNT)
    }

    /// Appends the samples of a window, in their order.
    fn window(&mut self, window: &mut Vec<Part<'_>>) -> Result<(), ReceiveError> {
        let mut rest = window.as_slice();
        while !rest.is_empty() {
            self.ready.clear();
            self.ready.extend(rest.iter().map_while(|part| part.ready(self.max_timestamp)));
            let (ready, others) = rest.split_at(self.ready.len());
            self.append_ready(ready)?;
            rest = match others.split_first() {
                Some((part, others)) => {
                    self.part(part)?;
                    others
                }
                None => others,
            };
        }
        window.clear();
        for (key, n_bytes, series) in self.created.drain(..) {
            self.refs.insert(key, n_bytes, series);
        }
        Ok(())
    }

    /// Appends the samples that are ready, which are those of `parts`.
    fn append_ready(&mut self, parts: &[Part<'_>]) -> Result<(), ReceiveError> {
        let mut refused = std::mem::take(&mut self.refused);
        self.batch.append_refs(&self.ready, &mut refused);
        self.receipt.appended += (self.ready.len() - refused.len()) as u64;
        for (place, error) in refused.drain(..) {
            match error {
                // The store has dropped the series since; it is made anew.
                AppendError::UnknownSeries { .. } => self.part(&parts[place])?,
                error => self.refuse(error, &parts[place].labels)?,
            }
        }
        self.refused = refused;
        Ok(())
    }

    /// Appends what follows the labels of a `TimeSeries`: 2 samples, 3 exemplars, 4 histograms.
    fn part(&mut self, part: &Part<'_>) -> Result<(), ReceiveError> {
        let mut series = part.known.map(Series::Known);
        let mut fields = match &part.rest {
            Rest::Sample(timestamp, value) => {
                return self.sample(part, &mut series, *timestamp, *value);
            }
            Rest::Fields(fields) => fields.clone(),
        };
        while let Some(field) = fields.next_field()? {
            match field.number {
                2 => {
                    let (timestamp, value) = sample(fields.bytes(&field)?)?;
                    self.sample(part, &mut series, timestamp, value)?;
                }
                3 => {
                    let message = fields.bytes(&field)?;
                    let series = match &mut series {
                        Some(series) => series,
                        none => none.insert(self.series(&part.labels)?),
                    };
                    self.exemplar(series, message)?;
                }
                4 => {
                    fields.bytes(&field)?;
                    self.receipt.skipped_histograms += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Appends one sample of a series, which is decoded if it is neither known nor decoded yet.
    fn sample(
        &mut self,
        part: &Part<'_>,
        series: &mut Option<Series>,
        timestamp: i64,
        value: f64,
    ) -> Result<(), ReceiveError> {
        let Part { labels, key, .. } = part;
        let series = match series {
            Some(series) => series,
            none => none.insert(self.series(labels)?),
        };
        let appended = self.append(series, labels, timestamp, value)?;
        if let (Some(created), Series::New(_)) = (appended, &*series) {
            self.created.push((*key, labels.len(), created));
            *series = Series::Known(created);
        }
        Ok(())
    }

    /// Decodes the labels of a series that is not known yet.
    fn series(&mut self, labels: &[u8]) -> Result<Series, ReceiveError> {
        Ok(match decode_labels(labels)? {
            Ok(labels) => Series::New(labels),
            Err(reason) => {
                self.receipt.first_refusal.get_or_insert(reason);
                Series::Invalid
            }
        })
    }

    /// Appends one sample, and yields the ref of its series if that was not known.
    fn append(
        &mut self,
        series: &mut Series,
        bytes: &[u8],
        timestamp: i64,
        value: f64,
    ) -> Result<Option<SeriesRef>, ReceiveError> {
        if timestamp > self.max_timestamp {
            self.receipt.out_of_bounds += 1;
            let reason = format_args!("sample at {timestamp} is too far in the future");
            self.note_refusal(bytes, reason)?;
            return Ok(None);
        }
        let result = match series {
            Series::Known(known) => match self.batch.append_ref(*known, timestamp, value) {
                // The store has dropped the series since; it is made anew.
                Err(AppendError::UnknownSeries { .. }) => {
                    *series = self.series(bytes)?;
                    return self.append(series, bytes, timestamp, value);
                }
                result => result.map(|()| None),
            },
            Series::New(labels) => match self.batch.append(labels, timestamp, value) {
                Ok(created) => {
                    self.describe(labels, created);
                    Ok(Some(created))
                }
                Err(error) => Err(error),
            },
            Series::Invalid => {
                self.receipt.invalid_labels += 1;
                return Ok(None);
            }
        };
        let error = match result {
            Ok(created) => {
                self.receipt.appended += 1;
                return Ok(created);
            }
            Err(error) => error,
        };
        self.refuse(error, bytes)?;
        Ok(None)
    }

    /// Counts a sample that the store refused, of the series with these labels.
    fn refuse(&mut self, error: AppendError, labels: &[u8]) -> Result<(), ReceiveError> {
        match error {
            AppendError::OutOfOrder { .. } => self.receipt.out_of_order += 1,
            AppendError::DuplicateTimestamp { .. } => self.receipt.duplicate += 1,
            AppendError::TooOld { .. } | AppendError::TimeOutOfRange { .. } => {
                self.receipt.out_of_bounds += 1;
            }
            AppendError::BatchFull { limit } => return Err(ReceiveError::TooManySamples { limit }),
            _ => self.receipt.invalid_labels += 1,
        }
        Ok(self.note_refusal(labels, format_args!("{error}"))?)
    }

    /// Keeps the reason of the first refusal, and the series it is about.
    fn note_refusal(
        &mut self,
        labels: &[u8],
        reason: fmt::Arguments<'_>,
    ) -> Result<(), DecodeError> {
        if self.receipt.first_refusal.is_none() {
            let labels = decode_labels(labels)?.unwrap_or_default();
            self.receipt.first_refusal = Some(excerpt(format_args!("{reason}, series {labels}")));
        }
        Ok(())
    }
}

/// Decodes a `Sample`: 1 value, 2 timestamp.
#[inline]
fn sample(message: &[u8]) -> Result<(i64, f64), DecodeError> {
    let mut fields = Fields::new("Sample", message);
    let (mut timestamp, mut value) = (0, 0.0);
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, value: Value::Fixed64(bits), .. } => value = f64::from_bits(bits),
            Field { number: 2, value: Value::Varint(bits), .. } => timestamp = bits.cast_signed(),
            Field { number: 1 | 2, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    Ok((timestamp, value))
}

/// What the receiver counts.
struct Metrics {
    appended: Counter,
    out_of_order: Counter,
    duplicate: Counter,
    out_of_bounds: Counter,
    invalid_labels: Counter,
    histograms: Counter,
    exemplars: Counter,
    out_of_order_exemplars: Counter,
    refused_exemplars: Counter,
    metadata: Counter,
    refused_metadata: Counter,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        let appended = registry.counter(
            "ferula_remote_write_samples_appended_total",
            "Samples received by remote write and stored, repeated ones included.",
            &[],
        );
        let refused = |reason| {
            registry.counter(
                "ferula_remote_write_samples_refused_total",
                "Samples received by remote write and refused, by reason.",
                &[("reason", reason)],
            )
        };
        let skipped = |kind| {
            registry.counter(
                "ferula_remote_write_skipped_total",
                "Parts of remote write requests that are not stored, by kind.",
                &[("kind", kind)],
            )
        };
        let refused_exemplars = |reason| {
            registry.counter(
                "ferula_remote_write_exemplars_refused_total",
                "Exemplars received by remote write and refused, by reason.",
                &[("reason", reason)],
            )
        };
        Self {
            appended,
            out_of_order: refused("out_of_order"),
            duplicate: refused("duplicate"),
            out_of_bounds: refused("out_of_bounds"),
            invalid_labels: refused("invalid_labels"),
            histograms: skipped("native_histogram"),
            exemplars: registry.counter(
                "ferula_remote_write_exemplars_appended_total",
                "Exemplars received by remote write and stored.",
                &[],
            ),
            out_of_order_exemplars: refused_exemplars("out_of_order"),
            refused_exemplars: refused_exemplars("other"),
            metadata: registry.counter(
                "ferula_remote_write_metadata_total",
                "Descriptions of metrics received by remote write.",
                &[],
            ),
            refused_metadata: registry.counter(
                "ferula_remote_write_metadata_refused_total",
                "Descriptions of metrics received by remote write and refused.",
                &[],
            ),
        }
    }

    fn count(&self, receipt: &Receipt) {
        self.appended.add(receipt.appended);
        self.out_of_order.add(receipt.out_of_order);
        self.duplicate.add(receipt.duplicate);
        self.out_of_bounds.add(receipt.out_of_bounds);
        self.invalid_labels.add(receipt.invalid_labels);
        self.histograms.add(receipt.skipped_histograms);
        self.exemplars.add(receipt.exemplars);
        self.out_of_order_exemplars.add(receipt.out_of_order_exemplars);
        self.refused_exemplars.add(receipt.refused_exemplars);
        self.metadata.add(receipt.metadata);
        self.refused_metadata.add(receipt.refused_metadata);
    }
}

#[cfg(test)]
mod tests;
