//! Opens a log whose last segment is any bytes: it is read, cut or refused, never more, and once it
//! has been opened it opens again without a cut and with the same records.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use ferula_wal::fs::{FaultFs, Fs, OpenMode};
use ferula_wal::record::Record;
use ferula_wal::{Error, Options, RecoveryReport, SyncPolicy, Wal};
use libfuzzer_sys::fuzz_target;

fn open(fs: &FaultFs) -> Result<(RecoveryReport, Vec<Vec<u8>>), Error> {
    let options = Options::builder().sync(SyncPolicy::Never).build()?;
    let (_wal, mut recovery) = Wal::open(Arc::new(fs.clone()), "wal", options)?;
    let mut records = Vec::new();
    while let Some(record) = recovery.next_record()? {
        records.push(record.bytes.to_vec());
        walk(record.bytes);
    }
    Ok((recovery.report, records))
}

/// Decodes a record to its end or its first error.
fn walk(record: &[u8]) {
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

fuzz_target!(|bytes: &[u8]| {
    walk(bytes);
    let fs = FaultFs::new();
    fs.create_dir_all(Path::new("wal")).expect("a new directory");
    let segment = fs.open(Path::new("wal/00000000"), OpenMode::CreateNew).expect("a new file");
    segment.write_at(bytes, 0).expect("no fault was injected");
    if let Ok((_, records)) = open(&fs) {
        let (report, again) = open(&fs).expect("a log that was opened opens again");
        assert_eq!(report.cut, None);
        assert_eq!(again, records);
    }
});
