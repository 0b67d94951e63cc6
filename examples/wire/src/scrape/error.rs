//! Why a scrape failed.

use crate::exposition::ParseError;

/// Why a scrape failed; nothing of its page is stored then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ScrapeError {
    #[error("cannot fetch the page")]
    Fetch(#[source] reqwest::Error),
    #[error("the page did not arrive within {timeout}")]
    Timeout { timeout: String },
    #[error("server returned HTTP status {status}")]
    Status { status: reqwest::StatusCode },
    #[error("body size limit of {limit} bytes exceeded")]
    BodySize { limit: usize },
    #[error("unsupported content type {found:?} and no fallback_scrape_protocol")]
    ContentType { found: String },
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("line {line}: invalid labels")]
    Labels {
        line: usize,
        #[source]
        source: ferula_index::Error,
    },
    #[error("line {line}: empty label name")]
    EmptyLabelName { line: usize },
    #[error("line {line}: empty metric name")]
    NoMetricName { line: usize },
    #[error("line {line}: series not accepted")]
    Append {
        line: usize,
        #[source]
        source: ferula_tsdb::AppendError,
    },
    #[error("line {line}: {found} {what}, the limit is {limit}")]
    LabelLimit { line: usize, what: &'static str, limit: usize, found: usize },
    #[error("sample limit of {limit} exceeded, the page has {found} samples")]
    SampleLimit { limit: usize, found: usize },
}
