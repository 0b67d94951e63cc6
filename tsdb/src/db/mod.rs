//! Opening, closing and everything between: the database as its owner sees it.

mod background;
mod backup;
mod compaction;
mod copy;
mod cut;
mod delete;
mod exemplars;
mod import;
mod metadata;
mod open;
mod out_of_order;
mod read_only;
mod recover;
mod retention;
mod snapshot;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ferula_index::Matcher;
use ferula_index::head::Cardinality;
use ferula_wal::fs::{Fs, StdFs};
use parking_lot::{Mutex, RwLock};
use ulid::Ulid;

use self::background::Background;
pub use self::backup::clone_dir;
use self::compaction::{CompactionCounts, Deletion};
pub use self::copy::CopyReport;
pub use self::import::ImportReport;
use self::open::Opened;
pub(crate) use self::open::{WAL_DIR, WBL_DIR, create_dir};
pub use self::read_only::ReadOnlyDb;
use self::retention::Retained;
use crate::analyze::{Analysis, AnalysisRequest, analyze};
use crate::block::{Block, size_of_dir};
use crate::compact::Control;
use crate::error::Error;
use crate::head::{Appender, Era, Head};
use crate::lock::DirLock;
use crate::options::Options;
use crate::querier::{HeadReader, Querier};
use crate::stats::{CompactionStats, MemoryUsage, OpenReport, Quarantined, Stats};

/// An embedded database, which owns its data directory while it is open.
///
/// It is shared by reference or in an `Arc`; appenders and queriers keep what they need alive.
#[derive(Debug)]
pub struct Db {
    shared: Arc<Shared>,
    report: OpenReport,
    background: Mutex<Vec<Background>>,
    lock: Mutex<Option<DirLock>>,
}

/// What the owner and the background thread share.
#[derive(Debug)]
struct Shared {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: Options,
    head: Arc<Head>,
    view: RwLock<View>,
    /// Blocks that could not be opened.
    quarantined: Vec<Quarantined>,
    /// Held while a block is cut, and whenever blocks come, change or go.
    maintenance: Mutex<()>,
    /// Held while blocks are compacted; taken before that of maintenance.
    compacting: Mutex<()>,
    /// Held while blocks are taken over; taken before that of maintenance.
    importing: Mutex<()>,
    control: Control,
    compactions: Mutex<CompactionCounts>,
    /// Blocks that nobody is to see any more and whose directories may be there yet.
    unwanted: Mutex<Vec<Ulid>>,
    /// What was deleted since the compaction began that runs.
    deletions: Mutex<Option<Vec<Deletion>>>,
    /// Up to which rules the retention of series was applied to each block.
    retained: Mutex<Retained>,
    /// Why no block was cut at the last turn that tried.
    failure: Mutex<Option<String>>,
    /// Why what is beyond the retention was not removed at the last turn that tried.
    retention_failure: Mutex<Option<String>>,
    is_closed: AtomicBool,
}

/// Where samples are to be found: blocks up to a time, the head from there on.
#[derive(Debug)]
struct View {
    /// By time.
    blocks: Arc<[Arc<Block>]>,
    /// From which time on the head is read.
    head_from: i64,
    /// From which era on samples out of order are read from the head.
    era: Era,
}

impl View {
    fn new(mut blocks: Vec<Arc<Block>>, head_from: i64, era: Era) -> Self {
        blocks.sort_by_key(|block| (block.meta().mint, block.meta().ulid));
        Self { blocks: blocks.into(), head_from, era }
    }

    fn reader(&self, head: &Arc<Head>) -> HeadReader {
        HeadReader::new(Arc::clone(head), self.head_from, self.era)
    }

    fn querier(&self, head: &Arc<Head>, mint: i64, maxt: i64) -> Querier {
        Querier::new(mint, maxt, self.reader(head), &self.blocks)
    }

