//! Writing an index file from front to back.

use std::collections::HashMap;
use std::io::Write;

use ferula_chunkenc::cursor::{put_u8, put_u32_be};

use super::layout::{HEADER_BYTES, MAGIC, SERIES_OF_GROUP, VERSION};
use super::series::{ChunkEntry, EntryState};
use super::sink::{GroupWriter, Sink};
use super::toc::Toc;
use super::values::PairSets;
use super::{names, symbols};
use crate::block::{GapPostings, Section};
use crate::symbols::{Symbol, SymbolTable};
use crate::{Error, Labels, SeriesRef};

/// Most series of an index.
const MAX_SERIES: u32 = u32::MAX - 1;

/// Writes an index file in ferula's own format.
///
/// The file is written from front to back without seeking, in small pieces: `out` should gather
/// them. Until [`finish`](Self::finish) a series takes four bytes in memory and one or two for each
/// label, each label pair some 50 bytes, and symbols their text and 15 bytes.
///
/// ```
/// use ferula_index::ferula::{ChunkEntry, IndexReader, IndexWriter};
/// use ferula_index::{ChunkMeta, ChunkRef, Labels, Matcher};
///
/// let labels = Labels::from_pairs([("__name__", "up"), ("job", "api")])?;
/// let mut writer = IndexWriter::new(Vec::new(), ["__name__", "api", "job", "up"])?;
/// let meta = ChunkMeta { mint: 0, maxt: 1000, chunk: ChunkRef(8) };
/// let chunk = ChunkEntry { meta, n_samples: 2, bounds: None };
/// let series = writer.add_series(&labels, &[chunk])?;
/// let file = writer.finish()?;
///
/// let index = IndexReader::open(file.into())?;
/// let selected = index.select(&[Matcher::equal("job", "api")])?;
/// assert_eq!(selected.iter().collect::<Vec<_>>(), [series]);
/// let mut chunks = Vec::new();
/// assert_eq!(index.cursor().series(series, &mut chunks)?, labels);
/// assert_eq!(chunks, [meta]);
/// # Ok::<(), ferula_index::Error>(())
/// ```
#[derive(Debug)]
pub struct IndexWriter<W> {
    out: Sink<W>,
    toc: Toc,
    symbols: SymbolTable,
    series: GroupWriter,
    entry: EntryState,
    postings: GapPostings,
    /// By symbol: the number that a name has in entries, in the order in which they came.
    names: HashMap<u32, u32>,
    n_series: u32,
    /// Labels of the series before, as symbols.
    last: Vec<(u32, u32)>,
    /// Where in the postings its pairs have their series: the next one has most of them too.
    places: Vec<u32>,
    last_chunk: u64,
    numbered: Vec<(u32, u32)>,
}

impl<W: Write> IndexWriter<W> {
    /// Begins an index file with `symbols`: all label names and values of the series to come, in
    /// ascending order. More than these do no harm.
    ///
    /// # Errors
    /// [`Error::SymbolOrder`] if they do not ascend, [`Error::TooLarge`] if they are more than the
    /// format can hold, [`Error::Write`] if writing fails.
    pub fn new<S: AsRef<str>>(out: W, symbols: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        let mut out = Sink::new(out);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        put_u32_be(&mut header, MAGIC);
        put_u8(&mut header, VERSION);
        header.resize(HEADER_BYTES, 0);
        out.write(&header)?;
        // The header belongs to no section.
        out.end_section();
        let (symbols, ends) = symbols::write(&mut out, symbols)?;
        let mut toc = Toc { n_symbols: narrow(symbols.len()), ..Toc::default() };
        toc.sections[..2].copy_from_slice(&ends);
        let series = GroupWriter::new(Section::Series, out.position());
        Ok(Self {
            out,
            toc,
            symbols,
            series,
            entry: EntryState::default(),
            postings: GapPostings::default(),
            names: HashMap::new(),
            n_series: 0,
            last: Vec::new(),
            places: Vec::new(),
            last_chunk: 0,
            numbered: Vec::new(),
        })
    }

