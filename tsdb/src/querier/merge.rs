//! Merging sources that overlap: series by labels, samples by time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, METRIC_NAME};

use super::{Draw, make_room};
use crate::error::Error;

/// Labels that describe the metric rather than the series.
const METADATA_LABELS: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// Bytes that a label set takes beside its text.
const LABELS_OVERHEAD: usize = 24;

/// Where samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The block with this number.
    Block(u32),
    /// What came in order to the head.
    Head,
    /// What came out of order to the head.
    Late,
}

/// The labels of the series of a source, in order.
pub(crate) type LabelStream<'a> = Box<dyn Iterator<Item = Result<Labels, Error>> + 'a>;

/// Series in label order, each with what the sources have of it.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    labels: Vec<Labels>,
    /// Where the parts of each series end; they begin where those of the one before end.
    ends: Vec<usize>,
    /// Sources, and the places of the series in these.
    parts: Vec<(Source, u32)>,
}

impl Merged {
    /// Merges sources. The parts of a series are in the order of these. Of the labels only those are kept
    /// that describe the metric or have one of the `needed` names, if there are any given.
    pub(crate) fn new(
        sources: Vec<(Source, LabelStream<'_>)>,
        needed: Option<&[String]>,
        draw: &Draw<'_>,
    ) -> Result<Self, Error> {
        let mut merged = Self::default();
        let mut last: Option<Labels> = None;
        let mut sources: Vec<_> =
            sources.into_iter().map(|(source, labels)| (source, labels, 0)).collect();
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (number, (_, labels, _)) in sources.iter_mut().enumerate() {
            if let Some(first) = labels.next() {
                heads.push(Reverse((first?, number)));
            }
        }
        while let Some(mut head) = heads.peek_mut() {
            let number = head.0.1;
            let (source, labels, place) = &mut sources[number];
            let found = match labels.next() {
                Some(next) => std::mem::replace(&mut head.0.0, next?),
                None => std::collections::binary_heap::PeekMut::pop(head).0.0,
            };
            if last.as_ref() != Some(&found) {
                merged.begin(&found, needed, draw)?;
                last = Some(found);
            }
            make_room(&mut merged.parts, size_of::<(Source, u32)>(), draw)?;
            merged.parts.push((*source, *place));
            *place += 1;
            if let Some(end) = merged.ends.last_mut() {
                *end = merged.parts.len();
            }
        }
        Ok(merged)
    }

    /// Begins the parts of a series.
    fn begin(
        &mut self,
        labels: &Labels,
        needed: Option<&[String]>,
        draw: &Draw<'_>,
    ) -> Result<(), Error> {
        let is_kept = |name: &str| {
            let is_needed = |needed: &[String]| needed.iter().any(|needed| needed == name);
            METADATA_LABELS.contains(&name) || needed.is_none_or(is_needed)
        };
        let of_kept = labels.iter().filter(|(name, _)| is_kept(name));
        let known = self.labels.last().filter(|last| last.iter().eq(of_kept.clone()));
        let kept = match (known, needed) {
            (Some(known), _) => known.clone(),
            (None, None) => labels.clone(),
            // A part of a label set is always one.
            (None, Some(_)) => Labels::from_pairs(of_kept).unwrap_or_else(|_| labels.clone()),
        };
        if known.is_none() {
            draw(kept.size_bytes() + LABELS_OVERHEAD)?;
        }
        make_room(&mut self.labels, size_of::<Labels>(), draw)?;
        self.labels.push(kept);
        make_room(&mut self.ends, size_of::<usize>(), draw)?;
        self.ends.push(self.parts.len());
        Ok(())
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

    /// What the sources have of the series at `index`: where, and at which place there.
    pub(crate) fn parts(&self, index: usize) -> impl Iterator<Item = (Source, usize)> {
        let first = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let parts: Range<usize> = first..self.ends[index];
        self.parts[parts].iter().map(|(source, place)| (*source, *place as usize))
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

    fn merge(lists: &[&[&str]], needed: Option<&[String]>) -> Result<Merged, Error> {
        let stream = |list: &&[&str]| -> LabelStream<'static> {
            let all: Vec<_> = list.iter().map(|value| Ok(labels(value))).collect();
            Box::new(all.into_iter())
        };
        let sources = (0..).zip(lists).map(|(at, list)| (Source::Block(at), stream(list)));
        Merged::new(sources.collect(), needed, &|_| Ok(()))
    }

    #[test]
    fn series_of_several_lists_come_once_in_order() {
        let merged = merge(&[&["b", "d"], &["a", "b"], &[], &["b"]], None).unwrap();
        let all: Vec<_> = (0..merged.len())
            .map(|i| {
                let parts = merged.parts(i).map(|(source, place)| match source {
                    Source::Block(block) => (block, place),
                    _ => unreachable!("there are blocks only"),
                });
                (merged.labels(i).get("a").unwrap(), parts.collect::<Vec<_>>())
            })
            .collect();
        let expected =
            [("a", vec![(1, 0)]), ("b", vec![(0, 0), (1, 1), (3, 0)]), ("d", vec![(0, 1)])];
        assert_eq!(all, expected);
    }

    #[test]
    fn labels_that_nobody_looks_at_are_left_out_of_series_that_differ_in_them() {
        let merged = merge(&[&["b", "d"], &["c"]], Some(&["x".to_owned()])).unwrap();
        assert_eq!(merged.all_labels(), vec![Labels::empty(); 3]);
        assert_eq!(merged.parts(1).collect::<Vec<_>>(), [(Source::Block(1), 0)]);
        let merged = merge(&[&["b"], &["c"]], Some(&["a".to_owned()])).unwrap();
        assert_eq!(merged.all_labels(), [labels("b"), labels("c")]);
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
