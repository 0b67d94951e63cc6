//! What became of a request.

use std::fmt;

use ferula_tsdb::Committed;

/// What became of a request.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OtlpReceipt {
    /// Data points that were read.
    pub points: u64,
    /// Those of them that were refused, in whole or in part.
    pub refused_points: u64,
    /// Those of them for whose series there was no room; the sender keeps them.
    pub over_limit: u64,
    /// Samples that the store has now, those of `target_info` included. One that it had already counts.
    pub samples: u64,
    /// Those of them that are native histograms.
    pub histograms: u64,
    /// Exemplars that the store has now.
    pub exemplars: u64,
    /// Exemplars that were refused; no point is given up for one.
    pub refused_exemplars: u64,
    /// Series that could not be told what their metric is; no point is given up for that.
    pub refused_metadata: u64,
    /// Label sets in which several attributes had the same name once it was translated; their values
    /// stand behind each other in one label.
    pub collisions: u64,
    /// The first refusal, in words; only their start if there are many.
    pub first_refusal: Option<String>,
}

impl OtlpReceipt {
    /// Tells whether the sender is to send the request again: nothing is wrong with it, but there was no
    /// room for all of it.
    pub fn is_to_be_repeated(&self) -> bool {
        self.over_limit > 0
    }

    /// Counts what a commit came to: other senders may have written to the same series meanwhile.
    pub(super) fn settle(&mut self, committed: &Committed) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let overtaken = count(committed.refused);
        self.samples = self.samples.saturating_sub(overtaken);
        self.histograms = self.histograms.saturating_sub(count(committed.refused_histograms));
        self.refused_points = (self.refused_points + overtaken).min(self.points);
        let overtaken = count(committed.refused_exemplars);
        self.exemplars = self.exemplars.saturating_sub(overtaken);
        self.refused_exemplars += overtaken;
    }
}

impl fmt::Display for OtlpReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} data points refused", self.refused_points, self.points)?;
        match &self.first_refusal {
            Some(first) => write!(f, "; first: {first}"),
            None => Ok(()),
        }
    }
}
