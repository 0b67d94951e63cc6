//! From a page to the store: one batch per scrape, stale markers and the scrape's report included.

mod histogram;
mod labels;
mod pass;

use std::sync::Arc;
use std::time::Duration;

use ferula_chunkenc::stale::STALE_NAN;
use ferula_index::SeriesRef;
use ferula_tsdb::Error;

use self::pass::Pass;
use super::cache::SeriesCache;
use super::cardinality::LabelValues;
use super::error::ScrapeError;
use super::fetch::Page;
use super::metadata::Descriptions;
use super::report::{Report, Scraped};
use super::target::Target;
use crate::store::{Batch, Store};

/// What a target's scrapes leave for its next one.
#[derive(Debug)]
pub(super) struct Appends {
    cache: SeriesCache,
    report: Report,
    descriptions: Descriptions,
    label_values: LabelValues,
    /// Whether it is stored since when series have been counting.
    has_starts: bool,
    /// Whether there was no scrape yet.
    is_new: bool,
}

/// What appending a page came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Samples of the page.
    pub(super) scraped: usize,
    /// Those of them that are stored, or would be if they were not refused.
    pub(super) added: usize,
    /// Series not known before.
    pub(super) series_added: usize,
    /// Samples that the store refused.
    pub(super) refused: usize,
    /// New series with labels that had too many values.
    pub(super) limited: usize,
    /// Exemplars that the store refused.
    pub(super) refused_exemplars: usize,
}

impl Appends {
    pub(super) fn new(target: &Target, has_starts: bool) -> Self {
        let (cache, report) = (SeriesCache::new(), Report::new(target));
        let (descriptions, label_values) = (Descriptions::default(), LabelValues::default());
        Self { cache, report, descriptions, label_values, has_starts, is_new: true }
    }

    /// Whether there was no scrape yet.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Goes on with a target whose job has changed. Which labels a line stands for is found out anew if it
    /// may be others; series that do not come again end then.
    pub(super) fn adopt(&mut self, old: &Target, new: &Target) {
        let (old_job, new_job) = (&old.job, &new.job);
        if Arc::ptr_eq(old_job, new_job) {
            return;
        }
        if old_job.metric_relabel != new_job.metric_relabel
            || old_job.honor_labels != new_job.honor_labels
            || old_job.histograms != new_job.histograms
            || (old_job.names, &old_job.limits) != (new_job.names, &new_job.limits)
            || old_job.cardinality != new_job.cardinality
        {
            self.cache.relearn();
            self.label_values.clear();
            self.descriptions.end_failed();
        }
        if old_job.extra_metrics != new_job.extra_metrics
            || old.interval_and_timeout() != new.interval_and_timeout()
            || old_job.limits != new_job.limits
        {
            self.report = Report::new(new);
        }
    }

    /// Stores the page of a scrape, or that there was none, and the scrape's report.
    ///
    /// Yields why the scrape failed, if it did, and fails itself if the store does.
    pub(super) fn scrape(
        &mut self,
        store: &dyn Store,
        target: &Target,
        page: Result<Page, ScrapeError>,
        timestamp: i64,
        elapsed: impl FnOnce() -> Duration,
    ) -> (Counts, Option<ScrapeError>, Result<(), Error>) {
        self.is_new = false;
        if self.label_values.is_worn(self.cache.len()) {
            self.cache.relearn();
            self.label_values.clear();
        }
        let mut counts = Counts::default();
        let mut batch = store.batch();
        let size = match &page {
            Ok(page) => Some(page.body.len()),
            Err(ScrapeError::BodySize { .. }) => None,
            Err(_) => Some(0),
        };
        let outcome = page.and_then(|page| {
            let mut pass = Pass {
                target,
                cache: &mut self.cache,
                descriptions: &mut self.descriptions,
                label_values: &mut self.label_values,
                batch: &mut *batch,
                timestamp,
                counts: &mut counts,
                has_starts: self.has_starts,
                is_over_buckets: false,
            };
            pass.page(&page)
        });
        let error = outcome.err();
        if error.is_some() {
            // Whatever was appended of the page goes with the batch.
            drop(batch);
            batch = store.batch();
            mark_stale(&mut *batch, &self.cache.all_stale(), timestamp);
            self.cache.end_failed();
        } else {
            mark_stale(&mut *batch, &self.cache.stale(), timestamp);
            self.cache.end_good();
        }
        let scraped = Scraped { is_up: error.is_none(), duration: elapsed(), counts, size };
        self.report.append(&mut *batch, timestamp, &scraped);
        let committed = batch.commit().map(|committed| counts.refused += committed.refused);
        if error.is_none() && committed.is_ok() {
            self.descriptions.end_good();
        } else {
            self.descriptions.end_failed();
        }
        (counts, error, committed)
    }

    /// Labels that have too many values.
    pub(super) fn limited_labels(&self) -> Vec<String> {
        self.label_values.limited()
    }

    /// Ends all series of the target, those of its report included.
    pub(super) fn end(&mut self, store: &dyn Store, timestamp: i64) -> Result<(), Error> {
        let mut batch = store.batch();
        mark_stale(&mut *batch, &self.cache.all_stale(), timestamp);
        self.cache.end_failed();
        self.report.end(&mut *batch, timestamp);
        batch.commit().map(|_| ())
    }
}

/// Appends stale markers. A series that has a later sample belongs to somebody else now, and one
/// that the store has dropped needs none.
fn mark_stale(batch: &mut dyn Batch, series: &[SeriesRef], timestamp: i64) {
    for series in series {
        let _ = batch.append_ref(*series, timestamp, STALE_NAN);
    }
}

#[cfg(test)]
mod tests;
