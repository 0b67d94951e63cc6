//! Native histograms out of OTLP's.

use ferula_chunkenc::histogram::{
    CUSTOM_BUCKETS_SCHEMA, CounterResetHint, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN,
    Histogram, Span,
};
use ferula_chunkenc::stale::STALE_NAN;

use super::point::{Buckets, Exponential, Side};

/// Half the width of the zero bucket, which OTLP's SDKs do not tell.
const ZERO_THRESHOLD: f64 = 1e-128;

/// Empty buckets in a row that are written rather than skipped, as skipping costs a span.
const MAX_WRITTEN_GAP: i64 = 2;

/// The hint of a histogram: deltas are no counters.
fn hint(is_delta: bool) -> CounterResetHint {
    if is_delta { CounterResetHint::Gauge } else { CounterResetHint::Unknown }
}

/// The histogram that ends a series.
pub(super) fn stale() -> Histogram {
    Histogram { sum: STALE_NAN, ..Histogram::default() }
}

/// A native histogram, or why there is none.
pub(super) fn exponential(exponential: &Exponential, is_delta: bool) -> Result<Histogram, String> {
    let scale = exponential.scale;
    if scale < EXPONENTIAL_SCHEMA_MIN {
        return Err(format!(
            "cannot convert exponential to native histogram. Scale must be >= \
             {EXPONENTIAL_SCHEMA_MIN}, was {scale}"
        ));
    }
    // Finer ones are made coarser. Shifting further than that changes nothing more.
    let schema = scale.min(EXPONENTIAL_SCHEMA_MAX);
    let scale_down = (scale - schema).min(63);
    let (positive_spans, positive_buckets) = exponential_side(&exponential.positive, scale_down)?;
    let (negative_spans, negative_buckets) = exponential_side(&exponential.negative, scale_down)?;
    Ok(Histogram {
        counter_reset_hint: hint(is_delta),
        schema,
        zero_threshold: ZERO_THRESHOLD,
        zero_count: exponential.zero_count,
        count: exponential.count,
        sum: exponential.sum.unwrap_or_default(),
        positive_spans,
        negative_spans,
        positive_buckets,
        negative_buckets,
        ..Histogram::default()
    })
}

/// A native histogram with custom buckets, or why there is none.
pub(super) fn custom(buckets: Buckets, is_delta: bool) -> Result<Histogram, String> {
    let first = buckets.counts.iter().take_while(|count| **count == 0).count();
    let counts = &buckets.counts[first..];
    let mut layout = Layout::starting_at(number(first));
    for (place, count) in counts.iter().enumerate() {
        layout.push(number(first + place), *count)?;
    }
    let (positive_spans, positive_buckets) = layout.finish()?;
    Ok(Histogram {
        counter_reset_hint: hint(is_delta),
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: buckets.count,
        sum: buckets.sum.unwrap_or_default(),
        positive_spans,
        positive_buckets,
        custom_values: buckets.bounds.into(),
        ..Histogram::default()
    })
}

/// Spans and deltas of one side. OTLP's bucket 0 is that above 1, Prometheus's that below.
fn exponential_side(side: &Side, scale_down: i32) -> Result<(Vec<Span>, Vec<i64>), String> {
    let index = |place| ((i64::from(side.offset) + number(place)) >> scale_down) + 1;
    let mut layout = Layout::starting_at(index(0));
    for (place, count) in side.counts.iter().enumerate() {
        layout.push(index(place), *count)?;
    }
    layout.finish()
}

fn number(place: usize) -> i64 {
    i64::try_from(place).expect("buckets are far fewer")
}

/// Sparse buckets out of dense ones, several of which may be merged into one.
///
/// The layout is Prometheus's: empty buckets are skipped where there are more than two in a row, and
/// the last bucket is written even if it is empty. Where buckets are merged behind empty ones,
/// Prometheus 3.14 puts the first of them in the place of these; here they are counted where they belong.
struct Layout {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    /// The last count that was written.
    last: i64,
    /// The bucket that is gathered, and the last one that was written or skipped up to.
    open: Option<(i64, i64)>,
    written: i64,
}

impl Layout {
    fn starting_at(index: i64) -> Self {
        Self { spans: Vec::new(), deltas: Vec::new(), last: 0, open: None, written: index - 1 }
    }

