//! One request on its way into the store.
//!
//! A request is walked once and appended as it is read, in one batch. If it turns out not to be a
//! valid message, the batch is rolled back and nothing of it is stored. Samples that the store
//! refuses, and series whose labels are invalid, are left out and counted by reason; the rest of
//! the request is stored, and the sender is told not to send it again.
//!
//! Label sets are recognised by their encoded bytes, so that a series that was written to before
//! costs one hash; series known like that, with one sample each, are appended together.

use std::collections::HashMap;
use std::fmt;

use ferula_index::{Labels, SeriesRef};
use ferula_tsdb::{AppendError, Metadata, NativeHistogram, RefSample};

use super::histogram::histogram;
use super::labels::{decode_labels, excerpt};
use super::notes::{Families, FamilyMetadata};
use super::part::{Part, Rest};
use super::receipt::Receipt;
use super::receiver::ReceiveError;
use super::refs::{LabelsKey, Last, RefCache};
use super::symbols::{SaidBySymbols, Symbols};
use crate::protobuf::{DecodeError, Field, Fields, Value};
use crate::store::Batch;

/// Series that are looked up together. Enough to hide what a look-up waits for memory, few enough
/// to keep what a request of countless tiny series takes within bounds.
const WINDOW_COUNT: usize = 256;

/// One request on its way into the store.
pub(super) struct Writer<'a> {
    refs: &'a RefCache,
    last: Last,
    pub(super) batch: Box<dyn Batch + 'a>,
    pub(super) max_timestamp: i64,
    pub(super) receipt: Receipt,
    /// Series that were not known and are now, and how many bytes their keys are made of.
    created: Vec<(LabelsKey, usize, SeriesRef)>,
    /// Samples that are appended together, and which of them were refused.
    ready: Vec<RefSample>,
    refused: Vec<(usize, AppendError)>,
    /// The symbols of a request of 2.0, which this is if there are any.
    pub(super) symbols: Option<&'a Symbols<'a>>,
    /// What series of it say of their metrics; each is resolved once.
    pub(super) described: HashMap<SaidBySymbols, Option<Metadata>>,
    pub(super) families: &'a Families,
    /// What a request of 1.0 says of metrics.
    pub(super) said: Vec<FamilyMetadata>,
}

/// A series of the request.
pub(super) enum Series {
    Known(SeriesRef),
    New(Labels),
    Invalid,
}

/// A sample of the request, and since when it has been counting.
enum Point {
    Float(i64, i64, f64),
    Histogram(i64, i64, NativeHistogram),
}

/// What became of a sample.
enum Outcome {
    Done,
    /// The store has dropped the series since; it is made anew, and the sample offered again.
    Again,
}

