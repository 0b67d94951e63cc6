//! Reading an index file.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use ferula_chunkenc::cursor::Cursor;

use super::layout::{Addressing, HEADER_BYTES, MAGIC, Section};
use super::postings_table::PostingsTable;
use super::section::SectionReader;
use super::series::{read_chunks, read_labels};
use super::symbols::Symbols;
use super::toc::Toc;
use crate::error::Corruption;
use crate::pace::Pace;
use crate::postings::Postings;
use crate::postings::select::{PostingsSource, select};
use crate::{ChunkMeta, Error, Labels, Matcher, SeriesRef};

/// Reads an index file in the format of Prometheus, versions 1 to 3, from memory or a memory map.
///
/// Opening verifies table of contents, symbols and postings table, and keeps the place of every
/// few entries; series and postings are verified when they are read. Refs ascend with labels.
#[derive(Clone, Debug)]
pub struct IndexReader {
    data: Bytes,
    toc: Toc,
    addressing: Addressing,
    symbols: Symbols,
    table: PostingsTable,
    /// Label names by number: few, and half of all lookups.
    names: HashMap<u32, Box<str>>,
}

impl IndexReader {
    /// Opens the index file whose content is `data`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is no index of versions 1 to 3 or fails verification.
    pub fn open(data: Bytes) -> Result<Self, Error> {
        let mut header = SectionReader::at(Section::Header, &data, 0)?;
        let magic = header.read(Cursor::u32_be)?;
        if magic != MAGIC {
            return Err(header.corrupt(Corruption::Magic { found: magic }));
        }
        let version = header.read(Cursor::u8)?;
        let Some(addressing) = Addressing::of_version(version) else {
            return Err(header.corrupt(Corruption::Version { found: version }));
        };
        debug_assert_eq!(header.offset(), HEADER_BYTES as u64, "the header is what was read");
        let toc = Toc::read(&data)?;
        let symbols = Symbols::open(&data, toc.symbols, addressing)?;
        let table = PostingsTable::open(&data, toc.postings_table, addressing)?;
        let mut names = HashMap::new();
        for name in table.names() {
            let Some(symbol) = symbols.lookup(name)? else {
                let (section, offset) = (Section::PostingsTable, toc.postings_table);
                return Err(Error::Corrupt { section, offset, source: Corruption::Symbol });
            };
            names.insert(symbol, name.into());
        }
        Ok(Self { data, toc, addressing, symbols, table, names })
    }

    /// The labels of a series.
    ///
    /// # Errors
    /// [`Error::UnknownSeries`] if there is none at this ref, [`Error::Corrupt`].
    pub fn labels(&self, series: SeriesRef) -> Result<Labels, Error> {
        self.read_labels(&mut self.entry(series)?)
    }

    /// The labels of a series; `chunks` is filled with its chunks, in time order.
    ///
    /// # Errors
    /// [`Error::UnknownSeries`] if there is none at this ref, [`Error::Corrupt`].
    pub fn series(&self, series: SeriesRef, chunks: &mut Vec<ChunkMeta>) -> Result<Labels, Error> {
        chunks.clear();
        let mut entry = self.entry(series)?;
        let labels = self.read_labels(&mut entry)?;
        read_chunks(&mut entry, chunks)?;
        Ok(labels)
    }

    /// The labels of a series as pairs of numbers, which count the strings of
    /// [`symbols`](Self::symbols) from zero: `labels` is filled with them, and `chunks` with its
    /// chunks, in time order. For whoever copies series, this is several times as fast as
    /// [`series`](Self::series).
    ///
    /// # Errors
    /// [`Error::UnknownSeries`] if there is none at this ref, [`Error::Corrupt`].
    pub fn numbered_series(
        &self,
        series: SeriesRef,
        labels: &mut Vec<(u32, u32)>,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<(), Error> {
        labels.clear();
        chunks.clear();
        let mut entry = self.entry(series)?;
        read_labels(&mut entry, |name, value| {
            labels.push((name, value));
            Ok(())
        })?;
        if labels.iter().any(|(name, value)| *name.max(value) >= self.symbols.len()) {
            return Err(entry.corrupt(Corruption::Symbol));
        }
        // Symbols are sorted, so their numbers sort like the text.
        if !labels.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(entry.corrupt(Corruption::Order));
        }
        read_chunks(&mut entry, chunks)
    }

