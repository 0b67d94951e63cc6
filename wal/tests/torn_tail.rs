//! The end of a log after a crash: cut at the first bad batch, reported, and refused only where
//! something durable is missing.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_wal::fs::{FaultFs, Fs, OpenMode};
use ferula_wal::{Compression, Cut, DamageReason, Error, LogReader, Options, PAGE_BYTES, Wal};

fn dir() -> &'static Path {
    Path::new("wal")
}

fn segment(number: u32) -> PathBuf {
    dir().join(format!("{number:08}"))
}

fn options() -> Options {
    Options::builder().compression(Compression::None).build().unwrap()
}

/// A log whose only segment holds `bytes`.
fn log_of(bytes: &[u8]) -> FaultFs {
    let fs = FaultFs::new();
    fs.create_dir_all(dir()).unwrap();
    let file = fs.open(&segment(0), OpenMode::CreateNew).unwrap();
    file.write_at(bytes, 0).unwrap();
    fs
}

struct Replay {
    records: Vec<Vec<u8>>,
    cut: Option<Cut>,
}

fn replay(fs: &FaultFs) -> Result<Replay, Error> {
    let (_wal, mut recovery) = Wal::open(Arc::new(fs.clone()), dir(), options())?;
    let mut records = Vec::new();
    while let Some(record) = recovery.next_record()? {
        records.push(record.bytes.to_vec());
    }
    Ok(Replay { records, cut: recovery.report.cut })
}

/// Logs `batches`, each synced on its own, and returns the bytes of the segment and where each
/// batch ends. The log is not closed, so the last page is not padded.
fn written(batches: &[Vec<Vec<u8>>]) -> (Vec<u8>, Vec<usize>) {
    let fs = FaultFs::new();
    let (wal, _) = Wal::open(Arc::new(fs.clone()), dir(), options()).unwrap();
    let mut ends = Vec::new();
    for batch in batches {
        let records: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        wal.append(&records).unwrap();
        ends.push(fs.read(&segment(0)).unwrap().len());
    }
    (fs.read(&segment(0)).unwrap(), ends)
}

fn batches() -> Vec<Vec<Vec<u8>>> {
    vec![
        vec![vec![1; 30]],
        vec![vec![2; 40], vec![3; 1], vec![4; 50]],
        vec![vec![5; PAGE_BYTES]],
        vec![vec![6; 20], vec![7; 20]],
    ]
}

#[test]
fn a_log_cut_anywhere_keeps_its_whole_batches() {
    let (bytes, ends) = written(&batches());
    for len in 0..=bytes.len() {
        // The long record needs no look at each of its bytes.
        if (400..PAGE_BYTES - 20).contains(&len) && len % 500 != 0 {
            continue;
        }
        let fs = log_of(&bytes[..len]);
        let found = replay(&fs).unwrap();
        let n = ends.iter().filter(|&&end| end <= len).count();
        let expected: Vec<_> = batches().into_iter().take(n).flatten().collect();
        assert!(found.records == expected, "cut at {len}");
        let kept = ends[..n].last().copied().unwrap_or(0);
        match found.cut {
            None => assert_eq!(kept, len),
            Some(cut) => {
                assert_eq!((cut.file, cut.segment), (segment(0), 0));
                assert_eq!((cut.offset, cut.bytes), (kept as u64, (len - kept) as u64));
                assert!((cut.offset..=len as u64).contains(&cut.damage_offset));
                assert_ne!(kept, len);
            }
        }
        let again = replay(&fs).unwrap();
        assert!(again.records == expected && again.cut.is_none(), "reopened, cut at {len}");
    }
}

#[test]
fn a_tail_of_zeros_is_no_batch() {
    let (bytes, ends) = written(&batches());
    for start in ends[2]..bytes.len() {
        for more in [0, 100, 3 * PAGE_BYTES] {
            let mut bytes = bytes.clone();
            bytes[start..].fill(0);
            bytes.resize(bytes.len() + more, 0);
            let found = replay(&log_of(&bytes)).unwrap();
            assert_eq!(found.records.len(), 5, "zeros from {start}");
            assert_eq!(found.cut.is_some(), start > ends[2]);
        }
    }
}

#[test]
fn records_behind_a_lost_page_are_cut() {
    // Three records of about a page each in one write, of which the second page was lost.
    let record = |byte: u8| vec![byte; PAGE_BYTES - 7];
    let (mut bytes, _) = written(&[vec![record(1)], vec![record(2)], vec![record(3)]]);
    for page in bytes.chunks_mut(PAGE_BYTES) {
        page[0] &= 0x7f; // As if all had been written at once.
    }
    bytes[PAGE_BYTES..2 * PAGE_BYTES].fill(0);
    let found = replay(&log_of(&bytes)).unwrap();
    assert_eq!(found.records, [record(1)]);
    let cut = found.cut.unwrap();
    assert_eq!((cut.offset, cut.bytes), (PAGE_BYTES as u64, 2 * PAGE_BYTES as u64));
    assert_eq!(cut.reason, DamageReason::Padding);
}

#[test]
fn a_header_that_lost_its_length_is_no_record() {
    let (mut bytes, ends) = written(&batches());
    let last = ends[2];
    bytes[last + 1..].fill(0);
    let found = replay(&log_of(&bytes)).unwrap();
    assert_eq!(found.records.len(), 5);
    assert!(matches!(found.cut.unwrap().reason, DamageReason::Header { .. }));
}

