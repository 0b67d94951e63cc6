//! Making series, and forgetting those that no committed batch has appended to.
//!
//! A series is found by its labels in the index only once a batch that appends to it commits. Until
//! then it is known to the batches that made it, and to nobody else.

use std::collections::HashMap;
use std::mem;

use ferula_index::{Labels, SeriesRef};

use super::Head;
use super::isolation::BatchId;
use super::series::page_number;
use crate::error::{AppendError, Error};
use crate::options::MAX_LABEL_SET_BYTES;

/// Bytes that a map takes for an entry beside key and value, about.
const ENTRY_BYTES: usize = 8;

/// Series that are known to the batches that made them, and to nobody else.
#[derive(Debug, Default)]
pub(super) struct Unpublished {
    by_labels: HashMap<Labels, SeriesRef>,
    by_ref: HashMap<SeriesRef, Labels>,
    /// Series that became findable with a batch which some reader may not see.
    recent: Vec<(BatchId, SeriesRef)>,
}

impl Unpublished {
    /// Forgets which series became findable with batches that every reader sees.
    fn forget_recent(&mut self, oldest_reader: BatchId) {
        self.recent.retain(|(batch, _)| *batch > oldest_reader);
        if self.recent.is_empty() {
            self.recent = Vec::new();
        }
    }

    /// Forgets series that are removed.
    pub(super) fn forget(&mut self, is_gone: impl Fn(SeriesRef) -> bool) {
        self.recent.retain(|(_, series)| !is_gone(*series));
    }

    /// The series with these labels.
    pub(super) fn find(&self, labels: &Labels) -> Option<SeriesRef> {
        self.by_labels.get(labels).copied()
    }

    /// Labels of a series.
    pub(super) fn labels(&self, series: SeriesRef) -> Option<&Labels> {
        self.by_ref.get(&series)
    }

    /// Bytes of memory, labels excepted.
    pub(super) fn size_bytes(&self) -> usize {
        let entry = size_of::<(Labels, SeriesRef)>() + ENTRY_BYTES;
        (self.by_labels.capacity() + self.by_ref.capacity()) * entry
            + self.recent.capacity() * size_of::<(BatchId, SeriesRef)>()
    }
}

impl Head {
    /// The series with these labels, made if there is none. It can be found only by those who
    /// have its ref until a batch that appends to it commits. It may be gone again at once, unless
    /// it is pinned.
    pub(super) fn get_or_create(&self, labels: &Labels) -> Result<SeriesRef, AppendError> {
        let mut unpublished = self.unpublished.lock();
        let known = unpublished.by_labels.get(labels).copied().or_else(|| self.index.get(labels));
        if let Some(known) = known {
            return Ok(known);
        }
        self.check_labels(labels)?;
        let limit = self.limits.series;
        if self.stripes.counters().n_series() >= limit {
            return Err(AppendError::TooManySeries { limit });
        }
        let series = self.new_ref();
        self.stripes.insert(series);
        unpublished.by_labels.insert(labels.clone(), series);
        unpublished.by_ref.insert(series, labels.clone());
        Ok(series)
    }

    fn check_labels(&self, labels: &Labels) -> Result<(), AppendError> {
        if labels.is_empty() {
            return Err(AppendError::NoLabels);
        }
        let (found, limit) = (labels.len(), self.limits.labels);
        if found > limit {
            return Err(AppendError::TooManyLabels { found, limit });
        }
        let (found, limit) = (labels.size_bytes(), MAX_LABEL_SET_BYTES);
        if found > limit {
            return Err(AppendError::LabelSetTooLong { found, limit });
        }
        for (name, value) in labels {
            if name.is_empty() {
                return Err(AppendError::EmptyLabelName);
            }
            let (found, limit) = (name.len(), self.limits.label_name_bytes);
            if found > limit {
                return Err(AppendError::LabelNameTooLong { found, limit });
            }
            let (found, limit) = (value.len(), self.limits.label_value_bytes);
            if found > limit {
                let name = name.to_owned();
                return Err(AppendError::LabelValueTooLong { name, found, limit });
            }
        }
        Ok(())
    }

    /// Forgets those of `series` that no committed batch has appended to and no open batch holds
    /// samples of.
    pub(super) fn drop_unpublished(&self, series: &[SeriesRef]) {
        let mut unpublished = self.unpublished.lock();
        for of_page in series.chunk_by(|a, b| page_number(*a) == page_number(*b)) {
            let number = page_number(of_page[0]);
            let gone = self.stripes.remove_of_page(number, of_page.iter().copied(), |series| {
                !series.is_published() && !series.is_pinned()
            });
            for series in gone {
                if let Some(labels) = unpublished.by_ref.remove(&series) {
                    unpublished.by_labels.remove(&labels);
                }
            }
        }
    }

    /// Lets the series of a batch be found.
    pub(super) fn publish_series(
        &self,
        new_series: &mut Vec<(SeriesRef, Labels)>,
        batch: BatchId,
    ) -> Result<(), Error> {
        if new_series.is_empty() {
            return Ok(());
        }
        let oldest_reader = self.isolation.oldest_reader();
        let mut unpublished = self.unpublished.lock();
        unpublished.forget_recent(oldest_reader);
        // These are large only while many series come at once, so their memory is not kept.
        let new_series = mem::take(new_series);
        self.index.insert_all(&new_series).map_err(Error::index_all(new_series[0].0))?;
        for (series, labels) in &new_series {
            unpublished.by_ref.remove(series);
            unpublished.by_labels.remove(labels);
            unpublished.recent.push((batch, *series));
        }
        if unpublished.by_ref.is_empty() {
            unpublished.by_ref = HashMap::new();
            unpublished.by_labels = HashMap::new();
        }
        Ok(())
    }

    /// Series in the index that a reader of `seen` must not learn of.
    pub(crate) fn unseen_series(&self, seen: BatchId) -> Vec<SeriesRef> {
        let oldest_reader = self.isolation.oldest_reader();
        let mut unpublished = self.unpublished.lock();
        unpublished.forget_recent(oldest_reader);
        let unseen = unpublished.recent.iter().filter(|(batch, _)| *batch > seen);
        unseen.map(|(_, series)| *series).collect()
    }
}