/// Numbers of the fields of a `TimeSeries`.
struct Numbers {
    samples: u32,
    histograms: u32,
    exemplars: u32,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        refs: &'a RefCache,
        families: &'a Families,
        symbols: Option<&'a Symbols<'a>>,
        batch: Box<dyn Batch + 'a>,
        max_timestamp: i64,
    ) -> Self {
        Self {
            refs,
            last: Last::default(),
            batch,
            max_timestamp,
            receipt: Receipt::default(),
            created: Vec::new(),
            ready: Vec::new(),
            refused: Vec::new(),
            symbols,
            described: HashMap::new(),
            families,
            said: Vec::new(),
        }
    }

    /// What is to be committed, what was counted, and what was said of metrics.
    pub(super) fn finish(self) -> (Box<dyn Batch + 'a>, Receipt, Vec<FamilyMetadata>) {
        (self.batch, self.receipt, self.said)
    }

    pub(super) fn request(&mut self, request: &[u8]) -> Result<(), ReceiveError> {
        let message = if self.symbols.is_some() { "Request" } else { "WriteRequest" };
        let mut fields = Fields::new(message, request);
        let mut window = Vec::with_capacity(WINDOW_COUNT);
        while self.fill(&mut fields, &mut window)? {
            self.window(&mut window)?;
        }
        self.window(&mut window)
    }

    /// Walks on in a `WriteRequest`, 1 time series, 3 metadata, or a `Request`, 5 time series, and
    /// looks its series up. False at the end; else the window is full.
    fn fill<'r>(
        &mut self,
        fields: &mut Fields<'r>,
        window: &mut Vec<Part<'r>>,
    ) -> Result<bool, ReceiveError> {
        let mut refs = self.refs.open(self.last);
        let mut key = Vec::new();
        while window.len() < WINDOW_COUNT
            && let Some(field) = fields.next_field()?
        {
            match (self.symbols, field.number) {
                (None, 1) => window.push(Part::find(fields.bytes(&field)?, &mut refs)?),
                (None, 3) => self.metadata(fields.bytes(&field)?)?,
                (Some(symbols), 5) => {
                    let message = fields.bytes(&field)?;
                    window.push(Part::find_by_symbols(message, symbols, &mut refs, &mut key)?);
                }
                _ => {}
            }
        }
        for part in window.iter_mut().filter(|part| part.known.is_none() && part.key_bytes > 0) {
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
        for part in parts.iter().filter(|part| part.said.is_some()) {
            if let Some(series) = part.known {
                self.describe_by_symbols(part, series);
            }
        }
        Ok(())
    }

    fn numbers(&self) -> Numbers {
        match self.symbols {
            None => Numbers { samples: 2, histograms: 4, exemplars: 3 },
            Some(_) => Numbers { samples: 2, histograms: 3, exemplars: 4 },
        }
    }

    /// Appends what a `TimeSeries` holds beside its labels: first its samples, then its exemplars, which
    /// need a series.
    fn part(&mut self, part: &Part<'_>) -> Result<(), ReceiveError> {
        let mut series = part.known.map(Series::Known);
        let start = match &part.rest {
            Rest::Sample(timestamp, value) => {
                let (timestamp, value) = (*timestamp, *value);
                let point = || Ok(Point::Float(0, timestamp, value));
                self.point(part, &mut series, point)?;
                self.describe_part(part, &series);
                return Ok(());
            }
            Rest::Refused { reason, n_samples } => {
                self.receipt.invalid_series += 1;
                self.receipt.invalid_labels += n_samples;
                return self.note_refusal(&part.labels, format_args!("{reason}"));
            }
            Rest::Fields(fields) => fields.clone(),
        };
        let numbers = self.numbers();
        let (mut fields, mut has_exemplars) = (start.clone(), false);
        while let Some(field) = fields.next_field()? {
            if field.number == numbers.samples {
                let message = fields.bytes(&field)?;
                let (start, timestamp, value) = sample(message)?;
                let start = self.start_of(start);
                let point = || Ok(Point::Float(start, timestamp, value));
                self.point(part, &mut series, point)?;
            } else if field.number == numbers.histograms {
                let message = fields.bytes(&field)?;
                let is_started = self.symbols.is_some();
                self.point(part, &mut series, || {
                    let timed = histogram(message)?;
                    let start = if is_started { timed.start } else { 0 };
                    Ok(Point::Histogram(start, timed.timestamp, timed.histogram))
                })?;
            } else if field.number == numbers.exemplars {
                fields.bytes(&field)?;
                has_exemplars = true;
            }
        }
        self.describe_part(part, &series);
        let mut fields = start;
        while has_exemplars && let Some(field) = fields.next_field()? {
            if field.number == numbers.exemplars {
                let message = fields.bytes(&field)?;
                let series = match &mut series {
                    Some(series) => series,
                    none => none.insert(self.series(&part.labels)?),
                };
                self.exemplar(series, message, part)?;
            }
        }
        Ok(())
    }

    /// What a sample says of its start; 1.0 has no such field.
    fn start_of(&self, start: i64) -> i64 {
        if self.symbols.is_some() { start } else { 0 }
    }

    /// Appends one sample of a series, which is decoded if it is neither known nor decoded yet.
    fn point(
        &mut self,
        part: &Part<'_>,
        series: &mut Option<Series>,
        point: impl Fn() -> Result<Point, DecodeError>,
    ) -> Result<(), ReceiveError> {
        let series = match series {
            Some(series) => series,
            none => none.insert(self.series(&part.labels)?),
        };
        while let Outcome::Again = self.append(series, part, point()?)? {}
        Ok(())
    }

    /// Decodes the labels of a series that is not known yet.
    fn series(&mut self, labels: &[u8]) -> Result<Series, ReceiveError> {
        Ok(match self.decode_labels(labels)? {
            Ok(labels) => Series::New(labels),
            Err(reason) => {
                self.receipt.note_refusal(|| reason);
                Series::Invalid
            }
        })
    }

    fn decode_labels(&self, labels: &[u8]) -> Result<Result<Labels, String>, DecodeError> {
        match self.symbols {
            None => decode_labels(labels),
            Some(symbols) => symbols.labels_of_series(labels),
        }
    }

    /// Appends one sample. A series that was not known is from then on.
    fn append(
        &mut self,
        series: &mut Series,
        part: &Part<'_>,
        point: Point,
    ) -> Result<Outcome, ReceiveError> {
        let (Point::Float(_, timestamp, _) | Point::Histogram(_, timestamp, _)) = point;
        if timestamp > self.max_timestamp {
            self.receipt.out_of_bounds += 1;
            let reason = format_args!("sample at {timestamp} is too far in the future");
            self.note_refusal(&part.labels, reason)?;
            return Ok(Outcome::Done);
        }
        let is_float = matches!(point, Point::Float(..));
        let appended = match &*series {
            Series::Known(known) => match (point, *known) {
                (Point::Float(0, timestamp, value), known) => {
                    self.batch.append_ref(known, timestamp, value)
                }
                (Point::Float(start, timestamp, value), known) => {
                    self.batch.append_ref_with_start(known, start, timestamp, value)
                }
                (Point::Histogram(start, timestamp, histogram), known) => {
                    self.batch.append_histogram_ref(known, start, timestamp, histogram)
                }
            },
            Series::New(labels) => {
                let created = match point {
                    Point::Float(0, timestamp, value) => {
                        self.batch.append(labels, timestamp, value)
                    }
                    Point::Float(start, timestamp, value) => {
                        self.batch.append_with_start(labels, start, timestamp, value)
                    }
                    Point::Histogram(start, timestamp, histogram) => {
                        self.batch.append_histogram(labels, start, timestamp, histogram)
                    }
                };
                match created {
                    Ok(created) => {
                        self.describe(labels, created);
                        self.created.push((part.key, part.key_bytes, created));
                        *series = Series::Known(created);
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
            Series::Invalid => {
                self.receipt.invalid_labels += 1;
                return Ok(Outcome::Done);
            }
        };
        match appended {
            Ok(()) if is_float => self.receipt.appended += 1,
            Ok(()) => self.receipt.histograms += 1,
            Err(AppendError::UnknownSeries { .. }) => {
                *series = self.series(&part.labels)?;
                return Ok(Outcome::Again);
            }
            Err(error) => self.refuse(error, &part.labels)?,
        }
        Ok(Outcome::Done)
    }

    /// Counts a sample that the store refused, of the series with these labels.
    fn refuse(&mut self, error: AppendError, labels: &[u8]) -> Result<(), ReceiveError> {
        match &error {
            AppendError::OutOfOrder { .. } => self.receipt.out_of_order += 1,
            AppendError::DuplicateTimestamp { .. } | AppendError::DuplicateHistogram { .. } => {
                self.receipt.duplicate += 1;
            }
            AppendError::TooOld { .. } | AppendError::TimeOutOfRange { .. } => {
                self.receipt.out_of_bounds += 1;
            }
            AppendError::TooManySeries { .. } => self.receipt.over_limit += 1,
            AppendError::InvalidHistogram { source } => {
                self.receipt.invalid_histograms += 1;
                return self.note_refusal(labels, format_args!("{error}: {source}"));
            }
            AppendError::BatchFull { limit } => {
                return Err(ReceiveError::TooManySamples { limit: *limit });
            }
            AppendError::BatchTooLarge { limit } => {
                return Err(ReceiveError::TooManyBuckets { limit: *limit });
            }
            _ => self.receipt.invalid_labels += 1,
        }
        self.note_refusal(labels, format_args!("{error}"))
    }

    /// Keeps the reason of the first refusal, and the series it is about.
    pub(super) fn note_refusal(
        &mut self,
        labels: &[u8],
        reason: fmt::Arguments<'_>,
    ) -> Result<(), ReceiveError> {
        if self.receipt.first_refusal.is_none() {
            let labels = self.decode_labels(labels)?.unwrap_or_default();
            self.receipt.first_refusal = Some(excerpt(format_args!("{reason}, series {labels}")));
        }
        Ok(())
    }
}

/// Decodes a `Sample`: 1 value, 2 timestamp, 3 start. The start comes first.
#[inline]
pub(super) fn sample(message: &[u8]) -> Result<(i64, i64, f64), DecodeError> {
    let mut fields = Fields::new("Sample", message);
    let (mut start, mut timestamp, mut value) = (0, 0, 0.0);
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, value: Value::Fixed64(bits), .. } => value = f64::from_bits(bits),
            Field { number: 2, value: Value::Varint(bits), .. } => timestamp = bits.cast_signed(),
            Field { number: 3, value: Value::Varint(bits), .. } => start = bits.cast_signed(),
            Field { number: 1 | 2, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    Ok((start, timestamp, value))
}
