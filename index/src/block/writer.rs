//! Writing an index file from front to back.

use std::io::{self, Write};

use ferula_chunkenc::cursor::{crc32c, crc32c_append, put_u8, put_u32_be, put_uvarint};

use super::gaps::GapPostings;
use super::layout::{
    MAGIC, MAX_INDEX_BYTES, MAX_SECTION_BYTES, POSTINGS_ALIGN, SERIES_ALIGN, Section, VERSION,
};
use super::series::put_series;
use super::toc::Toc;
use super::{postings_table, symbols};
use crate::symbols::{Symbol, SymbolTable};
use crate::{ChunkMeta, Error, Labels, SeriesRef};

/// Bytes gathered before they are handed on.
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes of postings that are handed on at once.
const POSTINGS_BATCH_BYTES: usize = 16 << 10;

/// Writes an index file in the format of Prometheus, version 2.
///
/// The file is written from front to back without seeking, and postings come behind the series. Until
/// then a series takes four bytes in memory and one or two for each label, which make some 25 for ten
/// labels; each label pair takes some 50 bytes, and symbols their text and 15 bytes.
///
/// ```
/// use ferula_index::{ChunkMeta, ChunkRef, Labels, Matcher};
/// use ferula_index::block::{IndexReader, IndexWriter};
///
/// let labels = Labels::from_pairs([("__name__", "up"), ("job", "api")])?;
/// let mut writer = IndexWriter::new(Vec::new(), ["__name__", "api", "job", "up"])?;
/// let chunk = ChunkMeta { mint: 0, maxt: 1000, chunk: ChunkRef(8) };
/// let series = writer.add_series(&labels, &[chunk])?;
/// let file = writer.finish()?;
///
/// let index = IndexReader::open(file.into())?;
/// let selected = index.select(&[Matcher::equal("job", "api")])?;
/// assert_eq!(selected.iter().collect::<Vec<_>>(), [series]);
/// let mut chunks = Vec::new();
/// assert_eq!(index.series(series, &mut chunks)?, labels);
/// assert_eq!(chunks, [chunk]);
/// # Ok::<(), ferula_index::Error>(())
/// ```
#[derive(Debug)]
pub struct IndexWriter<W> {
    out: Output<W>,
    toc: Toc,
    symbols: SymbolTable,
    postings: GapPostings,
    last: Option<Last>,
    buffer: Vec<u8>,
}

/// The series before.
#[derive(Debug, Default)]
struct Last {
    /// Numbers of its names and values.
    labels: Vec<(u32, u32)>,
    /// Where in the postings its pairs have their series: the next one has most of them too.
    places: Vec<u32>,
    chunk: Option<ChunkMeta>,
}

impl<W: Write> IndexWriter<W> {
    /// Begins an index file with `symbols`: all label names and values of the series to come, in
    /// ascending order. More than these do no harm; Prometheus adds the empty string to the blocks
    /// that it writes from its head.
    ///
    /// # Errors
    /// [`Error::SymbolOrder`] if they do not ascend, [`Error::TooLarge`] if they are more than the
    /// format can hold, [`Error::Write`] if writing fails.
    pub fn new<S: AsRef<str>>(out: W, symbols: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        let mut out = Output::new(out);
        let mut buffer = Vec::new();
        put_u32_be(&mut buffer, MAGIC);
        put_u8(&mut buffer, VERSION);
        out.write(&buffer)?;
        let mut toc = Toc { symbols: out.position(), ..Toc::default() };
        let symbols = symbols::write(&mut out, symbols)?;
        toc.series = out.position();
        Ok(Self { out, toc, symbols, postings: GapPostings::default(), last: None, buffer })
    }

