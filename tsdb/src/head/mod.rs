//! The head: the mutable newest part of the store.
//!
//! A sample goes from a batch ([`appender`]) to the log and to the open chunk of its series
//! ([`series`]), and becomes visible with its batch ([`isolation`]). Series are found by ref in
//! [`stripes`] and by labels in the index, which holds only series of committed batches. [`replay`]
//! makes a head from a log, [`gc`] removes what blocks cover.

mod appender;
#[cfg_attr(not(test), expect(dead_code, reason = "full chunks are not handed out yet"))]
mod chunk_files;
mod gc;
mod isolation;
mod replay;
mod series;
mod stripes;

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use ferula_index::head::HeadIndex;
use ferula_index::{Labels, SeriesRef};
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::{samples, series as series_record};
use ferula_wal::{Lsn, Wal};
use parking_lot::Mutex;

pub use appender::{Appender, Committed};
pub(crate) use isolation::{BatchId, ReadGuard};
pub(crate) use replay::{Replay, ReplayStats};
pub(crate) use series::{HeadChunk, SeenChunks, Series, range_end};

use crate::error::{AppendError, Error};
use crate::options::{Limits, MAX_LABEL_SET_BYTES, MAX_TIME_MS};
use appender::Pending;
use isolation::Isolation;
use stripes::Stripes;

/// Bytes of labels that are logged together at most, one label set excepted.
const MAX_SERIES_RECORD_BYTES: usize = 1 << 20;

/// The mutable newest part of the store.
#[derive(Debug)]
pub(crate) struct Head {
    limits: Limits,
    block_range_ms: i64,
    index: HeadIndex,
    stripes: Stripes,
    isolation: Arc<Isolation>,
    /// Series that no committed batch has appended to yet. Its lock is held whenever a series is
    /// made, becomes findable, or is removed.
    unpublished: Mutex<Unpublished>,
    /// Refs that the log knows a series by beside its own, with that one.
    aliases: Mutex<HashMap<SeriesRef, SeriesRef>>,
    next_ref: AtomicU64,
    /// Whether the log has records that are not decoded here. They name series by ref, so the log
    /// keeps what it knows of those.
    has_opaque_records: bool,
    times: Times,
    /// Absent in a head that is only read.
    wal: Option<Wal>,
    commit: Mutex<Commit>,
    /// Set when the log failed: nothing is acknowledged any more.
    has_failed: AtomicBool,
    is_closed: AtomicBool,
    appended: AtomicU64,
    refused: AtomicU64,
    /// Buffers of finished batches, for the next ones.
    spare: Mutex<Vec<Vec<Pending>>>,
}

/// Times in milliseconds that appends and reads are checked against.
#[derive(Debug)]
struct Times {
    /// Of the earliest sample; above `maxt` while there is none.
    mint: AtomicI64,
    /// Of the latest sample.
    maxt: AtomicI64,
    /// From which on samples are accepted, because no block covers them or is about to.
    valid_from: AtomicI64,
}

/// Series that are known to the batches that made them, and to nobody else.
#[derive(Debug, Default)]
struct Unpublished {
    by_labels: HashMap<Labels, SeriesRef>,
    by_ref: HashMap<SeriesRef, Labels>,
    /// Series that became findable with a batch which some reader may not see.
    recent: Vec<(BatchId, SeriesRef)>,
}

impl Unpublished {
    /// Forgets which series became findable with batches that every reader sees.
    fn forget_recent(&mut self, oldest_reader: BatchId) {
        self.recent.retain(|(batch, _)| *batch > oldest_reader);
        if self.recent.is_empty() {
            self.recent = Vec::new();
        }
    }
}

/// State of the one commit that goes on, and its buffers.
#[derive(Debug)]
struct Commit {
    newest: BatchId,
    /// The end of the newest batch in the log.
    lsn: Option<Lsn>,
    /// Time of the oldest sample committed since the last truncation began.
    oldest: i64,
    samples: Vec<RefSample>,
    new_series: Vec<(SeriesRef, Labels)>,
    record: Vec<u8>,
    series_record: Vec<u8>,
}

/// A batch that is in memory and handed to the log.
#[derive(Debug)]
struct Staged {
    done: Committed,
    batch: BatchId,
    lsn: Option<Lsn>,
}

impl Commit {
    fn new() -> Self {
        Self {
            newest: BatchId::REPLAYED,
            lsn: None,
            oldest: i64::MAX,
            samples: Vec::new(),
            new_series: Vec::new(),
            record: Vec::new(),
            series_record: Vec::new(),
        }
    }
}

