use proptest::prelude::*;

use super::*;
use crate::metadata::MetricType;

fn described(metric: u64, help: u8) -> Arc<Described> {
    let metadata = Metadata::new(MetricType::Gauge, "", help.to_string());
    Arc::new(Described { metric: format!("m{metric}"), metadata })
}

/// What each series says after which batch, by looking at all that was ever said.
#[derive(Default)]
struct Model {
    said: Vec<(BatchId, SeriesRef, Option<u8>)>,
}

impl Model {
    fn of(&self, series: SeriesRef, seen: BatchId) -> Option<u8> {
        let of_series = self.said.iter().filter(|(batch, of, _)| *batch <= seen && *of == series);
        of_series.max_by_key(|(batch, ..)| *batch).and_then(|(_, _, help)| *help)
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Update {
        series: u64,
        help: u8,
    },
    /// The next batch begins.
    Batch,
    /// This many of the batches are visible, of those that are not.
    See(u64),
    Remove {
        series: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u64..140, 0_u8..4).prop_map(|(series, help)| Step::Update { series, help }),
        2 => Just(Step::Batch),
        1 => (0_u64..3).prop_map(Step::See),
        1 => (1_u64..140).prop_map(|series| Step::Remove { series }),
    ]
}

proptest! {
    #[test]
    fn every_reader_is_shown_what_was_said_before_it(steps in prop::collection::vec(step(), 0..120)) {
        let metadata = SeriesMetadata::default();
        let mut model = Model::default();
        let (mut batch, mut visible) = (BatchId(1), BatchId(0));
        for step in steps {
            match step {
                Step::Update { series, help } => {
                    let described = described(series % 3, help);
                    let series = SeriesRef(series);
                    let is_new = model.of(series, batch) != Some(help);
                    prop_assert_eq!(metadata.is_current(series, &described.metadata), !is_new);
                    prop_assert_eq!(metadata.update(series, &described, batch, visible), is_new);
                    model.said.push((batch, series, Some(help)));
                }
                Step::Batch => batch.0 += 1,
                Step::See(n) => {
                    visible.0 = (visible.0 + n).min(batch.0 - 1);
                    metadata.settle(visible);
                }
                Step::Remove { series } => {
                    metadata.remove(&[SeriesRef(series)].into_iter().collect());
                    model.said.retain(|(_, of, _)| of.0 != series);
                }
            }
            for seen in [visible, batch] {
                let mut expected: Vec<(String, String)> = Vec::new();
                for series in 1..140 {
                    let help = model.of(SeriesRef(series), seen).map(|help| help.to_string());
                    let found = metadata.of(SeriesRef(series), seen);
                    prop_assert_eq!(&found.map(|metadata| metadata.help), &help);
                    expected.extend(help.map(|help| (format!("m{}", series % 3), help)));
                }
                expected.sort();
                expected.dedup();
                let found = metadata.of_metrics(None, seen);
                let found = found.iter().flat_map(|of_metric| {
                    of_metric.metadata.iter().map(|m| (of_metric.metric.clone(), m.help.clone()))
                });
                prop_assert_eq!(found.collect::<Vec<_>>(), expected);
            }
        }
        metadata.settle(batch);
        metadata.remove(&(1..140).map(SeriesRef).collect());
        let state = metadata.state.read();
        prop_assert_eq!((state.pages.len(), state.unseen.len(), state.table.iter().count()), (0, 0, 0));
    }
}

#[test]
fn a_million_series_take_some_bytes_each() {
    let metadata = SeriesMetadata::default();
    assert_eq!(metadata.size_bytes(), 0);
    let help = "Some words on what is counted here, and in which unit. ".repeat(2);
    let n_series = 1_000_000;
    for series in 1..=n_series {
        let metric = format!("metric_{}", series % 300);
        let metric_type = MetricType::Counter;
        let description = Description { metric: &metric, metric_type, unit: "", help: &help };
        metadata.restore(SeriesRef(series), description);
    }
    let per_series = metadata.size_bytes() as f64 / n_series as f64;
    assert!(per_series < 5.5, "{per_series} bytes");
    assert_eq!(metadata.of_metrics(None, BatchId(0)).len(), 300);
}
