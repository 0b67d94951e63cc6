//! The label pairs of a head: each has a number, by which series and postings refer to it.

use std::collections::HashMap;

use hashbrown::HashTable;
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::Error;
use crate::symbols::{Symbol, SymbolTable};

/// Number of a label pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PairId(pub(super) u32);

/// Label pairs and their numbers. Numbers are stable, and used again once released.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    symbols: SymbolTable,
    /// How many pairs use each symbol, as name or as value.
    uses: Vec<u32>,
    pairs: Vec<Pair>,
    by_text: HashTable<PairId>,
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
    /// The number of a pair, if it is known.
    pub(super) fn lookup(&self, name: &str, value: &str) -> Option<PairId> {
        self.by_text.find(hash(name, value), |&pair| self.text(pair) == (name, value)).copied()
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
                self.pairs.push(pair);
                PairId(next)
            }
        };
        for symbol in [name_symbol, value_symbol] {
            let at = symbol.0 as usize;
            if at >= self.uses.len() {
                self.uses.resize(at + 1, 0);
            }
            self.uses[at] += 1;
        }
        let Self { by_text, pairs, symbols, .. } = self;
        by_text.insert_unique(hash(name, value), id, |&id| {
            let Pair { name, value } = pairs[id.0 as usize];
            hash(symbols.get(name), symbols.get(value))
        });
        self.names.entry(name_symbol).or_default().insert(id.0);
        Ok(id)
    }

    /// Removes a pair; its number may stand for another one from here on.
    pub(super) fn release(&mut self, id: PairId) {
        let (name, value) = self.text(id);
        let Ok(entry) = self.by_text.find_entry(hash(name, value), |&other| other == id) else {
            return;
        };
        entry.remove();
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

    /// All pairs of the label `name`.
    pub(super) fn pairs_of(&self, name: &str) -> Vec<PairId> {
        let pairs = self.symbols.lookup(name).and_then(|symbol| self.names.get(&symbol));
        pairs.into_iter().flatten().map(PairId).collect()
    }

    /// All label names, in no order, with their pairs.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = PairId>)> {
        self.names.iter().map(|(name, pairs)| (self.symbols.get(*name), pairs.iter().map(PairId)))
    }

    /// Number of pairs.
    pub(super) fn len(&self) -> usize {
        self.by_text.len()
    }

    /// Number of distinct strings.
    pub(super) fn n_symbols(&self) -> usize {
        self.symbols.len()
    }
}

fn hash(name: &str, value: &str) -> u64 {
    xxh3_64_with_seed(value.as_bytes(), xxh3_64(name.as_bytes()))
}
