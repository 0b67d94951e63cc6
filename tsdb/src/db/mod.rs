//! Opening, closing and everything between: the database as its owner sees it.

mod background;
mod cut;
mod open;
mod read_only;
mod snapshot;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ferula_wal::fs::{Fs, StdFs};
use parking_lot::{Mutex, RwLock};
use ulid::Ulid;

use self::background::Background;
use self::open::Opened;
pub use self::read_only::ReadOnlyDb;
use crate::block::Block;
use crate::error::Error;
use crate::head::{Appender, Head};
use crate::lock::DirLock;
use crate::options::Options;
use crate::querier::{HeadReader, Querier};
use crate::stats::{MemoryUsage, OpenReport, Quarantined, Stats};

/// An embedded database, which owns its data directory while it is open.
///
/// It is shared by reference or in an `Arc`; appenders and queriers keep what they need alive.
#[derive(Debug)]
pub struct Db {
    shared: Arc<Shared>,
    report: OpenReport,
    background: Mutex<Option<Background>>,
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
    /// Held while blocks are made.
    maintenance: Mutex<()>,
    /// Why the background thread did not do its work at its last turn.
    failure: Mutex<Option<String>>,
    is_closed: AtomicBool,
}

/// Where samples are to be found: blocks up to a time, the head from there on.
#[derive(Debug)]
struct View {
    /// By time.
    blocks: Arc<[Arc<Block>]>,
    /// From which time on the head is read.
    head_from: i64,
}

impl View {
    fn new(blocks: Vec<Arc<Block>>, head_from: i64) -> Self {
        Self { blocks: blocks.into(), head_from }
    }

    fn querier(&self, head: &Arc<Head>, mint: i64, maxt: i64) -> Querier {
        let head = HeadReader::new(Arc::clone(head), self.head_from);
        Querier::new(mint, maxt, head, &self.blocks)
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
            blocks: serving.map(|block| block.meta().clone()).collect(),
            quarantined: quarantined.iter().cloned().chain(damaged).collect(),
            appended,
            refused,
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
        let shared = Arc::new(Shared {
            fs,
            dir,
            options,
            head: Arc::new(head),
            view: RwLock::new(view),
            quarantined: report.quarantined.clone(),
            maintenance: Mutex::new(()),
            failure: Mutex::new(None),
            is_closed: AtomicBool::new(false),
        });
        let background = match interval {
            Some(interval) => Some(Background::start(Arc::clone(&shared), interval)?),
            None => None,
        };
        let (background, lock) = (Mutex::new(background), Mutex::new(Some(lock)));
        Ok(Self { shared, report, background, lock })
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

    /// Does what the background thread does: cuts the blocks that are due, and frees what they
    /// cover. Returns the blocks made.
    ///
    /// # Errors
    /// Whatever keeps a block from being written; nothing is lost then.
    pub fn maintain(&self) -> Result<Vec<Ulid>, Error> {
        self.shared.maintain()
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

    /// What the database holds now.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Memory that the head takes, by part. The parts are counted as they change, so that this costs
    /// next to nothing, however many series there are.
    pub fn memory(&self) -> MemoryUsage {
        self.shared.head.memory()
    }

    /// Writes out the log, ends the background thread and gives the directory free. Waits for a block
    /// or a snapshot that is being made. What is not committed is lost. Closing twice is no error. Queriers that are open go on.
    ///
    /// # Errors
    /// Whatever keeps the log from being synced.
    pub fn close(&self) -> Result<(), Error> {
        if self.shared.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let background = self.background.lock().take();
        if let Some(background) = background {
            background.stop();
        }
        // A block that another thread is making still needs the log and the directory.
        let _maintenance = self.shared.maintenance.lock();
        let head = &self.shared.head;
        head.close();
        let closed = head
            .wal()
            .map_or(Ok(()), |wal| wal.close().map_err(|source| Error::Wal { op: "close", source }));
        // Only now, when nothing writes any more.
        self.lock.lock().take();
        closed
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Whoever wants to know of a failure calls `close`.
        let _ = self.close();
    }
}

impl Shared {
    fn check_open(&self) -> Result<(), Error> {
        if self.is_closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    fn stats(&self) -> Stats {
        let mut stats = self.view.read().stats(&self.head, &self.quarantined);
        stats.maintenance_failure = self.failure.lock().clone();
        if let Some(wal) = self.head.wal() {
            // A file may go while it is looked at; this is a number to look at, too.
            stats.wal_bytes = size_of_dir(&*self.fs, wal.dir()).unwrap_or_default();
        }
        stats
    }
}

fn size_of_dir(fs: &dyn Fs, dir: &Path) -> std::io::Result<u64> {
    let mut size = 0;
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs.list(&dir)? {
            let path = dir.join(&entry.name);
            if entry.is_dir {
                pending.push(path);
            } else {
                size += fs.metadata(&path)?.len;
            }
        }
    }
    Ok(size)
}
