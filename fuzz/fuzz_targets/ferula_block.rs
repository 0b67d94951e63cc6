//! Blocks in ferula's own format: index and segments of arbitrary bytes are read or refused, and what
//! is read can be rewritten in the other format.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::cursor::crc32c;
use ferula_tsdb::{BlockFormat, Db, Options, SyncPolicy};
use ferula_wal::fs::{FaultFs, Fs, OpenMode};
use libfuzzer_sys::fuzz_target;

const NAME: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// Sections of an index, and length of its contents.
const N_SECTIONS: usize = 8;
const CONTENTS_BYTES: usize = 112;

const META: &str = r#"{"ulid": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "minTime": -1000000, "maxTime": 9000000,
    "stats": {}, "compaction": {"level": 1}, "version": 1,
    "ferula": {"format": "ferula", "version": 1}}"#;

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<2>() else { return };
    let (index, segment) = rest.split_at(rest.len().min(u16::from_le_bytes(*head).into()));
    let (mut index, mut segment) = (index.to_vec(), segment.to_vec());
    let _ = mend_index(&mut index);
    let _ = mend_segment(&mut segment);
    let fs = FaultFs::new();
    let dir = Path::new("/data").join(NAME);
    fs.create_dir_all(&dir.join("chunks")).expect("a file system in memory");
    for (file, bytes) in
        [("meta.json", META.as_bytes()), ("index", &index), ("chunks/000001", &segment)]
    {
        let file = fs.open(&dir.join(file), OpenMode::CreateNew).expect("a new file");
        file.write_at(bytes, 0).expect("it is in memory");
    }
    let options = Options::builder()
        .sync(SyncPolicy::Never)
        .maintenance_interval(None)
        .block_format(BlockFormat::Prometheus)
        .build()
        .expect("valid options");
    let db =
        Db::open_with(Arc::new(fs), "/data", options).expect("what cannot be read is set aside");
    let querier = db.querier(i64::MIN, i64::MAX).expect("an open database");
    let _ = querier.label_names(&[]);
    if let Ok(series) = querier.select(&[]) {
        let mut batch = SampleBatch::new();
        for index in 0..series.len() {
            batch.clear();
            if series.read(index, &mut batch).is_ok() {
                assert_eq!(batch.timestamps().len(), batch.values().len());
            }
        }
    }
    let _ = db.convert_blocks();
});

/// Corrects the checksums of an index, which random bytes never have, as far as its contents lead.
fn mend_index(data: &mut Vec<u8>) -> Option<()> {
    let contents = data.len().checked_sub(CONTENTS_BYTES)?;
    let mut ends = [8; N_SECTIONS + 1];
    for (at, end) in ends[1..].iter_mut().enumerate() {
        let bytes = data.get(contents + 12 + 12 * at..)?.first_chunk()?;
        *end = usize::try_from(u64::from_be_bytes(*bytes)).ok().filter(|end| *end <= contents)?;
    }
    for at in [0, 2, 5] {
        let offsets: Vec<usize> = data
            .get(ends[at + 1]..ends[at + 2])?
            .chunks_exact(5)
            .map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
            .collect();
        for pair in offsets.windows(2) {
            let (start, end) = (ends[at].checked_add(pair[0])?, ends[at].checked_add(pair[1])?);
            mend_crc(data, start, end)?;
        }
    }
    mend_crc(data, ends[7], ends[8])?;
    mend_crc(data, contents, contents + CONTENTS_BYTES)
}

/// Corrects the checksums of a segment.
fn mend_segment(data: &mut Vec<u8>) -> Option<()> {
    let footer = data.len().checked_sub(12)?;
    let mut at = 8;
    while at < footer {
        let mut cursor = ferula_chunkenc::cursor::Cursor::new(data.get(at..footer)?);
        let len = usize::try_from(cursor.uvarint().ok()?).ok()?;
        let start = at + cursor.offset();
        at = start.checked_add(len)?.checked_add(5)?;
        mend_crc(data, start, at)?;
    }
    mend_crc(data, footer, footer + 12)
}

/// Corrects the checksum that ends what lies between.
fn mend_crc(data: &mut [u8], start: usize, end: usize) -> Option<()> {
    let place = end.checked_sub(4)?;
    let crc = crc32c(data.get(start..place)?);
    data.get_mut(place..end)?.copy_from_slice(&crc.to_be_bytes());
    Some(())
}
