//! Blocks: immutable directories of samples with their index.
//!
//! How series and samples are stored is the matter of a [`format`]; today there is Prometheus's,
//! described in `docs/formats/block.md`. [`writer`] makes a block under a temporary name,
//! [`verify`] reads it back before it gets its own. Opening checks meta.json and the frames of the
//! files; series and chunks are checked by their checksums when they are read, and a block that
//! fails then is not read again.

mod chunks;
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

pub(crate) use self::format::{BlockFormat, EncodedChunk, SeriesReader};
pub use self::meta::{
    BlockCompaction, BlockMeta, BlockParent, BlockStats, FerulaSection, META_VERSION,
};
pub(crate) use self::output::{OutputFile, replace_file};
pub(crate) use self::verify::Depth;
pub(crate) use self::writer::{BlockWriter, CREATION_SUFFIX, DELETION_SUFFIX};
use crate::error::Error;
use crate::stats::Quarantined;
use crate::tombstones::Tombstones;

/// An open block.
#[derive(Debug)]
pub(crate) struct Block {
    dir: PathBuf,
    meta: BlockMeta,
    reader: Arc<dyn SeriesReader>,
    tombstones: Tombstones,
    /// Why the block is not to be read any more.
    damage: OnceLock<String>,
}

impl Block {
    /// Opens the block in `dir`.
    pub(crate) fn open(fs: &dyn Fs, dir: PathBuf) -> Result<Self, Error> {
        let meta = BlockMeta::read(fs, &dir)?;
        let reader = BlockFormat::of(&meta, &dir)?.open(fs, &dir)?;
        let tombstones = Tombstones::read(fs, &dir)?;
        Ok(Self { dir, meta, reader, tombstones, damage: OnceLock::new() })
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
        self.noting_damage(self.reader.select(matchers))
    }

    /// Labels and chunks of a series.
    pub(crate) fn series(
        &self,
        series: SeriesRef,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<Labels, Error> {
        self.noting_damage(self.reader.series(series, chunks))
    }

    /// Names of the labels of series that pass all `matchers`, sorted.
    pub(crate) fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        self.noting_damage(self.reader.label_names(matchers))
    }

    /// Values of the label `name` among series that pass all `matchers`, sorted.
    pub(crate) fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
    ) -> Result<Vec<String>, Error> {
        self.noting_damage(self.reader.label_values(name, matchers))
    }

    /// Reads a chunk; its checksum is verified, its content is not.
    pub(crate) fn chunk(&self, chunk: &ChunkMeta) -> Result<Chunk, Error> {
        self.noting_damage(self.reader.chunk(chunk.chunk))
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
