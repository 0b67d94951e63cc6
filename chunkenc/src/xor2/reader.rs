//! Reading the samples of a float chunk with start timestamps.

use super::state::HEADER_BYTES;
use crate::bits::{Ahead, BitReader, Padded};
use crate::cursor::from_zig_zag;
use crate::float_decoder::FloatReader;
use crate::stale::STALE_NAN_BITS;
use crate::start_timestamp::{StartHeader, StartTimestamp};
use crate::varbit::read_uvarint;
use crate::xor::ValueReader;
use crate::{Error, Sample};

/// Reads the samples of a chunk of encoding 4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Xor2Reader {
    pub(super) timestamp: i64,
    pub(super) delta: u64,
    /// The last value that is no staleness marker.
    pub(super) value: ValueReader,
    pub(super) is_stale: bool,
    pub(super) starts: StartHeader,
    pub(super) start: StartTimestamp,
}

impl Xor2Reader {
    #[inline(always)]
    fn advance(&mut self, dod: u64) {
        self.delta = self.delta.wrapping_add(dod);
        self.timestamp = self.timestamp.wrapping_add_unsigned(self.delta);
    }

    /// Reads the value behind a code of its timestamp of `USED` bits.
    #[inline(always)]
    fn read_value<const USED: u32>(&mut self, ahead: &Ahead) {
        let code = self.value.peek(ahead) << USED;
        self.is_stale = false;
        if code >> 63 == 0 {
            self.value.advance(USED + 1);
        } else if code >> 62 == 0b10 {
            self.value.read_reused(ahead, USED + 2);
        } else if code >> 61 == 0b110 {
            self.value.read_new(ahead, USED + 3);
        } else {
            self.value.advance(USED + 3);
            self.is_stale = true;
        }
    }
}

impl FloatReader for Xor2Reader {
    const HEADER_BYTES: usize = HEADER_BYTES;
    const SAMPLE_BITS: usize = 1;

    fn new(header: &[u8]) -> Self {
        Self {
            timestamp: 0,
            delta: 0,
            value: ValueReader::new(),
            is_stale: false,
            starts: StartHeader::from_byte(header[HEADER_BYTES - 1]),
            start: StartTimestamp::default(),
        }
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
        let bits = if self.is_stale { STALE_NAN_BITS } else { self.value.value_bits };
        Sample::new(self.timestamp, f64::from_bits(bits))
    }

    #[inline(always)]
    fn read(&mut self, ahead: &Ahead) -> bool {
        let code = self.value.peek(ahead);
        if code >> 63 == 0 {
            self.advance(0);
            self.is_stale = false;
            self.value.advance(1);
        } else if code >> 62 == 0b10 {
            self.advance(0);
            self.is_stale = false;
            if code >> 61 == 0b100 {
                self.value.read_reused(ahead, 3);
            } else {
                self.value.read_new(ahead, 3);
            }
        } else if code >> 61 == 0b110 {
            self.advance(signed::<3, 13>(code));
            self.read_value::<16>(ahead);
        } else if code >> 60 == 0b1110 {
            self.advance(signed::<4, 20>(code));
            self.read_value::<24>(ahead);
        } else if code >> 59 == 0b11111 {
            self.advance(0);
            self.is_stale = true;
            self.value.advance(5);
        } else {
            return false;
        }
        true
    }

    fn read_first(&mut self, body: &Padded<'_>) -> Result<(), Error> {
        let mut bits = BitReader::new(body.bytes());
        self.timestamp = from_zig_zag(read_uvarint(&mut bits, HEADER_BYTES)?);
        let value_bits = bits.read_bits(64);
        self.is_stale = value_bits == STALE_NAN_BITS;
        if !self.is_stale {
            self.value.value_bits = value_bits;
        }
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

    /// Reads a sample whose delta of deltas takes 64 bits.
    #[cold]
    fn read_wide(&mut self, body: &Padded<'_>) {
        let mut bits = BitReader::at(body.bytes(), self.value.position + 5);
        self.advance(bits.read_bits(64));
        self.value.position = bits.position();
        self.read_value::<0>(body.ahead(self.value.position));
    }

    fn check(&self) -> Result<(), Error> {
        self.value.check(HEADER_BYTES)
    }

    fn has_starts(&self) -> bool {
        !self.starts.is_unused()
    }

    fn read_start(
        &mut self,
        bits: &mut BitReader<'_>,
        index: u16,
        previous: i64,
    ) -> Result<(), Error> {
        self.start.read(self.starts, index, [previous, self.timestamp], bits, HEADER_BYTES)
    }

    fn start(&self) -> i64 {
        self.start.get()
    }
}

/// The number behind a prefix, in two's complement.
#[inline(always)]
const fn signed<const PREFIX: u32, const WIDTH: u32>(code: u64) -> u64 {
    ((code << PREFIX).cast_signed() >> (64 - WIDTH)).cast_unsigned()
}
