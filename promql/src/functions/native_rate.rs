//! How fast native histograms change: from the first to the last one of a window, and between
//! the last two.
//!
//! The rules are those that hold for floats, see [`rate`](super::rate), and are applied to
//! histograms as wholes (Prometheus's `histogramRate` and `extendedHistogramRate`). What comes up
//! besides is left in a list of annotations.

use std::sync::Arc;

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram};

use super::native::{Incompatible, add, sub};
use super::rate::{RateKind, Stretch, seconds, stretch};
use super::starts::Starts;
use crate::{AnnotationKind, HistogramOperation, StartTimeOverlap};

/// The histograms of a window, and the window itself; times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HistogramWindow<'a> {
    pub(crate) timestamps: &'a [i64],
    /// At least one.
    pub(crate) histograms: &'a [Arc<FloatHistogram>],
    /// Whether a counter was reset in front of each, as compared with the one before it, which need
    /// not be in the window.
    pub(crate) resets: &'a [bool],
    pub(crate) starts: Starts<'a>,
    /// Exclusive.
    pub(crate) start: i64,
    /// Inclusive.
    pub(crate) end: i64,
    /// Name of the metric, or empty.
    pub(crate) metric: &'a str,
}

/// Annotations of one window.
type Found = Vec<AnnotationKind>;

/// Rate, increase or delta over the window, extrapolated to its bounds.
pub(crate) fn extrapolated(
    window: HistogramWindow<'_>,
    kind: RateKind,
    found: &mut Found,
) -> Option<FloatHistogram> {
    let HistogramWindow { timestamps, histograms, start, end, .. } = window;
    let (first, last) = (*timestamps.first()?, *timestamps.last()?);
    let since = if kind.is_counter { window.starts.zero_within(start) } else { None };
    let mut result = match (timestamps.len(), since) {
        (1, None) => return None,
        (1, Some(_)) => (*histograms[0]).clone(),
        _ => difference(window, kind, found)?,
    };
    if since.is_some() && timestamps.len() > 1 {
        let Ok(combined) = add(&mut result, &histograms[0]) else {
            let metric = window.metric.to_owned();
            found.push(AnnotationKind::MixedExponentialCustom { metric });
            return None;
        };
        note_reconciled(combined.reconciled, HistogramOperation::Addition, found);
    }
    let zero = (result.count > 0.0 && histograms[0].count >= 0.0)
        .then(|| histograms[0].count / result.count);
    let sampled = Stretch { first, last, n_gaps: timestamps.len() - 1, zero, since };
    result.multiply(stretch(sampled, start, end, kind));
    Some(result)
}

/// The last histogram without the first, with what was lost by counter resets in between.
fn difference(
    window: HistogramWindow<'_>,
    kind: RateKind,
    found: &mut Found,
) -> Option<FloatHistogram> {
    let HistogramWindow { histograms, resets, starts, .. } = window;
    let (last, second) = (histograms.last()?, histograms.get(1)?);
    let mut before = Arc::clone(&histograms[0]);
    if kind.is_counter && (is_gauge(&before) || is_gauge(last)) {
        found.push(AnnotationKind::HistogramNotCounter { metric: window.metric.to_owned() });
    }
    // The layout of a histogram in front of a reset does not matter, as nothing is taken from it.
    let first_is_lost = kind.is_counter && (resets[1] || starts.is_reset(0));
    if first_is_lost {
        before = Arc::new(FloatHistogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..FloatHistogram::default()
        });
    }
    let custom = before.uses_custom_buckets();
    if last.uses_custom_buckets() != custom {
        found.push(AnnotationKind::MixedExponentialCustom { metric: window.metric.to_owned() });
        return None;
    }
    let mut schema = last.schema.min(before.schema);
    if kind.is_counter {
        for histogram in &histograms[1..histograms.len() - 1] {
            if is_gauge(histogram) {
                let metric = window.metric.to_owned();
                found.push(AnnotationKind::HistogramNotCounter { metric });
            }
            schema = schema.min(histogram.schema);
            if histogram.uses_custom_buckets() != custom {
                return refuse(window, found);
            }
        }
    }
    let mut result = (**last).clone();
    if !custom && schema < result.schema && result.reduce_resolution(schema).is_err() {
        return refuse(window, found);
    }
    let Ok(combined) = sub(&mut result, &before) else { return refuse(window, found) };
    note_reconciled(combined.reconciled, HistogramOperation::Subtraction, found);
    if kind.is_counter {
        if starts.any_overlap() {
            found.push(AnnotationKind::StartTimeOverlap(StartTimeOverlap::of(window.metric)));
        }
        for (index, histogram) in histograms.iter().enumerate().skip(1) {
            let has_fallen = || match index {
                1 if first_is_lost => histogram.detect_reset(&before),
                _ => resets[index],
            };
            if starts.is_reset(index - 1) || has_fallen() {
                let Ok(combined) = add(&mut result, &before) else { return refuse(window, found) };
                note_reconciled(combined.reconciled, HistogramOperation::Addition, found);
            }
            before = Arc::clone(histogram);
        }
    } else if !is_gauge(&histograms[0]) || !is_gauge(last) {
        found.push(AnnotationKind::HistogramNotGauge { metric: window.metric.to_owned() });
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact(0);
    Some(result)
}

