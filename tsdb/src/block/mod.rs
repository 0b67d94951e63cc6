//! Immutable directories of samples: meta.json, index and chunk segments.

mod meta;

pub use meta::{BlockCompaction, BlockMeta, BlockParent, BlockStats, META_VERSION};
