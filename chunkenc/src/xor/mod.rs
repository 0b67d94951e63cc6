//! Float chunks: delta-of-delta timestamps and XORed values, encoding 1 of Prometheus.
//!
//! The coding is Gorilla's (Pelkonen et al. 2015, section 4.1) with the changes of Prometheus:
//! timestamps are milliseconds, so the classes of the delta of deltas are wider; the first
//! timestamp is a varint, the first delta a uvarint, the first value raw. The layout is described
//! in `docs/formats/chunks.md`. [`XorAppender`] writes what Prometheus's appender writes, bit for
//! bit; [`XorState`] does without owning the bytes.

mod decoder;
mod state;
#[cfg(test)]
mod tests;
mod value;

use bytes::Bytes;

use crate::bits::ByteBuffer;
use crate::{Chunk, Encoding, Error, Sample};

pub(crate) use decoder::XorDecoder;
pub use state::XorState;
pub(crate) use value::XorValue;

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
    state: XorState,
    /// Header and samples; the incomplete byte of the state behind them.
    bytes: ByteBuffer,
}

impl XorAppender {
    /// Most samples that one chunk holds.
    pub const MAX_SAMPLES: u16 = XorState::MAX_SAMPLES;

    /// Starts an empty chunk.
    pub fn new() -> Self {
        let state = XorState::new();
        let bytes = ByteBuffer::new(&state.header());
        Self { state, bytes }
    }

    /// Continues the chunk whose bytes are `data`.
    ///
    /// Samples appended from here on give the bytes that an appender which was never interrupted
    /// would have given. Bytes behind the last sample are dropped.
    ///
    /// # Errors
    /// If `data` does not decode.
    pub fn resume(data: Vec<u8>) -> Result<Self, Error> {
        let (state, appended) = XorState::resume(&data)?;
        let len = XorState::HEADER_BYTES + appended.len();
        let bytes = ByteBuffer::resume(data, len, state.last_byte());
        Ok(Self { state, bytes })
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
        self.state.append(timestamp, value, &mut self.bytes)?;
        self.bytes.as_mut_slice()[..XorState::HEADER_BYTES].copy_from_slice(&self.state.header());
        Ok(())
    }

    /// Number of samples so far.
    #[inline]
    pub fn sample_count(&self) -> u16 {
        self.state.sample_count()
    }

    /// The last sample.
    #[inline]
    pub fn last(&self) -> Option<Sample> {
        self.state.last()
    }

    /// The chunk's data as it stands: complete and readable at any time.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice(self.state.last_byte().is_some())
    }

    /// Bytes that the buffer occupies on the heap.
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Copies the samples so far to a chunk.
    pub fn to_chunk(&self) -> Chunk {
        Chunk { encoding: Encoding::Xor, data: Bytes::copy_from_slice(self.as_bytes()) }
    }

    /// Ends the chunk.
    pub fn into_chunk(self) -> Chunk {
        let data = self.bytes.into_vec(self.state.last_byte().is_some()).into_boxed_slice();
        Chunk { encoding: Encoding::Xor, data: Bytes::from(data) }
    }
}

impl Default for XorAppender {
    fn default() -> Self {
        Self::new()
    }
}
