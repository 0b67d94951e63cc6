//! Committing batches: one after the other to memory and to the log, together to the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferula_index::{Labels, SeriesRef};

use ferula_wal::record::samples::RefSample;
use ferula_wal::record::{samples, series as series_record};
use ferula_wal::{Lsn, Reservation};

use super::Head;
use super::appender::{Batch, Committed};
use super::isolation::{BatchId, Views};
use super::series::{AppendContext, Page, PageState, page_number};
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
    record: Vec<u8>,
    series_record: Vec<u8>,
    views: Views,
}

/// A batch that is in memory and handed to the log.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) done: Committed,
    batch: BatchId,
    lsn: Option<Lsn>,
}

/// What applying a batch came to.
#[derive(Debug)]
struct Applied {
    refused: usize,
    mint: i64,
    maxt: i64,
    /// Series that no committed batch had appended to.
    new_series: Vec<SeriesRef>,
}

impl Commit {
    pub(super) fn new() -> Self {
        Self {
            newest: BatchId::REPLAYED,
            lsn: None,
            oldest: i64::MAX,
            new_series: Vec::new(),
            record: Vec::new(),
            series_record: Vec::new(),
            views: Views::default(),
        }
    }
}

impl Head {
    /// Logs a batch, applies it, and makes it visible.
    pub(super) fn commit(&self, batch: &mut Batch) -> Result<Committed, Error> {
        let Staged { done, batch, lsn } = self.stage(batch)?;
        if let (Some(wal), Some(lsn)) = (&self.wal, lsn) {
            // Commits that wait here at the same time share one sync.
            if let Err(source) = wal.commit(lsn) {
                self.in_doubt.fetch_add(done.samples as u64, Ordering::Relaxed);
                self.is_in_doubt.store(true, Ordering::Release);
                return Err(Error::LogStopped { source });
            }
        }
        self.isolation.publish(batch);
        self.appended.fetch_add(done.samples as u64, Ordering::Relaxed);
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
        let done = Committed { samples: batch.len(), refused: applied.refused };
        self.refused.fetch_add(applied.refused as u64, Ordering::Relaxed);
        if batch.is_empty() {
            // What it repeats may be of a batch that is not durable yet, so wait for that one.
            return Ok(Staged { done, batch: commit.newest, lsn: commit.lsn });
        }
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
        (commit.newest, commit.lsn) = (id, lsn);
        commit.oldest = commit.oldest.min(applied.mint);
        self.times.mint.fetch_min(applied.mint, Ordering::AcqRel);
        self.times.maxt.fetch_max(applied.maxt, Ordering::AcqRel);
        Ok(Staged { done, batch: id, lsn })
    }

    /// Appends the samples of a batch to their series. Those that are there already leave the batch,
    /// and so do those that were overtaken since the batch accepted them.
    fn apply(&self, batch: &mut Batch, id: BatchId, views: &Views) -> Applied {
        let valid_from = self.times.valid_from.load(Ordering::Acquire);
        let context = AppendContext { batch: id, views, block_range_ms: self.block_range_ms };
        let mut applied =
            Applied { refused: 0, mint: i64::MAX, maxt: i64::MIN, new_series: Vec::new() };
        let mut filled = Vec::new();
        let floats = batch.unpinned();
        let (mut n_kept, mut start) = (0, 0);
        while let Some(first) = floats.get(start) {
            let number = page_number(first.series);
            let is_near = |sample: &&RefSample| page_number(sample.series) == number;
            let end = start + floats[start..].iter().take_while(is_near).count();
            let found = self.page_of_pinned(number);
            found.change(|page| {
                for at in start..end {
                    let sample = floats[at];
                    if applied.append(page, sample, valid_from, context) {
                        floats[n_kept] = sample;
                        n_kept += 1;
                    }
                }
                if page.queue() {
                    filled.push(Arc::clone(&found));
                }
            });
            start = end;
        }
        floats.truncate(n_kept);
        self.queue_full_chunks(&mut filled);
        applied
    }

    /// A page with series that an open batch holds samples of.
    pub(super) fn page_of_pinned(&self, number: u64) -> Arc<Page> {
        self.stripes.page(number).expect("a series stays while a batch holds samples of it")
    }
}

/// Logs the new series and the samples of a batch. The samples are one record, so that a crash leaves
/// all of them or none.
fn log(batch: &Batch, commit: &mut Commit, wal: &Reservation<'_>) -> Result<Lsn, Error> {
    let Commit { new_series, record, series_record, .. } = commit;
    let failed = |source| Error::Wal { op: "append to", source };
    record.clear();
    samples::encode(batch.floats().iter().copied(), record);

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
            return wal.log(&[series_record, record]).map_err(failed);
        }
        // A series without samples is invisible, so the batch is not torn by these.
        wal.log(&[series_record]).map_err(failed)?;
        rest = later;
    }
    wal.log(&[record]).map_err(failed)
}

impl Applied {
    /// Appends a sample to its series. Tells whether it is to be logged.
    #[inline]
    fn append(
        &mut self,
        page: &mut PageState,
        sample: RefSample,
        valid_from: i64,
        context: AppendContext<'_>,
    ) -> bool {
        let RefSample { series, timestamp, value } = sample;
        let sample = ferula_chunkenc::Sample::new(timestamp, value);
        let found = page.series_mut(series);
        let mut found = found.expect("a series stays while a batch holds samples of it");
        found.unpin();
        if let Some(newest) = found.newest().filter(|newest| newest.timestamp >= timestamp) {
            self.refused += usize::from(newest != sample);
            return false;
        }
        if timestamp < valid_from {
            self.refused += 1;
            return false;
        }
        found.append(sample, context);
        if found.publish() {
            self.new_series.push(series);
        }
        self.mint = self.mint.min(timestamp);
        self.maxt = self.maxt.max(timestamp);
        true
    }
}
