//! Flipped bits: refused where the log had been durable, cut or refused at its end, and never read
//! as something that was not written.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_wal::fs::{FaultFs, Fs, OpenMode};
use ferula_wal::{Compression, Error, Options, PAGE_BYTES, Wal};

/// Bits of a fragment's first byte that carry no data: whether the batch continues, and whether
/// what came before was durable. They are not covered by the checksum.
const HINT_BITS: u8 = 0xc0;

fn dir() -> &'static Path {
    Path::new("wal")
}

fn segment(number: u8) -> PathBuf {
    dir().join(format!("{number:08}"))
}

/// Batch `n` of a segment: compressible and not, within a page and over several.
fn batch(segment: u8, n: u8) -> Vec<Vec<u8>> {
    let noise = |len: usize| -> Vec<u8> {
        let mut state = u32::from(segment) << 8 | u32::from(n) | 1 << 16;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect()
    };
    let mut records = vec![vec![200, segment, n], [vec![201], noise(60)].concat()];
    match n {
        1 => records.push(vec![n; 300]),
        2 => records.push([vec![202], noise(2 * PAGE_BYTES)].concat()),
        _ => {}
    }
    records
}

const N_SEGMENTS: u8 = 2;

/// The segments of a log that was closed, its records, and where the last batch begins.
struct Written {
    segments: Vec<Vec<u8>>,
    records: Vec<Vec<u8>>,
    last_batch: u64,
}

fn write(compression: Compression) -> Written {
    let fs = FaultFs::new();
    let options = Options::builder().compression(compression).build().unwrap();
    let (wal, _) = Wal::open(Arc::new(fs.clone()), dir(), options).unwrap();
    let (mut records, mut last_batch) = (Vec::new(), 0);
    for number in 0..N_SEGMENTS {
        if number > 0 {
            wal.rotate().unwrap();
        }
        for n in 0..5 {
            last_batch = fs.metadata(&segment(number)).unwrap().len;
            let batch = batch(number, n);
            wal.append(&batch.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
            records.extend(batch);
        }
    }
    wal.close().unwrap();
    let segments = (0..N_SEGMENTS).map(|n| fs.read(&segment(n)).unwrap()).collect();
    Written { segments, records, last_batch }
}

fn read(segments: &[Vec<u8>]) -> Result<(Vec<Vec<u8>>, bool), Error> {
    let fs = FaultFs::new();
    fs.create_dir_all(dir()).unwrap();
    for (n, bytes) in (0..).zip(segments) {
        fs.open(&segment(n), OpenMode::CreateNew).unwrap().write_at(bytes, 0).unwrap();
    }
    let (_wal, mut recovery) = Wal::open(Arc::new(fs), dir(), Options::default())?;
    let mut records = Vec::new();
    while let Some(record) = recovery.next_record()? {
        records.push(record.bytes.to_vec());
    }
    Ok((records, recovery.report.cut.is_some()))
}

/// Bits worth flipping: all of the first bytes and of those after page boundaries, one in each of
/// some others.
fn places(len: usize) -> impl Iterator<Item = (usize, u32)> {
    (0..len).flat_map(|at| {
        let in_page = at % PAGE_BYTES;
        let bits = match () {
            () if at < 48 || (at > PAGE_BYTES && in_page < 8) => 0..8,
            () if at < 400 || in_page > PAGE_BYTES - 8 || at % 997 == 0 => {
                let bit = u32::try_from(at % 8).unwrap();
                bit..bit + 1
            }
            () => 0..0,
        };
        bits.map(move |bit| (at, bit))
    })
}

fn flip_bits(compression: Compression) {
    let written = write(compression);
    let mut segments = written.segments.clone();
    for number in [0, N_SEGMENTS - 1] {
        let is_last = number == N_SEGMENTS - 1;
        for (at, bit) in places(segments[usize::from(number)].len()) {
            segments[usize::from(number)][at] ^= 1 << bit;
            let context = format!("{compression:?}, segment {number}, byte {at}, bit {bit}");
            match read(&segments) {
                Err(Error::Damaged { file, offset, .. }) => {
                    assert_eq!(file, segment(number), "{context}");
                    assert!(offset <= at as u64, "{context}: found at {offset}");
                }
                Err(error) => panic!("{context}: {error}"),
                Ok((records, is_cut)) if is_cut => {
                    assert!(is_last && at as u64 >= written.last_batch, "{context}: cut");
                    assert!(written.records.starts_with(&records), "{context}");
                }
                Ok((records, _)) => {
                    assert!((1 << bit) & HINT_BITS != 0, "{context}: not noticed");
                    assert!(records == written.records, "{context}: wrong data");
                }
            }
            segments[usize::from(number)][at] ^= 1 << bit;
        }
    }
}

#[test]
fn flipped_bits_are_noticed_without_compression() {
    flip_bits(Compression::None);
}

#[test]
fn flipped_bits_are_noticed_with_zstd() {
    flip_bits(Compression::Zstd);
}

#[test]
fn flipped_bits_are_noticed_with_snappy() {
    flip_bits(Compression::Snappy);
}

#[test]
fn an_earlier_segment_cut_within_a_batch_is_refused() {
    let written = write(Compression::None);
    for len in [1, 6, 7, 20, 100, PAGE_BYTES + 5, written.segments[0].len() - PAGE_BYTES - 1] {
        let mut segments = written.segments.clone();
        segments[0].truncate(len);
        let error = read(&segments).unwrap_err();
        let Error::Damaged { file, .. } = error else { panic!("{len}: {error}") };
        assert_eq!(file, segment(0));
    }
}
