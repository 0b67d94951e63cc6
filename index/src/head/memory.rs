//! What the index takes, by part.

use super::HeadIndex;

/// Bytes that the parts of a [`HeadIndex`] take, what they have set aside for later included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexMemory {
    /// Label names and values, and the table by which they are found.
    pub symbols_bytes: u64,
    /// Label pairs, and the table by which they are found.
    pub pairs_bytes: u64,
    /// The label pairs of each series.
    pub series_bytes: u64,
    /// The table by which series are found by their labels.
    pub by_hash_bytes: u64,
    /// The series of each label pair.
    pub postings_bytes: u64,
}

impl IndexMemory {
    /// All parts together.
    pub const fn total_bytes(&self) -> u64 {
        self.symbols_bytes
            + self.pairs_bytes
            + self.series_bytes
            + self.by_hash_bytes
            + self.postings_bytes
    }
}

impl HeadIndex {
    /// What the index takes on the heap, by part, the allocator's own overhead left out.
    ///
    /// Walks over pages and postings but not over series: some milliseconds at a million of them.
    pub fn memory(&self) -> IndexMemory {
        let (symbols, pairs) = {
            let dictionary = self.dictionary.read();
            (dictionary.symbols_bytes(), dictionary.pairs_bytes())
        };
        IndexMemory {
            symbols_bytes: symbols as u64,
            pairs_bytes: pairs as u64,
            series_bytes: self.series.heap_bytes() as u64,
            by_hash_bytes: self.by_hash.heap_bytes() as u64,
            postings_bytes: self.postings.heap_bytes(),
        }
    }
}
