//! What became of a request.

use std::fmt;

use ferula_tsdb::Committed;

use super::receiver::Version;

/// What became of a request.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Receipt {
    /// Floats that the store has now. One that it had already, or that the request repeats, counts, as
    /// a sender that got no answer sends everything again.
    pub appended: u64,
    /// Native histograms that the store has now, counted likewise.
    pub histograms: u64,
    /// Those of both that were not stored anew.
    pub repeated: u64,
    /// Samples refused because their series has a later one.
    pub out_of_order: u64,
    /// Samples refused because their series has another value at that time.
    pub duplicate: u64,
    /// Samples refused because they are too old or too far in the future.
    pub out_of_bounds: u64,
    /// Samples refused because the labels of their series are invalid.
    pub invalid_labels: u64,
    /// Samples not stored because the head takes no more series for now; the sender keeps them.
    pub over_limit: u64,
    /// Native histograms refused because their parts do not fit together.
    pub invalid_histograms: u64,
    /// Series refused because they have no samples, or texts that are not there (2.0).
    pub invalid_series: u64,
    /// Exemplars that the store has now. One that it had already counts.
    pub exemplars: u64,
    /// Exemplars refused because their series has a later one. A request of 1.0 does not fail for these
    /// and the following.
    pub out_of_order_exemplars: u64,
    /// Exemplars refused because of their labels.
    pub invalid_exemplars: u64,
    /// Exemplars refused for another reason: their time, or that there is no such series.
    pub refused_exemplars: u64,
    /// Descriptions of metrics that were read.
    pub metadata: u64,
    /// Those of them that were refused.
    pub refused_metadata: u64,
    /// The first refusal, in words; only their start if there are many.
    pub first_refusal: Option<String>,
}

impl Receipt {
    /// Number of samples that were refused.
    pub fn refused(&self) -> u64 {
        self.out_of_order
            + self.duplicate
            + self.out_of_bounds
            + self.invalid_labels
            + self.invalid_histograms
            + self.over_limit
    }

    /// Tells whether the sender is to send the request again: nothing is wrong with it, but there was
    /// no room for all of it. What is stored already counts as repeated then.
    pub fn is_to_be_repeated(&self) -> bool {
        self.over_limit > 0
    }

    /// Tells whether the sender is to hear of success: whether all of the request was stored that
    /// counts in its version.
    pub fn is_success(&self, version: Version) -> bool {
        let refused = self.refused()
            + match version {
                Version::V1 => 0,
                Version::V2 => {
                    self.invalid_series + self.out_of_order_exemplars + self.invalid_exemplars
                }
            };
        refused == 0
    }

    /// Counts what a commit came to: other senders may have written to the same series meanwhile.
    pub(super) fn settle(&mut self, committed: &Committed) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let overtaken_histograms = count(committed.refused_histograms);
        let overtaken = count(committed.refused) - overtaken_histograms;
        self.appended = self.appended.saturating_sub(overtaken);
        self.histograms = self.histograms.saturating_sub(overtaken_histograms);
        self.out_of_order += overtaken + overtaken_histograms;
        let stored = count(committed.samples);
        self.repeated = (self.appended + self.histograms).saturating_sub(stored);
        let overtaken = count(committed.refused_exemplars);
        self.exemplars = self.exemplars.saturating_sub(overtaken);
        self.out_of_order_exemplars += overtaken;
    }

    /// Keeps the reason of the first refusal.
    pub(super) fn note_refusal(&mut self, reason: impl FnOnce() -> String) {
        self.first_refusal.get_or_insert_with(reason);
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = self.refused();
        let all = refused + self.appended + self.histograms;
        write!(f, "{refused} of {all} samples refused")?;
        let reasons = [
            (self.out_of_order, "out of order"),
            (self.duplicate, "duplicate"),
            (self.out_of_bounds, "out of bounds"),
            (self.invalid_labels, "with invalid labels"),
            (self.invalid_histograms, "invalid histograms"),
            (self.over_limit, "of series beyond the limit"),
        ];
        let mut separator = ": ";
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {reason}")?;
            separator = ", ";
        }
        let others = [
            (self.invalid_series, "invalid series"),
            (self.out_of_order_exemplars, "exemplars out of order"),
            (self.invalid_exemplars, "invalid exemplars"),
        ];
        for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "; {count} {what}")?;
        }
        match &self.first_refusal {
            Some(first) => write!(f, "; first: {first}"),
            None => Ok(()),
        }
    }
}
