//! Samples that come out of order, within a window before the newest sample of the head.
//!
//! They go to [chunks of their own](super::series), and into two logs. The batch in the log has all
//! of its samples, those out of order announced by a record of their own with a number that counts
//! such batches: so a batch is whole or not there, whatever happens, and as durable as the others.
//! Then they are [logged](log) once more to `wbl/`, the log of such samples that Prometheus has, with
//! the same number and nothing but what is out of order. It keeps them when the log is condensed, which
//! waits for it; until then it may lag behind or be lost. An opening [reads](replay) `wbl/` up to
//! the last batch that the log has too, and the batches after that from the log.
//!
//! When blocks are cut all of them become blocks of their own, and a new [`Era`] begins.

mod delete;
mod log;
mod replay;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use ferula_index::{ChunkRef, SeriesRef};
use ferula_wal::Wal;
use ferula_wal::record::samples_v2::RefStartedSample;
use ferula_wal::record::tombstones::Tombstone;
use parking_lot::{Mutex, RwLock};

pub(crate) use self::delete::DeletedOutOfOrder;
pub(super) use self::log::LogOutOfOrder;
use self::replay::Logged;
pub(crate) use self::replay::{LateReplay, LateStats};
use super::Head;
use super::batch::PendingHistogram;
use super::isolation::{BatchId, Views};
use super::series::{
    AppendContext, Era, InsertContext, SealedChunk, SeriesMut, SeriesView, Sought, page_number,
};
use crate::error::Error;
use crate::recode::{Recoded, Value};

/// What the head keeps of samples out of order beside the samples.
#[derive(Debug)]
pub(super) struct OutOfOrderState {
    window_ms: i64,
    /// The log of such samples, once there may be some.
    wbl: Option<Wal>,
    /// Whether that log lacks something that the log has.
    is_behind: AtomicBool,
    era: AtomicU64,
    /// Times of the earliest and the latest sample there has been.
    mint: AtomicI64,
    maxt: AtomicI64,
    deleted: RwLock<Arc<DeletedOutOfOrder>>,
    appended: AtomicU64,
    /// What the replay of the log leaves to that of samples out of order.
    logged: Mutex<Logged>,
}

impl OutOfOrderState {
    pub(super) fn new(window_ms: i64) -> Self {
        Self {
            window_ms,
            wbl: None,
            is_behind: AtomicBool::new(false),
            era: AtomicU64::new(0),
            mint: AtomicI64::new(i64::MAX),
            maxt: AtomicI64::new(i64::MIN),
            deleted: RwLock::default(),
            appended: AtomicU64::new(0),
            logged: Mutex::default(),
        }
    }

    /// The era that samples are of now. It changes under the commit lock only.
    pub(super) fn era(&self) -> Era {
        Era(self.era.load(Ordering::Acquire))
    }

