//! Exemplars of points.

use std::fmt::Write;

use ferula_index::LabelsBuilder;
use ferula_tsdb::{Exemplar, MAX_EXEMPLAR_LABEL_CHARS};

use super::point::{fixed, to_ms};
use super::value::push_attribute;
use crate::protobuf::{DecodeError, Fields};

/// Decodes an `Exemplar`: 2 time, 3 and 6 value, 4 span, 5 trace, 7 attributes. `None` is one without a
/// value or with labels that nothing takes.
///
/// One without a time was taken at `timestamp`. Attributes are left out where they would make the labels
/// longer than OpenMetrics allows.
pub(super) fn exemplar(message: &[u8], timestamp: i64) -> Result<Option<Exemplar>, DecodeError> {
    let mut fields = Fields::new("Exemplar", message);
    let (mut time, mut value) = (0, None);
    let (mut span, mut trace) = (&[][..], &[][..]);
    let mut attributes = Vec::new();
    while let Some(field) = fields.next_field()? {
        match field.number {
            2 => time = fixed(&fields, &field)?,
            3 => value = Some(f64::from_bits(fixed(&fields, &field)?)),
            4 => span = fields.bytes(&field)?,
            5 => trace = fields.bytes(&field)?,
            6 => value = Some(fixed(&fields, &field)?.cast_signed() as f64),
            7 => push_attribute(&fields, &field, &mut attributes)?,
            _ => {}
        }
    }
    let Some(value) = value else { return Ok(None) };
    let mut labels = LabelsBuilder::new();
    let mut n_chars = 0;
    for (name, id, len) in [("trace_id", trace, 16), ("span_id", span, 8)] {
        // As an identifier of zeros, one of another length is none.
        if id.len() == len && id.iter().any(|byte| *byte != 0) {
            labels.set(name, &hexadecimal(id));
            n_chars += name.len() + 2 * len;
        }
    }
    let chars = |text: &str| text.chars().count();
    n_chars += attributes.iter().map(|(name, value)| chars(name) + chars(value)).sum::<usize>();
    if n_chars <= MAX_EXEMPLAR_LABEL_CHARS {
        for (name, value) in &attributes {
            labels.set(name, value);
        }
    }
    let timestamp = if time == 0 { timestamp } else { to_ms(time) };
    Ok(labels.build().ok().map(|labels| Exemplar::new(timestamp, value, labels)))
}

fn hexadecimal(id: &[u8]) -> String {
    id.iter().fold(String::with_capacity(2 * id.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
