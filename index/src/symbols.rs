//! String interning: each distinct string is kept once and stands under a small number.
//!
//! The text lies in blocks of 64 KiB, one string behind the other, each behind its length, so that
//! a string costs its bytes and some fifteen more. Numbers are stable; they are used again after
//! [`SymbolTable::release`]. A block that has little left in use is emptied into the newest one, a
//! block at a time, so that no release takes long.

use std::fmt;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::labels::{packed_len, packed_text, push_packed};
use crate::{Error, Labels};

/// Size of the blocks that hold the text; longer strings get a block of their own.
const BLOCK_BYTES: usize = 64 << 10;

/// Blocks that can be told apart.
const MAX_BLOCKS: usize = 1 << 16;

/// The tables by text are many small ones, so that none takes long to grow.
const TABLES: usize = 64;

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
pub struct SymbolTable {
    blocks: Vec<Block>,
    /// Blocks without text.
    free_blocks: Vec<u32>,
    /// The block that text is added to.
    newest: usize,
    places: Vec<Place>,
    by_text: Box<[HashTable<Symbol>; TABLES]>,
    free: Vec<Symbol>,
    len: usize,
}

#[derive(Debug, Default)]
struct Block {
    text: String,
    /// Bytes of strings that are in use.
    live: usize,
}

/// Where the text of a symbol lies: the block in the upper half, the offset in it in the lower.
#[derive(Clone, Copy, Default)]
struct Place(u32);

impl Place {
    fn new(block: usize, start: usize) -> Self {
        let narrow = |n| u32::from(u16::try_from(n).expect("blocks and starts are below 65,536"));
        Self(narrow(block) << 16 | narrow(start))
    }

    fn block(self) -> usize {
        (self.0 >> 16) as usize
    }

    fn start(self) -> usize {
        (self.0 & 0xffff) as usize
    }
}

impl SymbolTable {
    /// Makes an empty table.
    pub fn new() -> Self {
        Self {
            blocks: Vec::new(),
            free_blocks: Vec::new(),
            newest: usize::MAX,
            places: Vec::new(),
            by_text: Box::new([const { HashTable::new() }; TABLES]),
            free: Vec::new(),
            len: 0,
        }
    }

    /// The number of `text`, which is added if it is new.
    ///
    /// # Errors
    /// [`Error::TooManySymbols`] if there is no number or no room left, which is beyond some 4 GiB
    /// of text, [`Error::LabelTooLong`] if the text is longer than a label may be.
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
        let hash = hash_of(text);
        by_text[table(hash)]
            .insert_unique(hash, symbol, |&s| hash_of(text_at(blocks, places[s.0 as usize])));
        self.len += 1;
        Ok(symbol)
    }

    /// The number of `text`, if it is in the table.
    pub fn lookup(&self, text: &str) -> Option<Symbol> {
        let hash = hash_of(text);
        self.by_text[table(hash)].find(hash, |&symbol| self.get(symbol) == text).copied()
    }

    /// The text of `symbol`.
    ///
    /// # Panics
    /// If the table never gave out the number. A released number has any text.
    pub fn get(&self, symbol: Symbol) -> &str {
        text_at(&self.blocks, self.places[symbol.0 as usize])
    }

    /// Labels as pairs of numbers, of names and values.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`] if one of them is not in the table.
    pub(crate) fn numbers_of(&self, labels: &Labels) -> Result<Vec<(u32, u32)>, Error> {
        let number = |text: &str| {
            let symbol = self.lookup(text).map(|symbol| symbol.0);
            symbol.ok_or_else(|| Error::UnknownSymbol { symbol: text.to_owned() })
        };
        labels.iter().map(|(name, value)| Ok((number(name)?, number(value)?))).collect()
    }

    /// The labels that have these numbers.
    ///
    /// # Errors
    /// Those of [`Labels::from_sorted`].
    ///
    /// # Panics
    /// As [`get`](Self::get) does.
    pub(crate) fn labels_of(&self, numbers: &[(u32, u32)]) -> Result<Labels, Error> {
        let text = |number| self.get(Symbol(number));
        Labels::from_sorted(numbers.iter().map(|&(name, value)| (text(name), text(value))))
    }

    /// Removes a string; its number may stand for another one from here on.
    pub fn release(&mut self, symbol: Symbol) {
        let (text, hash) = (self.get(symbol), hash_of(self.get(symbol)));
        let bytes = packed_bytes(text);
        let Ok(entry) = self.by_text[table(hash)].find_entry(hash, |&s| s == symbol) else {
            return;
        };
        entry.remove();
        let of_hash = &mut self.by_text[table(hash)];
        if of_hash.len() < of_hash.capacity() / 4 {
            let Self { places, blocks, .. } = self;
            of_hash.shrink_to_fit(|&s| hash_of(text_at(blocks, places[s.0 as usize])));
        }
        self.free.push(symbol);
        self.len -= 1;
        let at = self.places[symbol.0 as usize].block();
        self.blocks[at].live -= bytes;
        if self.blocks[at].live == 0 || at != self.newest && self.blocks[at].live < BLOCK_BYTES / 4
        {
            self.empty_block(at);
        }
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes on the heap.
    pub fn size_bytes(&self) -> usize {
        let text: usize = self.blocks.iter().map(|block| block.text.capacity()).sum();
        let slots: usize = self.by_text.iter().map(HashTable::capacity).sum();
        text + self.blocks.capacity() * size_of::<Block>()
            + self.places.capacity() * size_of::<Place>()
            + self.free.capacity() * size_of::<Symbol>()
            + size_of_val(&*self.by_text)
            + slots * 8 / 7 * (size_of::<Symbol>() + 1)
    }

    fn store(&mut self, text: &str) -> Result<Place, Error> {
        let bytes = packed_bytes(text);
        let fits = |block: &Block| block.text.len() + bytes <= BLOCK_BYTES;
        if !self.blocks.get(self.newest).is_some_and(fits) {
            let at = match self.free_blocks.pop() {
                Some(at) => at as usize,
                None if self.blocks.len() < MAX_BLOCKS => {
                    self.blocks.push(Block::default());
                    self.blocks.len() - 1
                }
                None => return Err(Error::TooManySymbols { limit: u32::MAX }),
            };
            // The first block grows with its content: many tables stay small.
            let room = if at == 0 { bytes } else { bytes.max(BLOCK_BYTES) };
            self.blocks[at].text.reserve_exact(room);
            self.newest = at;
        }
        let block = &mut self.blocks[self.newest];
        let start = block.text.len();
        push_packed(&mut block.text, text)?;
        block.live += bytes;
        Ok(Place::new(self.newest, start))
    }

    /// Moves the text of a block that is still used to the newest one; numbers stay.
    fn empty_block(&mut self, at: usize) {
        let Block { text, .. } = std::mem::take(&mut self.blocks[at]);
        let mut rest = text.as_str();
        if self.newest == at {
            self.newest = usize::MAX;
        }
        self.free_blocks.push(u32::try_from(at).expect("blocks are below 65,536"));
        while !rest.is_empty() {
            let place = Place::new(at, text.len() - rest.len());
            let string = packed_text(&mut rest);
            let hash = hash_of(string);
            let moved = self.by_text[table(hash)]
                .find(hash, |&symbol| self.places[symbol.0 as usize].0 == place.0)
                .copied();
            if let Some(symbol) = moved {
                let place = self.store(string).expect("a block was given up for it");
                self.places[symbol.0 as usize] = place;
            }
        }
    }
}

