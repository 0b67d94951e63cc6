//! Making a block: everything under a temporary name, durable and read back before it gets its own.
//!
//! A crash at any point leaves either no block or a whole one, and perhaps a directory with a
//! temporary name, which the next opening removes.

use std::path::{Path, PathBuf};

use ferula_index::{Labels, Matcher};
use ferula_wal::fs::Fs;
use ulid::Ulid;

use super::Block;
use super::format::{BlockFormat, SeriesWriter};
use super::meta::{BlockMeta, BlockStats};
use super::stored::{BlockChunk, EncodedChunk};
use super::verify::{Depth, verify};
use crate::error::Error;
use crate::tombstones::Tombstones;

/// How the directory of a block ends while it is written.
pub(crate) const CREATION_SUFFIX: &str = ".tmp-for-creation";

/// How the directory of a block ends while it is removed.
pub(crate) const DELETION_SUFFIX: &str = ".tmp-for-deletion";

/// A block that is being written.
pub(crate) struct BlockWriter<'a> {
    fs: &'a dyn Fs,
    parent: &'a Path,
    tmp: PathBuf,
    format: BlockFormat,
    series: Box<dyn SeriesWriter + 'a>,
    stats: BlockStats,
}

impl<'a> BlockWriter<'a> {
    /// Begins the block `ulid` in the directory `parent`. All label names and values to come must
    /// be among the `symbols`, which are sorted.
    pub(crate) fn create<'s>(
        fs: &'a dyn Fs,
        parent: &'a Path,
        ulid: Ulid,
        format: BlockFormat,
        mut symbols: impl Iterator<Item = &'s str>,
        chunk_segment_bytes: u64,
    ) -> Result<Self, Error> {
        let tmp = parent.join(format!("{ulid}{CREATION_SUFFIX}"));
        fs.create_dir_all(&tmp).map_err(Error::io("create", &tmp))?;
        let series = format.create(fs, &tmp, &mut symbols, chunk_segment_bytes)?;
        Ok(Self { fs, parent, tmp, format, series, stats: BlockStats::default() })
    }

    /// The directory that it is written in.
    pub(crate) fn dir(&self) -> &Path {
        &self.tmp
    }

    /// What was added so far.
    pub(crate) fn stats(&self) -> &BlockStats {
        &self.stats
    }

    /// Adds a series, which must come after the last one in label order, and its chunks.
    pub(crate) fn add(&mut self, labels: &Labels, chunks: Vec<EncodedChunk>) -> Result<(), Error> {
        let chunks: Vec<BlockChunk> = chunks.into_iter().map(BlockChunk::from).collect();
        let labels = self.series.numbers_of(labels)?;
        self.add_numbered(&labels, &chunks)
    }

    /// Adds a series as [`add`](Self::add) does, with its labels as pairs of numbers, which count
    /// the symbols from zero.
    pub(crate) fn add_numbered(
        &mut self,
        labels: &[(u32, u32)],
        chunks: &[BlockChunk],
    ) -> Result<(), Error> {
        self.count(chunks)?;
        self.stats.num_chunks += self.series.add(labels, chunks)?;
        Ok(())
    }

    fn count(&mut self, chunks: &[BlockChunk]) -> Result<(), Error> {
        for BlockChunk { chunk, .. } in chunks {
            let n_samples = chunk.sample_count();
            let n_samples =
                n_samples.map_err(|source| Error::Decode { file: self.tmp.clone(), source })?;
            self.stats.count(chunk.has_histograms(), n_samples);
        }
        self.stats.num_series += 1;
        Ok(())
    }

    /// Makes the block durable and verifies it; `describe` says what it is.
    pub(crate) fn finish(
        self,
        depth: Depth,
        describe: impl FnOnce(BlockStats) -> BlockMeta,
    ) -> Result<WrittenBlock<'a>, Error> {
        let Self { fs, parent, tmp, format, series, stats } = self;
        series.finish()?;
        Tombstones::default().write(fs, &tmp)?;
        let mut meta = describe(stats);
        meta.ferula = format.section();
        meta.write(fs, &tmp)?;
        fs.sync_dir(&tmp).map_err(Error::io("sync", &tmp))?;
        let block = Block::open(fs, tmp)?;
        verify(fs, &block, depth)?;
        Ok(WrittenBlock { fs, parent, block })
    }
}

/// A block that is durable and verified, and has its temporary name yet.
#[derive(Debug)]
pub(crate) struct WrittenBlock<'a> {
    fs: &'a dyn Fs,
    parent: &'a Path,
    block: Block,
}

impl WrittenBlock<'_> {
    /// Deletes of it what was deleted of its sources meanwhile.
    pub(crate) fn delete(
        &mut self,
        matchers: &[Matcher],
        mint: i64,
        maxt: i64,
    ) -> Result<(), Error> {
        let selected = self.block.select(matchers)?;
        if let Some(block) = self.block.delete(self.fs, &selected, mint, maxt)? {
            self.block = block;
        }
        Ok(())
    }

    /// What it is.
    pub(crate) fn meta(&self) -> &BlockMeta {
        self.block.meta()
    }

    /// The name that it will have.
    pub(crate) fn ulid(&self) -> Ulid {
        self.block.meta().ulid
    }

    /// Gives the block its name.
    ///
    /// After an error it may have it: that cannot be told before the directory is synced.
    pub(crate) fn publish(self) -> Result<Block, Error> {
        let Self { fs, parent, block } = self;
        let dir = parent.join(block.meta().ulid.to_string());
        fs.rename(block.dir(), &dir).map_err(Error::io("rename", block.dir()))?;
        fs.sync_dir(parent).map_err(Error::io("sync", parent))?;
        Block::open(fs, dir)
    }
}
