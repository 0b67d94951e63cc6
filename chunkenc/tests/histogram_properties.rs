//! Laws of histograms, and that nothing panics whatever the fields hold.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::collections::BTreeMap;

use ferula_chunkenc::histogram::{
    Bucket, CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Histogram, HistogramError, Side, Span, Trim,
};
use proptest::prelude::*;

/// Spans and as many buckets of few or no observations.
fn buckets() -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    let span = (0..5_i32, prop::collection::vec(0..3_u8, 0..5));
    (-9..9_i32, prop::collection::vec(span, 0..6)).prop_map(|(start, runs)| {
        let length = |run: &Vec<u8>| u32::try_from(run.len()).unwrap();
        let mut spans: Vec<_> =
            runs.iter().map(|(gap, run)| Span::new(*gap, length(run))).collect();
        if let Some(first) = spans.first_mut() {
            first.offset += start;
        }
        (spans, runs.into_iter().flat_map(|(_, run)| run).map(f64::from).collect())
    })
}

fn histograms() -> impl Strategy<Value = FloatHistogram> {
    (buckets(), buckets(), -4..=8_i32).prop_map(|(positive, negative, schema)| FloatHistogram {
        schema,
        count: positive.1.iter().chain(&negative.1).fold(0.0, |sum, count| sum + count),
        positive_spans: positive.0,
        positive_buckets: positive.1,
        negative_spans: negative.0,
        negative_buckets: negative.1,
        ..FloatHistogram::default()
    })
}

