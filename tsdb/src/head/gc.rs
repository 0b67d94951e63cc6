//! Removing what blocks cover: chunks, and series that have none left.
//!
//! A reader that began before a block was cut reads the block's range from the head, so chunks stay
//! while such a reader is open; the next call removes them. A series stays while a
//! batch holds samples of it, for it is about to be appended to.

use std::sync::atomic::Ordering;

use ferula_index::SeriesRef;
use ferula_index::postings::Postings;

use super::Head;
use super::series::{SeriesView, page_number};
use crate::error::Error;

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
            series.is_empty() && series.is_published() && !series.is_pinned()
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
            self.aliases.lock().retain(|_, known| !gone.contains(*known));
        }
    }

    /// Tells whether the log must keep the record of a series when it is condensed.
    pub(crate) fn needs_record_of(&self, series: SeriesRef) -> bool {
        self.has_opaque_records
            || self.stripes.has(series)
            || self.aliases.lock().contains_key(&series)
    }
}
