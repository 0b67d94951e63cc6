//! Reading the floats of a chunk.
//!
//! Samples are read by a [`FloatReader`], which knows the encoding, out of windows of sixteen
//! bytes. Nothing is checked per sample when a whole chunk is read but that there is such a window:
//! what is wrong with the data is noted on the way, and looked for sample by sample only then.

use crate::bits::{Ahead, BitReader, Padded};
use crate::{Error, Sample, SampleBatch};

/// Reads one sample after the other: where the next one begins and what it is coded against.
pub(crate) trait FloatReader: Clone {
    /// Bytes of the header, of which the first two are the number of samples.
    const HEADER_BYTES: usize;

    /// Bits that the third and every later sample take at least.
    const SAMPLE_BITS: usize;

    /// Starts before the first sample. `header` has [`Self::HEADER_BYTES`] bytes.
    fn new(header: &[u8]) -> Self;

    /// Where the next sample begins, in bits.
    fn position(&self) -> usize;

    fn set_position(&mut self, position: usize);

    /// The sample last read.
    fn sample(&self) -> Sample;

    /// Reads a sample, the third or a later one. Tells whether it did: it does not if that takes
    /// more than a window.
    fn read(&mut self, ahead: &Ahead) -> bool;

    /// Reads the first sample.
    fn read_first(&mut self, body: &Padded<'_>) -> Result<(), Error>;

    /// Reads the second sample.
    fn read_second(&mut self, body: &Padded<'_>) -> Result<(), Error>;

    /// Reads a sample that [`Self::read`] does not.
    fn read_wide(&mut self, body: &Padded<'_>);

    /// Fails if any value that was read cannot be right.
    fn check(&self) -> Result<(), Error>;

    /// Tells whether there is anything behind samples.
    fn has_starts(&self) -> bool {
        false
    }

    /// Reads what is behind the sample at `index`, which came after one at `previous`.
    fn read_start(&mut self, _: &mut BitReader<'_>, _: u16, _: i64) -> Result<(), Error> {
        Ok(())
    }

    /// Start timestamp of the sample last read, zero if it has none.
    fn start(&self) -> i64 {
        0
    }
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// All slots are filled.
    Full,
    /// There is no whole window from the next sample on.
    NearEnd,
    /// The next sample is not read out of a window.
    Wide,
}

/// Decodes the samples of a float chunk.
#[derive(Clone, Debug)]
pub(crate) struct FloatDecoder<'a, R> {
    /// What follows the header.
    body: Padded<'a>,
    count: u16,
    read: u16,
    reader: R,
}

impl<'a, R: FloatReader> FloatDecoder<'a, R> {
    /// Starts before the first sample of the chunk whose data is `data`.
    pub(crate) fn new(data: &'a [u8]) -> Result<Self, Error> {
        let (Some((header, body)), Some(&[high, low])) =
            (data.split_at_checked(R::HEADER_BYTES), data.first_chunk())
        else {
            let available = data.len();
            return Err(Error::Truncated { offset: 0, needed: R::HEADER_BYTES, available });
        };
        let count = u16::from_be_bytes([high, low]);
        let held = most_samples(body.len(), R::SAMPLE_BITS);
        if usize::from(count) > held {
            return Err(Error::SampleCount { size_bytes: data.len(), count, held });
        }
        Ok(Self { body: Padded::new(body), count, read: 0, reader: R::new(header) })
    }

    /// Number of samples that the chunk announces.
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Start timestamp of the sample last read, zero if it has none.
    pub(crate) fn start(&self) -> i64 {
        self.reader.start()
    }

    /// Reads all samples; what the next one would be coded against.
    pub(crate) fn into_last(mut self) -> Result<R, Error> {
        while self.next()?.is_some() {}
        Ok(self.reader)
    }

    /// Reads the next sample.
    pub(crate) fn next(&mut self) -> Result<Option<Sample>, Error> {
        if self.read == self.count {
            return Ok(None);
        }
        let previous = self.reader.sample().timestamp;
        match self.read {
            0 => self.reader.read_first(&self.body)?,
            1 => self.reader.read_second(&self.body)?,
            _ => {
                if !self.reader.read(self.body.ahead(self.reader.position())) {
                    self.reader.read_wide(&self.body);
                }
            }
        }
        self.reader.check()?;
        if self.reader.has_starts() {
            let mut bits = BitReader::at(self.body.bytes(), self.reader.position());
            self.reader.read_start(&mut bits, self.read, previous)?;
            self.reader.set_position(bits.position());
        }
        if self.is_overrun() {
            let offset = R::HEADER_BYTES + self.body.bytes().len();
            let needed = R::HEADER_BYTES + self.reader.position().div_ceil(8) - offset;
            return Err(Error::Truncated { offset, needed, available: 0 });
        }
        self.read += 1;
        Ok(Some(self.reader.sample()))
    }

    /// Reads all samples that are left, to the end of `batch`.
    ///
    /// After an error the batch is as it was.
    pub(crate) fn decode_into(mut self, batch: &mut SampleBatch) -> Result<(), Error> {
        let before = batch.len();
        if !self.reader.has_starts() {
            let start = self.clone();
            let (timestamps, values) =
                batch.extend_zeroed(usize::from(self.count) - usize::from(self.read));
            if self.fill(timestamps, values) {
                return Ok(());
            }
            // Sample by sample it comes out what is wrong, and where.
            batch.truncate(before);
            self = start;
        }
        let result = self.push_all(batch);
        if result.is_err() {
            batch.truncate(before);
        }
        result
    }

    fn push_all(&mut self, batch: &mut SampleBatch) -> Result<(), Error> {
        while let Some(sample) = self.next()? {
            batch.push(sample.timestamp, sample.value);
            if self.start() != 0 {
                batch.set_last_start_timestamp(self.start());
            }
        }
        Ok(())
    }

    /// Reads as many samples as there are slots, of those without anything behind them. Tells
    /// whether nothing is wrong with them.
    fn fill(&mut self, mut timestamps: &mut [i64], mut values: &mut [f64]) -> bool {
        while !timestamps.is_empty() {
            let mut n = if self.read < 2 { 0 } else { self.read_some(timestamps, values) };
            if n == 0 {
                // One that is unlike most, such as the first two.
                let Ok(Some(sample)) = self.next() else { return false };
                (timestamps[0], values[0]) = (sample.timestamp, sample.value);
                n = 1;
            }
            (timestamps, values) = (&mut timestamps[n..], &mut values[n..]);
        }
        self.reader.check().is_ok() && !self.is_overrun()
    }

    /// Reads as many samples as can be read at once, and returns how many.
    #[inline]
    fn read_some(&mut self, timestamps: &mut [i64], values: &mut [f64]) -> usize {
        let (mut n, stopped) = read_all(&mut self.reader, self.body.bytes(), timestamps, values);
        if stopped == Stopped::NearEnd && !self.is_overrun() {
            let (tail, from) = self.body.tail();
            self.reader.set_position(self.reader.position() - from);
            let (timestamps, values) = (&mut timestamps[n..], &mut values[n..]);
            n += read_all(&mut self.reader, tail, timestamps, values).0;
            self.reader.set_position(self.reader.position() + from);
        }
        self.read += u16::try_from(n).expect("no more slots than samples");
        n
    }

    fn is_overrun(&self) -> bool {
        self.body.is_beyond(self.reader.position())
    }
}

/// Reads samples into slots until something stops it. Returns how many.
#[inline]
fn read_all<R: FloatReader>(
    reader: &mut R,
    data: &[u8],
    timestamps: &mut [i64],
    values: &mut [f64],
) -> (usize, Stopped) {
    // A copy of its own is kept in registers.
    let mut local = reader.clone();
    let mut stopped = Stopped::Full;
    let mut n_read = 0;
    for (timestamp, value) in timestamps.iter_mut().zip(values) {
        let rest = data.get(local.position() / 8..);
        let Some(ahead) = rest.and_then(<[u8]>::first_chunk) else {
            stopped = Stopped::NearEnd;
            break;
        };
        if !local.read(ahead) {
            stopped = Stopped::Wide;
            break;
        }
        let sample = local.sample();
        (*timestamp, *value) = (sample.timestamp, sample.value);
        n_read += 1;
    }
    *reader = local;
    (n_read, stopped)
}

/// The most samples that `len` bytes behind the header can hold: at least nine bytes for the
/// first, nine bits for the second, `sample_bits` for each other.
fn most_samples(len: usize, sample_bits: usize) -> usize {
    match (len * 8).checked_sub(72) {
        None => 0,
        Some(bits) => 1 + bits.checked_sub(9).map_or(0, |bits| 1 + bits / sample_bits),
    }
}
