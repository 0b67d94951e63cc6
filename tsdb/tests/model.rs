//! Whatever is appended, committed, rolled back, deleted, cut, compacted and opened again: the
//! database holds what a map of maps holds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{RANGE, all, labels, short_blocks};
use ferula_chunkenc::Sample;
use ferula_index::{Labels, Matcher, SeriesRef};
use ferula_tsdb::{AppendError, Appender, Db};
use ferula_wal::fs::FaultFs;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Series of the model.
const N_SERIES: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    /// Appends to one of the open batches; times go on by `advance`, backwards too.
    Append {
        batch: usize,
        series: usize,
        advance: i64,
        value: u8,
        by_ref: bool,
    },
    Commit {
        batch: usize,
    },
    Rollback {
        batch: usize,
    },
    /// Deletes one series, or all of them, between two times that lie this far back.
    Delete {
        series: Option<usize>,
        back: (i64, i64),
    },
    Maintain,
    CompactHead,
    CleanTombstones,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let advance = prop_oneof![
        6 => 0..3000_i64,
        2 => -3000..0_i64,
        1 => 0..RANGE * 2,
    ];
    let append = (0..2_usize, 0..N_SERIES, advance, 0..4_u8, any::<bool>());
    prop_oneof![
        60 => append.prop_map(|(batch, series, advance, value, by_ref)| {
            Step::Append { batch, series, advance, value, by_ref }
        }),
        10 => (0..2_usize).prop_map(|batch| Step::Commit { batch }),
        2 => (0..2_usize).prop_map(|batch| Step::Rollback { batch }),
        3 => (proptest::option::of(0..N_SERIES), (0..RANGE * 6, 0..RANGE * 6)).prop_map(
            |(series, back)| Step::Delete { series, back }
        ),
        3 => Just(Step::Maintain),
        2 => Just(Step::CompactHead),
        1 => Just(Step::CleanTombstones),
        1 => Just(Step::Reopen),
    ]
}

fn labels_of(series: usize) -> Labels {
    labels(&[
        ("__name__", "m"),
        ("series", &series.to_string()),
        ("odd", ["no", "yes"][series % 2]),
    ])
}

/// The database beside its model.
struct Pair {
    fs: Arc<FaultFs>,
    db: Option<Db>,
    batches: [Option<Appender>; 2],
    /// What each open batch holds, in order.
    pending: [Vec<(usize, Sample)>; 2],
    refs: BTreeMap<usize, SeriesRef>,
    model: BTreeMap<usize, BTreeMap<i64, u64>>,
    /// The newest sample that each series has had, deleted or not.
    newest: BTreeMap<usize, Sample>,
    clock: i64,
}

impl Pair {
    fn new() -> Self {
        let fs = Arc::new(FaultFs::new());
        let mut pair = Self {
            fs,
            db: None,
            batches: [None, None],
            pending: [Vec::new(), Vec::new()],
            refs: BTreeMap::new(),
            model: BTreeMap::new(),
            newest: BTreeMap::new(),
            clock: 0,
        };
        pair.open();
        pair
    }

