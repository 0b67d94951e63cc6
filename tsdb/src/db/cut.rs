//! Cutting blocks from the head, and giving up in memory and in the log what they hold.
//!
//! The order makes every step safe against a crash. The head stops to take samples of the block's
//! range and makes durable what it took. The block is written, verified and given its name; from
//! then on an opening finds it and leaves its range out of the replay. Readers switch to it in one
//! step. Only then do chunks leave the head, and samples the log.

use std::path::Path;
use std::sync::Arc;

use ferula_wal::fs::Fs;
use ferula_wal::record::exemplars::RefExemplar;
use ulid::Ulid;

use super::{Shared, View};
use crate::block::{
    Block, BlockMeta, BlockStats, BlockWriter, CREATION_SUFFIX, Depth, EncodedChunk,
};
use crate::clock::new_ulid;
use crate::error::Error;
use crate::head::{Series, range_end};
use crate::options::Options;
use crate::querier::HeadReader;

impl Shared {
    /// Writes full chunks to their files, and cuts the blocks that are due: as in Prometheus, when the head spans one and a half ranges.
    pub(super) fn maintain(&self) -> Result<Vec<Ulid>, Error> {
        self.head.go_on()?;
        // Chunks that cannot be written stay in memory; all the more reason to cut blocks.
        let written = self.head.write_full_chunks();
        let range = self.options.block_range_ms;
        let cut =
            self.cut_while(|mint, maxt| maxt.saturating_sub(mint) > range.saturating_mul(3) / 2)?;
        written.map(|()| cut)
    }

    /// Cuts the whole head.
    pub(super) fn compact_head(&self) -> Result<Vec<Ulid>, Error> {
        self.cut_while(|_, _| true)
    }

    fn cut_while(&self, is_due: impl Fn(i64, i64) -> bool) -> Result<Vec<Ulid>, Error> {
        let _maintenance = self.maintenance.lock();
        self.check_open()?;
        let mut cut = Vec::new();
        let mut from = self.view.read().head_from;
        while let Some((mint, maxt)) = self.head.time_range().filter(|(_, maxt)| *maxt >= from) {
            if !is_due(mint.max(from), maxt) {
                break;
            }
            self.head.check_writable()?;
            self.remove_unwanted(&[])?;
            // The earliest time of the head counts samples that are in blocks by now.
            let oldest = if mint >= from { Some(mint) } else { self.head.oldest_from(from) };
            let Some(mint) = oldest.filter(|oldest| is_due(*oldest, maxt)) else { break };
            from = range_end(mint, self.options.block_range_ms);
            cut.extend(self.cut(from)?);
        }
        // Also what an open reader kept from being removed at an earlier turn.
        let has_covered = self.head.time_range().is_some_and(|(mint, _)| mint < from);
        let mut truncated = Ok(());
        if !cut.is_empty() || has_covered {
            truncated = self.head.truncate(from);
        }
        // As in Prometheus, with the others.
        let late = if cut.is_empty() { self.release_out_of_order() } else { self.cut_late() };
        if !cut.is_empty() {
            cut.extend(late?);
            self.truncate_log(from)?;
        } else {
            late?;
        }
        truncated.map(|()| cut)
    }

    /// Cuts what lies before `end` and is not in a block yet.
    fn cut(&self, end: i64) -> Result<Option<Ulid>, Error> {
        self.head.seal_before(end)?;
        let (from, head) = {
            let view = self.view.read();
            (view.head_from, view.reader(&self.head))
        };
        let ulid = new_ulid(&*self.options.clock);
        let block = write_block(&*self.fs, &self.dir, ulid, &self.options, &head, from, end);
        // It may have its name, or get it back in a crash.
        let block = block.inspect_err(|_| self.unwanted.lock().push(ulid))?;
        let ulid = block.as_ref().map(|block| block.meta().ulid);
        let mut view = self.view.write();
        let mut blocks = view.blocks.to_vec();
        blocks.extend(block.map(Arc::new));
        *view = View::new(blocks, end, view.era);
        Ok(ulid)
    }

