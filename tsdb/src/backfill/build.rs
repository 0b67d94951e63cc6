//! Merging runs, and making blocks of them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::path::{Path, PathBuf};

use ferula_index::Labels;
use ferula_wal::fs::Fs;
use ulid::Ulid;

use super::run::Entry;
use super::{BackfillOptions, RunReader};
use crate::block::{BlockMeta, BlockWriter, CREATION_SUFFIX, Depth};
use crate::clock::new_ulid;
use crate::error::Error;
use crate::recode::Recoder;
use crate::repair::remove_blocks;

/// Entries between two calls that tell the progress.
const PROGRESS_EVERY: u64 = 256;

/// The entries of several runs by range and labels, each series of a range once.
pub(super) struct Merge {
    readers: Vec<RunReader>,
    /// Places of the entries in `next`.
    places: Vec<u64>,
    waiting: Vec<Option<Entry>>,
    next: BinaryHeap<Reverse<(i64, Labels, usize)>>,
    spool: PathBuf,
}

impl Merge {
    pub(super) fn open(fs: &dyn Fs, runs: &[PathBuf]) -> Result<Self, Error> {
        let readers: Result<Vec<_>, _> = runs.iter().map(|run| RunReader::open(fs, run)).collect();
        let readers = readers?;
        let spool = runs.first().cloned().unwrap_or_default();
        let (places, waiting) = (vec![0; readers.len()], readers.iter().map(|_| None).collect());
        let mut merge = Self { readers, places, waiting, next: BinaryHeap::new(), spool };
        merge.fill()?;
        Ok(merge)
    }

    fn fill(&mut self) -> Result<(), Error> {
        self.next.clear();
        for run in 0..self.readers.len() {
            self.read(run)?;
        }
        Ok(())
    }

    fn read(&mut self, run: usize) -> Result<(), Error> {
        let reader = &mut self.readers[run];
        self.places[run] = reader.place();
        if let Some(entry) = reader.next()? {
            self.next.push(Reverse((entry.start, entry.labels.clone(), run)));
            self.waiting[run] = Some(entry);
        }
        Ok(())
    }

    /// Where the range of the next entry begins.
    fn start(&self) -> Option<i64> {
        self.next.peek().map(|Reverse((start, _, _))| *start)
    }

    /// Goes back to where all runs were.
    fn seek(&mut self, places: &[u64]) -> Result<(), Error> {
        for (reader, place) in self.readers.iter_mut().zip(places) {
            reader.seek(*place);
        }
        self.fill()
    }

    /// Bytes of the runs that were read, and all of them.
    fn progress(&self) -> (u64, u64) {
        let lens = self.readers.iter().map(RunReader::len);
        (self.places.iter().sum(), lens.sum())
    }

    /// The next series of a range. Of several samples at the same time the one of the first run stays.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let Some(mut entries) = self.next_entries()? else { return Ok(None) };
        if entries.len() == 1 {
            return Ok(entries.pop());
        }
        let failed = |source| Error::Decode { file: self.spool.clone(), source };
        let mut recoder = Recoder::default();
        for entry in &entries {
            for chunk in &entry.chunks {
                recoder.decode(&chunk.chunk).map_err(failed)?;
            }
            recoder.merge(&[]);
        }
        let mut chunks = Vec::new();
        recoder.encode(&mut chunks).map_err(failed)?;
        Ok(entries.into_iter().next().map(|first| Entry { chunks, ..first }))
    }

    /// What the runs have of the next series of a range, in the order of the runs.
    fn next_entries(&mut self) -> Result<Option<Vec<Entry>>, Error> {
        let Some(Reverse((start, labels, run))) = self.next.pop() else { return Ok(None) };
        let mut entries: Vec<Entry> = self.waiting[run].take().into_iter().collect();
        self.read(run)?;
        // Of equal ones that of the first run comes first.
        while let Some(Reverse((next_start, next_labels, run))) = self.next.peek()
            && (*next_start, next_labels) == (start, &labels)
        {
            let run = *run;
            self.next.pop();
            entries.extend(self.waiting[run].take());
            self.read(run)?;
        }
        Ok(Some(entries))
    }
}

