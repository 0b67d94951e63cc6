//! Appending to a float chunk whose bytes are kept elsewhere.

use super::XorDecoder;
use super::reader::XorReader;
use super::value::{Window, write_xor};
use crate::bits::{BitPacker, ByteSink, Tail};
use crate::cursor::to_zig_zag;
use crate::float_appender::{FloatState, assemble};
use crate::varbit::pack_uvarint;
use crate::{Chunk, Encoding, Error, Sample};

/// Bytes of the sample count that a chunk starts with.
pub(super) const HEADER_BYTES: usize = 2;

/// Widths of the delta of deltas, by the number of ones in front of it (one, two or three).
const DOD_BITS: [u32; 3] = [14, 17, 20];

/// What must be known of an open float chunk to append to it: 32 bytes, beside those of the
/// samples, which may lie wherever their owner likes.
///
/// The data of a chunk is [`header`](Self::header), then the bytes that [`append`](Self::append)
/// handed over, then [`last_byte`](Self::last_byte). [`XorAppender`](crate::XorAppender) keeps them
/// together.
///
/// ```
/// use ferula_chunkenc::{XorAppender, XorState};
///
/// let (mut state, mut bytes) = (XorState::new(), Vec::new());
/// let mut appender = XorAppender::new();
/// for (timestamp, value) in [(1_700_000_000_000, 1.0), (1_700_000_015_000, 2.5)] {
///     state.append(timestamp, value, &mut bytes)?;
///     appender.append(timestamp, value)?;
/// }
/// assert_eq!(state.to_chunk([bytes]), appender.to_chunk());
/// # Ok::<(), ferula_chunkenc::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XorState {
    timestamp: i64,
    value_bits: u64,
    delta: u64,
    count: u16,
    window: Window,
    tail: Tail,
}

impl XorState {
    /// Most samples that one chunk holds.
    pub const MAX_SAMPLES: u16 = u16::MAX;

    /// Bytes of [`Self::header`].
    pub const HEADER_BYTES: usize = HEADER_BYTES;

    /// Most bytes that one call of [`Self::append`] hands over.
    pub const MAX_APPENDED_BYTES: usize = 20;

    /// The state of a chunk without samples.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of the chunk whose data is `data`, and what [`Self::append`] handed over so far.
    ///
    /// Samples appended from here on give the bytes that they would have given without the
    /// interruption. Bytes behind the last sample are left out.
    ///
    /// # Errors
    /// If `data` does not decode.
    pub fn resume(data: &[u8]) -> Result<(Self, &[u8]), Error> {
        let decoder = XorDecoder::new(data)?;
        let count = decoder.count();
        let XorReader { timestamp, delta, value, .. } = decoder.into_last()?;
        let body = &data[HEADER_BYTES..];
        let tail = Tail::of(body, value.position);
        let (value_bits, window) = (value.value_bits, value.window());
        let state = Self { timestamp, value_bits, delta, count, window, tail };
        Ok((state, &body[..value.position / 8]))
    }

    /// Appends one sample, whose bytes go to `out` as far as they are complete.
    ///
    /// `timestamp` is in milliseconds since the Unix epoch and must exceed the last one. `value`
    /// is kept bit for bit, NaN payloads included. At most [`Self::MAX_APPENDED_BYTES`] bytes are
    /// handed over, in one or two words as a rule, up to five.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] if `timestamp` does not advance, [`Error::ChunkFull`] beyond
    /// [`Self::MAX_SAMPLES`]; nothing is changed or handed over.
    #[inline]
    pub fn append(
        &mut self,
        timestamp: i64,
        value: f64,
        out: &mut impl ByteSink,
    ) -> Result<(), Error> {
        if timestamp <= self.timestamp && self.count > 0 {
            return Err(Error::OutOfOrder { timestamp, last: self.timestamp });
        }
        let Some(count) = self.count.checked_add(1) else {
            return Err(Error::ChunkFull { limit: Self::MAX_SAMPLES });
        };
        let delta = timestamp.wrapping_sub(self.timestamp).cast_unsigned();
        let value_bits = value.to_bits();
        let xor = value_bits ^ self.value_bits;
        let dod = delta.wrapping_sub(self.delta).cast_signed();
        if self.count < 2 {
            self.append_start(delta, timestamp, xor, out);
        } else if dod == 0 && xor == 0 {
            self.tail.push_zeros(2, out);
        } else {
            let mut packer = BitPacker::new(self.tail);
            write_delta_of_delta(&mut packer, out, dod);
            write_xor(&mut packer, out, xor, &mut self.window);
            self.tail = packer.finish(out);
            self.delta = delta;
        }
        self.timestamp = timestamp;
        self.value_bits = value_bits;
        self.count = count;
        Ok(())
    }

