//! What remote write counts.

use super::receipt::Receipt;
use crate::telemetry::{Counter, Registry};

/// What the receiver counts.
pub(super) struct Metrics {
    appended: Counter,
    out_of_order: Counter,
    duplicate: Counter,
    out_of_bounds: Counter,
    invalid_labels: Counter,
    invalid_histograms: Counter,
    over_limit: Counter,
    histograms: Counter,
    invalid_series: Counter,
    exemplars: Counter,
    out_of_order_exemplars: Counter,
    invalid_exemplars: Counter,
    refused_exemplars: Counter,
    metadata: Counter,
    refused_metadata: Counter,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let appended = registry.counter(
            "ferula_remote_write_samples_appended_total",
            "Samples received by remote write and stored, repeated ones included.",
            &[],
        );
        let refused = |reason| {
            registry.counter(
                "ferula_remote_write_samples_refused_total",
                "Samples received by remote write and refused, by reason.",
                &[("reason", reason)],
            )
        };
        let refused_exemplars = |reason| {
            registry.counter(
                "ferula_remote_write_exemplars_refused_total",
                "Exemplars received by remote write and refused, by reason.",
                &[("reason", reason)],
            )
        };
        Self {
            appended,
            out_of_order: refused("out_of_order"),
            duplicate: refused("duplicate"),
            out_of_bounds: refused("out_of_bounds"),
            invalid_labels: refused("invalid_labels"),
            invalid_histograms: refused("invalid_histogram"),
            over_limit: refused("too_many_series"),
            histograms: registry.counter(
                "ferula_remote_write_histograms_appended_total",
                "Native histograms received by remote write and stored, repeated ones included.",
                &[],
            ),
            invalid_series: registry.counter(
                "ferula_remote_write_invalid_series_total",
                "Series received by remote write without samples, or with texts that are not there.",
                &[],
            ),
            exemplars: registry.counter(
                "ferula_remote_write_exemplars_appended_total",
                "Exemplars received by remote write and stored.",
                &[],
            ),
            out_of_order_exemplars: refused_exemplars("out_of_order"),
            invalid_exemplars: refused_exemplars("invalid"),
            refused_exemplars: refused_exemplars("other"),
            metadata: registry.counter(
                "ferula_remote_write_metadata_total",
                "Descriptions of metrics received by remote write.",
                &[],
            ),
            refused_metadata: registry.counter(
                "ferula_remote_write_metadata_refused_total",
                "Descriptions of metrics received by remote write and refused.",
                &[],
            ),
        }
    }

    pub(super) fn count(&self, receipt: &Receipt) {
        self.appended.add(receipt.appended);
        self.out_of_order.add(receipt.out_of_order);
        self.duplicate.add(receipt.duplicate);
        self.out_of_bounds.add(receipt.out_of_bounds);
        self.invalid_labels.add(receipt.invalid_labels);
        self.invalid_histograms.add(receipt.invalid_histograms);
        self.over_limit.add(receipt.over_limit);
        self.histograms.add(receipt.histograms);
        self.invalid_series.add(receipt.invalid_series);
        self.exemplars.add(receipt.exemplars);
        self.out_of_order_exemplars.add(receipt.out_of_order_exemplars);
        self.invalid_exemplars.add(receipt.invalid_exemplars);
        self.refused_exemplars.add(receipt.refused_exemplars);
        self.metadata.add(receipt.metadata);
        self.refused_metadata.add(receipt.refused_metadata);
    }
}
