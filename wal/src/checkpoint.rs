//! Replaces the first segments of a log by what is still wanted of them.
//!
//! A checkpoint is a directory `checkpoint.NNNNNNNN` with segments of its own, which stands for the
//! earlier checkpoint and the segments up to that number. It is written under a temporary name,
//! made durable, and renamed; only then does what it replaces go. A crash leaves the log as it was
//! or as it will be.

use std::path::Path;
use std::sync::Arc;

use ferula_index::SeriesRef;

use crate::fs::Fs;
use crate::options::{Options, SyncPolicy};
use crate::reader::LogReader;
use crate::record::{Record, samples, series, tombstones};
use crate::segment::{Listing, TEMPORARY_SUFFIX, checkpoint_path, segment_path};
use crate::{Error, Wal};

/// What a checkpoint kept and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// Number of entries in the log's prefix: series, samples, tombstones and other records.
    pub n_entries: u64,
    /// How many of them were dropped.
    pub n_dropped: u64,
    /// Segments that were removed.
    pub n_segments: usize,
}

impl Wal {
    /// Replaces the log up to and with segment `through` by a checkpoint.
    ///
    /// Series and tombstones stay if `keep` accepts the series, samples and tombstones if they
    /// reach `mint` (in milliseconds since the Unix epoch); so does every record of a kind that
    /// this crate does not decode. `keep` must give the same answer for a series all the time.
    /// Logging goes on meanwhile.
    ///
    /// # Errors
    /// [`Error::CheckpointRange`] if `through` is not before the current segment; those of reading
    /// and writing. The log is unchanged then and can be written on.
    pub fn checkpoint(
        &self,
        through: u32,
        mint: i64,
        keep: impl FnMut(SeriesRef) -> bool,
    ) -> Result<CheckpointReport, Error> {
        let _maintenance = self.maintenance();
        let current = self.current_segment();
        if through >= current {
            return Err(Error::CheckpointRange { through, current });
        }
        let (fs, dir) = (self.fs(), self.dir());
        let listing = Listing::read(&**fs, dir)?;
        if listing.checkpoint.is_some_and(|checkpoint| checkpoint >= through) {
            return Ok(CheckpointReport::default());
        }
        remove_dirs(&**fs, dir, &listing.stale_dirs)?;
        let options = Options { sync: SyncPolicy::Never, ..self.options().clone() };
        let path = checkpoint_path(dir, through);
        let mut temporary = path.clone();
        temporary.as_mut_os_string().push(TEMPORARY_SUFFIX);
        let mut report = CheckpointReport::default();
        let reader = LogReader::over(Arc::clone(fs), dir, &listing, through)?;
        let (target, _) = Wal::open(Arc::clone(fs), &temporary, options)?;
        let mut filter = Filter { mint, keep, report: &mut report, record: Vec::new() };
        filter.copy(reader, &target)?;
        target.close()?;
        fs.rename(&temporary, &path).map_err(Error::io("rename", &temporary))?;
        let listing = Listing::read(&**fs, dir)?;
        report.n_segments = listing.stale_segments.len();
        remove_replaced(&**fs, dir, &listing)?;
        Ok(report)
    }
}

/// Removes what the checkpoint in `listing` replaced, once the checkpoint itself is durable.
pub(crate) fn remove_replaced(fs: &dyn Fs, dir: &Path, listing: &Listing) -> Result<(), Error> {
    fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
    for &number in &listing.stale_segments {
        let path = segment_path(dir, number);
        fs.remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    remove_dirs(fs, dir, &listing.stale_dirs)?;
    fs.sync_dir(dir).map_err(Error::io("sync", dir))
}

fn remove_dirs(fs: &dyn Fs, dir: &Path, names: &[String]) -> Result<(), Error> {
    for name in names {
        let path = dir.join(name);
        fs.remove_dir_all(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

/// Copies records, leaving out what is not wanted any more.
struct Filter<'a, K> {
    mint: i64,
    keep: K,
    report: &'a mut CheckpointReport,
    record: Vec<u8>,
}

impl<K: FnMut(SeriesRef) -> bool> Filter<'_, K> {
    fn copy(&mut self, mut reader: LogReader, target: &Wal) -> Result<(), Error> {
        while let Some(record) = reader.next_record()? {
            let kept = match record.decode()? {
                Record::Series(entries) => self.series(entries)?,
                Record::Samples(entries) => self.samples(entries)?,
                Record::Tombstones(entries) => self.tombstones(entries)?,
                Record::Other { .. } => {
                    self.report.n_entries += 1;
                    Kept::All
                }
            };
            match kept {
                Kept::All => target.log(&[record.bytes])?,
                Kept::Some => target.log(&[&self.record])?,
                Kept::None => continue,
            };
        }
        Ok(())
    }

    fn series(&mut self, mut entries: series::SeriesDecoder<'_>) -> Result<Kept, Error> {
        let mut kept = Vec::new();
        let mut n = 0;
        while let Some((series, labels)) = entries.next()? {
            n += 1;
            if (self.keep)(series) {
                kept.push((series, labels));
            }
        }
        Ok(self.rewrite(n, kept, |kept, record| {
            series::encode(kept.iter().map(|(series, labels)| (*series, labels)), record);
        }))
    }

    fn samples(&mut self, mut entries: samples::SamplesDecoder<'_>) -> Result<Kept, Error> {
        let mut kept = Vec::with_capacity(entries.max_left());
        let mut n = 0;
        while let Some(sample) = entries.next()? {
            n += 1;
            if sample.timestamp >= self.mint {
                kept.push(sample);
            }
        }
        Ok(self.rewrite(n, kept, samples::encode))
    }

    fn tombstones(
        &mut self,
        mut entries: tombstones::TombstonesDecoder<'_>,
    ) -> Result<Kept, Error> {
        let mut kept = Vec::new();
        let mut n = 0;
        while let Some(tombstone) = entries.next()? {
            n += 1;
            if tombstone.maxt >= self.mint && (self.keep)(tombstone.series) {
                kept.push(tombstone);
            }
        }
        Ok(self.rewrite(n, kept, tombstones::encode))
    }

    /// Counts, and encodes what was kept unless that is all or nothing.
    fn rewrite<T>(
        &mut self,
        n: usize,
        kept: Vec<T>,
        encode: impl FnOnce(Vec<T>, &mut Vec<u8>),
    ) -> Kept {
        self.report.n_entries += n as u64;
        self.report.n_dropped += (n - kept.len()) as u64;
        if kept.is_empty() {
            return Kept::None;
        }
        if kept.len() == n {
            return Kept::All;
        }
        self.record.clear();
        encode(kept, &mut self.record);
        Kept::Some
    }
}

/// How much of a record goes into the checkpoint.
enum Kept {
    All,
    /// What [`Filter::record`] holds.
    Some,
    None,
}
