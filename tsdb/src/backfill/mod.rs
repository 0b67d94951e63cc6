//! Making blocks of samples that come in any order, such as those of another store or of a text.
//!
//! Samples are gathered by series. When they take as much memory as they may, they are sorted,
//! encoded and written aside as a [`run`]: entries of one series in one block range each, by range
//! and labels. At the end the runs are merged range by range, and each range becomes a block. All
//! blocks are written under temporary names and verified before the first one gets its own.
//!
//! # Memory
//!
//! [`BackfillOptions::memory_bytes`] for samples that are gathered, with their labels; while they are
//! sorted, half as much again at most. Beside that 64 KiB for each run, of which there are
//! 64 at most (as many become one before there are more); and while a block is written the samples
//! of one series in it, its label names and values, and what its writer keeps.

mod buffer;
mod build;
mod options;
mod run;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_index::Labels;
use ferula_wal::fs::{Fs, StdFs};
use serde::Serialize;
use ulid::Ulid;

use self::buffer::Buffer;
pub use self::options::{
    BackfillOptions, DEFAULT_BACKFILL_MEMORY_BYTES, MIN_BACKFILL_MEMORY_BYTES,
};
use self::run::{RunReader, RunWriter};
use crate::block::{BlockMeta, CREATION_SUFFIX};
use crate::clock::new_ulid;
use crate::db::{WAL_DIR, create_dir};
use crate::error::{AppendError, Error};
use crate::histogram::NativeHistogram;
use crate::lock::DirLock;
use crate::options::MAX_TIME_MS;
use crate::recode::{Recoded, Value};
use crate::repair::{covered_until, open_blocks};

/// Runs that are merged at once.
const MAX_RUNS: usize = 64;

/// Makes blocks of samples that come in any order.
///
/// Of several samples of a series at the same time the one that was appended first stays. Samples
/// that the directory has already are left as they are there; where a new block overlaps others,
/// queries and compactions take of two samples at the same time the one of the block that begins
/// first.
///
/// Nothing is to be seen before [`finish`](Self::finish); dropping it leaves the directory as it was.
/// The directory is locked meanwhile.
///
/// ```
/// use ferula_index::Labels;
/// use ferula_tsdb::{Backfill, BackfillOptions, Db};
///
/// # let dir = tempfile::tempdir()?;
/// let mut backfill = Backfill::open(dir.path(), BackfillOptions::default())?;
/// let labels = Labels::from_pairs([("__name__", "temperature_celsius"), ("room", "kitchen")])?;
/// for time in [1_700_000_060_000, 1_600_000_000_000, 1_700_000_000_000] {
///     backfill.append(&labels, time, 21.5)?;
/// }
/// let report = backfill.finish(&mut |_, _| {})?;
/// assert_eq!((report.blocks.len(), report.samples), (2, 3));
/// assert_eq!(Db::open_read_only(dir.path())?.stats().blocks.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Backfill {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: BackfillOptions,
    buffer: Buffer,
    /// Where runs are, once there is one.
    spool: PathBuf,
    runs: Vec<PathBuf>,
    n_runs: u64,
    appended: u64,
    /// A block that is about to go.
    replaced: Option<Ulid>,
    /// Released last; none if somebody else holds it.
    _lock: Option<DirLock>,
}

/// What became of the samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackfillReport {
    /// The blocks that were made, by time.
    pub blocks: Vec<BlockMeta>,
    /// Samples in them.
    pub samples: u64,
    /// Samples that were left out because their series has one at the same time already.
    pub duplicates: u64,
    /// Runs that were written aside on the way.
    pub runs: u64,
}

impl Backfill {
    /// Begins to make blocks in the directory `dir`, which is made if it does not exist.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is in use; [`Error::InvalidOption`].
    pub fn open(dir: impl AsRef<Path>, options: BackfillOptions) -> Result<Self, Error> {
        Self::open_with(Arc::new(StdFs), dir, options)
    }

