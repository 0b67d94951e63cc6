//! The symbol table of an index file: all strings, sorted, numbered from zero.

use std::cmp::Ordering;
use std::io::Write;
use std::ops::Range;

use bytes::Bytes;
use ferula_chunkenc::cursor::{Cursor, put_prefixed_bytes, put_u32_be};

use super::layout::{Addressing, MAX_SECTION_BYTES, Section};
use super::section::SectionReader;
use super::writer::Output;
use crate::Error;
use crate::error::Corruption;
use crate::symbols::{Symbol, SymbolTable};

/// Of so many strings, the place of one is kept; the others are found by walking on from it.
const SAMPLED: u32 = 8;

/// Strings by number and numbers by string, from the bytes of the file.
#[derive(Clone, Debug)]
pub(super) struct Symbols {
    data: Bytes,
    /// Offset in `data` of every [`SAMPLED`]th string.
    sampled: Vec<u64>,
    count: u32,
    /// Where the strings are.
    range: Range<u64>,
    addressing: Addressing,
}

impl Symbols {
    /// Verifies the table at `offset` of the file `data`.
    pub(super) fn open(data: &Bytes, offset: u64, addressing: Addressing) -> Result<Self, Error> {
        let mut reader = SectionReader::checked(Section::Symbols, data, offset)?;
        let count = reader.read(Cursor::u32_be)?;
        let start = reader.offset();
        let mut sampled = Vec::new();
        let mut last = None;
        for i in 0..count {
            if i % SAMPLED == 0 {
                sampled.push(reader.offset());
            }
            let text = reader.text()?;
            if last.is_some_and(|last| last >= text) {
                return Err(reader.corrupt(Corruption::Order));
            }
            last = Some(text);
        }
        sampled.shrink_to_fit();
        let range = start..reader.offset();
        Ok(Self { data: data.clone(), sampled, count, range, addressing })
    }

    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// The string with the number `symbol`.
    pub(super) fn get(&self, symbol: u32) -> Result<&str, Error> {
        let is_known = match self.addressing {
            Addressing::Offsets => self.range.contains(&u64::from(symbol)),
            Addressing::Numbers => symbol < self.count,
        };
        if !is_known {
            let offset = self.sampled.first().copied().unwrap_or_default();
            let source = Corruption::Symbol;
            return Err(Error::Corrupt { section: Section::Symbols, offset, source });
        }
        if self.addressing == Addressing::Offsets {
            return SectionReader::at(Section::Symbols, &self.data, u64::from(symbol))?.text();
        }
        let mut reader = self.reader(symbol / SAMPLED)?;
        for _ in 0..symbol % SAMPLED {
            reader.read(Cursor::prefixed_bytes)?;
        }
        reader.text()
    }

    /// The number of `text`.
    pub(super) fn lookup(&self, text: &str) -> Result<Option<u32>, Error> {
        let mut low = 0;
        let mut high = u32::try_from(self.sampled.len()).unwrap_or(u32::MAX);
        // The last sampled string that is not greater.
        while low < high {
            let middle = low + (high - low) / 2;
            if self.reader(middle)?.text()? <= text {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(sample) = low.checked_sub(1) else { return Ok(None) };
        let mut reader = self.reader(sample)?;
        let first = sample * SAMPLED;
        for symbol in first..self.count.min(first.saturating_add(SAMPLED)) {
            let offset = reader.offset();
            match reader.text()?.cmp(text) {
                Ordering::Less => {}
                Ordering::Equal if self.addressing == Addressing::Offsets => {
                    return Ok(u32::try_from(offset).ok());
                }
                Ordering::Equal => return Ok(Some(symbol)),
                Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// All strings, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Result<&str, Error>> {
        let mut reader = (self.count > 0).then(|| self.reader(0));
        (0..self.count).map_while(move |_| match reader.as_mut()? {
            Ok(reader) => Some(reader.text()),
            Err(_) => None,
        })
    }

    fn reader(&self, sample: u32) -> Result<SectionReader<'_>, Error> {
        SectionReader::at(Section::Symbols, &self.data, self.sampled[sample as usize])
    }
}

/// Takes up sorted strings and writes them as a symbol table.
pub(super) fn write<W: Write, S: AsRef<str>>(
    out: &mut Output<W>,
    sorted: impl IntoIterator<Item = S>,
) -> Result<SymbolTable, Error> {
    let mut symbols = SymbolTable::new();
    let mut last: Option<Symbol> = None;
    let mut size = 4_u64;
    let mut entry = Vec::new();
    for text in sorted {
        let text = text.as_ref();
        if last.is_some_and(|last| symbols.get(last) >= text) {
            return Err(Error::SymbolOrder { symbol: text.to_owned() });
        }
        last = Some(symbols.intern(text)?);
        entry.clear();
        put_prefixed_bytes(&mut entry, text.as_bytes());
        size += entry.len() as u64;
    }
    let too_large = |_| Error::TooLarge {
        section: Section::Symbols,
        size_bytes: size,
        limit_bytes: MAX_SECTION_BYTES,
    };
    let count = last.map_or(0, |last| last.0 + 1);
    entry.clear();
    put_u32_be(&mut entry, u32::try_from(size).map_err(too_large)?);
    out.write(&entry)?;
    out.start_checksum();
    entry.clear();
    put_u32_be(&mut entry, count);
    out.write(&entry)?;
    for symbol in 0..count {
        entry.clear();
        put_prefixed_bytes(&mut entry, symbols.get(Symbol(symbol)).as_bytes());
        out.write(&entry)?;
    }
    out.write_checksum()?;
    Ok(symbols)
}
