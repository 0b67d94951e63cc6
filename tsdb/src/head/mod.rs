//! The head: the mutable newest part of the store.
//!
//! A sample goes from a batch ([`appender`]) to the log and to the open chunk of its series
//! ([`commit`], [`series`]), and becomes visible with its batch ([`isolation`]). Series are found by
//! ref in [`stripes`] and by labels in the index, which holds only series of committed batches
//! ([`create`]). A batch may also hold [`exemplars`] and [`metadata`] ([`notes`]). Chunks that are full go to files ([`full_chunks`], [`chunk_files`]). [`replay`] makes a head from a log, [`gc`] removes what blocks cover, [`delete`] what is not wanted, [`out_of_order`] has what came late, [`memory`]
//! counts what all of it takes.
//!
//! Lock order: the commit, the unpublished series, a stripe, a page.

mod appender;
mod apply;
mod batch;
mod chunk_files;
mod commit;
mod create;
mod delete;
mod exemplars;
mod float;
mod full_chunks;
mod gc;
mod isolation;
mod memory;
mod metadata;
mod notes;
mod out_of_order;
mod records;
mod replay;
mod series;
pub(crate) mod snapshot;
mod stripes;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use ferula_index::SeriesRef;
use ferula_index::head::HeadIndex;
use ferula_wal::Wal;
use parking_lot::{Mutex, RwLock};

pub use appender::{Appender, Committed};
pub(crate) use chunk_files::{CHUNKS_HEAD_DIR, ChunkFiles, ChunkFilesReport, FoundChunk};
pub(crate) use isolation::{BatchId, ReadGuard};
pub(crate) use out_of_order::{DeletedOutOfOrder, LateReplay, LateStats};
pub(crate) use replay::{ChunkLoader, Loaded, Replay, ReplayStats};
pub(crate) use series::{Era, SeenChunks, Series, SeriesView, Sought, range_end};
pub(crate) use snapshot::{LogEnd, Origin};
pub(crate) use stripes::PageCursor;

use crate::error::Error;
use crate::options::{DEFAULT_XOR2_ENCODING, Limits, MAX_TIME_MS};
use crate::tombstones::Tombstones;
use batch::SpareBatches;
use commit::Commit;
use create::Unpublished;
use exemplars::Exemplars;
use full_chunks::FullChunkQueue;
use gc::Removed;
use isolation::Isolation;
use metadata::SeriesMetadata;
use out_of_order::OutOfOrderState;
use stripes::Stripes;

/// The mutable newest part of the store.
#[derive(Debug)]
pub(crate) struct Head {
    limits: Limits,
    block_range_ms: i64,
    /// Whether floats without start timestamps are encoded as those with.
    xor2_encoding: bool,
    index: HeadIndex,
    stripes: Stripes,
    isolation: Arc<Isolation>,
    /// Series that no committed batch has appended to yet. Its lock is held whenever a series is
    /// made, becomes findable, or is removed.
    unpublished: Mutex<Unpublished>,
    /// Refs that the log knows a series by beside its own, with that one.
    aliases: Mutex<HashMap<SeriesRef, SeriesRef>>,
    /// Series that were removed and that the log still names.
    removed: Removed,
    next_ref: AtomicU64,
    /// Whether the log has records that are not decoded here. They name series by ref, so the log
    /// keeps what it knows of those.
    has_opaque_records: bool,
    times: Times,
    /// Absent in a head that is only read.
    wal: Option<Wal>,
    /// Absent in a head that keeps full chunks in memory.
    files: Option<ChunkFiles>,
    full_chunks: FullChunkQueue,
    /// What is deleted of the samples in memory.
    tombstones: RwLock<Arc<Tombstones>>,
    out_of_order: OutOfOrderState,
    exemplars: Exemplars,
    metadata: SeriesMetadata,
    commit: Mutex<Commit>,
    /// Set when a batch was applied that is not logged and indexed in whole: nothing is acknowledged
    /// any more.
    has_failed: AtomicBool,
    /// Set when batches are logged that were not acknowledged, because the log has stopped.
    is_in_doubt: AtomicBool,
    /// Samples of those batches.
    in_doubt: AtomicU64,
    is_closed: AtomicBool,
    appended: AtomicU64,
    refused: AtomicU64,
    spare: SpareBatches,
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

impl Head {
    /// Makes an empty head that takes samples from `valid_from` on.
    pub(crate) fn new(limits: Limits, block_range_ms: i64, valid_from: i64) -> Self {
        Self {
            block_range_ms,
            xor2_encoding: DEFAULT_XOR2_ENCODING,
            index: HeadIndex::new(),
            stripes: Stripes::new(),
            isolation: Arc::default(),
            unpublished: Mutex::default(),
            aliases: Mutex::default(),
            removed: Removed::default(),
            next_ref: AtomicU64::new(1),
            has_opaque_records: false,
            times: Times {
                mint: AtomicI64::new(i64::MAX),
                maxt: AtomicI64::new(i64::MIN),
                valid_from: AtomicI64::new(valid_from),
            },
            wal: None,
            files: None,
            full_chunks: FullChunkQueue::default(),
            tombstones: RwLock::default(),
            out_of_order: OutOfOrderState::new(0),
            metadata: SeriesMetadata::default(),
            exemplars: Exemplars::new(limits.exemplars, 0),
            limits,
            commit: Mutex::new(Commit::new()),
            has_failed: AtomicBool::new(false),
            is_in_doubt: AtomicBool::new(false),
            in_doubt: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            appended: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            spare: SpareBatches::default(),
        }
    }

