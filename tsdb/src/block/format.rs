//! The seam between blocks and how they are stored: what a format reads and writes, and which one
//! a block has.
//!
//! A block knows its description, what is deleted of it and whether it is damaged; a format knows
//! files. Which one it is stands in meta.json: blocks of Prometheus have no section `ferula`, all
//! others name their format there. To add a format is to add a variant to [`BlockFormat`] and to
//! implement the two traits.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_index::ferula::ChunkEntry;
use ferula_index::postings::Postings;
use ferula_index::{ChunkMeta, ChunkRef, Labels, Matcher, Pace, SeriesRef};
use ferula_wal::fs::Fs;

use super::ferula::{FerulaReader, FerulaWriter};
use super::meta::{BlockMeta, FerulaSection, META_FILE};
use super::prometheus::{PrometheusReader, PrometheusWriter};
use super::stored::{BlockChunk, ChunkSize, PageSizes, StoredChunk};
use crate::error::Error;

/// Name of ferula's own format in meta.json.
const FERULA: &str = "ferula";

/// Version of ferula's own format that is written and read.
const FERULA_VERSION: u32 = 1;

/// How the series and samples of a block are stored. All formats are read, side by side; compaction
/// writes the one that is set, whatever its sources have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockFormat {
    /// Columns in pages and a compressed index: small, and fast to scan.
    #[default]
    Ferula,
    /// Index version 2 and chunk segments, as Prometheus and Thanos read and write them.
    Prometheus,
}

/// Reads the series of a block. Refs of series ascend with their labels.
pub(crate) trait SeriesReader: fmt::Debug + Send + Sync {
    /// The series that pass all `matchers`, in label order; `None` if `pace` ended on the way.
    fn select_paced(
        &self,
        matchers: &[Matcher],
        pace: &Pace<'_>,
    ) -> Result<Option<Postings>, Error>;

    /// The series that pass all `matchers`, in label order.
    fn select(&self, matchers: &[Matcher]) -> Result<Postings, Error> {
        Ok(self.select_paced(matchers, &Pace::steady())?.unwrap_or_default())
    }

    /// Starts reading series.
    fn cursor(&self) -> Box<dyn SeriesCursor + '_>;

    /// Names of the labels of series that pass all `matchers`, sorted.
    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, Error>;

    /// Values of the label `name` among series that pass all `matchers`, sorted.
    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, Error>;

    /// Reads chunks anew, front to back, without keeping what was read in memory.
    fn stream<'a>(&'a self, fs: &'a dyn Fs) -> Box<dyn ChunkStream + 'a>;

    /// Calls `each` with all label names and values, sorted, each once; there may be others among
    /// them.
    fn for_each_symbol(&self, each: &mut dyn FnMut(&str)) -> Result<(), Error>;

    /// Appends the samples of a chunk from `mint` to `maxt`, both inclusive, to `batch`. If that
    /// fails, the batch holds nothing to rely on.
    fn read(
        &self,
        chunk: &ChunkMeta,
        mint: i64,
        maxt: i64,
        batch: &mut SampleBatch,
    ) -> Result<(), Error>;

    /// Samples of a chunk and the room that it takes in its file. `page` keeps what was read for it, for
    /// the next one.
    fn chunk_size(&self, chunk: ChunkRef, page: &mut PageSizes) -> Result<ChunkSize, Error>;

    /// Adds to an error of the chunk at `chunk` where that is.
    fn chunk_error(&self, chunk: ChunkRef, source: ferula_chunkenc::Error) -> Error;

    /// Reads what reading series and chunks leaves out.
    fn verify(&self) -> Result<(), Error>;
}

/// Reads series by their refs; fast if they ascend.
pub(crate) trait SeriesCursor: fmt::Debug {
    /// Labels of a series; `chunks` is filled with its chunks, in time order.
    fn series(&mut self, series: SeriesRef, chunks: &mut Vec<ChunkMeta>) -> Result<Labels, Error>;

