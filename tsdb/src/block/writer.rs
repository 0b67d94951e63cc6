//! Making a block: everything under a temporary name, durable and read back before it gets its own.
//!
//! A crash at any point leaves either no block or a whole one, and perhaps a directory with a
//! temporary name, which the next opening removes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ferula_index::block::IndexWriter;
use ferula_index::{ChunkMeta, Labels};
use ferula_wal::fs::Fs;
use ulid::Ulid;

use super::chunks::{CHUNKS_DIR, ChunkWriter};
use super::meta::{BlockMeta, BlockStats};
use super::output::OutputFile;
use super::verify::verify;
use super::{Block, INDEX_FILE};
use crate::error::Error;
use crate::head::HeadChunk;
use crate::tombstones::Tombstones;

/// How the directory of a block ends while it is written.
pub(crate) const CREATION_SUFFIX: &str = ".tmp-for-creation";

/// How the directory of a block ends while it is removed.
pub(crate) const DELETION_SUFFIX: &str = ".tmp-for-deletion";

/// A block that is being written.
pub(crate) struct BlockWriter<'a> {
    fs: &'a dyn Fs,
    parent: &'a Path,
    ulid: Ulid,
    tmp: PathBuf,
    index: IndexWriter<OutputFile>,
    chunks: ChunkWriter<'a>,
    stats: BlockStats,
}

impl<'a> BlockWriter<'a> {
    /// Begins the block `ulid` in the directory `parent`. All label names and values to come must
    /// be among the `symbols`.
    pub(crate) fn create(
        fs: &'a dyn Fs,
        parent: &'a Path,
        ulid: Ulid,
        symbols: BTreeSet<&str>,
        chunk_segment_bytes: u64,
    ) -> Result<Self, Error> {
        let tmp = parent.join(format!("{ulid}{CREATION_SUFFIX}"));
        fs.create_dir_all(&tmp).map_err(Error::io("create", &tmp))?;
        let chunks = ChunkWriter::create(fs, tmp.join(CHUNKS_DIR), chunk_segment_bytes)?;
        let file = tmp.join(INDEX_FILE);
        let output = OutputFile::create(fs, file.clone())?;
        let index = IndexWriter::new(output, symbols).map_err(|source| Error::Index {
            op: "write",
            file,
            source,
        })?;
        Ok(Self { fs, parent, ulid, tmp, index, chunks, stats: BlockStats::default() })
    }

    /// Adds a series, which must come after the last one in label order, and its chunks.
    pub(crate) fn add(&mut self, labels: &Labels, chunks: &[HeadChunk]) -> Result<(), Error> {
        let mut metas = Vec::with_capacity(chunks.len());
        for HeadChunk { mint, maxt, chunk } in chunks {
            let file = || self.tmp.join(CHUNKS_DIR);
            let n_samples =
                chunk.sample_count().map_err(|source| Error::Decode { file: file(), source })?;
            self.stats.num_samples += u64::from(n_samples);
            let at = self.chunks.write(chunk)?;
            metas.push(ChunkMeta { mint: *mint, maxt: *maxt, chunk: at });
        }
        self.stats.num_series += 1;
        self.stats.num_chunks += metas.len() as u64;
        let added = self.index.add_series(labels, &metas);
        added.map(drop).map_err(|source| Error::Index {
            op: "write",
            file: self.tmp.join(INDEX_FILE),
            source,
        })
    }

    /// Makes the block durable, verifies it, and gives it its name. `mint` is inclusive, `maxt`
    /// exclusive.
    pub(crate) fn finish(self, mint: i64, maxt: i64) -> Result<Block, Error> {
        let Self { fs, parent, ulid, tmp, index, chunks, mut stats } = self;
        let file = || tmp.join(INDEX_FILE);
        index
            .finish()
            .map_err(|source| Error::Index { op: "write", file: file(), source })?
            .finish()?;
        chunks.finish()?;
        Tombstones::write_empty(fs, &tmp)?;
        stats.num_float_samples = stats.num_samples;
        BlockMeta::of_head(ulid, mint, maxt, stats).write(fs, &tmp)?;
        fs.sync_dir(&tmp).map_err(Error::io("sync", &tmp))?;
        verify(&Block::open(fs, tmp.clone())?)?;

        let dir = parent.join(ulid.to_string());
        fs.rename(&tmp, &dir).map_err(Error::io("rename", &tmp))?;
        fs.sync_dir(parent).map_err(Error::io("sync", parent))?;
        Block::open(fs, dir)
    }
}
