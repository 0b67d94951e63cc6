//! Blocks in ferula's own format: columns in pages, and an index that is read where it lies.
//!
//! Described in `docs/formats/ferula-block.md`. Chunks are up to 8,192 samples of one series, of which
//! the times stand once for all series that were scraped together; the chunks of neighbouring series
//! share a page, which is read as a whole. What columns do not hold, such as downsampled data, stands
//! beside the pages as it is.

mod cache;
mod copies;
mod digest;
mod layout;
mod paged;
mod pages;
mod reader;
mod run;
mod stream;
mod writer;

pub(super) use self::paged::PagedChunk;
pub(super) use self::reader::FerulaReader;
pub(super) use self::writer::FerulaWriter;

#[cfg(test)]
mod tests;
