//! Float chunks: delta-of-delta timestamps and XORed values, encoding 1 of Prometheus.
//!
//! The coding is Gorilla's (Pelkonen et al. 2015, section 4.1) with the changes of Prometheus:
//! timestamps are milliseconds, so the classes of the delta of deltas are wider; the first
//! timestamp is a varint, the first delta a uvarint, the first value raw. The layout is described
//! in `docs/formats/chunks.md`. [`XorAppender`] writes what Prometheus's appender writes, bit for
//! bit; decoding is one loop over a bit position without a check or a call per sample.

use bytes::Bytes;

use crate::bits::{BitReader, BitWriter};
use crate::cursor::{MAX_VARINT_BYTES, from_zig_zag, to_zig_zag};
use crate::{Chunk, Encoding, Error, Sample, SampleBatch};

/// Bytes of the sample count that a chunk starts with.
const HEADER_BYTES: usize = 2;

/// Leading zeros are written in five bits.
const MAX_LEADING: u32 = 31;

/// Widths of the delta of deltas, by the number of ones in front of it (one, two or three).
const DOD_BITS: [u32; 3] = [14, 17, 20];

/// The bits in which the last changed value differed: what a later value may reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    leading: u8,
    trailing: u8,
}

impl Window {
    /// Number of bits between the zeros.
    const fn significant(self) -> u32 {
        64 - self.leading as u32 - self.trailing as u32
    }
}

/// Appends samples to an open float chunk.
///
/// ```
/// use ferula_chunkenc::{Sample, SampleBatch, XorAppender};
///
/// let mut appender = XorAppender::new();
/// appender.append(1_700_000_000_000, 1.0)?;
/// appender.append(1_700_000_015_000, 2.5)?;
///
/// let mut batch = SampleBatch::new();
/// appender.to_chunk().decode_into(&mut batch)?;
/// assert_eq!(batch.values(), [1.0, 2.5]);
/// assert_eq!(appender.last(), Some(Sample::new(1_700_000_015_000, 2.5)));
/// # Ok::<(), ferula_chunkenc::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct XorAppender {
    bits: BitWriter,
    timestamp: i64,
    value_bits: u64,
    delta: u64,
    window: Option<Window>,
    count: u16,
}

impl XorAppender {
    /// Most samples that one chunk holds.
    pub const MAX_SAMPLES: u16 = u16::MAX;

    /// Starts an empty chunk.
    pub fn new() -> Self {
        let bits = BitWriter::resume(vec![0; HEADER_BYTES], HEADER_BYTES * 8);
        Self { bits, timestamp: 0, value_bits: 0, delta: 0, window: None, count: 0 }
    }

    /// Continues the chunk whose bytes are `data`.
    ///
    /// Samples appended from here on give the bytes that an appender which was never interrupted
    /// would have given. Bytes behind the last sample are dropped.
    ///
    /// # Errors
    /// If `data` does not decode.
    pub fn resume(data: Vec<u8>) -> Result<Self, Error> {
        let mut decoder = XorDecoder::new(&data)?;
        while decoder.next()?.is_some() {}
        let XorDecoder { bits, timestamp, value_bits, delta, window, count, .. } = decoder;
        let len_bits = HEADER_BYTES * 8 + bits.position();
        Ok(Self {
            timestamp,
            value_bits,
            delta,
            window,
            count,
            bits: BitWriter::resume(data, len_bits),
        })
    }

