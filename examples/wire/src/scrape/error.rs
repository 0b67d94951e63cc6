//! Why a scrape failed.

use std::fmt;

use crate::client::AuthError;
use crate::exposition::ParseError;
use crate::exposition::protobuf::ProtobufError;

/// Where on a page something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On this line of a text, counted from 1.
    Line(usize),
    /// In this metric family of a page in protobuf, counted from 1.
    Family(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Family(family) => write!(f, "metric family {family}"),
        }
    }
}

/// Why a scrape failed; nothing of its page is stored then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ScrapeError {
    #[error("cannot fetch the page")]
    Fetch(#[source] reqwest::Error),
    #[error("cannot ask for the page")]
    Auth(#[from] AuthError),
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
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
    #[error("{place}: invalid labels")]
    Labels {
        place: Place,
        #[source]
        source: ferula_index::Error,
    },
    #[error("{place}: empty label name")]
    EmptyLabelName { place: Place },
    #[error("{place}: empty metric name")]
    NoMetricName { place: Place },
    #[error("{place}: series not accepted")]
    Append {
        place: Place,
        #[source]
        source: ferula_tsdb::AppendError,
    },
    #[error("{place}: {found} {what}, the limit is {limit}")]
    LabelLimit { place: Place, what: &'static str, limit: usize, found: usize },
    #[error("{place}: names that are not legacy ones in {labels}")]
    Names { place: Place, labels: String },
    #[error("{place}: invalid histogram")]
    Histogram {
        place: Place,
        #[source]
        source: ferula_chunkenc::histogram::HistogramError,
    },
    #[error("histogram bucket limit of {limit} exceeded")]
    BucketLimit { limit: usize },
    #[error("target limit of {limit} exceeded, the job has {found} targets")]
    TargetLimit { limit: usize, found: usize },
    #[error("sample limit of {limit} exceeded, the page has {found} samples")]
    SampleLimit { limit: usize, found: usize },
}

/// What became of the last scrape of a target, in more detail than whether it succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TargetState {
    /// There was none yet.
    #[default]
    Unknown,
    /// It succeeded.
    Up,
    /// There was no page, or one of an error.
    Down,
    /// The page did not arrive in time.
    Timeout,
    /// The page cannot be read, or its series not be stored.
    ParseError,
    /// Something was beyond a limit of the job.
    OverLimit,
}

impl TargetState {
    /// The word of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Timeout => "TIMEOUT",
            Self::ParseError => "PARSE_ERROR",
            Self::OverLimit => "OVERLIMIT",
        }
    }

    /// The word that Prometheus has for it.
    pub(crate) fn health(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            _ => "down",
        }
    }
}

impl ScrapeError {
    /// The state of a target whose scrape failed so.
    pub(super) fn state(&self) -> TargetState {
        match self {
            Self::Fetch(_) | Self::Auth(_) | Self::Status { .. } => TargetState::Down,
            Self::Timeout { .. } => TargetState::Timeout,
            Self::BodySize { .. }
            | Self::LabelLimit { .. }
            | Self::SampleLimit { .. }
            | Self::BucketLimit { .. }
            | Self::TargetLimit { .. } => TargetState::OverLimit,
            Self::ContentType { .. }
            | Self::Parse(_)
            | Self::Protobuf(_)
            | Self::Labels { .. }
            | Self::EmptyLabelName { .. }
            | Self::NoMetricName { .. }
            | Self::Names { .. }
            | Self::Histogram { .. }
            | Self::Append { .. } => TargetState::ParseError,
        }
    }
}
