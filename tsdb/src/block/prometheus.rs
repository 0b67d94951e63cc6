//! Blocks as Prometheus stores them: an index of version 2 and chunk segments.

use std::path::{Path, PathBuf};

use ferula_chunkenc::SampleBatch;
use ferula_index::block::{IndexReader, IndexWriter};
use ferula_index::ferula::ChunkEntry;
use ferula_index::postings::Postings;
use ferula_index::{ChunkMeta, ChunkRef, Labels, Matcher, Pace, SeriesRef};
use ferula_wal::fs::Fs;

use super::chunks::{ChunkReader, ChunkWriter};
use super::format::{ChunkStream, SeriesCursor, SeriesReader, SeriesWriter};
use super::output::OutputFile;
use super::segments::{CHUNKS_DIR, record_bytes};
use super::stored::{BlockChunk, ChunkSize, PageSizes, StoredChunk};
use crate::error::Error;
use crate::mmap::open_bytes;
use crate::querier::decode_between;

/// Name of the index in a block.
pub(super) const INDEX_FILE: &str = "index";

/// Reads a block as Prometheus stores it.
#[derive(Debug)]
pub(super) struct PrometheusReader {
    file: PathBuf,
    index: IndexReader,
    chunks: ChunkReader,
}

impl PrometheusReader {
    /// Checks the frame of the index and the headers of the segments in `dir`.
    pub(super) fn open(fs: &dyn Fs, dir: &Path) -> Result<Self, Error> {
        let file = dir.join(INDEX_FILE);
        let index = IndexReader::open(open_bytes(fs, &file)?).map_err(|source| Error::Index {
            op: "open",
            file: file.clone(),
            source,
        })?;
        let chunks = ChunkReader::open(fs, dir.join(CHUNKS_DIR))?;
        Ok(Self { file, index, chunks })
    }

    fn of_index<T>(&self, result: Result<T, ferula_index::Error>) -> Result<T, Error> {
        result.map_err(|source| Error::Index { op: "read", file: self.file.clone(), source })
    }
}

impl SeriesReader for PrometheusReader {
    fn select_paced(
        &self,
        matchers: &[Matcher],
        pace: &Pace<'_>,
    ) -> Result<Option<Postings>, Error> {
        self.of_index(self.index.select_paced(matchers, pace))
    }

    fn cursor(&self) -> Box<dyn SeriesCursor + '_> {
        Box::new(PrometheusCursor(self))
    }

    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        self.of_index(self.index.label_names(matchers))
    }

    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        self.of_index(self.index.label_values(name, matchers))
    }

    fn stream<'a>(&'a self, fs: &'a dyn Fs) -> Box<dyn ChunkStream + 'a> {
        Box::new(self.chunks.stream(fs))
    }

    fn for_each_symbol(&self, each: &mut dyn FnMut(&str)) -> Result<(), Error> {
        for symbol in self.index.symbols() {
            each(self.of_index(symbol)?);
        }
        Ok(())
    }

    fn read(
        &self,
        meta: &ChunkMeta,
        mint: i64,
        maxt: i64,
        batch: &mut SampleBatch,
    ) -> Result<(), Error> {
        let chunk = self.chunks.read(meta.chunk)?;
        let decoded = if mint <= meta.mint && meta.maxt <= maxt {
            chunk.decode_into(batch)
        } else {
            decode_between(&chunk, mint, maxt, batch)
        };
        decoded.map_err(|source| self.chunks.error(meta.chunk, source))
    }

    fn chunk_size(&self, chunk: ChunkRef, _: &mut PageSizes) -> Result<ChunkSize, Error> {
        let data = self.chunks.read(chunk)?;
        let n_samples = data.sample_count().map_err(|source| self.chunks.error(chunk, source))?;
        Ok(ChunkSize { n_samples: n_samples.into(), bytes: record_bytes(data.data.len()) })
    }

    fn chunk_error(&self, chunk: ChunkRef, source: ferula_chunkenc::Error) -> Error {
        self.chunks.error(chunk, source)
    }

    fn verify(&self) -> Result<(), Error> {
        // Opening has verified all of the index but series and postings.
        Ok(())
    }
}

/// Reads series by their refs.
#[derive(Debug)]
struct PrometheusCursor<'a>(&'a PrometheusReader);

impl SeriesCursor for PrometheusCursor<'_> {
    fn series(&mut self, series: SeriesRef, chunks: &mut Vec<ChunkMeta>) -> Result<Labels, Error> {
        self.0.of_index(self.0.index.series(series, chunks))
    }

    fn numbered_series(
        &mut self,
        series: SeriesRef,
        labels: &mut Vec<(u32, u32)>,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<(), Error> {
        self.0.of_index(self.0.index.numbered_series(series, labels, chunks))
    }

    fn entries(&mut self, _: SeriesRef, entries: &mut Vec<ChunkEntry>) -> Result<(), Error> {
        entries.clear();
        Ok(())
    }
}

/// Writes a block as Prometheus stores it.
#[derive(Debug)]
pub(super) struct PrometheusWriter<'a> {
    file: PathBuf,
    index: IndexWriter<OutputFile>,
    chunks: ChunkWriter<'a>,
    metas: Vec<ChunkMeta>,
}

impl<'a> PrometheusWriter<'a> {
    pub(super) fn create(
        fs: &'a dyn Fs,
        dir: &Path,
        symbols: &mut dyn Iterator<Item = &str>,
        chunk_segment_bytes: u64,
    ) -> Result<Self, Error> {
        let chunks = ChunkWriter::create(fs, dir.join(CHUNKS_DIR), chunk_segment_bytes)?;
        let file = dir.join(INDEX_FILE);
        let output = OutputFile::create(fs, file.clone())?;
        let index = IndexWriter::new(output, symbols).map_err(|source| Error::Index {
            op: "write",
            file: file.clone(),
            source,
        })?;
        Ok(Self { file, index, chunks, metas: Vec::new() })
    }

    /// Writes the chunks of a series and keeps where they are.
    fn write(&mut self, chunks: &[BlockChunk]) -> Result<(), Error> {
        self.metas.clear();
        for BlockChunk { mint, maxt, chunk } in chunks {
            let StoredChunk::Encoded(chunk) = chunk else {
                unreachable!("chunks that the format does not store are encoded anew")
            };
            let chunk = self.chunks.write(chunk)?;
            self.metas.push(ChunkMeta { mint: *mint, maxt: *maxt, chunk });
        }
        Ok(())
    }
}

impl SeriesWriter for PrometheusWriter<'_> {
    fn numbers_of(&self, labels: &Labels) -> Result<Vec<(u32, u32)>, Error> {
        let numbers = self.index.numbers_of(labels);
        numbers.map_err(|source| Error::Index { op: "write", file: self.file.clone(), source })
    }

    fn add(&mut self, labels: &[(u32, u32)], chunks: &[BlockChunk]) -> Result<u64, Error> {
        self.write(chunks)?;
        let added = self.index.add_numbered_series(labels, &self.metas);
        added.map_err(|source| Error::Index { op: "write", file: self.file.clone(), source })?;
        Ok(self.metas.len() as u64)
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        let Self { file, index, chunks, .. } = *self;
        let index = index.finish();
        index.map_err(|source| Error::Index { op: "write", file, source })?.finish()?;
        chunks.finish()
    }
}