    /// Begins to make blocks in the directory `dir` of the file system `fs`.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(
        fs: Arc<dyn Fs>,
        dir: impl AsRef<Path>,
        options: BackfillOptions,
    ) -> Result<Self, Error> {
        options.check()?;
        let dir = dir.as_ref();
        create_dir(&*fs, dir)?;
        let lock = DirLock::acquire(&*fs, dir)?;
        let mut backfill = Self::under_lock(fs, dir, options, None)?;
        backfill._lock = Some(lock);
        Ok(backfill)
    }

    /// Begins to make blocks in a directory that the caller has locked. The block `replaced` is about to
    /// go, and covers nothing any more.
    pub(crate) fn under_lock(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: BackfillOptions,
        replaced: Option<Ulid>,
    ) -> Result<Self, Error> {
        options.check()?;
        // An opening removes what is called like this, should the process end halfway.
        let spool = dir.join(format!("{}{CREATION_SUFFIX}", new_ulid(&*options.clock)));
        Ok(Self {
            fs,
            dir: dir.to_path_buf(),
            options,
            buffer: Buffer::default(),
            spool,
            runs: Vec::new(),
            n_runs: 0,
            appended: 0,
            replaced,
            _lock: None,
        })
    }

    /// Adds a float. `timestamp` is in milliseconds since the Unix epoch; `value` is kept bit for bit.
    ///
    /// # Errors
    /// [`Error::Refused`] if no store would take the sample; whatever keeps samples from being
    /// written aside, after which nothing more can be done.
    pub fn append(&mut self, labels: &Labels, timestamp: i64, value: f64) -> Result<(), Error> {
        self.push(labels, Recoded { start: 0, timestamp, value: Value::Float(value) })
    }

    /// Adds a native histogram.
    ///
    /// # Errors
    /// Those of [`append`](Self::append), also if the parts of the histogram do not fit together.
    pub fn append_histogram(
        &mut self,
        labels: &Labels,
        timestamp: i64,
        histogram: impl Into<NativeHistogram>,
    ) -> Result<(), Error> {
        let mut histogram = histogram.into();
        histogram
            .normalize()
            .map_err(|source| refused(labels, AppendError::InvalidHistogram { source }))?;
        let value = Value::Histogram(Box::new(histogram));
        self.push(labels, Recoded { start: 0, timestamp, value })
    }

    /// Adds a sample.
    pub(crate) fn push(&mut self, labels: &Labels, sample: Recoded) -> Result<(), Error> {
        let timestamp = sample.timestamp;
        if labels.is_empty() {
            return Err(refused(labels, AppendError::NoLabels));
        }
        if labels.iter().any(|(name, _)| name.is_empty()) {
            return Err(refused(labels, AppendError::EmptyLabelName));
        }
        if timestamp.unsigned_abs() > MAX_TIME_MS.unsigned_abs() {
            let limit = MAX_TIME_MS;
            return Err(refused(labels, AppendError::TimeOutOfRange { timestamp, limit }));
        }
        self.appended += 1;
        self.buffer.push(labels, sample);
        if self.buffer.bytes() >= self.options.memory_bytes { self.spill() } else { Ok(()) }
    }

    /// Writes what was gathered aside.
    fn spill(&mut self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let range = self.options.block_range_ms;
        let mut run = self.begin_run()?;
        let buffer = std::mem::take(&mut self.buffer);
        buffer.drain(range, |entry| run.write(entry)).map_err(|error| match error {
            buffer::DrainError::Encode(source) => {
                Error::Decode { file: self.spool.clone(), source }
            }
            buffer::DrainError::Write(error) => error,
        })?;
        self.runs.push(run.finish()?);
        if self.runs.len() < MAX_RUNS {
            return Ok(());
        }
        let mut run = self.begin_run()?;
        let mut merge = build::Merge::open(&*self.fs, &self.runs)?;
        while let Some(entry) = merge.next_entry()? {
            run.write(&entry)?;
        }
        drop(merge);
        let merged = run.finish()?;
        for old in std::mem::replace(&mut self.runs, vec![merged]) {
            self.fs.remove_file(&old).map_err(Error::io("remove", &old))?;
        }
        Ok(())
    }

    fn begin_run(&mut self) -> Result<RunWriter, Error> {
        self.fs.create_dir_all(&self.spool).map_err(Error::io("create", &self.spool))?;
        self.n_runs += 1;
        RunWriter::create(&*self.fs, self.spool.join(format!("{:08}", self.n_runs)))
    }

    /// Makes the blocks. `on_progress` is called now and then with how many bytes of the runs were
    /// read, and of how many.
    ///
    /// # Errors
    /// Whatever keeps a block from being written, verified or named. Blocks that have their names by
    /// then lose them again.
    pub fn finish(
        mut self,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<BackfillReport, Error> {
        self.spill()?;
        // What the log has of the time that whole blocks cover is in them. So a block that goes beyond
        // that must not count as a whole one, or the next opening would leave the log aside.
        let mut blocks = open_blocks(&*self.fs, &self.dir)?.blocks;
        blocks.retain(|block| Some(block.meta().ulid) != self.replaced);
        let covered = covered_until(&blocks);
        let wal = self.dir.join(WAL_DIR);
        let has_log = self.fs.exists(&wal).map_err(Error::io("inspect", &wal))?;
        let is_part = |maxt: i64| has_log && maxt > covered;
        let build = build::Build {
            fs: &*self.fs,
            dir: &self.dir,
            options: &self.options,
            is_part: &is_part,
        };
        let blocks = build.run(&self.runs, on_progress)?;
        let samples = blocks.iter().map(|meta| meta.stats.num_samples).sum();
        let (duplicates, runs) = (self.appended - samples, self.n_runs);
        Ok(BackfillReport { blocks, samples, duplicates, runs })
    }
}

impl Drop for Backfill {
    fn drop(&mut self) {
        if self.n_runs > 0 {
            // The next opening would do it too.
            let _ = self.fs.remove_dir_all(&self.spool);
        }
    }
}

fn refused(labels: &Labels, source: AppendError) -> Error {
    Error::Refused { labels: labels.clone(), source }
}
