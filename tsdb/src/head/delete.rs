//! Deleting samples of the head: logged, and from then on left out of what is read.
//!
//! The samples stay in their chunks until a block is cut, which is made without them, or the log is
//! replayed. What is deleted of a series ends with its newest sample, so that later ones are not
//! concerned whatever range was named.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_index::{Matcher, SeriesRef};
use ferula_wal::record::tombstones::{self, Tombstone};

use super::Head;
use super::series::page_number;
use crate::error::Error;
use crate::tombstones::Tombstones;

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
        let Some((oldest, _)) = self.time_range() else { return Ok(()) };
        {
            // With this lock held nothing is logged, so a replay finds all that is deleted before
            // the record that says so, and nothing else.
            let _commit = self.commit.lock();
            self.check_writable()?;
            let deleted: Vec<Tombstone> = self
                .index
                .select(matchers)
                .iter()
                .filter_map(|series| {
                    let newest = self.newest_of(series)?;
                    Some(Tombstone { series, mint: mint.max(oldest), maxt: maxt.min(newest) })
                })
                .filter(|tombstone| tombstone.mint <= tombstone.maxt)
                .collect();
            if deleted.is_empty() {
                return Ok(());
            }
            self.log_deletion(&deleted)
                .inspect_err(|_| self.has_failed.store(true, Ordering::Release))?;
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

    fn newest_of(&self, series: SeriesRef) -> Option<i64> {
        let page = self.stripes.page(page_number(series))?;
        let page = page.lock();
        Some(page.view(series)?.newest()?.timestamp())
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
