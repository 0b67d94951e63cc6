//! What the script language accepts, and that its runner finds what is wrong.

use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Span};
use ferula_index::Labels;
use ferula_promql::Engine;
use ferula_promql::storage::{Querier, Queryable, SelectHints, StorageError, TimeRange};
use ferula_promql::testlang::parse::{CommandKind, Expected, parse_script};
use ferula_promql::testlang::run::{Failure, Outcome, run_script};
use ferula_promql::testlang::series::{
    SeriesError, SeriesValue, parse_series, parse_start_timestamps,
};
use ferula_promql::testlang::suite::Baseline;
use ferula_promql::testlang::{MemoryStorage, TestStorage, engine_options};

#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn floats(text: &str) -> Vec<Option<f64>> {
    let values = parse_series(&format!("x {text}")).unwrap().values;
    values
        .into_iter()
        .map(|value| match value {
            SeriesValue::Float(value) => Some(value),
            SeriesValue::Omitted => None,
            SeriesValue::Histogram { .. } => panic!("a histogram"),
        })
        .collect()
}

#[test]
fn short_notation_stands_for_its_values() {
    assert_eq!(floats("1 2.5 -3"), [Some(1.0), Some(2.5), Some(-3.0)]);
    assert_eq!(floats("1+2x2"), [Some(1.0), Some(3.0), Some(5.0)]);
    assert_eq!(floats("1-2x1"), [Some(1.0), Some(-1.0)]);
    assert_eq!(floats("-2x2"), [Some(-2.0); 3]);
    assert_eq!(floats("_ 7 _x2"), [None, Some(7.0), None, None]);
    assert_eq!(
        floats("1e3 1e-2 Inf -Inf"),
        [Some(1000.0), Some(0.01), Some(f64::INFINITY), Some(f64::NEG_INFINITY)]
    );
    assert!(floats("NaN")[0].unwrap().is_nan());
    assert_eq!(floats(""), []);
}

