//! What is logged is read back: any batches, any compression, over any number of segments.

#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::Path;
use std::sync::Arc;

use ferula_wal::fs::{FaultFs, StdFs, Survival};
use ferula_wal::{
    Compression, Error, LogReader, Options, PAGE_BYTES, PackedRecord, SyncPolicy, Unpacker, Wal,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn options(compression: Compression) -> Options {
    Options::builder()
        .segment_bytes(4 * PAGE_BYTES as u64)
        .compression(compression)
        .sync(SyncPolicy::Never)
        .build()
        .unwrap()
}

fn read_all(dir: &Path) -> Vec<Vec<u8>> {
    let mut reader = LogReader::open(Arc::new(StdFs), dir).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(record.bytes.to_vec());
    }
    records
}

/// The same, unpacked by another thread.
fn read_all_packed(dir: &Path) -> Vec<Vec<u8>> {
    let mut reader = LogReader::open(Arc::new(StdFs), dir).unwrap();
    let (sender, receiver) = std::sync::mpsc::sync_channel::<PackedRecord>(4);
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let mut unpacker = Unpacker::default();
            let unpacked = receiver.iter().map(|packed| {
                assert!(packed.packed_bytes() > 0);
                packed.unpack(&mut unpacker).unwrap().bytes.to_vec()
            });
            unpacked.collect()
        });
        let mut packed = PackedRecord::default();
        while reader.next_packed(&mut packed).unwrap() {
            sender.send(std::mem::take(&mut packed)).unwrap();
        }
        drop(sender);
        worker.join().unwrap()
    })
}

/// Records that compress well or badly, of sizes around those of fragments and pages.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![
        8 => 1..200_usize,
        2 => PAGE_BYTES - 20..PAGE_BYTES + 20,
        1 => 1..5 * PAGE_BYTES,
    ];
    (len, any::<u64>(), any::<bool>()).prop_map(|(len, seed, is_noise)| {
        let mut state = seed | 1;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                if is_noise { state.to_le_bytes()[3] } else { seed.to_le_bytes()[0] }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_are_read_back_in_order(
        batches in vec(vec(record(), 1..5), 0..20),
        reopen_every in 1..10_usize,
        codec in 0..3_usize,
    ) {
        let codec = [Compression::None, Compression::Snappy, Compression::Zstd][codec];
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("wal");
        let mut logged = Vec::new();
        for round in batches.chunks(reopen_every) {
            let (wal, mut recovery) = Wal::open(Arc::new(StdFs), &dir, options(codec)).unwrap();
            prop_assert_eq!(&recovery.report.cut, &None);
            let mut replayed = Vec::new();
            while let Some(record) = recovery.next_record().unwrap() {
                replayed.push(record.bytes.to_vec());
            }
            prop_assert_eq!(&replayed, &logged);
            for batch in round {
                let records: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
                wal.append(&records).unwrap();
                logged.extend(batch.iter().cloned());
            }
            wal.close().unwrap();
        }
        if !batches.is_empty() {
            prop_assert_eq!(&read_all(&dir), &logged);
            prop_assert_eq!(&read_all_packed(&dir), &logged);
        }
    }
}

#[test]
fn concurrent_committers_keep_their_own_order() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("wal");
    let (wal, _) = Wal::open(Arc::new(StdFs), &dir, Options::default()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let wal = &wal;
            scope.spawn(move || {
                for i in 0..50_u8 {
                    wal.append(&[&[99, thread, i], &[100, thread, i]]).unwrap();
                }
            });
        }
    });
    wal.close().unwrap();
    let records = read_all(&dir);
    assert_eq!(records.len(), 400);
    for pair in records.chunks(2) {
        assert_eq!(pair[0][1..], pair[1][1..], "a batch stays together");
    }
    for thread in 0..4 {
        let own: Vec<u8> =
            records.iter().filter(|r| r[..2] == [99, thread]).map(|r| r[2]).collect();
        assert_eq!(own, (0..50).collect::<Vec<u8>>());
    }
}

#[test]
fn records_that_look_compressed_are_read_back() {
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd][..], &[7; 20]].concat();
    let snappy = snap::raw::Encoder::new().compress_vec(&[0xaa; 300]).unwrap();
    for codec in [Compression::None, Compression::Snappy, Compression::Zstd] {
        let tmp = tempfile::tempdir().unwrap();
        let (wal, _) = Wal::open(Arc::new(StdFs), tmp.path(), options(codec)).unwrap();
        wal.append(&[&zstd, &snappy]).unwrap();
        wal.close().unwrap();
        assert_eq!(read_all(tmp.path()), [zstd.clone(), snappy.clone()]);
    }
}

#[test]
fn a_commit_syncs_at_the_interval_and_the_thread_ends() {
    let fs = FaultFs::new();
    let interval = std::time::Duration::from_millis(1);
    let options = Options::builder().sync(SyncPolicy::Interval(interval)).build().unwrap();
    let dir = Path::new("wal");
    let (wal, _) = Wal::open(Arc::new(fs.clone()), dir, options.clone()).unwrap();
    let before = fs.operations();
    wal.append(&[b"record"]).unwrap();
    while fs.operations() < before + 2 {
        std::thread::yield_now();
    }
    wal.close().unwrap();
    wal.close().unwrap();
    assert!(matches!(wal.append(&[b"late"]), Err(Error::Closed)));
    let (_wal, mut recovery) =
        Wal::open(Arc::new(fs.crash(Survival::Nothing)), dir, options).unwrap();
    assert_eq!(recovery.next_record().unwrap().unwrap().bytes, b"record");
}

#[test]
fn a_batch_larger_than_a_segment_gets_its_own() {
    let tmp = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(Arc::new(StdFs), tmp.path(), options(Compression::None)).unwrap();
    let long = vec![7; 9 * PAGE_BYTES];
    wal.append(&[&[1]]).unwrap();
    wal.append(&[&long, &[2]]).unwrap();
    wal.append(&[&[3]]).unwrap();
    assert_eq!(wal.current_segment(), 2);
    wal.close().unwrap();
    assert_eq!(read_all(tmp.path()), [vec![1], long, vec![2], vec![3]]);
}

#[test]
fn records_without_bytes_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(Arc::new(StdFs), tmp.path(), options(Compression::None)).unwrap();
    assert!(matches!(wal.append(&[]), Err(Error::EmptyRecord)));
    assert!(matches!(wal.append(&[&[1], &[]]), Err(Error::EmptyRecord)));
    wal.append(&[&[2]]).unwrap();
    wal.close().unwrap();
    assert_eq!(read_all(tmp.path()), [[2]]);
}
