//! Makes the end of a log good again after a crash, or says why it must not.
//!
//! Only the last segment can have a torn end: an earlier one was durable before its successor was
//! made. Prometheus makes a segment when it starts, and repairs the one before only after that; so
//! empty segments at the end do not count. There, everything from the first unreadable batch on is cut off, unless what follows claims
//! that it had been durable; the rule and its reasons stand in `docs/formats/wal.md`.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::error::DamageReason;
use crate::frame::page_left;
use crate::fs::{File, Fs, OpenMode};
use crate::reader::{ScanError, SegmentReader};
use crate::segment::{Listing, segment_path};

/// What was cut off the end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub file: PathBuf,
    /// Number of the segment.
    pub segment: u32,
    /// Length to which the records were cut.
    pub offset: u64,
    /// Bytes that were cut off.
    pub bytes: u64,
    /// Why reading stopped.
    pub reason: DamageReason,
    /// Where reading stopped: in the first batch that was cut.
    pub damage_offset: u64,
}

/// The last segment once it is good.
#[derive(Debug)]
pub(crate) struct Repaired {
    pub(crate) cut: Option<Cut>,
    /// Whether there was anything in it before.
    pub(crate) had_bytes: bool,
    /// Whether no record is left in it.
    pub(crate) is_empty: bool,
}

/// Tells what opening the log in `dir` for writing would cut off its end. Nothing is changed.
///
/// # Errors
/// [`Error::Damaged`] if that opening would refuse, [`Error::MissingSegment`], [`Error::Io`].
pub fn torn_end(fs: &dyn Fs, dir: &Path) -> Result<Option<Cut>, Error> {
    for segment in Listing::read(fs, dir)?.segments.into_iter().rev() {
        let (reader, cut) = check_end(fs, &segment_path(dir, segment), segment)?;
        if reader.len() > 0 {
            return Ok(cut);
        }
    }
    Ok(None)
}

/// Checks the last segment, cuts a torn end off, and makes what is left durable.
pub(crate) fn repair_last(fs: &dyn Fs, path: &Path, segment: u32) -> Result<Repaired, Error> {
    let (reader, cut) = check_end(fs, path, segment)?;
    make_durable(fs, path, &reader, cut.is_some())?;
    Ok(repaired(&reader, cut))
}

/// Does the same for a segment that only empty ones follow. Whoever made those has had no trouble
/// with this one, so that a sync is enough if nothing is wrong with it.
pub(crate) fn repair_before_empty(
    fs: &dyn Fs,
    path: &Path,
    segment: u32,
) -> Result<Repaired, Error> {
    let (reader, cut) = check_end(fs, path, segment)?;
    if cut.is_some() {
        make_durable(fs, path, &reader, true)?;
    } else {
        let file = fs.open(path, OpenMode::Write).map_err(Error::io("open", path))?;
        file.sync_data().map_err(Error::io("sync", path))?;
    }
    Ok(repaired(&reader, cut))
}

fn repaired(reader: &SegmentReader, cut: Option<Cut>) -> Repaired {
    Repaired { cut, had_bytes: reader.len() > 0, is_empty: reader.good_end() == 0 }
}

/// Reads a segment to its end, and says what has to be cut off.
fn check_end(
    fs: &dyn Fs,
    path: &Path,
    segment: u32,
) -> Result<(SegmentReader, Option<Cut>), Error> {
    let mut reader = SegmentReader::open(fs, path).map_err(Error::io("open", path))?;
    let mut cut = None;
    loop {
        // Records stay compressed: no crash makes one that has its checksums and cannot be
        // decompressed, so that is left to whoever replays the log.
        match reader.step() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(ScanError::Damage { offset, reason }) => {
                let end = reader.good_end();
                let is_durable =
                    reader.claims_durable_after(end, offset).map_err(Error::io("read", path))?;
                if is_durable {
                    return Err(Error::Damaged { file: path.to_path_buf(), offset, reason });
                }
                cut = Some(Cut {
                    file: path.to_path_buf(),
                    segment,
                    offset: end,
                    bytes: reader.len() - end,
                    reason,
                    damage_offset: offset,
                });
                break;
            }
            Err(error @ ScanError::Io(_)) => return Err(error.in_file(path)),
        }
    }
    Ok((reader, cut))
}

/// Cuts the segment behind its records, fills its last page with zeros and syncs it.
///
/// The bytes whose durability nothing vouches for are written once more. They may be in the page
/// cache only: after a sync that failed the kernel takes them for clean, and would neither write
/// them at the next sync nor say so.
fn make_durable(
    fs: &dyn Fs,
    path: &Path,
    reader: &SegmentReader,
    is_cut: bool,
) -> Result<(), Error> {
    let file = fs.open(path, OpenMode::Write).map_err(Error::io("open", path))?;
    let end = reader.good_end();
    if is_cut {
        file.set_len(end).map_err(Error::io("truncate", path))?;
    }
    rewrite(&*file, path, reader.durable_to().min(end), end)?;
    if end > 0 && page_left(end) < crate::frame::PAGE_BYTES {
        let padding = vec![0; page_left(end)];
        file.write_at(&padding, end).map_err(Error::io("write", path))?;
    }
    file.sync_data().map_err(Error::io("sync", path))
}

/// Writes the bytes from `from` to `end` once more, in place and unchanged.
pub(crate) fn rewrite(file: &dyn File, path: &Path, from: u64, end: u64) -> Result<(), Error> {
    const STEP_BYTES: u64 = 1 << 20;
    let mut buf = Vec::new();
    let mut at = from;
    while at < end {
        let len = usize::try_from((end - at).min(STEP_BYTES)).expect("a step is small");
        buf.resize(len, 0);
        file.read_exact_at(&mut buf, at).map_err(Error::io("read", path))?;
        file.write_at(&buf, at).map_err(Error::io("write", path))?;
        at += len as u64;
    }
    Ok(())
}