    /// Adds a series, which must come after the last one in label order. Its chunks must not
    /// overlap, and refs of chunks ascend over all series. Returns the ref that it has in the file.
    ///
    /// # Errors
    /// [`Error::SeriesOrder`], [`Error::ChunkOrder`] and [`Error::UnknownSymbol`] leave the file as
    /// it was. [`Error::TooLarge`] beyond 64 GiB; [`Error::Write`] if writing fails.
    pub fn add_series(
        &mut self,
        labels: &Labels,
        chunks: &[ChunkMeta],
    ) -> Result<SeriesRef, Error> {
        let numbers = self.numbers_of(labels)?;
        self.add_numbered_series(&numbers, chunks)
    }

    /// Labels as pairs of numbers, which count the symbols from zero.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`] if one of their texts is none of the symbols.
    pub fn numbers_of(&self, labels: &Labels) -> Result<Vec<(u32, u32)>, Error> {
        self.symbols.numbers_of(labels)
    }

    /// Adds a series as [`add_series`](Self::add_series) does, with its labels as pairs of numbers,
    /// which count the symbols from zero.
    ///
    /// # Errors
    /// Those of [`add_series`](Self::add_series).
    ///
    /// # Panics
    /// If the names do not ascend, or there is no symbol with a number.
    pub fn add_numbered_series(
        &mut self,
        labels: &[(u32, u32)],
        chunks: &[ChunkMeta],
    ) -> Result<SeriesRef, Error> {
        let n_symbols = self.symbols.len() as u64;
        assert!(
            labels.is_sorted_by(|a, b| a.0 < b.0)
                && labels.iter().all(|(name, value)| u64::from(*name.max(value)) < n_symbols),
            "names ascend, and all are symbols"
        );
        self.check_order(labels, chunks)?;
        let start = self.out.position().next_multiple_of(SERIES_ALIGN);
        let series = u32::try_from(start / SERIES_ALIGN).map_err(|_| too_large(start))?;
        self.out.pad(SERIES_ALIGN)?;
        self.buffer.clear();
        put_series(&mut self.buffer, labels, chunks);
        let mut len = Vec::new();
        put_uvarint(&mut len, self.buffer.len() as u64);
        self.out.write(&len)?;
        let crc = crc32c(&self.buffer);
        put_u32_be(&mut self.buffer, crc);
        self.out.write(&self.buffer)?;

        let last = self.last.get_or_insert_default();
        last.places.resize(labels.len(), u32::MAX);
        for (at, pair) in labels.iter().enumerate() {
            if last.labels.get(at) != Some(pair) {
                last.places[at] = self.postings.number(*pair)?;
            }
        }
        self.postings.add(series, &last.places);
        last.labels.clear();
        last.labels.extend_from_slice(labels);
        last.chunk = chunks.last().copied().or(last.chunk);
        Ok(SeriesRef(u64::from(series)))
    }

    /// Writes postings, their table and the table of contents, and hands back what was written to.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if a part is more than the format can hold, [`Error::Write`] if writing
    /// fails.
    pub fn finish(mut self) -> Result<W, Error> {
        self.toc.label_indices = self.out.position();
        self.toc.postings = self.out.position();
        let postings = std::mem::take(&mut self.postings);
        let all_at = self.write_postings(postings.n_series(), postings.all())?;
        // Symbols are sorted, so their numbers sort like the text.
        let order = postings.order();
        let mut places = Vec::with_capacity(order.len());
        for &pair in &order {
            places.push(self.write_postings(postings.n_series_of(pair), postings.series(pair))?);
        }

        self.toc.label_indices_table = self.out.position();
        self.toc.postings_table = self.out.position();
        let symbols = &self.symbols;
        let text = |number| symbols.get(Symbol(number));
        let pairs = order.iter().zip(&places).map(|(&pair, &at)| {
            let (name, value) = postings.pair(pair);
            (text(name), text(value), at)
        });
        let entries = std::iter::once(("", "", all_at)).chain(pairs);
        postings_table::write(&mut self.out, entries)?;

        self.buffer.clear();
        self.toc.write(&mut self.buffer);
        self.out.write(&self.buffer)?;
        self.out.finish()
    }

