//! What the threads that use a log share: staged bytes, the current segment, and IO on it.
//!
//! A group is what one write takes. Until it is known to have reached its file, or the disk if that
//! was asked for, it is kept: after a failure it is staged again, ahead of what was staged since, so
//! that nothing that was logged is lost and nothing changes its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Lsn;
use crate::Error;
use crate::frame::{DURABLE_BEFORE, PAGE_BYTES, Packer, page_left};
use crate::fs::{File, Fs, OpenMode};
use crate::options::{Options, SyncPolicy};
use crate::segment::segment_path;

/// Staged bytes above which staging more writes them out first.
const MAX_STAGED_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) state: Mutex<State>,
    /// Signalled whenever IO ends or the log stops.
    pub(super) changed: Condvar,
    /// Signalled when the ticker has to end; only it waits for that.
    ending: Condvar,
    pub(super) packers: Mutex<Vec<Packer>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) segment: u32,
    pub(super) file: Arc<dyn File>,
    /// Whether the segment is complete, and the next one, for which bytes are staged from now on, has
    /// to be made before anything is written.
    pub(super) is_sealed: bool,
    /// Framed bytes not yet handed to the file.
    pub(super) staged: Vec<u8>,
    /// Offset in the segment at which the staged bytes belong.
    pub(super) staged_at: u64,
    /// Everything before this offset in the segment is durable.
    pub(super) durable_to: u64,
    /// Whether a sync failed over what lies between that and the staged bytes.
    pub(super) is_suspect: bool,
    pub(super) logged: Lsn,
    pub(super) written: Lsn,
    pub(super) durable: Lsn,
    pub(super) io: Io,
    /// Why the log takes nothing at the moment.
    pub(super) failure: Option<Arc<Error>>,
    pub(super) is_closed: bool,
    /// Whether the ticker has to end.
    is_ending: bool,
    /// A buffer to stage into next.
    spare: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Io {
    Idle,
    /// Staged bytes are being written; more may be staged meanwhile.
    Flushing,
    /// The segment is being changed; nothing may be staged meanwhile.
    Rotating,
}

/// Staged bytes on their way into the file.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) bytes: Vec<u8>,
    pub(super) at: u64,
    /// What is logged with them.
    pub(super) lsn: Lsn,
    /// Bytes without the padding of the last page.
    len: usize,
}

impl Group {
    pub(super) fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// Fills the last page with zeros; a page that has nothing stays so.
    fn pad_page(&mut self) {
        let left = page_left(self.end());
        if left < PAGE_BYTES {
            self.bytes.resize(self.bytes.len() + left, 0);
        }
    }

    pub(super) fn write(&self, file: &dyn File, path: &Path) -> Result<(), Error> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        file.write_at(&self.bytes, self.at).map_err(Error::io("write", path))
    }
}

