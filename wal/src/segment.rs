//! Names of segments and checkpoints, and which of them make up a log.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::fs::Fs;

const CHECKPOINT_PREFIX: &str = "checkpoint.";

/// Suffix of directories that are being written and count for nothing yet.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

/// Name of segment `number` in `dir`.
pub(crate) fn segment_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}"))
}

/// Name of the checkpoint in `dir` that replaces the segments up to `number`.
pub(crate) fn checkpoint_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{CHECKPOINT_PREFIX}{number:08}"))
}

/// What a log directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The newest checkpoint.
    pub(crate) checkpoint: Option<u32>,
    /// Segments after the checkpoint, without a gap.
    pub(crate) segments: Vec<u32>,
    /// Segments, checkpoints and unfinished directories that the newest checkpoint replaced.
    pub(crate) stale_segments: Vec<u32>,
    /// Directories to remove: older checkpoints and unfinished ones.
    pub(crate) stale_dirs: Vec<String>,
}

impl Listing {
    /// Lists a log directory.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Self, Error> {
        let mut listing = Self::default();
        let mut checkpoints = Vec::new();
        for entry in fs.list(dir).map_err(Error::io("list", dir))? {
            if !entry.is_dir {
                listing.segments.extend(parse_number(&entry.name));
            } else if let Some(number) = entry.name.strip_prefix(CHECKPOINT_PREFIX) {
                if let Some(number) = parse_number(number) {
                    checkpoints.push(number);
                } else if number.ends_with(TEMPORARY_SUFFIX) {
                    listing.stale_dirs.push(entry.name);
                }
            }
        }
        listing.segments.sort_unstable();
        checkpoints.sort_unstable();
        listing.checkpoint = checkpoints.pop();
        listing
            .stale_dirs
            .extend(checkpoints.iter().map(|number| format!("{CHECKPOINT_PREFIX}{number:08}")));
        if let Some(checkpoint) = listing.checkpoint {
            let kept = listing.segments.partition_point(|&number| number <= checkpoint);
            let later = listing.segments.split_off(kept);
            listing.stale_segments = std::mem::replace(&mut listing.segments, later);
        }
        listing.check_gaps(dir)?;
        Ok(listing)
    }

    fn check_gaps(&self, dir: &Path) -> Result<(), Error> {
        let mut previous = self.checkpoint;
        for &next in &self.segments {
            // Without a checkpoint a log may begin anywhere: its start may have been dropped.
            if let Some(missing) = previous.and_then(|previous| previous.checked_add(1))
                && missing != next
            {
                return Err(Error::MissingSegment { dir: dir.to_path_buf(), missing, next });
            }
            previous = Some(next);
        }
        Ok(())
    }
}

/// Number that a segment's name stands for.
fn parse_number(name: &str) -> Option<u32> {
    let is_number = name.len() >= 8 && name.bytes().all(|byte| byte.is_ascii_digit());
    name.parse().ok().filter(|_| is_number)
}
