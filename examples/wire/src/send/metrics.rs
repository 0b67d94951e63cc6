//! What sending counts, for each place.

use crate::telemetry::{Counter, Registry};

/// What is counted for one place.
pub(super) struct Metrics {
    pub(super) sent: Counter,
    pub(super) failed: Counter,
    pub(super) dropped: Counter,
    pub(super) retried: Counter,
    pub(super) lost_positions: Counter,
}

impl Metrics {
    pub(super) fn new(registry: &Registry, place: &str) -> Self {
        let counter = |name, help| registry.counter(name, help, &[("remote_name", place)]);
        Self {
            sent: counter(
                "ferula_remote_storage_samples_total",
                "Samples, histograms and exemplars that a place has taken.",
            ),
            failed: counter(
                "ferula_remote_storage_samples_failed_total",
                "Samples, histograms and exemplars that a place refused; they are not sent again.",
            ),
            dropped: counter(
                "ferula_remote_storage_samples_dropped_total",
                "Samples, histograms and exemplars that are not sent because their series is not, or \
                 their kind.",
            ),
            retried: counter(
                "ferula_remote_storage_requests_retried_total",
                "Requests that had to be sent again.",
            ),
            lost_positions: counter(
                "ferula_remote_storage_log_lost_total",
                "How often the log had dropped what was to be sent next.",
            ),
        }
    }
}
