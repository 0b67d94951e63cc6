//! The series about scraping itself: whether a target is up, how long it took, how much it had.

use std::time::Duration;

use ferula_chunkenc::stale::STALE_NAN;
use ferula_index::{Labels, LabelsBuilder, METRIC_NAME, SeriesRef};
use ferula_tsdb::AppendError;

use super::append::Counts;
use super::target::Target;
use crate::store::Batch;

const NAMES: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
];

/// How many of the names come last, and are there for jobs that ask for them only.
const N_EXTRA: usize = 3;

/// What a scrape came to.
#[derive(Debug)]
pub(super) struct Scraped {
    pub(super) is_up: bool,
    pub(super) duration: Duration,
    pub(super) counts: Counts,
    /// Size of the page in bytes; `None` if it was beyond the limit.
    pub(super) size: Option<usize>,
}

/// The report series of one target.
#[derive(Debug)]
pub(super) struct Report {
    series: Vec<(Labels, Option<SeriesRef>)>,
    timeout_seconds: f64,
    sample_limit: f64,
}

impl Report {
    pub(super) fn new(target: &Target) -> Self {
        let job = &target.job;
        let n_left_out = if job.extra_metrics { 0 } else { N_EXTRA };
        let series = NAMES[..NAMES.len() - n_left_out].iter().map(|name| {
            let labels = LabelsBuilder::from_labels(target.labels()).set(METRIC_NAME, name).build();
            (labels.expect("the labels of the target are no longer than a label set allows"), None)
        });
        Self {
            series: series.collect(),
            timeout_seconds: target.interval_and_timeout().1 as f64 / 1000.0,
            sample_limit: job.limits.samples.unwrap_or(0) as f64,
        }
    }

    /// Appends what a scrape came to.
    pub(super) fn append(&mut self, batch: &mut dyn Batch, timestamp: i64, scraped: &Scraped) {
        let Scraped { is_up, duration, counts, size } = scraped;
        let values = [
            f64::from(u8::from(*is_up)),
            duration.as_secs_f64(),
            counts.scraped as f64,
            counts.added as f64,
            counts.series_added as f64,
            self.timeout_seconds,
            self.sample_limit,
            size.map_or(-1.0, |size| size as f64),
        ];
        self.append_values(batch, timestamp, values);
    }

    /// Ends the series.
    pub(super) fn end(&mut self, batch: &mut dyn Batch, timestamp: i64) {
        self.append_values(batch, timestamp, [STALE_NAN; NAMES.len()]);
    }

    fn append_values(&mut self, batch: &mut dyn Batch, timestamp: i64, values: [f64; NAMES.len()]) {
        for ((labels, known), value) in self.series.iter_mut().zip(values) {
            let by_ref = known.map(|series| batch.append_ref(series, timestamp, value));
            // Refusals are expected of a target that went and came back, and of nothing else.
            if let None | Some(Err(AppendError::UnknownSeries { .. })) = by_ref {
                *known = batch.append(labels, timestamp, value).ok();
            }
        }
    }
}
