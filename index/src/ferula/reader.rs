//! Reading an index file.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use ferula_chunkenc::cursor::{Cursor, crc32c};

use super::bitmap::{Bitmaps, SeriesBits};
use super::cursor::SeriesCursor;
use super::groups::Groups;
use super::layout::{HEADER_BYTES, MAGIC, N_SECTIONS, SERIES_OF_GROUP, VERSION};
use super::names::{Name, Names};
use super::series::EntryCursor;
use super::symbols::Symbols;
use super::toc::Toc;
use super::values::{SeriesSet, Values};
use crate::block::{Section, SectionReader};
use crate::error::Corruption;
use crate::pace::Pace;
use crate::postings::Postings;
use crate::postings::select::{PostingsSource, select};
use crate::{ChunkMeta, Error, Labels, Matcher, SeriesRef};

/// What the sections are, in the order of the file.
const SECTIONS: [Section; N_SECTIONS] = [
    Section::Symbols,
    Section::Offsets,
    Section::Series,
    Section::Offsets,
    Section::Postings,
    Section::Values,
    Section::Offsets,
    Section::LabelNames,
];

/// What it costs to look at the labels of one series, in bytes of postings.
const ENTRY_COST: u64 = 64;

/// Reads an index file in ferula's own format, from memory or a memory map.
///
/// Opening reads the table of contents and the label names, whatever the number of series. All else
/// is verified when it is read. Refs count the series from one, in label order.
#[derive(Clone, Debug)]
pub struct IndexReader {
    data: Bytes,
    toc: Toc,
    symbols: Symbols,
    series: Groups,
    values: Values,
    bitmaps: Bitmaps,
    names: Names,
}