    /// Appends one sample.
    ///
    /// `timestamp` is in milliseconds since the Unix epoch and must exceed the last one. `value`
    /// is kept bit for bit, NaN payloads included.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] if `timestamp` does not advance, [`Error::ChunkFull`] beyond
    /// [`Self::MAX_SAMPLES`]; the chunk is unchanged.
    #[inline]
    pub fn append(&mut self, timestamp: i64, value: f64) -> Result<(), Error> {
        if self.count > 0 && timestamp <= self.timestamp {
            return Err(Error::OutOfOrder { timestamp, last: self.timestamp });
        }
        let Some(count) = self.count.checked_add(1) else {
            return Err(Error::ChunkFull { limit: Self::MAX_SAMPLES });
        };
        let delta = timestamp.wrapping_sub(self.timestamp).cast_unsigned();
        match self.count {
            0 => self.write_first(timestamp, value),
            1 => {
                self.write_uvarint(delta);
                self.write_value(value.to_bits());
            }
            _ => {
                self.write_delta_of_delta(delta.wrapping_sub(self.delta).cast_signed());
                self.write_value(value.to_bits());
            }
        }
        self.delta = if self.count == 0 { 0 } else { delta };
        self.timestamp = timestamp;
        self.value_bits = value.to_bits();
        self.count = count;
        self.bits.as_bytes_mut()[..HEADER_BYTES].copy_from_slice(&count.to_be_bytes());
        Ok(())
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

    /// The chunk's data as it stands: complete and readable at any time.
    pub fn as_bytes(&self) -> &[u8] {
        self.bits.as_bytes()
    }

    /// Bytes that the buffer occupies on the heap.
    pub fn capacity_bytes(&self) -> usize {
        self.bits.capacity()
    }

    /// Copies the samples so far to a chunk.
    pub fn to_chunk(&self) -> Chunk {
        Chunk { encoding: Encoding::Xor, data: Bytes::copy_from_slice(self.as_bytes()) }
    }

    /// Ends the chunk.
    pub fn into_chunk(self) -> Chunk {
        let data = self.bits.into_bytes().into_boxed_slice();
        Chunk { encoding: Encoding::Xor, data: Bytes::from(data) }
    }

    fn write_first(&mut self, timestamp: i64, value: f64) {
        self.write_uvarint(to_zig_zag(timestamp));
        self.bits.write_bits(value.to_bits(), 64);
    }

    fn write_uvarint(&mut self, value: u64) {
        let mut rest = value;
        while rest >= 0x80 {
            self.bits.write_bits(rest & 0x7f | 0x80, 8);
            rest >>= 7;
        }
        self.bits.write_bits(rest, 8);
    }

    /// ```text
    /// 0                  as before
    /// 10   + 14 bits     -8191 to 8192
    /// 110  + 17 bits     -65535 to 65536
    /// 1110 + 20 bits     -524287 to 524288
    /// 1111 + 64 bits     the rest
    /// ```
    #[inline]
    fn write_delta_of_delta(&mut self, dod: i64) {
        if dod == 0 {
            self.bits.write_bits(0, 1);
            return;
        }
        for (ones, n) in (1_u32..).zip(DOD_BITS) {
            let half = 1_i64 << (n - 1);
            if (1 - half..=half).contains(&dod) {
                let code = (1_u64 << (ones + 1)) - 2;
                let mask = (1_u64 << n) - 1;
                self.bits.write_bits(code << n | dod.cast_unsigned() & mask, ones + 1 + n);
                return;
            }
        }
        self.bits.write_bits(0b1111, 4);
        self.bits.write_bits(dod.cast_unsigned(), 64);
    }

    #[inline]
    fn write_value(&mut self, value_bits: u64) {
        write_xor(&mut self.bits, value_bits ^ self.value_bits, &mut self.window);
    }
}

impl Default for XorAppender {
    fn default() -> Self {
        Self::new()
    }
}

/// Decodes the samples of a float chunk one after the other.
#[derive(Clone, Debug)]
pub(crate) struct XorDecoder<'a> {
    bits: BitReader<'a>,
    size_bytes: usize,
    count: u16,
    read: u16,
    timestamp: i64,
    value_bits: u64,
    delta: u64,
    window: Option<Window>,
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
            window: None,
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
        self.timestamp = from_zig_zag(self.read_uvarint()?);
        self.value_bits = self.bits.read_bits(64);
        Ok(())
    }

    fn read_second(&mut self) -> Result<(), Error> {
        self.delta = self.read_uvarint()?;
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
        self.value_bits ^= read_xor(bits, window, ahead, used, HEADER_BYTES * 8)?;
        Ok(())
    }

    fn read_uvarint(&mut self) -> Result<u64, Error> {
        let start = self.bits.position();
        let mut value = 0;
        for i in 0..MAX_VARINT_BYTES {
            let byte = self.bits.read_bits(8);
            if i == MAX_VARINT_BYTES - 1 && byte > 1 {
                break;
            }
            value |= (byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::VarintOverflow { offset: HEADER_BYTES + start / 8 })
    }

    fn check_overrun(&self) -> Result<(), Error> {
        if self.bits.is_overrun() {
            let needed = HEADER_BYTES + self.bits.position().div_ceil(8) - self.size_bytes;
            return Err(Error::Truncated { offset: self.size_bytes, needed, available: 0 });
        }
        Ok(())
    }
}

