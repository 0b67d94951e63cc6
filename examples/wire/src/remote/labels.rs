//! The labels of a series as a request has them: found, decoded, and described when refused.

use std::borrow::Cow;
use std::fmt::{self, Write};

use ferula_index::{Labels, METRIC_NAME};
use ferula_tsdb::MAX_LABELS;

use crate::protobuf::{DecodeError, Fields};

/// Longest description of a refusal, in bytes. Label sets are refused for their size, too, and the
/// answer is not to be as long as the request.
pub(super) const MAX_REFUSAL_BYTES: usize = 1024;

/// Splits a `TimeSeries` into its encoded labels and the fields that follow. All senders write the
/// labels first; if they stand elsewhere, they are gathered and the message is walked from its
/// start.
pub(super) fn split_labels(message: &[u8]) -> Result<(Cow<'_, [u8]>, Fields<'_>), DecodeError> {
    let mut fields = Fields::new("TimeSeries", message);
    let mut end = 0;
    while let Some(field) = fields.next_field()? {
        if field.number == 1 {
            fields.bytes(&field)?;
            if field.offset != end {
                return Ok((gather_labels(message)?.into(), Fields::new("TimeSeries", message)));
            }
            end = fields.offset();
        }
    }
    Ok((message[..end].into(), Fields::starting_at("TimeSeries", message, end)))
}

fn gather_labels(message: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut fields = Fields::new("TimeSeries", message);
    let mut labels = Vec::new();
    while let Some(field) = fields.next_field()? {
        if field.number == 1 {
            fields.bytes(&field)?;
            labels.extend_from_slice(&message[field.offset..fields.offset()]);
        }
    }
    Ok(labels)
}

/// Decodes what follows the labels of a `TimeSeries` if it is one `Sample`, 1 value and 2 timestamp,
/// encoded as all senders do it. `None` says nothing: [`Fields`] tell what it is.
#[inline]
pub(super) fn only_sample(rest: &[u8]) -> Option<(i64, f64)> {
    let [0x12, len, sample @ ..] = rest else { return None };
    if usize::from(*len) != sample.len() || *len >= 0x80 {
        return None;
    }
    let (value, sample) = match sample.split_first_chunk::<9>() {
        Some(([0x09, value @ ..], sample)) => (f64::from_le_bytes(*value), sample),
        _ => (0.0, sample),
    };
    let [0x10, timestamp @ ..] = sample else { return sample.is_empty().then_some((0, value)) };
    let (last, before) = timestamp.split_last()?;
    // Longer ones are negative, or no times.
    if before.len() > 7 || *last >= 0x80 {
        return None;
    }
    let mut bits = u64::from(*last) << (7 * before.len());
    for (byte, shift) in before.iter().zip((0..).step_by(7)) {
        if *byte < 0x80 {
            return None;
        }
        bits |= u64::from(byte & 0x7f) << shift;
    }
    Some((bits.cast_signed(), value))
}

/// Decodes `Label` messages, 1 name and 2 value, or tells why they make no valid label set.
pub(super) fn decode_labels(labels: &[u8]) -> Result<Result<Labels, String>, DecodeError> {
    let decoded = decode_labels_of("TimeSeries", labels)?;
    Ok(decoded.and_then(|labels| match labels.get(METRIC_NAME) {
        Some(_) => Ok(labels),
        None => Err(excerpt(format_args!("no metric name, series {labels}"))),
    }))
}

/// Decodes the `Label` messages that are field 1 of a message, or tells why they make no valid label
/// set.
pub(super) fn decode_labels_of(
    message: &'static str,
    labels: &[u8],
) -> Result<Result<Labels, String>, DecodeError> {
    let refused = |reason: fmt::Arguments<'_>| Ok(Err(excerpt(reason)));
    let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(16);
    let mut fields = Fields::new(message, labels);
    while let Some(field) = fields.next_field()? {
        if field.number != 1 {
            continue;
        }
        let mut label = Fields::new("Label", fields.bytes(&field)?);
        let (mut name, mut value) = ("", "");
        while let Some(field) = label.next_field()? {
            match field.number {
                1 => name = label.text(&field)?,
                2 => value = label.text(&field)?,
                _ => {}
            }
        }
        if name.is_empty() {
            return refused(format_args!("empty label name, with value {value:?}"));
        }
        // No store takes more. Empty labels are far smaller than their place in the list.
        if pairs.len() == MAX_LABELS {
            return refused(format_args!("a series has more than {MAX_LABELS} labels"));
        }
        pairs.push((name, value));
    }
    match Labels::from_pairs(pairs) {
        Ok(labels) => Ok(Ok(labels)),
        Err(error) => refused(format_args!("{error}")),
    }
}

/// The text, or its start if it is long.
pub(crate) fn excerpt(text: fmt::Arguments<'_>) -> String {
    let mut excerpt = Excerpt(String::new());
    // What fails is writing beyond the end.
    let _ = excerpt.write_fmt(text);
    excerpt.0
}

/// Takes text until there is enough of it.
struct Excerpt(String);

impl fmt::Write for Excerpt {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_REFUSAL_BYTES.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        self.0.push('…');
        Err(fmt::Error)
    }
}
