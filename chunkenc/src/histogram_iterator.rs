//! Reading the histograms of a chunk.

use crate::Error;
use crate::bits::BitReader;
use crate::histogram::CounterResetHint;
use crate::histogram_chunk::Changing;
use crate::histogram_codec::ChunkHistogram;
use crate::histogram_layout::{HEADER_BITS, Header, Layout};
use crate::stale::is_stale;
use crate::varbit::read_int;

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
}

impl<'a, H: ChunkHistogram> ChunkHistograms<'a, H> {
    /// Starts before the first histogram of the chunk whose data is `data`.
    ///
    /// # Errors
    /// [`Error::Truncated`] or [`Error::SampleCount`] if there cannot be as many samples as the
    /// chunk announces.
    pub fn new(data: &'a [u8]) -> Result<Self, Error> {
        let header = Header::read(data)?;
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
}
