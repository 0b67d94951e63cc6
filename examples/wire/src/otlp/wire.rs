//! Writing protobuf.

/// Wire type of what has a length.
const BYTES: u64 = 2;

pub(super) fn push_key(out: &mut Vec<u8>, number: u64, wire_type: u64) {
    push_varint(out, number << 3 | wire_type);
}

pub(super) fn push_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    push_key(out, number, BYTES);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).expect("seven bits fit") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("seven bits fit"));
}
