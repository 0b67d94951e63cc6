//! Deleted intervals of a block: its `tombstones` file and its form in memory.
//!
//! The format is Prometheus's, described in `docs/formats/tombstones.md`. Blocks begin without any;
//! what is deleted of them goes with the next rewriting.

use std::collections::BTreeMap;
use std::path::Path;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::cursor::{Cursor, crc32c, put_u32_be, put_uvarint, put_varint};
use ferula_index::SeriesRef;
use ferula_wal::fs::Fs;

use crate::block::{OutputFile, replace_file};
use crate::error::Error;

/// Name of the file in a block.
pub(crate) const TOMBSTONES_FILE: &str = "tombstones";

/// First four bytes.
const MAGIC: u32 = 0x0130_ba30;

/// Fifth byte; the checksum covers what follows it.
const VERSION: u8 = 1;

/// Magic and version.
const HEADER_BYTES: usize = 5;

/// The checksum at the end.
const CHECKSUM_BYTES: usize = 4;

/// First and last time of what is deleted, both inclusive, in milliseconds.
pub(crate) type Interval = (i64, i64);

/// Deleted intervals by series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tombstones {
    /// By time; they neither overlap nor follow each other without a gap.
    intervals: BTreeMap<SeriesRef, Vec<Interval>>,
}

impl Tombstones {
    /// Reads the file of the block in `dir`; without one nothing is deleted.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Self, Error> {
        let file = dir.join(TOMBSTONES_FILE);
        if !fs.exists(&file).map_err(Error::io("inspect", &file))? {
            return Ok(Self::default());
        }
        let bytes = fs.read(&file).map_err(Error::io("read", &file))?;
        let malformed = |source| Error::Decode { file: file.clone(), source };

        let mut cursor = Cursor::new(&bytes);
        let magic = cursor.u32_be().map_err(malformed)?;
        if magic != MAGIC {
            return Err(Error::Magic { file: file.clone(), found: magic, expected: MAGIC });
        }
        let version = cursor.u8().map_err(malformed)?;
        if version != VERSION {
            let (found, expected) = (u32::from(version), u32::from(VERSION));
            return Err(Error::Version { file: file.clone(), found, expected });
        }
        let covered_len = bytes.len().saturating_sub(HEADER_BYTES + CHECKSUM_BYTES);
        let covered = cursor.bytes(covered_len).map_err(malformed)?;
        cursor.check_crc32c(covered).map_err(malformed)?;
        Self::decode(covered).map_err(malformed)
    }

    fn decode(bytes: &[u8]) -> Result<Self, ferula_chunkenc::Error> {
        let mut intervals: BTreeMap<SeriesRef, Vec<Interval>> = BTreeMap::new();
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let series = SeriesRef(cursor.uvarint()?);
            let interval = (cursor.varint()?, cursor.varint()?);
            if interval.0 <= interval.1 {
                intervals.entry(series).or_default().push(interval);
            }
        }
        intervals.values_mut().for_each(unite);
        Ok(Self { intervals })
    }

    /// Writes the file of the block in `dir`, which has none yet.
    pub(crate) fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
        let mut file = OutputFile::create(fs, dir.join(TOMBSTONES_FILE))?;
        file.put(&self.encode())?;
        file.finish()
    }

    /// Replaces the file of the block in `dir`, at once.
    pub(crate) fn replace(&self, fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
        replace_file(fs, dir, TOMBSTONES_FILE, &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_u32_be(&mut bytes, MAGIC);
        bytes.push(VERSION);
        for (series, of_series) in &self.intervals {
            for (mint, maxt) in of_series {
                put_uvarint(&mut bytes, series.0);
                put_varint(&mut bytes, *mint);
                put_varint(&mut bytes, *maxt);
            }
        }
        let checksum = crc32c(&bytes[HEADER_BYTES..]);
        put_u32_be(&mut bytes, checksum);
        bytes
    }

    /// Notes that the samples of `series` from `mint` to `maxt` are deleted. Tells whether that
    /// deletes more than before.
    pub(crate) fn add(&mut self, series: SeriesRef, mint: i64, maxt: i64) -> bool {
        if mint > maxt || self.covers(series, mint, maxt) {
            return false;
        }
        let of_series = self.intervals.entry(series).or_default();
        of_series.push((mint, maxt));
        unite(of_series);
        true
    }

    /// Forgets what is deleted before `mint`.
    pub(crate) fn truncate(&mut self, mint: i64) {
        self.intervals.retain(|_, of_series| {
            of_series.retain(|(_, maxt)| *maxt >= mint);
            !of_series.is_empty()
        });
    }

    /// Tells whether nothing is deleted.
    pub(crate) fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Number of intervals.
    pub(crate) fn len(&self) -> u64 {
        self.intervals.values().map(|of_series| of_series.len() as u64).sum()
    }

    /// The series of which something is deleted, in ascending order.
    pub(crate) fn series(&self) -> impl Iterator<Item = SeriesRef> + '_ {
        self.intervals.keys().copied()
    }

    /// What is deleted of `series`: intervals by time, apart from each other.
    pub(crate) fn of(&self, series: SeriesRef) -> &[Interval] {
        self.intervals.get(&series).map_or(&[], Vec::as_slice)
    }

    /// Tells whether the samples of `series` from `mint` to `maxt` are all deleted.
    pub(crate) fn covers(&self, series: SeriesRef, mint: i64, maxt: i64) -> bool {
        covers(self.of(series), mint, maxt)
    }

    /// Removes the deleted samples of `series` from those that stand at `start` and after in
    /// `batch`.
    pub(crate) fn apply(&self, series: SeriesRef, batch: &mut SampleBatch, start: usize) {
        remove_deleted(self.of(series), batch, start);
    }
}

