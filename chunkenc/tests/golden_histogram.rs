//! Operations on histograms give what Prometheus computed, bit for bit.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod histogram_text;

use std::fs;
use std::path::Path;

use ferula_chunkenc::histogram::{
    Bucket, FloatHistogram, Histogram, HistogramError, Reconciled, Trim, bound,
};
use histogram_text::{float, float_histogram, histogram};

fn golden(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/histogram/v1");
    fs::read_to_string(dir.join(name)).unwrap()
}

/// Splits a line into operation, argument and result.
fn parts(line: &str) -> (&str, &str, &str) {
    let (operation, result) = line.split_once(" | ").unwrap();
    let (operation, argument) = operation.split_once(' ').unwrap_or((operation, ""));
    (operation, argument, result)
}

fn changed<T: Clone>(histogram: &T, change: impl FnOnce(&mut T)) -> T {
    let mut changed = histogram.clone();
    change(&mut changed);
    changed
}

fn buckets(text: &str) -> Vec<Bucket<f64>> {
    let bucket = |text: &str| {
        let fields: Vec<_> = text.split(' ').collect();
        Bucket {
            lower: float(fields[0]),
            upper: float(fields[1]),
            lower_inclusive: fields[2] == "true",
            upper_inclusive: fields[3] == "true",
            count: float(fields[4]),
            index: fields[5].parse().unwrap(),
        }
    };
    text.split_terminator(';').map(bucket).collect()
}

#[test]
fn bounds_have_the_same_bits() {
    for line in golden("bounds.txt").lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let [schema, index] = [fields[0], fields[1]].map(|n| n.parse().unwrap());
        let found = bound(index, schema, &[]);
        assert_eq!(found.to_bits(), float(fields[2]).to_bits(), "schema {schema}, index {index}");
    }
}

#[test]
fn operations_on_a_float_histogram() {
    let mut subject = FloatHistogram::default();
    for (i, line) in golden("single.txt").lines().enumerate() {
        let (operation, argument, result) = parts(line);
        let found = match operation {
            "float" => {
                subject = float_histogram(result);
                assert_eq!(subject.validate(), Ok(()), "line {}", i + 1);
                continue;
            }
            "text" => {
                assert_eq!(subject.to_string(), result, "line {}", i + 1);
                continue;
            }
            "all" => {
                assert_eq!(subject.all_buckets().collect::<Vec<_>>(), buckets(result));
                continue;
            }
            "reverse" => {
                assert_eq!(subject.all_buckets().rev().collect::<Vec<_>>(), buckets(result));
                continue;
            }
            "compact" => changed(&subject, |h| h.compact(argument.parse().unwrap())),
            "reduce" => {
                changed(&subject, |h| h.reduce_resolution(argument.parse().unwrap()).unwrap())
            }
            "multiply" => changed(&subject, |h| h.multiply(float(argument))),
            "divide" => changed(&subject, |h| h.divide(float(argument))),
            "below" => changed(&subject, |h| h.trim(float(argument), Trim::KeepBelow)),
            "above" => changed(&subject, |h| h.trim(float(argument), Trim::KeepAbove)),
            _ => panic!("line {}: {operation}", i + 1),
        };
        assert_eq!(found, float_histogram(result), "line {}: {operation} {argument}", i + 1);
    }
}

#[test]
fn operations_on_a_histogram() {
    let mut subject = Histogram::default();
    for (i, line) in golden("integer.txt").lines().enumerate() {
        let (operation, argument, result) = parts(line);
        let found = match operation {
            "integer" => {
                subject = histogram(result);
                assert_eq!(subject.validate(), Ok(()), "line {}", i + 1);
                continue;
            }
            "text" => {
                assert_eq!(subject.to_string(), result, "line {}", i + 1);
                continue;
            }
            "float" => {
                assert_eq!(subject.to_float(), float_histogram(result), "line {}", i + 1);
                continue;
            }
            "compact" => changed(&subject, |h| h.compact(argument.parse().unwrap())),
            "reduce" => {
                changed(&subject, |h| h.reduce_resolution(argument.parse().unwrap()).unwrap())
            }
            _ => panic!("line {}: {operation}", i + 1),
        };
        assert_eq!(found, histogram(result), "line {}: {operation} {argument}", i + 1);
    }
}

