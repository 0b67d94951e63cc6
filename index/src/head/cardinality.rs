//! Which names and values have how many series: what to look at when there are too many.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::HeadIndex;
use super::SCAN_BATCH;
use super::dictionary::PairId;
use crate::METRIC_NAME;

/// How many series there are, and with which labels. Lists hold the largest first, and among equals
/// the smaller name; they are as long as was asked for at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cardinality {
    /// Number of series.
    pub n_series: u64,
    /// Number of distinct label pairs.
    pub n_label_pairs: u64,
    /// Number of label names.
    pub n_label_names: u64,
    /// Series of each metric.
    pub series_by_metric: Vec<Count>,
    /// Series that have each label.
    pub series_by_label: Vec<Count>,
    /// Distinct values of each label.
    pub values_by_label: Vec<Count>,
    /// Bytes of the name and the values of each label with their lengths, counted once for each series,
    /// as Prometheus does to estimate what a label costs.
    pub value_bytes_by_label: Vec<Count>,
    /// Bytes that this index takes for the values and postings of each label, about.
    pub index_bytes_by_label: Vec<Count>,
    /// Series of each label pair, which is written `name=value`.
    pub series_by_pair: Vec<Count>,
}

/// A name and what was counted for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// What was counted for.
    pub name: String,
    /// How much there is.
    pub count: u64,
}

impl HeadIndex {
    /// Counts the series of each metric, label and label pair, and keeps the `top` largest of each.
    ///
    /// Looks at every label pair once and at no series: some milliseconds for 100,000 pairs.
    ///
    /// ```
    /// use ferula_index::{Labels, head::HeadIndex};
    ///
    /// let index = HeadIndex::new();
    /// for job in ["api", "db"] {
    ///     index.get_or_create(&Labels::from_pairs([("__name__", "up"), ("job", job)])?)?;
    /// }
    /// let cardinality = index.cardinality(10);
    /// assert_eq!(cardinality.n_label_pairs, 3);
    /// assert_eq!((&*cardinality.series_by_metric[0].name, 2), ("up", 2));
    /// assert_eq!(cardinality.values_by_label[0].name, "job");
    /// # Ok::<(), ferula_index::Error>(())
    /// ```
    pub fn cardinality(&self, top: usize) -> Cardinality {
        // Keeps the numbers of pairs from standing for others until their text was looked up.
        let _in_use = self.releasing.read_recursive();
        let names: Vec<(String, Vec<PairId>)> = {
            let dictionary = self.dictionary.read();
            dictionary.names().map(|(name, pairs)| (name.to_owned(), pairs.collect())).collect()
        };
        let mut counted = Cardinality { n_series: self.len(), ..Cardinality::default() };
        let (mut metrics, mut pairs_top) = (Top::new(top), Top::new(top));
        let mut of_labels = [(); 4].map(|()| Top::new(top));
        for (name, pairs) in &names {
            let mut of_label = OfLabel::default();
            for batch in pairs.chunks(SCAN_BATCH) {
                let dictionary = self.dictionary.read();
                for &pair in batch {
                    let (n_series, bytes) =
                        self.postings.read(pair, |series| (series.len(), series.heap_bytes()));
                    if n_series == 0 {
                        continue;
                    }
                    let len = dictionary.value(pair).len() as u64;
                    of_label.n_series += n_series;
                    of_label.n_values += 1;
                    of_label.value_bytes += (sized(name.len() as u64) + sized(len)) * n_series;
                    of_label.index_bytes += len + PAIR_BYTES + bytes;
                    pairs_top.push(n_series, pair);
                    if name == METRIC_NAME {
                        metrics.push(n_series, pair);
                    }
                }
            }
            if of_label.n_values == 0 {
                continue;
            }
            counted.n_label_names += 1;
            counted.n_label_pairs += of_label.n_values;
            let OfLabel { n_series, n_values, value_bytes, index_bytes } = of_label;
            let counts = [n_series, n_values, value_bytes, index_bytes];
            for (list, count) in of_labels.iter_mut().zip(counts) {
                list.push(count, name);
            }
        }
        let dictionary = self.dictionary.read();
        let value = |pair| dictionary.value(pair).to_owned();
        let pair = |pair| {
            let (name, value) = dictionary.text(pair);
            format!("{name}={value}")
        };
        counted.series_by_metric = metrics.finish(value);
        counted.series_by_pair = pairs_top.finish(pair);
        let of_labels = of_labels.map(|list| list.finish(|name: &String| name.clone()));
        [
            counted.series_by_label,
            counted.values_by_label,
            counted.value_bytes_by_label,
            counted.index_bytes_by_label,
        ] = of_labels;
        counted
    }
}

/// Bytes of a text with its length, as Prometheus keeps it: one for those below 255, four for others.
fn sized(len: u64) -> u64 {
    len + if len < 255 { 1 } else { 4 }
}

/// What a pair takes besides its text and its postings' content: its number, the tables by which it
/// and its value are found, and the head of its postings.
const PAIR_BYTES: u64 = 70;

#[derive(Default)]
struct OfLabel {
    n_series: u64,
    n_values: u64,
    value_bytes: u64,
    index_bytes: u64,
}

/// The largest of many counts; among equals those for the smaller thing, so that it does not matter
/// in which order they come.
struct Top<T> {
    largest: BinaryHeap<Reverse<(u64, Reverse<T>)>>,
    limit: usize,
}

impl<T: Ord> Top<T> {
    fn new(limit: usize) -> Self {
        Self { largest: BinaryHeap::new(), limit }
    }

    fn push(&mut self, count: u64, of: T) {
        let entry = (count, Reverse(of));
        if self.largest.len() < self.limit {
            self.largest.push(Reverse(entry));
        } else if let Some(mut least) = self.largest.peek_mut().filter(|least| least.0 < entry) {
            *least = Reverse(entry);
        }
    }

    fn finish(self, name: impl Fn(T) -> String) -> Vec<Count> {
        let counts = self.largest.into_iter();
        let mut counts: Vec<Count> =
            counts.map(|Reverse((count, Reverse(of)))| Count { name: name(of), count }).collect();
        counts.sort_by(|a, b| (Reverse(a.count), &a.name).cmp(&(Reverse(b.count), &b.name)));
        counts
    }
}
