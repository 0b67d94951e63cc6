//! Writing a block: chunks are taken apart into runs of samples, and those into columns; chunks that
//! are columns already are copied, and joined where they follow each other.
//!
//! # Memory
//!
//! One series at a time with all of its samples, 16 bytes each; a page of 32 KiB before it is
//! compressed; the times of a segment, each column once, 64 MiB at most; and what the writer of the
//! index keeps.

use std::path::{Path, PathBuf};

use ferula_chunkenc::{ChunkAppender, ChunkHistogram};
use ferula_index::ferula::{ChunkEntry, IndexWriter, ValueBounds};
use ferula_index::{ChunkMeta, ChunkRef, Labels};
use ferula_wal::fs::Fs;

use super::copies::Leading;
use super::paged::PagedChunk;
use super::pages::PagesWriter;
use super::run::{Kind, Run, RunValues};
use crate::block::format::SeriesWriter;
use crate::block::output::OutputFile;
use crate::block::prometheus::INDEX_FILE;
use crate::block::segments::CHUNKS_DIR;
use crate::block::{BlockChunk, StoredChunk};
use crate::error::Error;

/// Writes a block in ferula's own format.
#[derive(Debug)]
pub(in crate::block) struct FerulaWriter<'a> {
    file: PathBuf,
    dir: PathBuf,
    index: IndexWriter<OutputFile>,
    pages: PagesWriter<'a>,
    entries: Vec<ChunkEntry>,
    run: Run,
}

impl<'a> FerulaWriter<'a> {
    pub(in crate::block) fn create(
        fs: &'a dyn Fs,
        dir: &Path,
        symbols: &mut dyn Iterator<Item = &str>,
        chunk_segment_bytes: u64,
    ) -> Result<Self, Error> {
        let chunks = dir.join(CHUNKS_DIR);
        let pages = PagesWriter::create(fs, chunks.clone(), chunk_segment_bytes)?;
        let file = dir.join(INDEX_FILE);
        let output = OutputFile::create(fs, file.clone())?;
        let index = IndexWriter::new(output, symbols).map_err(|source| Error::Index {
            op: "write",
            file: file.clone(),
            source,
        })?;
        let (entries, run) = (Vec::new(), Run::default());
        Ok(Self { file, dir: chunks, index, pages, entries, run })
    }

    /// Writes the chunks of a series and keeps what the index is to say of them.
    fn write(&mut self, chunks: &[BlockChunk]) -> Result<(), Error> {
        self.entries.clear();
        self.run.clear();
        let mut rest = chunks;
        while !rest.is_empty() {
            match Leading::of(rest, chunks.len()) {
                Leading::Copied(n) => {
                    self.write_run()?;
                    self.write_copies(&rest[..n])?;
                    rest = &rest[n..];
                }
                Leading::Anew(n) => {
                    rest[..n].iter().try_for_each(|chunk| self.write_anew(chunk))?;
                    rest = &rest[n..];
                }
            }
        }
        self.write_run()
    }

    /// Adds a chunk to the run, or writes it if that cannot be taken apart.
    fn write_anew(&mut self, chunk: &BlockChunk) -> Result<(), Error> {
        let BlockChunk { mint, maxt, chunk } = chunk;
        let kind = Kind::of(chunk);
        if !self.run.is_empty() && !self.run.takes(kind) {
            self.write_run()?;
        }
        if let (Kind::Opaque, StoredChunk::Encoded(opaque)) = (kind, chunk) {
            let at = self.pages.write_opaque(opaque)?;
            let n_samples = opaque.sample_count();
            let n_samples = n_samples.map_err(|source| self.malformed(source))?;
            let meta = ChunkMeta { mint: *mint, maxt: *maxt, chunk: at };
            self.entries.push(ChunkEntry { meta, n_samples: n_samples.into(), bounds: None });
            return Ok(());
        }
        let pushed = self.run.push(chunk);
        pushed.map_err(|source| self.malformed(source))
    }

