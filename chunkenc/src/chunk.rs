//! A finished chunk: bytes and how to read them.

use std::fmt;

use bytes::Bytes;

use crate::xor::XorDecoder;
use crate::xor2::Xor2Decoder;
use crate::{
    AggrChunk, Aggregate, ChunkIterator, Error, FloatHistogramIterator, HistogramIterator,
    SampleBatch,
};

/// How the samples of a chunk are encoded. The number is the byte that stands for it on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Encoding {
    /// Floats: delta-of-delta timestamps, XORed values.
    Xor = 1,
    /// Integer histograms: differences of differences of all counts.
    Histogram = 2,
    /// Float histograms: all counts XORed.
    FloatHistogram = 3,
    /// Floats with start timestamps.
    Xor2 = 4,
    /// Integer histograms with start timestamps.
    HistogramSt = 5,
    /// Float histograms with start timestamps.
    FloatHistogramSt = 6,
    /// Chunks of downsampled data: see [`AggrChunk`](crate::AggrChunk).
    Aggr = 255,
}

impl Encoding {
    /// The encoding whose byte is `byte`.
    ///
    /// # Errors
    /// [`Error::UnknownEncoding`] if there is none.
    pub const fn from_byte(byte: u8) -> Result<Self, Error> {
        match byte {
            1 => Ok(Self::Xor),
            2 => Ok(Self::Histogram),
            3 => Ok(Self::FloatHistogram),
            4 => Ok(Self::Xor2),
            5 => Ok(Self::HistogramSt),
            6 => Ok(Self::FloatHistogramSt),
            255 => Ok(Self::Aggr),
            found => Err(Error::UnknownEncoding { found }),
        }
    }

    /// The byte that stands for this encoding on disk.
    pub const fn to_byte(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xor => f.write_str("XOR"),
            Self::Histogram => f.write_str("histogram"),
            Self::FloatHistogram => f.write_str("floathistogram"),
            Self::Xor2 => f.write_str("XOR2"),
            Self::HistogramSt => f.write_str("histogramST"),
            Self::FloatHistogramSt => f.write_str("floathistogramST"),
            Self::Aggr => f.write_str("aggregates"),
        }
    }
}

/// An encoded run of samples of one series, in time order.
///
/// Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// How `data` is encoded.
    pub encoding: Encoding,
    /// The samples, without length, encoding byte or checksum.
    pub data: Bytes,
}

impl Chunk {
    /// Number of samples that the chunk announces; of a downsampled one, that its counts do.
    ///
    /// # Errors
    /// [`Error::Truncated`] or [`Error::SampleCount`] if there cannot be as many.
    pub fn sample_count(&self) -> Result<u16, Error> {
        match self.encoding {
            Encoding::Xor => XorDecoder::new(&self.data).map(|decoder| decoder.count()),
            Encoding::Xor2 => Xor2Decoder::new(&self.data).map(|decoder| decoder.count()),
            Encoding::Histogram | Encoding::HistogramSt => {
                self.histograms().map(|histograms| histograms.count())
            }
            Encoding::FloatHistogram | Encoding::FloatHistogramSt => {
                self.float_histograms().map(|histograms| histograms.count())
            }
            Encoding::Aggr => {
                let parts = AggrChunk::from_chunk(self)?;
                parts.get(Aggregate::Count).map_or(Ok(0), Self::sample_count)
            }
        }
    }

    /// Times of the first and the last sample; of a downsampled chunk, of all its parts. None if
    /// there are no samples.
    ///
    /// There is no way around the samples to the last one, but no histogram is made and nothing is
    /// stored.
    ///
    /// # Errors
    /// What is wrong with the data.
    pub fn time_range(&self) -> Result<Option<(i64, i64)>, Error> {
        match self.encoding {
            Encoding::Xor | Encoding::Xor2 => {
                let mut samples = self.iter()?;
                times(|| Ok(samples.next()?.map(|sample| sample.timestamp)))
            }
            Encoding::Histogram | Encoding::HistogramSt => {
                let mut histograms = self.histograms()?;
                times(|| histograms.next())
            }
            Encoding::FloatHistogram | Encoding::FloatHistogramSt => {
                let mut histograms = self.float_histograms()?;
                times(|| histograms.next())
            }
            Encoding::Aggr => {
                let parts = AggrChunk::from_chunk(self)?;
                let mut range = None;
                for part in Aggregate::ALL.into_iter().filter_map(|part| parts.get(part)) {
                    if let Some((first, last)) = part.time_range()? {
                        let (start, end) = range.unwrap_or((first, last));
                        range = Some((first.min(start), last.max(end)));
                    }
                }
                Ok(range)
            }
        }
    }

    /// Starts before the first float.
    ///
    /// # Errors
    /// [`Error::WrongEncoding`] if the chunk does not hold floats, or what is wrong with its
    /// header.
    pub fn iter(&self) -> Result<ChunkIterator<'_>, Error> {
        ChunkIterator::new(self.encoding, &self.data)
    }

    /// Starts before the first integer histogram.
    ///
    /// # Errors
    /// [`Error::WrongEncoding`] if the chunk does not hold integer histograms, or what is wrong
    /// with its header.
    pub fn histograms(&self) -> Result<HistogramIterator<'_>, Error> {
        HistogramIterator::new(self.encoding, &self.data)
    }

    /// Starts before the first float histogram.
    ///
    /// # Errors
    /// [`Error::WrongEncoding`] if the chunk does not hold float histograms, or what is wrong with
    /// its header.
    pub fn float_histograms(&self) -> Result<FloatHistogramIterator<'_>, Error> {
        FloatHistogramIterator::new(self.encoding, &self.data)
    }

    /// Appends all samples to `batch`: floats, or histograms with float counts.
    ///
    /// # Errors
    /// What is wrong with the data; the batch is then as it was. [`Error::WrongEncoding`] for a
    /// downsampled chunk, whose parts are to be decoded.
    pub fn decode_into(&self, batch: &mut SampleBatch) -> Result<(), Error> {
        match self.encoding {
            Encoding::Xor | Encoding::Xor2 => self.iter()?.decode_into(batch),
            Encoding::Histogram | Encoding::HistogramSt => self.histograms()?.decode_into(batch),
            Encoding::FloatHistogram | Encoding::FloatHistogramSt => {
                self.float_histograms()?.decode_into(batch)
            }
            found @ Encoding::Aggr => Err(Error::WrongEncoding { wanted: Encoding::Xor, found }),
        }
    }
}

/// The first and the last of the times that `next` gives.
fn times(
    mut next: impl FnMut() -> Result<Option<i64>, Error>,
) -> Result<Option<(i64, i64)>, Error> {
    let Some(first) = next()? else { return Ok(None) };
    let mut last = first;
    while let Some(timestamp) = next()? {
        last = timestamp;
    }
    Ok(Some((first, last)))
}
