//! Deleting samples of the head: logged, and from then on left out of what is read.
//!
//! The samples stay in their chunks until a block is cut, which is made without them, or the log is
//! replayed. What is deleted of the samples of a series in order ends with its newest sample, so that later ones are not
//! concerned whatever range was named.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_index::{Matcher, SeriesRef};
use ferula_wal::record::tombstones::{self, Tombstone};

use super::Head;
use super::series::{Newest, page_number};
use crate::error::Error;
use crate::tombstones::{Interval, Tombstones};

/// Intervals of one record: some 2 MiB.
const RECORD_INTERVALS: usize = 100_000;

impl Head {
    /// What is deleted of the samples in memory.
    pub(crate) fn tombstones(&self) -> Arc<Tombstones> {
        Arc::clone(&self.tombstones.read())
    }

    /// Deletes the samples from `mint` to `maxt`, both inclusive, of the series that pass all
    /// `matchers`, durably.
    pub(crate) fn delete(&self, matchers: &[Matcher], mint: i64, maxt: i64) -> Result<(), Error> {
        let oldest = self.time_range().map_or(i64::MAX, |(oldest, _)| oldest);
        if oldest == i64::MAX && !self.has_out_of_order() {
            return Ok(());
        }
        {
            // With this lock held nothing is logged, so a replay finds all that is deleted before
            // the record that says so, and nothing else.
            let _commit = self.commit.lock();
            self.check_writable()?;
            let (mut deleted, mut late) = (Vec::new(), Vec::new());
            for series in &self.index.select(matchers) {
                let (newest, late_range) = self.times_of(series);
                let within = |(from, to): (i64, i64)| {
                    let (mint, maxt) = (mint.max(from), maxt.min(to));
                    (mint <= maxt).then_some(Tombstone { series, mint, maxt })
                };
                deleted.extend(newest.and_then(|newest| within((oldest, newest))));
                late.extend(late_range.and_then(within));
            }
            if deleted.is_empty() && late.is_empty() {
                return Ok(());
            }
            self.log_deletion(&deleted)
                .and_then(|()| self.log_deletion(&late))
                .inspect_err(|_| self.has_failed.store(true, Ordering::Release))?;
            self.delete_out_of_order(&late);
            let mut tombstones = self.tombstones.write();
            let noted = Arc::make_mut(&mut tombstones);
            for Tombstone { series, mint, maxt } in deleted {
                noted.add(series, mint, maxt);
            }
        }
        self.sync()
    }

    /// Forgets what is deleted before `mint`, where no reader will look any more.
    pub(super) fn truncate_tombstones(&self, mint: i64) {
        let mut tombstones = self.tombstones.write();
        if !tombstones.is_empty() {
            Arc::make_mut(&mut tombstones).truncate(mint);
        }
    }

    /// Time of the newest sample of a series, and the range of those that came out of order.
    fn times_of(&self, series: SeriesRef) -> (Option<i64>, Option<Interval>) {
        let Some(page) = self.stripes.page(page_number(series)) else { return (None, None) };
        let page = page.lock();
        let view = page.view(series);
        let newest = view.and_then(|view| view.newest()).map(Newest::timestamp);
        (newest, view.and_then(|view| view.out_of_order_range()))
    }

    fn log_deletion(&self, deleted: &[Tombstone]) -> Result<(), Error> {
        let Some(wal) = &self.wal else { return Ok(()) };
        let mut record = Vec::new();
        for deleted in deleted.chunks(RECORD_INTERVALS) {
            record.clear();
            tombstones::encode(deleted.iter().copied(), &mut record);
            wal.log(&[&record]).map_err(|source| Error::Wal { op: "append to", source })?;
        }
        Ok(())
    }
}
