//! Appending to a float chunk with start timestamps whose bytes are kept elsewhere.

use super::Xor2Decoder;
use crate::bits::{BitPacker, ByteSink, Tail};
use crate::cursor::to_zig_zag;
use crate::float_appender::{FloatState, assemble};
use crate::stale::STALE_NAN_BITS;
use crate::start_timestamp::{StartHeader, StartTimestamp};
use crate::varbit::pack_uvarint;
use crate::xor::{Window, WindowCodes, write_changed};
use crate::{Chunk, Encoding, Error, Sample};

/// Bytes of the sample count and of what is known of start timestamps.
pub(super) const HEADER_BYTES: usize = 3;

/// What must be known of an open chunk of encoding 4 to append to it: as
/// [`XorState`](crate::XorState) for encoding 1, in 48 bytes.
///
/// The data of a chunk is [`header`](Self::header), then the bytes that [`append`](Self::append)
/// handed over, then [`last_byte`](Self::last_byte). [`Xor2Appender`](crate::Xor2Appender) keeps
/// them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xor2State {
    timestamp: i64,
    /// Of the last value that is no staleness marker.
    value_bits: u64,
    delta: u64,
    start: StartTimestamp,
    count: u16,
    window: Window,
    tail: Tail,
    starts: StartHeader,
    is_stale: bool,
}

impl Xor2State {
    /// Most samples that one chunk holds.
    pub const MAX_SAMPLES: u16 = u16::MAX;

    /// Bytes of [`Self::header`].
    pub const HEADER_BYTES: usize = HEADER_BYTES;