/// Of a window with histograms that do not go together, nothing else is told.
fn refuse(window: HistogramWindow<'_>, found: &mut Found) -> Option<FloatHistogram> {
    found.clear();
    found.push(AnnotationKind::MixedExponentialCustom { metric: window.metric.to_owned() });
    None
}

fn is_gauge(histogram: &FloatHistogram) -> bool {
    histogram.counter_reset_hint == CounterResetHint::Gauge
}

fn note_reconciled(reconciled: bool, operation: HistogramOperation, found: &mut Found) {
    if reconciled {
        found.push(AnnotationKind::MismatchedCustomBuckets { operation });
    }
}

/// Two histograms in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) before: &'a FloatHistogram,
    pub(crate) last: &'a FloatHistogram,
    /// How far they are apart, in milliseconds.
    pub(crate) ms: i64,
    /// Start timestamps tell that the counter was reset between them.
    pub(crate) is_reset: bool,
    /// Name of the metric, or empty.
    pub(crate) metric: &'a str,
}

/// Rate or delta between two histograms.
pub(crate) fn instant(pair: Pair<'_>, kind: RateKind, found: &mut Found) -> Option<FloatHistogram> {
    let Pair { before, last, ms, .. } = pair;
    if ms == 0 {
        return None;
    }
    let metric = || pair.metric.to_owned();
    if kind.is_counter && (is_gauge(before) || is_gauge(last)) {
        found.push(AnnotationKind::HistogramNotCounter { metric: metric() });
    }
    if !kind.is_counter && (!is_gauge(before) || !is_gauge(last)) {
        found.push(AnnotationKind::HistogramNotGauge { metric: metric() });
    }
    let mut result = last.clone();
    if !kind.is_counter || !(pair.is_reset || last.detect_reset(before)) {
        let Ok(combined) = sub(&mut result, before) else {
            found.push(AnnotationKind::MixedExponentialCustom { metric: metric() });
            return None;
        };
        note_reconciled(combined.reconciled, HistogramOperation::Subtraction, found);
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact(0);
    if kind.per_second {
        result.divide(seconds(ms));
    }
    Some(result)
}

/// Rate, increase or delta between the bounds of the window, for `anchored` and `smoothed`.
///
/// The histograms reach beyond the window as floats do in [`rate::extended`](super::rate::extended).
pub(crate) fn extended(
    window: HistogramWindow<'_>,
    smoothed: bool,
    kind: RateKind,
    found: &mut Found,
) -> Option<FloatHistogram> {
    let HistogramWindow { timestamps, start, end, .. } = window;
    let mut last = timestamps.len().checked_sub(1)?;
    let first = timestamps[..last].partition_point(|t| *t <= start).saturating_sub(1);
    if smoothed {
        last = timestamps[..last].partition_point(|t| *t < end);
    }
    if timestamps[last] <= start || (smoothed && timestamps[first] > end) {
        return None;
    }
    match between_bounds(window, first, last, smoothed, kind, found) {
        Ok(mut result) => {
            if kind.per_second {
                result.divide(seconds(end - start));
            }
            result.counter_reset_hint = CounterResetHint::Gauge;
            result.compact(0);
            Some(result)
        }
        Err(Incompatible) => {
            let metric = window.metric.to_owned();
            found.push(AnnotationKind::MixedExponentialCustom { metric });
            None
        }
    }
}

fn between_bounds(
    window: HistogramWindow<'_>,
    first: usize,
    last: usize,
    smoothed: bool,
    kind: RateKind,
    found: &mut Found,
) -> Result<FloatHistogram, Incompatible> {
    let HistogramWindow { timestamps, histograms, start, end, metric, .. } = window;
    let custom = histograms[first].uses_custom_buckets();
    for histogram in &histograms[first..=last] {
        if histogram.uses_custom_buckets() != custom {
            return Err(Incompatible);
        }
        if kind.is_counter && is_gauge(histogram) {
            found.push(AnnotationKind::HistogramNotCounter { metric: metric.to_owned() });
        }
    }
    let at = |index: usize| (timestamps[index], &*histograms[index]);
    let left = if smoothed && timestamps[first] < start && first + 1 < histograms.len() {
        between(at(first), at(first + 1), start, kind.is_counter, found)?
    } else {
        (*histograms[first]).clone()
    };
    let right = if smoothed && last > 0 && timestamps[last] > end {
        between(at(last - 1), at(last), end, kind.is_counter, found)?
    } else {
        (*histograms[last]).clone()
    };
    if !kind.is_counter && (!is_gauge(&left) || !is_gauge(&right)) {
        found.push(AnnotationKind::HistogramNotGauge { metric: metric.to_owned() });
    }
    let mut result = right.clone();
    let combined = sub(&mut result, &left)?;
    note_reconciled(combined.reconciled, HistogramOperation::Subtraction, found);
    if kind.is_counter {
        let bounds = Bounds { first, last, left: &left, right: &right };
        if let Some(lost) = lost_between(window, bounds, smoothed, found)? {
            let combined = add(&mut result, &lost)?;
            note_reconciled(combined.reconciled, HistogramOperation::Addition, found);
        }
    }
    Ok(result)
}

/// The histograms at the bounds of a window, and the indices of those they were made of.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    first: usize,
    last: usize,
    left: &'a FloatHistogram,
    right: &'a FloatHistogram,
}

