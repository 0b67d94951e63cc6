//! The label pairs of a head: each has a number, by which series and postings refer to it.

use std::collections::HashMap;

use hashbrown::HashTable;
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::tight;
use crate::symbols::{Symbol, SymbolTable};
use crate::{Error, Labels};

/// The tables by text are many small ones, so that none takes long to grow.
const TABLES: usize = 64;

/// Number of a label pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PairId(pub(super) u32);

/// Label pairs and their numbers. Numbers are stable, and used again once released.
#[derive(Debug)]
pub(super) struct Dictionary {
    symbols: SymbolTable,
    /// How many pairs use each symbol, as name or as value.
    uses: Vec<u32>,
    pairs: Vec<Pair>,
    by_text: Box<[HashTable<PairId>; TABLES]>,
    len: usize,
    free: Vec<PairId>,
    /// The pairs of each label name.
    names: HashMap<Symbol, RoaringBitmap>,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    name: Symbol,
    value: Symbol,
}

impl Dictionary {
    pub(super) fn new() -> Self {
        Self {
            symbols: SymbolTable::new(),
            uses: Vec::new(),
            pairs: Vec::new(),
            by_text: Box::new([const { HashTable::new() }; TABLES]),
            len: 0,
            free: Vec::new(),
            names: HashMap::new(),
        }
    }

    /// The number of a pair, if it is known.
    pub(super) fn lookup(&self, name: &str, value: &str) -> Option<PairId> {
        let hash = hash_of(name, value);
        self.by_text[table(hash)].find(hash, |&pair| self.text(pair) == (name, value)).copied()
    }

    /// The number of a pair, which is added if it is new.
    pub(super) fn intern(&mut self, name: &str, value: &str) -> Result<PairId, Error> {
        if let Some(known) = self.lookup(name, value) {
            return Ok(known);
        }
        let name_symbol = self.symbols.intern(name)?;
        let value_symbol = self.symbols.intern(value)?;
        let pair = Pair { name: name_symbol, value: value_symbol };
        let id = match self.free.pop() {
            Some(id) => {
                self.pairs[id.0 as usize] = pair;
                id
            }
            None => {
                let next = u32::try_from(self.pairs.len())
                    .map_err(|_| Error::TooManySymbols { limit: u32::MAX })?;
                tight::push(&mut self.pairs, pair);
                PairId(next)
            }
        };
        for symbol in [name_symbol, value_symbol] {
            let at = symbol.0 as usize;
            if at >= self.uses.len() {
                tight::push(&mut self.uses, 0);
            }
            self.uses[at] += 1;
        }
        let Self { by_text, pairs, symbols, .. } = self;
        let hash = hash_of(name, value);
        by_text[table(hash)].insert_unique(hash, id, |&id| pairs[id.0 as usize].hash(symbols));
        self.len += 1;
        self.names.entry(name_symbol).or_default().insert(id.0);
        Ok(id)
    }

    /// Removes a pair; its number may stand for another one from here on.
    pub(super) fn release(&mut self, id: PairId) {
        let (name, value) = self.text(id);
        let hash = hash_of(name, value);
        let Self { by_text, pairs, symbols, .. } = self;
        let of_hash = &mut by_text[table(hash)];
        let Ok(entry) = of_hash.find_entry(hash, |&other| other == id) else { return };
        entry.remove();
        if of_hash.len() < of_hash.capacity() / 4 {
            of_hash.shrink_to_fit(|&id| pairs[id.0 as usize].hash(symbols));
        }
        self.len -= 1;
        self.free.push(id);
        let Pair { name, value } = self.pairs[id.0 as usize];
        if let Some(pairs) = self.names.get_mut(&name) {
            pairs.remove(id.0);
            if pairs.is_empty() {
                self.names.remove(&name);
            }
        }
        for symbol in [name, value] {
            let uses = &mut self.uses[symbol.0 as usize];
            *uses -= 1;
            if *uses == 0 {
                self.symbols.release(symbol);
            }
        }
    }

    /// Name and value of a pair.
    pub(super) fn text(&self, pair: PairId) -> (&str, &str) {
        let Pair { name, value } = self.pairs[pair.0 as usize];
        (self.symbols.get(name), self.symbols.get(value))
    }

    /// Value of a pair.
    pub(super) fn value(&self, pair: PairId) -> &str {
        self.symbols.get(self.pairs[pair.0 as usize].value)
    }

    /// Name of a pair.
    pub(super) fn name(&self, pair: PairId) -> Symbol {
        self.pairs[pair.0 as usize].name
    }

    /// Those of `names` that are known.
    pub(super) fn symbols_among(&self, names: &[&str]) -> Vec<Symbol> {
        names.iter().filter_map(|name| self.symbols.lookup(name)).collect()
    }

    /// Packs the labels of a series, whose pairs are in the order of their names.
    pub(super) fn labels(
        &self,
        buffer: &mut String,
        pairs: impl Iterator<Item = PairId>,
    ) -> Labels {
        Labels::from_sorted_in(buffer, pairs.map(|pair| self.text(pair)))
            .expect("labels that were once made can be made again")
    }

    /// All pairs of the label `name`.
    pub(super) fn pairs_of(&self, name: &str) -> Vec<PairId> {
        let pairs = self.symbols.lookup(name).and_then(|symbol| self.names.get(&symbol));
        pairs.into_iter().flatten().map(PairId).collect()
    }

    /// Number of pairs of the label `name`.
    pub(super) fn n_pairs_of(&self, name: &str) -> usize {
        let pairs = self.symbols.lookup(name).and_then(|symbol| self.names.get(&symbol));
        pairs.map_or(0, |pairs| usize::try_from(pairs.len()).unwrap_or(usize::MAX))
    }

    /// All label names, in no order, with their pairs.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = PairId>)> {
        self.names.iter().map(|(name, pairs)| (self.symbols.get(*name), pairs.iter().map(PairId)))
    }

    /// Number of pairs.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Number of distinct strings.
    pub(super) fn n_symbols(&self) -> usize {
        self.symbols.len()
    }

    /// Bytes of the strings and their table.
    pub(super) fn symbols_bytes(&self) -> usize {
        self.symbols.size_bytes()
    }

    /// Bytes of everything else.
    pub(super) fn pairs_bytes(&self) -> usize {
        let slots: usize = self.by_text.iter().map(HashTable::capacity).sum();
        let of_names = self.names.values().map(|pairs| {
            let stats = pairs.statistics();
            let bytes = stats.n_bytes_array_containers
                + stats.n_bytes_run_containers
                + stats.n_bytes_bitset_containers;
            usize::try_from(bytes).unwrap_or(usize::MAX)
        });
        tight::bytes(&self.pairs)
            + tight::bytes(&self.uses)
            + tight::bytes(&self.free)
            + size_of_val(&*self.by_text)
            + slots * 8 / 7 * (size_of::<PairId>() + 1)
            + of_names.sum::<usize>()
    }
}

impl Pair {
    fn hash(self, symbols: &SymbolTable) -> u64 {
        hash_of(symbols.get(self.name), symbols.get(self.value))
    }
}

fn hash_of(name: &str, value: &str) -> u64 {
    xxh3_64_with_seed(value.as_bytes(), xxh3_64(name.as_bytes()))
}

/// The table for a hash, by bits that the tables themselves hardly use.
fn table(hash: u64) -> usize {
    usize::from((hash >> 48).to_le_bytes()[0]) % TABLES
}
