//! Reading the histograms of a chunk.

use std::sync::Arc;

use crate::bits::BitReader;
use crate::histogram::CounterResetHint;
use crate::histogram_chunk::Changing;
use crate::histogram_codec::ChunkHistogram;
use crate::histogram_layout::{HEADER_BITS, Header, Layout};
use crate::stale::is_stale;
use crate::start_timestamp::{StartHeader, StartTimestamp};
use crate::varbit::read_int;
use crate::{Encoding, Error, SampleBatch};

/// Reads the histograms of one chunk in time order: a [`HistogramIterator`] or a
/// [`FloatHistogramIterator`].
///
/// [`HistogramIterator`]: crate::HistogramIterator
/// [`FloatHistogramIterator`]: crate::FloatHistogramIterator
#[derive(Clone, Debug)]
pub struct ChunkHistograms<'a, H: ChunkHistogram> {
    bits: BitReader<'a>,
    size_bytes: usize,
    header: Header,
    read: u16,
    pub(crate) layout: Layout,
    pub(crate) timestamp: Changing,
    pub(crate) state: H::State,
    pub(crate) start: StartTimestamp,
}

impl<'a, H: ChunkHistogram> ChunkHistograms<'a, H> {
    /// Starts before the first histogram of the chunk whose data is `data`.
    ///
    /// # Errors
    /// [`Error::WrongEncoding`] if chunks of that encoding do not hold such histograms,
    /// [`Error::Truncated`] or [`Error::SampleCount`] if there cannot be as many samples as the
    /// chunk announces.
    pub fn new(encoding: Encoding, data: &'a [u8]) -> Result<Self, Error> {
        let header = Header::read(data, has_starts::<H>(encoding)?)?;
        let mut bits = BitReader::new(data);
        bits.advance(HEADER_BITS);
        // Threshold, schema, two lists of spans, the time; later samples take a bit for each of
        // four numbers.
        let first = 8 + 1 + 2 + 1 + H::FIRST_BITS.1;
        let held = bits.bits_left().checked_sub(first).map_or(0, |left| 1 + left / 4);
        if usize::from(header.count) > held {
            let (size_bytes, count) = (data.len(), header.count);
            return Err(Error::SampleCount { size_bytes, count, held });
        }
        Ok(Self {
            bits,
            size_bytes: data.len(),
            header,
            read: 0,
            layout: Layout::default(),
            timestamp: Changing::default(),
            state: H::State::default(),
            start: StartTimestamp::default(),
        })
    }

    /// Number of histograms that the chunk announces.
    pub fn count(&self) -> u16 {
        self.header.count
    }

    /// What the chunk knows of a counter reset between the chunk before and its first histogram.
    pub fn counter_reset(&self) -> CounterResetHint {
        self.header.counter_reset
    }

    /// Since when the histogram last read has been counting, in milliseconds since the Unix epoch;
    /// zero if that is unknown.
    pub fn start_timestamp(&self) -> i64 {
        self.start.get()
    }

    /// What the header says of start timestamps, if the encoding has them.
    pub(crate) fn starts(&self) -> Option<StartHeader> {
        self.header.starts
    }

    /// Number of bits read so far, from the start of the chunk.
    pub(crate) fn position(&self) -> usize {
        self.bits.position()
    }

    /// Reads the next histogram and returns its timestamp; none after the last one.
    ///
    /// # Errors
    /// If the data is malformed. What is read after that is unspecified.
    #[expect(clippy::should_implement_trait, reason = "fallible; the trait's Item would hide it")]
    pub fn next(&mut self) -> Result<Option<i64>, Error> {
        if self.read == self.header.count {
            return Ok(None);
        }
        let previous = self.timestamp.value();
        if self.read == 0 {
            self.layout = Layout::read(&mut self.bits)?;
            let bucket_bits = H::FIRST_BITS.0;
            let n = self.layout.bucket_counts(&self.bits, bucket_bits, self.size_bytes)?;
            self.timestamp = Changing::first(read_int(&mut self.bits));
            self.state = H::read_first(&mut self.bits, n);
        } else {
            self.timestamp.read(&mut self.bits);
            H::read_next(&mut self.bits, &mut self.state)?;
        }
        if let Some(starts) = self.header.starts {
            let times = [previous, self.timestamp.value()];
            self.start.read(starts, self.read, times, &mut self.bits, 0)?;
        }
        self.bits.check_overrun()?;
        self.read += 1;
        Ok(Some(self.timestamp.value()))
    }