    fn stats(&self, head: &Head, quarantined: &[Quarantined]) -> Stats {
        let (n_series, n_chunks) = head.sizes();
        let (appended, refused) = head.counters();
        let (head_mint, head_maxt) = head.time_range().unzip();
        let damaged = self.blocks.iter().filter_map(|block| block.damage());
        let serving = self.blocks.iter().filter(|block| block.damage().is_none());
        Stats {
            n_series,
            n_chunks,
            head_mint: head_mint.map(|mint| mint.max(self.head_from)),
            head_maxt,
            head_from: self.head_from,
            block_bytes: serving.clone().map(|block| block.size_bytes()).sum(),
            blocks: serving.map(|block| block.meta().clone()).collect(),
            quarantined: quarantined.iter().cloned().chain(damaged).collect(),
            appended,
            out_of_order: head.n_out_of_order(),
            refused,
            n_exemplars: head.exemplars().counts().0 as u64,
            ..Stats::default()
        }
    }
}

impl Db {
    /// Opens the database in the directory `path`, which is made if it does not exist.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is in use, and whatever keeps its log from being read. A block that
    /// cannot be read is no error: see [`OpenReport::quarantined`].
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        Self::open_with(Arc::new(StdFs), path, options)
    }

    /// Opens the database in the directory `path` of the file system `fs`.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(
        fs: Arc<dyn Fs>,
        path: impl AsRef<Path>,
        options: Options,
    ) -> Result<Self, Error> {
        options.check()?;
        let dir = path.as_ref().to_path_buf();
        open::create_dir(&*fs, &dir)?;
        let lock = DirLock::acquire(&*fs, &dir)?;
        let Opened { head, view, report } = open::open(&fs, &dir, &options)?;
        let interval = options.maintenance_interval;
        let control = Control::new(options.compaction_bytes_per_second);
        let shared = Arc::new(Shared {
            fs,
            dir,
            options,
            head: Arc::new(head),
            view: RwLock::new(view),
            quarantined: report.quarantined.clone(),
            maintenance: Mutex::new(()),
            compacting: Mutex::new(()),
            importing: Mutex::new(()),
            control,
            compactions: Mutex::default(),
            unwanted: Mutex::default(),
            deletions: Mutex::default(),
            retained: Mutex::default(),
            failure: Mutex::new(None),
            retention_failure: Mutex::new(None),
            is_closed: AtomicBool::new(false),
        });
        let (background, lock) = (Mutex::default(), Mutex::new(Some(lock)));
        let db = Self { shared, report, background, lock };
        if let Some(interval) = interval {
            db.start_background(interval)?;
        }
        Ok(db)
    }

    /// Opens the database in the directory `path` to be read: takes no lock and writes nothing.
    ///
    /// # Errors
    /// Whatever keeps its log from being read.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<ReadOnlyDb, Error> {
        ReadOnlyDb::open(path)
    }

    /// What opening read, and what it had to cut or set aside.
    pub fn open_report(&self) -> &OpenReport {
        &self.report
    }

    /// Starts a batch of samples.
    pub fn appender(&self) -> Appender {
        Appender::new(Arc::clone(&self.shared.head))
    }

    /// Opens a consistent view of the samples from `mint` to `maxt`, both inclusive, in
    /// milliseconds.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`close`](Self::close).
    pub fn querier(&self, mint: i64, maxt: i64) -> Result<Querier, Error> {
        self.shared.check_open()?;
        Ok(self.shared.view.read().querier(&self.shared.head, mint, maxt))
    }

    /// Does what the background threads do: cuts the blocks that are due from the head, and frees
    /// what they cover; removes what is beyond the retention; compacts blocks. Returns the blocks
    /// cut.
    ///
    /// # Errors
    /// Whatever keeps a block from being written; nothing is lost then.
    pub fn maintain(&self) -> Result<Vec<Ulid>, Error> {
        let cut = self.shared.maintain()?;
        self.compact()?;
        Ok(cut)
    }

    /// Removes what is beyond the retention, and compacts blocks until none are due: as
    /// Prometheus does it, aligned ranges of blocks become one three times as long, up to
    /// [`Options::max_block_range_ms`](crate::Options::max_block_range_ms), and blocks that
    /// overlap become one. Returns the blocks made. Waits for a compaction that is running.
    ///
    /// # Errors
    /// Whatever keeps a block from being read or written; nothing is lost then. Blocks that cannot
    /// be compacted are marked and left alone from then on, and the others are compacted all the
    /// same.
    pub fn compact(&self) -> Result<Vec<Ulid>, Error> {
        self.shared.apply_retention()?;
        self.shared.compact()
    }

    /// Deletes the samples from `mint` to `maxt`, both inclusive, in milliseconds, of the series
    /// that pass all `matchers`. They are not found any more, by queriers opened from then on, and
    /// stay deleted after a crash; their room is given back when the blocks that hold them are
    /// rewritten.
    ///
    /// # Errors
    /// Whatever keeps a block from being read or the deletion from being noted; the other blocks
    /// have lost their samples then. So it is [`Error::OutOfReach`] where a block is set aside that
    /// may hold such samples.
    pub fn delete(&self, matchers: &[Matcher], mint: i64, maxt: i64) -> Result<(), Error> {
        self.shared.delete(matchers, mint, maxt)
    }

    /// Rewrites the blocks of which something is deleted without it, one after the other: this
    /// takes the room of one block beside those that there are. Returns the blocks made.
    ///
    /// # Errors
    /// Whatever keeps a block from being read, after the others were rewritten, or from being written;
    /// nothing is lost then.
    pub fn clean_tombstones(&self) -> Result<Vec<Ulid>, Error> {
        self.shared.clean_tombstones()
    }

    /// Rewrites the blocks of other formats than
    /// [`Options::block_format`](crate::Options::block_format) in that one, one after the other:
    /// this takes the room of one block beside those that there are. Samples stay what they are, bit
    /// for bit. Returns the blocks made.
    ///
    /// # Errors
    /// Whatever keeps a block from being read, after the others were rewritten, or from being written;
    /// nothing is lost then.
    pub fn convert_blocks(&self) -> Result<Vec<Ulid>, Error> {
        self.shared.convert_blocks()
    }

    /// Cuts the whole head into blocks, whether or not they are due, and returns them. Samples
    /// before the end of the last one's range are refused from then on.
    ///
    /// # Errors
    /// Whatever keeps a block from being written; nothing is lost then.
    pub fn compact_head(&self) -> Result<Vec<Ulid>, Error> {
        self.shared.compact_head()
    }

    /// Writes everything committed, as blocks, into the directory `dir`, which is made if it does
    /// not exist. Returns the names of the blocks in it. Blocks that the database has already are
    /// linked where the file system can do it: their files must not be changed in place.
    ///
    /// # Errors
    /// [`Error::SnapshotTarget`] if `dir` holds a log, of this database or another one; whatever
    /// keeps a block from being written or linked.
    pub fn snapshot(&self, dir: impl AsRef<Path>) -> Result<Vec<Ulid>, Error> {
        self.shared.snapshot(dir.as_ref())
    }

    /// Takes over the blocks in the directory `from`, of either format, after reading them whole. They
    /// are linked where the file system can do it, so that their files must not be changed in place
    /// any more, and copied otherwise. Blocks that are here already, or of which one here was made, are
    /// passed over. Everything else goes on meanwhile. `on_progress` is called now and then with how many
    /// bytes were read, and of how many.
    ///
    /// # Errors
    /// If the directory cannot be listed, or a block not be linked; [`Error::NotEmpty`] where one of the
    /// same name is set aside here; [`Error::Closed`]. Blocks taken over before stay.
    pub fn import_blocks(
        &self,
        from: impl AsRef<Path>,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<ImportReport, Error> {
        self.shared.import_blocks(from.as_ref(), on_progress)
    }

    /// What the database holds now.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Memory that the head takes, by part. The parts are counted as they change, except for the
    /// index, which is walked through page by page: some milliseconds for a million series.
    pub fn memory(&self) -> MemoryUsage {
        self.shared.head.memory()
    }

    /// Counts series, samples and bytes by metric, label and label pair, over blocks and head. Every
    /// chunk is looked at, a series at a time. `on_progress` is called now and then with how many
    /// series were read, and of how many.
    ///
    /// # Errors
    /// Whatever keeps a block from being read.
    pub fn analyze(
        &self,
        request: &AnalysisRequest,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Analysis, Error> {
        self.shared.check_open()?;
        let (reader, blocks) = self.shared.read();
        analyze(&reader, &blocks, request, on_progress)
    }

    /// Counts the series of the head by metric, label and label pair, and keeps the `top` largest of
    /// each. Looks at label pairs and not at series.
    pub fn cardinality(&self, top: usize) -> Cardinality {
        self.shared.head.index().cardinality(top)
    }

    /// Writes out the log, ends the background threads and gives the directory free. Waits for a
    /// block that is being cut or taken over and for a snapshot; a compaction is broken off. What is not committed
    /// is lost. Closing twice is no error. Queriers that are open go on. Writes down what the head
    /// holds, unless [`Options::head_snapshot`] says otherwise, for the next opening to begin with.
    ///
    /// # Errors
    /// Whatever keeps the log from being synced, or the head from being written down; of the latter
    /// nothing is lost.
    pub fn close(&self) -> Result<(), Error> {
        if self.shared.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.shared.control.cancel();
        let background = std::mem::take(&mut *self.background.lock());
        background.into_iter().for_each(Background::stop);
        // A block that another thread is making still needs the log and the directory.
        let _compacting = self.shared.compacting.lock();
        let _importing = self.shared.importing.lock();
        let _maintenance = self.shared.maintenance.lock();
        let head = &self.shared.head;
        head.close();
        let late = head.close_out_of_order();
        let closed = head
            .wal()
            .map_or(Ok(()), |wal| wal.close().map_err(|source| Error::Wal { op: "close", source }))
            .and(late)
            .and_then(|()| self.shared.save());
        // Only now, when nothing writes any more.
        self.lock.lock().take();
        closed
    }
}

impl Db {
    /// Cutting has a thread of its own, so that the head does not grow while blocks are compacted.
    fn start_background(&self, interval: Duration) -> Result<(), Error> {
        let cutting = Background::start("ferula-tsdb-cut", &self.shared, interval, |shared| {
            let cut = shared.maintain();
            *shared.failure.lock() = cut.as_ref().err().map(Error::to_string_with_causes);
            cut.is_ok()
        });
        self.background.lock().push(cutting?);
        let compacting =
            Background::start("ferula-tsdb-compact", &self.shared, interval, |shared| {
                let retained = shared.apply_retention();
                *shared.retention_failure.lock() =
                    retained.as_ref().err().map(Error::to_string_with_causes);
                shared.compact().is_ok() && retained.is_ok()
            });
        self.background.lock().push(compacting?);
        Ok(())
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Whoever wants to know of a failure calls `close`.
        let _ = self.close();
    }
}

impl Shared {
    /// Writes down what the head holds, when the log is closed.
    fn save(&self) -> Result<(), Error> {
        let is_wanted = self.options.head_snapshot && self.head.sizes().0 > 0;
        if !is_wanted || self.head.has_failed() {
            return Ok(());
        }
        let covered_until = self.view.read().head_from;
        recover::save(&*self.fs, &self.dir, &self.head, covered_until)
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    fn stats(&self) -> Stats {
        let mut stats = self.view.read().stats(&self.head, &self.quarantined);
        stats.maintenance_failure = self.failure.lock().clone();
        stats.retention_failure = self.retention_failure.lock().clone();
        let counts = self.compactions.lock();
        stats.compaction = CompactionStats {
            running: self.control.progress(),
            done: counts.done,
            failed: counts.failed,
            failure: counts.failure.clone(),
        };
        drop(counts);
        if let Some(wal) = self.head.wal() {
            // A file may go while it is looked at; this is a number to look at, too.
            stats.wal_bytes = size_of_dir(&*self.fs, wal.dir()).unwrap_or_default();
        }
        if let Some(wbl) = self.head.wbl() {
            stats.wbl_bytes = size_of_dir(&*self.fs, wbl.dir()).unwrap_or_default();
        }
        stats
    }
}
