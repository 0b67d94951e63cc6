//! Blocks: immutable directories of samples with their index.
//!
//! How series and samples are stored is the matter of a [`format`]; today there is Prometheus's,
//! described in `docs/formats/block.md`. [`writer`] makes a block under a temporary name,
//! [`verify`] reads it back before it gets its own. Opening checks meta.json and the frames of the
//! files; series and chunks are checked by their checksums when they are read, and a block that
//! fails then is not read again.

mod chunk_stream;
mod chunks;
mod deletion;
mod format;
mod meta;
mod output;
mod prometheus;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ferula_chunkenc::Chunk;
use ferula_index::postings::Postings;
use ferula_index::{ChunkMeta, Labels, Matcher, SeriesRef};
use ferula_wal::fs::Fs;

use self::deletion::gone_series;
pub(crate) use self::format::{BlockFormat, EncodedChunk};
use self::format::{ChunkStream, SeriesReader};
pub use self::meta::{
    BlockCompaction, BlockMeta, BlockParent, BlockStats, FerulaSection, META_VERSION,
};
pub(crate) use self::output::{OutputFile, replace_file, size_of_dir};
pub(crate) use self::verify::Depth;
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
    /// Reads a chunk; its checksum is verified, its content is not.
    pub(crate) fn read(&mut self, chunk: &ChunkMeta) -> Result<Chunk, Error> {
        self.block.noting_damage(self.chunks.read(chunk.chunk))
    }
}

/// An open block. Cloning shares what is open.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    dir: PathBuf,
    meta: BlockMeta,
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
        let reader = BlockFormat::of(&meta, &dir)?.open(fs, &dir)?;
        let tombstones = Tombstones::read(fs, &dir)?;
        let gone = gone_series(&*reader, &tombstones)?;
        let size_bytes = size_of_dir(fs, &dir).map_err(Error::io("inspect", &dir))?;
        let damage = Arc::default();
        Ok(Self { dir, meta, reader, tombstones, gone, size_bytes, damage })
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its description.
    pub(crate) fn meta(&self) -> &BlockMeta {
        &self.meta
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
        let mut selected = self.noting_damage(self.reader.select(matchers))?;
        if !self.gone.is_empty() {
            selected.subtract(&self.gone);
        }
        Ok(selected)
    }

    /// Labels and chunks of a series.
    pub(crate) fn series(
        &self,
        series: SeriesRef,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<Labels, Error> {
        self.noting_damage(self.reader.series(series, chunks))
    }

    /// Labels of a series as pairs of numbers, which count the [`symbols`](Self::symbols) from
    /// zero, and its chunks.
    pub(crate) fn numbered_series(
        &self,
        series: SeriesRef,
        labels: &mut Vec<(u32, u32)>,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<(), Error> {
        self.noting_damage(self.reader.numbered_series(series, labels, chunks))
    }

    /// Reads chunks anew, front to back, without keeping what was read in memory.
    pub(crate) fn stream<'a>(&'a self, fs: &'a dyn Fs) -> BlockStream<'a> {
        BlockStream { block: self, chunks: self.reader.stream(fs) }
    }

    /// All label names and values, sorted, each once; there may be others among them.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = Result<&str, Error>> {
        self.reader.symbols().map(|symbol| self.noting_damage(symbol))
    }

    /// Reads a chunk; its checksum is verified, its content is not.
    pub(crate) fn chunk(&self, chunk: &ChunkMeta) -> Result<Chunk, Error> {
        self.noting_damage(self.reader.chunk(chunk.chunk))
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