    /// Makes one chunk of those that follow each other, by copying their columns.
    fn write_copies(&mut self, chunks: &[BlockChunk]) -> Result<(), Error> {
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return Ok(()) };
        let copies: Vec<&PagedChunk> = chunks
            .iter()
            .filter_map(|chunk| match &chunk.chunk {
                StoredChunk::Paged(paged) => Some(paged),
                _ => None,
            })
            .collect();
        let n_samples = copies.iter().map(|copy| copy.n_samples()).sum::<usize>();
        let n_samples = u32::try_from(n_samples).expect("at most 8,192");
        let bounds = copies.iter().map(|copy| copy.bounds);
        let bounds = bounds.reduce(|all, next| Some(all?.followed_by(&next?))).flatten();
        let chunk = self.pages.write_copies(&copies)?;
        let meta = ChunkMeta { mint: first.mint, maxt: last.maxt, chunk };
        self.entries.push(ChunkEntry { meta, n_samples, bounds });
        Ok(())
    }

    /// Writes the samples gathered as chunks, as few as they fit.
    fn write_run(&mut self) -> Result<(), Error> {
        let run = std::mem::take(&mut self.run);
        let cut_ms = run.cut_ms();
        let mut start = 0;
        while start < run.times.len() {
            start = self.write_chunk(&run, start, run.end_of_chunk(start, cut_ms))?;
        }
        self.run = run;
        self.run.clear();
        Ok(())
    }

    /// Writes samples of a run as a chunk, fewer of them if they are too large; returns where it
    /// ends.
    fn write_chunk(&mut self, run: &Run, start: usize, end: usize) -> Result<usize, Error> {
        let mut end = end;
        loop {
            let refused = match self.pages.write(run, start, end)? {
                Ok(chunk) => {
                    self.note(run, start, end, chunk);
                    return Ok(end);
                }
                Err(refused) => refused,
            };
            if end - start > 1 {
                end = start + (end - start) / 2;
                continue;
            }
            // A histogram that columns cannot hold stays as Prometheus encodes it.
            let opaque = match &run.values {
                RunValues::Histograms(histograms) => alone(run, start, &histograms[start]),
                RunValues::FloatHistograms(histograms) => alone(run, start, &histograms[start]),
                _ => Err(refused),
            };
            let opaque = opaque.map_err(|source| self.malformed(source))?;
            let chunk = self.pages.write_opaque(&opaque)?;
            self.note(run, start, end, chunk);
            return Ok(end);
        }
    }

    fn note(&mut self, run: &Run, start: usize, end: usize, chunk: ChunkRef) {
        let times = &run.times[start..end];
        let (Some(mint), Some(maxt)) = (times.first(), times.last()) else { return };
        let bounds = match &run.values {
            RunValues::Floats(values) => ValueBounds::of(&values[start..end]),
            _ => None,
        };
        let n_samples = u32::try_from(times.len()).expect("at most 8,192");
        let meta = ChunkMeta { mint: *mint, maxt: *maxt, chunk };
        self.entries.push(ChunkEntry { meta, n_samples, bounds });
    }

    fn malformed(&self, source: ferula_chunkenc::Error) -> Error {
        Error::Decode { file: self.dir.clone(), source }
    }
}

/// A chunk of one histogram, as Prometheus encodes it.
fn alone<H: ChunkHistogram>(
    run: &Run,
    at: usize,
    histogram: &H,
) -> Result<ferula_chunkenc::Chunk, ferula_chunkenc::Error> {
    let mut appender = match run.starts(at, at + 1) {
        Some(_) => ChunkAppender::<H>::with_start_timestamps(),
        None => ChunkAppender::<H>::new(),
    };
    let start = run.starts(at, at + 1).and_then(<[i64]>::first).copied().unwrap_or_default();
    appender.append_with_start(start, run.times[at], histogram)?;
    Ok(appender.into_chunk())
}

impl SeriesWriter for FerulaWriter<'_> {
    fn numbers_of(&self, labels: &Labels) -> Result<Vec<(u32, u32)>, Error> {
        let numbers = self.index.numbers_of(labels);
        numbers.map_err(|source| Error::Index { op: "write", file: self.file.clone(), source })
    }

    fn add(&mut self, labels: &[(u32, u32)], chunks: &[BlockChunk]) -> Result<u64, Error> {
        self.write(chunks)?;
        let added = self.index.add_numbered_series(labels, &self.entries);
        added.map_err(|source| Error::Index { op: "write", file: self.file.clone(), source })?;
        Ok(self.entries.len() as u64)
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        let Self { file, index, pages, .. } = *self;
        let index = index.finish();
        index.map_err(|source| Error::Index { op: "write", file, source })?.finish()?;
        pages.finish()
    }
}
