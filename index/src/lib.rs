//! Label sets, matchers, symbols, postings and index files.
//!
//! This crate knows which series there are and which of them a selector means; it is used by the
//! head of a database, by its blocks, and by the query engine. It knows nothing of samples' values
//! and opens no files: writers take [`std::io::Write`], readers take [`bytes::Bytes`]. For a whole
//! database see `ferula-tsdb`.
//!
//! ```
//! use ferula_index::head::HeadIndex;
//! use ferula_index::{Labels, MatchOp, Matcher};
//!
//! let index = HeadIndex::new();
//! for instance in ["a:9100", "b:9100", "c:9100"] {
//!     let pairs = [("__name__", "up"), ("job", "node"), ("instance", instance)];
//!     index.get_or_create(&Labels::from_pairs(pairs)?)?;
//! }
//! let regex = Matcher::new(MatchOp::Regex, "instance", "[ab]:.*")?;
//! let matchers = [Matcher::equal("__name__", "up"), regex];
//! let selected = index.select(&matchers);
//! let labels: Vec<String> = index.sorted(&selected).iter().map(|(l, _)| l.to_string()).collect();
//! assert_eq!(
//!     labels,
//!     [
//!         r#"{__name__="up", instance="a:9100", job="node"}"#,
//!         r#"{__name__="up", instance="b:9100", job="node"}"#,
//!     ]
//! );
//! assert_eq!(index.label_values("instance", &matchers), ["a:9100", "b:9100"]);
//! # Ok::<(), ferula_index::Error>(())
//! ```
//!
//! # Concepts
//!
//! | What | Where |
//! | --- | --- |
//! | a label set, sorted and unique by construction | [`Labels`], [`LabelsBuilder`] |
//! | a test of one label; regular expressions are RE2's | [`Matcher`], [`matcher::CaptureRegex`] |
//! | a set of series | [`postings::Postings`] |
//! | the index of series that come and go | [`head::HeadIndex`] |
//! | the index file of a block, as Prometheus has it | [`block::IndexWriter`], [`block::IndexReader`] |
//! | the index file of a block, in ferula's own format | [`ferula::IndexWriter`], [`ferula::IndexReader`] |
//! | interned strings | [`symbols::SymbolTable`] |
//!
//! # Guarantees
//!
//! - A series that does not have a label counts as having it with the empty value.
//! - Lists come sorted, and the same series give the same bytes.
//! - Malformed index files and expressions give an [`Error`]; they neither panic nor allocate more
//!   than they warrant.

#![forbid(unsafe_code)]

pub mod block;
mod error;
pub mod ferula;
pub mod head;
pub mod labels;
pub mod matcher;
mod pace;
pub mod postings;
mod refs;
pub mod symbols;

pub use error::{Corruption, Error};
pub use labels::{Labels, LabelsBuilder, METRIC_NAME};
pub use matcher::{MatchOp, Matcher};
pub use pace::Pace;
pub use refs::{ChunkMeta, ChunkRef, SeriesRef};
