//! What several storages say of their series.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ferula_index::{Labels, Matcher};
use ferula_tsdb::{Error, Exemplar, Metadata, MetricMetadata, SeriesExemplars};

use crate::store::Notes;

/// Exemplars and metadata of several places as of one; series lose their replica labels.
pub struct UnionNotes {
    places: Vec<Arc<dyn Notes>>,
    rules: super::Rules,
}

impl UnionNotes {
    /// Puts places together.
    pub fn new(places: Vec<Arc<dyn Notes>>, replica_labels: Vec<String>) -> Self {
        let merge = super::Merge::Chain;
        Self { places, rules: super::Rules { merge, replica_labels } }
    }
}

impl Notes for UnionNotes {
    fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        mint: i64,
        maxt: i64,
    ) -> Result<Vec<SeriesExemplars>, Error> {
        let mut all: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for place in &self.places {
            for SeriesExemplars { labels, exemplars, .. } in place.exemplars(sets, mint, maxt)? {
                // Fewer labels than were allowed are allowed, too.
                let labels = self.rules.labels(labels.clone()).unwrap_or(labels);
                all.entry(labels).or_default().extend(exemplars);
            }
        }
        Ok(all
            .into_iter()
            .map(|(labels, mut exemplars)| {
                exemplars.sort_by(|a, b| {
                    let by_time = a.timestamp.cmp(&b.timestamp);
                    by_time.then(a.value.total_cmp(&b.value)).then(a.labels.cmp(&b.labels))
                });
                exemplars.dedup();
                SeriesExemplars::new(labels, exemplars)
            })
            .collect())
    }

    fn metadata(&self) -> Result<Vec<MetricMetadata>, Error> {
        let mut all: BTreeMap<String, BTreeSet<Metadata>> = BTreeMap::new();
        for place in &self.places {
            for MetricMetadata { metric, metadata, .. } in place.metadata()? {
                all.entry(metric).or_default().extend(metadata);
            }
        }
        Ok(all
            .into_iter()
            .map(|(metric, all)| MetricMetadata::new(metric, all.into_iter().collect()))
            .collect())
    }
}
