//! Reading the floats of a chunk, whatever its encoding.

use crate::xor::XorDecoder;
use crate::xor2::Xor2Decoder;
use crate::{Encoding, Error, Sample, SampleBatch};

/// Reads the floats of one chunk in time order.
///
/// For whole chunks [`ChunkIterator::decode_into`] is several times as fast as sample by sample.
///
/// ```
/// use ferula_chunkenc::{Sample, XorAppender};
///
/// let mut appender = XorAppender::new();
/// for t in [1000, 2000, 3000] {
///     appender.append(t, 0.5)?;
/// }
/// let chunk = appender.into_chunk();
/// let mut samples = chunk.iter()?;
/// assert_eq!(samples.seek(1500)?, Some(Sample::new(2000, 0.5)));
/// assert_eq!(samples.next()?, Some(Sample::new(3000, 0.5)));
/// assert_eq!(samples.next()?, None);
/// # Ok::<(), ferula_chunkenc::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChunkIterator<'a> {
    decoder: Decoder<'a>,
    current: Option<Sample>,
}

#[derive(Clone, Debug)]
enum Decoder<'a> {
    Xor(XorDecoder<'a>),
    Xor2(Xor2Decoder<'a>),
}

impl<'a> ChunkIterator<'a> {
    /// Starts before the first sample of the chunk whose data is `data`.
    ///
    /// # Errors
    /// [`Error::WrongEncoding`] if the chunk does not hold floats, or what is wrong with its
    /// header.
    pub fn new(encoding: Encoding, data: &'a [u8]) -> Result<Self, Error> {
        let decoder = match encoding {
            Encoding::Xor => Decoder::Xor(XorDecoder::new(data)?),
            Encoding::Xor2 => Decoder::Xor2(Xor2Decoder::new(data)?),
            found => return Err(Error::WrongEncoding { wanted: Encoding::Xor, found }),
        };
        Ok(Self { decoder, current: None })
    }

    /// Reads the next sample; none after the last one.
    ///
    /// # Errors
    /// If the data is malformed. What is read after that is unspecified.
    #[expect(clippy::should_implement_trait, reason = "fallible; the trait's Item would hide it")]
    pub fn next(&mut self) -> Result<Option<Sample>, Error> {
        self.current = match &mut self.decoder {
            Decoder::Xor(decoder) => decoder.next()?,
            Decoder::Xor2(decoder) => decoder.next()?,
        };
        Ok(self.current)
    }

    /// Since when the sample last read has been counting, in milliseconds since the Unix epoch;
    /// zero if that is unknown.
    pub fn start_timestamp(&self) -> i64 {
        match &self.decoder {
            Decoder::Xor(_) => 0,
            Decoder::Xor2(decoder) => decoder.start(),
        }
    }

    /// Moves to the first sample at or after `timestamp`, which may be the one last read; never
    /// backwards. Returns none if there is no such sample.
    ///
    /// # Errors
    /// If the data is malformed.
    pub fn seek(&mut self, timestamp: i64) -> Result<Option<Sample>, Error> {
        let mut sample = match self.current {
            Some(current) => Some(current),
            None => self.next()?,
        };
        while sample.is_some_and(|sample| sample.timestamp < timestamp) {
            sample = self.next()?;
        }
        Ok(sample)
    }

    /// Appends the samples that were not read yet to `batch`.
    ///
    /// # Errors
    /// If the data is malformed; the batch is then as it was.
    pub fn decode_into(self, batch: &mut SampleBatch) -> Result<(), Error> {
        match self.decoder {
            Decoder::Xor(decoder) => decoder.decode_into(batch),
            Decoder::Xor2(decoder) => decoder.decode_into(batch),
        }
    }
}
