//! Labels with too many values on one target: further ones become one, or the label goes.
//!
//! A label that tells users, requests or addresses apart makes a series of each. With this a target has so
//! many values of each label as its job allows, those that came first, and the store has no more series of it
//! than these make. Of several lines that become one series the first one of a page counts.

use std::collections::{BTreeSet, HashMap, HashSet};

use ferula_index::{Labels, LabelsBuilder, METRIC_NAME, SeriesRef};
use xxhash_rust::xxh3::xxh3_64;

use crate::config::{Cardinality, CardinalityAction};

/// What values beyond the limit become.
pub(super) const REASSIGNED: &str = "reassigned_high_cardinality";

/// Labels that tell parts of one value apart, which make no sense without each other.
const PARTS: [&str; 2] = ["le", "quantile"];

/// Series that may be gone, beside as many as there are, before values are counted anew.
const SPARE_COUNT: usize = 1000;

/// The values of the labels of one target.
#[derive(Debug, Default)]
pub(super) struct LabelValues {
    /// Hashes of the values of each label, no more than its limit.
    known: HashMap<String, HashSet<u64>>,
    /// Labels that had too many.
    limited: BTreeSet<String>,
    /// Series that lines with too many values have become.
    shared: HashMap<Labels, SeriesRef>,
    /// Series that were made since values were counted anew.
    n_made: usize,
}

impl LabelValues {
    /// Limits the labels of a new series. Tells whether it has any that had too many values.
    pub(super) fn limit(
        &mut self,
        config: &Cardinality,
        labels: Labels,
    ) -> Result<(Labels, bool), ferula_index::Error> {
        self.n_made += 1;
        let mut limited: Vec<String> = Vec::new();
        for (name, value) in &labels {
            if name == METRIC_NAME || PARTS.contains(&name) {
                continue;
            }
            let hash = xxh3_64(value.as_bytes());
            let known = match self.known.get_mut(name) {
                Some(known) => known,
                None => self.known.entry(name.to_owned()).or_default(),
            };
            if known.len() < config.max_values {
                known.insert(hash);
            } else if !known.contains(&hash) {
                limited.push(name.to_owned());
            }
        }
        if limited.is_empty() {
            return Ok((labels, false));
        }
        let mut builder = LabelsBuilder::from_labels(&labels);
        for name in &limited {
            match config.action {
                CardinalityAction::Reassign => builder.set(name, REASSIGNED),
                CardinalityAction::Drop => builder.remove(name),
            };
        }
        self.limited.extend(limited);
        Ok((builder.build()?, true))
    }

    /// The series with these labels, if a line has become it before.
    pub(super) fn shared(&self, labels: &Labels) -> Option<SeriesRef> {
        self.shared.get(labels).copied()
    }

    /// Notes that a line has become the series with these labels.
    pub(super) fn share(&mut self, labels: Labels, series: SeriesRef) {
        self.shared.insert(labels, series);
    }

    /// Labels that had too many values, in order.
    pub(super) fn limited(&self) -> Vec<String> {
        self.limited.iter().cloned().collect()
    }

    /// Whether so many series have gone that their values should give way to others.
    pub(super) fn is_worn(&self, n_series: usize) -> bool {
        !self.limited.is_empty() && self.n_made > 2 * n_series + SPARE_COUNT
    }

    /// Forgets all values.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(path: &str, le: &str) -> Labels {
        Labels::from_pairs([("__name__", "a"), ("path", path), ("le", le)]).unwrap()
    }

    #[test]
    fn values_beyond_the_limit_become_one_or_go() {
        for (action, expected) in
            [(CardinalityAction::Reassign, Some(REASSIGNED)), (CardinalityAction::Drop, None)]
        {
            let config = Cardinality { max_values: 2, action };
            let mut values = LabelValues::default();
            let mut limit = |path, le| values.limit(&config, series(path, le)).unwrap();
            for (path, le, is_limited) in
                [("x", "1", false), ("y", "2", false), ("z", "3", true), ("x", "4", false)]
            {
                let (labels, found) = limit(path, le);
                assert_eq!(found, is_limited, "{path}");
                assert_eq!(labels.get("path"), if is_limited { expected } else { Some(path) });
                assert_eq!(labels.get("le"), Some(le));
            }
            assert_eq!(values.limited(), ["path"]);
        }
    }

    #[test]
    fn values_that_are_gone_give_way_in_time() {
        let config = Cardinality { max_values: 1, action: CardinalityAction::Reassign };
        let mut values = LabelValues::default();
        for i in 0..=SPARE_COUNT + 2 {
            assert!(!values.is_worn(1));
            values.limit(&config, series(&i.to_string(), "1")).unwrap();
        }
        assert!(values.is_worn(1) && !values.is_worn(2));
        values.clear();
        assert!(!values.limit(&config, series("new", "1")).unwrap().1);
    }
}
