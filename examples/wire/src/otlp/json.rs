//! Requests in JSON, which become protobuf before they are read.
//!
//! The mapping is that of protobuf with OTLP's exceptions: identifiers of traces and spans are
//! hexadecimal, and enumerations numbers (names are taken, too). So there is one way into the store, and
//! one set of limits. Fields that are not known are passed over.

use serde_json::Value;

use crate::protobuf::write::{FIXED64, VARINT, push_bytes, push_key, push_varint};

/// Longest request in JSON, in bytes. Its tree takes up to sixteen times the memory.
pub const MAX_JSON_BYTES: usize = 8 << 20;

/// Why a JSON text is no request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// It is no JSON.
    #[error("invalid JSON")]
    Syntax(#[from] serde_json::Error),
    /// A field has a value of another type than it must have.
    #[error("field {field}: expected {expected}")]
    Type {
        /// Name of the field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

/// What a field holds.
enum Kind {
    Text,
    /// Bytes in hexadecimal.
    Id,
    /// Bytes in Base64.
    Bytes,
    Bool,
    Int,
    Sint,
    Fixed,
    SignedFixed,
    Double,
    /// One of these names, which are numbered from zero.
    Enum(&'static [&'static str]),
    Message(&'static [Field]),
    /// A value, which may hold others.
    Any,
}

/// Name, number and contents of a field.
struct Field(&'static str, u64, Kind);

const ANY: &[Field] = &[
    Field("stringValue", 1, Kind::Text),
    Field("boolValue", 2, Kind::Bool),
    Field("intValue", 3, Kind::Int),
    Field("doubleValue", 4, Kind::Double),
    Field("arrayValue", 5, Kind::Message(&[Field("values", 1, Kind::Any)])),
    Field("kvlistValue", 6, Kind::Message(&[Field("values", 1, ATTRIBUTE)])),
    Field("bytesValue", 7, Kind::Bytes),
];
const ATTRIBUTE: Kind = Kind::Message(&[Field("key", 1, Kind::Text), Field("value", 2, Kind::Any)]);
const EXEMPLARS: Kind = Kind::Message(&[
    Field("timeUnixNano", 2, Kind::Fixed),
    Field("asDouble", 3, Kind::Double),
    Field("spanId", 4, Kind::Id),
    Field("traceId", 5, Kind::Id),
    Field("asInt", 6, Kind::SignedFixed),
    Field("filteredAttributes", 7, ATTRIBUTE),
]);
const TEMPORALITY: Kind = Kind::Enum(&[
    "AGGREGATION_TEMPORALITY_UNSPECIFIED",
    "AGGREGATION_TEMPORALITY_DELTA",
    "AGGREGATION_TEMPORALITY_CUMULATIVE",
]);
const NUMBER_POINT: Kind = Kind::Message(&[
    Field("startTimeUnixNano", 2, Kind::Fixed),
    Field("timeUnixNano", 3, Kind::Fixed),
    Field("asDouble", 4, Kind::Double),
    Field("exemplars", 5, EXEMPLARS),
    Field("asInt", 6, Kind::SignedFixed),
    Field("attributes", 7, ATTRIBUTE),
    Field("flags", 8, Kind::Int),
]);
const HISTOGRAM_POINT: Kind = Kind::Message(&[
    Field("startTimeUnixNano", 2, Kind::Fixed),
    Field("timeUnixNano", 3, Kind::Fixed),
    Field("count", 4, Kind::Fixed),
    Field("sum", 5, Kind::Double),
    Field("bucketCounts", 6, Kind::Fixed),
    Field("explicitBounds", 7, Kind::Double),
    Field("exemplars", 8, EXEMPLARS),
    Field("attributes", 9, ATTRIBUTE),
    Field("flags", 10, Kind::Int),
]);
const SIDE: Kind =
    Kind::Message(&[Field("offset", 1, Kind::Sint), Field("bucketCounts", 2, Kind::Int)]);
const EXPONENTIAL_POINT: Kind = Kind::Message(&[
    Field("attributes", 1, ATTRIBUTE),
    Field("startTimeUnixNano", 2, Kind::Fixed),
    Field("timeUnixNano", 3, Kind::Fixed),
    Field("count", 4, Kind::Fixed),
    Field("sum", 5, Kind::Double),
    Field("scale", 6, Kind::Sint),
    Field("zeroCount", 7, Kind::Fixed),
    Field("positive", 8, SIDE),
    Field("negative", 9, SIDE),
    Field("flags", 10, Kind::Int),
    Field("exemplars", 11, EXEMPLARS),
]);
const SUMMARY_POINT: Kind = Kind::Message(&[
    Field("startTimeUnixNano", 2, Kind::Fixed),
    Field("timeUnixNano", 3, Kind::Fixed),
    Field("count", 4, Kind::Fixed),
    Field("sum", 5, Kind::Double),
    Field(
        "quantileValues",
        6,
        Kind::Message(&[Field("quantile", 1, Kind::Double), Field("value", 2, Kind::Double)]),
    ),
    Field("attributes", 7, ATTRIBUTE),
    Field("flags", 8, Kind::Int),
]);
const METRIC: Kind = Kind::Message(&[
    Field("name", 1, Kind::Text),
    Field("description", 2, Kind::Text),
    Field("unit", 3, Kind::Text),
    Field("gauge", 5, Kind::Message(&[Field("dataPoints", 1, NUMBER_POINT)])),
    Field(
        "sum",
        7,
        Kind::Message(&[
            Field("dataPoints", 1, NUMBER_POINT),
            Field("aggregationTemporality", 2, TEMPORALITY),
            Field("isMonotonic", 3, Kind::Bool),
        ]),
    ),
    Field(
        "histogram",
        9,
        Kind::Message(&[
            Field("dataPoints", 1, HISTOGRAM_POINT),
            Field("aggregationTemporality", 2, TEMPORALITY),
        ]),
    ),
    Field(
        "exponentialHistogram",
        10,
        Kind::Message(&[
            Field("dataPoints", 1, EXPONENTIAL_POINT),
            Field("aggregationTemporality", 2, TEMPORALITY),
        ]),
    ),
    Field("summary", 11, Kind::Message(&[Field("dataPoints", 1, SUMMARY_POINT)])),
]);
const SCOPE_METRICS: Kind = Kind::Message(&[
    Field(
        "scope",
        1,
        Kind::Message(&[
            Field("name", 1, Kind::Text),
            Field("version", 2, Kind::Text),
            Field("attributes", 3, ATTRIBUTE),
        ]),
    ),
    Field("metrics", 2, METRIC),
    Field("schemaUrl", 3, Kind::Text),
]);
const REQUEST: &[Field] = &[Field(
    "resourceMetrics",
    1,
    Kind::Message(&[
        Field("resource", 1, Kind::Message(&[Field("attributes", 1, ATTRIBUTE)])),
        Field("scopeMetrics", 2, SCOPE_METRICS),
        Field("schemaUrl", 3, Kind::Text),
    ]),
)];

/// Makes an `ExportMetricsServiceRequest` of JSON.
pub(super) fn to_protobuf(json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let request: Value = serde_json::from_slice(json)?;
    let mut out = Vec::new();
    push_message(&mut out, "request", REQUEST, &request)?;
    Ok(out)
}

fn push_message(
    out: &mut Vec<u8>,
    name: &'static str,
    fields: &[Field],
    value: &Value,
) -> Result<(), JsonError> {
    let object = value.as_object().ok_or(JsonError::Type { field: name, expected: "an object" })?;
    for (key, value) in object {
        if let Some(Field(name, number, kind)) = fields.iter().find(|field| is_name(field.0, key)) {
            match value {
                Value::Array(values) => {
                    values.iter().try_for_each(|value| push(out, name, *number, kind, value))?;
                }
                Value::Null => {}
                value => push(out, name, *number, kind, value)?,
            }
        }
    }
    Ok(())
}

/// Tells whether a key is a name, which may have underscores instead of capitals.
fn is_name(name: &str, key: &str) -> bool {
    let mut key = key.chars();
    name.chars().all(|c| match key.next() {
        Some('_') => key.next().is_some_and(|next| next.to_ascii_uppercase() == c),
        Some(next) => next == c,
        None => false,
    }) && key.next().is_none()
}

fn push(
    out: &mut Vec<u8>,
    field: &'static str,
    number: u64,
    kind: &Kind,
    value: &Value,
) -> Result<(), JsonError> {
    let wrong = |expected| JsonError::Type { field, expected };
    let mut varint = |bits: u64| {
        push_key(out, number, VARINT);
        push_varint(out, bits);
    };
    let text = || value.as_str().ok_or(wrong("a text"));
    match kind {
        Kind::Bool => varint(value.as_bool().ok_or(wrong("true or false"))?.into()),
        Kind::Int => {
            let integer = integer(value).ok_or(wrong("a whole number"))?;
            // What is negative fills 64 bits, as does what only fits without a sign.
            let wide = i64::try_from(integer).map(i64::cast_unsigned);
            let wide = wide.or_else(|_| u64::try_from(integer));
            varint(wide.map_err(|_| wrong("a number of 64 bits"))?);
        }
        Kind::Sint => {
            let integer = integer(value).and_then(|integer| i64::try_from(integer).ok());
            let integer = integer.ok_or(wrong("a whole number"))?;
            varint((integer << 1 ^ integer >> 63).cast_unsigned());
        }
        Kind::Enum(names) => {
            let named = value.as_str().and_then(|name| names.iter().position(|n| *n == name));
            let named = named.and_then(|place| u64::try_from(place).ok());
            varint(named.or(value.as_u64()).ok_or(wrong("a number or name"))?);
        }
        Kind::Fixed => {
            let bits = integer(value).and_then(|integer| u64::try_from(integer).ok());
            push_key(out, number, FIXED64);
            out.extend_from_slice(&bits.ok_or(wrong("a positive whole number"))?.to_le_bytes());
        }
        Kind::SignedFixed => {
            let integer = integer(value).and_then(|integer| i64::try_from(integer).ok());
            push_key(out, number, FIXED64);
            out.extend_from_slice(&integer.ok_or(wrong("a whole number"))?.to_le_bytes());
        }
        Kind::Double => {
            push_key(out, number, FIXED64);
            out.extend_from_slice(&double(value).ok_or(wrong("a number"))?.to_le_bytes());
        }
        Kind::Text => push_bytes(out, number, text()?.as_bytes()),
        Kind::Id => {
            push_bytes(out, number, &unhex(text()?).ok_or(wrong("hexadecimal digits"))?);
        }
        Kind::Bytes => push_bytes(out, number, &unbase64(text()?).ok_or(wrong("Base64"))?),
        Kind::Message(fields) => {
            let mut message = Vec::new();
            push_message(&mut message, field, fields, value)?;
            push_bytes(out, number, &message);
        }
        Kind::Any => {
            let mut message = Vec::new();
            push_message(&mut message, field, ANY, value)?;
            push_bytes(out, number, &message);
        }
    }
    Ok(())
}

/// A whole number, which may be a text: JavaScript has none of 64 bits.
fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from)),
    }
}

