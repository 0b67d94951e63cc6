//! Removing what blocks cover: chunks, and series that have none left.
//!
//! A reader that began before a block was cut reads the block's range from the head, so chunks stay
//! while such a reader is open; the next call removes them. A series stays while a
//! batch holds samples of it, for it is about to be appended to.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::Ordering;

use ferula_index::SeriesRef;
use ferula_index::postings::Postings;
use ferula_wal::Wal;
use parking_lot::Mutex;

use super::Head;
use super::series::{SeriesView, page_number};
use crate::error::Error;

/// What was removed of the series that the log still names.
///
/// The log may say more of them after the part of it that is condensed, under their refs: without
/// their records that would be lost, and what was said before of the same labels, under an earlier
/// ref, would be taken for the newest.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// The refs, with the segment that was written when they were removed: none after it names them.
    by_segment: Mutex<BTreeMap<u32, Postings>>,
    /// The segment that was written first. What was removed before then is not known.
    first: u32,
}

impl Removed {
    /// Knows nothing of segments before `first`.
    pub(super) fn since(first: u32) -> Self {
        Self { first, ..Self::default() }
    }

    fn add(&self, segment: Option<u32>, series: Vec<SeriesRef>) {
        let Some(segment) = segment.filter(|_| !series.is_empty()) else { return };
        let mut by_segment = self.by_segment.lock();
        let removed = by_segment.entry(segment).or_default();
        series.into_iter().for_each(|series| {
            removed.insert(series);
        });
    }

    fn is_named_after(&self, series: SeriesRef, segment: u32) -> bool {
        let is_unknown = segment < self.first;
        let after = (Bound::Excluded(segment), Bound::Unbounded);
        is_unknown || self.by_segment.lock().range(after).any(|(_, gone)| gone.contains(series))
    }

    fn forget_until(&self, segment: u32) {
        self.by_segment.lock().retain(|removed_at, _| *removed_at > segment);
    }
}

/// Series removed under one hold of the lock that appenders need for new series.
const REMOVAL_BATCH: usize = 1024;

impl Head {
    /// Takes no samples before `end` from now on, and waits until all that were taken are visible
    /// and durable. What lies before `end` does not change any more after that.
    pub(crate) fn seal_before(&self, end: i64) -> Result<(), Error> {
        let newest = {
            let commit = self.commit.lock();
            self.times.valid_from.fetch_max(end, Ordering::AcqRel);
            commit.newest
        };
        self.sync()?;
        self.isolation.publish(newest);
        Ok(())
    }

    /// Makes what is committed durable, whatever the sync policy.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let Some(wal) = &self.wal else { return Ok(()) };
        wal.sync().map_err(|source| Error::Wal { op: "sync", source })
    }

    /// Removes what lies before `mint`, as far as no open reader needs it.
    ///
    /// Fails if files cannot be removed; nothing in them is needed any more.
    pub(crate) fn truncate(&self, mint: i64) -> Result<(), Error> {
        let mint = self.isolation.oldest_from().map_or(mint, |from| from.min(mint));
        if self.time_range().is_none_or(|(oldest, _)| oldest >= mint) {
            return Ok(());
        }
        self.commit.lock().oldest = i64::MAX;
        let mut oldest = i64::MAX;
        self.stripes.for_each_page(|page| {
            page.change(|page| page.truncate(mint));
            let page = page.lock();
            let of_page = page.views().filter_map(|series| series.oldest()).min();
            oldest = of_page.map_or(oldest, |time| time.min(oldest));
        });
        {
            // Batches that were committed meanwhile count too.
            let commit = self.commit.lock();
            self.times.mint.store(oldest.min(commit.oldest), Ordering::Release);
        }
        self.remove_empty_series();
        self.truncate_tombstones(mint);
        let Some(files) = &self.files else { return Ok(()) };
        files.truncate(mint).map(drop)
    }

    /// Removes the series that have no samples, unless some batch holds one.
    pub(super) fn remove_empty_series(&self) {
        let is_due = |series: SeriesView<'_>| {
            series.is_empty()
                && !series.has_out_of_order()
                && series.is_published()
                && !series.is_pinned()
        };
        let mut empty = Vec::new();
        self.stripes.for_each_page(|page| {
            let page = page.lock();
            let due = page.views().filter(|series| is_due(*series));
            empty.extend(due.map(|series| series.series_ref()));
        });
        for batch in empty.chunks(REMOVAL_BATCH) {
            // With this lock held nobody makes a series, so none is made twice.
            let mut unpublished = self.unpublished.lock();
            let mut gone = Vec::new();
            for of_page in batch.chunk_by(|a, b| page_number(*a) == page_number(*b)) {
                let number = page_number(of_page[0]);
                let of_page = of_page.iter().copied();
                gone.extend(self.stripes.remove_of_page(number, of_page, is_due));
            }
            let gone: Postings = gone.into_iter().collect();
            self.index.remove(&gone);
            self.metadata.remove(&gone);
            unpublished.forget(|series| gone.contains(series));
            let mut called: Vec<SeriesRef> = gone.iter().collect();
            self.aliases.lock().retain(|alias, known| {
                let is_gone = gone.contains(*known);
                called.extend(is_gone.then_some(*alias));
                !is_gone
            });
            self.removed.add(self.wal.as_ref().map(Wal::current_segment), called);
        }
    }

    /// Tells whether the log must keep the record of a series when it is condensed up to and with the
    /// segment `through`.
    pub(crate) fn needs_record_of(&self, series: SeriesRef, through: u32) -> bool {
        self.has_opaque_records
            || self.stripes.has(series)
            || self.aliases.lock().contains_key(&series)
            || self.removed.is_named_after(series, through)
    }

    /// Notes that the log was condensed up to and with the segment `through`.
    pub(crate) fn note_condensed(&self, through: u32) {
        self.removed.forget_until(through);
    }
}
