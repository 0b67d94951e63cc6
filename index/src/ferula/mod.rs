//! The index file of a block in ferula's own format: small, and read where it lies.
//!
//! The format is described in `docs/formats/ferula-block.md`. What there is much of — strings,
//! series, values of labels — stands in groups of a few entries that are told by their differences.
//! Each group is found by its number, has a checksum of its own, and is read when it is asked for;
//! opening reads the label names and nothing else. Neither [`IndexWriter`] nor [`IndexReader`]
//! opens files.

mod bitmap;
mod bounds;
mod cursor;
mod groups;
mod layout;
mod names;
mod reader;
mod series;
mod sink;
mod symbols;
mod toc;
mod values;
mod writer;

pub use bounds::ValueBounds;
pub use cursor::SeriesCursor;
pub use reader::IndexReader;
pub use series::ChunkEntry;
pub use writer::IndexWriter;

#[cfg(test)]
mod tests;
