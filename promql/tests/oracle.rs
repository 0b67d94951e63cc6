//! Operators against an evaluator that is slow and obvious: every step by itself, every window
//! copied out of all samples.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferula_chunkenc::{Sample, stale};
use ferula_index::{Labels, LabelsBuilder};
use ferula_promql::storage::Queryable;
use ferula_promql::testlang::{MemoryStorage, TestStorage};
use ferula_promql::{Engine, EngineOptions, Features, Value};
use proptest::prelude::*;

const START: i64 = 1_000_000;
const STEP: i64 = 20_000;
const N_STEPS: i64 = 25;
const LOOKBACK: i64 = 45_000;

/// Series with all their samples.
type Data = BTreeMap<Labels, Vec<Sample>>;
/// Values by labels, then by step.
type Answer = BTreeMap<Labels, BTreeMap<i64, f64>>;

fn labels(pairs: &[(&str, String)]) -> Labels {
    Labels::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_str())))
        .expect("names differ")
}

/// Some series of one metric, with gaps, jitter, resets, NaN and staleness markers; some are regular but
/// for a gap now and then.
fn data(metric: &'static str) -> impl Strategy<Value = Data> {
    let value = prop_oneof![
        12 => (0..1000_i32).prop_map(f64::from),
        4 => -1e3..1e3_f64,
        1 => Just(f64::NAN),
        1 => Just(stale::STALE_NAN),
    ];
    let sample = (1_000..40_000_i64, value.clone());
    let jittered = prop::collection::vec(sample, 0..60);
    let regular = |distance: i64| {
        let distance = prop_oneof![99 => Just(distance), 1 => Just(distance + 7_000)];
        prop::collection::vec((distance, value.clone()), 0..90)
    };
    // Counters that rise far above zero are the rule; the others are looked at one by one.
    let rising = prop::collection::vec((Just(10_000_i64), (1..50_i32).prop_map(f64::from)), 60..90)
        .prop_map(|samples| {
            let mut sum = 1e4;
            let sum_up = |(distance, more)| {
                sum += more;
                (distance, sum)
            };
            samples.into_iter().map(sum_up).collect::<Vec<_>>()
        });
    let series =
        prop_oneof![2 => jittered, 1 => regular(10_000), 1 => regular(20_000), 1 => rising];
    prop::collection::vec(series, 1..6).prop_map(move |all| {
        let named = |(i, samples): (usize, Vec<(i64, f64)>)| {
            let of_series = labels(&[
                ("__name__", metric.to_owned()),
                ("group", (i % 2).to_string()),
                ("i", i.to_string()),
            ]);
            let mut time = START - 200_000;
            let sum_up = |(distance, value)| {
                time += distance;
                Sample::new(time, value)
            };
            (of_series, samples.into_iter().map(sum_up).collect())
        };
        all.into_iter().enumerate().map(named).collect()
    })
}

fn storage(data: &[&Data]) -> Arc<dyn Queryable> {
    let mut storage = MemoryStorage::new();
    for (labels, samples) in data.iter().copied().flatten() {
        storage.append(labels, &samples.iter().copied().collect()).expect("in order");
    }
    storage.commit().expect("always");
    storage.queryable().expect("always")
}

/// What the engine answers.
fn evaluate(data: &[&Data], query: &str) -> Answer {
    let mut features = Features::ALL;
    features.delayed_name_removal = false;
    let options = EngineOptions::default().lookback_delta_ms(LOOKBACK).features(features);
    let end = START + (N_STEPS - 1) * STEP;
    let query = Engine::new(options).range(storage(data), query, START, end, STEP).expect("parses");
    let Value::Matrix(series) = query.run().expect("runs").value else { panic!("a matrix") };
    assert!(series.is_sorted_by(|a, b| a.labels < b.labels));
    let values = |samples: &ferula_chunkenc::SampleBatch| {
        samples.iter().map(|sample| (sample.timestamp, sample.value)).collect()
    };
    series.into_iter().map(|series| (series.labels, values(&series.samples))).collect()
}

fn steps() -> impl Iterator<Item = i64> {
    (0..N_STEPS).map(|step| START + step * STEP)
}

/// An instant selector at one time.
fn newest(samples: &[Sample], time: i64) -> Option<f64> {
    let last = samples.iter().rfind(|sample| sample.timestamp <= time)?;
    (last.timestamp > time - LOOKBACK && !stale::is_stale(last.value)).then_some(last.value)
}

