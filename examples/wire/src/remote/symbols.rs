//! The strings of a remote write 2.0 request, which its series refer to by number.

use ferula_index::{Labels, METRIC_NAME};
use ferula_tsdb::{MAX_LABELS, MAX_METADATA_BYTES, Metadata, MetricType};

use super::labels::excerpt;
use super::receiver::ReceiveError;
use super::refs::{LabelsKey, RefCache};
use crate::protobuf::{DecodeError, Fields};

/// Most symbols of a request that is read. Empty ones are far smaller than their place in the list.
pub const MAX_SYMBOLS: usize = 1 << 20;

/// Longest encoding of the numbers of a label set: five bytes each.
const MAX_REFS_BYTES: usize = 5 * 2 * MAX_LABELS;

/// The symbols of one request.
///
/// The numbers that stand for a label set are others in each request, so a series is recognised by
/// the keys of its symbols. Each is computed once a request.
#[derive(Debug)]
pub(super) struct Symbols<'a> {
    texts: Vec<&'a [u8]>,
    keys: Vec<LabelsKey>,
}

/// What a series says of its metric, texts by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SaidBySymbols {
    pub(super) metric_type: u8,
    pub(super) help: u32,
    pub(super) unit: u32,
}

impl<'a> Symbols<'a> {
    /// Gathers field 4 of a `Request`, wherever it stands.
    pub(super) fn read(request: &'a [u8], refs: &RefCache) -> Result<Self, ReceiveError> {
        let (mut texts, mut keys) = (Vec::new(), Vec::new());
        let mut fields = Fields::new("Request", request);
        while let Some(field) = fields.next_field()? {
            if field.number == 4 {
                if texts.len() == MAX_SYMBOLS {
                    return Err(ReceiveError::TooManySymbols);
                }
                let text = fields.bytes(&field)?;
                texts.push(text);
                keys.push(refs.key(text));
            }
        }
        Ok(Self { texts, keys })
    }

    /// Writes to `key` what a label set is recognised by. Nothing is written of one that cannot be
    /// decoded.
    pub(super) fn push_key(&self, labels: &[u8], key: &mut Vec<u8>) -> Result<(), DecodeError> {
        key.clear();
        if labels.len() > MAX_REFS_BYTES {
            return Ok(());
        }
        let mut is_known = true;
        Fields::each_packed("TimeSeries", labels, |symbol| {
            match usize::try_from(symbol).ok().and_then(|symbol| self.keys.get(symbol)) {
                Some(symbol) => key.extend_from_slice(&symbol.to_bytes()),
                None => is_known = false,
            }
            Ok(())
        })?;
        if !is_known {
            key.clear();
        }
        Ok(())
    }

    /// Decodes the labels of a series, or tells why they make no valid label set.
    pub(super) fn labels_of_series(
        &self,
        labels: &[u8],
    ) -> Result<Result<Labels, String>, DecodeError> {
        let decoded = self.labels("TimeSeries", labels)?;
        Ok(decoded.and_then(|labels| match labels.get(METRIC_NAME) {
            Some(_) => Ok(labels),
            None => Err(excerpt(format_args!("no metric name, series {labels}"))),
        }))
    }

    /// Decodes a label set: numbers of names and values in turn.
    pub(super) fn labels(
        &self,
        message: &'static str,
        labels: &[u8],
    ) -> Result<Result<Labels, String>, DecodeError> {
        if labels.len() > MAX_REFS_BYTES {
            return Ok(Err(format!("a series has more than {MAX_LABELS} labels")));
        }
        let mut numbers = Vec::with_capacity(32);
        Fields::each_packed(message, labels, |symbol| {
            numbers.push(symbol);
            Ok(())
        })?;
        Ok(self.labels_of(&numbers))
    }

    fn labels_of(&self, numbers: &[u64]) -> Result<Labels, String> {
        let (pairs, rest) = numbers.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a label without a value".to_owned());
        }
        if pairs.len() > MAX_LABELS {
            return Err(format!("a series has more than {MAX_LABELS} labels"));
        }
        let mut labels = Vec::with_capacity(pairs.len());
        for [name, value] in pairs {
            let (name, value) = (self.text(*name)?, self.text(*value)?);
            if name.is_empty() {
                return Err(excerpt(format_args!("empty label name, with value {value:?}")));
            }
            labels.push((name, value));
        }
        Labels::from_pairs(labels).map_err(|error| excerpt(format_args!("{error}")))
    }

    /// Tells whether there are the texts that a series says of its metric.
    pub(super) fn has(&self, said: SaidBySymbols) -> bool {
        let n_symbols = self.texts.len();
        [said.help, said.unit]
            .iter()
            .all(|text| usize::try_from(*text).is_ok_and(|n| n < n_symbols))
    }

    /// Resolves what a series says of its metric. `None` if the texts are too long to be stored, or
    /// no texts.
    pub(super) fn metadata(&self, said: SaidBySymbols) -> Option<Metadata> {
        let metric_type = MetricType::from_byte(said.metric_type);
        let (unit, help) = (self.text(said.unit.into()).ok()?, self.text(said.help.into()).ok()?);
        let fits = unit.len() + help.len() <= MAX_METADATA_BYTES;
        fits.then(|| Metadata::new(metric_type, unit, help))
    }

    fn text(&self, number: u64) -> Result<&'a str, String> {
        let text = usize::try_from(number).ok().and_then(|number| self.texts.get(number));
        let n_symbols = self.texts.len();
        let text = text.ok_or_else(|| format!("symbol {number} of {n_symbols}"))?;
        std::str::from_utf8(text).map_err(|_| format!("symbol {number} is not valid UTF-8"))
    }
}