impl Head {
    /// Makes an empty head that takes samples from `valid_from` on.
    pub(crate) fn new(limits: Limits, block_range_ms: i64, valid_from: i64) -> Self {
        Self {
            limits,
            block_range_ms,
            index: HeadIndex::new(),
            stripes: Stripes::new(),
            isolation: Arc::default(),
            unpublished: Mutex::default(),
            aliases: Mutex::default(),
            next_ref: AtomicU64::new(1),
            has_opaque_records: false,
            times: Times {
                mint: AtomicI64::new(i64::MAX),
                maxt: AtomicI64::new(i64::MIN),
                valid_from: AtomicI64::new(valid_from),
            },
            wal: None,
            commit: Mutex::new(Commit::new()),
            has_failed: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            appended: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            spare: Mutex::default(),
        }
    }

    /// Logs batches to `wal` from now on.
    pub(crate) fn set_wal(&mut self, wal: Wal) {
        self.wal = Some(wal);
    }

    /// The log, if this head has one.
    pub(crate) fn wal(&self) -> Option<&Wal> {
        self.wal.as_ref()
    }

    /// The index of the series of committed batches.
    pub(crate) fn index(&self) -> &HeadIndex {
        &self.index
    }

    /// The series with this ref.
    pub(crate) fn series(&self, series: SeriesRef) -> Option<Arc<Series>> {
        self.stripes.get(series)
    }

    /// Begins to read what is visible now, from the time `from` on.
    pub(crate) fn begin_read(&self, from: i64) -> ReadGuard {
        self.isolation.begin(from)
    }

    /// Times of the earliest and the latest sample, `None` without samples.
    pub(crate) fn time_range(&self) -> Option<(i64, i64)> {
        let mint = self.times.mint.load(Ordering::Acquire);
        let maxt = self.times.maxt.load(Ordering::Acquire);
        (mint <= maxt).then_some((mint, maxt))
    }

    /// Time of the oldest sample at or after `from` that a reader of `seen` may see, or a time
    /// between `from` and it.
    pub(crate) fn oldest_seen_from(&self, from: i64, seen: BatchId) -> Option<i64> {
        let mut oldest = None;
        self.stripes.for_each(|series| {
            let of_series = series.lock().oldest_from(from, seen);
            oldest = oldest.into_iter().chain(of_series).min();
        });
        oldest
    }

    /// The same, whether or not the sample is visible yet.
    pub(crate) fn oldest_from(&self, from: i64) -> Option<i64> {
        self.oldest_seen_from(from, BatchId(u64::MAX))
    }

    /// Samples committed, and samples refused.
    pub(crate) fn counters(&self) -> (u64, u64) {
        (self.appended.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Numbers of series and of chunks.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        let mut n_chunks = 0;
        self.stripes.for_each(|series| n_chunks += series.lock().n_chunks() as u64);
        (self.stripes.len() as u64, n_chunks)
    }

    /// Takes no more batches. Batches that are being committed are waited for.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        drop(self.commit.lock());
    }

