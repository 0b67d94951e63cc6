//! The symbols of an index file: all strings, sorted, numbered from zero, front-coded in groups.

use std::cmp::Ordering;
use std::io::Write;
use std::str;

use ferula_chunkenc::cursor::{Cursor, put_prefixed_bytes, put_uvarint};

use super::groups::Groups;
use super::layout::SYMBOLS_OF_GROUP;
use super::sink::{GroupWriter, Sink};
use crate::Error;
use crate::block::{Section, SectionReader};
use crate::error::Corruption;
use crate::labels::MAX_LABEL_BYTES;
use crate::symbols::{Symbol, SymbolTable};

/// Strings by number and numbers by string, from the bytes of the file.
#[derive(Clone, Debug)]
pub(super) struct Symbols {
    groups: Groups,
    count: u32,
}

impl Symbols {
    pub(super) fn new(groups: Groups, count: u32) -> Self {
        Self { groups, count }
    }

    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// Number of groups that so many symbols take.
    pub(super) fn n_groups(count: u32) -> u32 {
        count.div_ceil(SYMBOLS_OF_GROUP)
    }

    /// Starts reading strings.
    pub(super) fn cursor(&self) -> SymbolCursor<'_> {
        SymbolCursor { symbols: self, group: None, number: 0, text: Vec::new() }
    }

    /// The number of `text`, or else that of the first string behind it, which may be the number of
    /// strings; and whether it is there.
    pub(super) fn search(&self, text: &str) -> Result<(u32, bool), Error> {
        let mut cursor = self.cursor();
        let (mut low, mut high) = (0, self.groups.len());
        // The last group whose first string is not greater.
        while low < high {
            let middle = low + (high - low) / 2;
            match cursor.seek(middle * SYMBOLS_OF_GROUP)?.cmp(text) {
                Ordering::Equal => return Ok((middle * SYMBOLS_OF_GROUP, true)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        let Some(group) = low.checked_sub(1) else { return Ok((0, false)) };
        let first = group * SYMBOLS_OF_GROUP;
        let end = self.count.min(first.saturating_add(SYMBOLS_OF_GROUP));
        for number in first..end {
            match cursor.seek(number)?.cmp(text) {
                Ordering::Less => {}
                Ordering::Equal => return Ok((number, true)),
                Ordering::Greater => return Ok((number, false)),
            }
        }
        Ok((end, false))
    }

    /// The number of `text`.
    pub(super) fn lookup(&self, text: &str) -> Result<Option<u32>, Error> {
        let (number, is_there) = self.search(text)?;
        Ok(is_there.then_some(number))
    }

    /// Calls `each` with all strings, which are checked to ascend.
    pub(super) fn for_each(&self, mut each: impl FnMut(&str)) -> Result<(), Error> {
        let mut cursor = self.cursor();
        let mut last = String::new();
        for number in 0..self.count {
            let text = cursor.seek(number)?;
            if number > 0 && *last >= *text {
                return Err(cursor.corrupt(Corruption::Order));
            }
            each(text);
            last.clear();
            last.push_str(text);
        }
        Ok(())
    }
}

/// Reads strings by number; fast if each comes a little behind the one before.
#[derive(Clone, Debug)]
pub(super) struct SymbolCursor<'a> {
    symbols: &'a Symbols,
    /// The group behind the string read last.
    group: Option<SectionReader<'a>>,
    /// Number of the string read last.
    number: u32,
    text: Vec<u8>,
}

impl SymbolCursor<'_> {
    /// Reads the string with a number.
    pub(super) fn seek(&mut self, number: u32) -> Result<&str, Error> {
        if number >= self.symbols.count {
            return Err(self.corrupt(Corruption::Symbol));
        }
        let is_ahead =
            number >= self.number && number / SYMBOLS_OF_GROUP == self.number / SYMBOLS_OF_GROUP;
        let mut group = match self.group.take().filter(|_| is_ahead) {
            Some(group) => group,
            None => {
                let mut group = self.symbols.groups.read(number / SYMBOLS_OF_GROUP)?;
                self.text.clear();
                self.text.extend_from_slice(group.read(Cursor::prefixed_bytes)?);
                self.number = number - number % SYMBOLS_OF_GROUP;
                group
            }
        };
        while self.number < number {
            let shared = usize::try_from(group.uvarint()?).unwrap_or(usize::MAX);
            let rest = group.read(Cursor::prefixed_bytes)?;
            let len = shared.saturating_add(rest.len());
            if shared > self.text.len() || len > MAX_LABEL_BYTES {
                return Err(group.corrupt(Corruption::Count { found: shared as u64 }));
            }
            self.text.truncate(shared);
            self.text.extend_from_slice(rest);
            self.number += 1;
        }
        let text = str::from_utf8(&self.text).map_err(|_| group.corrupt(Corruption::Utf8))?;
        self.group = Some(group);
        Ok(text)
    }

    /// The error that says what is wrong at the string read last.
    pub(super) fn corrupt(&self, source: Corruption) -> Error {
        let offset = self.group.as_ref().map_or(0, SectionReader::offset);
        Error::Corrupt { section: Section::Symbols, offset, source }
    }
}

/// Takes up sorted strings and writes them as a section and that of its offsets.
pub(super) fn write<W: Write, S: AsRef<str>>(
    out: &mut Sink<W>,
    sorted: impl IntoIterator<Item = S>,
) -> Result<(SymbolTable, [(u64, u32); 2]), Error> {
    let mut symbols = SymbolTable::new();
    let mut groups = GroupWriter::new(Section::Symbols, out.position());
    let mut last: Option<Symbol> = None;
    for text in sorted {
        let text = text.as_ref();
        let before = last.map(|last| symbols.get(last));
        if before.is_some_and(|before| before >= text) {
            return Err(Error::SymbolOrder { symbol: text.to_owned() });
        }
        match before.filter(|_| !symbols.len().is_multiple_of(SYMBOLS_OF_GROUP as usize)) {
            Some(before) => {
                let same = before.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
                put_uvarint(groups.content(), same as u64);
                put_prefixed_bytes(groups.content(), &text.as_bytes()[same..]);
            }
            None => {
                groups.end(out)?;
                groups.begin();
                put_prefixed_bytes(groups.content(), text.as_bytes());
            }
        }
        last = Some(symbols.intern(text)?);
    }
    let ends = groups.finish(out)?;
    Ok((symbols, ends))
}
