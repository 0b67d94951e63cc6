//! The label names of an index: few, and read when it is opened.

use ferula_chunkenc::cursor::{crc32c, put_prefixed_bytes, put_u32_be, put_uvarint};

use super::groups::read_u32;
use super::layout::CRC_BYTES;
use super::values::Values;
use crate::Error;
use crate::block::{Section, SectionReader};
use crate::error::Corruption;

/// Fewest bytes of a name: its length, number, symbol and number of values.
const MIN_NAME_BYTES: usize = 4;

/// A label name.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) text: Box<str>,
    /// Number of the text among the symbols.
    pub(super) symbol: u32,
    pub(super) n_values: u32,
    /// Where its values begin.
    pub(super) first_group: u32,
}

/// All label names.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Sorted.
    names: Vec<Name>,
    /// By the number that they have in entries of series: which name it is.
    by_number: Vec<u32>,
}

impl Names {
    /// Reads the section whose content, with its checksum, is `bytes`, `base` bytes into the file.
    pub(super) fn read(
        bytes: &[u8],
        base: usize,
        n_symbols: u32,
        n_value_groups: u32,
    ) -> Result<Self, Error> {
        let mut reader = SectionReader::of(Section::LabelNames, base, bytes);
        let content = reader.read(|cursor| {
            let len = cursor.remaining().saturating_sub(CRC_BYTES);
            let content = cursor.bytes(len)?;
            cursor.check_crc32c(content)?;
            Ok(content)
        })?;
        let mut reader = SectionReader::of(Section::LabelNames, base, content);
        let found = reader.uvarint()?;
        let n = usize::try_from(found).ok().filter(|n| *n <= reader.remaining() / MIN_NAME_BYTES);
        let n = n.ok_or_else(|| reader.corrupt(Corruption::Count { found }))?;
        let mut names: Vec<Name> = Vec::with_capacity(n);
        let mut by_number = vec![u32::MAX; n];
        let mut first_group = 0_u32;
        for at in 0_u32.. {
            if names.len() == n {
                break;
            }
            let text = reader.text()?;
            let number = read_u32(&mut reader)?;
            let symbol = read_u32(&mut reader)?;
            let n_values = read_u32(&mut reader)?;
            if names.last().is_some_and(|last| (&*last.text, last.symbol) >= (text, symbol)) {
                return Err(reader.corrupt(Corruption::Order));
            }
            let place = by_number.get_mut(number as usize).filter(|place| **place == u32::MAX);
            match place.filter(|_| symbol < n_symbols) {
                Some(place) => *place = at,
                None => return Err(reader.corrupt(Corruption::Symbol)),
            }
            names.push(Name { text: text.into(), symbol, n_values, first_group });
            let next = first_group.checked_add(Values::n_groups(n_values));
            first_group =
                next.ok_or_else(|| reader.corrupt(Corruption::Count { found: n_values.into() }))?;
        }
        if first_group != n_value_groups || reader.remaining() > 0 {
            return Err(reader.corrupt(Corruption::Count { found: n_value_groups.into() }));
        }
        Ok(Self { names, by_number })
    }

    /// The names, sorted.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Name> {
        self.names.iter()
    }

    /// The name with this text.
    pub(super) fn find(&self, text: &str) -> Option<&Name> {
        let at = self.names.binary_search_by(|name| (*name.text).cmp(text)).ok()?;
        self.names.get(at)
    }

    /// The name that has a number in entries of series.
    pub(super) fn get(&self, number: u32) -> Option<&Name> {
        self.names.get(*self.by_number.get(number as usize)? as usize)
    }

    /// The number that a name has in entries of series.
    pub(super) fn number_of(&self, text: &str) -> Option<u32> {
        let at = self.names.binary_search_by(|name| (*name.text).cmp(text)).ok()?;
        let number = self.by_number.iter().position(|place| *place as usize == at)?;
        u32::try_from(number).ok()
    }
}

/// Appends the section: sorted names, each with its number in entries, its symbol, and how many
/// values it has.
pub(super) fn put<'a>(
    out: &mut Vec<u8>,
    names: impl ExactSizeIterator<Item = (&'a str, u32, u32, u32)>,
) {
    let start = out.len();
    put_uvarint(out, names.len() as u64);
    for (text, number, symbol, n_values) in names {
        put_prefixed_bytes(out, text.as_bytes());
        put_uvarint(out, number.into());
        put_uvarint(out, symbol.into());
        put_uvarint(out, n_values.into());
    }
    let crc = crc32c(&out[start..]);
    put_u32_be(out, crc);
}