    /// Fails if no batch can be committed.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if self.has_failed.load(Ordering::Acquire) {
            return Err(Error::LogFailed);
        }
        Ok(())
    }

    /// Earliest time that a batch which begins now accepts. As in Prometheus, half a block range
    /// before the newest sample, so that a block which is due is complete.
    fn oldest_accepted(&self) -> i64 {
        let valid_from = self.times.valid_from.load(Ordering::Acquire);
        self.time_range().map_or(valid_from, |(_, maxt)| {
            valid_from.max(maxt.saturating_sub(self.block_range_ms / 2))
        })
    }

    /// The series with these labels, made if there is none. It can be found only by those who
    /// have its ref until a batch that appends to it commits.
    fn get_or_create(&self, labels: &Labels) -> Result<Arc<Series>, AppendError> {
        if let Some(series) = self.index.get(labels).and_then(|found| self.stripes.get(found)) {
            return Ok(series);
        }
        let mut unpublished = self.unpublished.lock();
        let known = unpublished.by_labels.get(labels).copied().or_else(|| self.index.get(labels));
        if let Some(series) = known.and_then(|known| self.stripes.get(known)) {
            return Ok(series);
        }
        debug_assert!(known.is_none(), "series leave the maps and the stripes together");
        self.check_labels(labels)?;
        let series_ref = SeriesRef(self.next_ref.fetch_add(1, Ordering::Relaxed));
        let series = Arc::new(Series::new(series_ref));
        self.stripes.insert(Arc::clone(&series));
        unpublished.by_labels.insert(labels.clone(), series_ref);
        unpublished.by_ref.insert(series_ref, labels.clone());
        Ok(series)
    }

    fn check_labels(&self, labels: &Labels) -> Result<(), AppendError> {
        if labels.is_empty() {
            return Err(AppendError::NoLabels);
        }
        let (found, limit) = (labels.len(), self.limits.labels);
        if found > limit {
            return Err(AppendError::TooManyLabels { found, limit });
        }
        let (found, limit) = (labels.size_bytes(), MAX_LABEL_SET_BYTES);
        if found > limit {
            return Err(AppendError::LabelSetTooLong { found, limit });
        }
        for (name, value) in labels {
            if name.is_empty() {
                return Err(AppendError::EmptyLabelName);
            }
            let (found, limit) = (name.len(), self.limits.label_name_bytes);
            if found > limit {
                return Err(AppendError::LabelNameTooLong { found, limit });
            }
            let (found, limit) = (value.len(), self.limits.label_value_bytes);
            if found > limit {
                let name = name.to_owned();
                return Err(AppendError::LabelValueTooLong { name, found, limit });
            }
        }
        Ok(())
    }

    /// Forgets those of `series` that no committed batch has appended to and nobody else holds.
    fn drop_unpublished(&self, series: impl IntoIterator<Item = SeriesRef>) {
        let mut unpublished = self.unpublished.lock();
        for series in series {
            if self.stripes.remove_if(series, |series| !series.lock().is_published)
                && let Some(labels) = unpublished.by_ref.remove(&series)
            {
                unpublished.by_labels.remove(&labels);
            }
        }
    }

    /// Logs a batch, applies it, and makes it visible.
    fn commit(&self, pending: &[Pending]) -> Result<Committed, Error> {
        let Staged { done, batch, lsn } = self.stage(pending)?;
        if let (Some(wal), Some(lsn)) = (&self.wal, lsn) {
            // Commits that wait here at the same time share one sync.
            let committed = wal.commit(lsn).map_err(|source| Error::Wal { op: "sync", source });
            committed.inspect_err(|_| self.has_failed.store(true, Ordering::Release))?;
        }
        self.isolation.publish(batch);
        self.appended.fetch_add(done.samples as u64, Ordering::Relaxed);
        Ok(done)
    }

    /// Applies a batch and hands it to the log. It is neither durable nor visible yet.
    fn stage(&self, pending: &[Pending]) -> Result<Staged, Error> {
        let mut commit = self.commit.lock();
        self.check_writable()?;
        let batch = BatchId(commit.newest.0 + 1);
        let refused = self.apply(pending, batch, &mut commit);
        let done = Committed { samples: commit.samples.len(), refused };
        self.refused.fetch_add(refused as u64, Ordering::Relaxed);
        if commit.samples.is_empty() {
            // What it repeats may be of a batch that is not durable yet, so wait for that one.
            return Ok(Staged { done, batch: commit.newest, lsn: commit.lsn });
        }
        // From here on the batch is in memory, though nobody sees it: if the log fails, no later
        // batch may become visible, since a batch is visible with all before it.
        let logged = self.log(&mut commit);
        let lsn = logged.inspect_err(|_| self.has_failed.store(true, Ordering::Release))?;
        let published = self.publish_series(&mut commit.new_series, batch);
        published.inspect_err(|_| self.has_failed.store(true, Ordering::Release))?;
        (commit.newest, commit.lsn) = (batch, lsn);
        self.note_times(&mut commit);
        Ok(Staged { done, batch, lsn })
    }

    /// Appends the samples of a batch to their series, and collects what is to be logged. Returns
    /// how many samples were overtaken since the batch accepted them.
    fn apply(&self, pending: &[Pending], batch: BatchId, commit: &mut Commit) -> usize {
        let valid_from = self.times.valid_from.load(Ordering::Acquire);
        let oldest_reader = self.isolation.oldest_reader();
        let mut refused = 0;
        commit.samples.clear();
        commit.new_series.clear();
        for Pending { series, sample } in pending {
            let mut state = series.lock();
            let newest = state.newest();
            if newest == Some(*sample) {
                continue;
            }
            if sample.timestamp < valid_from
                || newest.is_some_and(|newest| sample.timestamp <= newest.timestamp)
            {
                refused += 1;
                continue;
            }
            let is_new = !mem::replace(&mut state.is_published, true);
            state.append(*sample, batch, oldest_reader, self.block_range_ms);
            // Whoever holds the lock of unpublished series may wait for that of a series.
            drop(state);
            if is_new && let Some(labels) = self.unpublished.lock().by_ref.get(&series.series_ref())
            {
                commit.new_series.push((series.series_ref(), labels.clone()));
            }
            let (timestamp, value) = (sample.timestamp, sample.value);
            commit.samples.push(RefSample { series: series.series_ref(), timestamp, value });
        }
        refused
    }

    /// Logs the new series and the samples that `apply` collected. The samples are one record, so
    /// that a crash leaves all of them or none.
    fn log(&self, commit: &mut Commit) -> Result<Option<Lsn>, Error> {
        let Some(wal) = &self.wal else { return Ok(None) };
        let Commit { samples, new_series, record, series_record, .. } = commit;
        let failed = |source| Error::Wal { op: "append to", source };
        record.clear();
        samples::encode(samples.iter().copied(), record);

        let mut rest = new_series.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let n = rest.iter().take_while(|(_, labels)| {
                bytes += labels.size_bytes();
                bytes <= MAX_SERIES_RECORD_BYTES
            });
            let (now, later) = rest.split_at(n.count().max(1));
            series_record.clear();
            series_record::encode(
                now.iter().map(|(series, labels)| (*series, labels)),
                series_record,
            );
            if later.is_empty() {
                return wal.log(&[series_record, record]).map(Some).map_err(failed);
            }
            // A series without samples is invisible, so the batch is not torn by these.
            wal.log(&[series_record]).map_err(failed)?;
            rest = later;
        }
        wal.log(&[record]).map(Some).map_err(failed)
    }

    /// Lets the series of a batch be found.
    fn publish_series(
        &self,
        new_series: &mut Vec<(SeriesRef, Labels)>,
        batch: BatchId,
    ) -> Result<(), Error> {
        if new_series.is_empty() {
            return Ok(());
        }
        let oldest_reader = self.isolation.oldest_reader();
        let mut unpublished = self.unpublished.lock();
        unpublished.forget_recent(oldest_reader);
        // These are large only while many series come at once, so their memory is not kept.
        for (series, labels) in mem::take(new_series) {
            let failed = |source| Error::HeadIndex { series, source };
            self.index.insert(series, &labels).map_err(failed)?;
            unpublished.by_ref.remove(&series);
            unpublished.by_labels.remove(&labels);
            unpublished.recent.push((batch, series));
        }
        if unpublished.by_ref.is_empty() {
            unpublished.by_ref = HashMap::new();
            unpublished.by_labels = HashMap::new();
        }
        Ok(())
    }

    /// Series in the index that a reader of `seen` must not learn of.
    pub(crate) fn unseen_series(&self, seen: BatchId) -> Vec<SeriesRef> {
        let oldest_reader = self.isolation.oldest_reader();
        let mut unpublished = self.unpublished.lock();
        unpublished.forget_recent(oldest_reader);
        let unseen = unpublished.recent.iter().filter(|(batch, _)| *batch > seen);
        unseen.map(|(_, series)| *series).collect()
    }

    fn note_times(&self, commit: &mut Commit) {
        let times = commit.samples.iter().map(|sample| sample.timestamp);
        let (mint, maxt) =
            times.fold((i64::MAX, i64::MIN), |(mint, maxt), t| (mint.min(t), maxt.max(t)));
        commit.oldest = commit.oldest.min(mint);
        self.times.mint.fetch_min(mint, Ordering::AcqRel);
        self.times.maxt.fetch_max(maxt, Ordering::AcqRel);
    }
}

