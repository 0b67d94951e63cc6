//! Immutable directories of samples: meta.json, index and chunk segments.

mod chunks;
mod meta;
mod output;

pub use meta::{BlockCompaction, BlockMeta, BlockParent, BlockStats, META_VERSION};
pub(crate) use output::OutputFile;