    /// Adds a series, which must come after the last one in label order. Its chunks must not
    /// overlap, and refs of chunks ascend over all series. Returns the ref that it has in the file:
    /// series are numbered from one.
    ///
    /// # Errors
    /// [`Error::SeriesOrder`], [`Error::ChunkOrder`] and [`Error::UnknownSymbol`] leave the file as
    /// it was. [`Error::TooLarge`] beyond 1 TiB or 4,294,967,294 series; [`Error::Write`] if writing
    /// fails.
    pub fn add_series(
        &mut self,
        labels: &Labels,
        chunks: &[ChunkEntry],
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
        chunks: &[ChunkEntry],
    ) -> Result<SeriesRef, Error> {
        let n_symbols = self.toc.n_symbols;
        assert!(
            labels.is_sorted_by(|a, b| a.0 < b.0)
                && labels.iter().all(|(name, value)| *name.max(value) < n_symbols),
            "names ascend, and all are symbols"
        );
        self.check_order(labels, chunks)?;
        if self.n_series.is_multiple_of(SERIES_OF_GROUP) {
            self.series.end(&mut self.out)?;
            self.series.begin();
            self.entry.clear();
        }
        let names = &mut self.names;
        let mut number = |name: u32| {
            let next = narrow(names.len());
            *names.entry(name).or_insert(next)
        };
        self.numbered.clear();
        self.numbered.extend(labels.iter().map(|&(name, value)| (number(name), value)));
        self.entry.put(self.series.content(), &self.numbered, chunks);
        self.n_series += 1;

        self.places.resize(labels.len(), u32::MAX);
        for (at, pair) in labels.iter().enumerate() {
            if self.last.get(at) != Some(pair) {
                self.places[at] = self.postings.number(*pair)?;
            }
        }
        self.postings.add(self.n_series, &self.places);
        self.last.clear();
        self.last.extend_from_slice(labels);
        self.last_chunk = chunks.last().map_or(self.last_chunk, |chunk| chunk.meta.chunk.0);
        Ok(SeriesRef(self.n_series.into()))
    }

    /// Writes what comes behind the series, and hands back what was written to.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if a part is more than the format can hold, [`Error::Write`] if writing
    /// fails.
    pub fn finish(self) -> Result<W, Error> {
        let Self { mut out, mut toc, symbols, series, postings, names: numbers, .. } = self;
        toc.n_series = self.n_series;
        toc.sections[2..4].copy_from_slice(&series.finish(&mut out)?);
        // Symbols are sorted, so their numbers sort like the text.
        let order = postings.order();
        let sets = PairSets::write_bitmaps(&mut out, &postings, &order)?;
        toc.sections[4] = out.end_section();
        let (n_groups, ends) = sets.write_values(&mut out, &postings, &order)?;
        toc.n_value_groups = n_groups;
        toc.sections[5..7].copy_from_slice(&ends);

        let values = order.chunk_by(|a, b| postings.pair(*a).0 == postings.pair(*b).0);
        let of_names: Vec<(u32, usize)> =
            values.map(|pairs| (postings.pair(pairs[0]).0, pairs.len())).collect();
        let names = of_names.iter().map(|&(name, n_values)| {
            (symbols.get(Symbol(name)), numbers[&name], name, narrow(n_values))
        });
        let mut buffer = Vec::new();
        names::put(&mut buffer, names);
        out.write(&buffer)?;
        toc.sections[7] = out.end_section();

        buffer.clear();
        toc.write(&mut buffer);
        out.write(&buffer)?;
        out.finish()
    }

    fn check_order(&self, labels: &[(u32, u32)], chunks: &[ChunkEntry]) -> Result<(), Error> {
        if self.n_series > 0 && self.last.as_slice() >= labels {
            let (labels, last) =
                (self.symbols.labels_of(labels)?, self.symbols.labels_of(&self.last)?);
            return Err(Error::SeriesOrder { labels, last });
        }
        if self.n_series == MAX_SERIES {
            let (section, limit_bytes) = (Section::Series, MAX_SERIES.into());
            return Err(Error::TooLarge { section, size_bytes: limit_bytes + 1, limit_bytes });
        }
        let mut last_ref = self.last_chunk;
        let mut last_maxt = None;
        for ChunkEntry { meta, .. } in chunks {
            if meta.maxt < meta.mint
                || last_maxt.is_some_and(|maxt| meta.mint <= maxt)
                || meta.chunk.0 < last_ref
            {
                let labels = self.symbols.labels_of(labels)?;
                return Err(Error::ChunkOrder { labels, chunk: meta.chunk });
            }
            (last_ref, last_maxt) = (meta.chunk.0, Some(meta.maxt));
        }
        Ok(())
    }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).expect("symbols are numbered in 32 bits")
}
