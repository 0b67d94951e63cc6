//! Going on after a failed write or sync.
//!
//! What failed was staged again, so it only has to be written once more, to the same place with the
//! same bytes: whoever reads the segment meanwhile finds each batch once, and a crash leaves what any
//! crash during a write leaves. Syncing once more would not do. After a failed sync the kernel takes
//! the pages for clean, and may drop them: what lies between the last good sync and the staged bytes
//! is read back, written again, synced, and read once more to see that it is whole.

use std::path::Path;
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::shared::{Group, Io, Shared, State, number_after};
use crate::error::{DamageReason, Error};
use crate::fs::OpenMode;
use crate::reader::SegmentReader;
use crate::repair::rewrite;
use crate::segment::segment_path;

impl Shared {
    /// Tries to go on if the log has stopped. Threads that come while another one tries share what
    /// becomes of that.
    ///
    /// Returns with the log ready, though IO may be under way.
    pub(super) fn resume(&self, state: &mut MutexGuard<'_, State>) -> Result<(), Error> {
        let mut is_shared = false;
        loop {
            match state.check() {
                Err(Error::Stopped { .. }) if !is_shared => {}
                result => return result,
            }
            if state.io == Io::Idle {
                break;
            }
            is_shared = true;
            self.changed.wait(state);
        }
        if state.is_sealed {
            self.resume_in_next_segment(state)
        } else {
            self.resume_in_place(state)
        }
    }

    /// Makes the segment that could not be made when the current one was complete.
    fn resume_in_next_segment(&self, state: &mut MutexGuard<'_, State>) -> Result<(), Error> {
        let segment = state.segment;
        let mut next = None;
        self.while_unlocked(state, Io::Rotating, || {
            let number = number_after(&self.dir, segment)?;
            // An earlier attempt may have got as far as the name.
            next = Some((number, self.create_segment(number, OpenMode::Truncate)?));
            Ok(())
        })?;
        let (number, file) = next.expect("made without an error");
        state.go_on_in(number, file);
        state.failure = None;
        Ok(())
    }

    fn resume_in_place(&self, state: &mut MutexGuard<'_, State>) -> Result<(), Error> {
        let path = segment_path(&self.dir, state.segment);
        let suspect_from = state.is_suspect.then_some(state.durable_to);
        let group = state.take_staged();
        let mut reopened = None;
        let mut is_suspect = false;
        let result = self.while_unlocked(state, Io::Rotating, || {
            // A handle of its own: the old one may be what is broken.
            let file = self.fs.open(&path, OpenMode::Write).map_err(Error::io("open", &path))?;
            if let Some(from) = suspect_from {
                rewrite(&*file, &path, from, group.at)?;
            }
            group.write(&*file, &path)?;
            is_suspect = true;
            file.sync_data().map_err(Error::io("sync", &path))?;
            if let Some(from) = suspect_from {
                self.check_whole(&path, from, &group)?;
            }
            reopened = Some(file);
            Ok(())
        });
        match (result, reopened) {
            (Ok(()), Some(file)) => {
                state.file = Arc::from(file);
                state.is_suspect = false;
                state.failure = None;
                state.wrote(group, true);
                Ok(())
            }
            (result, _) => {
                state.is_suspect |= is_suspect;
                state.put_back(group);
                result
            }
        }
    }

    /// Checks that what is in the file in front of `group` is what was written there once.
    fn check_whole(&self, path: &Path, from: u64, group: &Group) -> Result<(), Error> {
        let mut reader = SegmentReader::open_range(&*self.fs, path, from, group.at)
            .map_err(Error::io("open", path))?;
        while reader.step().map_err(|error| error.in_file(path))?.is_some() {}
        let offset = reader.good_end();
        if offset == group.at {
            return Ok(());
        }
        Err(Error::Damaged { file: path.to_path_buf(), offset, reason: DamageReason::CutShort })
    }
}
