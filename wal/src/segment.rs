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
    // Only the one spelling of a number: another one would name a file that is not meant.
    name.parse().ok().filter(|number: &u32| format!("{number:08}") == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{FaultFs, OpenMode};

    fn listing(files: &[&str], dirs: &[&str]) -> Result<Listing, Error> {
        let fs = FaultFs::new();
        for dir in dirs {
            fs.create_dir_all(Path::new(dir)).unwrap();
        }
        for file in files {
            fs.open(Path::new(file), OpenMode::CreateNew).unwrap();
        }
        Listing::read(&fs, Path::new(""))
    }

    #[test]
    fn other_names_are_left_alone() {
        let found = listing(
            &["00000002", "00000003", "000000003", "+0000004", "3", "checkpoint.00000001"],
            &["00000001", "checkpoint.tmp", "checkpoint.1"],
        )
        .unwrap();
        let segments = vec![2, 3];
        assert_eq!(found, Listing { segments, ..Listing::default() });
    }

    #[test]
    fn the_newest_checkpoint_makes_others_stale() {
        let found = listing(
            &["00000002", "00000004", "00000005", "100000000"],
            &["checkpoint.00000001", "checkpoint.00000003", "checkpoint.00000005.tmp"],
        );
        let missing = found.unwrap_err();
        assert!(matches!(missing, Error::MissingSegment { missing: 6, next: 100_000_000, .. }));
        let found = listing(
            &["00000002", "00000004", "00000005"],
            &["checkpoint.00000001", "checkpoint.00000003", "checkpoint.00000005.tmp"],
        )
        .unwrap();
        assert_eq!((found.checkpoint, found.segments), (Some(3), vec![4, 5]));
        assert_eq!(found.stale_segments, [2]);
        assert_eq!(found.stale_dirs, ["checkpoint.00000005.tmp", "checkpoint.00000001"]);
    }
}
