//! The log of samples out of order.
//!
//! Its records are Prometheus's: samples, histograms, and markers of chunks that became full, in the
//! order in which it expects them; and ahead of each batch the record of this crate that says which
//! batch of the log it belongs to. It is not synced when a batch is committed, for the log has the
//! same samples; it must be durable before the log is condensed. If it cannot be written it is
//! written anew, as a whole, once it can.

use std::mem;
use std::sync::atomic::Ordering;

use ferula_index::ChunkRef;
use ferula_wal::record::RecordKind;
use ferula_wal::record::mmap_markers::{self, MmapMarker};
use ferula_wal::record::out_of_order::{self, OutOfOrder};
use ferula_wal::record::samples::{self, RefSample};
use ferula_wal::record::samples_v2::{self, RefStartedSample};
use ferula_wal::{Lsn, Wal};

use super::Arrival;
use crate::error::Error;
use crate::head::Head;
use crate::head::batch::PendingHistogram;
use crate::head::commit::Commit;
use crate::head::records::Records;
use crate::head::series::OutOfOrderRuns;

/// Samples of one batch when the log is written anew, and a chunk.
const REWRITTEN_SAMPLES: usize = 16_384;

/// What is logged of the samples out of order of one batch at a time.
#[derive(Debug, Default)]
pub(in crate::head) struct LogOutOfOrder {
    /// Number of the newest batch with such samples.
    newest: u64,
    records: Records,
    /// The records that announce them, in the log and in that of such samples.
    announced: [Vec<u8>; 2],
    floats: Vec<RefSample>,
    started: Vec<RefStartedSample>,
    histograms: Vec<PendingHistogram>,
    markers: Vec<MmapMarker>,
}

impl LogOutOfOrder {
    /// Goes on after the batch with this number.
    pub(super) fn resume(&mut self, newest: u64) {
        self.newest = newest;
    }

    /// Encodes a batch, which gets the next number if it has samples.
    pub(in crate::head) fn encode(&mut self, events: &[Arrival]) {
        self.newest += u64::from(!events.is_empty());
        self.encode_again(events);
    }

    /// Encodes samples that are logged already, under the number of the newest batch.
    fn encode_again(&mut self, events: &[Arrival]) {
        self.records.clear();
        for event in events {
            match event {
                Arrival::Float(sample) if sample.start_timestamp != 0 => self.started.push(*sample),
                Arrival::Float(sample) => {
                    let &RefStartedSample { series, timestamp, value, .. } = sample;
                    self.floats.push(RefSample { series, timestamp, value });
                }
                Arrival::Histogram(histogram) => self.histograms.push(histogram.clone()),
                Arrival::Sealed(_) => {}
                Arrival::Stored(series, ChunkRef(chunk)) => {
                    // It stands for the samples before it, and those behind it come after it.
                    let n_floats = self.floats.len() + self.started.len();
                    if n_floats + self.histograms.len() > 0 {
                        self.end_records();
                    }
                    self.markers.push(MmapMarker { series: *series, chunk: *chunk });
                }
            }
        }
        self.end_records();
        let of_log = self.records.iter().filter(|record| !is_marker(record)).count() as u64;
        let all = self.records.iter().count() as u64;
        for (announced, n_records) in self.announced.iter_mut().zip([of_log, all]) {
            announced.clear();
            let number = self.newest;
            out_of_order::encode(OutOfOrder { number, n_records }, announced);
        }
    }

    fn end_records(&mut self) {
        let Self { records, floats, started, histograms, markers, .. } = self;
        records.add(|record| {
            if !markers.is_empty() {
                mmap_markers::encode(markers.drain(..), record);
            }
        });
        records.add(|record| {
            if !floats.is_empty() {
                samples::encode(floats.drain(..), record);
            }
        });
        records.add(|record| {
            if !started.is_empty() {
                samples_v2::encode(started.drain(..), record);
            }
        });
        if !histograms.is_empty() {
            records.encode_histograms(&mem::take(histograms));
        }
    }

    /// Tells whether there is nothing.
    pub(in crate::head) fn is_empty(&self) -> bool {
        self.records.iter().next().is_none()
    }

    /// What the log gets, behind all else of the batch.
    pub(in crate::head) fn of_log(&self) -> impl Iterator<Item = &[u8]> {
        let announced = [self.announced[0].as_slice()].into_iter().filter(|_| !self.is_empty());
        announced.chain(self.records.iter().filter(|record| !is_marker(record)))
    }

    /// Logs the batch to the log of such samples.
    fn log_to(&self, wbl: &Wal) -> Result<Lsn, ferula_wal::Error> {
        let announced = [self.announced[1].as_slice()].into_iter();
        wbl.log(&announced.chain(self.records.iter()).collect::<Vec<_>>())
    }
}

fn is_marker(record: &[u8]) -> bool {
    record.first() == Some(&RecordKind::MMAP_MARKERS.0)
}

