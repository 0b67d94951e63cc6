//! Columns of few different values: a list of them and a column of indexes.

use super::ColumnField;
use super::decimal::from_ordered;
use super::ints::{IntColumn, IntEncoder};
use crate::Error;
use crate::cursor::{Cursor, put_u8, put_u64_be};

/// Most entries of a dictionary; the byte that counts them is one less.
const MAX_ENTRIES: usize = 64;

/// Slots of the table by which entries are found; several times as many as entries.
const N_SLOTS: usize = 256;

/// A dictionary being made: entries in the order in which they occur.
#[derive(Clone, Debug, Default)]
pub(super) struct Dictionary {
    entries: Vec<u64>,
    indexes: Vec<i64>,
}

impl Dictionary {
    /// Collects floats given as integers that order like them; fails if there are too many
    /// different ones.
    pub(super) fn fill(&mut self, ordered: &[i64]) -> bool {
        self.entries.clear();
        self.indexes.clear();
        // Indexes plus one; zero stands for a free slot.
        let mut slots = [0_u8; N_SLOTS];
        for &int in ordered {
            let bits = from_ordered(int).to_bits();
            let mut slot = usize::from((bits.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes()[0]);
            let index = loop {
                match slots[slot] {
                    0 if self.entries.len() == MAX_ENTRIES => return false,
                    0 => {
                        self.entries.push(bits);
                        slots[slot] = self.entries.len().to_le_bytes()[0];
                        break self.entries.len() - 1;
                    }
                    found if self.entries[usize::from(found) - 1] == bits => {
                        break usize::from(found) - 1;
                    }
                    _ => slot = (slot + 1) % N_SLOTS,
                }
            };
            self.indexes.push(index.cast_signed() as i64);
        }
        true
    }

    /// Estimates the bits that list and indexes take.
    pub(super) fn plan(&self, ints: &mut IntEncoder) -> u64 {
        8 + 64 * self.entries.len() as u64 + ints.plan(&self.indexes)
    }

    pub(super) fn write(&self, ints: &mut IntEncoder, out: &mut Vec<u8>) {
        put_u8(out, (self.entries.len() - 1).to_le_bytes()[0]);
        self.entries.iter().for_each(|&bits| put_u64_be(out, bits));
        ints.plan(&self.indexes);
        ints.write(out);
    }
}

/// A dictionary to be read.
#[derive(Clone, Debug)]
pub(super) struct DictionaryColumn<'a> {
    offset: usize,
    entries: &'a [[u8; 8]],
    pub(super) indexes: IntColumn<'a>,
}

impl<'a> DictionaryColumn<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>, n: usize) -> Result<Self, Error> {
        let offset = cursor.offset();
        let n_entries = usize::from(cursor.u8()?) + 1;
        let (entries, _) = cursor.bytes(n_entries * 8)?.as_chunks();
        let indexes = IntColumn::parse(cursor, n)?;
        Ok(Self { offset, entries, indexes })
    }

    /// The value that an index stands for.
    ///
    /// # Errors
    /// [`Error::Columnar`] if there is no such entry.
    pub(super) fn entry(&self, index: i64) -> Result<f64, Error> {
        let entry = usize::try_from(index).ok().and_then(|index| self.entries.get(index));
        entry.map(|entry| f64::from_bits(u64::from_be_bytes(*entry))).ok_or(Error::Columnar {
            offset: self.offset,
            field: ColumnField::DictionaryIndex,
            found: index.cast_unsigned(),
        })
    }
}
