//! Removing empty buckets and joining spans.

use super::convert::{to_counts, to_deltas};
use super::span::{Indexes, SpanBuilder};
use super::{FloatHistogram, Histogram, Span};

/// Where the buckets of a compacted layout come from.
pub(super) struct Compacted {
    pub(super) spans: Vec<Span>,
    /// For each bucket its position before, or none if it fills a gap.
    sources: Vec<Option<usize>>,
}

impl Compacted {
    /// The buckets in the new layout.
    pub(super) fn apply<T: Copy + Default>(&self, buckets: &[T]) -> Vec<T> {
        self.sources.iter().map(|at| at.map_or(T::default(), |at| buckets[at])).collect()
    }
}

/// Adjacent buckets that are kept: index and position of the first, and how many.
struct Run {
    index: i64,
    position: usize,
    len: usize,
}

/// Cuts empty buckets off the ends of every run of adjacent buckets, cuts runs at more than
/// `max_empty` empty ones, and then joins those that are at most `max_empty` apart.
pub(super) fn compact(
    spans: &[Span],
    n_buckets: usize,
    max_empty: usize,
    is_empty: impl Fn(usize) -> bool,
) -> Compacted {
    let mut runs: Vec<Run> = Vec::new();
    // How far adjacent buckets reach back from the one that is looked at.
    let mut first_adjacent = 0;
    let mut next_index = None;
    for (position, index) in Indexes::new(spans, n_buckets).enumerate() {
        if next_index != Some(index) {
            first_adjacent = position;
        }
        next_index = Some(index + 1);
        if is_empty(position) {
            continue;
        }
        match runs.last_mut() {
            Some(run)
                if run.position >= first_adjacent
                    && position - (run.position + run.len) <= max_empty =>
            {
                run.len = position - run.position + 1;
            }
            _ => runs.push(Run { index, position, len: 1 }),
        }
    }

    let max_gap = i64::try_from(max_empty).unwrap_or(i64::MAX);
    let mut builder = SpanBuilder::default();
    let mut sources = Vec::new();
    let mut end = None;
    for run in runs {
        if let Some(end) = end
            && run.index - end <= max_gap
        {
            for index in end..run.index {
                builder.push(index);
                sources.push(None);
            }
        }
        for offset in 0..run.len {
            builder.push(run.index + offset as i64);
            sources.push(Some(run.position + offset));
        }
        end = Some(run.index + run.len as i64);
    }
    Compacted { spans: builder.finish(), sources }
}

impl Histogram {
    /// Removes empty buckets and joins spans, as [`FloatHistogram::compact`] does.
    pub fn compact(&mut self, max_empty: usize) {
        for (spans, buckets) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            let counts = to_counts(buckets);
            let compacted = compact(spans, counts.len(), max_empty, |at| counts[at] == 0);
            *buckets = to_deltas(&compacted.apply(&counts));
            *spans = compacted.spans;
        }
    }
}

impl FloatHistogram {
    /// Removes empty buckets at both ends of each span, divides spans at more than `max_empty`
    /// empty buckets, and joins spans that are at most `max_empty` buckets apart.
    ///
    /// Gaps that are closed are filled with empty buckets, so that a large `max_empty` may need
    /// much memory. Prometheus 3.14 puts these buckets in the wrong place when it joins more than
    /// two spans; here each count stays with its bucket.
    pub fn compact(&mut self, max_empty: usize) {
        for (spans, buckets) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            let compacted = compact(spans, buckets.len(), max_empty, |at| buckets[at] == 0.0);
            *buckets = compacted.apply(buckets);
            *spans = compacted.spans;
        }
    }

    /// Removes the buckets that are empty here and in `compensation`, from both.
    pub(super) fn compact_with(&mut self, compensation: &mut Self) {
        for (spans, buckets, compensation) in [
            (
                &mut self.positive_spans,
                &mut self.positive_buckets,
                &mut compensation.positive_buckets,
            ),
            (
                &mut self.negative_spans,
                &mut self.negative_buckets,
                &mut compensation.negative_buckets,
            ),
        ] {
            let is_empty = |at: usize| buckets[at] == 0.0 && compensation[at] == 0.0;
            let compacted = compact(spans, buckets.len(), 0, is_empty);
            *buckets = compacted.apply(buckets);
            *compensation = compacted.apply(compensation);
            *spans = compacted.spans;
        }
    }
}
