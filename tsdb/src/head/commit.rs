//! Committing batches: one after the other to memory and to the log, together to the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_index::{Labels, SeriesRef};
use ferula_wal::record::series as series_record;
use ferula_wal::{Lsn, Reservation};

use super::Head;
use super::appender::Committed;
use super::batch::Batch;
use super::isolation::{BatchId, Views};
use super::notes::AppliedNotes;
use super::out_of_order::LogOutOfOrder;
use super::records::Records;
use super::series::Page;
use crate::error::Error;

/// Bytes of labels that are logged together at most, one label set excepted.
const MAX_SERIES_RECORD_BYTES: usize = 1 << 20;

/// State of the one commit that goes on, and its buffers.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) newest: BatchId,
    /// The end of the newest batch in the log.
    lsn: Option<Lsn>,
    /// Time of the oldest sample committed since the last truncation began.
    pub(super) oldest: i64,
    new_series: Vec<(SeriesRef, Labels)>,
    /// The records of one batch, without those of series.
    records: Records,
    series_record: Vec<u8>,
    /// What is logged of samples out of order.
    pub(super) late: LogOutOfOrder,
    views: Views,
}

/// A batch that is in memory and handed to the log.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) done: Committed,
    batch: BatchId,
    lsn: Option<Lsn>,
    /// Samples out of order, and their place in the log of such.
    n_late: usize,
    late_lsn: Option<Lsn>,
}

impl Commit {
    pub(super) fn new() -> Self {
        Self {
            newest: BatchId::REPLAYED,
            lsn: None,
            oldest: i64::MAX,
            new_series: Vec::new(),
            records: Records::default(),
            series_record: Vec::new(),
            late: LogOutOfOrder::default(),
            views: Views::default(),
        }
    }
}

impl Head {
    /// Logs a batch, applies it, and makes it visible.
    pub(super) fn commit(&self, batch: &mut Batch) -> Result<Committed, Error> {
        let Staged { done, batch, lsn, n_late, late_lsn } = self.stage(batch)?;
        if let (Some(wal), Some(lsn)) = (&self.wal, lsn) {
            // Commits that wait here at the same time share one sync.
            if let Err(source) = wal.commit(lsn) {
                self.in_doubt.fetch_add(done.samples as u64, Ordering::Relaxed);
                self.is_in_doubt.store(true, Ordering::Release);
                return Err(Error::LogStopped { source });
            }
        }
        self.isolation.publish(batch);
        if done.metadata > 0 {
            self.metadata.settle(self.isolation.newest());
        }
        self.appended.fetch_add(done.samples as u64, Ordering::Relaxed);
        if n_late > 0 {
            self.count_out_of_order(n_late);
            self.commit_out_of_order(late_lsn);
        }
        self.write_some_full_chunks();
        Ok(done)
    }

