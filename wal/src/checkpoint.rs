//! Replaces the first segments of a log by what is still wanted of them.
//!
//! A checkpoint is a directory `checkpoint.NNNNNNNN` with segments of its own, which stands for the
//! earlier checkpoint and the segments up to that number. It is written under a temporary name,
//! made durable, and renamed; only then does what it replaces go. A crash leaves the log as it was
//! or as it will be.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ferula_index::SeriesRef;

use crate::fs::Fs;
use crate::options::{Options, SyncPolicy};
use crate::reader::LogReader;
use crate::record::exemplars::RefExemplar;
use crate::record::histograms::{HistogramsDecoder, HistogramsWriter, RecordHistogram};
use crate::record::{Record, exemplars, metadata, samples, samples_v2, series, tombstones};
use crate::segment::{Listing, TEMPORARY_SUFFIX, checkpoint_path, segment_path};
use crate::{Error, Wal};

/// What a checkpoint kept and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// Number of entries in the log's prefix: series, samples, exemplars and so on; a record that is
    /// not decoded counts as one.
    pub n_entries: u64,
    /// How many of them were dropped.
    pub n_dropped: u64,
    /// Segments that were removed.
    pub n_segments: usize,
}

impl Wal {
    /// Replaces the log up to and with segment `through` by a checkpoint.
    ///
    /// Of the series that `keep` accepts these stay: their labels; samples, histograms, exemplars
    /// and tombstones that reach `mint` (in milliseconds since the Unix epoch); the newest metadata.
    /// Records of kinds that this crate does not decode stay too, and so do mmap markers. Samples that
    /// are announced as [out of order](crate::record::out_of_order) go: another log holds them. `keep`
    /// must give the same answer for a series all the time. Logging goes on meanwhile.
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
        let exemplars = None::<(fn(SeriesRef) -> bool, fn(&RefExemplar) -> bool)>;
        self.condense(through, mint, keep, exemplars)
    }

    /// Does what [`checkpoint`](Self::checkpoint) does, but for exemplars: those stay that
    /// `keep_exemplar` accepts, whatever their times. Their series are those that `keep_labels` accepts, of
    /// which the labels stay too; all else of a series stays only if `keep` accepts it.
    ///
    /// # Errors
    /// Those of [`checkpoint`](Self::checkpoint).
    pub fn checkpoint_with_exemplars(
        &self,
        through: u32,
        mint: i64,
        keep: impl FnMut(SeriesRef) -> bool,
        keep_labels: impl FnMut(SeriesRef) -> bool,
        keep_exemplar: impl FnMut(&RefExemplar) -> bool,
    ) -> Result<CheckpointReport, Error> {
        self.condense(through, mint, keep, Some((keep_labels, keep_exemplar)))
    }

    fn condense(
        &self,
        through: u32,
        mint: i64,
        keep: impl FnMut(SeriesRef) -> bool,
        exemplars: Option<(impl FnMut(SeriesRef) -> bool, impl FnMut(&RefExemplar) -> bool)>,
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
        let mut filter = Filter {
            mint,
            keep,
            exemplars,
            report: &mut report,
            metadata: NewestMetadata::default(),
            record: Vec::new(),
        };
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

/// Bytes above which metadata go into another record.
const METADATA_RECORD_BYTES: usize = 1 << 20;

/// Copies records, leaving out what is not wanted any more.
struct Filter<'a, K, L, E> {
    mint: i64,
    keep: K,
    /// Which exemplars stay whatever their times, and the labels of which series for them.
    exemplars: Option<(L, E)>,
    report: &'a mut CheckpointReport,
    metadata: NewestMetadata,
    record: Vec<u8>,
}

