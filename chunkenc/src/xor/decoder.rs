//! Reading float chunks: one loop over a bit position without a check or a call per sample.

use super::state::{DOD_BITS, HEADER_BYTES};
use super::value::{Window, read_xor};
use crate::bits::BitReader;
use crate::cursor::from_zig_zag;
use crate::varbit::read_uvarint;
use crate::{Error, Sample, SampleBatch};

/// Decodes the samples of a float chunk one after the other.
#[derive(Clone, Debug)]
pub(crate) struct XorDecoder<'a> {
    pub(super) bits: BitReader<'a>,
    size_bytes: usize,
    pub(super) count: u16,
    read: u16,
    pub(super) timestamp: i64,
    pub(super) value_bits: u64,
    pub(super) delta: u64,
    pub(super) window: Window,
}

impl<'a> XorDecoder<'a> {
    /// Starts before the first sample of the chunk whose data is `data`.
    pub(crate) fn new(data: &'a [u8]) -> Result<Self, Error> {
        let Some((header, body)) = data.split_first_chunk::<HEADER_BYTES>() else {
            let available = data.len();
            return Err(Error::Truncated { offset: 0, needed: HEADER_BYTES, available });
        };
        let count = u16::from_be_bytes(*header);
        let held = most_samples(body.len());
        if usize::from(count) > held {
            return Err(Error::SampleCount { size_bytes: data.len(), count, held });
        }
        Ok(Self {
            bits: BitReader::new(body),
            size_bytes: data.len(),
            count,
            read: 0,
            timestamp: 0,
            value_bits: 0,
            delta: 0,
            window: Window::NONE,
        })
    }

    /// Number of samples that the chunk announces.
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Reads the next sample.
    pub(crate) fn next(&mut self) -> Result<Option<Sample>, Error> {
        if self.read == self.count {
            return Ok(None);
        }
        match self.read {
            0 => self.read_first()?,
            1 => self.read_second()?,
            _ => self.read_other()?,
        }
        self.check_overrun()?;
        self.read += 1;
        Ok(Some(Sample::new(self.timestamp, f64::from_bits(self.value_bits))))
    }

    /// Reads all samples that are left, to the end of `batch`.
    ///
    /// After an error the batch is as it was.
    pub(crate) fn decode_into(mut self, batch: &mut SampleBatch) -> Result<(), Error> {
        let before = batch.len();
        let left = usize::from(self.count - self.read);
        let (timestamps, values) = batch.extend_zeroed(left);
        let result = self.fill(timestamps, values);
        if result.is_err() {
            batch.truncate(before);
        }
        result
    }

    fn fill(&mut self, timestamps: &mut [i64], values: &mut [f64]) -> Result<(), Error> {
        let mut slots = timestamps.iter_mut().zip(values);
        // The first two samples have codes of their own.
        while self.read < 2
            && let Some((timestamp, value)) = slots.next()
            && let Some(sample) = self.next()?
        {
            (*timestamp, *value) = (sample.timestamp, sample.value);
        }
        for (timestamp, value) in slots {
            self.read_other()?;
            (*timestamp, *value) = (self.timestamp, f64::from_bits(self.value_bits));
        }
        self.read = self.count;
        self.check_overrun()
    }

    fn read_first(&mut self) -> Result<(), Error> {
        self.timestamp = from_zig_zag(read_uvarint(&mut self.bits, HEADER_BYTES)?);
        self.value_bits = self.bits.read_bits(64);
        Ok(())
    }

    fn read_second(&mut self) -> Result<(), Error> {
        self.delta = read_uvarint(&mut self.bits, HEADER_BYTES)?;
        self.timestamp = self.timestamp.wrapping_add_unsigned(self.delta);
        let ahead = self.bits.peek();
        self.read_value(ahead, 0)
    }

    #[inline(always)]
    fn read_other(&mut self) -> Result<(), Error> {
        let ahead = self.bits.peek();
        // The code of the timestamp and what tells the kind of the value: at most 24 + 13 bits of
        // the 57 that were loaded.
        let used = if ahead >> 63 == 0 {
            1
        } else {
            let ones = ahead.leading_ones();
            let n = match ones {
                1..=3 => DOD_BITS[ones as usize - 1],
                _ => return self.read_wide(),
            };
            let code = ahead << (ones + 1) >> (64 - n);
            // The upper half of the range stands for negative numbers, its lower edge excepted.
            let dod = if code > 1 << (n - 1) { code.wrapping_sub(1 << n) } else { code };
            self.delta = self.delta.wrapping_add(dod);
            ones + 1 + n
        };
        self.timestamp = self.timestamp.wrapping_add_unsigned(self.delta);
        self.read_value(ahead << used, used)
    }

    /// Reads a sample whose delta of deltas takes all 64 bits.
    #[cold]
    fn read_wide(&mut self) -> Result<(), Error> {
        self.bits.advance(4);
        self.delta = self.delta.wrapping_add(self.bits.read_bits(64));
        self.timestamp = self.timestamp.wrapping_add_unsigned(self.delta);
        let ahead = self.bits.peek();
        self.read_value(ahead, 0)
    }

    /// Reads a value, of which `ahead` holds the next bits; `used` bits before it were seen but
    /// not yet passed.
    #[inline(always)]
    fn read_value(&mut self, ahead: u64, used: u32) -> Result<(), Error> {
        let (bits, window) = (&mut self.bits, &mut self.window);
        self.value_bits ^= read_xor(bits, window, ahead, used, HEADER_BYTES)?;
        Ok(())
    }

    fn check_overrun(&self) -> Result<(), Error> {
        if self.bits.is_overrun() {
            let needed = HEADER_BYTES + self.bits.position().div_ceil(8) - self.size_bytes;
            return Err(Error::Truncated { offset: self.size_bytes, needed, available: 0 });
        }
        Ok(())
    }
}

/// The most samples that `len` bytes behind the header can hold: at least nine bytes for the
/// first, nine bits for the second, two bits for each other.
fn most_samples(len: usize) -> usize {
    match (len * 8).checked_sub(72) {
        None => 0,
        Some(bits) => 1 + bits.checked_sub(9).map_or(0, |bits| 1 + bits / 2),
    }
}