#[test]
fn series_have_quoted_names_and_trailing_commas() {
    let line = parse_series(r#"{"a.b", 'c d'="e\"f",} 1"#).unwrap();
    assert_eq!(line.labels.to_string(), r#"{__name__="a.b", "c d"="e\"f"}"#);
    assert_eq!(parse_series("{} 1").unwrap().labels.len(), 0);
}

#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn histograms(text: &str) -> Vec<(FloatHistogram, bool)> {
    let values = parse_series(&format!("h {text}")).unwrap().values;
    values
        .into_iter()
        .map(|value| match value {
            SeriesValue::Histogram { histogram, is_hint_set } => {
                ((*histogram).clone(), is_hint_set)
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn histograms_have_the_fields_that_are_written() {
    let text = "{{schema:1 count:3.5 sum:-2 z_bucket:1 z_bucket_w:0.001 buckets:[1 2e2] offset:-3 \
                n_buckets:[0 Inf] n_offset:2 counter_reset_hint:gauge}}";
    let expected = FloatHistogram {
        counter_reset_hint: CounterResetHint::Gauge,
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 3.5,
        sum: -2.0,
        positive_spans: vec![Span { offset: -3, length: 2 }],
        positive_buckets: vec![1.0, 200.0],
        negative_spans: vec![Span { offset: 2, length: 2 }],
        negative_buckets: vec![0.0, f64::INFINITY],
        custom_values: Arc::default(),
    };
    assert_eq!(histograms(text), [(expected, true)]);
    let custom = &histograms("{{schema:-53 custom_values:[-1 +5] }}")[0].0;
    assert_eq!(*custom.custom_values, [-1.0, 5.0]);
    assert_eq!(histograms("{{}} {{ }}"), vec![(FloatHistogram::default(), false); 2]);
}

#[test]
fn histograms_make_progressions() {
    let sums = |text: &str| histograms(text).iter().map(|(h, _)| h.sum).collect::<Vec<_>>();
    assert_eq!(sums("{{sum:1}}x2"), [1.0; 3]);
    assert_eq!(sums("{{sum:1}}+{{sum:2}}x2"), [1.0, 3.0, 5.0]);
    assert_eq!(sums("{{sum:1}}-{{sum:2}}x1"), [1.0, -1.0]);
    let wider = &histograms("{{count:1 buckets:[1]}}+{{count:2 offset:1 buckets:[2]}}x1")[1].0;
    assert_eq!((wider.count, &wider.positive_buckets[..]), (3.0, &[1.0, 2.0][..]));
    // The hint of the step counts.
    let with_hint = "{{counter_reset_hint:gauge}}";
    assert!(!histograms(&format!("{with_hint}+{{{{}}}}x1"))[0].1);
    assert!(histograms(&format!("{{{{}}}}+{with_hint}x1"))[1].1);
}

#[test]
fn wrong_histograms_are_refused() {
    for wrong in [
        "{{",
        "{{sum}}",
        "{{sum:x}}",
        "{{frob:1}}",
        "{{buckets:[1}}",
        "{{sum:1 sum:2}}",
        "{{schema:1.5}}",
        "{{counter_reset_hint:maybe}}",
        "{{}}+{{}}",
        "{{schema:1}}+{{schema:0}}x1",
        "{{schema:-53}}+{{schema:0}}x1",
    ] {
        assert!(parse_series(&format!("h {wrong}")).is_err(), "{wrong}");
    }
    let many = parse_series("h {{buckets:[1 1 1]}}+{{buckets:[1]}}x200001");
    assert!(matches!(many, Err(SeriesError::TooManyValues { .. })));
}

#[test]
fn wrong_values_are_refused() {
    for wrong in ["1x", "1+x2", "a", "1 2y", "stalex2", "0x10+", "_y", "1+2"] {
        assert!(parse_series(&format!("x {wrong}")).is_err(), "{wrong}");
    }
    let many = parse_series("x 1x2000000");
    assert!(matches!(many, Err(SeriesError::TooManyValues { .. })));
}

#[test]
fn start_timestamps_are_offsets() {
    let text = "x@st _ _x2 -1m 0sx2 0 +1ms -1m+30sx1 -1s-1msx2 1s--1msx1";
    let (labels, offsets) = parse_start_timestamps(text).unwrap();
    assert_eq!(labels.metric_name(), "x");
    let known = [-60_000, 0, 0, 0, 0, 1, -60_000, -30_000, -1000, -1001, -1002, 1000, 1001];
    assert_eq!(offsets[..3], [None; 3]);
    assert_eq!(offsets[3..], known.map(Some));
    for wrong in ["5", "_x0", "1m+30s", "1mx", "1m2sx1", "-", "1m*2x1"] {
        assert!(parse_start_timestamps(&format!("x@st {wrong}")).is_err(), "{wrong}");
    }
    let many = parse_start_timestamps("x@st _x600000 1sx600000");
    assert!(matches!(many, Err(SeriesError::TooManyValues { .. })));
}

#[test]
fn start_timestamps_need_a_line_that_fits() {
    let broken = |script: &str| match &parse_script(script)[..] {
        [command] => matches!(command.kind, CommandKind::Broken(_)),
        _ => false,
    };
    assert!(!broken("load 1m\n  x@st -1m _\n  x 1 2"));
    assert!(broken("load 1m\n  x@st -1m _"));
    assert!(broken("load 1m\n  x@st -1m _\n  y 1 2"));
    assert!(broken("load 1m\n  x@st -1m _\n  x 1 2 3"));
}

#[test]
fn commands_end_at_blank_lines_and_comments() {
    let script = "load 5m\n  a 1\n# note\nclear\neval instant at 1h30m a + b\n  {} 3\n\nfrob";
    let commands = parse_script(script);
    assert_eq!(commands.iter().map(|c| c.line).collect::<Vec<_>>(), [1, 4, 5, 8]);
    let CommandKind::Eval(eval) = &commands[2].kind else { panic!("{:?}", commands[2]) };
    assert_eq!(eval.query, "a + b");
    assert!(matches!(&eval.expected, Expected::Series(series) if series.len() == 1));
    assert!(matches!(commands[3].kind, CommandKind::Broken(_)));
}

fn failures(script: &str) -> Vec<Option<Failure>> {
    let engine = Engine::new(engine_options());
    let outcomes = run_script(script, &engine, &mut MemoryStorage::new());
    outcomes.into_iter().map(|outcome| outcome.result.err()).collect()
}

/// A storage that stores floats only.
struct FloatsOnly(MemoryStorage);

impl TestStorage for FloatsOnly {
    fn clear(&mut self) -> Result<(), StorageError> {
        self.0.clear()
    }

    fn append(&mut self, labels: &Labels, samples: &SampleBatch) -> Result<(), StorageError> {
        assert!(!samples.has_histograms());
        self.0.append(labels, samples)
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        self.0.commit()
    }

    fn queryable(&mut self) -> Result<Arc<dyn Queryable>, StorageError> {
        self.0.queryable()
    }
}

#[test]
fn what_is_not_stored_fails_what_needs_it() {
    let script = r#"
load 1m
  h {{count:1}} 2
  g{a="b"} 1 2
  i@st -1m 0s
  i 1 2

load_with_nhcb 1m
  c_bucket{le="1"} 1

eval instant at 1m h
  h 2

eval instant at 1m sum({__name__=~"h|g"})
  {} 4

eval instant at 1m rate(i[1m])
  {} 4

eval instant at 0 histogram_count(c)
  {} 1

eval instant at 1m g
  g{a="b"} 2
"#;
    let engine = Engine::new(engine_options());
    let outcomes = run_script(script, &engine, &mut FloatsOnly(MemoryStorage::new()));
    let (last, others) = outcomes.split_last().unwrap();
    assert_eq!(others.len(), 4);
    for Outcome { result, .. } in others {
        assert!(matches!(result, Err(Failure::NotStored { .. })), "{result:?}");
    }
    assert!(last.result.is_ok());
}

#[test]
fn histograms_are_read_as_from_chunks() {
    use CounterResetHint::{Gauge, NotReset, Unknown};
    let mut storage = MemoryStorage::new();
    let labels = Labels::from_pairs([("__name__", "h")]).unwrap();
    let line = "h {{count:1}} {{count:2}} {{count:1}} {{count:3}} 7 {{count:4}} \
                {{count:5 counter_reset_hint:reset}} {{count:6 counter_reset_hint:gauge}} {{count:7}}";
    let mut samples = SampleBatch::new();
    for (time, value) in (0..).zip(parse_series(line).unwrap().values) {
        match value {
            SeriesValue::Histogram { histogram, .. } => samples.push_histogram(time, histogram),
            SeriesValue::Float(value) => samples.push(time, value),
            SeriesValue::Omitted => {}
        }
    }
    storage.append(&labels, &samples).unwrap();
    let querier = storage.queryable().unwrap().querier(TimeRange::ALL).unwrap();
    let series = querier.select(&[], &SelectHints::new(TimeRange::ALL)).unwrap();
    let mut read = SampleBatch::new();
    series.read(0, &mut read).unwrap();
    let hints: Vec<_> =
        (0..read.len()).map(|i| read.histogram(i).map(|h| h.counter_reset_hint)).collect();
    let expected = [Unknown, NotReset, Unknown, NotReset, Unknown, Unknown, Gauge, Unknown];
    let mut expected = expected.map(Some).to_vec();
    expected.insert(4, None);
    assert_eq!(hints, expected);
}

#[test]
fn classic_histograms_are_loaded_as_native_ones_too() {
    let script = r#"
load_with_nhcb 1m
  c_bucket{a="b", le="5"} 3
  c_bucket{a="b", le="1"} 1
  c_bucket{a="b", le="+Inf"} 4
  c_sum{a="b"} 12
  c_count{a="b"} 4

eval instant at 0 c
  c{a="b"} {{schema:-53 count:4 sum:12 custom_values:[1 5] buckets:[1 2 1]}}

eval instant at 0 c_sum
  c_sum{a="b"} 12

load_with_nhcb 1m
  d_bucket{le="1"} 2
  d_bucket{le="2"} 1

eval instant at 0 1
  1
"#;
    let failures = failures(script);
    assert!(failures[..2].iter().all(Option::is_none), "{failures:?}");
    assert!(matches!(failures[2], Some(Failure::Load { .. })));
}

#[test]
fn histograms_are_compared() {
    let load = "load 1m\n  h {{schema:1 count:3 sum:2 buckets:[1 0 2]}}x1\n\n";
    let fails = |eval: &str| failures(&format!("{load}{eval}")).remove(0).is_some();
    let same = "{{schema:1 count:3 sum:2.0000001 buckets:[1 0 2]}}";
    assert!(!fails(&format!("eval instant at 0 h\n  h {same}")));
    assert!(fails("eval instant at 0 h\n  h {{schema:1 count:3 sum:2 buckets:[1 1 1]}}"));
    assert!(fails("eval instant at 0 h\n  h 3"));
    assert!(fails("eval instant at 0 1 + h * 0\n  {} {{}}"));
    assert!(!fails(&format!("eval range from 0 to 1m step 1m h\n  h {same} {same}")));
    assert!(fails(&format!("eval range from 0 to 1m step 1m h\n  h {same} 2")));
}

#[test]
fn broken_commands_fail_what_follows() {
    let script = "load 1m\n  a one\n\neval instant at 0 a\n\nclear\n\neval instant nowhere\n";
    let failures = failures(script);
    assert!(matches!(failures[0], Some(Failure::Load { line: 2, .. } | Failure::Load { .. })));
    assert!(matches!(failures[1], Some(Failure::Script(_))));
}

#[test]
fn baselines_read_back() {
    let baseline = Baseline::parse("# note\na.test 5\nb c.test 7\n").unwrap();
    assert_eq!(Baseline::parse(&baseline.to_string()).unwrap(), baseline);
    assert!(Baseline::parse("a.test five").is_err());
}

fn failure(eval: &str) -> Option<Failure> {
    let load = "load 1m\n  a{x=\"1\"} 1 2 3\n  a{x=\"2\"} 5 4 3\n  b_total 0+1x10\n\n";
    failures(&format!("{load}{eval}")).remove(0)
}

fn assert_mismatch(eval: &str, text: &str) {
    match failure(eval) {
        Some(failure) => assert!(failure.to_string().contains(text), "{eval}: {failure}"),
        None => panic!("{eval} passed"),
    }
}

#[test]
fn right_results_pass() {
    for eval in [
        "eval instant at 1m a\n  a{x=\"2\"} 4\n  a{x=\"1\"} 2",
        "eval instant at 1m sum(a)\n  {} 6.0000001",
        "eval instant at 1m 1 + 1\n  2",
        "eval instant at 1m \"text\"\n  expect string \"text\"",
        "eval instant at 1m sort_desc(a)\n  expect ordered\n  a{x=\"2\"} 4\n  a{x=\"1\"} 2",
        "eval_ordered instant at 1m sort(a)\n  a{x=\"1\"} 2\n  a{x=\"2\"} 4",
        "eval range from 0 to 2m step 1m sum(a)\n  expect no_warn\n  {} 6 6 6",
        "eval instant at 1m a{x=\"1\"}[2m]\n  \
         expect range vector from 0s to 1m step 1m\n  a{x=\"1\"} 1 2",
        "eval instant at 1m a + on () a\n  expect fail",
        "eval_fail instant at 1m a + on () a\n  expected_fail_regexp duplicate series",
        "eval instant at 1m quantile(2, a)\n  \
         expect warn regex: quantile value should be .* got 2\n  {} Inf",
        "eval_warn instant at 1m quantile(2, a)\n  {} Inf",
        "eval instant at 1m rate(a{x=\"1\"}[2m])\n  expect info\n  {x=\"1\"} 0.0166666667",
        "eval instant at 1m nothing",
    ] {
        assert!(failure(eval).is_none(), "{eval}: {:?}", failure(eval));
    }
}

#[test]
fn wrong_results_fail() {
    assert_mismatch("eval instant at 1m sum(a)\n  {} 6.1", "expected 6.1");
    assert_mismatch("eval instant at 1m a\n  a{x=\"1\"} 2", "unexpected series");
    assert_mismatch("eval instant at 1m a\n  a{x=\"1\"} 2\n  a{x=\"2\"} 4\n  c 1", "not found");
    assert_mismatch("eval instant at 1m a", "unexpected series");
    assert_mismatch("eval instant at 1m 1 + 1\n  3", "expected 3");
    assert_mismatch("eval instant at 1m sum(a)\n  6", "expected a scalar");
    assert_mismatch("eval instant at 1m 1\n  {} 1", "expected series");
    assert_mismatch("eval instant at 1m \"a\"\n  expect string \"b\"", "string");
    assert_mismatch(
        "eval instant at 1m sort(a)\n  expect ordered\n  a{x=\"2\"} 4\n  a{x=\"1\"} 2",
        "at position",
    );
    assert_mismatch("eval range from 0 to 2m step 1m sum(a)\n  {} 6 6", "to have");
    assert_mismatch("eval range from 0 to 2m step 1m sum(a)\n  {} 6 _ 6", "to have");
    assert_mismatch("eval range from 0 to 2m step 1m sum(a)\n  {} 6 6 6 6", "more steps");
    assert_mismatch("eval range from 0 to 2m step 1m sum(a)\n  {} 6 7 6", "expected 7");
}

#[test]
fn wrong_errors_and_annotations_fail() {
    assert_mismatch("eval instant at 1m a + on () a\n", "duplicate series");
    assert_mismatch("eval instant at 1m a\n  expect fail", "expected an error");
    assert_mismatch("eval instant at 1m a + on () a\n  expect fail msg: other", "expected error");
    assert_mismatch("eval instant at 1m sum(a)\n  expect warn\n  {} 6", "not found among []");
    assert_mismatch("eval instant at 1m quantile(2, a)\n  expect no_warn\n  {} Inf", "unexpected");
    assert_mismatch("eval instant at 1m quantile(2, a)\n  expect warn msg: x\n  {} Inf", "warning");
    assert_mismatch("eval instant at 1m rate(b_total[2m])\n  expect info\n  {} 0.0125", "info");
}

/// A storage whose samples cannot be read without a panic.
struct Panicking;

impl TestStorage for Panicking {
    fn clear(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn append(&mut self, _: &Labels, _: &SampleBatch) -> Result<(), StorageError> {
        Err("the disk is full".into())
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn queryable(&mut self) -> Result<Arc<dyn Queryable>, StorageError> {
        Ok(Arc::new(Unreadable))
    }
}

struct Unreadable;

impl Queryable for Unreadable {
    fn querier(&self, _: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
        panic!("no querier");
    }
}

#[test]
fn panics_and_failed_loads_fail_only_what_they_touch() {
    let script = "eval instant at 0 a\n\nload 1m\n  a 1\n\neval instant at 0 1\n  1\n\nclear\n\n\
                  eval instant at 0 1\n  1\n";
    let engine = Engine::new(engine_options());
    let outcomes = run_script(script, &engine, &mut Panicking);
    let results: Vec<_> = outcomes.iter().map(|outcome| outcome.result.as_ref()).collect();
    assert!(matches!(results[0], Err(Failure::Panic(text)) if text == "no querier"));
    assert!(matches!(results[1], Err(Failure::Load { line: 3, .. })));
    assert!(results[2].is_ok() || matches!(results[2], Err(Failure::Panic(_))));
}

#[test]
fn odd_histograms_do_not_panic() {
    let odd = [
        "{{schema:100 buckets:[1 2]}}+{{schema:100 buckets:[1] offset:2147483647}}x2",
        "{{schema:-2147483648 offset:-2147483648 buckets:[1 2 NaN]}}x1",
        "{{schema:8 offset:2147483640 buckets:[1 2 3 4 5 6 7 8 9]}}-{{schema:8 buckets:[1]}}x2",
        "{{schema:-53 custom_values:[5 1 NaN] buckets:[1 2 3 4 5 6]}}+{{schema:-53 buckets:[1]}}x2",
        "{{schema:-53 n_buckets:[1] z_bucket:1 custom_values:[Inf]}}",
        "{{z_bucket_w:NaN z_bucket:-1 buckets:[-1 Inf]}}+{{z_bucket_w:1e300 count:-1 n_offset:-5}}x3",
    ];
    for odd in odd {
        let script = format!(
            "load 1m\n  h {odd}\n\neval instant at 1m h\n  h {odd}\n\nclear\n\nload 1m\n  h 1 2\n\n\
             eval range from 0 to 2m step 1m h\n  h {odd}\n"
        );
        for failure in failures(&script) {
            assert!(!matches!(failure, Some(Failure::Panic(_))), "{odd}: {failure:?}");
        }
    }
}