#[test]
fn operations_on_two_histograms() {
    let [mut a, mut b, mut c] = [(); 3].map(|()| FloatHistogram::default());
    let mut total = FloatHistogram::default();
    let mut errors = FloatHistogram::default();
    for (i, line) in golden("pair.txt").lines().enumerate() {
        let (operation, argument, result) = parts(line);
        let line = i + 1;
        match operation {
            "a" => a = float_histogram(result),
            "b" => b = float_histogram(result),
            "c" => c = float_histogram(result),
            "reset" => {
                let found = format!("{} {}", a.detect_reset(&b), b.detect_reset(&a));
                assert_eq!(found, result, "line {line}");
            }
            "equals" => assert_eq!(a.equals(&b).to_string(), result, "line {line}"),
            "incompatible" => {
                let found = a.clone().add(&b);
                assert_eq!(found, Err(HistogramError::IncompatibleSchemas), "line {line}");
            }
            "add" | "subtract" => {
                let mut sum = a.clone();
                let outcome = if operation == "add" { sum.add(&b) } else { sum.subtract(&b) };
                let Reconciled { counter_reset_collision, custom_bounds } = outcome.unwrap();
                let flags = format!("{counter_reset_collision} {custom_bounds}");
                assert_eq!(flags, argument, "line {line}");
                assert_eq!(sum, float_histogram(result), "line {line}: {operation}");
            }
            "kahan_b" => {
                total = a.clone();
                errors = total.new_compensation();
                total.kahan_add(&b, &mut errors).unwrap();
                assert_eq!(total, float_histogram(result), "line {line}");
            }
            "kahan_c" => {
                total.kahan_add(&c, &mut errors).unwrap();
                assert_eq!(total, float_histogram(result), "line {line}");
            }
            "error_b" | "error_c" => {
                // Prometheus leaves the hint as it was at first; nothing depends on it.
                let counter_reset_hint = total.counter_reset_hint;
                let expected = FloatHistogram { counter_reset_hint, ..float_histogram(result) };
                assert_eq!(errors, expected, "line {line}");
            }
            _ => panic!("line {line}: {operation}"),
        }
    }
}

/// The name of a broken rule.
fn rule(result: Result<(), HistogramError>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(HistogramError::InvalidSchema { .. }) => "invalid_schema",
        Err(HistogramError::SpanOffset { .. }) => "span_offset",
        Err(HistogramError::SpansBucketsMismatch { .. }) => "spans_buckets_mismatch",
        // Prometheus has one name for all buckets.
        Err(HistogramError::NegativeBucketCount { .. } | HistogramError::NegativeZeroCount) => {
            "negative_bucket_count"
        }
        Err(HistogramError::NegativeCount) => "negative_count",
        Err(HistogramError::CountMismatch { .. }) => "count_mismatch",
        Err(HistogramError::CountNotBigEnough { .. }) => "count_not_big_enough",
        Err(HistogramError::CustomBoundNan { .. }) => "custom_bound_nan",
        Err(HistogramError::CustomBoundsOrder { .. }) => "custom_bounds_order",
        Err(HistogramError::CustomBoundInfinite) => "custom_bound_infinite",
        Err(HistogramError::CustomBoundsTooFew { .. }) => "custom_bounds_too_few",
        Err(HistogramError::CustomZeroCount) => "custom_zero_count",
        Err(HistogramError::CustomZeroThreshold) => "custom_zero_threshold",
        Err(HistogramError::CustomNegativeSpans) => "custom_negative_spans",
        Err(HistogramError::CustomNegativeBuckets) => "custom_negative_buckets",
        Err(HistogramError::ExponentialCustomBounds) => "exponential_custom_bounds",
        Err(error) => panic!("no rule of a single histogram: {error}"),
    }
}

#[test]
fn the_same_rules_are_found_broken() {
    let mut found = "";
    for line in golden("validate.txt").lines() {
        let (operation, _, result) = parts(line);
        match operation {
            "integer" => found = rule(histogram(result).validate()),
            "float" => found = rule(float_histogram(result).validate()),
            _ => assert_eq!(found, result),
        }
    }
}
