//! Deleted intervals of a block: its `tombstones` file and its form in memory.
//!
//! The format is Prometheus's, described in `docs/formats/block.md`. Blocks cut here have none, but
//! a directory that Prometheus wrote may, and what it deleted stays deleted.

use std::collections::HashMap;
use std::path::Path;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::cursor::{Cursor, crc32c, put_u32_be};
use ferula_index::SeriesRef;
use ferula_wal::fs::Fs;

use crate::block::OutputFile;
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

/// Deleted intervals by series.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    /// Intervals with both ends inclusive, by start.
    intervals: HashMap<SeriesRef, Vec<(i64, i64)>>,
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
        let mut intervals: HashMap<SeriesRef, Vec<(i64, i64)>> = HashMap::new();
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let series = SeriesRef(cursor.uvarint()?);
            let interval = (cursor.varint()?, cursor.varint()?);
            intervals.entry(series).or_default().push(interval);
        }
        for of_series in intervals.values_mut() {
            of_series.sort_unstable();
        }
        Ok(Self { intervals })
    }

    /// Writes the file of a block of which nothing is deleted.
    pub(crate) fn write_empty(fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
        let mut bytes = Vec::new();
        put_u32_be(&mut bytes, MAGIC);
        bytes.push(VERSION);
        put_u32_be(&mut bytes, crc32c(&[]));
        let mut file = OutputFile::create(fs, dir.join(TOMBSTONES_FILE))?;
        file.put(&bytes)?;
        file.finish()
    }

    /// Tells whether the samples of `series` from `mint` to `maxt` are all deleted by one interval.
    pub(crate) fn covers(&self, series: SeriesRef, mint: i64, maxt: i64) -> bool {
        let of_series = self.intervals.get(&series);
        of_series.is_some_and(|of| of.iter().any(|(from, to)| *from <= mint && maxt <= *to))
    }

    /// Removes the deleted samples of `series` from those that stand at `start` and after in
    /// `batch`.
    pub(crate) fn apply(&self, series: SeriesRef, batch: &mut SampleBatch, start: usize) {
        let Some(of_series) = self.intervals.get(&series) else { return };
        let kept: Vec<_> = batch
            .iter()
            .skip(start)
            .filter(|sample| {
                !of_series.iter().any(|(from, to)| (*from..=*to).contains(&sample.timestamp))
            })
            .collect();
        batch.truncate(start);
        for sample in kept {
            batch.push(sample.timestamp, sample.value);
        }
    }
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
    fn without_a_file_nothing_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Tombstones::read(&StdFs, dir.path()).unwrap().intervals.is_empty());
        Tombstones::write_empty(&StdFs, dir.path()).unwrap();
        assert!(Tombstones::read(&StdFs, dir.path()).unwrap().intervals.is_empty());
    }
}
