//! Records that announce samples which came out of order: how many records of their batch hold some,
//! and the number of that batch.
//!
//! They are this crate's own. Prometheus passes over types that it does not know: in its `wal` it takes
//! the samples that follow for what they are, ones that do not fit, and in `wbl` for samples to
//! insert. That both logs number such batches tells, after a crash, how far each of them got.
//!
//! ```text
//! | 240:u8 | number:uvarint | records:uvarint |
//! ```

use ferula_chunkenc::cursor::{put_u8, put_uvarint};

use super::RecordKind;
use super::fields::Fields;
use crate::Error;

const KIND: RecordKind = RecordKind::OUT_OF_ORDER;

/// Says that the records behind it in the batch hold samples that came out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfOrder {
    /// Number of the batch among those with such samples, counted from one.
    pub number: u64,
    /// Records that follow.
    pub n_records: u64,
}

/// Appends the record to `buf`.
pub fn encode(announced: OutOfOrder, buf: &mut Vec<u8>) {
    put_u8(buf, KIND.0);
    put_uvarint(buf, announced.number);
    put_uvarint(buf, announced.n_records);
}

/// Decodes the record.
pub(super) fn decode(bytes: &[u8]) -> Result<OutOfOrder, Error> {
    let mut fields = Fields::new(bytes, KIND);
    Ok(OutOfOrder { number: fields.uvarint()?, n_records: fields.uvarint()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn what_is_announced_is_read_back() {
        let mut bytes = Vec::new();
        encode(OutOfOrder { number: 300, n_records: 2 }, &mut bytes);
        assert_eq!(bytes, [240, 0xac, 2, 2]);
        let Record::OutOfOrder(found) = Record::decode(&bytes).unwrap() else {
            panic!("another type")
        };
        assert_eq!(found, OutOfOrder { number: 300, n_records: 2 });
        for len in 1..bytes.len() {
            assert!(Record::decode(&bytes[..len]).is_err(), "cut to {len} bytes");
        }
    }
}
