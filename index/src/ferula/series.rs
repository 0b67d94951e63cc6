//! The entries of series: labels and chunks, each told by how they differ from those before.
//!
//! Neighbours in label order have the same label names and most values, and were scraped from the
//! same time to the same time. So a group of them takes a dozen bytes each, and is read from its
//! beginning.

use ferula_chunkenc::cursor::{Cursor, put_u8, put_uvarint, put_varint};

use super::bounds::{self, ValueBounds};
use super::groups::{Groups, read_u32};
use super::layout::SERIES_OF_GROUP;
use crate::block::SectionReader;
use crate::error::Corruption;
use crate::{ChunkMeta, ChunkRef, Error};

/// Fewest bytes of a chunk: two times, a number of samples, a ref, the bounds of values.
const MIN_CHUNK_BYTES: usize = 5;

/// What the index says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// Where it is and what time it covers.
    pub meta: ChunkMeta,
    /// Number of samples.
    pub n_samples: u32,
    /// What is known of the values; of histograms, nothing.
    pub bounds: Option<ValueBounds>,
}

/// What entries are told by: the labels of the one before, and the numbers of the last chunk.
#[derive(Clone, Debug, Default)]
pub(super) struct EntryState {
    /// Numbers of names and values.
    pub(super) labels: Vec<(u32, u32)>,
    pub(super) chunks: Vec<ChunkEntry>,
    /// Start of the first chunk of a series.
    mint: i64,
    /// Time from first to last sample of a chunk.
    duration: u64,
    n_samples: u32,
    chunk: u64,
}

impl EntryState {
    /// Forgets everything, as at the beginning of a group.
    pub(super) fn clear(&mut self) {
        self.labels.clear();
        self.chunks.clear();
        (self.mint, self.duration, self.n_samples, self.chunk) = (0, 0, 0, 0);
    }

    /// Appends the entry of a series to `out`; names are given by their numbers in the table.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, labels: &[(u32, u32)], chunks: &[ChunkEntry]) {
        let names =
            |labels: &[(u32, u32)]| labels.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let has_same_names = !labels.is_empty() && names(&self.labels) == names(labels);
        put_uvarint(out, (chunks.len() as u64) << 1 | u64::from(has_same_names));
        if has_same_names {
            let pairs = self.labels.iter().zip(labels);
            let changed: Vec<bool> = pairs.map(|(before, after)| before.1 != after.1).collect();
            for eight in changed.chunks(8) {
                put_u8(out, (0..8).zip(eight).map(|(bit, &flag)| u8::from(flag) << bit).sum());
            }
            for ((before, after), _) in
                self.labels.iter().zip(labels).zip(changed).filter(|(_, flag)| *flag)
            {
                put_varint(out, i64::from(after.1) - i64::from(before.1));
            }
        } else {
            put_uvarint(out, labels.len() as u64);
            for &(name, value) in labels {
                put_uvarint(out, name.into());
                put_uvarint(out, value.into());
            }
        }
        self.labels.clear();
        self.labels.extend_from_slice(labels);
        let mut last_maxt = None;
        for ChunkEntry { meta, n_samples, bounds } in chunks {
            match last_maxt {
                None => {
                    put_varint(out, meta.mint.wrapping_sub(self.mint));
                    self.mint = meta.mint;
                }
                Some(maxt) => put_uvarint(out, difference(meta.mint, maxt)),
            }
            let duration = difference(meta.maxt, meta.mint);
            put_varint(out, duration.wrapping_sub(self.duration).cast_signed());
            put_varint(out, i64::from(*n_samples) - i64::from(self.n_samples));
            put_uvarint(out, meta.chunk.0.wrapping_sub(self.chunk));
            bounds::put(out, bounds.as_ref());
            last_maxt = Some(meta.maxt);
            (self.duration, self.n_samples, self.chunk) = (duration, *n_samples, meta.chunk.0);
        }
    }

    /// Reads the entry of the next series.
    fn read(&mut self, reader: &mut SectionReader<'_>) -> Result<(), Error> {
        let head = reader.uvarint()?;
        if head & 1 == 0 {
            self.read_labels(reader)?;
        } else {
            self.read_changes(reader)?;
        }
        self.chunks.clear();
        let found = head >> 1;
        let most = reader.remaining() / MIN_CHUNK_BYTES;
        if found > most as u64 {
            return Err(reader.corrupt(Corruption::Count { found }));
        }
        let mut last_maxt = None;
        for _ in 0..found {
            let entry = self.read_chunk(reader, last_maxt)?;
            last_maxt = Some(entry.meta.maxt);
            self.chunks.push(entry);
        }
        Ok(())
    }

    fn read_labels(&mut self, reader: &mut SectionReader<'_>) -> Result<(), Error> {
        self.labels.clear();
        let found = reader.uvarint()?;
        if found > reader.remaining() as u64 / 2 {
            return Err(reader.corrupt(Corruption::Count { found }));
        }
        for _ in 0..found {
            let name = read_u32(reader)?;
            self.labels.push((name, read_u32(reader)?));
        }
        Ok(())
    }

    fn read_changes(&mut self, reader: &mut SectionReader<'_>) -> Result<(), Error> {
        let n_labels = self.labels.len();
        let changed = reader.read(|cursor| cursor.bytes(n_labels.div_ceil(8)))?;
        for (at, (_, value)) in self.labels.iter_mut().enumerate() {
            if changed[at / 8] >> (at % 8) & 1 == 0 {
                continue;
            }
            let step = reader.read(Cursor::varint)?;
            let sum = i64::from(*value).checked_add(step);
            let sum = sum.and_then(|sum| u32::try_from(sum).ok());
            *value = sum.ok_or_else(|| reader.corrupt(Corruption::Symbol))?;
        }
        Ok(())
    }

    fn read_chunk(
        &mut self,
        reader: &mut SectionReader<'_>,
        last_maxt: Option<i64>,
    ) -> Result<ChunkEntry, Error> {
        let mint = match last_maxt {
            None => {
                self.mint = self.mint.wrapping_add(reader.read(Cursor::varint)?);
                Some(self.mint)
            }
            Some(maxt) => maxt.checked_add_unsigned(reader.uvarint()?),
        };
        self.duration = self.duration.wrapping_add_signed(reader.read(Cursor::varint)?);
        let maxt = mint.and_then(|mint| mint.checked_add_unsigned(self.duration));
        let (Some(mint), Some(maxt)) = (mint, maxt) else {
            return Err(reader.corrupt(Corruption::Time));
        };
        let step = reader.read(Cursor::varint)?;
        let n_samples = i64::from(self.n_samples).wrapping_add(step);
        let found = n_samples.cast_unsigned();
        self.n_samples =
            u32::try_from(found).map_err(|_| reader.corrupt(Corruption::Count { found }))?;
        self.chunk = self.chunk.wrapping_add(reader.uvarint()?);
        let bounds = bounds::read(reader)?;
        let meta = ChunkMeta { mint, maxt, chunk: ChunkRef(self.chunk) };
        Ok(ChunkEntry { meta, n_samples: self.n_samples, bounds })
    }
}