    /// Labels of a series as pairs of numbers, which count the
    /// [symbols](SeriesReader::for_each_symbol) from zero, and its chunks.
    fn numbered_series(
        &mut self,
        series: SeriesRef,
        labels: &mut Vec<(u32, u32)>,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<(), Error>;

    /// Fills `entries` with what the index says of the chunks of a series, in time order; with
    /// nothing if that is no more than times and places.
    fn entries(&mut self, series: SeriesRef, entries: &mut Vec<ChunkEntry>) -> Result<(), Error>;
}

/// Reads the chunks of a block, front to back.
pub(crate) trait ChunkStream: fmt::Debug {
    /// Reads a chunk, whose ref is above those read before; its checksum is verified.
    fn read(&mut self, chunk: ChunkRef) -> Result<StoredChunk, Error>;
}

/// Writes the series of a block, front to back.
pub(crate) trait SeriesWriter: Send {
    /// Labels as pairs of numbers, which count the symbols from zero.
    fn numbers_of(&self, labels: &Labels) -> Result<Vec<(u32, u32)>, Error>;

    /// Adds a series, which must come after the last one in label order, by the numbers of its
    /// labels, and its chunks, which ascend in time. Returns how many chunks they became.
    fn add(&mut self, labels: &[(u32, u32)], chunks: &[BlockChunk]) -> Result<u64, Error>;

    /// Makes everything durable, but for the directory that it is in.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

impl BlockFormat {
    /// Its name, as flags and meta.json have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ferula => FERULA,
            Self::Prometheus => "prometheus",
        }
    }

    /// The format with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Ferula, Self::Prometheus].into_iter().find(|format| format.as_str() == name)
    }

    /// What meta.json says of a block in this format.
    pub(super) fn section(self) -> Option<FerulaSection> {
        match self {
            Self::Ferula => {
                Some(FerulaSection { format: FERULA.to_owned(), version: FERULA_VERSION })
            }
            Self::Prometheus => None,
        }
    }

    /// Tells whether a block of this format takes this chunk. Others are decoded and encoded anew
    /// before they are given to its writer.
    pub(crate) fn stores(self, chunk: &StoredChunk) -> bool {
        match self {
            // Its writer copies columns, takes apart what is encoded, and keeps what it does not know.
            Self::Ferula => true,
            // All that Prometheus and Thanos know.
            Self::Prometheus => matches!(chunk, StoredChunk::Encoded(_)),
        }
    }

    /// The format of the block in `dir`, whose description is `meta`.
    pub(super) fn of(meta: &BlockMeta, dir: &Path) -> Result<Self, Error> {
        match &meta.ferula {
            None => Ok(Self::Prometheus),
            Some(section) if section.format == FERULA && section.version == FERULA_VERSION => {
                Ok(Self::Ferula)
            }
            Some(section) => Err(Error::BlockFormat {
                file: dir.join(META_FILE),
                format: section.format.clone(),
                version: section.version,
            }),
        }
    }

    /// Opens what this format has in the directory `dir`.
    pub(super) fn open(self, fs: &dyn Fs, dir: &Path) -> Result<Arc<dyn SeriesReader>, Error> {
        match self {
            Self::Ferula => Ok(Arc::new(FerulaReader::open(fs, dir)?)),
            Self::Prometheus => Ok(Arc::new(PrometheusReader::open(fs, dir)?)),
        }
    }

    /// Begins the files of this format in the directory `dir`. All label names and values to come
    /// must be among the `symbols`, which are sorted.
    pub(super) fn create<'a>(
        self,
        fs: &'a dyn Fs,
        dir: &Path,
        symbols: &mut dyn Iterator<Item = &str>,
        chunk_segment_bytes: u64,
    ) -> Result<Box<dyn SeriesWriter + 'a>, Error> {
        Ok(match self {
            Self::Ferula => Box::new(FerulaWriter::create(fs, dir, symbols, chunk_segment_bytes)?),
            Self::Prometheus => {
                Box::new(PrometheusWriter::create(fs, dir, symbols, chunk_segment_bytes)?)
            }
        })
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