fn double(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(text) => text.parse().ok(),
        None => value.as_f64(),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

/// Decodes Base64 of either alphabet, padded or not.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut n_bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(digit)) & 0xffff;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push(u8::try_from(bits >> n_bits & 0xff).expect("eight bits fit"));
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_either_style() {
        for (key, expected) in [
            ("timeUnixNano", true),
            ("time_unix_nano", true),
            ("time_unix_nan", false),
            ("timeUnixNanos", false),
            ("timeunixnano", false),
        ] {
            assert_eq!(is_name("timeUnixNano", key), expected, "{key}");
        }
    }

    #[test]
    fn texts_of_bytes_are_read() {
        assert_eq!(unbase64("AAH//g==").unwrap(), [0, 1, 255, 254]);
        assert_eq!(unbase64("AAH__g").unwrap(), [0, 1, 255, 254]);
        assert_eq!(unbase64("A!"), None);
        assert_eq!(unhex("0aFf").unwrap(), [10, 255]);
        assert_eq!((unhex("0"), unhex("0g")), (None, None));
    }

    #[test]
    fn values_of_other_types_are_refused() {
        for (json, text) in [
            ("{", "invalid JSON"),
            ("[]", "field request: expected an object"),
            (r#"{"resourceMetrics":[1]}"#, "field resourceMetrics: expected an object"),
            (
                r#"{"resourceMetrics":{"scopeMetrics":{"metrics":{"name":1}}}}"#,
                "field name: expected a text",
            ),
            (
                r#"{"resourceMetrics":{"scopeMetrics":{"metrics":{"gauge":{"dataPoints":{"timeUnixNano":-1}}}}}}"#,
                "field timeUnixNano: expected a positive whole number",
            ),
        ] {
            assert_eq!(to_protobuf(json.as_bytes()).unwrap_err().to_string(), text);
        }
        assert_eq!(to_protobuf(br#"{"other":[1]}"#).unwrap(), b"");
    }
}
