//! Removing what blocks cover: chunks, and series that have none left.
//!
//! A reader that began before a block was cut reads the block's range from the head, so chunks stay
//! while such a reader is open; the next call removes them. A series stays while somebody holds
//! it, for it may be about to be appended to.

use std::sync::atomic::Ordering;

use ferula_index::SeriesRef;
use ferula_index::postings::Postings;

use super::Head;
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
        let synced = wal.sync().map_err(|source| Error::Wal { op: "sync", source });
        synced.inspect_err(|_| self.has_failed.store(true, Ordering::Release))
    }

    /// Removes what lies before `mint`, as far as no open reader needs it.
    pub(crate) fn truncate(&self, mint: i64) {
        let mint = self.isolation.oldest_from().map_or(mint, |from| from.min(mint));
        if self.time_range().is_none_or(|(oldest, _)| oldest >= mint) {
            return;
        }
        self.commit.lock().oldest = i64::MAX;
        let mut oldest = i64::MAX;
        self.stripes.for_each(|series| {
            let mut state = series.lock();
            state.truncate(mint);
            oldest = state.oldest().map_or(oldest, |time| time.min(oldest));
        });
        {
            // Batches that were committed meanwhile count too.
            let commit = self.commit.lock();
            self.times.mint.store(oldest.min(commit.oldest), Ordering::Release);
        }
        self.remove_empty_series();
    }

    /// Removes the series that have no samples, unless somebody holds them.
    pub(super) fn remove_empty_series(&self) {
        let mut empty = Vec::new();
        self.stripes.for_each(|series| {
            let state = series.lock();
            if state.is_empty() && state.is_published {
                empty.push(series.series_ref());
            }
        });
        for batch in empty.chunks(REMOVAL_BATCH) {
            // With this lock held nobody makes a series, so none is made twice.
            let mut unpublished = self.unpublished.lock();
            let is_gone = |series: &SeriesRef| {
                self.stripes.remove_if(*series, |series| series.lock().is_empty())
            };
            let gone: Postings = batch.iter().copied().filter(is_gone).collect();
            self.index.remove(&gone);
            unpublished.recent.retain(|(_, series)| !gone.contains(*series));
            self.aliases.lock().retain(|_, known| !gone.contains(*known));
        }
    }

    /// Tells whether the log must keep the record of a series when it is condensed.
    pub(crate) fn needs_record_of(&self, series: SeriesRef) -> bool {
        self.has_opaque_records
            || self.stripes.get(series).is_some()
            || self.aliases.lock().contains_key(&series)
    }
}
