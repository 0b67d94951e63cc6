//! Blocks: immutable directories of samples with their index.
//!
//! How series and samples are stored is the matter of a [`format`]: there is Prometheus's, described
//! in `docs/formats/block.md`, and ferula's own, in `docs/formats/ferula-block.md`. [`writer`] makes a block under a temporary name,
//! [`verify`] reads it back before it gets its own. Opening checks meta.json and the frames of the
//! files; series and chunks are checked by their checksums when they are read, and a block that
//! fails then is not read again.

mod chunk_stream;
mod chunks;
mod deletion;
mod ferula;
mod format;
mod meta;
mod output;
mod prometheus;
mod segments;
mod stored;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ferula_chunkenc::SampleBatch;
use ferula_index::ferula::ChunkEntry;
use ferula_index::postings::Postings;
use ferula_index::{ChunkMeta, Labels, Matcher, Pace, SeriesRef};
use ferula_wal::fs::Fs;

use self::deletion::gone_series;
pub use self::format::BlockFormat;
use self::format::{ChunkStream, SeriesCursor, SeriesReader};
pub use self::meta::{
    BlockCompaction, BlockMeta, BlockParent, BlockStats, FerulaSection, META_VERSION,
};
pub(crate) use self::output::{OutputFile, replace_file, size_of_dir};
pub(crate) use self::stored::{
    BlockChunk, ChunkSize, ColumnValues, Columns, EncodedChunk, PageSizes, StoredChunk,
};
pub(crate) use self::verify::{Depth, walk};
pub(crate) use self::writer::{BlockWriter, CREATION_SUFFIX, DELETION_SUFFIX, WrittenBlock};
use crate::error::Error;
use crate::stats::Quarantined;
use crate::tombstones::Tombstones;

/// Reads the chunks of a block, front to back.
#[derive(Debug)]
pub(crate) struct BlockStream<'a> {
    block: &'a Block,
    chunks: Box<dyn ChunkStream + 'a>,
}

impl BlockStream<'_> {
    /// Reads a chunk; its checksum is verified.
    pub(crate) fn read(&mut self, chunk: &ChunkMeta) -> Result<StoredChunk, Error> {
        self.block.noting_damage(self.chunks.read(chunk.chunk))
    }
}

/// Reads the series of a block by their refs; fast if they ascend.
#[derive(Debug)]
pub(crate) struct BlockCursor<'a> {
    block: &'a Block,
    series: Box<dyn SeriesCursor + 'a>,
}

impl BlockCursor<'_> {
    /// Labels and chunks of a series.
    pub(crate) fn series(
        &mut self,
        series: SeriesRef,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<Labels, Error> {
        self.block.noting_damage(self.series.series(series, chunks))
    }

    /// Labels of a series as pairs of numbers, which count the
    /// [symbols](Block::for_each_symbol) from zero, and its chunks.
    pub(crate) fn numbered_series(
        &mut self,
        series: SeriesRef,
        labels: &mut Vec<(u32, u32)>,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<(), Error> {
        self.block.noting_damage(self.series.numbered_series(series, labels, chunks))
    }

    /// Fills `entries` with what the index says of the chunks of a series, in time order; with
    /// nothing if that is no more than times and places.
    pub(crate) fn entries(
        &mut self,
        series: SeriesRef,
        entries: &mut Vec<ChunkEntry>,
    ) -> Result<(), Error> {
        self.block.noting_damage(self.series.entries(series, entries))
    }
}

/// An open block. Cloning shares what is open.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    dir: PathBuf,
    meta: BlockMeta,
    format: BlockFormat,
    reader: Arc<dyn SeriesReader>,
    tombstones: Tombstones,
    /// Series of which nothing is left.
    gone: Postings,
    /// Size of its files when it was opened.
    size_bytes: u64,
    /// Why the block is not to be read any more.
    damage: Arc<OnceLock<String>>,
}