/// Writes in which bits a value differs from the one before it.
///
/// ```text
/// 0                                            the same bits
/// 10 + bits of the last window                 differs only inside of it
/// 11 + 5 bits leading + 6 bits width + width   a new window; width 64 is written as 0
/// ```
#[inline]
fn write_xor(bits: &mut BitWriter, xor: u64, last_window: &mut Option<Window>) {
    if xor == 0 {
        bits.write_bits(0, 1);
        return;
    }
    let leading = xor.leading_zeros().min(MAX_LEADING);
    let trailing = xor.trailing_zeros();
    if let Some(window) = *last_window
        && leading >= u32::from(window.leading)
        && trailing >= u32::from(window.trailing)
    {
        let n = window.significant();
        let significant = xor >> window.trailing;
        if n <= 62 {
            bits.write_bits(0b10 << n | significant, n + 2);
        } else {
            bits.write_bits(0b10, 2);
            bits.write_bits(significant, n);
        }
        return;
    }
    let n = 64 - leading - trailing;
    let width = u64::from(n % 64);
    bits.write_bits(0b11 << 11 | u64::from(leading) << 6 | width, 13);
    bits.write_bits(xor >> trailing, n);
    let [leading, trailing] = [leading, trailing].map(|n| u8::try_from(n).expect("below 64"));
    *last_window = Some(Window { leading, trailing });
}

/// Reads in which bits a value differs, of which `ahead` holds the next bits; `used` bits before
/// it were seen but not yet passed. The reader begins at bit `base` of the chunk.
#[inline(always)]
fn read_xor(
    bits: &mut BitReader<'_>,
    last_window: &mut Option<Window>,
    ahead: u64,
    used: u32,
    base: usize,
) -> Result<u64, Error> {
    if ahead >> 63 == 0 {
        bits.advance(used + 1);
        return Ok(0);
    }
    let window = if ahead >> 62 == 0b10 {
        // Without an earlier window all 64 bits follow, as in Prometheus.
        let window = last_window.unwrap_or(Window { leading: 0, trailing: 0 });
        let n = window.significant();
        if used + 2 + n <= BitReader::PEEK_BITS {
            bits.advance(used + 2 + n);
            return Ok(ahead << 2 >> (64 - n) << window.trailing);
        }
        bits.advance(used + 2);
        window
    } else {
        let leading = low_byte(ahead >> 57 & 0x1f);
        let width = low_byte(ahead >> 51 & 0x3f);
        let significant = if width == 0 { 64 } else { width };
        bits.advance(used + 13);
        let Some(trailing) = 64_u8.checked_sub(leading + significant) else {
            return Err(Error::ValueWindow { bit: base + bits.position(), leading, significant });
        };
        let window = Window { leading, trailing };
        *last_window = Some(window);
        window
    };
    Ok(bits.read_bits(window.significant()) << window.trailing)
}

/// A float that is coded by how it differs from the one before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct XorValue {
    bits: u64,
    window: Option<Window>,
}

impl XorValue {
    /// The first value of a run, which is written in full.
    pub(crate) fn first(value: f64) -> Self {
        Self { bits: value.to_bits(), window: None }
    }

    /// The last value written or read.
    pub(crate) fn get(self) -> f64 {
        f64::from_bits(self.bits)
    }

    /// Writes the next value.
    pub(crate) fn write(&mut self, bits: &mut BitWriter, value: f64) {
        write_xor(bits, value.to_bits() ^ self.bits, &mut self.window);
        self.bits = value.to_bits();
    }

    /// Reads the next value with a reader that begins where the chunk does.
    pub(crate) fn read(&mut self, bits: &mut BitReader<'_>) -> Result<f64, Error> {
        let ahead = bits.peek();
        self.bits ^= read_xor(bits, &mut self.window, ahead, 0, 0)?;
        Ok(self.get())
    }
}

#[inline]
const fn low_byte(bits: u64) -> u8 {
    bits.to_le_bytes()[0]
}

