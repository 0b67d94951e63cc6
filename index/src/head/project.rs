//! Some of the labels of many series, as an aggregation over them needs.
//!
//! What is left of the labels of many series is mostly the same few label sets, which are made once
//! and shared.

use std::collections::HashMap;

use super::dictionary::PairId;
use super::{HeadIndex, LABELS_BATCH};
use crate::{Labels, SeriesRef};

impl HeadIndex {
    /// Of each of `series` the labels that have one of `names`; `None` for series that are gone.
    ///
    /// ```
    /// use ferula_index::{Labels, head::HeadIndex};
    ///
    /// let index = HeadIndex::new();
    /// let up = Labels::from_pairs([("__name__", "up"), ("job", "api"), ("pod", "a")])?;
    /// let (series, _) = index.get_or_create(&up)?;
    /// let job = Labels::from_pairs([("job", "api")])?;
    /// assert_eq!(index.labels_among(&[series], &["job", "region"]), [Some(job)]);
    /// # Ok::<(), ferula_index::Error>(())
    /// ```
    pub fn labels_among(&self, series: &[SeriesRef], names: &[&str]) -> Vec<Option<Labels>> {
        // Keeps the numbers of pairs from standing for others until the end.
        let _in_use = self.releasing.read_recursive();
        let mut known: HashMap<Box<[PairId]>, Labels> = HashMap::new();
        let mut last: (Vec<PairId>, Labels) = (Vec::new(), Labels::empty());
        let mut found = Vec::with_capacity(series.len());
        let (mut pairs, mut ends, mut buffer) = (Vec::new(), Vec::new(), String::new());
        let mut key = Vec::new();
        for batch in series.chunks(LABELS_BATCH) {
            self.pairs_of_each(batch, &mut pairs, &mut ends);
            let dictionary = self.dictionary.read();
            let symbols = dictionary.symbols_among(names);
            let mut start = 0;
            for end in &ends {
                let Some(end) = *end else {
                    found.push(None);
                    continue;
                };
                let of_series = pairs[std::mem::replace(&mut start, end)..end].iter();
                key.clear();
                key.extend(of_series.filter(|pair| symbols.contains(&dictionary.name(**pair))));
                if key != last.0 {
                    let labels = known.get(key.as_slice()).cloned().unwrap_or_else(|| {
                        let labels = dictionary.labels(&mut buffer, key.iter().copied());
                        known.insert(key.as_slice().into(), labels.clone());
                        labels
                    });
                    last = (key.clone(), labels);
                }
                found.push(Some(last.1.clone()));
            }
        }
        found
    }
}
