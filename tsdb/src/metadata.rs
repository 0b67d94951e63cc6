//! Metadata: what a metric says of itself, as its owner sees it.

use ferula_index::{Labels, SeriesRef};
pub use ferula_wal::record::metadata::MetricType;

/// What a metric says of itself. Each series has its own; those of one metric nearly always have
/// the same, which is held once.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metadata {
    /// Type of the metric.
    pub metric_type: MetricType,
    /// Unit of its values; empty if there is none.
    pub unit: String,
    /// What it says; empty if it says nothing.
    pub help: String,
}

impl Metadata {
    /// Makes metadata.
    pub fn new(metric_type: MetricType, unit: impl Into<String>, help: impl Into<String>) -> Self {
        Self { metric_type, unit: unit.into(), help: help.into() }
    }

    /// Length of its texts, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.unit.len() + self.help.len()
    }
}

/// What the series of one metric say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricMetadata {
    /// Name of the metric.
    pub metric: String,
    /// What they say, each once, in order.
    pub metadata: Vec<Metadata>,
}

impl MetricMetadata {
    /// Makes what the series of a metric say, each once and in order.
    pub fn new(metric: impl Into<String>, metadata: Vec<Metadata>) -> Self {
        Self { metric: metric.into(), metadata }
    }
}

/// Why metadata was refused. The rest of its batch stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Its texts are too long.
    #[error("metadata of {found} bytes, at most {limit} are accepted")]
    TooLong {
        /// Length of unit and help, in bytes.
        found: usize,
        /// Most that is accepted, in bytes.
        limit: usize,
    },
    /// No series has these labels. Metadata makes none: append a sample first.
    #[error("there is no series {labels}")]
    NoSeries {
        /// The labels.
        labels: Labels,
    },
    /// No series has this ref. Update by labels.
    #[error("no series has the ref {series}")]
    UnknownSeries {
        /// The ref.
        series: SeriesRef,
    },
    /// The metadata of the batch is too large together; commit it and go on with another.
    #[error("the batch holds {limit} bytes of metadata, its limit")]
    BatchTooLarge {
        /// Most bytes of metadata that a batch takes.
        limit: usize,
    },
}
