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

use ferula_chunkenc::{Chunk, Encoding};
use ferula_index::postings::Postings;
use ferula_index::{ChunkMeta, ChunkRef, Labels, Matcher, SeriesRef};
use ferula_wal::fs::Fs;

use super::meta::{BlockMeta, FerulaSection, META_FILE};
use super::prometheus::{PrometheusReader, PrometheusWriter};
use super::verify::Depth;
use crate::error::Error;

/// How the series and samples of a block are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockFormat {
    /// Index version 2 and chunk segments, as Prometheus and Thanos read and write them.
    Prometheus,
}

/// Reads the series of a block. Refs of series ascend with their labels.
pub(crate) trait SeriesReader: fmt::Debug + Send + Sync {
    /// The series that pass all `matchers`, in label order.
    fn select(&self, matchers: &[Matcher]) -> Result<Postings, Error>;

    /// Labels of a series; `chunks` is filled with its chunks, in time order.
    fn series(&self, series: SeriesRef, chunks: &mut Vec<ChunkMeta>) -> Result<Labels, Error>;

    /// Names of the labels of series that pass all `matchers`, sorted.
    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, Error>;

    /// Values of the label `name` among series that pass all `matchers`, sorted.
    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, Error>;

    /// Labels of a series as pairs of numbers, which count the [`symbols`](Self::symbols) from
    /// zero, and its chunks.
    fn numbered_series(
        &self,
        series: SeriesRef,
        labels: &mut Vec<(u32, u32)>,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<(), Error>;

    /// Reads chunks anew, front to back, without keeping what was read in memory.
    fn stream<'a>(&'a self, fs: &'a dyn Fs) -> Box<dyn ChunkStream + 'a>;

    /// All label names and values, sorted, each once; there may be others among them.
    fn symbols(&self) -> Box<dyn Iterator<Item = Result<&str, Error>> + '_>;

    /// Reads a chunk; its checksum is verified, its content is not.
    fn chunk(&self, chunk: ChunkRef) -> Result<Chunk, Error>;

    /// Adds to an error of the chunk at `chunk` where that is.
    fn chunk_error(&self, chunk: ChunkRef, source: ferula_chunkenc::Error) -> Error;
}

/// Reads the chunks of a block, front to back.
pub(crate) trait ChunkStream: fmt::Debug {
    /// Reads a chunk, whose ref is above those read before; its checksum is verified, its content
    /// is not.
    fn read(&mut self, chunk: ChunkRef) -> Result<Chunk, Error>;
}

/// Writes the series of a block, front to back.
pub(crate) trait SeriesWriter: Send {
    /// Adds a series, which must come after the last one in label order, and its chunks, which
    /// ascend in time. Returns how many chunks they became.
    fn add(&mut self, labels: &Labels, chunks: &[EncodedChunk]) -> Result<u64, Error>;

    /// The same, with labels as pairs of numbers, which count the symbols from zero.
    fn add_numbered(
        &mut self,
        labels: &[(u32, u32)],
        chunks: &[EncodedChunk],
    ) -> Result<u64, Error>;

    /// Makes everything durable, but for the directory that it is in.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// A chunk on its way into a block, with the times of its first and its last sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncodedChunk {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) chunk: Chunk,
}

impl BlockFormat {
    /// What meta.json says of a block in this format.
    pub(super) fn section(self) -> Option<FerulaSection> {
        match self {
            Self::Prometheus => None,
        }
    }

    /// Tells whether a block of this format takes chunks of this encoding. Others are decoded and
    /// encoded anew before they are given to its writer.
    pub(crate) fn stores(self, _encoding: Encoding) -> bool {
        match self {
            // All that Prometheus and Thanos know.
            Self::Prometheus => true,
        }
    }

    /// How much of a block is verified whose chunks were given to its writer as they are in other
    /// blocks, or decoded again right after they were made.
    pub(crate) fn depth_after_merge(self) -> Depth {
        match self {
            // Its writer leaves them as they are.
            Self::Prometheus => Depth::Chunks,
        }
    }

    /// The format of the block in `dir`, whose description is `meta`.
    pub(super) fn of(meta: &BlockMeta, dir: &Path) -> Result<Self, Error> {
        match &meta.ferula {
            None => Ok(Self::Prometheus),
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
        match self {
            Self::Prometheus => {
                Ok(Box::new(PrometheusWriter::create(fs, dir, symbols, chunk_segment_bytes)?))
            }
        }
    }
}