    /// Begins an era. The commit lock is held.
    fn begin_era(&self) -> Era {
        Era(self.era.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Notes what the log tells.
    pub(super) fn note_logged(&self, newest: u64, deleted: Vec<(u64, Tombstone)>) {
        *self.logged.lock() = Logged { newest: Some(newest), deleted };
    }

    fn note_times(&self, mint: i64, maxt: i64) {
        self.mint.fetch_min(mint, Ordering::AcqRel);
        self.maxt.fetch_max(maxt, Ordering::AcqRel);
    }
}

/// What came out of order with a batch, in order of arrival.
#[derive(Debug)]
pub(super) struct Arrivals {
    era: Era,
    pub(super) events: Vec<Arrival>,
    pub(super) n_samples: usize,
    mint: i64,
    maxt: i64,
}

/// Something that happened to samples out of order.
#[derive(Clone, Debug)]
pub(super) enum Arrival {
    Float(RefStartedSample),
    Histogram(PendingHistogram),
    /// The samples of a series so far became a chunk.
    Sealed(SealedChunk),
    /// They are in a file.
    Stored(SeriesRef, ChunkRef),
}

impl Arrival {
    /// A sample of a series.
    fn of(series: SeriesRef, sample: Recoded) -> Self {
        let Recoded { start, timestamp, value } = sample;
        match value {
            Value::Float(value) => {
                let start_timestamp = start;
                Self::Float(RefStartedSample { series, start_timestamp, timestamp, value })
            }
            Value::Histogram(histogram) => {
                let histogram = *histogram;
                Self::Histogram(PendingHistogram { series, start, timestamp, histogram })
            }
        }
    }
}

impl Arrivals {
    pub(super) fn new(era: Era) -> Self {
        Self { era, events: Vec::new(), n_samples: 0, mint: i64::MAX, maxt: i64::MIN }
    }

    /// Takes a sample into its series. False if the series has another one in its place.
    pub(super) fn insert(
        &mut self,
        found: &mut SeriesMut<'_>,
        sample: Recoded,
        context: AppendContext<'_>,
    ) -> bool {
        let AppendContext { batch, views, .. } = context;
        let mut sealed = Vec::new();
        let context = InsertContext { batch, views, era: self.era };
        let timestamp = sample.timestamp;
        let is_inserted = found.insert(sample.clone(), context, &mut sealed);
        self.events.extend(sealed.into_iter().map(Arrival::Sealed));
        if is_inserted {
            self.events.push(Arrival::of(found.series_ref(), sample));
            self.n_samples += 1;
            (self.mint, self.maxt) = (self.mint.min(timestamp), self.maxt.max(timestamp));
        }
        is_inserted
    }
}

impl Head {
    /// Earliest time that a batch which begins now accepts out of order: as far back from the newest
    /// sample, or from the end of the blocks, as the window says. `None` if it accepts none.
    pub(super) fn oldest_out_of_order(&self) -> Option<i64> {
        let window_ms = self.out_of_order.window_ms;
        if window_ms == 0 {
            return None;
        }
        let valid_from = self.times.valid_from.load(Ordering::Acquire);
        let newest = self.time_range().map_or(valid_from, |(_, maxt)| maxt);
        Some(newest.saturating_sub(window_ms))
    }

    /// Writes chunks that became full to the files. Those that cannot be written stay in memory.
    pub(super) fn store_sealed(&self, arrivals: &mut Arrivals) {
        for event in &mut arrivals.events {
            if let Arrival::Sealed(sealed) = event
                && let Some(at) = self.store_chunk(sealed)
            {
                *event = Arrival::Stored(sealed.series, at);
            }
        }
        if arrivals.n_samples > 0 {
            self.out_of_order.note_times(arrivals.mint, arrivals.maxt);
        }
    }

    /// Writes a chunk to the files, if there are some and they take it.
    fn store_chunk(&self, sealed: &SealedChunk) -> Option<ChunkRef> {
        let files = self.files().filter(|files| !files.is_read_only())?;
        let SealedChunk { series, mint, maxt, chunk, .. } = sealed;
        let at = files.write(*series, (*mint, *maxt), chunk.encoding, true, &chunk.data).ok()?;
        self.note_stored(sealed, at).then_some(at)
    }

    /// Notes where a chunk is stored.
    fn note_stored(&self, sealed: &SealedChunk, at: ChunkRef) -> bool {
        let Some(page) = self.stripes.page(page_number(sealed.series)) else { return false };
        let is_noted = page.change(|page| {
            let found = page.series_mut(sealed.series);
            found.is_some_and(|mut found| found.note_sealed(sealed.number, at))
        });
        if let Some(files) = self.files()
            && is_noted
        {
            files.pin(at);
        }
        is_noted
    }

    /// Tells whether any series has samples out of order.
    pub(crate) fn has_out_of_order(&self) -> bool {
        self.stripes.counters().n_ooo_series() > 0
    }

    /// Times of the earliest and the latest sample out of order that there may be.
    pub(crate) fn out_of_order_range(&self) -> Option<(i64, i64)> {
        let state = &self.out_of_order;
        let times = (state.mint.load(Ordering::Acquire), state.maxt.load(Ordering::Acquire));
        Some(times).filter(|_| self.has_out_of_order())
    }

    /// Samples committed out of order.
    pub(crate) fn n_out_of_order(&self) -> u64 {
        self.out_of_order.appended.load(Ordering::Relaxed)
    }

    pub(super) fn count_out_of_order(&self, n_samples: usize) {
        self.out_of_order.appended.fetch_add(n_samples as u64, Ordering::Relaxed);
    }

    /// Notes what is deleted of the samples out of order that are there. The commit lock is held.
    pub(super) fn delete_out_of_order(&self, deleted: &[Tombstone]) {
        if deleted.is_empty() {
            return;
        }
        // What comes from now on is of another era, and stays.
        let era = self.out_of_order.begin_era();
        let mut noted = self.out_of_order.deleted.write();
        let noted = Arc::make_mut(&mut noted);
        for Tombstone { series, mint, maxt } in deleted {
            noted.add(*series, *mint, *maxt, era);
        }
    }

    /// What is deleted of samples out of order.
    pub(crate) fn deleted_out_of_order(&self) -> Arc<DeletedOutOfOrder> {
        Arc::clone(&self.out_of_order.deleted.read())
    }

    /// Looks at every series that has samples out of order.
    pub(crate) fn for_each_out_of_order(&self, mut look: impl FnMut(SeriesView<'_>)) {
        if !self.has_out_of_order() {
            return;
        }
        self.stripes.for_each_page(|page| {
            let page = page.lock();
            for series in page.out_of_order_series() {
                if let Some(view) = page.view(series) {
                    look(view);
                }
            }
        });
    }

    /// Makes chunks of all samples out of order that are there, and begins an era: what came before
    /// it is complete, visible and durable. `None` if there are none.
    ///
    /// Returns the era, and the segment of the log of such samples that begins with it.
    pub(crate) fn seal_out_of_order(&self) -> Result<Option<(Era, Option<u32>)>, Error> {
        if !self.has_out_of_order() {
            return Ok(None);
        }
        let (era, segment, newest) = {
            let mut commit = self.commit.lock();
            self.check_writable()?;
            self.catch_up(&mut commit)?;
            let segment = self.begin_segment(&commit)?;
            (self.out_of_order.begin_era(), segment, commit.newest)
        };
        self.sync()?;
        self.isolation.publish(newest);
        let views = {
            let mut views = Views::default();
            self.isolation.read_views(&mut views);
            views
        };
        self.stripes.for_each_page(|page| {
            let series = page.lock().out_of_order_series();
            for of_page in series {
                page.change(|page| {
                    if let Some(mut found) = page.series_mut(of_page) {
                        found.seal(era, &views, &mut Vec::new());
                    }
                });
            }
        });
        Ok(Some((era, segment)))
    }

    /// Removes the samples out of order of eras before `until`, as far as no open reader needs them,
    /// and then the segments before `segment` of the log of such samples.
    pub(crate) fn truncate_out_of_order(
        &self,
        until: Era,
        segment: Option<u32>,
    ) -> Result<(), Error> {
        self.remove_out_of_order(until)?;
        if let (Some(wbl), Some(segment)) = (&self.out_of_order.wbl, segment) {
            let failed = |source| Error::Wal { op: "truncate", source };
            // Only what is durable elsewhere goes: the number of the last batch is in the segment.
            wbl.sync().map_err(failed)?;
            wbl.truncate_before(segment).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes the samples out of order of eras before `until`, as far as no open reader needs them.
    pub(crate) fn remove_out_of_order(&self, until: Era) -> Result<(), Error> {
        if !self.has_out_of_order() {
            return Ok(());
        }
        let until = self.isolation.oldest_era().map_or(until, |era| era.min(until));
        let mut released = Vec::new();
        self.stripes.for_each_page(|page| {
            let series = page.lock().out_of_order_series();
            if series.is_empty() {
                return;
            }
            page.change(|page| {
                for of_page in series {
                    if let Some(mut found) = page.series_mut(of_page) {
                        found.truncate_out_of_order(until, |at| released.push(at));
                    }
                }
                page.shrink_out_of_order();
            });
        });
        {
            let _commit = self.commit.lock();
            if !self.has_out_of_order() {
                self.out_of_order.mint.store(i64::MAX, Ordering::Release);
                self.out_of_order.maxt.store(i64::MIN, Ordering::Release);
            }
            let mut deleted = self.out_of_order.deleted.write();
            if !deleted.is_empty() {
                Arc::make_mut(&mut deleted).truncate(until);
            }
        }
        self.remove_empty_series();
        let Some(files) = self.files() else { return Ok(()) };
        released.into_iter().for_each(|at| files.unpin(at));
        Ok(())
    }

    /// What there is out of order for a reader who sees all.
    fn all_out_of_order() -> Sought {
        Sought {
            mint: i64::MIN,
            maxt: i64::MAX,
            seen: BatchId(u64::MAX),
            from: Era(0),
            until: Era(u64::MAX),
        }
    }
}
