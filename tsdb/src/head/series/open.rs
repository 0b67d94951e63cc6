//! The chunk of a series that is appended to.

use std::sync::Arc;

use ferula_chunkenc::{ByteSink, Chunk, Encoding, Error, Sample, Xor2State, XorState};

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
    /// Floats with start timestamps, likewise. What is known of them takes more room than a series
    /// has for it.
    Xor2(Box<OpenXor2>),
    /// Native histograms.
    Histograms(Box<OpenHistograms>),
}

/// An open chunk of floats with start timestamps.
#[derive(Debug)]
pub(super) struct OpenXor2 {
    state: Xor2State,
    chain: Chain,
}

impl OpenXor2 {
    /// Appends a float, which must be newer than the last one.
    pub(super) fn append(
        &mut self,
        start: i64,
        sample: Sample,
        cells: &mut Pool<Cell>,
    ) -> Result<(), Error> {
        let Sample { timestamp, value } = sample;
        let sink = &mut ChainSink { cells, chain: &mut self.chain };
        self.state.append(start, timestamp, value, sink)
    }
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
        let chain = chain_of(cells, XorState::HEADER_BYTES, &[]);
        Self::Xor { state: XorState::new(), chain }
    }

    /// Starts a chunk of floats with start timestamps.
    pub(super) fn xor2(cells: &mut Pool<Cell>) -> Self {
        let chain = chain_of(cells, Xor2State::HEADER_BYTES, &[]);
        Self::Xor2(Box::new(OpenXor2 { state: Xor2State::new(), chain }))
    }

    /// Goes on with a chunk that holds samples already.
    pub(super) fn resume(chunk: &Chunk, cells: &mut Pool<Cell>) -> Result<Self, Error> {
        match chunk.encoding {
            Encoding::Xor => {
                let (state, appended) = XorState::resume(&chunk.data)?;
                if state.sample_count() == 0 {
                    return Ok(Self::Empty);
                }
                let chain = chain_of(cells, XorState::HEADER_BYTES, appended);
                Ok(Self::Xor { state, chain })
            }
            Encoding::Xor2 => {
                let (state, appended) = Xor2State::resume(&chunk.data)?;
                if state.sample_count() == 0 {
                    return Ok(Self::Empty);
                }
                let chain = chain_of(cells, Xor2State::HEADER_BYTES, appended);
                Ok(Self::Xor2(Box::new(OpenXor2 { state, chain })))
            }
            Encoding::Histogram
            | Encoding::FloatHistogram
            | Encoding::HistogramSt
            | Encoding::FloatHistogramSt => {
                let open = OpenHistograms::resume(chunk)?;
                Ok(open.map_or(Self::Empty, |open| Self::Histograms(Box::new(open))))
            }
            found => Err(Error::UnknownEncoding { found: found.to_byte() }),
        }
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
            Self::Xor2(open) => open.state.last().map(Newest::Float),
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
            Self::Xor2(open) => open.state.sample_count(),
        }
    }

    /// Tells whether a float that has been counting since `start` goes into the chunk, as far as
    /// start timestamps matter.
    #[inline]
    pub(super) fn takes_start(&self, start: i64) -> bool {
        match self {
            Self::Xor2(open) => open.state.has_room_for(start),
            _ => start == 0,
        }
    }

    /// Copies the samples so far.
    pub(super) fn to_data(&self, cells: &Pool<Cell>) -> Option<ChunkData> {
        match self {
            Self::Empty => None,
            Self::Xor { state, chain } => {
                let data = data_of(cells, chain, &state.header(), state.last_byte());
                Some(ChunkData { encoding: Encoding::Xor, data })
            }
            Self::Xor2(open) => {
                let OpenXor2 { state, chain } = &**open;
                let data = data_of(cells, chain, &state.header(), state.last_byte());
                Some(ChunkData { encoding: Encoding::Xor2, data })
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
            Self::Xor { chain, .. } => cells.release(&chain),
            Self::Xor2(open) => cells.release(&open.chain),
        }
    }

    /// Moves the bytes to another pool.
    pub(super) fn move_to(&mut self, from: &Pool<Cell>, to: &mut Pool<Cell>) {
        match self {
            Self::Empty | Self::Histograms(_) => {}
            Self::Xor { chain, .. } => *chain = from.move_to(to, chain),
            Self::Xor2(open) => open.chain = from.move_to(to, &open.chain),
        }
    }

    /// Bytes of memory outside of the cells.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Empty | Self::Xor { .. } => 0,
            Self::Xor2(_) => size_of::<OpenXor2>(),
            Self::Histograms(open) => open.size_bytes(),
        }
    }
}

/// Puts room for a header and then what was appended to a chunk into cells.
fn chain_of(cells: &mut Pool<Cell>, header_bytes: usize, appended: &[u8]) -> Chain {
    let mut chain = Chain::EMPTY;
    let mut sink = ChainSink { cells, chain: &mut chain };
    sink.put([0; 8], header_bytes);
    for bytes in appended.chunks(8) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        sink.put(word, bytes.len());
    }
    chain
}

/// The data of a chunk, all but the ends of which lie in cells.
fn data_of(cells: &Pool<Cell>, chain: &Chain, header: &[u8], last_byte: Option<u8>) -> Arc<[u8]> {
    let mut data = Vec::with_capacity(chain.len() + 1);
    cells.copy_to(chain, &mut data);
    data[..header.len()].copy_from_slice(header);
    data.extend(last_byte);
    Arc::from(data)
}
