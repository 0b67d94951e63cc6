//! Exemplars: single observations that stand for those behind the samples of a series, as their
//! owner sees them.

use ferula_index::{Labels, SeriesRef};

use crate::options::MAX_EXEMPLAR_LABEL_CHARS;

/// One observation of those behind the samples of a series, with labels that lead to it: a trace to
/// look up, for example.
#[derive(Clone, Debug)]
pub struct Exemplar {
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The observed value.
    pub value: f64,
    /// Labels of the observation.
    pub labels: Labels,
}

impl PartialEq for Exemplar {
    /// Values are compared bit for bit.
    fn eq(&self, other: &Self) -> bool {
        self.timestamp == other.timestamp
            && self.value.to_bits() == other.value.to_bits()
            && self.labels == other.labels
    }
}

impl Eq for Exemplar {}

impl Exemplar {
    /// Makes an exemplar.
    pub fn new(timestamp: i64, value: f64, labels: Labels) -> Self {
        Self { timestamp, value, labels }
    }
}

/// The exemplars of one series that a selection found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeriesExemplars {
    /// Labels of the series.
    pub labels: Labels,
    /// In ascending time; those of one time in ascending value, then by labels.
    pub exemplars: Vec<Exemplar>,
}

impl SeriesExemplars {
    /// Makes the exemplars of a series, which are in order.
    pub fn new(labels: Labels, exemplars: Vec<Exemplar>) -> Self {
        Self { labels, exemplars }
    }
}

/// Why one exemplar was refused. The rest of its batch stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExemplarError {
    /// The database keeps none: see [`Limits::exemplars`](crate::Limits::exemplars).
    #[error("the database keeps no exemplars")]
    Disabled,
    /// The series has a later exemplar, or one of this time that comes after this one by value and
    /// labels.
    #[error("exemplar at {timestamp} is out of order, the series is at {newest}")]
    OutOfOrder {
        /// Time of the refused exemplar, in milliseconds.
        timestamp: i64,
        /// Time of the newest exemplar of the series, in milliseconds.
        newest: i64,
    },
    /// Its labels are too long together.
    #[error("exemplar labels of {found} characters, at most {limit} are accepted")]
    LabelsTooLong {
        /// Characters of all names and values.
        found: usize,
        /// Most that are accepted.
        limit: usize,
    },
    /// A label name is empty.
    #[error("a label name of the exemplar is empty")]
    EmptyLabelName,
    /// It lies farther from the Unix epoch than [`MAX_TIME_MS`](crate::MAX_TIME_MS).
    #[error("exemplar at {timestamp} is more than {limit} ms away from the Unix epoch")]
    TimeOutOfRange {
        /// Time of the refused exemplar, in milliseconds.
        timestamp: i64,
        /// Largest distance, in milliseconds.
        limit: i64,
    },
    /// No series has these labels. An exemplar makes none: append a sample first.
    #[error("there is no series {labels}")]
    NoSeries {
        /// The labels.
        labels: Labels,
    },
    /// No series has this ref. Append by labels.
    #[error("no series has the ref {series}")]
    UnknownSeries {
        /// The ref.
        series: SeriesRef,
    },
    /// The exemplars of the batch are too large together; commit it and go on with another.
    #[error("the batch holds {limit} bytes of exemplars, its limit")]
    BatchTooLarge {
        /// Most bytes of exemplars that a batch takes.
        limit: usize,
    },
}

/// Checks what does not depend on other exemplars.
pub(crate) fn check_labels(labels: &Labels) -> Result<(), ExemplarError> {
    let mut found = 0;
    for (name, value) in labels {
        if name.is_empty() {
            return Err(ExemplarError::EmptyLabelName);
        }
        found += name.chars().count() + value.chars().count();
    }
    let limit = MAX_EXEMPLAR_LABEL_CHARS;
    if found > limit {
        return Err(ExemplarError::LabelsTooLong { found, limit });
    }
    Ok(())
}
