//! Reading float chunks with start timestamps.

use super::state::HEADER_BYTES;
use crate::bits::BitReader;
use crate::cursor::from_zig_zag;
use crate::stale::{STALE_NAN_BITS, is_stale};
use crate::start_timestamp::{StartHeader, StartTimestamp};
use crate::varbit::read_uvarint;
use crate::xor::{Window, read_new, read_reused};
use crate::{Error, Sample, SampleBatch};

/// Decodes the samples of a chunk of encoding 4 one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Xor2Decoder<'a> {
    pub(super) bits: BitReader<'a>,
    size_bytes: usize,
    pub(super) count: u16,
    read: u16,
    pub(super) timestamp: i64,
    /// Of the last value that is no staleness marker.
    pub(super) value_bits: u64,
    pub(super) delta: u64,
    pub(super) window: Window,
    pub(super) starts: StartHeader,
    pub(super) start: StartTimestamp,
    pub(super) is_stale: bool,
}

impl<'a> Xor2Decoder<'a> {
    /// Starts before the first sample of the chunk whose data is `data`.
    pub(crate) fn new(data: &'a [u8]) -> Result<Self, Error> {
        let Some((&[high, low, starts], body)) = data.split_first_chunk::<HEADER_BYTES>() else {
            let available = data.len();
            return Err(Error::Truncated { offset: 0, needed: HEADER_BYTES, available });
        };
        let count = u16::from_be_bytes([high, low]);
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
            starts: StartHeader::from_byte(starts),
            start: StartTimestamp::default(),
            is_stale: false,
        })
    }

    /// Number of samples that the chunk announces.
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Start timestamp of the sample last read, zero if it has none.
    pub(crate) fn start(&self) -> i64 {
        self.start.get()
    }

    /// Reads the next sample.
    pub(crate) fn next(&mut self) -> Result<Option<Sample>, Error> {
        if self.read == self.count {
            return Ok(None);
        }
        let sample = self.read_sample()?;
        self.check_overrun()?;
        Ok(Some(sample))
    }

    /// Reads all samples that are left, to the end of `batch`.
    ///
    /// After an error the batch is as it was.
    pub(crate) fn decode_into(mut self, batch: &mut SampleBatch) -> Result<(), Error> {
        let before = batch.len();
        let left = usize::from(self.count - self.read);
        let (timestamps, values) = batch.extend_zeroed(left);
        let mut starts = Vec::new();
        let fill = || {
            for (timestamp, value) in timestamps.iter_mut().zip(values) {
                let sample = self.read_sample()?;
                (*timestamp, *value) = (sample.timestamp, sample.value);
                if !self.starts.is_unused() {
                    starts.push(self.start.get());
                }
            }
            self.check_overrun()
        };
        match fill() {
            Ok(()) => batch.set_start_timestamps(before, &starts),
            Err(error) => {
                batch.truncate(before);
                return Err(error);
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn read_sample(&mut self) -> Result<Sample, Error> {
        let previous = self.timestamp;
        let index = self.read;
        let value_bits = match index {
            0 => self.read_first()?,
            1 => self.read_second()?,
            _ => self.read_other()?,
        };
        let times = [previous, self.timestamp];
        self.start.read(self.starts, index, times, &mut self.bits, HEADER_BYTES)?;
        self.read += 1;
        Ok(Sample::new(self.timestamp, f64::from_bits(value_bits)))
    }

    fn read_first(&mut self) -> Result<u64, Error> {
        self.timestamp = from_zig_zag(read_uvarint(&mut self.bits, HEADER_BYTES)?);
        let value_bits = self.bits.read_bits(64);
        self.is_stale = is_stale(f64::from_bits(value_bits));
        if !self.is_stale {
            self.value_bits = value_bits;
        }
        Ok(value_bits)
    }

    fn read_second(&mut self) -> Result<u64, Error> {
        self.delta = read_uvarint(&mut self.bits, HEADER_BYTES)?;
        self.timestamp = self.timestamp.wrapping_add_unsigned(self.delta);
        let ahead = self.bits.peek();
        self.read_value(ahead, 0)
    }

    #[inline(always)]
    fn read_other(&mut self) -> Result<u64, Error> {
        let ahead = self.bits.peek();
        // At most 24 + 14 bits of the 57 that were loaded, before those of the value.
        let (width, used) = match ahead.leading_ones() {
            0 => {
                self.advance_by(self.delta);
                self.bits.advance(1);
                self.is_stale = false;
                return Ok(self.value_bits);
            }
            1 => {
                self.advance_by(self.delta);
                self.is_stale = false;
                let (is_new, ahead, used) = (ahead >> 61 & 1 == 1, ahead << 3, 3);
                return self.read_change(is_new, ahead, used);
            }
            2 => (13, 3),
            3 => (20, 4),
            4 => return self.read_wide(),
            _ => {
                self.advance_by(self.delta);
                self.bits.advance(5);
                self.is_stale = true;
                return Ok(STALE_NAN_BITS);
            }
        };
        let dod = (ahead << used).cast_signed() >> (64 - width);
        self.advance_by(self.delta.wrapping_add_signed(dod));
        let used = used + width;
        self.read_value(ahead << used, used)
    }

    /// Reads a sample whose delta of deltas takes all 64 bits.
    #[cold]
    fn read_wide(&mut self) -> Result<u64, Error> {
        self.bits.advance(5);
        let dod = self.bits.read_bits(64);
        self.advance_by(self.delta.wrapping_add(dod));
        let ahead = self.bits.peek();
        self.read_value(ahead, 0)
    }

    fn advance_by(&mut self, delta: u64) {
        self.delta = delta;
        self.timestamp = self.timestamp.wrapping_add_unsigned(delta);
    }

    /// Reads a value behind a code of its timestamp, of which `ahead` holds the next bits; `used`
    /// bits before it were seen but not yet passed.
    #[inline(always)]
    fn read_value(&mut self, ahead: u64, used: u32) -> Result<u64, Error> {
        self.is_stale = false;
        match ahead.leading_ones() {
            0 => {
                self.bits.advance(used + 1);
                Ok(self.value_bits)
            }
            1 => self.read_change(false, ahead << 2, used + 2),
            2 => self.read_change(true, ahead << 3, used + 3),
            _ => {
                self.bits.advance(used + 3);
                self.is_stale = true;
                Ok(STALE_NAN_BITS)
            }
        }
    }

    #[inline(always)]
    fn read_change(&mut self, is_new: bool, ahead: u64, used: u32) -> Result<u64, Error> {
        self.value_bits ^= if is_new {
            read_new(&mut self.bits, &mut self.window, ahead, used, HEADER_BYTES)?
        } else {
            read_reused(&mut self.bits, self.window, ahead, used)
        };
        Ok(self.value_bits)
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
/// first, nine bits for the second, a bit for each other.
fn most_samples(len: usize) -> usize {
    match (len * 8).checked_sub(72) {
        None => 0,
        Some(bits) => 1 + bits.checked_sub(9).map_or(0, |bits| 1 + bits),
    }
}