impl Head {
    /// Logs samples out of order to `wbl` from now on.
    pub(crate) fn set_wbl(&mut self, wbl: Wal) {
        self.out_of_order.wbl = Some(wbl);
    }

    /// The log of samples out of order, if this head has one.
    pub(crate) fn wbl(&self) -> Option<&Wal> {
        self.out_of_order.wbl.as_ref()
    }

    /// Logs what the log has already to that of samples out of order.
    pub(in crate::head) fn log_out_of_order(&self, commit: &Commit) -> Option<Lsn> {
        let state = &self.out_of_order;
        let wbl = state.wbl.as_ref()?;
        if state.is_behind.load(Ordering::Acquire) {
            return None;
        }
        let logged = commit.late.log_to(wbl).ok();
        state.is_behind.fetch_or(logged.is_none(), Ordering::AcqRel);
        logged
    }

    /// Hands what is logged to the operating system. It is tried again if that fails, and is in the
    /// log in any case.
    pub(in crate::head) fn commit_out_of_order(&self, lsn: Option<Lsn>) {
        if let (Some(wbl), Some(lsn)) = (&self.out_of_order.wbl, lsn) {
            let _ = wbl.commit(lsn);
        }
    }

    /// Makes the log of samples out of order complete and durable, so that the log may be condensed.
    pub(crate) fn settle_out_of_order(&self) -> Result<(), Error> {
        let Some(wbl) = &self.out_of_order.wbl else { return Ok(()) };
        self.catch_up(&mut self.commit.lock())?;
        wbl.sync().map_err(|source| Error::Wal { op: "sync", source })
    }

    /// Closes the log of samples out of order. It then says by itself which ones there are, and what
    /// is deleted is not among them.
    pub(crate) fn close_out_of_order(&self) -> Result<(), Error> {
        let Some(wbl) = &self.out_of_order.wbl else { return Ok(()) };
        let settled = {
            let mut commit = self.commit.lock();
            if self.deleted_out_of_order().is_empty() {
                self.catch_up(&mut commit)
            } else {
                self.rewrite_out_of_order(&mut commit)
            }
        };
        let closed = wbl.close().map_err(|source| Error::Wal { op: "close", source });
        settled.and(closed)
    }

    /// Writes the log of samples out of order anew if it lacks something.
    pub(super) fn catch_up(&self, commit: &mut Commit) -> Result<(), Error> {
        if self.out_of_order.is_behind.load(Ordering::Acquire) {
            self.rewrite_out_of_order(commit)?;
        }
        Ok(())
    }

    /// Begins a segment of the log of samples out of order, and returns its number. It begins with the
    /// number of the newest batch, which is known when the segments before it are gone.
    pub(super) fn begin_segment(&self, commit: &Commit) -> Result<Option<u32>, Error> {
        let Some(wbl) = &self.out_of_order.wbl else { return Ok(None) };
        let failed = |source| Error::Wal { op: "append to", source };
        let segment = wbl.rotate().map_err(failed)?;
        let mut record = Vec::new();
        let number = commit.late.newest;
        out_of_order::encode(OutOfOrder { number, n_records: 0 }, &mut record);
        wbl.log(&[&record]).map_err(failed)?;
        Ok(Some(segment))
    }

    /// Writes the log of samples out of order anew, with what there is in memory, and removes what was
    /// in it before.
    pub(in crate::head) fn rewrite_out_of_order(&self, commit: &mut Commit) -> Result<(), Error> {
        let Some(wbl) = &self.out_of_order.wbl else { return Ok(()) };
        let failed = |source| Error::Wal { op: "append to", source };
        // What is written has the number of the newest batch, so the log must have that.
        self.sync()?;
        let segment = self.begin_segment(commit)?;
        let (sought, deleted) = (Self::all_out_of_order(), self.deleted_out_of_order());
        let mut all: Vec<OutOfOrderRuns> = Vec::new();
        self.for_each_out_of_order(|view| all.extend(view.out_of_order_runs(&sought)));
        let mut events = Vec::new();
        let late = &mut commit.late;
        for runs in all {
            let series = runs.series_ref();
            let deleted_of = |era| deleted.of(series, era);
            runs.for_each_run(self.files(), deleted_of, |samples, at| {
                events.extend(samples.into_iter().map(|sample| Arrival::of(series, sample)));
                events.extend(at.map(|at| Arrival::Stored(series, at)));
                Ok(())
            })?;
            if events.len() >= REWRITTEN_SAMPLES {
                late.encode_again(&events);
                events.clear();
                let lsn = late.log_to(wbl).map_err(failed)?;
                wbl.commit(lsn).map_err(failed)?;
            }
        }
        late.encode_again(&events);
        if !late.is_empty() {
            late.log_to(wbl).map_err(failed)?;
        }
        wbl.sync().map_err(failed)?;
        if let Some(segment) = segment {
            wbl.truncate_before(segment).map_err(failed)?;
        }
        self.out_of_order.is_behind.store(false, Ordering::Release);
        Ok(())
    }
}