    fn push(&mut self, index: i64, count: u64) -> Result<(), String> {
        let count = i64::try_from(count).map_err(|_| "a bucket count is too large".to_owned())?;
        let first = self.written + 1;
        self.open = Some(match self.open.take() {
            Some((open, sum)) if open == index => {
                (open, sum.checked_add(count).ok_or("a bucket count is too large")?)
            }
            // Nothing is written of an empty bucket until it is known what follows.
            Some((_, 0)) => (index, count),
            Some((open, sum)) => {
                self.write(open, sum)?;
                (index, count)
            }
            None => {
                // The first span starts at the first bucket, whatever is in it.
                self.span(first)?;
                (index, count)
            }
        });
        Ok(())
    }

    fn finish(mut self) -> Result<(Vec<Span>, Vec<i64>), String> {
        if let Some((open, sum)) = self.open.take() {
            self.write(open, sum)?;
        }
        Ok((self.spans, self.deltas))
    }

    fn write(&mut self, index: i64, count: i64) -> Result<(), String> {
        let gap = index - self.written - 1;
        if gap > MAX_WRITTEN_GAP {
            self.span(gap)?;
        } else {
            for _ in 0..gap {
                self.bucket(0);
            }
        }
        self.bucket(count);
        self.written = index;
        Ok(())
    }

    fn span(&mut self, offset: i64) -> Result<(), String> {
        let offset =
            i32::try_from(offset).map_err(|_| "a bucket number is out of range".to_owned())?;
        self.spans.push(Span::new(offset, 0));
        Ok(())
    }

    fn bucket(&mut self, count: i64) {
        if let Some(span) = self.spans.last_mut() {
            span.length += 1;
        }
        self.deltas.push(count - self.last);
        self.last = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(offset: i32, counts: &[u64], scale_down: i32) -> String {
        let side = Side { offset, counts: counts.to_vec() };
        let (spans, deltas) = exponential_side(&side, scale_down).unwrap();
        let spans: Vec<_> = spans.iter().map(|span| (span.offset, span.length)).collect();
        format!("{spans:?} {deltas:?}")
    }

    #[test]
    fn buckets_are_laid_out_sparsely() {
        for (offset, counts, scale_down, expected) in [
            (0, &[][..], 0, "[] []"),
            (0, &[4, 2, 3], 0, "[(1, 3)] [4, -2, 1]"),
            (-4, &[4, 0, 0, 3], 0, "[(-3, 4)] [4, -4, 0, 3]"),
            (-4, &[4, 0, 0, 0, 3], 0, "[(-3, 1), (3, 1)] [4, -1]"),
            (2, &[0, 0, 0, 0, 3], 0, "[(3, 0), (4, 1)] [3]"),
            (0, &[5, 0, 0], 0, "[(1, 3)] [5, -5, 0]"),
            (0, &[0, 0, 0, 0, 0], 0, "[(1, 0), (4, 1)] [0]"),
            (0, &[1, 1, 1, 1], 1, "[(1, 2)] [2, 0]"),
            (-1, &[1, 1, 1, 1], 2, "[(0, 2)] [1, 2]"),
            (-9, &[1, 2, 3], 63, "[(0, 1)] [6]"),
            // Nothing is counted in the first bucket, and all in the second.
            (0, &[0, 0, 5, 3], 1, "[(1, 2)] [0, 8]"),
        ] {
            assert_eq!(side(offset, counts, scale_down), expected, "{offset} {counts:?}");
        }
    }

    #[test]
    fn counts_and_numbers_out_of_range_are_refused() {
        let refused = |offset, counts: &[u64], scale_down| {
            exponential_side(&Side { offset, counts: counts.to_vec() }, scale_down).unwrap_err()
        };
        assert_eq!(refused(0, &[u64::MAX], 0), "a bucket count is too large");
        assert_eq!(refused(0, &[1 << 62, 1 << 62], 1), "a bucket count is too large");
        assert_eq!(refused(i32::MAX, &[1], 0), "a bucket number is out of range");
        let coarse = Exponential { scale: -5, ..Exponential::default() };
        assert!(exponential(&coarse, false).unwrap_err().ends_with("was -5"));
    }
}