/// The values of a window, and their times.
fn window(samples: &[Sample], time: i64, range: i64) -> Vec<Sample> {
    let inside = |sample: &&Sample| {
        sample.timestamp > time - range
            && sample.timestamp <= time
            && !stale::is_stale(sample.value)
    };
    samples.iter().filter(inside).copied().collect()
}

fn without_name(labels: &Labels) -> Labels {
    LabelsBuilder::from_labels(labels).remove("__name__").build().expect("short")
}

fn per_series(data: &Data, of: impl Fn(&[Sample], i64) -> Option<f64>) -> Answer {
    let answer = data.iter().map(|(labels, samples)| {
        let values = steps().filter_map(|time| Some((time, of(samples, time)?))).collect();
        (without_name(labels), values)
    });
    answer.filter(|(_, values): &(_, BTreeMap<_, _>)| !values.is_empty()).collect()
}

fn check(found: &Answer, expected: &Answer) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (labels, values) in found {
        let wanted = &expected[labels];
        prop_assert_eq!(values.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        for (time, value) in values {
            let want = wanted[time];
            let near = (value - want).abs() <= 1e-9 * want.abs().max(1.0);
            prop_assert!(
                near || (value.is_nan() && want.is_nan()) || *value == want,
                "{labels} at {time}: {value} instead of {want}"
            );
        }
    }
    Ok(())
}

type OfWindow = fn(&[Sample]) -> Option<f64>;

fn numbers(window: &[Sample]) -> impl Iterator<Item = f64> + '_ {
    window.iter().map(|sample| sample.value)
}

fn of_any(window: &[Sample], of: impl Fn(&[Sample]) -> f64) -> Option<f64> {
    (!window.is_empty()).then(|| of(window))
}

fn mean(window: &[Sample]) -> f64 {
    numbers(window).sum::<f64>() / window.len() as f64
}