impl State {
    pub(super) fn new(segment: u32, file: Arc<dyn File>) -> Self {
        Self {
            segment,
            file,
            is_sealed: false,
            staged: Vec::new(),
            staged_at: 0,
            durable_to: 0,
            is_suspect: false,
            logged: Lsn(0),
            written: Lsn(0),
            durable: Lsn(0),
            io: Io::Idle,
            failure: None,
            is_closed: false,
            is_ending: false,
            spare: Vec::new(),
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.staged_at + self.staged.len() as u64
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.failure {
            _ if self.is_closed => Err(Error::Closed),
            Some(cause) => Err(Error::Stopped { cause: Arc::clone(cause) }),
            None => Ok(()),
        }
    }

    /// Takes what is staged.
    pub(super) fn take_staged(&mut self) -> Group {
        let spare = std::mem::take(&mut self.spare);
        let mut bytes = std::mem::replace(&mut self.staged, spare);
        let (at, len) = (self.staged_at, bytes.len());
        // A group begins with a header, whose first byte is not covered by the checksum.
        if at > 0
            && self.durable_to == at
            && let Some(byte) = bytes.first_mut()
        {
            *byte |= DURABLE_BEFORE;
        }
        self.staged_at += len as u64;
        Group { bytes, at, lsn: self.logged, len }
    }

    /// Stages a group again, because it is not known to be where it belongs.
    pub(super) fn put_back(&mut self, mut group: Group) {
        group.bytes.truncate(group.len);
        group.bytes.append(&mut self.staged);
        self.spare = std::mem::replace(&mut self.staged, group.bytes);
        self.staged_at = group.at;
    }

    /// Notes that a group is in the file.
    pub(super) fn wrote(&mut self, group: Group, is_synced: bool) {
        self.written = group.lsn;
        if is_synced {
            self.durable = group.lsn;
            self.durable_to = group.end();
        }
        self.recycle(group);
    }

    /// Notes that the segment is complete and durable.
    fn sealed(&mut self) {
        self.is_sealed = true;
        self.staged_at = 0;
        self.durable_to = 0;
    }

    /// Notes that a new segment goes on behind the current one, which is complete.
    pub(super) fn go_on_in(&mut self, segment: u32, file: Arc<dyn File>) {
        self.segment = segment;
        self.file = file;
        self.is_sealed = false;
    }

    fn recycle(&mut self, group: Group) {
        self.spare = group.bytes;
        self.spare.clear();
    }
}

impl Shared {
    pub(super) fn new(fs: Arc<dyn Fs>, dir: &Path, options: Options, state: State) -> Self {
        Self {
            fs,
            dir: dir.to_path_buf(),
            options,
            state: Mutex::new(state),
            changed: Condvar::new(),
            ending: Condvar::new(),
            packers: Mutex::new(Vec::new()),
        }
    }

    /// Stages a packed batch, once there is room for it; if it is `reserved`, also without room when
    /// none can be made.
    pub(super) fn stage(&self, packer: &Packer, reserved: bool) -> Result<Lsn, Error> {
        let bound = packer.framed_bound();
        let mut state = self.state.lock();
        loop {
            if !reserved {
                self.resume(&mut state)?;
            } else if state.is_closed {
                return Err(Error::Closed);
            }
            if state.io == Io::Rotating {
                self.changed.wait(&mut state);
                continue;
            }
            let end = state.end();
            let is_full = end > 0 && end + bound > self.options.segment_bytes;
            let has_room = !is_full && state.staged.len() < MAX_STAGED_BYTES;
            if has_room || state.failure.is_some() {
                break;
            }
            if state.io == Io::Flushing {
                self.changed.wait(&mut state);
                continue;
            }
            let made_room = if is_full {
                self.rotate(&mut state)
            } else {
                // With every commit durable nothing else is written either without a sync: so all
                // that a failed one leaves in doubt is at hand.
                self.flush(&mut state, self.options.sync == SyncPolicy::Always)
            };
            if !reserved {
                made_room?;
            }
        }
        let State { staged, staged_at, logged, .. } = &mut *state;
        let before = staged.len();
        packer.push_framed(*staged_at + before as u64, staged);
        logged.0 += (staged.len() - before) as u64;
        Ok(*logged)
    }

    /// Waits until everything up to `lsn` is written, or durable.
    pub(super) fn reach(&self, lsn: Lsn, is_synced: bool) -> Result<(), Error> {
        let mut state = self.state.lock();
        loop {
            let reached = if is_synced { state.durable } else { state.written };
            if reached >= lsn {
                return Ok(());
            }
            if state.check().is_err() {
                self.resume(&mut state)?;
            } else if state.io == Io::Idle {
                self.flush(&mut state, is_synced)?;
            } else {
                self.changed.wait(&mut state);
            }
        }
    }

    /// Locks the state once the log is ready and no IO is under way.
    pub(super) fn lock_idle(&self) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.state.lock();
        loop {
            self.resume(&mut state)?;
            if state.io == Io::Idle {
                return Ok(state);
            }
            self.changed.wait(&mut state);
        }
    }

