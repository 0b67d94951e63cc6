//! Compaction: several blocks become one, or one is written anew without what is deleted of it.
//!
//! [`plan`] says which blocks; it looks at nothing but their descriptions. [`merge`] walks over the
//! series of all sources in label order, [`populate`] makes the chunks of one series from theirs.
//! Chunks that neither overlap nor have anything deleted are handed to the writer as they are, which
//! copies them if they have its format, and joins them in ferula's own; the others are decoded and
//! encoded anew. Sources may be of any format, and become the one that is asked for.
//!
//! # Memory
//!
//! Some 500 series are in memory at a time, or fewer if their chunks take 4 MiB: their labels, the
//! places of their chunks, the pages that these are in, and of one series, where chunks overlap or
//! another format is written, the samples of those. Beside that there are, for the whole run, a few windows of 512 KiB of the chunks
//! of each source, the label names and values of the result with eight bytes for each of them and
//! four for each in each source, and what the writer of the format keeps: four bytes for each label
//! of each series, and in ferula's own format the columns of times of a segment. Neither the number
//! of samples nor the size of the sources matters. The indexes of the sources are mapped.

mod control;
mod merge;
mod pipe;
mod plan;
mod populate;

use std::path::Path;
use std::sync::Arc;

use ferula_wal::fs::Fs;
use ulid::Ulid;

pub(crate) use self::control::Control;
pub use self::control::Progress;
use self::merge::{MergedSymbols, SeriesMerge};
use self::pipe::{Pipe, WriterGone, write_merged};
pub(crate) use self::plan::{plan, ranges};
use self::populate::Populator;
use crate::block::{
    Block, BlockFormat, BlockMeta, BlockWriter, CREATION_SUFFIX, Depth, WrittenBlock,
};
use crate::error::Error;

/// What is to be made of which blocks.
#[derive(Debug)]
pub(crate) struct Compaction<'a> {
    pub(crate) fs: &'a dyn Fs,
    /// The directory that the block is made in.
    pub(crate) parent: &'a Path,
    /// Name of the block.
    pub(crate) ulid: Ulid,
    pub(crate) format: BlockFormat,
    pub(crate) chunk_segment_bytes: u64,
    /// By start, then by name: of two samples of a series at the same time the one of the first
    /// block stays, as when they are queried.
    pub(crate) sources: &'a [Arc<Block>],
    pub(crate) control: &'a Control,
}

impl<'a> Compaction<'a> {
    /// Writes the block and verifies it. Returns nothing if no samples are left. The sources stay
    /// as they are; what was written of a block that fails is removed.
    pub(crate) fn run(&self) -> Result<Option<WrittenBlock<'a>>, Error> {
        let written = self.write();
        if !matches!(written, Ok(Some(_))) {
            // The next opening would do it too; the error that counts is the first one.
            let tmp = self.parent.join(format!("{}{CREATION_SUFFIX}", self.ulid));
            let _ = self.fs.remove_dir_all(&tmp);
        }
        written
    }

    fn write(&self) -> Result<Option<WrittenBlock<'a>>, Error> {
        let sources: Vec<&Block> = self.sources.iter().map(AsRef::as_ref).collect();
        let symbols = MergedSymbols::new(&sources)?;
        let writer = BlockWriter::create(
            self.fs,
            self.parent,
            self.ulid,
            self.format,
            symbols.texts.iter(),
            self.chunk_segment_bytes,
        )?;
        let writer = write_merged(writer, |pipe| self.merge(&sources, &symbols, pipe))?;
        if writer.stats().num_samples == 0 {
            return Ok(None);
        }
        let metas: Vec<&BlockMeta> = sources.iter().map(|block| block.meta()).collect();
        writer.finish(Depth::Chunks, |stats| BlockMeta::merged(self.ulid, &metas, stats)).map(Some)
    }

    /// Hands the series of the sources to the writer.
    fn merge(
        &self,
        sources: &[&Block],
        symbols: &MergedSymbols,
        pipe: &mut Pipe,
    ) -> Result<(), Error> {
        let selected =
            sources.iter().map(|block| block.select(&[])).collect::<Result<Vec<_>, _>>()?;
        self.control.begin(selected.iter().map(|series| series.len()).sum());
        let mut merge = SeriesMerge::new(sources.iter().copied().zip(&selected), symbols)?;
        let mut populator = Populator::new(self.fs, sources, self.format);
        let mut chunks = Vec::new();
        while let Some((labels, parts)) = merge.next()? {
            populator.populate(parts, &mut chunks)?;
            let n_bytes = chunks.iter().map(|chunk| chunk.chunk.size_bytes()).sum();
            if !chunks.is_empty()
                && let Err(WriterGone) = pipe.add(labels, &mut chunks)
            {
                break;
            }
            self.control.advance(parts.len() as u64, n_bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