const WINDOW_FUNCTIONS: &[(&str, OfWindow)] = &[
    ("sum_over_time", |w| of_any(w, |w| numbers(w).sum())),
    ("avg_over_time", |w| of_any(w, mean)),
    ("count_over_time", |w| of_any(w, |w| w.len() as f64)),
    ("last_over_time", |w| w.last().map(|sample| sample.value)),
    ("first_over_time", |w| w.first().map(|sample| sample.value)),
    ("present_over_time", |w| of_any(w, |_| 1.0)),
    // `f64::max` and `f64::min` prefer numbers, as PromQL does.
    ("max_over_time", |w| numbers(w).reduce(f64::max)),
    ("min_over_time", |w| numbers(w).reduce(f64::min)),
    ("ts_of_last_over_time", |w| w.last().map(|sample| sample.timestamp as f64 / 1e3)),
    ("stdvar_over_time", |w| {
        of_any(w, |w| numbers(w).map(|v| (v - mean(w)).powi(2)).sum::<f64>() / w.len() as f64)
    }),
    ("changes", |w| {
        of_any(w, |w| {
            let differ = |p: &&[Sample]| {
                let (a, b) = (p[0].value, p[1].value);
                a != b && !(a.is_nan() && b.is_nan())
            };
            w.windows(2).filter(differ).count() as f64
        })
    }),
    ("resets", |w| of_any(w, |w| w.windows(2).filter(|p| p[1].value < p[0].value).count() as f64)),
    ("idelta", |w| match w {
        [.., a, b] => Some(b.value - a.value),
        _ => None,
    }),
    ("deriv", |w| {
        let [first, _, ..] = w else { return None };
        if numbers(w).all(|value| value == first.value) {
            return Some(0.0);
        }
        let n = w.len() as f64;
        let xs: Vec<f64> = w.iter().map(|s| (s.timestamp - first.timestamp) as f64 / 1e3).collect();
        let (x, y) = (xs.iter().sum::<f64>() / n, mean(w));
        let up: f64 = xs.iter().zip(numbers(w)).map(|(a, b)| (a - x) * (b - y)).sum();
        Some(up / xs.iter().map(|a| (a - x).powi(2)).sum::<f64>())
    }),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn instant_selectors_find_the_newest_sample(data in data("m"), offset in -3..4_i64) {
        let query = format!("-m offset {}s", offset * 10);
        let expected = per_series(&data, |samples, time| {
            newest(samples, time - offset * 10_000).map(|value| -value)
        });
        check(&evaluate(&[&data], &query), &expected)?;
    }

    #[test]
    fn range_functions_see_their_windows(data in data("m"), range in 1..20_i64) {
        for (name, of) in WINDOW_FUNCTIONS {
            // Names are kept by some, so the comparison leaves them out.
            let query = format!(r#"label_replace({name}(m[{}s]), "__name__", "", "", "")"#, range * 10);
            let expected = per_series(&data, |samples, time| {
                of(&window(samples, time, range * 10_000))
            });
            check(&evaluate(&[&data], &query), &expected)?;
        }
    }

    #[test]
    fn increases_are_those_of_a_counter(data in data("m"), range in 1..20_i64) {
        let range = range * 10_000;
        let expected = per_series(&data, |samples, time| {
            let window = window(samples, time, range);
            let (first, last) = (window.first()?, window.last()?);
            if window.len() < 2 {
                return None;
            }
            let lost: f64 =
                window.windows(2).filter(|p| p[1].value < p[0].value).map(|p| p[0].value).sum();
            let increase = last.value - first.value + lost;
            // In seconds, whose rounding decides where a gap is just large enough.
            let seconds = |ms: i64| ms as f64 / 1e3;
            let sampled = seconds(last.timestamp - first.timestamp);
            let gap = sampled / (window.len() - 1) as f64;
            let near = |distance: f64| if distance >= gap * 1.1 { gap / 2.0 } else { distance };
            let mut before = near(seconds(first.timestamp - (time - range)));
            if increase > 0.0 && first.value >= 0.0 {
                before = before.min(sampled * first.value / increase);
            }
            let after = near(seconds(time - last.timestamp));
            Some(increase * (sampled + before + after) / sampled)
        });
        let query = format!("increase(m[{}s])", range / 1000);
        check(&evaluate(&[&data], &query), &expected)?;
    }

    #[test]
    fn aggregations_fold_their_groups(data in data("m")) {
        type Fold = fn(&[f64]) -> f64;
        let folds: [(&str, Fold); 6] = [
            ("sum", |v| v.iter().sum()),
            ("avg", |v| v.iter().sum::<f64>() / v.len() as f64),
            ("count", |v| v.len() as f64),
            ("min", |v| v.iter().copied().reduce(f64::min).unwrap()),
            ("max", |v| v.iter().copied().reduce(f64::max).unwrap()),
            ("group", |_| 1.0),
        ];
        for (name, fold) in folds {
            let mut groups: BTreeMap<Labels, BTreeMap<i64, Vec<f64>>> = BTreeMap::new();
            for (of_series, samples) in &data {
                let group = labels(&[("group", of_series.get("group").unwrap().to_owned())]);
                for time in steps() {
                    if let Some(value) = newest(samples, time) {
                        let steps = groups.entry(group.clone()).or_default();
                        steps.entry(time).or_default().push(value);
                    }
                }
            }
            let expected = groups
                .into_iter()
                .map(|(group, steps)| {
                    (group, steps.into_iter().map(|(time, all)| (time, fold(&all))).collect())
                })
                .collect();
            check(&evaluate(&[&data], &format!("{name} by (group) (m)")), &expected)?;
        }
    }

    #[test]
    fn operators_match_series_by_labels(left in data("a"), right in data("b")) {
        let both = |of: fn(Option<f64>, Option<f64>) -> Option<f64>| -> Answer {
            per_series(&left, |_, _| Some(0.0))
                .into_keys()
                .chain(per_series(&right, |_, _| Some(0.0)).into_keys())
                .map(|labels| {
                    let at = |data: &Data, time| {
                        let of_labels = data.iter().find(|(l, _)| without_name(l) == labels);
                        of_labels.and_then(|(_, samples)| newest(samples, time))
                    };
                    let values: BTreeMap<i64, f64> = steps()
                        .filter_map(|t| Some((t, of(at(&left, t), at(&right, t))?)))
                        .collect();
                    (labels.clone(), values)
                })
                .filter(|(_, values)| !values.is_empty())
                .collect()
        };
        let data = [&left, &right];
        let nameless = |query: &str| {
            evaluate(&data, &format!(r#"label_replace({query}, "__name__", "", "", "")"#))
        };
        check(&nameless("a - b"), &both(|a, b| Some(a? - b?)))?;
        check(&nameless("a > b"), &both(|a, b| a.filter(|a| b.is_some_and(|b| *a > b))))?;
        check(&nameless("a >= bool b"), &both(|a, b| Some(f64::from(u8::from(a? >= b?)))))?;
        check(&nameless("a and b"), &both(|a, b| b.and(a)))?;
        check(&nameless("a unless b"), &both(|a, b| if b.is_some() { None } else { a }))?;
        check(&nameless("a or b"), &both(Option::or))?;
        check(
            &nameless("a + fill_right(7) b"),
            &both(|a, b| Some(a? + b.unwrap_or(7.0))),
        )?;
    }
}
