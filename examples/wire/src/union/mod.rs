//! Several storages as one.
//!
//! Series with the same labels become one. What they have at different times is put together, and of
//! two samples at one time that of the storage named first stays. Where storages hold replicas, told
//! apart by labels that are then left out or by nothing at all, one replica is followed at a time
//! instead ([`Merge::Penalty`]).

mod notes;
mod penalty;
mod series;

use std::collections::BTreeSet;
use std::sync::Arc;

use ferula_index::{Labels, LabelsBuilder, Matcher};
use ferula_promql::storage::{
    Querier, Queryable, SelectHints, SeriesSet, StorageError, TimeRange, Wanted,
};

pub use notes::UnionNotes;

use self::series::{Member, UnionSet};

/// What becomes of samples of one series that several storages have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// All are there.
    #[default]
    Chain,
    /// One storage is followed at a time, by the penalty algorithm of Thanos.
    Penalty,
}

/// Several storages as one.
pub struct Union {
    storages: Vec<Arc<dyn Queryable>>,
    rules: Arc<Rules>,
}

/// How series become one.
#[derive(Debug)]
struct Rules {
    merge: Merge,
    replica_labels: Vec<String>,
}

impl Rules {
    /// The labels that a series has in the union.
    fn labels(&self, labels: Labels) -> Result<Labels, ferula_index::Error> {
        let is_replica = |name: &str| self.replica_labels.iter().any(|label| label == name);
        if !labels.iter().any(|(name, _)| is_replica(name)) {
            return Ok(labels);
        }
        let mut builder = LabelsBuilder::from_labels(&labels);
        self.replica_labels.iter().for_each(|label| {
            builder.remove(label);
        });
        builder.build()
    }
}

impl Union {
    /// Puts storages together.
    ///
    /// Series that differ in `replica_labels` alone are replicas of one, which has none of these labels.
    pub fn new(
        storages: Vec<Arc<dyn Queryable>>,
        merge: Merge,
        replica_labels: Vec<String>,
    ) -> Self {
        Self { storages, rules: Arc::new(Rules { merge, replica_labels }) }
    }
}

impl Queryable for Union {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
        let open = |storage: &Arc<dyn Queryable>| storage.querier(range);
        let queriers = self.storages.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Box::new(View { queriers, rules: Arc::clone(&self.rules) }))
    }
}

/// A view of all storages.
struct View {
    queriers: Vec<Box<dyn Querier>>,
    rules: Arc<Rules>,
}

impl Querier for View {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StorageError> {
        let mut hints = hints.clone();
        // Which series of the members are the same is told by all their labels.
        hints.needed = None;
        if self.rules.merge == Merge::Penalty {
            // Which replica is followed is told by the samples before.
            hints.wanted = Wanted::All;
        }
        let mut drawn = hints.budget.draw(0)?;
        let mut members = Vec::new();
        let mut sets = Vec::new();
        for (set, querier) in self.queriers.iter().enumerate() {
            let selected = querier.select(matchers, &hints)?;
            for index in 0..selected.len() {
                if index % 1024 == 0 {
                    hints.budget.check()?;
                }
                let labels = self.rules.labels(selected.labels(index))?;
                drawn.add(size_of::<Member>() + labels.size_bytes())?;
                members.push(Member { labels, set, index });
            }
            sets.push(selected);
        }
        // Storages keep their order among the members of a series.
        members.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Box::new(UnionSet::new(sets, members, &hints, self.rules.merge, drawn)))
    }

    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, StorageError> {
        let mut all = BTreeSet::new();
        for querier in &self.queriers {
            all.extend(querier.label_names(matchers)?);
        }
        all.retain(|name| !self.rules.replica_labels.contains(name));
        Ok(all.into_iter().collect())
    }

    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, StorageError> {
        let mut all = BTreeSet::new();
        if self.rules.replica_labels.iter().all(|label| label != name) {
            for querier in &self.queriers {
                all.extend(querier.label_values(name, matchers)?);
            }
        }
        Ok(all.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
