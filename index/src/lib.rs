//! Label sets, matchers, symbols, postings and index files.

#![forbid(unsafe_code)]

mod error;
pub mod labels;
pub mod matcher;
mod refs;

pub use error::Error;
pub use labels::{Labels, LabelsBuilder, METRIC_NAME};
pub use matcher::{MatchOp, Matcher};
pub use refs::SeriesRef;