/// Tells whether the times from `mint` to `maxt` are all in `intervals`.
pub(crate) fn covers(intervals: &[Interval], mint: i64, maxt: i64) -> bool {
    let next = intervals.partition_point(|(_, to)| *to < maxt);
    intervals.get(next).is_some_and(|(from, _)| *from <= mint)
}

/// Tells whether any time from `mint` to `maxt` is in `intervals`.
pub(crate) fn touches(intervals: &[Interval], mint: i64, maxt: i64) -> bool {
    let next = intervals.partition_point(|(_, to)| *to < mint);
    intervals.get(next).is_some_and(|(from, _)| *from <= maxt)
}

/// Removes the samples at times in `intervals` from those that stand at `start` and after in
/// `batch`, which are in order.
pub(crate) fn remove_deleted(intervals: &[Interval], batch: &mut SampleBatch, start: usize) {
    // From the end, so that places before stay what they are.
    for (from, to) in intervals.iter().rev() {
        let times = &batch.timestamps()[start..];
        let first = times.partition_point(|time| time < from);
        let end = times.partition_point(|time| time <= to);
        if first < end {
            batch.remove(start + first..start + end);
        }
    }
}

/// Sorts intervals and makes one of those that overlap or follow each other without a gap.
pub(crate) fn unite(intervals: &mut Vec<Interval>) {
    intervals.sort_unstable();
    intervals.dedup_by(|next, last| {
        let is_joined = next.0 <= last.1.saturating_add(1);
        if is_joined {
            last.1 = last.1.max(next.1);
        }
        is_joined
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferula_wal::fs::StdFs;

    #[test]
    fn a_file_of_prometheus_is_read() {
        // Series 1: 10 to 20, series 3: -1 to 300; the checksum covers the six varints.
        let dir = tempfile::tempdir().unwrap();
        let body = [1, 20, 40, 3, 1, 0xd8, 4];
        let mut bytes = vec![0x01, 0x30, 0xba, 0x30, 1];
        bytes.extend_from_slice(&body);
        put_u32_be(&mut bytes, crc32c(&body));
        let file = dir.path().join(TOMBSTONES_FILE);
        std::fs::write(&file, &bytes).unwrap();

        let stones = Tombstones::read(&StdFs, dir.path()).unwrap();
        assert!(stones.covers(SeriesRef(3), -1, 300));
        assert!(stones.covers(SeriesRef(1), 10, 20) && !stones.covers(SeriesRef(1), 9, 20));
        let mut batch = SampleBatch::new();
        batch.extend_from_columns(&[15, 5, 10, 20, 21], &[1.0; 5]);
        stones.apply(SeriesRef(1), &mut batch, 1);
        assert_eq!(batch.timestamps(), [15, 5, 21]);
        stones.apply(SeriesRef(2), &mut batch, 0);
        assert_eq!(batch.timestamps(), [15, 5, 21]);

        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(&file, &flipped).unwrap();
            assert!(Tombstones::read(&StdFs, dir.path()).is_err(), "flipped byte {at}");
            std::fs::write(&file, &bytes[..at]).unwrap();
            assert!(Tombstones::read(&StdFs, dir.path()).is_err(), "cut to {at} bytes");
        }
    }

    #[test]
    fn the_format_page_tells_what_is_written() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/tombstones.md");
        let page = std::fs::read_to_string(page).unwrap();
        let example = page.split("```tombstones-of-one\n").nth(1).unwrap();
        let example = example.split("```").next().unwrap();
        let bytes: Vec<u8> =
            example.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let mut stones = Tombstones::default();
        stones.add(SeriesRef(3), 1000, 1999);
        assert_eq!(stones.encode(), bytes);
    }

    #[test]
    fn without_a_file_nothing_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let none = Tombstones::read(&StdFs, dir.path()).unwrap();
        assert!(none.is_empty());
        none.write(&StdFs, dir.path()).unwrap();
        assert_eq!(Tombstones::read(&StdFs, dir.path()).unwrap(), none);
    }

    #[test]
    fn intervals_are_united_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut stones = Tombstones::default();
        let series = SeriesRef(7);
        assert!(stones.add(series, 10, 20) && stones.add(series, 30, 40));
        assert!(!stones.add(series, 12, 20) && !stones.add(series, 5, 4));
        assert!(!stones.covers(series, 10, 40) && stones.covers(series, 31, 40));
        assert!(stones.add(series, 21, 29));
        assert_eq!(stones.of(series), [(10, 40)]);
        assert!(stones.add(series, i64::MAX - 1, i64::MAX) && stones.add(series, i64::MIN, -5));
        assert!(touches(stones.of(series), -9, 0) && !touches(stones.of(series), -4, 9));
        assert_eq!(stones.len(), 3);
        stones.replace(&StdFs, dir.path()).unwrap();
        stones.replace(&StdFs, dir.path()).unwrap();
        assert_eq!(Tombstones::read(&StdFs, dir.path()).unwrap(), stones);
        assert_eq!(stones.series().collect::<Vec<_>>(), [series]);
    }
}
