//! The chunk of a series that is appended to.

use std::sync::Arc;

use ferula_chunkenc::{Chunk, Encoding, Error, Sample, XorState};

use super::full::ChunkData;
use super::histogram::OpenHistograms;
use super::pool::{Cell, Chain, ChainSink, Pool};

/// The chunk that is appended to, if there is one. Its bytes lie in the cells of the page.
#[derive(Debug, Default)]
pub(super) enum Open {
    /// Nothing: the series has no samples.
    #[default]
    Empty,
    /// Floats. The chain begins with room for the header.
    Xor { state: XorState, chain: Chain },
    /// Native histograms.
    Histograms(Box<OpenHistograms>),
}

/// The newest sample of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Newest {
    Float(Sample),
    Histogram { timestamp: i64, is_integer: bool },
}

impl Newest {
    /// Its time.
    #[inline]
    pub(crate) fn timestamp(self) -> i64 {
        match self {
            Self::Float(sample) => sample.timestamp,
            Self::Histogram { timestamp, .. } => timestamp,
        }
    }
}

impl Open {
    /// Starts a chunk of floats.
    pub(super) fn xor(cells: &mut Pool<Cell>) -> Self {
        use ferula_chunkenc::ByteSink;

        let mut chain = Chain::EMPTY;
        ChainSink { cells, chain: &mut chain }.put([0; 8], XorState::HEADER_BYTES);
        Self::Xor { state: XorState::new(), chain }
    }

    /// Goes on with a chunk that holds samples already.
    pub(super) fn resume(chunk: &Chunk, cells: &mut Pool<Cell>) -> Result<Self, Error> {
        use ferula_chunkenc::ByteSink;

        match chunk.encoding {
            Encoding::Xor => {}
            Encoding::Histogram | Encoding::FloatHistogram => {
                let open = OpenHistograms::resume(chunk)?;
                return Ok(open.map_or(Self::Empty, |open| Self::Histograms(Box::new(open))));
            }
            found => return Err(Error::UnknownEncoding { found: found.to_byte() }),
        }
        let (state, appended) = XorState::resume(&chunk.data)?;
        if state.sample_count() == 0 {
            return Ok(Self::Empty);
        }
        let mut chain = Chain::EMPTY;
        let mut sink = ChainSink { cells, chain: &mut chain };
        sink.put([0; 8], XorState::HEADER_BYTES);
        for bytes in appended.chunks(8) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            sink.put(word, bytes.len());
        }
        Ok(Self::Xor { state, chain })
    }

    /// Tells whether there is no chunk.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// The last sample.
    #[inline]
    pub(super) fn last(&self) -> Option<Newest> {
        match self {
            Self::Empty => None,
            Self::Xor { state, .. } => state.last().map(Newest::Float),
            Self::Histograms(open) => Some(Newest::Histogram {
                timestamp: open.last_timestamp(),
                is_integer: open.last().is_integer(),
            }),
        }
    }

    /// Time of the last sample.
    #[inline]
    pub(super) fn last_timestamp(&self) -> Option<i64> {
        self.last().map(Newest::timestamp)
    }

    /// Number of floats.
    #[inline]
    pub(super) fn float_count(&self) -> u16 {
        match self {
            Self::Empty | Self::Histograms(_) => 0,
            Self::Xor { state, .. } => state.sample_count(),
        }
    }

    /// Reads a byte of what the next sample is written to.
    #[inline]
    pub(super) fn touch(&self, cells: &Pool<Cell>) -> u8 {
        match self {
            Self::Empty | Self::Histograms(_) => 0,
            Self::Xor { chain, .. } => cells.touch(*chain),
        }
    }

    /// Copies the samples so far.
    pub(super) fn to_data(&self, cells: &Pool<Cell>) -> Option<ChunkData> {
        match self {
            Self::Empty => None,
            Self::Xor { state, chain } => {
                let mut data = Vec::with_capacity(chain.len() + 1);
                cells.copy_to(*chain, &mut data);
                data[..XorState::HEADER_BYTES].copy_from_slice(&state.header());
                data.extend(state.last_byte());
                Some(ChunkData { encoding: Encoding::Xor, data: Arc::from(data) })
            }
            Self::Histograms(open) => {
                Some(ChunkData { encoding: open.encoding(), data: Arc::from(open.as_bytes()) })
            }
        }
    }

    /// Drops the chunk and gives its memory back.
    pub(super) fn clear(&mut self, cells: &mut Pool<Cell>) {
        match std::mem::take(self) {
            Self::Empty | Self::Histograms(_) => {}
            Self::Xor { chain, .. } => cells.release(chain),
        }
    }

    /// Moves the bytes to another pool.
    pub(super) fn move_to(&mut self, from: &Pool<Cell>, to: &mut Pool<Cell>) {
        match self {
            Self::Empty | Self::Histograms(_) => {}
            Self::Xor { chain, .. } => *chain = from.move_to(to, *chain),
        }
    }

    /// Bytes of memory outside of the cells.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Empty | Self::Xor { .. } => 0,
            Self::Histograms(open) => open.size_bytes(),
        }
    }
}