    /// Condenses the log: what lies before `mint` is in blocks. As in Prometheus the newest third of
    /// its segments is left alone, for most of what they hold is still wanted. Exemplars stay as long as
    /// the head has them.
    fn truncate_log(&self, mint: i64) -> Result<(), Error> {
        let Some(wal) = self.head.wal() else { return Ok(()) };
        // Samples out of order go from the log whatever their times.
        self.head.settle_out_of_order()?;
        let failed = |source| Error::Wal { op: "truncate", source };
        let last = wal.rotate().map_err(failed)?.saturating_sub(1);
        let Some(first) = first_segment(&*self.fs, wal.dir())? else { return Ok(()) };
        let through = first + last.saturating_sub(first) * 2 / 3;
        if through <= first {
            return Ok(());
        }
        // Exemplars that come from now on are in later segments, of series that are there.
        let wanted = self.head.exemplars().wanted();
        // What is left of a series for its exemplars must not say what it said of its metric once: it may
        // have said something newer under another ref, which goes.
        let keep = |series| self.head.needs_record_of(series, through);
        let keep_labels = |series| wanted.has_series(series);
        let keep_exemplar = |exemplar: &RefExemplar| wanted.has(exemplar);
        let condensed =
            wal.checkpoint_with_exemplars(through, mint, keep, keep_labels, keep_exemplar);
        condensed.map_err(failed)?;
        self.head.note_condensed(through);
        Ok(())
    }
}

/// Number of the first segment of the log in `dir`.
fn first_segment(fs: &dyn Fs, dir: &Path) -> Result<Option<u32>, Error> {
    let entries = fs.list(dir).map_err(Error::io("list", dir))?;
    Ok(entries.iter().filter(|entry| !entry.is_dir).find_map(|entry| entry.name.parse().ok()))
}

/// Writes what came in order and `head` sees from `mint` to `maxt`, exclusive, as the block `ulid`
/// into the directory `parent`. Returns nothing if it sees nothing there.
pub(super) fn write_block(
    fs: &dyn Fs,
    parent: &Path,
    ulid: Ulid,
    options: &Options,
    head: &HeadReader,
    mint: i64,
    maxt: i64,
) -> Result<Option<Block>, Error> {
    let series = head.select_in_order(mint, maxt - 1)?;
    let chunks = |series: &Series| head.chunks(series, mint, maxt - 1);
    write_series(fs, parent, ulid, options, head, &series, chunks, |oldest, stats| {
        BlockMeta::of_head(ulid, oldest.max(mint), maxt, stats)
    })
}

/// Writes `series` as the block `ulid` into the directory `parent`; `describe` is given the time of the
/// oldest chunk. Returns nothing if they have no chunks.
#[expect(clippy::too_many_arguments, reason = "what a block is made of")]
pub(super) fn write_series(
    fs: &dyn Fs,
    parent: &Path,
    ulid: Ulid,
    options: &Options,
    head: &HeadReader,
    series: &[Series],
    chunks_of: impl Fn(&Series) -> Result<Vec<EncodedChunk>, Error>,
    describe: impl FnOnce(i64, BlockStats) -> BlockMeta,
) -> Result<Option<Block>, Error> {
    if series.is_empty() {
        return Ok(None);
    }
    let symbols = head.symbols_of(series);
    let write = || {
        let mut writer = BlockWriter::create(
            fs,
            parent,
            ulid,
            options.block_format,
            symbols.iter().map(String::as_str),
            options.chunk_segment_bytes,
        )?;
        let mut oldest = i64::MAX;
        for (labels, series) in head.with_labels(series) {
            let chunks = chunks_of(series)?;
            if let Some(first) = chunks.first() {
                oldest = oldest.min(first.mint);
                writer.add(&labels, chunks)?;
            }
        }
        if writer.stats().num_series == 0 {
            // All of it is deleted.
            return Ok(None);
        }
        writer.finish(Depth::Samples, |stats| describe(oldest, stats))?.publish().map(Some)
    };
    let written = write();
    if !matches!(written, Ok(Some(_))) {
        // The next opening would do it too; the error that counts is the first one.
        let _ = fs.remove_dir_all(&parent.join(format!("{ulid}{CREATION_SUFFIX}")));
    }
    written
}
