//! Reading float chunks.

use super::sample::{SampleReader, Stopped};
use super::state::HEADER_BYTES;
use crate::bits::{BitReader, Padded};
use crate::cursor::from_zig_zag;
use crate::varbit::read_uvarint;
use crate::{Error, Sample, SampleBatch};

/// Decodes the samples of a float chunk.
#[derive(Clone, Debug)]
pub(crate) struct XorDecoder<'a> {
    /// What follows the header.
    body: Padded<'a>,
    count: u16,
    read: usize,
    pub(super) reader: SampleReader,
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
        let body = Padded::new(body);
        Ok(Self { body, count, read: 0, reader: SampleReader::new() })
    }

    /// Number of samples that the chunk announces.
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Reads the next sample.
    pub(crate) fn next(&mut self) -> Result<Option<Sample>, Error> {
        if self.read == usize::from(self.count) {
            return Ok(None);
        }
        match self.read {
            0 => self.read_first()?,
            1 => self.read_second()?,
            _ => {
                if !self.reader.read(self.body.ahead(self.reader.position)) {
                    self.read_wide();
                }
            }
        }
        if self.reader.is_bad {
            return Err(self.reader.window_error(8 * HEADER_BYTES));
        }
        if self.is_overrun() {
            let size_bytes = HEADER_BYTES + self.body.bytes().len();
            let needed = HEADER_BYTES + self.reader.position.div_ceil(8) - size_bytes;
            return Err(Error::Truncated { offset: size_bytes, needed, available: 0 });
        }
        self.read += 1;
        Ok(Some(Sample::new(self.reader.timestamp, f64::from_bits(self.reader.value_bits))))
    }

    /// Reads all samples that are left, to the end of `batch`.
    ///
    /// After an error the batch is as it was.
    pub(crate) fn decode_into(mut self, batch: &mut SampleBatch) -> Result<(), Error> {
        let before = batch.len();
        let mut start = self.clone();
        let (timestamps, values) = batch.extend_zeroed(usize::from(self.count) - self.read);
        if self.fill(timestamps, values) {
            return Ok(());
        }
        // Sample by sample it comes out what is wrong, and where.
        batch.truncate(before);
        let result = start.push_all(batch);
        if result.is_err() {
            batch.truncate(before);
        }
        result
    }

    fn push_all(&mut self, batch: &mut SampleBatch) -> Result<(), Error> {
        while let Some(sample) = self.next()? {
            batch.push(sample.timestamp, sample.value);
        }
        Ok(())
    }

    /// Reads all samples that are left. Tells whether nothing is wrong with them.
    fn fill(&mut self, mut timestamps: &mut [i64], mut values: &mut [f64]) -> bool {
        while !timestamps.is_empty() {
            let n = match self.read_some(timestamps, values) {
                0 => {
                    // One that is unlike most, such as the first two.
                    let Ok(Some(sample)) = self.next() else { return false };
                    (timestamps[0], values[0]) = (sample.timestamp, sample.value);
                    1
                }
                n => {
                    self.read += n;
                    n
                }
            };
            (timestamps, values) = (&mut timestamps[n..], &mut values[n..]);
        }
        !self.reader.is_bad && !self.is_overrun()
    }

    /// Reads as many samples as can be read at once, and returns how many.
    #[inline]
    fn read_some(&mut self, timestamps: &mut [i64], values: &mut [f64]) -> usize {
        if self.read < 2 {
            return 0;
        }
        let (n, stopped) = self.reader.read_all(self.body.bytes(), timestamps, values);
        if stopped != Stopped::NearEnd || self.is_overrun() {
            return n;
        }
        let (tail, from) = self.body.tail();
        self.reader.position -= from;
        let (m, _) = self.reader.read_all(tail, &mut timestamps[n..], &mut values[n..]);
        self.reader.position += from;
        n + m
    }

    fn read_first(&mut self) -> Result<(), Error> {
        let mut bits = BitReader::new(self.body.bytes());
        self.reader.timestamp = from_zig_zag(read_uvarint(&mut bits, HEADER_BYTES)?);
        self.reader.value_bits = bits.read_bits(64);
        self.reader.position = bits.position();
        Ok(())
    }

    fn read_second(&mut self) -> Result<(), Error> {
        let mut bits = BitReader::at(self.body.bytes(), self.reader.position);
        self.reader.delta = read_uvarint(&mut bits, HEADER_BYTES)?;
        self.reader.timestamp = self.reader.timestamp.wrapping_add_unsigned(self.reader.delta);
        self.reader.position = bits.position();
        self.reader.read_value::<0>(self.body.ahead(self.reader.position));
        Ok(())
    }

    /// Reads a sample whose delta of deltas takes all 64 bits.
    #[cold]
    fn read_wide(&mut self) {
        let mut bits = BitReader::at(self.body.bytes(), self.reader.position + 4);
        self.reader.delta = self.reader.delta.wrapping_add(bits.read_bits(64));
        self.reader.timestamp = self.reader.timestamp.wrapping_add_unsigned(self.reader.delta);
        self.reader.position = bits.position();
        self.reader.read_value::<0>(self.body.ahead(self.reader.position));
    }

    fn is_overrun(&self) -> bool {
        self.body.is_beyond(self.reader.position)
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
