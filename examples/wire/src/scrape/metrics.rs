//! What the scraper counts about itself.

use super::append::Counts;
use crate::telemetry::{Counter, Registry};

/// Counters that all targets share.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    scrapes: Counter,
    failures: Counter,
    samples: Counter,
    refused: Counter,
    refused_exemplars: Counter,
    limited: Counter,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name, help| registry.counter(name, help, &[]);
        Self {
            scrapes: counter("ferula_scrapes_total", "Scrapes of targets."),
            failures: counter("ferula_scrape_failures_total", "Scrapes that failed."),
            samples: counter("ferula_scrape_samples_total", "Samples on the pages of targets."),
            refused: counter(
                "ferula_scrape_samples_refused_total",
                "Samples on the pages of targets that were not stored.",
            ),
            limited: counter(
                "ferula_scrape_series_limited_total",
                "New series of targets with a label that had too many values.",
            ),
            refused_exemplars: counter(
                "ferula_scrape_exemplars_refused_total",
                "Exemplars on the pages of targets that were not stored.",
            ),
        }
    }

    pub(super) fn count(&self, counts: &Counts, is_failure: bool) {
        self.scrapes.inc();
        self.failures.add(u64::from(is_failure));
        self.samples.add(counts.scraped as u64);
        self.refused.add(counts.refused as u64);
        self.limited.add(counts.limited as u64);
        self.refused_exemplars.add(counts.refused_exemplars as u64);
    }
}
