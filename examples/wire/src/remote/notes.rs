//! Exemplars and metadata of requests.
//!
//! As in Prometheus, an exemplar that is refused is counted and fails no request.
//!
//! Metadata of remote write 1.0 is of metrics, not of series, and is sent again every minute. What
//! senders say of each metric is kept here: a series that is made is told it, and when something is
//! said for the first time all series of the metric are. Senders that disagree are so heard once
//! each, not every minute in turn.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ferula_index::{Labels, SeriesRef};
use ferula_tsdb::{Exemplar, ExemplarError, Metadata, MetadataError, MetricType};
use parking_lot::Mutex;

use super::labels::decode_labels_of;
use super::part::{Part, push_packed};
use super::receipt::Receipt;
use super::receiver::{ReceiveError, Receiver};
use super::symbols::Symbols;
use super::writer::{Series, Writer};
use crate::protobuf::{DecodeError, Field, Fields, Value};

/// Metrics beyond this many are not noted.
const MAX_FAMILIES: usize = 100_000;

/// Different descriptions of one metric beyond this many are not noted.
const MAX_DESCRIPTIONS: usize = 10;

/// Descriptions of one request of 2.0 that are kept at hand; they are short enough to be stored.
const MAX_DESCRIBED: usize = 256;

/// Metadata of a metric as a request has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FamilyMetadata {
    pub(super) family: String,
    pub(super) metadata: Metadata,
}

/// What senders said of metrics, by the name they describe them by; the last word last.
#[derive(Debug, Default)]
pub(super) struct Families {
    known: Mutex<HashMap<String, Vec<Metadata>>>,
}

impl Families {
    /// Notes what a sender says; tells whether it was never said before.
    fn note(&self, FamilyMetadata { family, metadata }: &FamilyMetadata) -> bool {
        let mut known = self.known.lock();
        let n_families = known.len();
        match known.get_mut(family) {
            Some(said) => {
                let is_new = said.len() < MAX_DESCRIPTIONS && !said.contains(metadata);
                if is_new {
                    said.push(metadata.clone());
                }
                is_new
            }
            None if n_families < MAX_FAMILIES => {
                known.insert(family.clone(), vec![metadata.clone()]);
                true
            }
            None => false,
        }
    }

    /// Forgets what could not be stored, so that it is new the next time.
    fn forget(&self, FamilyMetadata { family, metadata }: &FamilyMetadata) {
        if let Some(said) = self.known.lock().get_mut(family) {
            said.retain(|other| other != metadata);
        }
    }

    /// What is said of the metric of a series.
    fn of(&self, name: &str) -> Option<Metadata> {
        let known = self.known.lock();
        if known.is_empty() {
            return None;
        }
        let said_of = |family: &str| known.get(family).and_then(|said| said.last());
        if let Some(metadata) = said_of(name) {
            return Some(metadata.clone());
        }
        let (family, suffix) = name.rsplit_once('_')?;
        let metadata = said_of(family)?;
        suffixes(metadata.metric_type).contains(&suffix).then(|| metadata.clone())
    }
}

/// What the names of series of a type have behind the name of their metric, if not just that.
fn suffixes(metric_type: MetricType) -> &'static [&'static str] {
    match metric_type {
        MetricType::Counter => &["total"],
        MetricType::Histogram => &["bucket", "count", "sum"],
        MetricType::GaugeHistogram => &["bucket", "gcount", "gsum"],
        MetricType::Summary => &["count", "sum"],
        MetricType::Info => &["info"],
        _ => &[],
    }
}