/// Tells whether a sample may have this time.
fn is_valid_time(timestamp: i64) -> bool {
    (-MAX_TIME_MS..=MAX_TIME_MS).contains(&timestamp)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ferula_chunkenc::Sample;
    use ferula_wal::fs::{FaultFs, Survival};

    use super::*;

    #[test]
    fn a_batch_that_only_repeats_another_waits_for_it() {
        let fs = FaultFs::new();
        let open = |fs: &FaultFs| {
            let options = ferula_wal::Options::default();
            Wal::open(Arc::new(fs.clone()), Path::new("/wal"), options).unwrap()
        };
        let mut head = Head::new(Limits::default(), 60_000, i64::MIN);
        head.set_wal(open(&fs).0);
        let head = Arc::new(head);
        let labels = Labels::from_pairs([("a", "b")]).unwrap();
        let series = head.get_or_create(&labels).unwrap();
        // One that is on its way: in memory and staged for the log, but not on the disk.
        let pending = [Pending { series, sample: Sample::new(1, 1.0) }];
        assert_eq!(head.stage(&pending).unwrap().done.samples, 1);

        let mut repeated = Appender::new(Arc::clone(&head));
        repeated.append(&labels, 1, 1.0).unwrap();
        assert!(repeated.is_empty());
        assert_eq!(repeated.commit().unwrap(), Committed::default());
        assert_eq!(head.begin_read(0).seen(), BatchId(1), "what was acknowledged is visible");
        let (_, mut log) = open(&fs.crash(Survival::Nothing));
        assert!(log.next_record().unwrap().is_some(), "and survives a crash");
    }
}