    fn open(&mut self) {
        self.batches = [None, None];
        self.pending = [Vec::new(), Vec::new()];
        // Refs are those of one opening.
        self.refs.clear();
        // What is deleted is not replayed.
        let newest = |samples: &BTreeMap<i64, u64>| {
            samples.last_key_value().map(|(t, v)| Sample::new(*t, f64::from_bits(*v)))
        };
        let of_series = self.model.iter();
        self.newest =
            of_series.filter_map(|(series, samples)| Some((*series, newest(samples)?))).collect();
        self.db = None;
        self.db = Some(Db::open_with(self.fs.clone(), "/data", short_blocks()).unwrap());
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Append { batch, series, advance, value, by_ref } => {
                self.clock += advance;
                let sample = Sample::new(self.clock, f64::from(value));
                self.append(batch, series, sample, by_ref);
            }
            Step::Commit { batch } => self.commit(batch),
            Step::Rollback { batch } => {
                self.batches[batch] = None;
                self.pending[batch].clear();
            }
            Step::Delete { series, back } => self.delete(series, back),
            Step::CleanTombstones => drop(self.db().clean_tombstones().unwrap()),
            Step::Maintain => drop(self.db().maintain().unwrap()),
            Step::CompactHead => drop(self.db().compact_head().unwrap()),
            Step::Reopen => self.open(),
        }
    }

    fn append(&mut self, batch: usize, series: usize, sample: Sample, by_ref: bool) {
        let Sample { timestamp, value } = sample;
        let appender = match &mut self.batches[batch] {
            Some(appender) => appender,
            none => none.insert(self.db.as_ref().unwrap().appender()),
        };
        let mut appended = Err(AppendError::UnknownSeries { series: SeriesRef(0) });
        if by_ref && let Some(series_ref) = self.refs.get(&series) {
            appended = appender.append_ref(*series_ref, timestamp, value).map(|()| *series_ref);
        }
        if let Err(AppendError::UnknownSeries { .. }) = appended {
            appended = appender.append(&labels_of(series), timestamp, value);
        }
        // A batch knows its own newest sample unless another batch has touched the series since;
        // then the commit refuses what it let pass.
        let committed = self.newest.get(&series).copied();
        let in_batch = self.pending[batch].iter().filter(|(of, _)| *of == series);
        let known: Vec<Sample> = in_batch.map(|(_, sample)| *sample).chain(committed).collect();
        match appended {
            Ok(series_ref) => {
                self.refs.insert(series, series_ref);
                self.pending[batch].push((series, sample));
            }
            Err(AppendError::OutOfOrder { newest, .. }) => {
                assert!(timestamp < newest);
                assert!(known.iter().any(|sample| sample.timestamp == newest));
            }
            Err(AppendError::DuplicateTimestamp { existing, .. }) => {
                assert!(existing != value && known.contains(&Sample::new(timestamp, existing)));
            }
            Err(AppendError::TooOld { oldest, .. }) => assert!(timestamp < oldest),
            Err(error) => panic!("{error}"),
        }
    }

    fn commit(&mut self, batch: usize) {
        let Some(appender) = self.batches[batch].take() else { return };
        let pending = std::mem::take(&mut self.pending[batch]);
        // What another batch or a cut has overtaken since is left out.
        let cut = self.db().stats().head_from;
        let mut accepted = 0;
        for (series, Sample { timestamp, value }) in pending {
            let of_series = self.model.entry(series).or_default();
            let newest = self.newest.get(&series).map(|newest| newest.timestamp);
            if timestamp >= cut && newest.is_none_or(|newest| newest < timestamp) {
                of_series.insert(timestamp, value.to_bits());
                self.newest.insert(series, Sample::new(timestamp, value));
                accepted += 1;
            }
        }
        assert_eq!(appender.commit().unwrap().samples, accepted);
    }

    fn delete(&mut self, series: Option<usize>, (a, b): (i64, i64)) {
        let (mint, maxt) = (self.clock - a.max(b), self.clock - a.min(b));
        let value = series.map(|series| series.to_string());
        let matchers: Vec<Matcher> =
            value.iter().map(|value| Matcher::equal("series", value)).collect();
        self.db().delete(&matchers, mint, maxt).unwrap();
        for (of, samples) in &mut self.model {
            if series.is_none_or(|series| series == *of) {
                samples.retain(|time, _| !(mint..=maxt).contains(time));
            }
        }
    }

    fn check(&self) {
        let expected = |keep: &dyn Fn(usize) -> bool| -> common::Content {
            let of_series = |samples: &BTreeMap<i64, u64>| {
                samples.iter().map(|(t, v)| Sample::new(*t, f64::from_bits(*v))).collect()
            };
            let mut all: common::Content = self
                .model
                .iter()
                .filter(|(series, samples)| !samples.is_empty() && keep(**series))
                .map(|(series, samples)| (labels_of(*series), of_series(samples)))
                .collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        let mut found = all(self.db());
        // What is left of a chunk may be times between samples.
        found.retain(|(_, samples)| !samples.is_empty());
        assert_eq!(found, expected(&|_| true));
        let querier = self.db().querier(i64::MIN, i64::MAX).unwrap();
        let odd = querier.select(&[Matcher::equal("odd", "yes")]).unwrap();
        assert!(odd.len() >= expected(&|series| series % 2 == 1).len());
        assert!((0..odd.len()).all(|index| odd.labels(index).get("odd") == Some("yes")));
        let values = querier.label_values("series", &[]).unwrap();
        let is_listed = |(labels, _): &(Labels, Vec<Sample>)| {
            values.iter().any(|value| labels.get("series") == Some(value))
        };
        assert!(found.iter().all(is_listed), "{values:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(64)
    })]

    #[test]
    fn the_database_holds_what_the_model_holds(
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.apply(step);
            if !matches!(step, Step::Append { .. }) {
                pair.check();
            }
        }
        pair.open();
        pair.check();
    }
}
