//! JSON as Prometheus's API writes it, straight into a buffer.
//!
//! Two kinds of strings differ in what they escape: label names and values inside of results are
//! written as they are, everything else has `<`, `>` and `&` escaped.

mod answer;

use ferula_index::Labels;

use crate::number;

pub(super) use answer::{AnswerWriter, PointStarts, push_series};

/// Writes a string of a label set.
pub(super) fn push_label(out: &mut Vec<u8>, text: &str) {
    push_escaped(out, text, |byte| byte < 0x20 || matches!(byte, b'"' | b'\\'));
}

/// Writes any other string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    if !text.contains(['\u{2028}', '\u{2029}']) {
        push_escaped(out, text, is_special);
        return;
    }
    // These two end lines in JavaScript and are escaped for its sake.
    out.push(b'"');
    for part in text.split_inclusive(['\u{2028}', '\u{2029}']) {
        let bare = part.trim_end_matches(['\u{2028}', '\u{2029}']);
        push_inner(out, bare, is_special);
        match part[bare.len()..].chars().next() {
            Some('\u{2028}') => out.extend_from_slice(b"\\u2028"),
            Some(_) => out.extend_from_slice(b"\\u2029"),
            None => {}
        }
    }
    out.push(b'"');
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

fn push_escaped(out: &mut Vec<u8>, text: &str, is_special: fn(u8) -> bool) {
    out.push(b'"');
    push_inner(out, text, is_special);
    out.push(b'"');
}

fn push_inner(out: &mut Vec<u8>, text: &str, is_special: fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Writes a list, whose items `push` writes.
pub(super) fn push_list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

/// Writes a list of strings.
pub(super) fn push_strings<S: AsRef<str>>(out: &mut Vec<u8>, items: impl IntoIterator<Item = S>) {
    push_list(out, items, |out, item| push_string(out, item.as_ref()));
}

/// Writes a label set as an object.
pub(super) fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_label(out, name);
        out.push(b':');
        push_label(out, value);
    }
    out.push(b'}');
}

/// Writes a time in milliseconds as seconds.
pub(super) fn push_timestamp(out: &mut Vec<u8>, timestamp: i64) {
    if timestamp < 0 {
        out.push(b'-');
    }
    let magnitude = timestamp.unsigned_abs();
    number::push_unsigned(out, magnitude / 1000);
    let fraction = magnitude % 1000;
    if fraction != 0 {
        out.push(b'.');
        out.extend(
            [100, 10, 1].map(|place| {
                b'0' + u8::try_from(fraction / place % 10).expect("a digit fits a byte")
            }),
        );
    }
}

/// Writes a number in quotes.
pub(super) fn push_quoted(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    number::push_json(out, value);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
