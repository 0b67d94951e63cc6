//! Reading series one after the other.

use super::reader::IndexReader;
use super::series::{ChunkEntry, EntryCursor};
use super::symbols::SymbolCursor;
use crate::error::Corruption;
use crate::{ChunkMeta, Error, Labels, SeriesRef};

/// Reads series by their refs. If they ascend, each is told by how it differs from the one before,
/// and only labels that changed are read as text.
#[derive(Clone, Debug)]
pub struct SeriesCursor<'a> {
    index: &'a IndexReader,
    entries: EntryCursor<'a>,
    symbols: SymbolCursor<'a>,
    /// Labels of the series read last, by the symbols of their values.
    texts: Vec<(u32, String)>,
    packed: String,
}

impl<'a> SeriesCursor<'a> {
    pub(super) fn new(
        index: &'a IndexReader,
        entries: EntryCursor<'a>,
        symbols: SymbolCursor<'a>,
    ) -> Self {
        Self { index, entries, symbols, texts: Vec::new(), packed: String::new() }
    }

    /// The labels of a series; `chunks` is filled with its chunks, in time order.
    ///
    /// # Errors
    /// [`Error::UnknownSeries`] if there is none at this ref, [`Error::Corrupt`].
    pub fn series(
        &mut self,
        series: SeriesRef,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<Labels, Error> {
        self.seek(series)?;
        self.fill(chunks);
        let n_labels = self.entries.state.labels.len();
        self.texts.truncate(n_labels);
        for at in 0..n_labels {
            let value = self.entries.state.labels[at].1;
            match self.texts.get_mut(at) {
                Some((known, _)) if *known == value => {}
                Some((known, text)) => {
                    text.clear();
                    text.push_str(self.symbols.seek(value)?);
                    *known = value;
                }
                None => self.texts.push((value, self.symbols.seek(value)?.to_owned())),
            }
        }
        let names = self.entries.state.labels.iter().map(|(name, _)| self.index.name(*name));
        let names: Option<Vec<_>> = names.collect();
        let names = names.ok_or_else(|| self.entries.corrupt(Corruption::Symbol))?;
        if !names.is_sorted_by(|a, b| a.text < b.text) {
            return Err(self.entries.corrupt(Corruption::Order));
        }
        let pairs = names.iter().zip(&self.texts).map(|(name, (_, text))| (&*name.text, &**text));
        Labels::from_sorted_in(&mut self.packed, pairs)
    }

    /// The labels of a series as pairs of numbers, which count the symbols from zero: `labels` is
    /// filled with them, and `chunks` with its chunks, in time order.
    ///
    /// # Errors
    /// [`Error::UnknownSeries`] if there is none at this ref, [`Error::Corrupt`].
    pub fn numbered_series(
        &mut self,
        series: SeriesRef,
        labels: &mut Vec<(u32, u32)>,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<(), Error> {
        self.seek(series)?;
        self.fill(chunks);
        labels.clear();
        for &(name, value) in &self.entries.state.labels {
            let name = self.index.name(name).filter(|_| value < self.index.n_symbols());
            match name {
                Some(name) => labels.push((name.symbol, value)),
                None => return Err(self.entries.corrupt(Corruption::Symbol)),
            }
        }
        if labels.is_sorted_by(|a, b| a.0 < b.0) {
            Ok(())
        } else {
            Err(self.entries.corrupt(Corruption::Order))
        }
    }

    /// What the index says of the chunks of a series, in time order.
    ///
    /// # Errors
    /// [`Error::UnknownSeries`] if there is none at this ref, [`Error::Corrupt`].
    pub fn chunks(&mut self, series: SeriesRef) -> Result<&[ChunkEntry], Error> {
        self.seek(series)?;
        Ok(&self.entries.state.chunks)
    }

    /// The symbol of the value that a series has of the name with a number in entries.
    pub(super) fn value_of(&mut self, series: SeriesRef, name: u32) -> Result<Option<u32>, Error> {
        self.seek(series)?;
        let labels = &self.entries.state.labels;
        Ok(labels.iter().find(|(own, _)| *own == name).map(|(_, value)| *value))
    }

    /// Numbers of the names of a series.
    pub(super) fn names_of(&mut self, series: SeriesRef) -> Result<&[(u32, u32)], Error> {
        self.seek(series)?;
        Ok(&self.entries.state.labels)
    }

    fn seek(&mut self, series: SeriesRef) -> Result<(), Error> {
        let number = u32::try_from(series.0).ok().and_then(|series| series.checked_sub(1));
        let number = number.ok_or(Error::UnknownSeries { series })?;
        let is_there = self.entries.seek(number)?;
        if is_there { Ok(()) } else { Err(Error::UnknownSeries { series }) }
    }

    fn fill(&self, chunks: &mut Vec<ChunkMeta>) {
        chunks.clear();
        chunks.extend(self.entries.state.chunks.iter().map(|chunk| chunk.meta));
    }
}
