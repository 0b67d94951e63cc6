//! Any bytes may stand in the last segment: they are read, cut or refused, never more, and a log that
//! was opened opens again with the same records. Nothing panics.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::Path;
use std::sync::Arc;

use ferula_wal::fs::{FaultFs, Fs, OpenMode};
use ferula_wal::record::Record;
use ferula_wal::{Compression, Cut, Error, Options, SyncPolicy, Wal};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn options(compression: Compression) -> Options {
    Options::builder().sync(SyncPolicy::Never).compression(compression).build().unwrap()
}

fn open(fs: &FaultFs) -> Result<(Option<Cut>, Vec<Vec<u8>>), Error> {
    let options = options(Compression::Zstd);
    let (_wal, mut recovery) = Wal::open(Arc::new(fs.clone()), "wal", options)?;
    let mut records = Vec::new();
    while let Some(record) = recovery.next_record()? {
        records.push(record.bytes.to_vec());
        decode(record.bytes);
    }
    Ok((recovery.report.cut, records))
}

/// Decodes a record to its end or its first error.
fn decode(record: &[u8]) {
    match Record::decode(record) {
        Ok(Record::Series(mut entries)) => while let Ok(Some(_)) = entries.next() {},
        Ok(Record::Samples(mut entries)) => while let Ok(Some(_)) = entries.next() {},
        Ok(Record::SamplesV2(mut entries)) => while let Ok(Some(_)) = entries.next() {},
        Ok(Record::Tombstones(mut entries)) => while let Ok(Some(_)) = entries.next() {},
        Ok(Record::Exemplars(mut entries)) => while let Ok(Some(_)) = entries.next() {},
        Ok(Record::MmapMarkers(mut entries)) => while let Ok(Some(_)) = entries.next() {},
        Ok(Record::Metadata(mut entries)) => while let Ok(Some(_)) = entries.next() {},
        Ok(Record::Histograms(mut entries)) => while let Ok(Some(_)) = entries.next() {},
        Ok(Record::FloatHistograms(mut entries)) => while let Ok(Some(_)) = entries.next() {},
        _ => {}
    }
}

fn check(bytes: &[u8]) {
    let fs = FaultFs::new();
    fs.create_dir_all(Path::new("wal")).unwrap();
    let segment = fs.open(Path::new("wal/00000000"), OpenMode::CreateNew).unwrap();
    segment.write_at(bytes, 0).unwrap();
    if let Ok((_, records)) = open(&fs) {
        let (cut, again) = open(&fs).unwrap();
        assert_eq!(cut, None);
        assert_eq!(again, records);
    }
}

fn segment_of(records: &[Vec<u8>], compression: Compression) -> Vec<u8> {
    let fs = FaultFs::new();
    let (wal, _) = Wal::open(Arc::new(fs.clone()), "wal", options(compression)).unwrap();
    for record in records {
        wal.append(&[record]).unwrap();
    }
    fs.read(Path::new("wal/00000000")).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn noise_is_survived(bytes in vec(any::<u8>(), 0..500)) {
        decode(&bytes);
        check(&bytes);
    }

    #[test]
    fn changed_segments_are_survived(
        records in vec(vec(0..4_u8, 1..40_000), 1..4),
        changes in vec((any::<Index>(), any::<u8>(), 1..600_usize), 1..4),
        is_packed: bool,
    ) {
        let compression = if is_packed { Compression::Zstd } else { Compression::None };
        let mut bytes = segment_of(&records, compression);
        for (place, byte, len) in changes {
            let at = place.index(bytes.len());
            let end = bytes.len().min(at + if byte == 0 { len } else { 1 });
            bytes[at..end].fill(byte);
        }
        check(&bytes);
    }

    #[test]
    fn changed_records_are_survived(kind in 1..15_u8, body in vec(any::<u8>(), 0..200)) {
        decode(&[&[kind], body.as_slice()].concat());
    }
}
