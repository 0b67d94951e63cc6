//! Chunks on their way out of a block or into one: encoded, or taken apart into columns.

use ferula_chunkenc::histogram::{FloatHistogram, Histogram};
use ferula_chunkenc::{Chunk, Encoding, Error, SampleBatch};

use super::ferula::PagedChunk;
use super::segments::Place;

/// A chunk as the head encodes it, with the times of its first and its last sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncodedChunk {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) chunk: Chunk,
}

/// A chunk on its way into a block, with the times of its first and its last sample.
#[derive(Clone, Debug)]
pub(crate) struct BlockChunk {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) chunk: StoredChunk,
}

impl From<EncodedChunk> for BlockChunk {
    fn from(EncodedChunk { mint, maxt, chunk }: EncodedChunk) -> Self {
        Self { mint, maxt, chunk: StoredChunk::Encoded(chunk) }
    }
}

/// A chunk as a block gives it.
#[derive(Clone, Debug)]
pub(crate) enum StoredChunk {
    /// As it is encoded.
    Encoded(Chunk),
    /// Decoded, from a format in which a chunk does not stand alone.
    Columns(Columns),
    /// The same, of floats, not decoded yet.
    Paged(PagedChunk),
}

/// Samples of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    /// In order.
    pub(crate) times: Vec<i64>,
    /// As many as there are times.
    pub(crate) values: ColumnValues,
    /// As many, if any sample has a start timestamp.
    pub(crate) starts: Option<Vec<i64>>,
}

/// Samples without their times.
#[derive(Clone, Debug)]
pub(crate) enum ColumnValues {
    Floats(Vec<f64>),
    Histograms(Vec<Histogram>),
    FloatHistograms(Vec<FloatHistogram>),
}

/// What a chunk holds and takes in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkSize {
    pub(crate) n_samples: u64,
    pub(crate) bytes: u64,
}

/// The chunks of the page that was looked at last, where a block has pages.
#[derive(Debug, Default)]
pub(crate) struct PageSizes {
    /// Where the page is.
    pub(super) place: Option<Place>,
    /// Its length in the file.
    pub(super) bytes: u64,
    /// Samples of each of its chunks.
    pub(super) samples: Vec<u16>,
}

impl PageSizes {
    /// Of a chunk of the page the samples and its share of the bytes: a page is compressed as a
    /// whole, so that is by samples.
    pub(super) fn of(&self, chunk: usize) -> Option<ChunkSize> {
        let n_samples = u64::from(*self.samples.get(chunk)?);
        let all: u64 = self.samples.iter().map(|n| u64::from(*n)).sum();
        Some(ChunkSize { n_samples, bytes: self.bytes * n_samples / all.max(1) })
    }
}

impl StoredChunk {
    /// Number of samples.
    pub(crate) fn sample_count(&self) -> Result<u64, Error> {
        match self {
            Self::Encoded(chunk) => chunk.sample_count().map(u64::from),
            Self::Columns(columns) => Ok(columns.times.len() as u64),
            Self::Paged(paged) => Ok(paged.n_samples() as u64),
        }
    }

    /// Tells whether the samples are histograms.
    pub(crate) fn has_histograms(&self) -> bool {
        match self {
            Self::Encoded(chunk) => matches!(
                chunk.encoding,
                Encoding::Histogram
                    | Encoding::FloatHistogram
                    | Encoding::HistogramSt
                    | Encoding::FloatHistogramSt
            ),
            Self::Columns(columns) => !matches!(columns.values, ColumnValues::Floats(_)),
            Self::Paged(_) => false,
        }
    }

    /// Bytes in memory, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        let columns = match self {
            Self::Encoded(chunk) => return chunk.data.len(),
            Self::Columns(columns) => columns,
            // Its page is shared with its neighbours.
            Self::Paged(paged) => return size_of_val(paged) + paged.size_bytes(),
        };
        let n = columns.times.len() * if columns.starts.is_some() { 2 } else { 1 };
        let values = match &columns.values {
            ColumnValues::Floats(values) => values.len() * size_of::<f64>(),
            // Mostly these have some tens of buckets.
            ColumnValues::Histograms(values) => values.len() * 1024,
            ColumnValues::FloatHistograms(values) => values.len() * 1024,
        };
        n * size_of::<i64>() + values
    }

    /// Bytes in a block, about.
    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Self::Encoded(chunk) => chunk.data.len() as u64,
            // Mostly they are one or two bytes each in the block.
            Self::Columns(columns) => 2 * columns.times.len() as u64,
            Self::Paged(paged) => paged.size_bytes() as u64,
        }
    }

    /// Calls `check` with the times of all samples; `batch` lends its memory. Those of downsampled
    /// data are not looked at.
    pub(crate) fn with_times<T>(
        &self,
        batch: &mut SampleBatch,
        check: impl FnOnce(Option<&[i64]>) -> T,
    ) -> Result<T, Error> {
        match self {
            Self::Encoded(chunk) if chunk.encoding == Encoding::Aggr => Ok(check(None)),
            Self::Encoded(chunk) => {
                batch.clear();
                chunk.decode_into(batch)?;
                Ok(check(Some(batch.timestamps())))
            }
            Self::Columns(columns) => Ok(check(Some(&columns.times))),
            Self::Paged(paged) => Ok(check(Some(&paged.times()?))),
        }
    }
}