impl<K, L, E> Filter<'_, K, L, E>
where
    K: FnMut(SeriesRef) -> bool,
    L: FnMut(SeriesRef) -> bool,
    E: FnMut(&RefExemplar) -> bool,
{
    fn copy(&mut self, mut reader: LogReader, target: &Wal) -> Result<(), Error> {
        // Records that are still to come of samples out of order.
        let mut n_out_of_order = 0;
        while let Some(record) = reader.next_record()? {
            if n_out_of_order > 0 {
                n_out_of_order -= 1;
                self.report.n_entries += 1;
                self.report.n_dropped += 1;
                continue;
            }
            let kept = match record.decode()? {
                Record::Series(entries) => self.series(entries)?,
                Record::Samples(entries) => self.samples(entries)?,
                Record::SamplesV2(entries) => self.samples_v2(entries)?,
                Record::Tombstones(entries) => self.tombstones(entries)?,
                Record::Exemplars(entries) => self.exemplars(entries)?,
                Record::Metadata(entries) => self.metadata(entries)?,
                Record::Histograms(entries) => self.histograms(*entries)?,
                Record::FloatHistograms(entries) => self.histograms(*entries)?,
                Record::OutOfOrder(announced) => {
                    n_out_of_order = announced.n_records;
                    self.report.n_entries += 1;
                    self.report.n_dropped += 1;
                    Kept::None
                }
                Record::MmapMarkers(_) | Record::Other { .. } => {
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
        self.metadata.log(target)
    }

    fn series(&mut self, mut entries: series::SeriesDecoder<'_>) -> Result<Kept, Error> {
        let mut kept = Vec::new();
        let mut n = 0;
        while let Some((series, labels)) = entries.next()? {
            n += 1;
            let is_for_exemplars =
                self.exemplars.as_mut().is_some_and(|(keep_labels, _)| keep_labels(series));
            if is_for_exemplars || (self.keep)(series) {
                kept.push((series, labels));
            }
        }
        Ok(self.rewrite(n, kept, |kept, record| {
            series::encode(kept.iter().map(|(series, labels)| (*series, labels)), record);
        }))
    }

    fn samples(&mut self, mut entries: samples::SamplesDecoder<'_>) -> Result<Kept, Error> {
        let mut kept = Vec::new();
        let mut n = 0;
        while let Some(sample) = entries.next()? {
            n += 1;
            if self.reaches(sample.series, sample.timestamp) {
                kept.push(sample);
            }
        }
        Ok(self.rewrite(n, kept, samples::encode))
    }

    fn samples_v2(&mut self, mut entries: samples_v2::SamplesV2Decoder<'_>) -> Result<Kept, Error> {
        let mut kept = Vec::new();
        let mut n = 0;
        while let Some(sample) = entries.next()? {
            n += 1;
            if self.reaches(sample.series, sample.timestamp) {
                kept.push(sample);
            }
        }
        Ok(self.rewrite(n, kept, samples_v2::encode))
    }

    fn tombstones(
        &mut self,
        mut entries: tombstones::TombstonesDecoder<'_>,
    ) -> Result<Kept, Error> {
        let mut kept = Vec::new();
        let mut n = 0;
        while let Some(tombstone) = entries.next()? {
            n += 1;
            if self.reaches(tombstone.series, tombstone.maxt) {
                kept.push(tombstone);
            }
        }
        Ok(self.rewrite(n, kept, tombstones::encode))
    }

    fn exemplars(&mut self, mut entries: exemplars::ExemplarsDecoder<'_>) -> Result<Kept, Error> {
        let mut kept = Vec::new();
        let mut n = 0;
        while let Some(exemplar) = entries.next()? {
            n += 1;
            let is_kept = match &mut self.exemplars {
                Some((_, keep_exemplar)) => keep_exemplar(&exemplar),
                None => self.reaches(exemplar.series, exemplar.timestamp),
            };
            if is_kept {
                kept.push(exemplar);
            }
        }
        Ok(self.rewrite(n, kept, |kept, record| exemplars::encode(&kept, record)))
    }

    /// Keeps histograms as they were written, so that nothing is lost of those that a later
    /// version would understand.
    fn histograms<H: RecordHistogram>(
        &mut self,
        mut entries: HistogramsDecoder<'_, H>,
    ) -> Result<Kept, Error> {
        let mut kept = Vec::new();
        let mut n = 0;
        while let Some((stamp, body)) = entries.next_raw()? {
            n += 1;
            if self.reaches(stamp.series, stamp.timestamp) {
                kept.push((stamp, body));
            }
        }
        let kind = entries.kind();
        Ok(self.rewrite(n, kept, |kept, record| {
            let mut writer = HistogramsWriter::new(kind, record);
            kept.into_iter().for_each(|(stamp, body)| writer.push_raw(stamp, body, record));
        }))
    }

    /// Remembers metadata: which is the newest is known at the end only.
    fn metadata(&mut self, mut entries: metadata::MetadataDecoder<'_>) -> Result<Kept, Error> {
        while let Some((series, body)) = entries.next_raw()? {
            self.report.n_entries += 1;
            if !(self.keep)(series) || self.metadata.replace(series, body) {
                self.report.n_dropped += 1;
            }
        }
        Ok(Kept::None)
    }

    /// Tells whether something of `series` that reaches `timestamp` stays.
    fn reaches(&mut self, series: SeriesRef, timestamp: i64) -> bool {
        timestamp >= self.mint && (self.keep)(series)
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

/// The newest metadata of each series. The series of a metric have the same, which is held once.
#[derive(Default)]
struct NewestMetadata {
    bodies: Vec<Arc<[u8]>>,
    known: HashMap<Arc<[u8]>, usize>,
    /// Which entry of the log it is, counted from one, and its body.
    of_series: HashMap<SeriesRef, (u64, usize)>,
    n_entries: u64,
}

impl NewestMetadata {
    /// Takes an entry; tells whether there was an older one.
    fn replace(&mut self, series: SeriesRef, body: &[u8]) -> bool {
        let body = match self.known.get(body) {
            Some(&body) => body,
            None => {
                let shared: Arc<[u8]> = Arc::from(body);
                self.bodies.push(Arc::clone(&shared));
                self.known.insert(shared, self.bodies.len() - 1);
                self.bodies.len() - 1
            }
        };
        self.n_entries += 1;
        self.of_series.insert(series, (self.n_entries, body)).is_some()
    }

    /// Logs what is left, the oldest first: a series that was removed and made anew has several refs, and
    /// what was said last under any of them holds.
    fn log(&self, target: &Wal) -> Result<(), Error> {
        let mut entries: Vec<_> =
            self.of_series.iter().map(|(&series, &(at, body))| (at, series, body)).collect();
        entries.sort_unstable();
        let mut record = Vec::new();
        for (_, series, body) in entries {
            if record.is_empty() {
                metadata::begin_raw(&mut record);
            }
            metadata::push_raw(series, &self.bodies[body], &mut record);
            if record.len() >= METADATA_RECORD_BYTES {
                target.log(&[&record])?;
                record.clear();
            }
        }
        if record.is_empty() { Ok(()) } else { target.log(&[&record]).map(drop) }
    }
}