/// The most samples that `len` bytes behind the header can hold: at least nine bytes for the
/// first, nine bits for the second, two bits for each other.
fn most_samples(len: usize) -> usize {
    match (len * 8).checked_sub(72) {
        None => 0,
        Some(bits) => 1 + bits.checked_sub(9).map_or(0, |bits| 1 + bits / 2),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(samples: &[Sample]) -> XorAppender {
        let mut appender = XorAppender::new();
        for sample in samples {
            appender.append(sample.timestamp, sample.value).unwrap();
        }
        appender
    }

    #[test]
    fn the_next_sample_of_a_full_chunk_is_refused() {
        let mut appender = XorAppender::new();
        for t in 0..65_535 {
            appender.append(t, 1.0).unwrap();
        }
        let full = appender.as_bytes().to_vec();
        assert_eq!(appender.append(65_535, 1.0), Err(Error::ChunkFull { limit: 65_535 }));
        assert_eq!(appender.as_bytes(), full);
    }

    #[test]
    fn timestamps_must_advance() {
        let mut appender = encode(&[Sample::new(5, 1.0)]);
        let before = appender.as_bytes().to_vec();
        for timestamp in [5, 4, i64::MIN] {
            let refused = Err(Error::OutOfOrder { timestamp, last: 5 });
            assert_eq!(appender.append(timestamp, 2.0), refused);
        }
        assert_eq!(appender.as_bytes(), before);
    }

    #[test]
    fn a_count_beyond_the_data_is_refused() {
        let mut data = encode(&[Sample::new(5, 1.0), Sample::new(6, 1.0)]).as_bytes().to_vec();
        data[1] = 200;
        let refused = Error::SampleCount { size_bytes: data.len(), count: 200, held: 5 };
        assert_eq!(XorDecoder::new(&data).unwrap_err(), refused);
    }

    #[test]
    fn a_window_outside_of_the_value_is_refused() {
        let mut data = encode(&[Sample::new(5, 1.0)]).as_bytes().to_vec();
        data[1] = 2;
        // Delta 1, then a new window of 31 leading zeros and 63 significant bits.
        data.extend_from_slice(&[1, 0b1111_1111, 0b1111_1000, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut batch = SampleBatch::new();
        batch.push(1, 1.0);
        let refused = XorDecoder::new(&data).unwrap().decode_into(&mut batch);
        let expected = Error::ValueWindow { bit: 109, leading: 31, significant: 63 };
        assert_eq!(refused, Err(expected));
        assert_eq!(batch.len(), 1);
    }

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let delta = prop_oneof![
            8 => Just(15_000_i64),
            2 => 1..20_000_i64,
            1 => 1..2_000_000_i64,
            1 => 1..i64::MAX / 512,
        ];
        let value = prop_oneof![
            4 => (0..1000_i32).prop_map(f64::from),
            2 => any::<u64>().prop_map(f64::from_bits),
            1 => Just(crate::stale::STALE_NAN),
            1 => Just(0.1),
        ];
        prop::collection::vec((delta, value), 0..300).prop_map(|steps| {
            let mut timestamp = -1_000_000;
            let mut samples = Vec::new();
            for (delta, value) in steps {
                timestamp += delta;
                samples.push(Sample::new(timestamp, value));
            }
            samples
        })
    }

    proptest! {
        #[test]
        fn samples_survive(samples in samples()) {
            let appender = encode(&samples);
            let mut batch = SampleBatch::new();
            XorDecoder::new(appender.as_bytes())?.decode_into(&mut batch)?;
            prop_assert_eq!(batch.iter().collect::<Vec<_>>(), samples);
        }

        #[test]
        fn a_resumed_appender_writes_the_same_bytes(samples in samples(), at: prop::sample::Index) {
            let at = at.index(samples.len() + 1);
            let mut resumed = XorAppender::resume(encode(&samples[..at]).as_bytes().to_vec())?;
            prop_assert_eq!(resumed.last(), samples[..at].last().copied());
            for sample in &samples[at..] {
                resumed.append(sample.timestamp, sample.value)?;
            }
            let whole = encode(&samples);
            prop_assert_eq!(resumed.as_bytes(), whole.as_bytes());
        }

        #[test]
        fn any_bytes_decode_or_fail_alike(data: Vec<u8>) {
            let mut one_by_one = Vec::new();
            let stepped = XorDecoder::new(&data).and_then(|mut decoder| {
                while let Some(sample) = decoder.next()? {
                    one_by_one.push(sample);
                }
                Ok(())
            });
            let mut batch = SampleBatch::new();
            let at_once = XorDecoder::new(&data).and_then(|d| d.decode_into(&mut batch));
            prop_assert_eq!(stepped.is_ok(), at_once.is_ok());
            if at_once.is_ok() {
                prop_assert_eq!(batch.iter().collect::<Vec<_>>(), one_by_one);
            }
        }
    }
}
