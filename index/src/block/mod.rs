//! The index file of a block, in the format of Prometheus: version 2 is written, 1 to 3 are read.
//!
//! The format is described in `docs/formats/index.md`. [`IndexWriter`] writes the same bytes as
//! Prometheus 3.14 for the same symbols and series; [`IndexReader`] reads what either wrote.
//! Neither opens files.

mod gaps;
mod layout;
mod postings_table;
mod reader;
mod section;
mod series;
mod symbols;
mod toc;
mod writer;

pub(crate) use gaps::GapPostings;
pub use layout::Section;
pub use reader::IndexReader;
pub(crate) use section::SectionReader;
pub use writer::IndexWriter;
