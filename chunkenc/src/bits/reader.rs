//! Reading bits from a slice.

use crate::Error;

/// Reads bits one after the other. Bits past the end are zero, so that the reader of a hot loop
/// need not check each read: it asks [`BitReader::is_overrun`] when it is done.
///
/// The position is all the state there is. Each read loads the eight bytes around it afresh,
/// which costs less than keeping a buffer: the next position does not wait for the load.
#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Number of bits that [`BitReader::peek`] shows at least.
    pub(crate) const PEEK_BITS: u32 = 57;

    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// Begins at a bit other than the first.
    pub(crate) fn at(data: &'a [u8], position: usize) -> Self {
        Self { data, position }
    }

    /// Number of bits read so far, those past the end included.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Tells whether more bits were read than there are.
    #[inline]
    pub(crate) fn is_overrun(&self) -> bool {
        self.position > self.data.len() * 8
    }

    /// Number of bits that are not read yet.
    pub(crate) fn bits_left(&self) -> usize {
        (self.data.len() * 8).saturating_sub(self.position)
    }

    /// Fails if more bits were read than there are, taking the slice for the whole chunk.
    #[inline]
    pub(crate) fn check_overrun(&self) -> Result<(), Error> {
        if self.is_overrun() {
            let offset = self.data.len();
            let needed = self.position.div_ceil(8) - offset;
            return Err(Error::Truncated { offset, needed, available: 0 });
        }
        Ok(())
    }

    /// The next bits, the first of them topmost; at least [`BitReader::PEEK_BITS`] are valid.
    #[inline(always)]
    pub(crate) fn peek(&self) -> u64 {
        let rest = self.data.get(self.position / 8..).unwrap_or_default();
        let word = match rest.first_chunk() {
            Some(chunk) => u64::from_be_bytes(*chunk),
            None => padded(rest),
        };
        word << (self.position % 8)
    }

    /// Moves on by `n` bits.
    #[inline(always)]
    pub(crate) fn advance(&mut self, n: u32) {
        self.position += n as usize;
    }

    /// Reads `n` bits, where `n` is 1 to 64.
    #[inline(always)]
    pub(crate) fn read_bits(&mut self, n: u32) -> u64 {
        debug_assert!((1..=64).contains(&n), "one to 64 bits are read at a time");
        if n <= Self::PEEK_BITS {
            let bits = self.peek() >> (64 - n);
            self.advance(n);
            bits
        } else {
            let high = self.peek() >> 32;
            self.advance(32);
            let low = self.peek() >> (96 - n);
            self.advance(n - 32);
            high << (n - 32) | low
        }
    }
}

/// The last bytes of the data, filled up with zeros.
#[cold]
fn padded(rest: &[u8]) -> u64 {
    let mut chunk = [0; 8];
    chunk[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(chunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::BitWriter;
    use super::*;

    #[test]
    fn bits_past_the_end_are_zero_and_noticed() {
        let mut reader = BitReader::new(&[0xff]);
        assert_eq!(reader.read_bits(8), 0xff);
        assert!(!reader.is_overrun());
        assert_eq!(reader.read_bits(64), 0);
        assert!(reader.is_overrun());
        assert_eq!(BitReader::new(&[]).peek(), 0);
    }

    #[test]
    fn a_resumed_writer_clears_what_it_drops() {
        let mut writer = BitWriter::resume(vec![0xff, 0xff, 0xff], 11);
        writer.write_bits(1, 2);
        assert_eq!(writer.as_bytes(), [0xff, 0b1110_1000]);
    }

    proptest! {
        #[test]
        fn bits_survive(items in prop::collection::vec((any::<u64>(), 1_u32..=64), 0..200)) {
            let mut writer = BitWriter::default();
            for &(value, n) in &items {
                writer.write_bits(value, n);
            }
            let mut reader = BitReader::new(writer.as_bytes());
            for &(value, n) in &items {
                prop_assert_eq!(reader.read_bits(n), value & (u64::MAX >> (64 - n)));
            }
            prop_assert!(!reader.is_overrun());
            prop_assert_eq!(writer.as_bytes().len(), reader.position().div_ceil(8));
        }
    }
}
