//! What a query answers: the value, its annotations, and what it cost.

use std::sync::Arc;

use ferula_chunkenc::histogram::FloatHistogram;
use ferula_chunkenc::{Sample, SampleBatch};
use ferula_index::Labels;

use crate::Annotations;

/// The value of a query.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// A number at the time of an instant query.
    Scalar(Sample),
    /// A string at the time of an instant query.
    String {
        /// Time of the evaluation, in milliseconds since the Unix epoch.
        timestamp: i64,
        /// The string.
        text: String,
    },
    /// One sample per series: the answer of most instant queries.
    Vector(Vec<VectorSample>),
    /// Several samples per series, sorted by labels: the answer of range queries, and of instant
    /// queries for a range selector.
    Matrix(Vec<MatrixSeries>),
}

/// One series of an instant vector.
#[derive(Clone, Debug)]
pub struct VectorSample {
    /// Labels of the series.
    pub labels: Labels,
    /// Time of the evaluation, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The value; a NaN that means nothing if it is a histogram.
    pub value: f64,
    /// The value, if it is a native histogram.
    pub histogram: Option<Arc<FloatHistogram>>,
}

/// One series of a matrix.
#[derive(Clone, Debug)]
pub struct MatrixSeries {
    /// Labels of the series.
    pub labels: Labels,
    /// Its samples, floats and histograms, one per step that has a value, or those of a range
    /// selector as stored.
    pub samples: SampleBatch,
}

/// A part of an answer that is handed over as soon as it is known.
///
/// A scalar or string is the whole answer. Otherwise what kind of answer it is comes first, before
/// anything that takes long, and then its series, in the order in which [`Value`] has them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Part {
    /// A number at the time of an instant query.
    Scalar(Sample),
    /// A string at the time of an instant query.
    String {
        /// Time of the evaluation, in milliseconds since the Unix epoch.
        timestamp: i64,
        /// The string.
        text: String,
    },
    /// What follows are the samples of an instant vector.
    Vector,
    /// What follows are the series of a matrix.
    Matrix,
    /// A sample of an instant vector.
    Sample(VectorSample),
    /// A series of a matrix.
    Series(MatrixSeries),
}

/// What is known of an answer once all of it was handed over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Warnings and infos that came up.
    pub annotations: Annotations,
    /// What the query cost.
    pub stats: QueryStats,
}

/// The answer to a query.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueryResult {
    /// The value.
    pub value: Value,
    /// Warnings and infos that came up.
    pub annotations: Annotations,
    /// What the query cost.
    pub stats: QueryStats,
}

/// What a query cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryStats {
    /// Samples read from the storage, staleness markers included.
    pub samples_read: u64,
    /// Most samples held in memory at once.
    pub peak_samples: u64,
    /// Most bytes of memory held at once, the result included.
    pub peak_memory_bytes: u64,
    /// Series selected in the storage, counted once per selector.
    pub n_series: u64,
}