    /// Most bytes that one call of [`Self::append`] hands over.
    pub const MAX_APPENDED_BYTES: usize = 29;

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
        let decoder = Xor2Decoder::new(data)?;
        let count = decoder.count();
        let reader = decoder.into_last()?;
        let body = &data[HEADER_BYTES..];
        let position = reader.value.position;
        let state = Self {
            timestamp: reader.timestamp,
            value_bits: reader.value.value_bits,
            delta: reader.delta,
            start: reader.start,
            count,
            window: reader.value.window(),
            tail: Tail::of(body, position),
            starts: reader.starts.up_to(count),
            is_stale: reader.is_stale,
        };
        Ok((state, &body[..position / 8]))
    }

    /// Appends one sample, whose bytes go to `out` as far as they are complete.
    ///
    /// `start` and `timestamp` are in milliseconds since the Unix epoch; a start of zero stands for
    /// none, and `timestamp` must exceed the last one. `value` is kept bit for bit, NaN payloads
    /// included. At most [`Self::MAX_APPENDED_BYTES`] bytes are handed over.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] if `timestamp` does not advance, [`Error::ChunkFull`] beyond
    /// [`Self::MAX_SAMPLES`], or if another start can no longer be told from the last one, which
    /// takes a chunk of more than 127 samples by some other writer; nothing is changed or handed
    /// over.
    #[inline]
    pub fn append(
        &mut self,
        start: i64,
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
        self.start.check_room(self.starts, self.count, start)?;
        let delta = timestamp.wrapping_sub(self.timestamp).cast_unsigned();
        let xor = value.to_bits() ^ self.value_bits;
        let is_stale = value.to_bits() == STALE_NAN_BITS;
        let mut packer = BitPacker::new(self.tail);
        if self.count >= 2 {
            let dod = delta.wrapping_sub(self.delta).cast_signed();
            if dod == 0 {
                self.write_regular(&mut packer, out, xor, is_stale);
            } else {
                write_delta_of_delta(&mut packer, out, dod);
                self.write_value(&mut packer, out, xor, is_stale);
            }
            self.delta = delta;
        } else if self.count == 1 {
            pack_uvarint(&mut packer, out, delta);
            packer.flush(out);
            self.write_value(&mut packer, out, xor, is_stale);
            self.delta = delta;
        } else {
            pack_uvarint(&mut packer, out, to_zig_zag(timestamp));
            packer.push_any(value.to_bits(), 64, out);
        }
        let times = [self.timestamp, timestamp];
        self.start.write(&mut self.starts, self.count, times, start, &mut packer, out);
        self.tail = packer.finish(out);
        self.timestamp = timestamp;
        self.is_stale = is_stale;
        if !is_stale {
            self.value_bits = value.to_bits();
        }
        self.count = count;
        Ok(())
    }

    /// Tells whether a sample that has been counting since `start` can be appended if it is newer
    /// than the last one.
    #[inline]
    pub fn has_room_for(&self, start: i64) -> bool {
        self.count < Self::MAX_SAMPLES
            && self.start.check_room(self.starts, self.count, start).is_ok()
    }

    /// Number of samples so far.
    #[inline]
    pub fn sample_count(&self) -> u16 {
        self.count
    }

    /// The last sample.
    #[inline]
    pub fn last(&self) -> Option<Sample> {
        let bits = if self.is_stale { STALE_NAN_BITS } else { self.value_bits };
        (self.count > 0).then(|| Sample::new(self.timestamp, f64::from_bits(bits)))
    }

    /// Start timestamp of the last sample, zero if it has none.
    #[inline]
    pub fn last_start(&self) -> i64 {
        self.start.get()
    }

    /// What the data of the chunk begins with: the number of samples and where start timestamps
    /// are.
    #[inline]
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let [high, low] = self.count.to_be_bytes();
        [high, low, self.starts.to_byte()]
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

    /// A value whose timestamp is as expected.
    ///
    /// ```text
    /// 0                                            the same bits
    /// 100 + bits of the last window                differs only inside of it
    /// 101 + 5 bits leading + 6 bits width + width  a new window
    /// 11111                                        a staleness marker
    /// ```
    #[inline(always)]
    fn write_regular(
        &mut self,
        packer: &mut BitPacker,
        out: &mut impl ByteSink,
        xor: u64,
        is_stale: bool,
    ) {
        if xor == 0 {
            packer.push(0, 1);
        } else if is_stale {
            packer.push(0b11111, 5);
        } else {
            let codes = WindowCodes { reused: (0b100, 3), new: (0b101, 3) };
            write_changed(packer, out, xor, &mut self.window, codes);
        }
    }

    /// A value behind a code of its timestamp.
    ///
    /// ```text
    /// 0                                            the same bits
    /// 10  + bits of the last window                differs only inside of it
    /// 110 + 5 bits leading + 6 bits width + width  a new window
    /// 111                                          a staleness marker
    /// ```
    #[inline(always)]
    fn write_value(
        &mut self,
        packer: &mut BitPacker,
        out: &mut impl ByteSink,
        xor: u64,
        is_stale: bool,
    ) {
        if xor == 0 {
            packer.push(0, 1);
        } else if is_stale {
            packer.push(0b111, 3);
        } else {
            let codes = WindowCodes { reused: (0b10, 2), new: (0b110, 3) };
            write_changed(packer, out, xor, &mut self.window, codes);
        }
    }
}

/// A change of the interval, in two's complement; leaves room for a value.
///
/// ```text
/// 110   + 13 bits    -4096 to 4095
/// 1110  + 20 bits    -524288 to 524287
/// 11110 + 64 bits    the rest
/// ```
#[inline(always)]
fn write_delta_of_delta(packer: &mut BitPacker, out: &mut impl ByteSink, dod: i64) {
    let bits = dod.cast_unsigned();
    match dod {
        -4096..=4095 => packer.push(0b110 << 13 | bits & 0x1fff, 16),
        -524_288..=524_287 => packer.push(0b1110 << 20 | bits & 0xf_ffff, 24),
        _ => {
            packer.push(0b11110, 5);
            packer.push_any(bits, 64, out);
            packer.flush(out);
        }
    }
}

impl FloatState for Xor2State {
    const ENCODING: Encoding = Encoding::Xor2;
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