    /// Has an empty head take samples and exemplars out of order, as far back as `window_ms` says; none if it
    /// is zero.
    pub(crate) fn set_out_of_order_window(&mut self, window_ms: i64) {
        self.out_of_order = OutOfOrderState::new(window_ms);
        self.exemplars = Exemplars::new(self.limits.exemplars, window_ms);
    }

    /// Encodes floats without start timestamps as those with from now on, or no longer.
    pub(crate) fn set_xor2_encoding(&mut self, xor2_encoding: bool) {
        self.xor2_encoding = xor2_encoding;
    }

    /// Logs batches to `wal` from now on.
    pub(crate) fn set_wal(&mut self, wal: Wal) {
        self.removed = Removed::since(wal.current_segment());
        self.wal = Some(wal);
    }

    /// Writes full chunks to `files` from now on.
    pub(crate) fn set_files(&mut self, files: ChunkFiles) {
        self.files = Some(files);
    }

    /// The files of full chunks, if this head has some.
    pub(crate) fn files(&self) -> Option<&ChunkFiles> {
        self.files.as_ref()
    }

    /// The log, if this head has one.
    pub(crate) fn wal(&self) -> Option<&Wal> {
        self.wal.as_ref()
    }

    /// The index of the series of committed batches.
    pub(crate) fn index(&self) -> &HeadIndex {
        &self.index
    }

    /// The exemplars of all series.
    pub(crate) fn exemplars(&self) -> &Exemplars {
        &self.exemplars
    }

    /// What the series say of their metrics.
    pub(crate) fn metadata(&self) -> &SeriesMetadata {
        &self.metadata
    }

    /// The series with this ref. Neighbours are found at once through the same cursor.
    pub(crate) fn series(&self, series: SeriesRef, pages: &mut PageCursor) -> Option<Series> {
        let page = pages.page_of(&self.stripes, series)?;
        Some(Series::new(Arc::clone(page), series))
    }

    /// The newest batch that is visible.
    pub(crate) fn visible(&self) -> BatchId {
        self.isolation.newest()
    }

    /// Begins to read what is visible now, from the time `from` on, and samples out of order from
    /// `era` on.
    pub(crate) fn begin_read(&self, from: i64, era: Era) -> ReadGuard {
        self.isolation.begin(from, era)
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
        self.stripes.for_each_page(|page| {
            let page = page.lock();
            let of_page = page.views().filter_map(|series| series.oldest_from(from, seen));
            oldest = oldest.into_iter().chain(of_page).min();
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
        let counters = self.stripes.counters();
        (counters.n_series(), counters.n_chunks())
    }

    /// Has later series get other refs than this one, which was read from a file. One that no head
    /// would hand out, for it leaves no room behind it, is not followed: its like is not reached.
    fn note_ref(&self, series: SeriesRef) {
        if series.0 < MAX_FOLLOWED_REF {
            self.next_ref.fetch_max(series.0 + 1, Ordering::Relaxed);
        }
    }

    fn new_ref(&self) -> SeriesRef {
        SeriesRef(self.next_ref.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes no more batches. Batches that are being committed are waited for.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        drop(self.commit.lock());
    }

    /// Tells whether the log failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
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
}

/// Refs from here on are not handed out, at any rate of new series.
const MAX_FOLLOWED_REF: u64 = 1 << 62;

/// Tells whether a sample may have this time.
fn is_valid_time(timestamp: i64) -> bool {
    (-MAX_TIME_MS..=MAX_TIME_MS).contains(&timestamp)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ferula_index::Labels;
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
        // One that is on its way: in memory and staged for the log, but not on the disk.
        let mut on_its_way = Appender::new(Arc::clone(&head));
        on_its_way.append(&labels, 1, 1.0).unwrap();
        assert_eq!(on_its_way.stage().unwrap(), 1);

        let mut repeated = Appender::new(Arc::clone(&head));
        repeated.append(&labels, 1, 1.0).unwrap();
        assert!(repeated.is_empty());
        assert_eq!(repeated.commit().unwrap(), Committed::default());
        assert_eq!(
            head.begin_read(0, Era(0)).seen(),
            BatchId(1),
            "what was acknowledged is visible"
        );
        let (_, mut log) = open(&fs.crash(Survival::Nothing));
        assert!(log.next_record().unwrap().is_some(), "and survives a crash");
    }
}