    /// Writes the first or the second sample.
    fn append_start(&mut self, delta: u64, timestamp: i64, xor: u64, out: &mut impl ByteSink) {
        let mut packer = BitPacker::new(self.tail);
        if self.count == 0 {
            pack_uvarint(&mut packer, out, to_zig_zag(timestamp));
            packer.push_any(xor, 64, out);
        } else {
            pack_uvarint(&mut packer, out, delta);
            packer.flush(out);
            write_xor(&mut packer, out, xor, &mut self.window);
            self.delta = delta;
        }
        self.tail = packer.finish(out);
    }

    /// Number of samples so far.
    #[inline]
    pub fn sample_count(&self) -> u16 {
        self.count
    }

    /// The last sample.
    #[inline]
    pub fn last(&self) -> Option<Sample> {
        (self.count > 0).then(|| Sample::new(self.timestamp, f64::from_bits(self.value_bits)))
    }

    /// What the data of the chunk begins with: the number of samples.
    #[inline]
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        self.count.to_be_bytes()
    }

    /// What it ends with: the byte that is not complete yet, if there is any.
    #[inline]
    pub fn last_byte(&self) -> Option<u8> {
        self.tail.byte()
    }

    /// Copies the samples so far to a chunk. `appended` is all that [`Self::append`] handed over, in
    /// as many parts as it lies in.
    pub fn to_chunk<P: AsRef<[u8]>>(&self, appended: impl IntoIterator<Item = P>) -> Chunk {
        assemble(self, appended)
    }
}

impl FloatState for XorState {
    const ENCODING: Encoding = Encoding::Xor;
    const HEADER_BYTES: usize = Self::HEADER_BYTES;

    fn resume(data: &[u8]) -> Result<(Self, &[u8]), Error> {
        Self::resume(data)
    }

    fn sample_count(&self) -> u16 {
        self.sample_count()
    }

    fn last(&self) -> Option<Sample> {
        self.last()
    }

    fn header(&self) -> impl AsRef<[u8]> {
        self.header()
    }

    fn last_byte(&self) -> Option<u8> {
        self.last_byte()
    }
}

/// Leaves at least 13 bits of room.
///
/// ```text
/// 0                  as before
/// 10   + 14 bits     -8191 to 8192
/// 110  + 17 bits     -65535 to 65536
/// 1110 + 20 bits     -524287 to 524288
/// 1111 + 64 bits     the rest
/// ```
#[inline(always)]
fn write_delta_of_delta(packer: &mut BitPacker, out: &mut impl ByteSink, dod: i64) {
    if dod == 0 {
        packer.push(0, 1);
        return;
    }
    for (ones, n) in (1_u32..).zip(DOD_BITS) {
        let half = 1_i64 << (n - 1);
        if (1 - half..=half).contains(&dod) {
            let code = (1_u64 << (ones + 1)) - 2;
            let mask = (1_u64 << n) - 1;
            packer.push(code << n | dod.cast_unsigned() & mask, ones + 1 + n);
            return;
        }
    }
    packer.push(0b1111, 4);
    packer.push_any(dod.cast_unsigned(), 64, out);
    packer.flush(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_takes_32_bytes() {
        assert_eq!(size_of::<XorState>(), 32);
    }

    #[test]
    fn no_sample_hands_over_more_than_announced() {
        let mut state = XorState::new();
        let mut bytes = Vec::new();
        let mut most = 0;
        let mut value_bits = 0x5555_5555_5555_5555;
        for timestamp in [i64::MIN, 0, 1, i64::MAX - 20, i64::MAX - 19, i64::MAX] {
            let before = bytes.len();
            // Every bit changes, and each window is left at once.
            state.append(timestamp, f64::from_bits(value_bits), &mut bytes).unwrap();
            most = most.max(bytes.len() - before);
            value_bits = !value_bits;
        }
        assert!((19..=XorState::MAX_APPENDED_BYTES).contains(&most), "{most}");
    }
}