#[test]
fn lost_bytes_before_a_durable_mark_are_refused() {
    let (bytes, ends) = written(&batches());
    // The last batch was written when the others were durable.
    for at in (0..ends[2]).filter(|at| *at < 300 || at % 1000 == 0 || ends[2] - at < 20) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0xff;
        let fs = log_of(&bytes);
        let before = fs.operations();
        match replay(&fs) {
            Err(Error::Damaged { file, offset, .. }) => {
                assert_eq!(file, segment(0));
                assert!(offset <= at as u64);
            }
            Err(error) => panic!("{error}"),
            Ok(found) => panic!("byte {at}: cut {:?}", found.cut),
        }
        assert_eq!(fs.operations() - before, 1, "only the directory's name is synced");
        assert!(fs.read(&segment(0)).unwrap() == bytes);
    }
}

#[test]
fn a_batch_is_cut_whole() {
    let (bytes, ends) = written(&batches()[..2]);
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let found = replay(&log_of(&damaged)).unwrap();
    assert_eq!(found.records, [vec![1; 30]]);
    let cut = found.cut.unwrap();
    assert_eq!(cut.offset, ends[0] as u64);
    assert!(cut.damage_offset > cut.offset, "the damage is in the last record of the batch");
    assert!(matches!(cut.reason, DamageReason::Checksum { .. }));
}

#[test]
fn a_gap_between_segments_is_refused() {
    let fs = FaultFs::new();
    let (wal, _) = Wal::open(Arc::new(fs.clone()), dir(), options()).unwrap();
    for _ in 0..3 {
        wal.append(&[b"record"]).unwrap();
        wal.rotate().unwrap();
    }
    wal.close().unwrap();
    fs.remove_file(&segment(1)).unwrap();
    let error = replay(&fs).err().unwrap();
    assert!(matches!(error, Error::MissingSegment { missing: 1, next: 2, .. }), "{error}");
}

/// Adds segments without bytes behind the first one.
fn with_empty_segments(bytes: &[u8], n: u32) -> FaultFs {
    let fs = log_of(bytes);
    for number in 1..=n {
        fs.open(&segment(number), OpenMode::CreateNew).unwrap();
    }
    fs
}

#[test]
fn a_torn_segment_in_front_of_empty_ones_is_cut() {
    // As Prometheus leaves it when it is killed twice, the second time while it starts.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wal/v1/none/00000000");
    let bytes = std::fs::read(golden).unwrap();
    let all = replay(&log_of(&bytes)).unwrap().records;
    for len in [5, 100, PAGE_BYTES - 3, PAGE_BYTES, 2 * PAGE_BYTES, 2 * PAGE_BYTES + 77] {
        for n_empty in 1..=2 {
            let fs = with_empty_segments(&bytes[..len], n_empty);
            let found = replay(&fs).unwrap();
            assert!(all.starts_with(&found.records) && found.records.len() < all.len());
            let cut = found.cut.expect("a record is torn");
            assert_eq!((cut.file, cut.segment), (segment(0), 0));
            assert_eq!(cut.bytes, len as u64 - cut.offset);
            let again = replay(&fs).unwrap();
            assert_eq!((again.records, again.cut), (found.records, None));
            assert_eq!(fs.list(dir()).unwrap().len(), 1 + n_empty as usize);
        }
    }
}

#[test]
fn a_whole_segment_in_front_of_empty_ones_is_left_alone() {
    let (bytes, _) = written(&batches());
    let fs = with_empty_segments(&bytes, 2);
    let found = replay(&fs).unwrap();
    assert_eq!((found.records.len(), found.cut), (batches().iter().flatten().count(), None));
    assert!(fs.read(&segment(0)).unwrap() == bytes);
}

#[test]
fn durable_damage_in_front_of_an_empty_segment_is_refused() {
    let (mut bytes, ends) = written(&batches());
    bytes[ends[0] + 20] ^= 1;
    let fs = with_empty_segments(&bytes, 1);
    let error = replay(&fs).err().unwrap();
    assert!(matches!(error, Error::Damaged { reason: DamageReason::Checksum { .. }, .. }));
    assert!(fs.read(&segment(0)).unwrap() == bytes);
}

#[test]
fn a_torn_segment_in_front_of_one_with_records_is_refused() {
    let (bytes, ends) = written(&batches());
    let fs = with_empty_segments(&bytes[..ends[0] + 9], 1);
    let file = fs.open(&segment(1), OpenMode::Write).unwrap();
    file.write_at(&bytes[..ends[0]], 0).unwrap();
    let error = replay(&fs).err().unwrap();
    assert!(matches!(error, Error::Damaged { reason: DamageReason::CutShort, .. }));
}

#[test]
fn a_log_that_is_only_read_shows_no_half_of_a_batch() {
    let (bytes, ends) = written(&batches());
    for len in 0..=ends[1] {
        let fs = log_of(&bytes[..len]);
        let mut reader = LogReader::open(Arc::new(fs), dir()).unwrap();
        let mut n = 0;
        while let Ok(Some(_)) = reader.next_record() {
            n += 1;
        }
        let expected = [0, 1, 4][ends.iter().filter(|&&end| end <= len).count()];
        assert_eq!(n, expected, "{len} bytes");
    }
}