impl Block {
    /// Opens the block in `dir`.
    pub(crate) fn open(fs: &dyn Fs, dir: PathBuf) -> Result<Self, Error> {
        let meta = BlockMeta::read(fs, &dir)?;
        let format = BlockFormat::of(&meta, &dir)?;
        let reader = format.open(fs, &dir)?;
        let tombstones = Tombstones::read(fs, &dir)?;
        let gone = gone_series(&*reader, &tombstones)?;
        let size_bytes = size_of_dir(fs, &dir).map_err(Error::io("inspect", &dir))?;
        let damage = Arc::default();
        Ok(Self { dir, meta, format, reader, tombstones, gone, size_bytes, damage })
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its description.
    pub(crate) fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    /// How it is stored.
    pub(crate) fn format(&self) -> BlockFormat {
        self.format
    }

    /// What is deleted of it.
    pub(crate) fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// Tells whether its range overlaps that from `mint` to `maxt`, both inclusive.
    pub(crate) fn overlaps(&self, mint: i64, maxt: i64) -> bool {
        self.meta.mint <= maxt && mint < self.meta.maxt
    }

    /// Why it is not to be read any more, if reading it has failed.
    pub(crate) fn damage(&self) -> Option<Quarantined> {
        let reason = self.damage.get()?.clone();
        Some(Quarantined { dir: self.dir.clone(), reason })
    }

    /// The series that pass all `matchers`, in label order.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Result<Postings, Error> {
        Ok(self.select_paced(matchers, &Pace::steady())?.unwrap_or_default())
    }

    /// The same, as long as `pace` goes on; `None` if it did not to the end.
    pub(crate) fn select_paced(
        &self,
        matchers: &[Matcher],
        pace: &Pace<'_>,
    ) -> Result<Option<Postings>, Error> {
        let mut selected = self.noting_damage(self.reader.select_paced(matchers, pace))?;
        if let Some(selected) = selected.as_mut().filter(|_| !self.gone.is_empty()) {
            selected.subtract(&self.gone);
        }
        Ok(selected)
    }

    /// Starts reading series.
    pub(crate) fn cursor(&self) -> BlockCursor<'_> {
        BlockCursor { block: self, series: self.reader.cursor() }
    }

    /// Reads chunks anew, front to back, without keeping what was read in memory.
    pub(crate) fn stream<'a>(&'a self, fs: &'a dyn Fs) -> BlockStream<'a> {
        BlockStream { block: self, chunks: self.reader.stream(fs) }
    }

    /// Calls `each` with all label names and values, sorted, each once; there may be others among
    /// them.
    pub(crate) fn for_each_symbol(&self, mut each: impl FnMut(&str)) -> Result<(), Error> {
        self.noting_damage(self.reader.for_each_symbol(&mut each))
    }

    /// Appends the samples of a chunk from `mint` to `maxt`, both inclusive, to `batch`. If that
    /// fails, the batch holds nothing to rely on.
    pub(crate) fn read(
        &self,
        chunk: &ChunkMeta,
        mint: i64,
        maxt: i64,
        batch: &mut SampleBatch,
    ) -> Result<(), Error> {
        self.noting_damage(self.reader.read(chunk, mint, maxt, batch))
    }

    /// Samples of a chunk and the room that it takes in its file. `page` keeps what was read for it, for
    /// the next one.
    pub(crate) fn chunk_size(
        &self,
        chunk: &ChunkMeta,
        page: &mut PageSizes,
    ) -> Result<ChunkSize, Error> {
        self.noting_damage(self.reader.chunk_size(chunk.chunk, page))
    }

    /// Size of its files in bytes, when it was opened.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The same block, whose compaction is known to have failed.
    pub(crate) fn with_failure(&self, fs: &dyn Fs) -> Result<Self, Error> {
        let mut meta = self.meta.clone();
        meta.compaction.failed = true;
        meta.replace(fs, &self.dir)?;
        Ok(Self { meta, ..self.clone() })
    }

    /// An error of the chunk at `chunk`, with where that is.
    pub(crate) fn chunk_error(&self, chunk: &ChunkMeta, source: ferula_chunkenc::Error) -> Error {
        self.reader.chunk_error(chunk.chunk, source)
    }

    /// Adds to the error of a chunk's content where it is.
    pub(crate) fn of_chunk<T>(
        &self,
        chunk: &ChunkMeta,
        result: Result<T, ferula_chunkenc::Error>,
    ) -> Result<T, Error> {
        self.noting_damage(result.map_err(|source| self.reader.chunk_error(chunk.chunk, source)))
    }

    /// Takes the block out of service if it could not be read. A chunk of a kind that this release
    /// does not read is no damage: the other series of the block are served.
    fn noting_damage<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|error| {
            use ferula_chunkenc::Error::{UnknownEncoding, WrongEncoding};
            if !matches!(
                error,
                Error::Chunk { source: UnknownEncoding { .. } | WrongEncoding { .. }, .. }
            ) {
                // The first reason stays.
                let _ = self.damage.set(error.to_string_with_causes());
            }
        })
    }
}