/// What was lost by counter resets between the bounds.
fn lost_between(
    window: HistogramWindow<'_>,
    bounds: Bounds<'_>,
    smoothed: bool,
    found: &mut Found,
) -> Result<Option<FloatHistogram>, Incompatible> {
    let HistogramWindow { timestamps, histograms, resets, start, .. } = window;
    let Bounds { first, last, left, right } = bounds;
    let (mut before, mut next) = (left, first + 1);
    if smoothed
        && timestamps[first] < start
        && let Some(second) = histograms.get(next)
        && resets[next]
    {
        // Interpolating the left bound has taken care of this reset.
        before = second;
        next += 1;
    }
    // The last histogram is the right bound or was interpolated to it, and is compared as such.
    if next > last {
        return Ok(None);
    }
    let mut lost: Option<FloatHistogram> = None;
    for histogram in histograms[next..last].iter().map(|histogram| &**histogram).chain([right]) {
        if histogram.detect_reset(before) {
            match &mut lost {
                None => lost = Some(before.clone()),
                Some(lost) => {
                    let combined = add(lost, before)?;
                    note_reconciled(combined.reconciled, HistogramOperation::Addition, found);
                }
            }
        }
        before = histogram;
    }
    Ok(lost)
}

/// The histogram at `time` on the line between two; a counter that was reset between them is
/// taken to have started from zero.
#[expect(clippy::cast_precision_loss, reason = "spans of time are far below 2^53 ms")]
pub(crate) fn between(
    (from, low): (i64, &FloatHistogram),
    (to, high): (i64, &FloatHistogram),
    time: i64,
    is_counter: bool,
    found: &mut Found,
) -> Result<FloatHistogram, Incompatible> {
    if time == from {
        return Ok(low.clone());
    }
    let mut result = high.clone();
    if time == to {
        return Ok(result);
    }
    let part = (time - from) as f64 / (to - from) as f64;
    if is_counter && high.detect_reset(low) {
        result.multiply(part);
        return Ok(result);
    }
    let combined = sub(&mut result, low)?;
    note_reconciled(combined.reconciled, HistogramOperation::Subtraction, found);
    result.multiply(part);
    let combined = add(&mut result, low)?;
    note_reconciled(combined.reconciled, HistogramOperation::Addition, found);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use ferula_chunkenc::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

    use super::super::RangeFunction;
    use super::*;

    fn of(count: f64) -> Arc<FloatHistogram> {
        Arc::new(FloatHistogram {
            count,
            sum: count,
            positive_spans: vec![Span::new(0, 1)],
            positive_buckets: vec![count],
            ..FloatHistogram::default()
        })
    }

    fn increase(histograms: &[Arc<FloatHistogram>]) -> (Option<FloatHistogram>, Found) {
        increase_since(-1, &[], histograms)
    }

    /// The increase behind `start` over histograms 10 s apart from time 0, which had been counting
    /// since `starts`.
    fn increase_since(
        start: i64,
        starts: &[i64],
        histograms: &[Arc<FloatHistogram>],
    ) -> (Option<FloatHistogram>, Found) {
        let timestamps: Vec<i64> = (0..).step_by(10_000).take(histograms.len()).collect();
        let pairs = histograms.windows(2).map(|pair| pair[1].detect_reset(&pair[0]));
        let resets: Vec<bool> = [false].into_iter().chain(pairs).collect();
        let window = HistogramWindow {
            timestamps: &timestamps,
            histograms,
            resets: &resets,
            starts: Starts::new(&timestamps, starts),
            start,
            end: timestamps[timestamps.len() - 1],
            metric: "m",
        };
        let mut found = Vec::new();
        let kind = RateKind::of(RangeFunction::Increase);
        (extrapolated(window, kind, &mut found), found)
    }

    #[test]
    fn resets_add_what_was_lost() {
        let (increase, found) = increase(&[of(4.0), of(6.0), of(1.0), of(3.0)]);
        // Two before the reset, and all of what came after it.
        let increase = increase.unwrap();
        assert!((increase.count - 5.0).abs() < 1e-3);
        assert_eq!(increase.counter_reset_hint, CounterResetHint::Gauge);
        assert_eq!(found, []);
    }

    #[test]
    fn one_histogram_is_no_increase() {
        assert_eq!(increase(&[of(4.0)]).0, None);
    }

    #[test]
    fn start_timestamps_tell_of_resets_and_zeros() {
        let count = |starts: &[i64], counts: &[f64]| {
            let histograms: Vec<_> = counts.iter().map(|count| of(*count)).collect();
            let (increase, found) = increase_since(-1_000, starts, &histograms);
            (increase.map(|increase| increase.count), found)
        };
        assert_eq!(count(&[-500], &[4.0]), (Some(4.0), vec![]));
        assert_eq!(count(&[-1_000], &[4.0]), (None, vec![]));
        assert_eq!(count(&[-500, -500, 10_001], &[4.0, 6.0, 7.0]), (Some(13.0), vec![]));
        let overlap = AnnotationKind::StartTimeOverlap(StartTimeOverlap::of("m"));
        assert_eq!(count(&[-500, -600, -700], &[4.0, 6.0, 7.0]), (Some(7.0), vec![overlap]));
    }

    #[test]
    fn the_layout_in_front_of_a_reset_does_not_matter() {
        let custom = |count| {
            Arc::new(FloatHistogram {
                schema: CUSTOM_BUCKETS_SCHEMA,
                custom_values: [1.0].into(),
                ..(*of(count)).clone()
            })
        };
        let reset = |histogram: &Arc<FloatHistogram>| {
            let hint = CounterResetHint::Reset;
            Arc::new(FloatHistogram { counter_reset_hint: hint, ..(**histogram).clone() })
        };
        let (increase_after_reset, found) = increase(&[custom(5.0), reset(&of(1.0)), of(3.0)]);
        assert!((increase_after_reset.unwrap().count - 3.0).abs() < 1e-3);
        assert_eq!(found, []);
        let (none, found) = increase(&[of(1.0), custom(2.0), of(3.0)]);
        assert_eq!(none, None);
        let metric = "m".to_owned();
        assert_eq!(found, [AnnotationKind::MixedExponentialCustom { metric }]);
    }

    #[test]
    fn histograms_lie_on_the_line_between_two() {
        let mut found = Vec::new();
        let (low, high) = (of(2.0), of(6.0));
        let at = |time, low: &Arc<_>, high: &Arc<_>, found: &mut Found| {
            between((0, &**low), (100, &**high), time, true, found).unwrap().count
        };
        assert_eq!(at(25, &low, &high, &mut found), 3.0);
        // The counter started again from zero.
        assert_eq!(at(25, &high, &low, &mut found), 0.5);
        assert_eq!(at(100, &high, &low, &mut found), 2.0);
        assert_eq!(found, []);
    }
}
