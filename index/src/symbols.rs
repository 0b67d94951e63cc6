//! String interning: each distinct string is kept once and stands under a small number.
//!
//! The text lies in blocks of 64 KiB, one string behind the other, so that a string costs its
//! bytes and some twenty more. Numbers are stable; they are used again after
//! [`SymbolTable::release`], and the text of released strings goes away when enough of it has
//! gathered.

use std::fmt;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::Error;

/// Size of the blocks that hold the text; longer strings get a block of their own.
const BLOCK_BYTES: usize = 64 << 10;

/// Released text below this is not worth moving the rest.
const COMPACT_MIN_BYTES: usize = 1 << 20;

/// Number of a string in a [`SymbolTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(pub u32);

/// Strings and their numbers.
///
/// ```
/// use ferula_index::symbols::SymbolTable;
///
/// let mut symbols = SymbolTable::new();
/// let job = symbols.intern("job")?;
/// assert_eq!(symbols.intern("job")?, job);
/// assert_eq!(symbols.get(job), "job");
/// assert_eq!(symbols.lookup("jobs"), None);
/// # Ok::<(), ferula_index::Error>(())
/// ```
#[derive(Default)]
pub struct SymbolTable {
    blocks: Vec<String>,
    places: Vec<Place>,
    by_text: HashTable<Symbol>,
    free: Vec<Symbol>,
    live_bytes: usize,
    released_bytes: usize,
}

/// Where the text of a symbol lies.
#[derive(Clone, Copy, Default)]
struct Place {
    block: u32,
    start: u32,
    len: u32,
}

impl SymbolTable {
    /// Makes an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of `text`, which is added if it is new.
    ///
    /// # Errors
    /// [`Error::TooManySymbols`] if there is no number left, [`Error::LabelTooLong`] if the text
    /// is 4 GiB or more.
    pub fn intern(&mut self, text: &str) -> Result<Symbol, Error> {
        if let Some(known) = self.lookup(text) {
            return Ok(known);
        }
        let place = self.store(text)?;
        let symbol = match self.free.pop() {
            Some(symbol) => {
                self.places[symbol.0 as usize] = place;
                symbol
            }
            None => {
                let next = u32::try_from(self.places.len())
                    .map_err(|_| Error::TooManySymbols { limit: u32::MAX })?;
                self.places.push(place);
                Symbol(next)
            }
        };
        let Self { by_text, places, blocks, .. } = self;
        by_text.insert_unique(hash(text), symbol, |&s| hash(text_of(blocks, places, s)));
        self.live_bytes += text.len();
        Ok(symbol)
    }

    /// The number of `text`, if it is in the table.
    pub fn lookup(&self, text: &str) -> Option<Symbol> {
        self.by_text.find(hash(text), |&symbol| self.get(symbol) == text).copied()
    }

    /// The text of `symbol`.
    ///
    /// # Panics
    /// If the table never gave out the number. A released number has any text.
    pub fn get(&self, symbol: Symbol) -> &str {
        text_of(&self.blocks, &self.places, symbol)
    }

    /// Removes a string; its number may stand for another one from here on.
    pub fn release(&mut self, symbol: Symbol) {
        let text = self.get(symbol);
        let Ok(entry) = self.by_text.find_entry(hash(text), |&s| s == symbol) else { return };
        entry.remove();
        let len = self.places[symbol.0 as usize].len as usize;
        self.places[symbol.0 as usize] = Place::default();
        self.free.push(symbol);
        self.live_bytes -= len;
        self.released_bytes += len;
        if self.released_bytes > COMPACT_MIN_BYTES.max(self.live_bytes) {
            self.compact();
        }
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.by_text.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_text.is_empty()
    }

    /// Bytes on the heap.
    pub fn size_bytes(&self) -> usize {
        let text: usize = self.blocks.iter().map(String::capacity).sum();
        text + self.blocks.capacity() * size_of::<String>()
            + self.places.capacity() * size_of::<Place>()
            + self.by_text.capacity() * (size_of::<Symbol>() + 1)
    }

    fn store(&mut self, text: &str) -> Result<Place, Error> {
        let len = u32::try_from(text.len())
            .map_err(|_| Error::LabelTooLong { len: text.len(), limit: u32::MAX as usize })?;
        let fits = |block: &String| block.capacity() - block.len() >= text.len();
        if !self.blocks.last().is_some_and(fits) {
            self.blocks.push(String::with_capacity(text.len().max(BLOCK_BYTES)));
        }
        let block = self.blocks.len() - 1;
        let start = self.blocks[block].len();
        self.blocks[block].push_str(text);
        let narrow =
            |n: usize| u32::try_from(n).map_err(|_| Error::TooManySymbols { limit: u32::MAX });
        Ok(Place { block: narrow(block)?, start: narrow(start)?, len })
    }

    /// Moves the text that is still used to new blocks; numbers stay.
    fn compact(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        let live: Vec<Symbol> = self.by_text.iter().copied().collect();
        for symbol in live {
            let text = text_of(&blocks, &self.places, symbol);
            let place = self.store(text).expect("fewer blocks than before");
            self.places[symbol.0 as usize] = place;
        }
        self.released_bytes = 0;
    }
}

impl fmt::Debug for SymbolTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SymbolTable")
            .field("len", &self.len())
            .field("live_bytes", &self.live_bytes)
            .finish_non_exhaustive()
    }
}

fn text_of<'a>(blocks: &'a [String], places: &[Place], symbol: Symbol) -> &'a str {
    let Place { block, start, len } = places[symbol.0 as usize];
    &blocks[block as usize][start as usize..][..len as usize]
}

fn hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_kept_once() {
        let mut symbols = SymbolTable::new();
        let a = symbols.intern("a").unwrap();
        let empty = symbols.intern("").unwrap();
        let long = "x".repeat(3 * BLOCK_BYTES);
        let c = symbols.intern(&long).unwrap();
        assert_eq!(symbols.intern("a").unwrap(), a);
        assert_eq!((symbols.get(a), symbols.get(empty), symbols.get(c)), ("a", "", &*long));
        assert_eq!(symbols.len(), 3);
    }

    #[test]
    fn released_text_goes_and_numbers_stay() {
        let mut symbols = SymbolTable::new();
        let texts: Vec<String> = (0..200_000).map(|i| format!("value-{i:010}")).collect();
        let numbers: Vec<Symbol> = texts.iter().map(|t| symbols.intern(t).unwrap()).collect();
        let blocks_before = symbols.blocks.len();
        for number in &numbers[1000..] {
            symbols.release(*number);
        }
        assert_eq!(symbols.len(), 1000);
        assert!(symbols.blocks.len() < blocks_before / 4);
        for (text, number) in texts.iter().zip(&numbers).take(1000) {
            assert_eq!(symbols.get(*number), text);
            assert_eq!(symbols.lookup(text), Some(*number));
        }
        assert_eq!(symbols.lookup(&texts[1000]), None);
        let again = symbols.intern(&texts[1500]).unwrap();
        assert!(again.0 < 200_000, "a released number is used again");
        assert_eq!(symbols.get(again), texts[1500]);
    }
}