    /// Makes batches visible that are in doubt, if the log can go on.
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if !self.is_in_doubt.load(Ordering::Acquire) {
            return Ok(());
        }
        self.reserve(&self.commit.lock()).map(drop)
    }

    /// Has the log promise to take a batch. If it had stopped, the batches that were logged and not
    /// acknowledged become visible now: later ones must not without them.
    fn reserve(&self, commit: &Commit) -> Result<Option<Reservation<'_>>, Error> {
        let Some(wal) = &self.wal else { return Ok(None) };
        let stopped = |source| Error::LogStopped { source };
        let reservation = wal.reserve().map_err(stopped)?;
        if self.is_in_doubt.load(Ordering::Acquire) {
            if let Some(lsn) = commit.lsn {
                wal.commit(lsn).map_err(stopped)?;
            }
            self.is_in_doubt.store(false, Ordering::Release);
            self.isolation.publish(commit.newest);
            let samples = self.in_doubt.swap(0, Ordering::Relaxed);
            self.appended.fetch_add(samples, Ordering::Relaxed);
        }
        Ok(Some(reservation))
    }

    /// Applies a batch and hands it to the log. It is neither durable nor visible yet. What is left
    /// in the batch are the samples that were not there already.
    pub(super) fn stage(&self, batch: &mut Batch) -> Result<Staged, Error> {
        let mut commit = self.commit.lock();
        self.check_writable()?;
        // Once the batch is applied it must be logged: no later one may become visible without it.
        let reservation = self.reserve(&commit)?;
        let id = BatchId(commit.newest.0 + 1);
        self.isolation.read_views(&mut commit.views);
        let applied = self.apply(batch, id, &commit.views);
        let late = &applied.out_of_order;
        let n_late = late.n_samples;
        let AppliedNotes { exemplars, refused_exemplars, metadata } =
            self.apply_notes(&mut batch.notes, id);
        let (samples, refused) = (batch.len() + n_late, applied.refused);
        let refused_histograms = applied.refused_histograms;
        let done = Committed {
            samples,
            refused,
            refused_histograms,
            exemplars,
            refused_exemplars,
            metadata,
        };
        self.refused.fetch_add(applied.refused as u64, Ordering::Relaxed);
        if batch.is_empty() && batch.notes.is_empty() && n_late == 0 {
            // What it repeats may be of a batch that is not durable yet, so wait for that one.
            let (batch, lsn) = (commit.newest, commit.lsn);
            return Ok(Staged { done, batch, lsn, n_late, late_lsn: None });
        }
        commit.late.encode(&late.events);
        commit.new_series.clear();
        if !applied.new_series.is_empty() {
            let unpublished = self.unpublished.lock();
            let labels = |series: SeriesRef| Some((series, unpublished.labels(series)?.clone()));
            commit.new_series.extend(applied.new_series.iter().copied().filter_map(labels));
        }
        let logged = match &reservation {
            Some(reservation) => log(batch, &mut commit, reservation).map(Some),
            None => Ok(None),
        };
        let lsn = logged.inspect_err(|_| self.has_failed.store(true, Ordering::Release))?;
        let published = self.publish_series(&mut commit.new_series, id);
        published.inspect_err(|_| self.has_failed.store(true, Ordering::Release))?;
        let late_lsn = if n_late > 0 { self.log_out_of_order(&commit) } else { None };
        (commit.newest, commit.lsn) = (id, lsn);
        commit.oldest = commit.oldest.min(applied.mint);
        self.times.mint.fetch_min(applied.mint, Ordering::AcqRel);
        self.times.maxt.fetch_max(applied.maxt, Ordering::AcqRel);
        Ok(Staged { done, batch: id, lsn, n_late, late_lsn })
    }

    /// A page with series that an open batch holds samples of.
    pub(super) fn page_of_pinned(&self, number: u64) -> Arc<Page> {
        self.stripes.page(number).expect("a series stays while a batch holds samples of it")
    }
}

/// Logs the new series and the samples of a batch, so that a crash leaves all of them or none.
fn log(batch: &Batch, commit: &mut Commit, wal: &Reservation<'_>) -> Result<Lsn, Error> {
    let Commit { new_series, records, series_record, late, .. } = commit;
    let failed = |source| Error::Wal { op: "append to", source };
    records.encode(batch);

    let mut rest = new_series.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let n = rest.iter().take_while(|(_, labels)| {
            bytes += labels.size_bytes();
            bytes <= MAX_SERIES_RECORD_BYTES
        });
        let (now, later) = rest.split_at(n.count().max(1));
        series_record.clear();
        series_record::encode(now.iter().map(|(series, labels)| (*series, labels)), series_record);
        if later.is_empty() {
            let series = [series_record.as_slice()].into_iter();
            let records: Vec<&[u8]> = series.chain(records.iter()).chain(late.of_log()).collect();
            return wal.log(&records).map_err(failed);
        }
        // A series without samples is invisible, so the batch is not torn by these.
        wal.log(&[series_record]).map_err(failed)?;
        rest = later;
    }
    let logged = match records.single().filter(|_| late.is_empty()) {
        Some(record) => wal.log(&[record]),
        None => wal.log(&records.iter().chain(late.of_log()).collect::<Vec<_>>()),
    };
    logged.map_err(failed)
}
