//! Writing protobuf messages, field by field.

/// Writes a field that is a number.
pub(super) fn push_number(out: &mut Vec<u8>, field: u64, value: u64) {
    push_varint(out, field << 3);
    push_varint(out, value);
}

/// Writes a field that is a float.
pub(super) fn push_double(out: &mut Vec<u8>, field: u64, value: f64) {
    push_varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes a field that is a text or a message.
pub(super) fn push_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    push_varint(out, field << 3 | 2);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a number, seven bits to a byte.
pub(super) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
