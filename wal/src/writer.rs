//! The log being written: staging, group commit, rotation.
//!
//! Records are framed into memory under a short lock. Whoever has to wait for them becomes the one
//! who writes and syncs everything staged so far, without the lock; the others wait for that and
//! usually find their own records covered. No two threads do IO on a segment at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::Error;
use crate::checkpoint::remove_replaced;
use crate::frame::{DURABLE_BEFORE, MAX_BATCH_BYTES, PAGE_BYTES, Packer, page_left};
use crate::fs::{File, Fs, OpenMode};
use crate::options::{Options, SyncPolicy};
use crate::reader::{LogReader, LogRecord};
use crate::repair::{Cut, repair_last};
use crate::segment::{Listing, segment_path};

/// Staged bytes above which [`Wal::log`] writes them out itself.
const MAX_STAGED_BYTES: usize = 4 << 20;

/// A place in the log: everything logged before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

/// A log that is open for writing. It is shared by reference between threads.
///
/// See the [crate documentation](crate) for an example.
#[derive(Debug)]
pub struct Wal {
    shared: Arc<Shared>,
    ticker: Mutex<Option<JoinHandle<()>>>,
    /// Held while files other than the current segment are removed or replaced.
    maintenance: Mutex<()>,
}

/// What opening a log found, and its records to be replayed.
#[derive(Debug)]
pub struct Recovery {
    /// What was read and what was cut.
    pub report: RecoveryReport,
    reader: LogReader,
}

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Number of the checkpoint that the log begins with.
    pub checkpoint: Option<u32>,
    /// First and last segment that hold records to replay.
    pub segments: Option<(u32, u32)>,
    /// What was cut off the last segment.
    pub cut: Option<Cut>,
}

impl Recovery {
    /// Reads the next record to replay, or `None` at the end.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a part of the log that had been durable cannot be read, [`Error::Io`].
    pub fn next_record(&mut self) -> Result<Option<LogRecord<'_>>, Error> {
        self.reader.next_record()
    }
}

#[derive(Debug)]
struct Shared {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: Options,
    state: Mutex<State>,
    /// Signalled whenever IO ends or the log stops.
    changed: Condvar,
    /// Signalled when the log stops; only the ticker waits for it.
    stopped: Condvar,
    packers: Mutex<Vec<Packer>>,
}

#[derive(Debug)]
struct State {
    segment: u32,
    file: Arc<dyn File>,
    /// Framed bytes not yet handed to the file.
    staged: Vec<u8>,
    /// Offset in the segment at which the staged bytes belong.
    staged_at: u64,
    /// Everything before this offset in the segment is durable.
    durable_to: u64,
    logged: Lsn,
    written: Lsn,
    durable: Lsn,
    io: Io,
    stop: Option<Stop>,
    /// A buffer to stage into next.
    spare: Vec<u8>,
}

impl State {
    fn end(&self) -> u64 {
        self.staged_at + self.staged.len() as u64
    }

