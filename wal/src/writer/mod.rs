//! The log being written: staging, group commit, rotation.
//!
//! Records are framed into memory under a short lock. Whoever has to wait for them becomes the one
//! who writes and syncs everything staged so far, without the lock; the others wait for that and
//! usually find their own records covered. No two threads do IO on a segment at once: that is the
//! business of `shared.rs`, and going on after a failure that of `resume.rs`.

mod resume;
mod shared;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Mutex, MutexGuard};

use self::shared::{Shared, State, create_segment, number_after};
use crate::Error;
use crate::checkpoint::remove_replaced;
use crate::frame::MAX_BATCH_BYTES;
use crate::fs::{Fs, OpenMode};
use crate::options::{Options, SyncPolicy};
use crate::packed::PackedRecord;
use crate::reader::{LogReader, LogRecord};
use crate::repair::{Cut, repair_before_empty, repair_last};
use crate::segment::{Listing, segment_path};

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

/// The right to log batches whatever happens to the log meanwhile. It is meant to be short-lived:
/// while the log has stopped, what is logged through it stays in memory. See [`Wal::reserve`].
#[derive(Debug)]
pub struct Reservation<'a> {
    wal: &'a Wal,
}

impl Reservation<'_> {
    /// Logs records as one batch, as [`Wal::log`] does. If the log has stopped meanwhile, or stops
    /// over this, the batch is in doubt like any other that was logged and not committed.
    ///
    /// # Errors
    /// [`Error::EmptyRecord`], [`Error::TooLarge`], [`Error::Closed`]; nothing was logged then.
    pub fn log(&self, records: &[&[u8]]) -> Result<Lsn, Error> {
        self.wal.stage(records, true)
    }
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

    /// Reads the next record without unpacking it, for another thread to do so; `false` at the end.
    ///
    /// # Errors
    /// Those of [`LogReader::next_packed`].
    pub fn next_packed(&mut self, packed: &mut PackedRecord) -> Result<bool, Error> {
        self.reader.next_packed(packed)
    }
}

impl Wal {
    /// Opens the log in `dir`, making it if there is none.
    ///
    /// The end of the last segment is repaired first, that of the last one with anything in it if
    /// empty ones follow, and the log goes on in a new segment. The records are then read from the [`Recovery`], at the caller's pace and in constant memory.
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
        let mut segments = listing.segments.iter().rev().copied();
        if let Some(mut number) = segments.next() {
            let mut repaired = repair_last(&*fs, &segment_path(dir, number), number)?;
            next = Some(if repaired.is_empty { number } else { number_after(dir, number)? });
            while !repaired.had_bytes
                && let Some(earlier) = segments.next()
            {
                number = earlier;
                repaired = repair_before_empty(&*fs, &segment_path(dir, number), number)?;
            }
            report.cut = repaired.cut;
            last_with_records =
                if repaired.is_empty { number.checked_sub(1) } else { Some(number) };
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
        let shared = Arc::new(Shared::new(fs, dir, options, State::new(segment, file)));
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
    /// then, and neither with [`Error::Stopped`] or [`Error::Closed`].
    pub fn log(&self, records: &[&[u8]]) -> Result<Lsn, Error> {
        self.stage(records, false)
    }

    /// Promises to take what is logged through the reservation: for a caller who does something that
    /// cannot be undone before it logs it.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the log has stopped and cannot go on, [`Error::Closed`].
    pub fn reserve(&self) -> Result<Reservation<'_>, Error> {
        self.try_resume()?;
        Ok(Reservation { wal: self })
    }

    fn stage(&self, records: &[&[u8]], reserved: bool) -> Result<Lsn, Error> {
        let shared = &*self.shared;
        check_batch(records)?;
        let mut packer = shared.packers.lock().pop().unwrap_or_default();
        packer.pack(records, shared.options.compression);
        let result = shared.stage(&packer, reserved);
        shared.packers.lock().push(packer);
        result
    }

    /// Waits until everything up to `lsn` is as durable as the sync policy says.
    ///
    /// With [`SyncPolicy::Always`] that is: on the disk. With the others: handed to the operating
    /// system, so that the end of this process does not lose it.
    ///
    /// # Errors
    /// [`Error::Stopped`] if a write or sync failed. The batch is then in doubt: it stays logged at
    /// its place, will be read back once the log goes on, and may or may not be if the process ends
    /// before; whole in any case. Committing again is a way to wait for that.
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
        let lsn = self.shared.state.lock().logged;
        self.shared.reach(lsn, true)?;
        // Nothing may be left to do, and the log have stopped all the same.
        self.try_resume()
    }

    /// Closes the current segment, making it durable, and goes on in a new one, whose number it
    /// returns. A segment without records is kept.
    ///
    /// # Errors
    /// [`Error::Stopped`] if a write or sync failed, [`Error::Closed`].
    pub fn rotate(&self) -> Result<u32, Error> {
        let mut state = self.shared.lock_idle()?;
        if state.end() > 0 {
            self.shared.rotate(&mut state)?;
        }
        Ok(state.segment)
    }

    /// Tries to go on after a failure; a log that did not stop is left alone.
    ///
    /// What was logged and is not known to be on the disk is written once more, to where it belongs,
    /// and synced. [`Wal::log`], [`Wal::commit`], [`Wal::sync`] and [`Wal::rotate`] try it too, and so
    /// does the thread of [`SyncPolicy::Interval`]; callers that find the log stopped over and over
    /// should leave a pause between attempts.
    ///
    /// # Errors
    /// [`Error::Stopped`] if that fails, with the new cause; [`Error::Closed`].
    pub fn try_resume(&self) -> Result<(), Error> {
        self.shared.resume(&mut self.shared.state.lock())
    }

    /// Why the log takes nothing at the moment, if it has stopped.
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.shared.state.lock().failure.clone()
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
    /// [`Error::Stopped`] if something that was logged could not be written or synced, now or before.
    /// The log's thread has ended then, but closing may be tried again.
    pub fn close(&self) -> Result<(), Error> {
        let result = self.shared.finish();
        self.end_ticker();
        result
    }

    fn end_ticker(&self) {
        self.shared.end_ticker();
        let ticker = self.ticker.lock().take();
        if let Some(ticker) = ticker {
            ticker.join().expect("the sync thread does not panic");
        }
    }
}

impl Drop for Wal {
    /// Ends the log's thread; what was not committed may be lost.
    fn drop(&mut self) {
        self.shared.state.lock().is_closed = true;
        self.end_ticker();
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