    /// Moves to the first histogram at or after `timestamp`, which may be the one last read; never
    /// backwards. Returns its timestamp, or none if there is no such histogram.
    ///
    /// # Errors
    /// If the data is malformed.
    pub fn seek(&mut self, timestamp: i64) -> Result<Option<i64>, Error> {
        let mut found = match self.read {
            0 => self.next()?,
            _ => Some(self.timestamp.value()),
        };
        while found.is_some_and(|found| found < timestamp) {
            found = self.next()?;
        }
        Ok(found)
    }

    /// The histogram last read; an empty one before the first.
    ///
    /// The hint is that of a gauge in chunks of gauges; in others it says that there was no reset,
    /// but for the first histogram, of which nothing is known. Resolutions that are only reserved
    /// are reduced to the finest valid one.
    ///
    /// # Errors
    /// If the spans do not allow for the reduction.
    pub fn histogram(&self) -> Result<H, Error> {
        let mut histogram = H::default();
        self.copy_to(&mut histogram)?;
        Ok(histogram)
    }

    /// Makes `histogram` the one last read, reusing its memory. See [`Self::histogram`].
    ///
    /// # Errors
    /// If the spans do not allow for the reduction.
    pub fn copy_to(&self, histogram: &mut H) -> Result<(), Error> {
        let sum = H::last_sum(&self.state);
        if is_stale(sum) {
            *histogram = H::marker(sum);
            return Ok(());
        }
        let hint = match self.header.counter_reset {
            CounterResetHint::Gauge => CounterResetHint::Gauge,
            _ if self.read > 1 => CounterResetHint::NotReset,
            _ => CounterResetHint::Unknown,
        };
        histogram.fill(&self.layout, &self.state, hint);
        histogram.reduce_reserved_resolution()
    }

    /// Appends the histograms that were not read yet to `batch`, with float counts, and staleness
    /// markers as floats.
    ///
    /// # Errors
    /// If the data is malformed; the batch is then as it was.
    pub fn decode_into(mut self, batch: &mut SampleBatch) -> Result<(), Error> {
        let before = batch.len();
        let result = self.push_all(batch);
        if result.is_err() {
            batch.truncate(before);
        }
        result
    }

    fn push_all(&mut self, batch: &mut SampleBatch) -> Result<(), Error> {
        let mut is_layout_read = false;
        while let Some(timestamp) = self.next()? {
            if !is_layout_read {
                self.layout.drop_empty_spans(self.bits.position())?;
                is_layout_read = true;
            }
            let sum = H::last_sum(&self.state);
            if is_stale(sum) {
                batch.push(timestamp, sum);
            } else {
                batch.push_histogram(timestamp, Arc::new(self.histogram()?.into_float()));
            }
            if self.start.get() != 0 {
                batch.set_last_start_timestamp(self.start.get());
            }
        }
        Ok(())
    }
}

/// Tells whether chunks of an encoding of `H` have start timestamps.
pub(crate) fn has_starts<H: ChunkHistogram>(encoding: Encoding) -> Result<bool, Error> {
    match H::ENCODINGS {
        [plain, _] if encoding == plain => Ok(false),
        [_, with_starts] if encoding == with_starts => Ok(true),
        [wanted, _] => Err(Error::WrongEncoding { wanted, found: encoding }),
    }
}
