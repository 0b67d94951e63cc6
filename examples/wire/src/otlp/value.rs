//! Attributes and their values, which become text.

use std::borrow::Cow;

use ferula_tsdb::MAX_LABELS;

use crate::number;
use crate::protobuf::{DecodeError, DecodeProblem, Field, Fields, Value};

/// Deepest nesting of a value that is read.
pub const MAX_VALUE_DEPTH: usize = 32;

/// An attribute and its value as text.
pub(super) type Attribute<'a> = (&'a str, Cow<'a, str>);

/// Decodes a `KeyValue`, 1 key and 2 value, onto a list that no series could have more of.
pub(super) fn push_attribute<'a>(
    fields: &Fields<'a>,
    field: &Field<'a>,
    attributes: &mut Vec<Attribute<'a>>,
) -> Result<(), DecodeError> {
    if attributes.len() == MAX_LABELS {
        let problem = DecodeProblem::TooMany { field: field.number, limit: MAX_LABELS };
        return Err(fields.error(field.offset, problem));
    }
    let (key, value) = key_value(fields.bytes(field)?)?;
    attributes.push((key, text(value)?));
    Ok(())
}

/// The key and the encoded value of a `KeyValue`.
fn key_value(message: &[u8]) -> Result<(&str, &[u8]), DecodeError> {
    let mut fields = Fields::new("KeyValue", message);
    let (mut key, mut value) = ("", &[][..]);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => key = fields.text(&field)?,
            2 => value = fields.bytes(&field)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// An `AnyValue`: 1 text, 2 bool, 3 integer, 4 float, 5 list, 6 map, 7 bytes.
#[derive(Clone, Copy)]
enum Any<'a> {
    None,
    Text(&'a str),
    Bool(bool),
    Integer(i64),
    Float(f64),
    List(&'a [u8]),
    Map(&'a [u8]),
    Bytes(&'a [u8]),
}

fn any(message: &[u8]) -> Result<Any<'_>, DecodeError> {
    let mut fields = Fields::new("AnyValue", message);
    let mut value = Any::None;
    while let Some(field) = fields.next_field()? {
        value = match field {
            Field { number: 1, .. } => Any::Text(fields.text(&field)?),
            Field { number: 2, value: Value::Varint(bits), .. } => Any::Bool(bits != 0),
            Field { number: 3, value: Value::Varint(bits), .. } => Any::Integer(bits.cast_signed()),
            Field { number: 4, value: Value::Fixed64(bits), .. } => {
                Any::Float(f64::from_bits(bits))
            }
            Field { number: 5, .. } => Any::List(fields.bytes(&field)?),
            Field { number: 6, .. } => Any::Map(fields.bytes(&field)?),
            Field { number: 7, .. } => Any::Bytes(fields.bytes(&field)?),
            Field { number: 2..=4, .. } => return Err(fields.wrong_type(&field)),
            _ => value,
        };
    }
    Ok(value)
}

/// The text of an `AnyValue`: lists and maps are JSON, bytes Base64.
fn text(message: &[u8]) -> Result<Cow<'_, str>, DecodeError> {
    let mut out = Vec::new();
    match any(message)? {
        Any::None => return Ok("".into()),
        Any::Text(text) => return Ok(text.into()),
        Any::Bool(value) => return Ok(if value { "true" } else { "false" }.into()),
        Any::Integer(value) => number::push_integer(&mut out, value),
        Any::Float(value) if value.is_infinite() => {
            return Ok(if value > 0.0 { "Infinity" } else { "-Infinity" }.into());
        }
        Any::Float(value) => push_float(&mut out, value),
        Any::Bytes(bytes) => push_base64(&mut out, bytes),
        value @ (Any::List(_) | Any::Map(_)) => {
            // JSON has no such numbers, and Prometheus's text is empty then.
            if !push_json(&mut out, value, 0)? {
                out.clear();
            }
        }
    }
    Ok(String::from_utf8(out).expect("what is written is made of text").into())
}

/// Writes a value as JSON; false if there is a number in it that JSON does not have.
fn push_json(out: &mut Vec<u8>, value: Any<'_>, depth: usize) -> Result<bool, DecodeError> {
    match value {
        Any::None => out.extend_from_slice(b"null"),
        Any::Text(text) => push_json_text(out, text),
        Any::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Any::Integer(value) => number::push_integer(out, value),
        Any::Float(value) if !value.is_finite() => return Ok(false),
        Any::Float(value) => push_float(out, value),
        Any::Bytes(bytes) => {
            out.push(b'"');
            push_base64(out, bytes);
            out.push(b'"');
        }
        Any::List(list) => {
            let mut fields = nested("ArrayValue", list, depth)?;
            out.push(b'[');
            let mut separator = &b""[..];
            while let Some(field) = fields.next_field()? {
                if field.number == 1 {
                    out.extend_from_slice(separator);
                    if !push_json(out, any(fields.bytes(&field)?)?, depth + 1)? {
                        return Ok(false);
                    }
                    separator = b",";
                }
            }
            out.push(b']');
        }
        Any::Map(map) => {
            let mut fields = nested("KeyValueList", map, depth)?;
            let mut entries: Vec<(&str, Any<'_>)> = Vec::new();
            while let Some(field) = fields.next_field()? {
                if field.number == 1 {
                    if entries.len() == MAX_LABELS {
                        let problem = DecodeProblem::TooMany { field: 1, limit: MAX_LABELS };
                        return Err(fields.error(field.offset, problem));
                    }
                    let (key, value) = key_value(fields.bytes(&field)?)?;
                    let value = any(value)?;
                    // The last one of a name stands.
                    match entries.binary_search_by(|(other, _)| (*other).cmp(key)) {
                        Ok(at) => entries[at].1 = value,
                        Err(at) => entries.insert(at, (key, value)),
                    }
                }
            }
            out.push(b'{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_json_text(out, key);
                out.push(b':');
                if !push_json(out, value, depth + 1)? {
                    return Ok(false);
                }
            }
            out.push(b'}');
        }
    }
    Ok(true)
}

fn nested<'a>(
    message: &'static str,
    bytes: &'a [u8],
    depth: usize,
) -> Result<Fields<'a>, DecodeError> {
    let fields = Fields::new(message, bytes);
    if depth == MAX_VALUE_DEPTH {
        return Err(fields.error(0, DecodeProblem::TooDeep { limit: MAX_VALUE_DEPTH }));
    }
    Ok(fields)
}

/// Writes a float as JavaScript does: its exponents have no more digits than they need.
fn push_float(out: &mut Vec<u8>, value: f64) {
    let start = out.len();
    number::push_json(out, value);
    if let [.., b'e', b'-', zero @ b'0', digit] = &mut out[start..] {
        *zero = *digit;
        out.pop();
    }
}

/// Writes a text in quotes; everything but controls, quotes and line separators stands as it is.
fn push_json_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\0'..' ' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |index| chunk.get(index).map_or(0, |byte| u32::from(*byte));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let is_there = digit <= chunk.len();
            let index = (bits >> (18 - 6 * digit)) & 63;
            let index = usize::try_from(index).expect("six bits fit");
            out.push(if is_there { DIGITS[index] } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_base64() {
        for (bytes, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            let mut out = Vec::new();
            push_base64(&mut out, bytes.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    /// A list with one list in it and so on, `depth` of them.
    fn lists(depth: usize) -> Vec<u8> {
        let mut value: Vec<u8> = Vec::new();
        for tag in [10_u8, 42].repeat(depth) {
            let mut len = value.len();
            let mut head = vec![tag];
            while len >= 0x80 {
                head.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
                len >>= 7;
            }
            head.push(u8::try_from(len).unwrap());
            value = [head, value].concat();
        }
        value
    }

    #[test]
    fn values_within_values_end_somewhere() {
        let expected =
            format!("{}null{}", "[".repeat(MAX_VALUE_DEPTH), "]".repeat(MAX_VALUE_DEPTH));
        assert_eq!(text(&lists(MAX_VALUE_DEPTH)).unwrap(), expected);
        let error = text(&lists(10_000)).unwrap_err();
        assert_eq!(error.problem, DecodeProblem::TooDeep { limit: MAX_VALUE_DEPTH });
    }
}