fn difference(later: i64, earlier: i64) -> u64 {
    later.wrapping_sub(earlier).cast_unsigned()
}

/// Reads entries by the number of their series, from zero; fast if each comes a little behind the
/// one before.
#[derive(Clone, Debug)]
pub(super) struct EntryCursor<'a> {
    groups: &'a Groups,
    n_series: u32,
    /// The group behind the entry read last, and the number of the entry that follows.
    ahead: Option<(SectionReader<'a>, u32)>,
    pub(super) state: EntryState,
}

impl<'a> EntryCursor<'a> {
    pub(super) fn new(groups: &'a Groups, n_series: u32) -> Self {
        Self { groups, n_series, ahead: None, state: EntryState::default() }
    }

    /// Reads the entry of a series; tells whether there is one.
    pub(super) fn seek(&mut self, number: u32) -> Result<bool, Error> {
        if number >= self.n_series {
            return Ok(false);
        }
        if self.ahead.as_ref().is_some_and(|(_, next)| *next == number + 1) {
            return Ok(true);
        }
        // At least one entry of the group was read.
        let is_ahead = |(_, next): &(SectionReader<'_>, u32)| {
            *next <= number && (*next - 1) / SERIES_OF_GROUP == number / SERIES_OF_GROUP
        };
        let (mut group, mut next) = match self.ahead.take().filter(is_ahead) {
            Some(ahead) => ahead,
            None => {
                self.state.clear();
                let group = self.groups.read(number / SERIES_OF_GROUP)?;
                (group, number - number % SERIES_OF_GROUP)
            }
        };
        while next <= number {
            self.state.read(&mut group)?;
            next += 1;
        }
        self.ahead = Some((group, next));
        Ok(true)
    }

    /// The error that says what is wrong with the entry read last.
    pub(super) fn corrupt(&self, source: Corruption) -> Error {
        let offset = self.ahead.as_ref().map_or(0, |(group, _)| group.offset());
        Error::Corrupt { section: crate::block::Section::Series, offset, source }
    }
}
