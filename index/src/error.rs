//! What can go wrong with label sets, matchers and index files.

use crate::SeriesRef;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A label name occurs twice in one label set.
    #[error("label name {name:?} is not unique")]
    DuplicateLabel {
        /// The repeated name.
        name: String,
    },
    /// A label name or value is longer than a label set can hold.
    #[error("label name or value of {len} bytes exceeds the limit of {limit}")]
    LabelTooLong {
        /// Length found, in bytes.
        len: usize,
        /// Longest length that is accepted, in bytes.
        limit: usize,
    },
    /// A regular expression of a matcher does not compile.
    #[error("invalid regular expression {pattern:?}: {reason}")]
    Regex {
        /// The expression as given.
        pattern: String,
        /// What is wrong with it, in one line.
        reason: String,
    },
    /// A series ref that is to be inserted is zero or stands for other labels already.
    #[error("series ref {series} is zero or stands for other labels")]
    SeriesRefTaken {
        /// The ref.
        series: SeriesRef,
    },
    /// There are more strings or label pairs than can be numbered.
    #[error("more than {limit} different strings or label pairs")]
    TooManySymbols {
        /// How many can be numbered.
        limit: u32,
    },
}
