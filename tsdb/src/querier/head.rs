//! Reading the head: which series there are to see, and in which range.

use std::collections::BTreeSet;
use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_index::postings::Postings;
use ferula_index::{Labels, Matcher, SeriesRef};

use crate::error::Error;
use crate::head::{Head, HeadChunk, PageCursor, ReadGuard, SeenChunks, Series};

/// A view of the head over a range of time.
#[derive(Clone, Debug)]
pub(crate) struct HeadReader {
    head: Arc<Head>,
    guard: Arc<ReadGuard>,
}

impl HeadReader {
    /// Begins to read what is visible now. Samples before `from` are left to the blocks.
    pub(crate) fn new(head: Arc<Head>, from: i64) -> Self {
        let guard = Arc::new(head.begin_read(from));
        Self { head, guard }
    }

    /// What this reader may see.
    pub(crate) fn guard(&self) -> &Arc<ReadGuard> {
        &self.guard
    }

    /// The series that pass all `matchers` and have samples from `mint` to `maxt`, in label order.
    pub(crate) fn select(
        &self,
        matchers: &[Matcher],
        mint: i64,
        maxt: i64,
    ) -> Vec<(Labels, Series)> {
        let mint = mint.max(self.guard.from());
        if !self.overlaps(mint, maxt) {
            return Vec::new();
        }
        let selected = self.head.index().select(matchers);
        let seen = self.guard.seen();
        let has_samples = |series: &Series| {
            series.view(|series| series.has_samples(mint, maxt, seen)).unwrap_or_default()
        };
        let mut pages = PageCursor::default();
        let series: Vec<Series> = selected
            .iter()
            .filter_map(|series| self.head.series(series, &mut pages).filter(has_samples))
            .collect();
        let refs: Vec<SeriesRef> = series.iter().map(|series| series.series_ref()).collect();
        let labels = self.head.index().labels_of(&refs);
        let mut found: Vec<(Labels, Series)> =
            labels.into_iter().zip(series).filter_map(|(l, series)| Some((l?, series))).collect();
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    /// The chunks of a series from `mint` to `maxt`, both inclusive, as a block stores them.
    pub(crate) fn chunks(
        &self,
        series: &Series,
        mint: i64,
        maxt: i64,
    ) -> Result<Vec<HeadChunk>, Error> {
        let chunks = series.view(|series| series.chunks(mint, maxt, self.guard.seen()));
        let into_chunks = |chunks: SeenChunks| chunks.into_chunks(self.head.files());
        chunks.flatten().map_or(Ok(Vec::new()), into_chunks)
    }

    /// Appends the samples of a series from `mint` to `maxt`, both inclusive, to `batch`.
    pub(crate) fn read(
        &self,
        series: &Series,
        mint: i64,
        maxt: i64,
        batch: &mut SampleBatch,
    ) -> Result<(), Error> {
        let mint = mint.max(self.guard.from());
        let chunks = series.view(|series| series.chunks(mint, maxt, self.guard.seen()));
        let decode = |chunks: SeenChunks| chunks.decode_into(self.head.files(), batch);
        chunks.flatten().map_or(Ok(()), decode)
    }

    /// Time of the oldest sample at or after `from`, as far as the ranges of the chunks tell: it
    /// lies in the block range of what is returned.
    pub(crate) fn oldest_from(&self, from: i64) -> Option<i64> {
        self.head.oldest_seen_from(from, self.guard.seen())
    }

    /// Names of the labels of series that pass all `matchers`, if the head overlaps the range.
    pub(crate) fn label_names(&self, matchers: &[Matcher], mint: i64, maxt: i64) -> Vec<String> {
        if !self.overlaps(mint.max(self.guard.from()), maxt) {
            return Vec::new();
        }
        let Some(seen) = self.seen_if_some_are_not(matchers) else {
            return self.head.index().label_names(matchers);
        };
        let mut names = BTreeSet::new();
        for labels in seen.iter().filter_map(|series| self.head.index().labels(series)) {
            names.extend(labels.iter().map(|(name, _)| name.to_owned()));
        }
        names.into_iter().collect()
    }

    /// Values of the label `name` among series that pass all `matchers`, if the head overlaps the
    /// range.
    pub(crate) fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        mint: i64,
        maxt: i64,
    ) -> Vec<String> {
        if !self.overlaps(mint.max(self.guard.from()), maxt) {
            return Vec::new();
        }
        let Some(seen) = self.seen_if_some_are_not(matchers) else {
            return self.head.index().label_values(name, matchers);
        };
        let mut values = BTreeSet::new();
        for labels in seen.iter().filter_map(|series| self.head.index().labels(series)) {
            values.extend(labels.get(name).map(str::to_owned));
        }
        values.into_iter().collect()
    }

    /// The selected series without those that this reader must not learn of yet; `None` if there
    /// are no such, which is the usual case.
    fn seen_if_some_are_not(&self, matchers: &[Matcher]) -> Option<Postings> {
        let unseen = self.head.unseen_series(self.guard.seen());
        if unseen.is_empty() {
            return None;
        }
        let mut selected = self.head.index().select(matchers);
        for series in unseen {
            selected.remove(series);
        }
        Some(selected)
    }

    fn overlaps(&self, mint: i64, maxt: i64) -> bool {
        let range = self.head.time_range();
        mint <= maxt && range.is_some_and(|(from, to)| from <= maxt && mint <= to)
    }
}