    /// Writes what is staged, and syncs it if asked to. IO must be idle.
    fn flush(&self, state: &mut MutexGuard<'_, State>, is_synced: bool) -> Result<(), Error> {
        let group = state.take_staged();
        let file = Arc::clone(&state.file);
        let path = segment_path(&self.dir, state.segment);
        let mut is_suspect = false;
        let result = self.while_unlocked(state, Io::Flushing, || {
            group.write(&*file, &path)?;
            if is_synced {
                is_suspect = true;
                file.sync_data().map_err(Error::io("sync", &path))?;
            }
            Ok(())
        });
        match result {
            Ok(()) => state.wrote(group, is_synced),
            Err(_) => {
                state.is_suspect |= is_suspect;
                state.put_back(group);
            }
        }
        result
    }

    /// Completes the segment and goes on in a new one. IO must be idle.
    pub(super) fn rotate(&self, state: &mut MutexGuard<'_, State>) -> Result<(), Error> {
        self.seal(state)?;
        let segment = state.segment;
        let mut next = None;
        self.while_unlocked(state, Io::Rotating, || {
            let number = number_after(&self.dir, segment)?;
            next = Some((number, self.create_segment(number, OpenMode::CreateNew)?));
            Ok(())
        })?;
        let (number, file) = next.expect("made without an error");
        state.go_on_in(number, file);
        Ok(())
    }

    /// Fills the last page of the segment with zeros and makes the segment durable. Only then may
    /// the next one be made: so damage before the last segment is never the trace of a crash.
    fn seal(&self, state: &mut MutexGuard<'_, State>) -> Result<(), Error> {
        let mut group = state.take_staged();
        group.pad_page();
        let file = Arc::clone(&state.file);
        let path = segment_path(&self.dir, state.segment);
        let mut is_suspect = false;
        let result = self.while_unlocked(state, Io::Rotating, || {
            group.write(&*file, &path)?;
            is_suspect = true;
            file.sync_data().map_err(Error::io("sync", &path))
        });
        match result {
            Ok(()) => {
                state.wrote(group, true);
                state.sealed();
            }
            Err(_) => {
                state.is_suspect |= is_suspect;
                state.put_back(group);
            }
        }
        result
    }

    /// Closes the log.
    pub(super) fn finish(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        loop {
            if state.is_closed {
                return Ok(());
            }
            if state.io != Io::Idle {
                self.changed.wait(&mut state);
                continue;
            }
            // A next segment is not needed any more.
            if !state.is_sealed || !state.staged.is_empty() {
                self.resume(&mut state)?;
                self.seal(&mut state)?;
            }
            state.is_closed = true;
            self.changed.notify_all();
            return Ok(());
        }
    }

    /// Has the ticker end.
    pub(super) fn end_ticker(&self) {
        self.state.lock().is_ending = true;
        self.ending.notify_all();
    }

    /// Does IO without the lock. A failure stops the log.
    pub(super) fn while_unlocked(
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
        result.map_err(|error| {
            let cause = Arc::new(error);
            state.failure = Some(Arc::clone(&cause));
            Error::Stopped { cause }
        })
    }

    /// Syncs at an interval, and tries to go on after a failure.
    pub(super) fn sync_every(&self, interval: Duration) {
        let mut state = self.state.lock();
        while !state.is_ending {
            if !self.ending.wait_for(&mut state, interval).timed_out() {
                continue;
            }
            while state.io != Io::Idle {
                self.changed.wait(&mut state);
            }
            // A failure is kept in the state, where the next commit finds it.
            let _ = match state.check() {
                Ok(()) if state.durable < state.logged => self.flush(&mut state, true),
                Ok(()) | Err(Error::Closed) => Ok(()),
                Err(_) => self.resume(&mut state),
            };
        }
    }

    /// Makes an empty segment whose name is durable.
    pub(super) fn create_segment(
        &self,
        number: u32,
        mode: OpenMode,
    ) -> Result<Arc<dyn File>, Error> {
        create_segment(&*self.fs, &self.dir, number, mode)
    }
}

pub(super) fn number_after(dir: &Path, number: u32) -> Result<u32, Error> {
    number.checked_add(1).ok_or_else(|| Error::SegmentNumbers { dir: dir.to_path_buf() })
}

/// Makes an empty segment whose name is durable.
pub(super) fn create_segment(
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
