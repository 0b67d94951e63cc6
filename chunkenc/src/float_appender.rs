//! Appending floats to an open chunk that owns its bytes.

use bytes::Bytes;

use crate::bits::ByteBuffer;
use crate::{Chunk, Encoding, Error, Sample, Xor2State, XorState};

/// What float chunks are coded against: [`XorState`] and [`Xor2State`].
#[expect(private_bounds, reason = "the bound is what keeps others from implementing it")]
pub trait OpenFloats: FloatState {}

impl OpenFloats for XorState {}
impl OpenFloats for Xor2State {}

/// The state of an open chunk of one encoding; each has methods of the same names.
pub(crate) trait FloatState: Clone + Default {
    const ENCODING: Encoding;
    const HEADER_BYTES: usize;

    fn resume(data: &[u8]) -> Result<(Self, &[u8]), Error>;

    fn sample_count(&self) -> u16;

    fn last(&self) -> Option<Sample>;

    /// What the data begins with, [`Self::HEADER_BYTES`] bytes.
    fn header(&self) -> impl AsRef<[u8]>;

    fn last_byte(&self) -> Option<u8>;
}

/// Puts together the data of a chunk whose samples were handed over in parts.
pub(crate) fn assemble<S: FloatState, P: AsRef<[u8]>>(
    state: &S,
    appended: impl IntoIterator<Item = P>,
) -> Chunk {
    let mut data = state.header().as_ref().to_vec();
    for part in appended {
        data.extend_from_slice(part.as_ref());
    }
    data.extend(state.last_byte());
    Chunk { encoding: S::ENCODING, data: Bytes::from(data.into_boxed_slice()) }
}

/// Appends samples to an open float chunk: an [`XorAppender`] or an [`Xor2Appender`].
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
///
/// [`XorAppender`]: crate::XorAppender
/// [`Xor2Appender`]: crate::Xor2Appender
#[derive(Clone, Debug)]
pub struct FloatAppender<S: OpenFloats> {
    state: S,
    /// Header and samples; the incomplete byte of the state behind them.
    bytes: ByteBuffer,
}

impl<S: OpenFloats> FloatAppender<S> {
    /// Most samples that one chunk holds.
    pub const MAX_SAMPLES: u16 = u16::MAX;

    /// Starts an empty chunk.
    pub fn new() -> Self {
        let state = S::default();
        let bytes = ByteBuffer::new(state.header().as_ref());
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
        let (state, appended) = S::resume(&data)?;
        let len = S::HEADER_BYTES + appended.len();
        let bytes = ByteBuffer::resume(data, len, state.last_byte());
        Ok(Self { state, bytes })
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
        Chunk { encoding: S::ENCODING, data: Bytes::copy_from_slice(self.as_bytes()) }
    }

    /// Ends the chunk.
    pub fn into_chunk(self) -> Chunk {
        let data = self.bytes.into_vec(self.state.last_byte().is_some()).into_boxed_slice();
        Chunk { encoding: S::ENCODING, data: Bytes::from(data) }
    }

    /// Lets the state append and writes its header over the one before.
    #[inline(always)]
    pub(crate) fn append_with(
        &mut self,
        append: impl FnOnce(&mut S, &mut ByteBuffer) -> Result<(), Error>,
    ) -> Result<(), Error> {
        append(&mut self.state, &mut self.bytes)?;
        let header = self.state.header();
        self.bytes.as_mut_slice()[..S::HEADER_BYTES].copy_from_slice(header.as_ref());
        Ok(())
    }
}

impl<S: OpenFloats> Default for FloatAppender<S> {
    fn default() -> Self {
        Self::new()
    }
}
