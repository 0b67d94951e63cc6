//! Exposition formats: how a process tells its metrics.

mod error;
pub mod line;
pub mod openmetrics;
pub mod text;
pub mod write;

pub use error::{ParseError, ParseProblem};

/// What kind of values a metric has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// A value that only grows, or falls back to zero.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Counts of observations per bucket, their sum and their number.
    Histogram,
    /// Quantiles of observations, their sum and their number.
    Summary,
    /// Nothing is known.
    #[default]
    Untyped,
}

impl MetricType {
    /// The word of the text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }

    /// The type as the store has it.
    pub(crate) fn stored(self) -> ferula_tsdb::MetricType {
        match self {
            Self::Counter => ferula_tsdb::MetricType::Counter,
            Self::Gauge => ferula_tsdb::MetricType::Gauge,
            Self::Histogram => ferula_tsdb::MetricType::Histogram,
            Self::Summary => ferula_tsdb::MetricType::Summary,
            Self::Untyped => ferula_tsdb::MetricType::Unknown,
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            "untyped" => Self::Untyped,
            _ => return None,
        })
    }
}