fn numbers() -> impl Strategy<Value = f64> {
    let special = [0.0, -0.0, 1.0, -2.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    prop_oneof![any::<u64>().prop_map(f64::from_bits), prop::sample::select(special.to_vec())]
}

/// Histograms whose fields hold anything.
fn anything() -> impl Strategy<Value = FloatHistogram> {
    let offset = || prop_oneof![-3..9_i32, any::<i32>()];
    let length = prop_oneof![0..5_u32, any::<u32>()];
    let spans = || {
        let span = (offset(), length.clone()).prop_map(|(offset, n)| Span::new(offset, n));
        prop::collection::vec(span, 0..4)
    };
    let floats = || prop::collection::vec(numbers(), 0..6);
    let schema = prop_oneof![-4..=8_i32, Just(CUSTOM_BUCKETS_SCHEMA), any::<i32>()];
    let totals = (schema, numbers(), numbers());
    (totals, spans(), floats(), spans(), floats(), floats()).prop_map(
        |((schema, zero_threshold, zero_count), positive_spans, positive, negative_spans, n, c)| {
            FloatHistogram {
                schema,
                zero_threshold,
                zero_count,
                positive_spans,
                positive_buckets: positive,
                negative_spans,
                negative_buckets: n,
                custom_values: c.into(),
                ..FloatHistogram::default()
            }
        },
    )
}

/// Populated buckets by index.
fn populated(buckets: impl Iterator<Item = Bucket<f64>>) -> BTreeMap<i32, f64> {
    buckets.filter(|bucket| bucket.count != 0.0).map(|b| (b.index, b.count)).collect()
}

fn to_integers(float: &FloatHistogram) -> Histogram {
    let mut before = 0;
    let deltas = float.positive_buckets.iter().map(|&count| {
        let count = format!("{count}").parse::<i64>().unwrap();
        let delta = count - before;
        before = count;
        delta
    });
    Histogram {
        schema: float.schema,
        positive_buckets: deltas.collect(),
        positive_spans: float.positive_spans.clone(),
        ..Histogram::default()
    }
}

proptest! {
    #[test]
    fn compaction_keeps_the_counts(histogram in histograms(), max_empty in 0..6_usize) {
        let mut compact = histogram.clone();
        compact.compact(max_empty);
        prop_assert_eq!(compact.validate(), Ok(()));
        let [before, after] = [&histogram, &compact].map(|h| populated(h.positive_buckets()));
        prop_assert_eq!(before, after);
        let [before, after] = [&histogram, &compact].map(|h| populated(h.negative_buckets()));
        prop_assert_eq!(before, after);

        let mut end = 0;
        for (i, span) in compact.positive_spans.iter().enumerate() {
            let run = &compact.positive_buckets[end..][..span.length as usize];
            prop_assert!(run[0] != 0.0 && run[run.len() - 1] != 0.0, "no empty bucket at an end");
            let gap = usize::try_from(span.offset);
            prop_assert!(i == 0 || gap.unwrap() > max_empty, "near spans are joined");
            let longest = run.split(|&count| count != 0.0).map(<[f64]>::len).max();
            prop_assert!(longest <= Some(max_empty), "long gaps divide spans");
            end += run.len();
        }
        let again = { let mut again = compact.clone(); again.compact(max_empty); again };
        prop_assert_eq!(again, compact);
    }

    #[test]
    fn integers_and_floats_compact_and_merge_alike(float in histograms(), max_empty in 0..4_usize) {
        let integers = to_integers(&float);
        let float = FloatHistogram {
            negative_spans: Vec::new(),
            negative_buckets: Vec::new(),
            count: 0.0,
            ..float
        };
        prop_assert!(integers.to_float().equals(&float));
        let (mut a, mut b) = (integers.clone(), float.clone());
        a.compact(max_empty);
        b.compact(max_empty);
        prop_assert_eq!(a.to_float(), b);
        if float.schema > -4 {
            let (mut a, mut b) = (integers, float);
            a.reduce_resolution(b.schema - 1).unwrap();
            b.reduce_resolution(b.schema - 1).unwrap();
            prop_assert_eq!(a.to_float(), b);
        }
    }

    #[test]
    fn a_sum_has_the_counts_of_both(a in histograms(), b in histograms()) {
        let schema = a.schema.min(b.schema);
        let mut expected = BTreeMap::new();
        for histogram in [&a, &b] {
            let coarser = histogram.to_schema(schema).unwrap();
            for (index, count) in populated(coarser.positive_buckets()) {
                *expected.entry(index).or_insert(0.0) += count;
            }
        }
        let mut sum = a.clone();
        sum.add(&b).unwrap();
        prop_assert_eq!(sum.validate(), Ok(()));
        prop_assert_eq!(populated(sum.positive_buckets()), expected);
        prop_assert_eq!(sum.count, a.count + b.count);
        prop_assert!(!sum.detect_reset(&a) && !sum.detect_reset(&b), "a sum has not been reset");

        let mut compensated = a.clone();
        let mut errors = a.new_compensation();
        compensated.kahan_add(&b, &mut errors).unwrap();
        prop_assert!(compensated.equals(&sum), "whole numbers add without an error");

        sum.subtract(&b).unwrap();
        sum.compact(0);
        let mut a = a.to_schema(schema).unwrap();
        a.compact(0);
        prop_assert!(sum.equals(&a));
    }

    #[test]
    fn trimming_divides_the_count(histogram in histograms(), at in -20.0..20.0_f64) {
        let [mut below, mut above] = [histogram.clone(), histogram.clone()];
        below.trim(at, Trim::KeepBelow);
        above.trim(at, Trim::KeepAbove);
        let sum = below.count + above.count;
        prop_assert!((sum - histogram.count).abs() < 1e-9, "{below} + {above} = {histogram}");
    }

    #[test]
    fn nothing_panics(a in anything(), b in anything(), number in numbers(), schema: i32) {
        prop_assert!(!a.to_string().is_empty());
        let _ = a.validate();
        prop_assert_eq!(a.all_buckets().count(), a.all_buckets().rev().count());
        let _ = (a.detect_reset(&b), a.equals(&b), a.has_overflow(), a.size_bytes());
        let _ = a.to_schema(schema);
        let mut x = a.clone();
        x.compact(3);
        x.multiply(number);
        let mut x = a.clone();
        x.trim(number, Trim::KeepBelow);
        x.divide(number);
        let mut x = a.clone();
        x.trim(number, Trim::KeepAbove);
        let mut x = a.clone();
        if x.add(&b).is_err() {
            prop_assert_eq!(&x, &a, "unchanged");
        }
        let mut errors = x.new_compensation();
        let _ = x.kahan_add(&b, &mut errors);
        let _ = x.subtract(&a);
    }
}

#[test]
fn joining_many_spans_keeps_each_count_in_its_bucket() {
    let mut histogram = FloatHistogram {
        positive_spans: vec![Span::new(0, 1), Span::new(1, 1), Span::new(1, 1)],
        positive_buckets: vec![1.0, 2.0, 3.0],
        ..FloatHistogram::default()
    };
    histogram.compact(2);
    assert_eq!(histogram.positive_spans, [Span::new(0, 5)]);
    assert_eq!(histogram.positive_buckets, [1.0, 0.0, 2.0, 0.0, 3.0]);
}

#[test]
fn a_populated_bucket_that_is_gone_is_a_reset() {
    let previous = FloatHistogram {
        count: 2.0,
        positive_spans: vec![Span::new(0, 3)],
        positive_buckets: vec![1.0, 0.0, 1.0],
        ..FloatHistogram::default()
    };
    let current = FloatHistogram {
        count: 2.0,
        positive_spans: vec![Span::new(0, 1)],
        positive_buckets: vec![2.0],
        ..FloatHistogram::default()
    };
    assert!(current.detect_reset(&previous));
    assert!(!previous.detect_reset(&previous));
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let valid = || Histogram {
        count: 5,
        zero_count: 1,
        sum: 3.0,
        positive_spans: vec![Span::new(-1, 1), Span::new(2, 1)],
        positive_buckets: vec![1, 2],
        ..Histogram::default()
    };
    let custom = || Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 4,
        positive_spans: vec![Span::new(1, 2)],
        positive_buckets: vec![1, 2],
        custom_values: [1.0, 2.0].into(),
        ..Histogram::default()
    };
    assert_eq!(valid().validate(), Ok(()));
    assert_eq!(custom().validate(), Ok(()));
    let side = Side::Positive;
    let broken: [(Histogram, HistogramError); 13] = [
        (Histogram { schema: 9, ..valid() }, HistogramError::InvalidSchema { schema: 9 }),
        (Histogram { count: 4, ..valid() }, HistogramError::CountMismatch { count: 4, found: 5 }),
        (
            Histogram { count: 4, sum: f64::NAN, ..valid() },
            HistogramError::CountNotBigEnough { count: 4, found: 5 },
        ),
        (
            Histogram { positive_buckets: vec![1], ..valid() },
            HistogramError::SpansBucketsMismatch { side, needed: 2, found: 1 },
        ),
        (
            Histogram { positive_spans: vec![Span::new(-1, 1), Span::new(-1, 1)], ..valid() },
            HistogramError::SpanOffset { side, span: 1, offset: -1 },
        ),
        (
            Histogram { positive_buckets: vec![1, -2], ..valid() },
            HistogramError::NegativeBucketCount { side, bucket: 1 },
        ),
        (
            Histogram { custom_values: [1.0].into(), ..valid() },
            HistogramError::ExponentialCustomBounds,
        ),
        (Histogram { zero_count: 1, ..custom() }, HistogramError::CustomZeroCount),
        (Histogram { zero_threshold: 1.0, ..custom() }, HistogramError::CustomZeroThreshold),
        (
            Histogram { custom_values: [1.0].into(), ..custom() },
            HistogramError::CustomBoundsTooFew { needed: 3, found: 1 },
        ),
        (
            Histogram { custom_values: [1.0, 1.0].into(), ..custom() },
            HistogramError::CustomBoundsOrder { index: 1 },
        ),
        (
            Histogram { custom_values: [1.0, f64::INFINITY].into(), ..custom() },
            HistogramError::CustomBoundInfinite,
        ),
        (
            Histogram { custom_values: [1.0, f64::NAN].into(), ..custom() },
            HistogramError::CustomBoundNan { index: 1 },
        ),
    ];
    for (histogram, error) in broken {
        assert_eq!(histogram.validate(), Err(error));
    }
    let more_than_in_buckets = Histogram { count: 9, sum: f64::NAN, ..valid() };
    assert_eq!(more_than_in_buckets.validate(), Ok(()));
    let negative = FloatHistogram { count: -1.0, ..FloatHistogram::default() };
    assert_eq!(negative.validate(), Err(HistogramError::NegativeCount));
}