impl IndexReader {
    /// Opens the index file whose content is `data`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is no such index or fails verification.
    pub fn open(data: Bytes) -> Result<Self, Error> {
        let mut header = SectionReader::at(Section::Header, &data, 0)?;
        let found = header.read(Cursor::u32_be)?;
        if found != MAGIC {
            return Err(header.corrupt(Corruption::Magic { found }));
        }
        let found = header.read(Cursor::u8)?;
        if found != VERSION {
            return Err(header.corrupt(Corruption::Version { found }));
        }
        let padding = header.read(|cursor| cursor.bytes(HEADER_BYTES - 5))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(header.corrupt(Corruption::Version { found }));
        }
        let toc = Toc::read(&data)?;
        let groups = |section: usize, n_groups| {
            let (range, offsets) = (toc.range(section), toc.range(section + 1));
            Groups::new(SECTIONS[section], &data, range, offsets, n_groups)
        };
        let symbols = Symbols::new(groups(0, Symbols::n_groups(toc.n_symbols))?, toc.n_symbols);
        let series = groups(2, toc.n_series.div_ceil(SERIES_OF_GROUP))?;
        let bitmaps = Bitmaps::new(&data, toc.range(4), toc.n_series);
        let values = Values::new(groups(5, toc.n_value_groups)?, toc.n_series);
        let range = toc.range(7);
        let names = &data[range.clone()];
        let names = Names::read(names, range.start, toc.n_symbols, toc.n_value_groups)?;
        Ok(Self { data, toc, symbols, series, values, bitmaps, names })
    }

    /// Starts reading series.
    pub fn cursor(&self) -> SeriesCursor<'_> {
        let entries = EntryCursor::new(&self.series, self.toc.n_series);
        SeriesCursor::new(self, entries, self.symbols.cursor())
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
        let mut found = Postings::new();
        self.with_pair(name, value, &mut |series| found = series.clone())?;
        Ok(found)
    }

    /// The label names of the series that pass all `matchers`, sorted.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        if matchers.is_empty() {
            return Ok(self.names.iter().map(|name| name.text.to_string()).collect());
        }
        let mut numbers = BTreeSet::new();
        let mut cursor = self.cursor();
        for series in &self.select(matchers)? {
            numbers.extend(cursor.names_of(series)?.iter().map(|(name, _)| *name));
        }
        let mut names: Vec<String> = Vec::with_capacity(numbers.len());
        for number in numbers {
            let name = self.name(number).ok_or(Error::Corrupt {
                section: Section::Series,
                offset: self.toc.range(2).start as u64,
                source: Corruption::Symbol,
            })?;
            names.push(name.text.to_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The values that the label `name` has in the series that pass all `matchers`, sorted.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        let Some(known) = self.names.find(name) else { return Ok(found) };
        let mut text = self.symbols.cursor();
        if matchers.is_empty() {
            let mut values = self.values.from(known, 0)?;
            while let Some((symbol, _)) = values.next()? {
                found.push(text.seek(symbol)?.to_owned());
            }
            return Ok(found);
        }
        let selected = self.select(matchers)?;
        if selected.len() > known.n_values.into() {
            let mut values = self.values.from(known, 0)?;
            while let Some((symbol, series)) = values.next()? {
                if !series.read_series(&self.bitmaps)?.is_disjoint(&selected) {
                    found.push(text.seek(symbol)?.to_owned());
                }
            }
            return Ok(found);
        }
        let Some(number) = self.names.number_of(name) else { return Ok(found) };
        let mut symbols = BTreeSet::new();
        let mut cursor = self.cursor();
        for series in &selected {
            symbols.extend(cursor.value_of(series, number)?);
        }
        for symbol in symbols {
            found.push(text.seek(symbol)?.to_owned());
        }
        Ok(found)
    }

    /// Calls `each` with all strings of the index, which are checked to ascend.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn for_each_symbol(&self, each: impl FnMut(&str)) -> Result<(), Error> {
        self.symbols.for_each(each)
    }

    /// Number of strings.
    pub fn n_symbols(&self) -> u32 {
        self.symbols.len()
    }

    /// Number of series.
    pub fn n_series(&self) -> u32 {
        self.toc.n_series
    }

    /// Size of the file.
    pub fn size_bytes(&self) -> u64 {
        self.data.len() as u64
    }

    /// Bytes of each section, in the order of the file.
    pub fn section_sizes(&self) -> [(Section, u64); N_SECTIONS] {
        let mut section = 0..;
        SECTIONS.map(|name| {
            let range = self.toc.range(section.next().unwrap_or_default());
            (name, range.len() as u64)
        })
    }

    /// Reads the whole file: are all checksums right, do strings and values ascend, and have the
    /// series the labels that the postings say?
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn verify(&self) -> Result<(), Error> {
        for (at, section) in SECTIONS.into_iter().enumerate() {
            let range = self.toc.range(at);
            let (expected, found) = (self.toc.sections[at].1, crc32c(&self.data[range.clone()]));
            if expected != found {
                let offset = range.len();
                let source = ferula_chunkenc::Error::Checksum { offset, expected, found }.into();
                return Err(Error::Corrupt { section, offset: range.start as u64, source });
            }
        }
        self.symbols.for_each(|_| {})?;
        let mut cursor = self.cursor();
        let (mut labels, mut chunks) = (Vec::new(), Vec::new());
        let mut n_of_series: HashMap<u32, u64> = HashMap::new();
        for series in 1..=self.toc.n_series {
            cursor.numbered_series(SeriesRef(series.into()), &mut labels, &mut chunks)?;
            for (name, _) in &labels {
                *n_of_series.entry(*name).or_default() += 1;
            }
        }
        for name in self.names.iter() {
            let mut values = self.values.from(name, 0)?;
            let mut n_of_postings = 0;
            let mut last = None;
            while let Some((symbol, series)) = values.next()? {
                if symbol >= self.n_symbols() || last.is_some_and(|last| last >= symbol) {
                    return Err(self.wrong_values(Corruption::Symbol));
                }
                last = Some(symbol);
                n_of_postings += series.read_series(&self.bitmaps)?.len();
            }
            if n_of_series.get(&name.symbol).copied().unwrap_or_default() != n_of_postings {
                return Err(self.wrong_values(Corruption::Count { found: n_of_postings }));
            }
        }
        Ok(())
    }

    /// The values of a name that start with `prefix` and that `accept` accepts, and their series.
    fn matching(
        &self,
        name: &Name,
        prefix: &str,
        accept: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<(u32, SeriesSet)>, Error> {
        let first = if prefix.is_empty() { 0 } else { self.symbols.search(prefix)?.0 };
        let mut values = self.values.from(name, first)?;
        let mut text = self.symbols.cursor();
        let mut found = Vec::new();
        while let Some((symbol, series)) = values.next()? {
            let value = text.seek(symbol)?;
            if !value.starts_with(prefix) {
                break;
            }
            if accept(value) {
                found.push((symbol, series));
            }
        }
        Ok(found)
    }

    /// All series of some values; none if there are no values.
    fn unite(&self, values: &[(u32, SeriesSet)]) -> Result<Option<SeriesBits>, Error> {
        if values.is_empty() {
            return Ok(None);
        }
        let mut bits = SeriesBits::new(self.toc.n_series);
        for (_, series) in values {
            series.unite_into(&self.bitmaps, &mut bits)?;
        }
        Ok(Some(bits))
    }

    fn wrong_values(&self, source: Corruption) -> Error {
        let offset = self.toc.range(5).start as u64;
        Error::Corrupt { section: Section::Values, offset, source }
    }

    /// The name that has a number in entries of series.
    pub(super) fn name(&self, number: u32) -> Option<&Name> {
        self.names.get(number)
    }

    /// Labels and chunks of a series.
    ///
    /// # Errors
    /// [`Error::UnknownSeries`] if there is none at this ref, [`Error::Corrupt`].
    pub fn series(&self, series: SeriesRef, chunks: &mut Vec<ChunkMeta>) -> Result<Labels, Error> {
        self.cursor().series(series, chunks)
    }
}

