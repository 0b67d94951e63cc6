//! Merging sources that overlap: series by labels, samples by time.

use std::ops::Range;

use ferula_chunkenc::SampleBatch;
use ferula_index::Labels;

/// Series in label order, each with what the sources have of it.
#[derive(Debug)]
pub(crate) struct Merged<P> {
    labels: Vec<Labels>,
    /// Where the parts of each series begin; one more than there are series.
    starts: Vec<usize>,
    parts: Vec<P>,
}

impl<P> Merged<P> {
    /// Merges lists that are each in label order. The parts of a series are in the order of the
    /// lists.
    pub(crate) fn new(lists: Vec<Vec<(Labels, P)>>) -> Self {
        let total = lists.iter().map(Vec::len).sum();
        let mut all = Vec::with_capacity(total);
        let n_lists = lists.iter().filter(|list| !list.is_empty()).count();
        all.extend(lists.into_iter().flatten());
        if n_lists > 1 {
            // A merge sort finds the runs, so this costs what a merge of the lists costs; it is
            // stable, which keeps the order of the parts.
            all.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        let mut merged = Self {
            labels: Vec::with_capacity(total),
            starts: vec![],
            parts: Vec::with_capacity(total),
        };
        for (labels, part) in all {
            if merged.labels.last() != Some(&labels) {
                merged.labels.push(labels);
                merged.starts.push(merged.parts.len());
            }
            merged.parts.push(part);
        }
        merged.starts.push(merged.parts.len());
        merged
    }

    /// Number of series.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Labels of the series at `index`.
    pub(crate) fn labels(&self, index: usize) -> &Labels {
        &self.labels[index]
    }

    /// Labels of all series, in order.
    pub(crate) fn all_labels(&self) -> &[Labels] {
        &self.labels
    }

    /// What the sources have of the series at `index`.
    pub(crate) fn parts(&self, index: usize) -> &[P] {
        let parts: Range<usize> = self.starts[index]..self.starts[index + 1];
        &self.parts[parts]
    }
}

/// Merges strings of several sources: sorted, each once.
pub(crate) fn merge_names(lists: Vec<Vec<String>>) -> Vec<String> {
    let mut all = lists.concat();
    all.sort_unstable();
    all.dedup();
    all
}

/// Puts the samples from `middle` on in order with those from `start` on, if they are not yet.
/// Of two samples at the same time the first stays.
pub(crate) fn merge_tail(batch: &mut SampleBatch, start: usize, middle: usize) {
    let timestamps = batch.timestamps();
    let (Some(last), Some(next)) = (timestamps[start..middle].last(), timestamps[middle..].first())
    else {
        return;
    };
    if last < next {
        return;
    }
    let mut merged = SampleBatch::new();
    merged.reserve(batch.len() - start);
    let (mut first, mut second) = (start, middle);
    while first < middle || second < timestamps.len() {
        let is_first =
            second == timestamps.len() || first < middle && timestamps[first] <= timestamps[second];
        if is_first && second < timestamps.len() && timestamps[first] == timestamps[second] {
            second += 1;
        }
        let next = if is_first { &mut first } else { &mut second };
        merged.extend_from_batch(batch, *next..*next + 1);
        *next += 1;
    }
    batch.truncate(start);
    batch.extend_from_batch(&merged, 0..merged.len());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferula_chunkenc::histogram::FloatHistogram;

    use super::*;

    fn labels(value: &str) -> Labels {
        Labels::from_pairs([("a", value)]).unwrap()
    }

    #[test]
    fn series_of_several_lists_come_once_in_order() {
        let list = |values: &[&str], part| {
            values.iter().map(|value| (labels(value), part)).collect::<Vec<_>>()
        };
        let merged =
            Merged::new(vec![list(&["b", "d"], 1), list(&["a", "b"], 2), vec![], list(&["b"], 3)]);
        let all: Vec<_> = (0..merged.len())
            .map(|i| (merged.labels(i).get("a").unwrap(), merged.parts(i)))
            .collect();
        assert_eq!(all, [("a", &[2][..]), ("b", &[1, 2, 3]), ("d", &[1])]);
    }

    #[test]
    fn overlapping_samples_come_once_in_order() {
        let mut batch = SampleBatch::new();
        batch.extend_from_columns(&[100, 1, 3, 5, 2, 3, 9], &[0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
        merge_tail(&mut batch, 1, 4);
        assert_eq!(batch.timestamps(), [100, 1, 2, 3, 5, 9]);
        assert_eq!(batch.values(), [0.0, 1.0, 2.0, 1.0, 1.0, 2.0]);
    }

    #[test]
    fn histograms_stay_what_they_are() {
        let histogram = Arc::new(FloatHistogram { sum: 7.0, ..FloatHistogram::default() });
        let mut batch = SampleBatch::new();
        batch.push(1, 1.0);
        batch.push_histogram(5, Arc::clone(&histogram));
        batch.push_histogram(3, Arc::clone(&histogram));
        batch.set_last_start_timestamp(2);
        batch.push(9, 9.0);
        merge_tail(&mut batch, 0, 2);
        assert_eq!(batch.timestamps(), [1, 3, 5, 9]);
        let found: Vec<bool> = (0..4).map(|i| batch.histogram(i).is_some()).collect();
        assert_eq!(found, [false, true, true, false]);
        assert_eq!([0, 1, 2, 3].map(|i| batch.start_timestamp(i)), [0, 2, 0, 0]);
    }
}
