//! Label sets, matchers, symbols, postings and index files.

#![forbid(unsafe_code)]

pub mod block;
mod error;
pub mod head;
pub mod labels;
pub mod matcher;
pub mod postings;
mod refs;
pub mod symbols;

pub use error::{Corruption, Error};
pub use labels::{Labels, LabelsBuilder, METRIC_NAME};
pub use matcher::{MatchOp, Matcher};
pub use refs::{ChunkMeta, ChunkRef, SeriesRef};