impl PostingsSource for IndexReader {
    type Error = Error;

    fn all(&self) -> Result<Postings, Error> {
        let mut all = Postings::new();
        all.insert_range(1..u64::from(self.toc.n_series) + 1);
        Ok(all)
    }

    fn with_pair(
        &self,
        name: &str,
        value: &str,
        read: &mut dyn FnMut(&Postings),
    ) -> Result<(), Error> {
        let Some(name) = self.names.find(name) else { return Ok(()) };
        let Some(symbol) = self.symbols.lookup(value)? else { return Ok(()) };
        if let Some(series) = self.values.find(name, symbol)? {
            read(&series.read_series(&self.bitmaps)?);
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
        let Some(name) = self.names.find(name) else { return Ok(()) };
        let found = self.matching(name, prefix, accept)?;
        if let Some(bits) = self.unite(&found)? {
            into.unite(&bits.to_postings());
        }
        Ok(())
    }

    fn apply_matching(
        &self,
        name: &str,
        prefix: &str,
        accept: &dyn Fn(&str) -> bool,
        subtracts: bool,
        selected: &mut Postings,
    ) -> Result<(), Error> {
        let number = self.names.number_of(name);
        let found = match self.names.find(name) {
            Some(name) => self.matching(name, prefix, accept)?,
            None => Vec::new(),
        };
        let cost: u64 = found.iter().map(|(_, series)| series.cost()).sum();
        if let Some(number) = number.filter(|_| cost > selected.len() * ENTRY_COST) {
            // It is cheaper to look at the labels of those that are left.
            let symbols: HashSet<u32> = found.iter().map(|(symbol, _)| *symbol).collect();
            let mut kept = Vec::new();
            let mut cursor = self.cursor();
            for series in &*selected {
                let value = cursor.value_of(series, number)?;
                let has_one = value.is_some_and(|value| symbols.contains(&value));
                kept.extend((has_one != subtracts).then_some(series.0));
            }
            *selected = Postings::from_ascending(kept);
            return Ok(());
        }
        let bits = self.unite(&found)?;
        if selected.len() * 64 < u64::from(self.toc.n_series) {
            let has_one = |series: u64| bits.as_ref().is_some_and(|bits| bits.contains(series));
            let kept = selected.iter().filter(|series| has_one(series.0) != subtracts);
            *selected = Postings::from_ascending(kept.map(|series| series.0).collect());
            return Ok(());
        }
        let found = bits.map_or_else(Postings::new, |bits| bits.to_postings());
        if subtracts {
            selected.subtract(&found);
        } else {
            selected.intersect(&found);
        }
        Ok(())
    }

    fn n_values(&self, name: &str) -> usize {
        self.names.find(name).map_or(0, |name| name.n_values as usize)
    }

    fn retain_matching(
        &self,
        matcher: &Matcher,
        selected: &mut Postings,
        pace: &Pace<'_>,
    ) -> Result<(), Error> {
        let Some(number) = self.names.number_of(matcher.name()) else {
            if !matcher.matches_empty() {
                *selected = Postings::new();
            }
            return Ok(());
        };
        let mut kept = Vec::new();
        let mut cursor = self.cursor();
        let mut text = self.symbols.cursor();
        let mut known: HashMap<u32, bool> = HashMap::new();
        for series in selected.iter().take_while(|_| pace.goes_on()) {
            let passes = match cursor.value_of(series, number)? {
                None => matcher.matches_empty(),
                Some(value) => match known.get(&value) {
                    Some(passes) => *passes,
                    None => {
                        let passes = matcher.matches(text.seek(value)?);
                        known.insert(value, passes);
                        passes
                    }
                },
            };
            kept.extend(passes.then_some(series.0));
        }
        *selected = Postings::from_ascending(kept);
        Ok(())
    }
}
