//! Writing protobuf.

/// Wire types.
pub(crate) const VARINT: u64 = 0;
pub(crate) const FIXED64: u64 = 1;
const BYTES: u64 = 2;

pub(crate) fn push_key(out: &mut Vec<u8>, number: u64, wire_type: u64) {
    push_varint(out, number << 3 | wire_type);
}

pub(crate) fn push_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    push_key(out, number, BYTES);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).expect("seven bits fit") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("seven bits fit"));
}

/// Writes a signed integer of 32 bits; zero is not written.
pub(crate) fn push_sint32(out: &mut Vec<u8>, number: u64, value: i32) {
    push_uint(out, number, u64::from((value << 1 ^ value >> 31).cast_unsigned()));
}

/// Writes an integer; zero is not written.
pub(crate) fn push_uint(out: &mut Vec<u8>, number: u64, value: u64) {
    if value != 0 {
        push_key(out, number, VARINT);
        push_varint(out, value);
    }
}

/// Writes a float, bit for bit; positive zero is not written.
pub(crate) fn push_double(out: &mut Vec<u8>, number: u64, value: f64) {
    if value.to_bits() != 0 {
        push_key(out, number, FIXED64);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Writes floats one behind the other, in one field.
pub(crate) fn push_doubles(out: &mut Vec<u8>, number: u64, values: &[f64]) {
    if !values.is_empty() {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        push_bytes(out, number, &bytes);
    }
}
