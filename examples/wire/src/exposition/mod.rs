//! Exposition formats: how a process tells its metrics.

mod classic;
mod error;
pub mod line;
pub mod openmetrics;
pub mod protobuf;
mod protocol;
mod sample;
pub mod text;
pub mod write;

pub use classic::ClassicError;
pub(crate) use classic::{Collected, Collector};
pub use error::{ParseError, ParseProblem};
pub use protocol::{Escaping, Format, Protocol, accept, format_of};
pub(crate) use sample::{Sample, SampleSource, SampleValue};

/// What kind of values a metric has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// A value that only grows, or falls back to zero.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Counts of observations per bucket, their sum and their number.
    Histogram,
    /// A histogram whose counts may fall.
    GaugeHistogram,
    /// Quantiles of observations, their sum and their number.
    Summary,
    /// Labels that tell of something, with the value 1.
    Info,
    /// Which of several states hold.
    StateSet,
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
            // The format has no words for these.
            Self::GaugeHistogram | Self::Info | Self::StateSet | Self::Untyped => "untyped",
        }
    }

    /// The type as the store has it.
    pub(crate) fn stored(self) -> ferula_tsdb::MetricType {
        match self {
            Self::Counter => ferula_tsdb::MetricType::Counter,
            Self::Gauge => ferula_tsdb::MetricType::Gauge,
            Self::Histogram => ferula_tsdb::MetricType::Histogram,
            Self::GaugeHistogram => ferula_tsdb::MetricType::GaugeHistogram,
            Self::Summary => ferula_tsdb::MetricType::Summary,
            Self::Info => ferula_tsdb::MetricType::Info,
            Self::StateSet => ferula_tsdb::MetricType::StateSet,
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

    fn from_openmetrics_word(word: &str) -> Option<Self> {
        Some(match word {
            "unknown" => Self::Untyped,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            "gaugehistogram" => Self::GaugeHistogram,
            word => return Self::from_word(word),
        })
    }
}