impl Writer<'_> {
    /// Appends an exemplar of a series.
    pub(super) fn exemplar(
        &mut self,
        series: &Series,
        message: &[u8],
        part: &Part<'_>,
    ) -> Result<(), ReceiveError> {
        let exemplar = match exemplar(message, self.symbols)? {
            Ok(exemplar) => exemplar,
            Err(reason) => {
                self.receipt.invalid_exemplars += 1;
                if self.symbols.is_some() {
                    self.note_refusal(&part.labels, format_args!("exemplar: {reason}"))?;
                }
                return Ok(());
            }
        };
        if exemplar.timestamp > self.max_timestamp {
            self.receipt.refused_exemplars += 1;
            return Ok(());
        }
        let appended = match series {
            Series::Known(series) => self.batch.append_exemplar_ref(*series, exemplar),
            Series::New(labels) => self.batch.append_exemplar(labels, exemplar),
            // Its samples are counted.
            Series::Invalid => return Ok(()),
        };
        match appended {
            Ok(()) => self.receipt.exemplars += 1,
            Err(error @ ExemplarError::OutOfOrder { .. }) => {
                self.receipt.out_of_order_exemplars += 1;
                if self.symbols.is_some() {
                    self.note_refusal(&part.labels, format_args!("{error}"))?;
                }
            }
            Err(_) => self.receipt.refused_exemplars += 1,
        }
        Ok(())
    }

    /// Tells a series what its part of the request says of its metric.
    pub(super) fn describe_part(&mut self, part: &Part<'_>, series: &Option<Series>) {
        if let Some(Series::Known(series)) = series {
            self.describe_by_symbols(part, *series);
        }
    }

    /// Tells a series what its part of the request says of its metric, if anything.
    pub(super) fn describe_by_symbols(&mut self, part: &Part<'_>, series: SeriesRef) {
        let (Some(said), Some(symbols)) = (part.said, self.symbols) else { return };
        self.receipt.metadata += 1;
        if self.described.len() >= MAX_DESCRIBED {
            self.described.clear();
        }
        let metadata = match self.described.entry(said) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(symbols.metadata(said)),
        };
        // No sample is given up for a text. It comes again with the next request.
        let told = metadata.as_ref().map(|metadata| self.batch.update_metadata(series, metadata));
        self.receipt.refused_metadata += u64::from(!matches!(told, Some(Ok(()))));
    }

    /// Tells a series that was made what its metric says.
    pub(super) fn describe(&mut self, labels: &Labels, series: SeriesRef) {
        if let Some(metadata) = self.families.of(labels.metric_name()) {
            // No sample is given up for a text, nor a series that is told at the next change.
            let _ = self.batch.update_metadata(series, &metadata);
        }
    }

    /// Takes up a `MetricMetadata`.
    pub(super) fn metadata(&mut self, message: &[u8]) -> Result<(), ReceiveError> {
        let said = metadata(message)?;
        self.receipt.metadata += 1;
        self.said.push(said);
        Ok(())
    }
}

impl Receiver {
    /// Has the series of metrics say what a request says of these for the first time.
    pub(super) fn tell(
        &self,
        said: &[FamilyMetadata],
        receipt: &mut Receipt,
    ) -> Result<(), ReceiveError> {
        let new: Vec<&FamilyMetadata> =
            said.iter().filter(|said| self.families.note(said)).collect();
        for said in new {
            let told = self.tell_one(said, receipt);
            told.inspect_err(|_| self.families.forget(said))?;
        }
        Ok(())
    }

    fn tell_one(
        &self,
        FamilyMetadata { family, metadata }: &FamilyMetadata,
        receipt: &mut Receipt,
    ) -> Result<(), ReceiveError> {
        let suffixed = suffixes(metadata.metric_type).iter();
        let names = suffixed.map(|suffix| format!("{family}_{suffix}")).chain([family.clone()]);
        for name in names {
            loop {
                let mut batch = self.store.batch();
                let told = batch.update_metadata_of_metric(&name, metadata);
                if told == Ok(0) {
                    break;
                }
                let committed = batch.commit().map_err(ReceiveError::Store)?;
                // What did not fit one batch goes into others.
                match told {
                    Err(MetadataError::BatchTooLarge { .. }) if committed.metadata > 0 => {}
                    Ok(_) => break,
                    Err(_) => {
                        receipt.refused_metadata += 1;
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Decodes an `Exemplar`, 1 labels, 2 value, 3 timestamp, or tells why its labels are no label set.
fn exemplar(
    message: &[u8],
    symbols: Option<&Symbols<'_>>,
) -> Result<Result<Exemplar, String>, DecodeError> {
    let mut fields = Fields::new("Exemplar", message);
    let (mut timestamp, mut value) = (0, 0.0);
    let mut numbers = Cow::Borrowed(&[][..]);
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, .. } if symbols.is_some() => {
                push_packed(&mut numbers, &fields, &field)?;
            }
            Field { number: 2, value: Value::Fixed64(bits), .. } => value = f64::from_bits(bits),
            Field { number: 3, value: Value::Varint(bits), .. } => timestamp = bits.cast_signed(),
            Field { number: 2 | 3, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    let labels = match symbols {
        None => decode_labels_of("Exemplar", message)?,
        Some(symbols) => symbols.labels("Exemplar", &numbers)?,
    };
    Ok(labels.map(|labels| Exemplar::new(timestamp, value, labels)))
}

/// Decodes a `MetricMetadata`: 1 type, 2 name of the metric, 4 help, 5 unit.
fn metadata(message: &[u8]) -> Result<FamilyMetadata, DecodeError> {
    let mut fields = Fields::new("MetricMetadata", message);
    let (mut metric_type, mut family, mut help, mut unit) = (MetricType::Unknown, "", "", "");
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, value: Value::Varint(bits), .. } => {
                // The numbers are those of the log.
                metric_type = u8::try_from(bits).map_or(metric_type, MetricType::from_byte);
            }
            Field { number: 1, .. } => return Err(fields.wrong_type(&field)),
            Field { number: 2, .. } => family = fields.text(&field)?,
            Field { number: 4, .. } => help = fields.text(&field)?,
            Field { number: 5, .. } => unit = fields.text(&field)?,
            _ => {}
        }
    }
    let metadata = Metadata::new(metric_type, unit, help);
    Ok(FamilyMetadata { family: family.to_owned(), metadata })
}
