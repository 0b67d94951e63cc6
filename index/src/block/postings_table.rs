//! The table at the end of an index file that says where the postings of each label pair are.

use std::collections::BTreeMap;
use std::io::Write;

use bytes::Bytes;
use ferula_chunkenc::cursor::{Cursor, put_prefixed_bytes, put_u32_be, put_uvarint};

use super::layout::{Addressing, MAX_SECTION_BYTES, Section, TABLE_KEYS};
use super::section::SectionReader;
use super::writer::Output;
use crate::Error;
use crate::error::Corruption;

/// Of so many values of one label, the place of one is kept; the others are found by walking on. In
/// files of version 1, which have no order, the place of each is kept.
const SAMPLED: usize = 32;

/// Finds postings by label pair, from the bytes of the file.
#[derive(Clone, Debug)]
pub(super) struct PostingsTable {
    data: Bytes,
    names: BTreeMap<Box<str>, Values>,
    /// Of so many entries the place is kept.
    sampled: usize,
}

/// The entries of one label name.
#[derive(Clone, Debug, Default)]
struct Values {
    /// Offsets in the file of entries, ascending by value: of all or of every [`SAMPLED`]th.
    sampled: Vec<u64>,
    count: usize,
}

/// One entry of the table.
struct Entry<'a> {
    name: &'a str,
    value: &'a str,
    postings: u64,
}

impl PostingsTable {
    /// Verifies the table at `offset` of the file `data`.
    pub(super) fn open(data: &Bytes, offset: u64, addressing: Addressing) -> Result<Self, Error> {
        let mut reader = SectionReader::checked(Section::PostingsTable, data, offset)?;
        let count = reader.read(Cursor::u32_be)?;
        let sampled = if addressing == Addressing::Numbers { SAMPLED } else { 1 };
        let mut table = Self { data: data.clone(), names: BTreeMap::new(), sampled };
        let mut last: Option<(&str, &str)> = None;
        let mut unsorted = Vec::new();
        for _ in 0..count {
            let at = reader.offset();
            let Entry { name, value, .. } = read_entry(&mut reader)?;
            if addressing == Addressing::Offsets {
                unsorted.push((name, value, at));
                continue;
            }
            if last.is_some_and(|last| last >= (name, value)) {
                return Err(reader.corrupt(Corruption::Order));
            }
            table.push(name, at, last.is_none_or(|(last_name, _)| last_name != name));
            last = Some((name, value));
        }
        unsorted.sort_unstable();
        for (name, value, at) in unsorted {
            if last == Some((name, value)) {
                return Err(reader.corrupt(Corruption::Order));
            }
            table.push(name, at, last.is_none_or(|(last_name, _)| last_name != name));
            last = Some((name, value));
        }
        for values in table.names.values_mut() {
            values.sampled.shrink_to_fit();
        }
        Ok(table)
    }

    /// Takes up the entry at `at`, which comes behind all others.
    fn push(&mut self, name: &str, at: u64, is_new: bool) {
        if is_new {
            self.names.insert(name.into(), Values::default());
        }
        if let Some(mut values) = self.names.last_entry() {
            let values = values.get_mut();
            if values.count.is_multiple_of(self.sampled) {
                values.sampled.push(at);
            }
            values.count += 1;
        }
    }

    /// All label names, sorted; the empty one, which stands for all series, left out.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name).filter(|name| !name.is_empty())
    }

    /// Number of values of a label.
    pub(super) fn n_values(&self, name: &str) -> usize {
        self.names.get(name).map_or(0, |values| values.count)
    }

    /// Where the postings of a label pair are.
    pub(super) fn find(&self, name: &str, value: &str) -> Result<Option<u64>, Error> {
        let mut found = None;
        self.walk(name, value, |at, postings| {
            if at == value {
                found = Some(postings);
            }
            Ok(at < value)
        })?;
        Ok(found)
    }

    /// Calls `each` with every value of a label that starts with `prefix`, in order, and where its
    /// postings are.
    pub(super) fn for_each(
        &self,
        name: &str,
        prefix: &str,
        mut each: impl FnMut(&str, u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.walk(name, prefix, |value, postings| {
            if value.starts_with(prefix) {
                each(value, postings)?;
                return Ok(true);
            }
            Ok(value < prefix)
        })
    }

    /// Walks over the values of a label from a little before `from` on while `each` says so.
    fn walk(
        &self,
        name: &str,
        from: &str,
        mut each: impl FnMut(&str, u64) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let Some(values) = self.names.get(name) else { return Ok(()) };
        let (mut low, mut high) = (0, values.sampled.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if read_entry(&mut self.reader(values.sampled[middle])?)?.value <= from {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let sample = low.saturating_sub(1);
        let mut left = values.count.saturating_sub(sample * self.sampled);
        for &sampled in &values.sampled[sample..] {
            let mut reader = self.reader(sampled)?;
            for _ in 0..left.min(self.sampled) {
                let entry = read_entry(&mut reader)?;
                if !each(entry.value, entry.postings)? {
                    return Ok(());
                }
            }
            left = left.saturating_sub(self.sampled);
        }
        Ok(())
    }

    fn reader(&self, offset: u64) -> Result<SectionReader<'_>, Error> {
        SectionReader::at(Section::PostingsTable, &self.data, offset)
    }
}

fn read_entry<'a>(reader: &mut SectionReader<'a>) -> Result<Entry<'a>, Error> {
    let keys = reader.uvarint()?;
    if keys != TABLE_KEYS {
        return Err(reader.corrupt(Corruption::Count { found: keys }));
    }
    Ok(Entry { name: reader.text()?, value: reader.text()?, postings: reader.uvarint()? })
}

/// Writes a table of `entries`, each with name, value and where its postings are.
pub(super) fn write<'a, W: Write>(
    out: &mut Output<W>,
    entries: impl Iterator<Item = (&'a str, &'a str, u64)> + Clone,
) -> Result<(), Error> {
    let too_large = |size_bytes| Error::TooLarge {
        section: Section::PostingsTable,
        size_bytes,
        limit_bytes: MAX_SECTION_BYTES,
    };
    let mut buffer = Vec::new();
    let mut size = 4_u64;
    let mut count = 0_u64;
    for entry in entries.clone() {
        buffer.clear();
        put_entry(&mut buffer, entry);
        size += buffer.len() as u64;
        count += 1;
    }
    let count = u32::try_from(count).map_err(|_| too_large(size))?;
    buffer.clear();
    put_u32_be(&mut buffer, u32::try_from(size).map_err(|_| too_large(size))?);
    out.write(&buffer)?;
    out.start_checksum();
    buffer.clear();
    put_u32_be(&mut buffer, count);
    out.write(&buffer)?;
    for entry in entries {
        buffer.clear();
        put_entry(&mut buffer, entry);
        out.write(&buffer)?;
    }
    out.write_checksum()
}

fn put_entry(out: &mut Vec<u8>, (name, value, postings): (&str, &str, u64)) {
    put_uvarint(out, TABLE_KEYS);
    put_prefixed_bytes(out, name.as_bytes());
    put_prefixed_bytes(out, value.as_bytes());
    put_uvarint(out, postings);
}
