//! Reading the samples of a float chunk.

use super::state::HEADER_BYTES;
use super::value_reader::ValueReader;
use crate::bits::{Ahead, BitReader, Padded};
use crate::cursor::from_zig_zag;
use crate::float_decoder::FloatReader;
use crate::varbit::read_uvarint;
use crate::{Error, Sample};

/// Reads the samples of a chunk of encoding 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct XorReader {
    pub(super) timestamp: i64,
    pub(super) delta: u64,
    pub(super) value: ValueReader,
}

impl XorReader {
    #[inline(always)]
    fn advance(&mut self, dod: u64) {
        self.delta = self.delta.wrapping_add(dod);
        self.timestamp = self.timestamp.wrapping_add_unsigned(self.delta);
    }

    /// Reads the value behind a timestamp of `USED` bits.
    #[inline(always)]
    fn read_value<const USED: u32>(&mut self, ahead: &Ahead) {
        let code = self.value.peek(ahead) << USED;
        if code >> 63 == 0 {
            self.value.advance(USED + 1);
        } else if code >> 62 == 0b11 {
            self.value.read_new(ahead, USED + 2);
        } else {
            self.value.read_reused(ahead, USED + 2);
        }
    }
}

impl FloatReader for XorReader {
    const HEADER_BYTES: usize = HEADER_BYTES;
    const SAMPLE_BITS: usize = 2;

    fn new(_: &[u8]) -> Self {
        Self { timestamp: 0, delta: 0, value: ValueReader::new() }
    }

    #[inline(always)]
    fn position(&self) -> usize {
        self.value.position
    }

    fn set_position(&mut self, position: usize) {
        self.value.position = position;
    }

    #[inline(always)]
    fn sample(&self) -> Sample {
        Sample::new(self.timestamp, f64::from_bits(self.value.value_bits))
    }

    #[inline(always)]
    fn read(&mut self, ahead: &Ahead) -> bool {
        let code = self.value.peek(ahead);
        if code >> 63 == 0 {
            self.advance(0);
            self.read_value::<1>(ahead);
        } else if code >> 62 == 0b10 {
            self.advance(delta_of_delta::<2, 14>(code));
            self.read_value::<16>(ahead);
        } else if code >> 61 == 0b110 {
            self.advance(delta_of_delta::<3, 17>(code));
            self.read_value::<20>(ahead);
        } else if code >> 60 == 0b1110 {
            self.advance(delta_of_delta::<4, 20>(code));
            self.read_value::<24>(ahead);
        } else {
            return false;
        }
        true
    }

    fn read_first(&mut self, body: &Padded<'_>) -> Result<(), Error> {
        let mut bits = BitReader::new(body.bytes());
        self.timestamp = from_zig_zag(read_uvarint(&mut bits, HEADER_BYTES)?);
        self.value.value_bits = bits.read_bits(64);
        self.value.position = bits.position();
        Ok(())
    }

    fn read_second(&mut self, body: &Padded<'_>) -> Result<(), Error> {
        let mut bits = BitReader::at(body.bytes(), self.value.position);
        self.advance(read_uvarint(&mut bits, HEADER_BYTES)?);
        self.value.position = bits.position();
        self.read_value::<0>(body.ahead(self.value.position));
        Ok(())
    }

    #[cold]
    fn read_wide(&mut self, body: &Padded<'_>) {
        let mut bits = BitReader::at(body.bytes(), self.value.position + 4);
        self.advance(bits.read_bits(64));
        self.value.position = bits.position();
        self.read_value::<0>(body.ahead(self.value.position));
    }

    fn check(&self) -> Result<(), Error> {
        self.value.check(HEADER_BYTES)
    }
}

/// The number behind a prefix.
#[inline(always)]
const fn delta_of_delta<const PREFIX: u32, const WIDTH: u32>(code: u64) -> u64 {
    // The upper half of the range stands for negative numbers, its lower edge excepted.
    let below_half = (1 << (WIDTH - 1)) - 1;
    let bits = code << PREFIX >> (64 - WIDTH);
    ((bits + below_half) & ((1 << WIDTH) - 1)).wrapping_sub(below_half)
}