impl Default for SymbolTable {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SymbolTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SymbolTable")
            .field("len", &self.len())
            .field("blocks", &self.blocks.len())
            .finish_non_exhaustive()
    }
}

fn text_at(blocks: &[Block], place: Place) -> &str {
    packed_text(&mut &blocks[place.block()].text[place.start()..])
}

/// What a string takes in a block.
fn packed_bytes(text: &str) -> usize {
    packed_len(text.len()) + text.len()
}

fn hash_of(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// The table for a hash, by bits that the tables themselves hardly use.
fn table(hash: u64) -> usize {
    usize::from((hash >> 48).to_le_bytes()[0]) % TABLES
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
        let n_used = |symbols: &SymbolTable| symbols.blocks.iter().filter(|b| b.live > 0).count();
        let n_before = n_used(&symbols);
        for number in &numbers[1000..] {
            symbols.release(*number);
        }
        assert_eq!(symbols.len(), 1000);
        assert!(n_used(&symbols) < n_before / 4);
        for (text, number) in texts.iter().zip(&numbers).take(1000) {
            assert_eq!(symbols.get(*number), text);
            assert_eq!(symbols.lookup(text), Some(*number));
        }
        assert_eq!(symbols.lookup(&texts[1000]), None);
        let again = symbols.intern(&texts[1500]).unwrap();
        assert!(again.0 < 200_000, "a released number is used again");
        assert_eq!(symbols.get(again), texts[1500]);
    }

    #[test]
    fn blocks_with_little_left_are_used_again() {
        let mut symbols = SymbolTable::new();
        let mut kept = Vec::new();
        for round in 0..50 {
            let texts = (0..10_000).map(|i| format!("{round}-value-{i:010}"));
            let numbers: Vec<Symbol> = texts.map(|t| symbols.intern(&t).unwrap()).collect();
            kept.push(numbers[round * 100]);
            for number in numbers.iter().filter(|number| **number != numbers[round * 100]) {
                symbols.release(*number);
            }
        }
        assert_eq!(symbols.len(), 50);
        assert!(symbols.blocks.len() < 10);
        for (round, number) in kept.iter().enumerate() {
            let text = format!("{round}-value-{:010}", round * 100);
            assert_eq!(symbols.get(*number), text);
            assert_eq!(symbols.lookup(&text), Some(*number));
        }
    }
}