/// Makes blocks of runs.
pub(super) struct Build<'a> {
    pub(super) fs: &'a dyn Fs,
    pub(super) dir: &'a Path,
    pub(super) options: &'a BackfillOptions,
    /// Tells of the end of a block whether it may hold a part of its range only.
    pub(super) is_part: &'a dyn Fn(i64) -> bool,
}

impl Build<'_> {
    /// Writes a block for each range, and names them when all are written.
    pub(super) fn run(
        &self,
        runs: &[PathBuf],
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<BlockMeta>, Error> {
        let mut written = Vec::new();
        let outcome = self
            .write_all(runs, &mut written, on_progress)
            .and_then(|()| self.publish(&written))
            .inspect_err(|_| {
                // The next opening would remove those that have no names; the error that counts is
                // the first one.
                let ulids: Vec<Ulid> = written.iter().map(|meta| meta.ulid).collect();
                let _ = remove_blocks(self.fs, self.dir, &ulids);
                for ulid in ulids {
                    let _ = self.fs.remove_dir_all(&self.tmp(ulid));
                }
            });
        outcome.map(|()| written)
    }

    fn tmp(&self, ulid: Ulid) -> PathBuf {
        self.dir.join(format!("{ulid}{CREATION_SUFFIX}"))
    }

    fn write_all(
        &self,
        runs: &[PathBuf],
        written: &mut Vec<BlockMeta>,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), Error> {
        let mut merge = Merge::open(self.fs, runs)?;
        while let Some(start) = merge.start() {
            // Symbols stand in front of the series, so these are read twice.
            let places = merge.places.clone();
            let mut symbols = BTreeSet::new();
            while merge.start() == Some(start) {
                let entries = merge.next_entries()?.unwrap_or_default();
                for (name, value) in entries.iter().take(1).flat_map(|entry| entry.labels.iter()) {
                    for text in [name, value] {
                        if !symbols.contains(text) {
                            symbols.insert(text.to_owned());
                        }
                    }
                }
            }
            merge.seek(&places)?;
            let ulid = new_ulid(&*self.options.clock);
            let meta = self.write(ulid, start, &symbols, &mut merge, on_progress);
            let meta = meta.inspect_err(|_| {
                let _ = self.fs.remove_dir_all(&self.tmp(ulid));
            });
            written.push(meta?);
        }
        Ok(())
    }

    fn write(
        &self,
        ulid: Ulid,
        start: i64,
        symbols: &BTreeSet<String>,
        merge: &mut Merge,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<BlockMeta, Error> {
        let BackfillOptions { block_format, chunk_segment_bytes, .. } = self.options;
        let symbols = symbols.iter().map(String::as_str);
        let mut writer = BlockWriter::create(
            self.fs,
            self.dir,
            ulid,
            *block_format,
            symbols,
            *chunk_segment_bytes,
        )?;
        let (mut mint, mut maxt) = (i64::MAX, i64::MIN);
        while merge.start() == Some(start) {
            let Some(Entry { labels, chunks, .. }) = merge.next_entry()? else { break };
            for chunk in &chunks {
                mint = mint.min(chunk.mint);
                maxt = maxt.max(chunk.maxt);
            }
            writer.add(&labels, chunks)?;
            if writer.stats().num_series % PROGRESS_EVERY == 0 {
                let (done, all) = merge.progress();
                on_progress(done, all);
            }
        }
        let end = maxt.saturating_add(1);
        let written = writer.finish(Depth::Samples, |stats| match (self.is_part)(end) {
            true => BlockMeta::out_of_order(ulid, mint, end, stats),
            false => BlockMeta::of_head(ulid, mint, end, stats),
        })?;
        Ok(written.meta().clone())
    }

    /// Gives all blocks their names.
    fn publish(&self, written: &[BlockMeta]) -> Result<(), Error> {
        for BlockMeta { ulid, .. } in written {
            let tmp = self.tmp(*ulid);
            let named = self.fs.rename(&tmp, &self.dir.join(ulid.to_string()));
            named.map_err(Error::io("rename", &tmp))?;
        }
        self.fs.sync_dir(self.dir).map_err(Error::io("sync", self.dir))
    }
}