    fn check(&self) -> Result<(), Error> {
        match &self.stop {
            None => Ok(()),
            Some(Stop::Closed) => Err(Error::Closed),
            Some(Stop::Failed(cause)) => Err(Error::Stopped { cause: Arc::clone(cause) }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Io {
    Idle,
    /// Staged bytes are being written; more may be staged meanwhile.
    Flushing,
    /// The segment is being changed; nothing may be staged meanwhile.
    Rotating,
}

#[derive(Debug)]
enum Stop {
    Closed,
    Failed(Arc<Error>),
}

impl Wal {
    /// Opens the log in `dir`, making it if there is none.
    ///
    /// The end of the last segment is repaired first, and the log goes on in a new segment. The
    /// records are then read from the [`Recovery`], at the caller's pace and in constant memory.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the last segment lost records that had been durable,
    /// [`Error::MissingSegment`] if there is a gap, [`Error::Io`]. Damage in an earlier segment is
    /// found by the [`Recovery`].
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: impl AsRef<Path>,
        options: Options,
    ) -> Result<(Self, Recovery), Error> {
        let dir = dir.as_ref();
        fs.create_dir_durable(dir).map_err(Error::io("create", dir))?;
        let listing = Listing::read(&*fs, dir)?;
        let mut report =
            RecoveryReport { checkpoint: listing.checkpoint, ..RecoveryReport::default() };
        let mut next = match listing.checkpoint {
            Some(checkpoint) => Some(number_after(dir, checkpoint)?),
            None => None,
        };
        let mut last_with_records = None;
        if let Some(&last) = listing.segments.last() {
            let repaired = repair_last(&*fs, &segment_path(dir, last), last)?;
            report.cut = repaired.cut;
            last_with_records = if repaired.is_empty { last.checked_sub(1) } else { Some(last) };
            next = Some(if repaired.is_empty { last } else { number_after(dir, last)? });
        }
        report.segments = listing
            .segments
            .first()
            .copied()
            .zip(last_with_records)
            .filter(|(first, last)| first <= last);
        let segment = next.unwrap_or(0);
        let reader = LogReader::over(Arc::clone(&fs), dir, &listing, segment.saturating_sub(1))?;
        let is_reused = listing.segments.contains(&segment);
        let mode = if is_reused { OpenMode::Truncate } else { OpenMode::CreateNew };
        let file = create_segment(&*fs, dir, segment, mode)?;
        if !listing.stale_segments.is_empty() || !listing.stale_dirs.is_empty() {
            remove_replaced(&*fs, dir, &listing)?;
        }
        let shared = Arc::new(Shared {
            fs,
            dir: dir.to_path_buf(),
            options,
            state: Mutex::new(State {
                segment,
                file,
                staged: Vec::new(),
                staged_at: 0,
                durable_to: 0,
                logged: Lsn(0),
                written: Lsn(0),
                durable: Lsn(0),
                io: Io::Idle,
                stop: None,
                spare: Vec::new(),
            }),
            changed: Condvar::new(),
            stopped: Condvar::new(),
            packers: Mutex::new(Vec::new()),
        });
        let ticker = match shared.options.sync {
            SyncPolicy::Interval(interval) => {
                let shared = Arc::clone(&shared);
                let thread = std::thread::Builder::new().name("ferula-wal-sync".to_owned());
                let ticker = thread
                    .spawn(move || shared.sync_every(interval))
                    .map_err(Error::io("start a thread for", dir))?;
                Some(ticker)
            }
            SyncPolicy::Always | SyncPolicy::Never => None,
        };
        let wal = Self { shared, ticker: Mutex::new(ticker), maintenance: Mutex::new(()) };
        Ok((wal, Recovery { report, reader }))
    }

    /// Logs records as one batch: after a crash all of them are read back, or none.
    ///
    /// The records are in the log's order from here on, but neither written nor durable before
    /// [`Wal::commit`] returns. A batch never spans segments; one that is longer than a segment
    /// makes its segment longer.
    ///
    /// # Errors
    /// [`Error::EmptyRecord`], [`Error::TooLarge`] above [`MAX_BATCH_BYTES`]; nothing was logged
    /// then. [`Error::Stopped`] after a failure, [`Error::Closed`].
    pub fn log(&self, records: &[&[u8]]) -> Result<Lsn, Error> {
        let shared = &*self.shared;
        check_batch(records)?;
        let mut packer = shared.packers.lock().pop().unwrap_or_default();
        packer.pack(records, shared.options.compression);
        let bound = packer.framed_bound();
        let mut state = shared.state.lock();
        loop {
            state.check()?;
            if state.io == Io::Rotating {
                shared.changed.wait(&mut state);
                continue;
            }
            let end = state.end();
            let is_full = end > 0 && end + bound > shared.options.segment_bytes;
            if !is_full && state.staged.len() < MAX_STAGED_BYTES {
                break;
            }
            if state.io == Io::Flushing {
                shared.changed.wait(&mut state);
            } else if is_full {
                shared.rotate(&mut state)?;
            } else {
                shared.flush(&mut state, false)?;
            }
        }
        let State { staged, staged_at, .. } = &mut *state;
        let before = staged.len();
        packer.push_framed(*staged_at + before as u64, staged);
        let added = (staged.len() - before) as u64;
        state.logged.0 += added;
        let lsn = state.logged;
        drop(state);
        shared.packers.lock().push(packer);
        Ok(lsn)
    }

    /// Waits until everything up to `lsn` is as durable as the sync policy says.
    ///
    /// With [`SyncPolicy::Always`] that is: on the disk. With the others: handed to the operating
    /// system, so that the end of this process does not lose it.
    ///
    /// # Errors
    /// [`Error::Stopped`] if a write or sync failed: what was not acknowledged before may or may
    /// not be read back after the next opening.
    pub fn commit(&self, lsn: Lsn) -> Result<(), Error> {
        let is_synced = self.shared.options.sync == SyncPolicy::Always;
        self.shared.reach(lsn, is_synced)
    }

    /// Logs records as one batch and commits them.
    ///
    /// # Errors
    /// Those of [`Wal::log`] and [`Wal::commit`].
    pub fn append(&self, records: &[&[u8]]) -> Result<Lsn, Error> {
        let lsn = self.log(records)?;
        self.commit(lsn)?;
        Ok(lsn)
    }

    /// Makes everything logged so far durable, whatever the sync policy.
    ///
    /// # Errors
    /// [`Error::Stopped`] if a write or sync failed, [`Error::Closed`].
    pub fn sync(&self) -> Result<(), Error> {
        let lsn = {
            let state = self.shared.state.lock();
            state.check()?;
            state.logged
        };
        self.shared.reach(lsn, true)
    }

    /// Closes the current segment, making it durable, and goes on in a new one, whose number it
    /// returns. A segment without records is kept.
    ///
    /// # Errors
    /// [`Error::Stopped`] if a write or sync failed, [`Error::Closed`].
    pub fn rotate(&self) -> Result<u32, Error> {
        let mut state = self.shared.state.lock();
        loop {
            state.check()?;
            if state.io == Io::Idle {
                break;
            }
            self.shared.changed.wait(&mut state);
        }
        if state.end() > 0 {
            self.shared.rotate(&mut state)?;
        }
        Ok(state.segment)
    }

    /// Number of the segment being written.
    pub fn current_segment(&self) -> u32 {
        self.shared.state.lock().segment
    }

    pub(crate) fn fs(&self) -> &Arc<dyn Fs> {
        &self.shared.fs
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Held while files other than the current segment are removed or replaced.
    pub(crate) fn maintenance(&self) -> MutexGuard<'_, ()> {
        self.maintenance.lock()
    }

    /// The directory of the log.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Removes the segments before `segment`; the current one always stays.
    ///
    /// What they hold must be kept elsewhere by now: in a block, for example. A log
    /// with a checkpoint is shortened by the next [`Wal::checkpoint`].
    ///
    /// # Errors
    /// [`Error::TruncateRange`] if that would leave a gap behind a checkpoint. [`Error::Io`]; the
    /// segments removed before stay so.
    pub fn truncate_before(&self, segment: u32) -> Result<(), Error> {
        let _maintenance = self.maintenance();
        let limit = segment.min(self.current_segment());
        let Shared { fs, dir, .. } = &*self.shared;
        let listing = Listing::read(&**fs, dir)?;
        if let Some(checkpoint) = listing.checkpoint
            && limit > checkpoint.saturating_add(1)
        {
            return Err(Error::TruncateRange { segment, checkpoint });
        }
        let old = listing.stale_segments.iter().chain(&listing.segments);
        for &number in old.take_while(|&&number| number < limit) {
            let path = segment_path(dir, number);
            fs.remove_file(&path).map_err(Error::io("remove", &path))?;
            // One by one: removals that reach the disk out of order would leave a gap.
            fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        }
        Ok(())
    }

    /// Makes everything durable and ends the log's thread. Later calls to log fail; closing again
    /// does nothing.
    ///
    /// # Errors
    /// [`Error::Stopped`] if a write or sync failed, now or before.
    pub fn close(&self) -> Result<(), Error> {
        let result = self.shared.finish();
        self.join_ticker();
        result
    }

    fn join_ticker(&self) {
        let ticker = self.ticker.lock().take();
        if let Some(ticker) = ticker {
            ticker.join().expect("the sync thread does not panic");
        }
    }
}

impl Drop for Wal {
    /// Ends the log's thread; what was not committed may be lost.
    fn drop(&mut self) {
        {
            let mut state = self.shared.state.lock();
            state.stop.get_or_insert(Stop::Closed);
            self.shared.stopped.notify_all();
        }
        self.join_ticker();
    }
}

impl Shared {
    /// Waits until everything up to `lsn` is written, or durable.
    fn reach(&self, lsn: Lsn, is_synced: bool) -> Result<(), Error> {
        let mut state = self.state.lock();
        loop {
            let reached = if is_synced { state.durable } else { state.written };
            if reached >= lsn {
                return Ok(());
            }
            state.check()?;
            if state.io == Io::Idle {
                self.flush(&mut state, is_synced)?;
            } else {
                self.changed.wait(&mut state);
            }
        }
    }

    /// Writes what is staged, and syncs it if asked to. IO must be idle.
    fn flush(&self, state: &mut MutexGuard<'_, State>, is_synced: bool) -> Result<(), Error> {
        let (group, at, lsn) = take_staged(state);
        state.staged_at = at + group.len() as u64;
        let file = Arc::clone(&state.file);
        let path = segment_path(&self.dir, state.segment);
        let result = self.while_unlocked(state, Io::Flushing, || {
            if !group.is_empty() {
                file.write_at(&group, at).map_err(Error::io("write", &path))?;
            }
            if is_synced {
                file.sync_data().map_err(Error::io("sync", &path))?;
            }
            Ok(())
        });
        if result.is_ok() {
            state.written = lsn;
            if is_synced {
                state.durable = lsn;
                state.durable_to = at + group.len() as u64;
            }
        }
        state.spare = group;
        state.spare.clear();
        result
    }

    /// Fills the last page of the segment with zeros, makes the segment durable, and only then
    /// makes the next one: so damage before the last segment is never the trace of a crash. IO must
    /// be idle.
    fn rotate(&self, state: &mut MutexGuard<'_, State>) -> Result<(), Error> {
        let (mut group, at, lsn) = take_staged(state);
        pad_page(&mut group, at);
        let file = Arc::clone(&state.file);
        let segment = state.segment;
        let mut next = None;
        let result = self.while_unlocked(state, Io::Rotating, || {
            let number = number_after(&self.dir, segment)?;
            self.seal(&*file, segment, &group, at)?;
            let file = create_segment(&*self.fs, &self.dir, number, OpenMode::CreateNew)?;
            next = Some((number, file));
            Ok(())
        });
        if let Some((number, file)) = next {
            state.segment = number;
            state.file = file;
            state.staged_at = 0;
            state.durable_to = 0;
            state.written = lsn;
            state.durable = lsn;
        }
        state.spare = group;
        state.spare.clear();
        result
    }

    /// Writes the last bytes of a segment and syncs it.
    fn seal(&self, file: &dyn File, segment: u32, group: &[u8], at: u64) -> Result<(), Error> {
        let path = segment_path(&self.dir, segment);
        if !group.is_empty() {
            file.write_at(group, at).map_err(Error::io("write", &path))?;
        }
        file.sync_data().map_err(Error::io("sync", &path))
    }

    /// Closes the log.
    fn finish(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        loop {
            match &state.stop {
                None => {}
                Some(Stop::Closed) => return Ok(()),
                Some(Stop::Failed(_)) => return state.check(),
            }
            if state.io == Io::Idle {
                break;
            }
            self.changed.wait(&mut state);
        }
        let (mut group, at, lsn) = take_staged(&mut state);
        pad_page(&mut group, at);
        let file = Arc::clone(&state.file);
        let segment = state.segment;
        self.while_unlocked(&mut state, Io::Rotating, || self.seal(&*file, segment, &group, at))?;
        state.written = lsn;
        state.durable = lsn;
        state.stop = Some(Stop::Closed);
        self.changed.notify_all();
        self.stopped.notify_all();
        Ok(())
    }

    /// Does IO without the lock. A failure stops the log for good.
    fn while_unlocked(
        &self,
        state: &mut MutexGuard<'_, State>,
        io: Io,
        work: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        debug_assert_eq!(state.io, Io::Idle, "only one thread does IO");
        state.io = io;
        let result = MutexGuard::unlocked(state, work);
        state.io = Io::Idle;
        self.changed.notify_all();
        if let Err(error) = result {
            state.stop = Some(Stop::Failed(Arc::new(error)));
            self.stopped.notify_all();
        }
        match &state.stop {
            Some(Stop::Failed(_)) => state.check(),
            _ => Ok(()),
        }
    }

    /// Syncs at an interval until the log stops.
    fn sync_every(&self, interval: Duration) {
        let mut state = self.state.lock();
        while state.stop.is_none() {
            if !self.stopped.wait_for(&mut state, interval).timed_out() {
                continue;
            }
            while state.io != Io::Idle {
                self.changed.wait(&mut state);
            }
            if state.stop.is_none() && state.durable < state.logged {
                // The failure is kept in the state, where the next commit finds it.
                let _ = self.flush(&mut state, true);
            }
        }
    }
}

/// Takes what is staged: the bytes, their offset, and what is logged with them.
fn take_staged(state: &mut State) -> (Vec<u8>, u64, Lsn) {
    let spare = std::mem::take(&mut state.spare);
    let mut group = std::mem::replace(&mut state.staged, spare);
    let at = state.staged_at;
    // A group begins with a header, whose first byte is not covered by the checksum.
    if at > 0
        && state.durable_to == at
        && let Some(byte) = group.first_mut()
    {
        *byte |= DURABLE_BEFORE;
    }
    (group, at, state.logged)
}

/// Fills the last page with zeros; a page that has nothing stays so.
fn pad_page(group: &mut Vec<u8>, at: u64) {
    let left = page_left(at + group.len() as u64);
    if left < PAGE_BYTES {
        group.resize(group.len() + left, 0);
    }
}

fn check_batch(records: &[&[u8]]) -> Result<(), Error> {
    if records.is_empty() || records.iter().any(|record| record.is_empty()) {
        return Err(Error::EmptyRecord);
    }
    let len = records.iter().map(|record| record.len() as u64).sum();
    let limit = MAX_BATCH_BYTES as u64;
    if len > limit { Err(Error::TooLarge { len, limit }) } else { Ok(()) }
}

fn number_after(dir: &Path, number: u32) -> Result<u32, Error> {
    number.checked_add(1).ok_or_else(|| Error::SegmentNumbers { dir: dir.to_path_buf() })
}

/// Makes an empty segment whose name is durable.
fn create_segment(
    fs: &dyn Fs,
    dir: &Path,
    number: u32,
    mode: OpenMode,
) -> Result<Arc<dyn File>, Error> {
    let path = segment_path(dir, number);
    let file = fs.open(&path, mode).map_err(Error::io("create", &path))?;
    fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
    Ok(file.into())
}