    fn check_order(&self, labels: &[(u32, u32)], chunks: &[ChunkMeta]) -> Result<(), Error> {
        let last = self.last.as_ref();
        if let Some(last) = last.filter(|last| last.labels.as_slice() >= labels) {
            let (labels, last) =
                (self.symbols.labels_of(labels)?, self.symbols.labels_of(&last.labels)?);
            return Err(Error::SeriesOrder { labels, last });
        }
        let mut last_ref = last.and_then(|last| last.chunk).map(|last| last.chunk);
        let mut last_maxt = None;
        for chunk in chunks {
            if chunk.maxt < chunk.mint
                || last_maxt.is_some_and(|maxt| chunk.mint <= maxt)
                || last_ref.is_some_and(|last| chunk.chunk < last)
            {
                let labels = self.symbols.labels_of(labels)?;
                return Err(Error::ChunkOrder { labels, chunk: chunk.chunk });
            }
            (last_ref, last_maxt) = (Some(chunk.chunk), Some(chunk.maxt));
        }
        Ok(())
    }

    /// Writes one list of series and returns where it is.
    fn write_postings(
        &mut self,
        n_series: u32,
        series: impl Iterator<Item = u32>,
    ) -> Result<u64, Error> {
        let size = 4 + 4 * u64::from(n_series);
        let len = u32::try_from(size).map_err(|_| Error::TooLarge {
            section: Section::Postings,
            size_bytes: size,
            limit_bytes: MAX_SECTION_BYTES,
        })?;
        self.out.pad(POSTINGS_ALIGN)?;
        let at = self.out.position();
        self.out.write(&len.to_be_bytes())?;
        self.out.start_checksum();
        self.buffer.clear();
        put_u32_be(&mut self.buffer, n_series);
        for series in series {
            put_u32_be(&mut self.buffer, series);
            if self.buffer.len() >= POSTINGS_BATCH_BYTES {
                self.out.write(&self.buffer)?;
                self.buffer.clear();
            }
        }
        self.out.write(&self.buffer)?;
        self.out.write_checksum()?;
        Ok(at)
    }
}

/// Bytes on their way out: counted, gathered, and summed up where a section has a checksum.
#[derive(Debug)]
pub(super) struct Output<W> {
    out: W,
    buffer: Vec<u8>,
    flushed: u64,
    /// Where in the buffer the part begins that `crc` does not cover yet.
    unsummed: usize,
    crc: u32,
}

impl<W: Write> Output<W> {
    fn new(out: W) -> Self {
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Self { out, buffer, flushed: 0, unsummed: 0, crc: 0 }
    }

    /// Number of bytes written so far.
    pub(super) fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        if self.position() > MAX_INDEX_BYTES {
            return Err(too_large(self.position()));
        }
        Ok(())
    }

    /// Writes zeros up to a multiple of `align`.
    fn pad(&mut self, align: u64) -> Result<(), Error> {
        while !self.position().is_multiple_of(align) {
            self.write(&[0])?;
        }
        Ok(())
    }

    /// Begins a checksum with the next byte.
    pub(super) fn start_checksum(&mut self) {
        self.crc = 0;
        self.unsummed = self.buffer.len();
    }

    /// Writes the checksum of the bytes since [`Output::start_checksum`].
    pub(super) fn write_checksum(&mut self) -> Result<(), Error> {
        let crc = crc32c_append(self.crc, &self.buffer[self.unsummed..]);
        self.write(&crc.to_be_bytes())
    }

    fn flush(&mut self) -> Result<(), io::Error> {
        self.out.write_all(&self.buffer)?;
        self.crc = crc32c_append(self.crc, &self.buffer[self.unsummed..]);
        self.unsummed = 0;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<W, Error> {
        self.flush()?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn too_large(size_bytes: u64) -> Error {
    Error::TooLarge { section: Section::Series, size_bytes, limit_bytes: MAX_INDEX_BYTES }
}
