//! From a page to the store: one batch per scrape, stale markers and the scrape's report included.

use std::time::Duration;

use ferula_chunkenc::stale::STALE_NAN;
use ferula_index::{Labels, LabelsBuilder, SeriesRef};
use ferula_tsdb::{AppendError, Error};

use super::cache::SeriesCache;
use super::error::ScrapeError;
use super::metadata::{Descriptions, Family};
use super::report::Report;
use super::target::Target;
use crate::config::Job;
use crate::exposition::text::{Entry, SampleLine, TextParser};
use crate::relabel;
use crate::store::{Batch, Store};

/// How far a sample may lie in the future, in milliseconds.
const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;

/// What a target's scrapes leave for its next one.
#[derive(Debug)]
pub(super) struct Appends {
    cache: SeriesCache,
    report: Report,
    descriptions: Descriptions,
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
}

impl Appends {
    pub(super) fn new(target: &Target) -> Self {
        let (cache, report) = (SeriesCache::new(), Report::new(target.labels()));
        Self { cache, report, descriptions: Descriptions::default() }
    }

    /// Stores the page of a scrape, or that there was none, and the scrape's report.
    ///
    /// Yields why the scrape failed, if it did, and fails itself if the store does.
    pub(super) fn scrape(
        &mut self,
        store: &dyn Store,
        target: &Target,
        page: Result<Vec<u8>, ScrapeError>,
        timestamp: i64,
        elapsed: impl FnOnce() -> Duration,
    ) -> (Counts, Option<ScrapeError>, Result<(), Error>) {
        let mut counts = Counts::default();
        let mut batch = store.batch();
        let outcome = page.and_then(|page| {
            let mut pass = Pass {
                target,
                cache: &mut self.cache,
                descriptions: &mut self.descriptions,
                batch: &mut *batch,
                timestamp,
                counts: &mut counts,
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
        self.report.append(&mut *batch, timestamp, error.is_none(), elapsed(), &counts);
        let committed = batch.commit().map(|committed| counts.refused += committed.refused);
        if error.is_none() && committed.is_ok() {
            self.descriptions.end_good();
        } else {
            self.descriptions.end_failed();
        }
        (counts, error, committed)
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

/// One page on its way into the store.
struct Pass<'a> {
    target: &'a Target,
    cache: &'a mut SeriesCache,
    descriptions: &'a mut Descriptions,
    batch: &'a mut dyn Batch,
    timestamp: i64,
    counts: &'a mut Counts,
}

impl Pass<'_> {
    fn page(&mut self, page: &[u8]) -> Result<(), ScrapeError> {
        let mut parser = TextParser::new(page);
        let mut family = Family::default();
        while let Some(entry) = parser.next_entry()? {
            let line = parser.entry_line();
            match entry {
                Entry::Sample(sample) => {
                    self.counts.scraped += 1;
                    self.sample(&parser, &sample, line, &mut family)?;
                }
                Entry::Help { metric, text } => family.help(metric, text),
                Entry::Type { metric, kind } => family.kind(metric, kind),
                // Only OpenMetrics has one.
                Entry::End => break,
            }
        }
        match self.target.job.sample_limit {
            Some(limit) if self.counts.added > limit => {
                Err(ScrapeError::SampleLimit { limit, found: self.counts.added })
            }
            _ => Ok(()),
        }
    }

    fn sample(
        &mut self,
        parser: &TextParser<'_>,
        sample: &SampleLine<'_>,
        line: usize,
        family: &mut Family<'_>,
    ) -> Result<(), ScrapeError> {
        if self.cache.is_dropped(sample.series) {
            return Ok(());
        }
        self.counts.added += 1;
        // Beyond the limit samples are only counted; the scrape fails at its end.
        if self.target.job.sample_limit.is_some_and(|limit| self.counts.added > limit) {
            if !self.target.job.metric_relabel.is_empty() && self.labels(parser, line)?.is_none() {
                self.drop_series(sample);
            }
            return Ok(());
        }
        let own_timestamp = sample.timestamp.filter(|_| self.target.job.honor_timestamps);
        let timestamp = own_timestamp.unwrap_or(self.timestamp);
        let is_tracked = own_timestamp.is_none() || self.target.job.track_timestamps_staleness;
        let appended = match self.cache.get(sample.series) {
            Some(hit) if hit.is_repeated && own_timestamp.is_none() => {
                // The same series twice in a page: the first one counts.
                self.counts.refused += 1;
                return Ok(());
            }
            _ if timestamp > self.timestamp.saturating_add(MAX_AHEAD_MS) => {
                self.counts.refused += 1;
                return Ok(());
            }
            Some(hit) => match self.batch.append_ref(hit.series, timestamp, sample.value) {
                Err(AppendError::UnknownSeries { .. }) => {
                    let Some(labels) = self.labels(parser, line)? else {
                        self.drop_series(sample);
                        return Ok(());
                    };
                    self.new_series(sample, &labels, timestamp).map(|series| (series, true))
                }
                result => result.map(|()| (hit.series, false)),
            },
            None => {
                let Some(labels) = self.labels(parser, line)? else {
                    self.drop_series(sample);
                    return Ok(());
                };
                let appended = self.new_series(sample, &labels, timestamp);
                self.counts.series_added += usize::from(appended.is_ok());
                appended.map(|series| (series, true))
            }
        };
        match appended {
            Ok((series, is_new)) => {
                if self.descriptions.is_due(family, is_new) {
                    let labels = parser.labels();
                    let name = labels.first().map_or("", |(_, name)| &**name);
                    self.descriptions.tell(self.batch, family, name, series);
                }
                if is_tracked {
                    self.cache.track(sample.series);
                }
                Ok(())
            }
            Err(
                AppendError::OutOfOrder { .. }
                | AppendError::DuplicateTimestamp { .. }
                | AppendError::TooOld { .. }
                | AppendError::TimeOutOfRange { .. },
            ) => {
                self.counts.refused += 1;
                Ok(())
            }
            Err(source) => Err(ScrapeError::Append { line, source }),
        }
    }

    fn new_series(
        &mut self,
        sample: &SampleLine<'_>,
        labels: &Labels,
        timestamp: i64,
    ) -> Result<SeriesRef, AppendError> {
        let series = self.batch.append(labels, timestamp, sample.value)?;
        self.cache.insert(sample.series, series);
        Ok(series)
    }

    /// Notes that the rules of the job drop a series.
    fn drop_series(&mut self, sample: &SampleLine<'_>) {
        self.cache.drop_series(sample.series);
        self.counts.added -= 1;
    }

    /// Labels of the sample read last, joined with those of the target and put through the rules of its
    /// job. `None` if these drop it.
    fn labels(&self, parser: &TextParser<'_>, line: usize) -> Result<Option<Labels>, ScrapeError> {
        let exposed = parser.labels();
        if exposed.iter().any(|(name, _)| name.is_empty()) {
            return Err(ScrapeError::EmptyLabelName { line });
        }
        let invalid = |source| ScrapeError::Labels { line, source };
        let own = Labels::from_pairs(exposed.iter().map(|(n, v)| (n, v))).map_err(invalid)?;
        if own.metric_name().is_empty() {
            return Err(ScrapeError::NoMetricName { line });
        }
        let mut joined = LabelsBuilder::from_labels(&own);
        let mut renamed: Vec<(&str, &str)> = Vec::new();
        for (name, value) in self.target.labels() {
            if !self.target.job.honor_labels {
                renamed.extend(own.get(name).map(|value| (name, value)));
                joined.set(name, value);
            } else if !exposed.iter().any(|(own_name, _)| own_name == name) {
                // A label that the page has without a value keeps the target's one away, too.
                joined.set(name, value);
            }
        }
        renamed.sort_by_key(|(name, _)| name.len());
        for (name, value) in renamed {
            let mut name = format!("exported_{name}");
            while joined.get(&name).is_some() {
                name.insert_str(0, "exported_");
            }
            joined.set(&name, value);
        }
        let joined = joined.build().map_err(invalid)?;
        let job = &self.target.job;
        let relabeled = relabel::process(&joined, &job.metric_relabel).map_err(invalid)?;
        let Some(labels) = relabeled else { return Ok(None) };
        if labels.metric_name().is_empty() {
            return Err(ScrapeError::NoMetricName { line });
        }
        check_limits(job, &labels, line)?;
        Ok(Some(labels))
    }
}

/// Fails if there are more labels, or longer ones, than the job allows.
fn check_limits(job: &Job, labels: &Labels, line: usize) -> Result<(), ScrapeError> {
    let exceeded = |what, limit: Option<usize>, found: usize| match limit {
        Some(limit) if found > limit => Err(ScrapeError::LabelLimit { line, what, limit, found }),
        _ => Ok(()),
    };
    exceeded("labels of a series", job.label_limit, labels.len())?;
    for (name, value) in labels {
        exceeded("bytes of a label name", job.label_name_length_limit, name.len())?;
        exceeded("bytes of a label value", job.label_value_length_limit, value.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
