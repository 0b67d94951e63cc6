//! Whether a native histogram is the expected one, as far as rounding allows.

use ferula_chunkenc::histogram::{
    FloatHistogram, custom_bounds_match, is_custom_buckets_schema, spans_match,
};

use super::almost_equal;

/// Tells whether two histograms are equal up to rounding, whatever empty buckets they spell out.
/// Counter reset hints count only where the expected one `is_hint_set`.
pub(super) fn almost_equal_histograms(
    expected: &FloatHistogram,
    found: &FloatHistogram,
    is_hint_set: bool,
) -> bool {
    let [mut a, mut b] = [expected.clone(), found.clone()];
    a.compact(0);
    b.compact(0);
    a.schema == b.schema
        && almost_equal(a.count, b.count)
        && almost_equal(a.sum, b.sum)
        && (!is_custom_buckets_schema(a.schema)
            || custom_bounds_match(&a.custom_values, &b.custom_values))
        && a.zero_threshold == b.zero_threshold
        && almost_equal(a.zero_count, b.zero_count)
        && spans_match(&a.negative_spans, &b.negative_spans)
        && buckets_match(&a.negative_buckets, &b.negative_buckets)
        && spans_match(&a.positive_spans, &b.positive_spans)
        && buckets_match(&a.positive_buckets, &b.positive_buckets)
        && (!is_hint_set || a.counter_reset_hint == b.counter_reset_hint)
}

fn buckets_match(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| almost_equal(*a, *b))
}

#[cfg(test)]
mod tests {
    use ferula_chunkenc::histogram::{CounterResetHint, Span};

    use super::*;

    fn histogram() -> FloatHistogram {
        FloatHistogram {
            count: 6.0,
            sum: 7.5,
            positive_spans: vec![Span { offset: 0, length: 3 }],
            positive_buckets: vec![4.0, 0.0, 2.0],
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn empty_buckets_and_rounding_make_no_difference() {
        let mut other = histogram();
        other.positive_spans = vec![Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }];
        other.positive_buckets = vec![4.0, 2.000_000_1];
        assert!(almost_equal_histograms(&histogram(), &other, true));
        other.positive_buckets[1] = 2.1;
        assert!(!almost_equal_histograms(&histogram(), &other, true));
    }

    #[test]
    fn layouts_and_totals_must_agree() {
        let changes: [fn(&mut FloatHistogram); 5] = [
            |h| h.schema = 1,
            |h| h.sum = 7.6,
            |h| h.zero_threshold = 0.001,
            |h| h.zero_count = 1.0,
            |h| h.positive_spans[0].offset = 1,
        ];
        for change in changes {
            let mut other = histogram();
            change(&mut other);
            assert!(!almost_equal_histograms(&histogram(), &other, false), "{other:?}");
        }
    }

    #[test]
    fn hints_count_where_they_are_given() {
        let gauge = FloatHistogram { counter_reset_hint: CounterResetHint::Gauge, ..histogram() };
        assert!(almost_equal_histograms(&histogram(), &gauge, false));
        assert!(!almost_equal_histograms(&histogram(), &gauge, true));
    }
}
