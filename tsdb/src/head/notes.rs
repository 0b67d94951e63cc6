//! What a batch holds of series beside their samples.
//!
//! It was checked when the batch took it; at the commit it is checked again, for other batches may
//! have come first, and the series it is of must be there for everybody by then.

use std::collections::HashSet;
use std::sync::Arc;

use ferula_index::SeriesRef;
use ferula_wal::record::exemplars::RefExemplar;

use super::Head;
use super::exemplars::{Logged, Offer};
use super::isolation::BatchId;
use super::metadata::Described;
use super::series::page_number;
use crate::exemplar::Exemplar;
use crate::metadata::Metadata;

/// Bytes that the log takes for an exemplar beside its labels, at most.
const EXEMPLAR_BYTES: usize = 40;

/// Bytes that the log takes for the metadata of a series beside its texts, at most.
const METADATA_BYTES: usize = 48;

/// What a batch holds of series beside their samples.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) exemplars: Vec<RefExemplar>,
    /// Bytes that the log takes for them, about.
    pub(super) exemplar_bytes: usize,
    /// Series and what they say from now on.
    pub(super) metadata: Vec<(SeriesRef, Arc<Described>)>,
    /// Those series.
    pub(super) described: HashSet<SeriesRef>,
    /// Bytes that the log takes for it, about.
    pub(super) metadata_bytes: usize,
}

/// What applying notes came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AppliedNotes {
    pub(super) exemplars: usize,
    pub(super) refused_exemplars: usize,
    pub(super) metadata: usize,
}

impl Notes {
    /// Tells whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.exemplars.is_empty() && self.metadata.is_empty()
    }
}

/// Bytes that the log takes for an exemplar, about.
pub(super) fn exemplar_bytes(exemplar: &Exemplar) -> usize {
    EXEMPLAR_BYTES + exemplar.labels.size_bytes()
}

/// Bytes that the log takes for the metadata of one series, about.
pub(super) fn metadata_bytes(metadata: &Metadata) -> usize {
    METADATA_BYTES + metadata.size_bytes()
}

impl Head {
    /// Applies the notes of a batch whose samples are applied. What is there already leaves them, and
    /// so does what is refused.
    pub(super) fn apply_notes(&self, notes: &mut Notes, batch: BatchId) -> AppliedNotes {
        let mut applied = AppliedNotes::default();
        notes.exemplars.retain(|RefExemplar { series, timestamp, value, labels }| {
            let series = *series;
            let exemplar = Exemplar::new(*timestamp, *value, labels.clone());
            let offered = Logged { logged_as: series, exemplar };
            let labels = || {
                let unpublished = || self.unpublished.lock().labels(series).cloned();
                self.index.labels(series).or_else(unpublished)
            };
            let offer = match self.is_published(series) {
                true => self.exemplars.add(series, labels, offered, batch).ok(),
                false => None,
            };
            applied.exemplars += usize::from(offer == Some(Offer::New));
            applied.refused_exemplars += usize::from(offer.is_none());
            offer == Some(Offer::New)
        });
        let visible = self.isolation.newest();
        notes.metadata.retain(|(series, described)| {
            self.is_published(*series) && self.metadata.update(*series, described, batch, visible)
        });
        applied.metadata = notes.metadata.len();
        applied
    }

    /// Tells whether a committed batch, or the one that is being committed, has appended to a series.
    fn is_published(&self, series: SeriesRef) -> bool {
        let page = self.stripes.page(page_number(series));
        let is_published = |page: &super::series::PageState| {
            page.view(series).is_some_and(|view| view.is_published())
        };
        page.is_some_and(|page| is_published(&page.lock()))
    }
}
