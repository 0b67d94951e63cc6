//! The series about scraping itself: whether a target is up, how long it took, how much it had.

use std::time::Duration;

use ferula_chunkenc::stale::STALE_NAN;
use ferula_index::{Labels, LabelsBuilder, METRIC_NAME, SeriesRef};
use ferula_tsdb::AppendError;

use super::append::Counts;
use crate::store::Batch;

const NAMES: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// The report series of one target.
#[derive(Debug)]
pub(super) struct Report {
    series: [(Labels, Option<SeriesRef>); NAMES.len()],
}

impl Report {
    pub(super) fn new(target: &Labels) -> Self {
        let series = NAMES.map(|name| {
            let labels = LabelsBuilder::from_labels(target).set(METRIC_NAME, name).build();
            (labels.expect("the labels of the target are no longer than a label set allows"), None)
        });
        Self { series }
    }

    /// Appends what a scrape came to.
    pub(super) fn append(
        &mut self,
        batch: &mut dyn Batch,
        timestamp: i64,
        is_up: bool,
        duration: Duration,
        counts: &Counts,
    ) {
        let values = [
            f64::from(u8::from(is_up)),
            duration.as_secs_f64(),
            counts.scraped as f64,
            counts.added as f64,
            counts.series_added as f64,
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
