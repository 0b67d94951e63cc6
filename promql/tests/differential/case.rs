//! One query at one time, and how this engine answers it.

use std::fmt::Write as _;
use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_promql::storage::Queryable;
use ferula_promql::testlang::generate::QueryGenerator;
use ferula_promql::testlang::series::{SeriesValue, parse_series};
use ferula_promql::testlang::{MemoryStorage, TestStorage};
use ferula_promql::{Engine, EngineOptions, Features};

use crate::answer::Outcome;
use crate::data::{Data, at};

/// When a query is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Time {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

impl Time {
    /// Start, end and step; no step if it is an instant.
    pub(crate) fn bounds(self) -> (i64, i64, i64) {
        match self {
            Self::Instant(at) => (at, at, 0),
            Self::Range { start, end, step } => (start, end, step),
        }
    }

    fn random(random: &mut QueryGenerator, data: &Data) -> Self {
        let n_samples = data.series.iter().map(|series| series.values.len()).max().unwrap_or(1);
        let position = i64::try_from(at(random, n_samples + 10)).expect("small");
        let odd = [0, 0, 0, 1, 4_999][at(random, 5)];
        let start = position * data.step_ms + odd;
        if random.below(3) == 0 {
            return Self::Instant(start);
        }
        let step = [data.step_ms, 60_000, 47_000, 1_000, 300_000][at(random, 5)];
        // Regular windows are computed together if there are enough of them.
        let most = [24, 24, 24, 120][at(random, 4)];
        let n_steps = i64::try_from(at(random, most)).expect("small");
        Self::Range { start, end: start + n_steps * step, step }
    }
}

/// A query and when it is evaluated.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) query: String,
    pub(crate) time: Time,
    /// Letters of features that are not always on: `d`elayed name removal, `t`ype labels, `s`tart
    /// timestamps.
    pub(crate) flags: &'static str,
}

impl Case {
    pub(crate) fn random(random: &mut QueryGenerator, data: &Data) -> Self {
        let flags = ["ds", "ds", "s", "d", "", "dts"][at(random, 6)];
        let mut query = random.query();
        if random.below(12) == 0 {
            // What stands in a query more than once is computed once.
            let operator = ["+", "or", "/ on () group_left ()"][at(random, 3)];
            query = format!("sum by (a) ({query}) {operator} sum by (a) ({query})");
        }
        Self { query, time: Time::random(random, data), flags }
    }

    /// The evaluation in the language of scripts, without what must come out.
    pub(crate) fn script(&self) -> String {
        let mut text = match self.time {
            Time::Instant(at) => format!("eval instant at {at}ms"),
            Time::Range { start, end, step } => {
                format!("eval range from {start}ms to {end}ms step {step}ms")
            }
        };
        write!(text, " {}", self.query).expect("text takes all");
        text
    }

    /// What this engine answers.
    pub(crate) fn run(&self, storage: &Arc<dyn Queryable>) -> Outcome {
        let mut features = Features::ALL;
        features.delayed_name_removal = self.flags.contains('d');
        features.type_and_unit_labels = self.flags.contains('t');
        features.use_start_timestamps = self.flags.contains('s');
        let engine = Engine::new(EngineOptions::default().features(features));
        let storage = Arc::clone(storage);
        let query = match self.time {
            Time::Instant(at) => engine.instant(storage, &self.query, at),
            Time::Range { start, end, step } => {
                engine.range(storage, &self.query, start, end, step)
            }
        };
        match query {
            Ok(query) => Outcome::ours(&query, query.run()),
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    /// Tells whether the order of a vector matters.
    pub(crate) fn is_ordered(&self) -> bool {
        self.query.starts_with("sort_by_label")
    }
}

/// The samples for this engine.
pub(crate) fn storage(data: &Data) -> Arc<dyn Queryable> {
    let mut storage = MemoryStorage::new();
    for series in &data.series {
        let line =
            parse_series(&series.line()).unwrap_or_else(|e| panic!("{}: {e}", series.line()));
        let mut samples = SampleBatch::new();
        for (index, value) in line.values.iter().enumerate() {
            let time = i64::try_from(index).expect("small") * data.step_ms;
            match value {
                SeriesValue::Omitted => continue,
                SeriesValue::Float(value) => samples.push(time, *value),
                SeriesValue::Histogram { histogram, .. } => {
                    samples.push_histogram(time, Arc::clone(histogram));
                }
            }
            if let Some(Some(offset)) = series.starts.get(index) {
                samples.set_last_start_timestamp(time + offset);
            }
        }
        if !samples.is_empty() {
            storage.append(&line.labels, &samples).expect("memory takes all");
        }
    }
    storage.commit().expect("memory takes all");
    storage.queryable().expect("memory takes all")
}