    /// The series that pass all `matchers`, in label order; without matchers, all of them.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn select(&self, matchers: &[Matcher]) -> Result<Postings, Error> {
        Ok(select(self, matchers, &Pace::steady())?.unwrap_or_default())
    }

    /// Selects as [`select`](Self::select) does, as long as `pace` goes on; `None` if it did not to the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn select_paced(
        &self,
        matchers: &[Matcher],
        pace: &Pace<'_>,
    ) -> Result<Option<Postings>, Error> {
        select(self, matchers, pace)
    }

    /// The series with the label `name` of the given value, in label order.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn postings(&self, name: &str, value: &str) -> Result<Postings, Error> {
        match self.table.find(name, value)? {
            Some(offset) => self.read_postings(offset),
            None => Ok(Postings::new()),
        }
    }

    /// The label names of the series that pass all `matchers`, sorted.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        if matchers.is_empty() {
            return Ok(self.table.names().map(str::to_owned).collect());
        }
        let mut numbers = BTreeSet::new();
        for series in &self.select(matchers)? {
            read_labels(&mut self.entry(series)?, |name, _| {
                numbers.insert(name);
                Ok(())
            })?;
        }
        // Symbols are sorted, so their numbers sort like the text.
        numbers.into_iter().map(|name| self.name(name).map(str::to_owned)).collect()
    }

    /// The values that the label `name` has in the series that pass all `matchers`, sorted.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        let mut values = Vec::new();
        if matchers.is_empty() {
            self.table.for_each(name, "", |value, _| {
                values.push(value.to_owned());
                Ok(())
            })?;
            return Ok(values);
        }
        let selected = self.select(matchers)?;
        if selected.len() > self.table.n_values(name) as u64 {
            self.table.for_each(name, "", |value, offset| {
                if !self.read_postings(offset)?.is_disjoint(&selected) {
                    values.push(value.to_owned());
                }
                Ok(())
            })?;
            return Ok(values);
        }
        let Some(wanted) = self.symbols.lookup(name)? else { return Ok(values) };
        let mut numbers = BTreeSet::new();
        for series in &selected {
            read_labels(&mut self.entry(series)?, |name, value| {
                if name == wanted {
                    numbers.insert(value);
                }
                Ok(())
            })?;
        }
        numbers.into_iter().map(|value| self.symbols.get(value).map(str::to_owned)).collect()
    }

    /// All strings of the index, sorted.
    pub fn symbols(&self) -> impl Iterator<Item = Result<&str, Error>> {
        self.symbols.iter()
    }

    /// Number of strings.
    pub fn n_symbols(&self) -> u32 {
        self.symbols.len()
    }

    /// Size of the file.
    pub fn size_bytes(&self) -> u64 {
        self.data.len() as u64
    }

    /// The verified entry of a series.
    fn entry(&self, series: SeriesRef) -> Result<SectionReader<'_>, Error> {
        let offset = series
            .0
            .checked_mul(self.addressing.series_align())
            .filter(|offset| (self.toc.series..self.toc.series_end()).contains(offset))
            .ok_or(Error::UnknownSeries { series })?;
        SectionReader::at(Section::Series, &self.data, offset)?.sized_by_uvarint()
    }

    fn read_labels(&self, entry: &mut SectionReader<'_>) -> Result<Labels, Error> {
        let mut pairs = Vec::new();
        read_labels(entry, |name, value| {
            pairs.push((self.name(name)?, self.symbols.get(value)?));
            Ok(())
        })?;
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(entry.corrupt(Corruption::Order));
        }
        Labels::from_sorted(pairs.into_iter())
    }

    fn name(&self, symbol: u32) -> Result<&str, Error> {
        match self.names.get(&symbol) {
            Some(name) => Ok(name),
            None => self.symbols.get(symbol),
        }
    }

    fn read_postings(&self, offset: u64) -> Result<Postings, Error> {
        let mut reader = SectionReader::checked(Section::Postings, &self.data, offset)?;
        let count = reader.read(Cursor::u32_be)?;
        let bytes = reader.read(|cursor| cursor.bytes(cursor.remaining()))?;
        let (refs, rest) = bytes.as_chunks();
        if refs.len() as u64 != u64::from(count) || !rest.is_empty() {
            return Err(reader.corrupt(Corruption::Count { found: u64::from(count) }));
        }
        let refs: Vec<u64> = refs.iter().map(|series| u32::from_be_bytes(*series).into()).collect();
        if !refs.is_sorted_by(|a, b| a < b) {
            return Err(reader.corrupt(Corruption::Order));
        }
        Ok(Postings::from_ascending(refs))
    }
}

impl PostingsSource for IndexReader {
    type Error = Error;

    fn all(&self) -> Result<Postings, Error> {
        self.postings("", "")
    }

    fn with_pair(
        &self,
        name: &str,
        value: &str,
        read: &mut dyn FnMut(&Postings),
    ) -> Result<(), Error> {
        if let Some(offset) = self.table.find(name, value)? {
            read(&self.read_postings(offset)?);
        }
        Ok(())
    }

    fn unite_matching(
        &self,
        name: &str,
        prefix: &str,
        accept: &dyn Fn(&str) -> bool,
        into: &mut Postings,
    ) -> Result<(), Error> {
        self.table.for_each(name, prefix, |value, offset| {
            if accept(value) {
                into.unite(&self.read_postings(offset)?);
            }
            Ok(())
        })
    }

    fn n_values(&self, name: &str) -> usize {
        self.table.n_values(name)
    }

    fn retain_matching(
        &self,
        matcher: &Matcher,
        selected: &mut Postings,
        pace: &Pace<'_>,
    ) -> Result<(), Error> {
        let Some(wanted) = self.symbols.lookup(matcher.name())? else {
            if !matcher.matches_empty() {
                *selected = Postings::new();
            }
            return Ok(());
        };
        let mut kept = Vec::new();
        for series in selected.iter().take_while(|_| pace.goes_on()) {
            let mut passes = matcher.matches_empty();
            read_labels(&mut self.entry(series)?, |name, value| {
                if name == wanted {
                    passes = matcher.matches(self.symbols.get(value)?);
                }
                Ok(())
            })?;
            kept.extend(passes.then_some(series.0));
        }
        *selected = Postings::from_ascending(kept);
        Ok(())
    }
}
