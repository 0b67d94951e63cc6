//! Logs written by Prometheus are read to the byte, and written to the byte.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_chunkenc::stale;
use ferula_index::{Labels, SeriesRef};
use ferula_wal::fs::StdFs;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::tombstones::Tombstone;
use ferula_wal::record::{Record, samples, series, tombstones};
use ferula_wal::{Compression, LogReader, Options, SyncPolicy, Wal};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wal/v1").join(name)
}

fn read_all(dir: &Path) -> Vec<Vec<u8>> {
    let mut reader = LogReader::open(Arc::new(StdFs), dir).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(record.bytes.to_vec());
    }
    records
}

fn golden_series() -> Vec<(SeriesRef, Labels)> {
    let labels = |i: u64| match i {
        7 => Labels::from_pairs([("__name__", "mit.punkt"), ("größe", "çà 🔥")]),
        8 => Ok(Labels::empty()),
        _ => Labels::from_pairs([
            ("__name__", format!("metric_{}", i % 10)),
            ("instance", format!("host-{i}:9100")),
            ("job", "golden".to_owned()),
        ]),
    };
    (0..400).map(|i| (SeriesRef(i * i + 1), labels(i).unwrap())).collect()
}

fn golden_round(round: i32) -> Vec<RefSample> {
    let value = |i: i32| match i {
        3 => stale::STALE_NAN,
        4 => f64::NEG_INFINITY,
        5 => -0.0,
        _ => f64::from(i) * 1.25 * f64::from(round),
    };
    let sample = |i: i32| RefSample {
        series: SeriesRef(u64::try_from(i * i + 1).unwrap()),
        timestamp: 1_700_000_000_000 + i64::from(round * 15_000 - i % 3),
        value: value(i),
    };
    (0..400).map(sample).collect()
}

fn golden_run() -> Vec<RefSample> {
    let sample = |i: u32| RefSample {
        series: SeriesRef(u64::from(1 + i % 400)),
        timestamp: 1_700_000_100_000 + i64::from(i),
        value: f64::from(i).sqrt(),
    };
    (0..4500).map(sample).collect()
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = Vec::new();
    encode(&mut record);
    record
}

/// The records that this crate encodes, by their place in the golden logs.
fn expected() -> Vec<(usize, Vec<u8>)> {
    let series = golden_series();
    let refs = |n: usize| series.iter().take(n).map(|(series, labels)| (*series, labels));
    let mut records = vec![
        encoded(|buf| series::encode(refs(1), buf)),
        encoded(|buf| series::encode(refs(400), buf)),
    ];
    records.extend((0..5).map(|round| encoded(|buf| samples::encode(golden_round(round), buf))));
    let extremes = [
        RefSample { series: SeriesRef(u64::MAX), timestamp: i64::MIN, value: 1.0 },
        RefSample { series: SeriesRef(0), timestamp: i64::MAX, value: 2.0 },
    ];
    records.push(encoded(|buf| samples::encode(extremes, buf)));
    records.push(encoded(|buf| samples::encode([], buf)));
    let deleted = [
        Tombstone { series: SeriesRef(2), mint: -5, maxt: 1_700_000_000_000 },
        Tombstone { series: SeriesRef(5), mint: 1, maxt: 2 },
        Tombstone { series: SeriesRef(5), mint: 4, maxt: 9 },
    ];
    records.push(encoded(|buf| tombstones::encode(deleted, buf)));
    let mut records: Vec<_> = records.into_iter().enumerate().collect();
    records.push((14, encoded(|buf| samples::encode(golden_run(), buf))));
    records.push((15, encoded(|buf| samples::encode(golden_run().into_iter().take(3), buf))));
    records
}

#[test]
fn records_of_prometheus_are_those_encoded_here() {
    let plain = read_all(&golden("none"));
    assert_eq!(plain.len(), 16);
    for (i, record) in expected() {
        assert!(plain[i] == record, "record {} differs", i + 1);
    }
    assert!(read_all(&golden("snappy")) == plain);
    assert!(read_all(&golden("zstd")) == plain);
}

#[test]
fn records_of_prometheus_are_decoded() {
    let records = read_all(&golden("zstd"));
    let Record::Series(mut decoder) = Record::decode(&records[1]).unwrap() else { panic!() };
    for expected in golden_series() {
        assert_eq!(decoder.next().unwrap(), Some(expected));
    }
    assert_eq!(decoder.next().unwrap(), None);
    for (record, expected) in [(5, golden_round(3)), (14, golden_run())] {
        let Record::Samples(mut decoder) = Record::decode(&records[record]).unwrap() else {
            panic!()
        };
        assert!(decoder.max_left() >= expected.len());
        for expected in expected {
            assert_eq!(decoder.next().unwrap(), Some(expected));
        }
        assert_eq!(decoder.next().unwrap(), None);
    }
    // The others are those of `golden_records.rs`, one entry each.
    let decoded: Vec<_> = records[10..14].iter().map(|r| Record::decode(r).unwrap()).collect();
    let [
        Record::Exemplars(exemplars),
        Record::Metadata(metadata),
        Record::Histograms(histograms),
        Record::SamplesV2(samples),
    ] = &mut <[_; 4]>::try_from(decoded).unwrap()
    else {
        panic!()
    };
    assert_eq!(exemplars.next().unwrap().unwrap().value, 6.0);
    assert_eq!(metadata.next().unwrap().unwrap().help, "help");
    assert_eq!(histograms.next().unwrap().unwrap().histogram.count, 3);
    assert_eq!(samples.next().unwrap().unwrap().start_timestamp, 1);
    assert_eq!(histograms.next().unwrap(), None);
}

#[test]
fn the_same_records_make_the_same_segment() {
    let tmp = tempfile::tempdir().unwrap();
    let options =
        Options::builder().compression(Compression::None).sync(SyncPolicy::Never).build().unwrap();
    let (wal, _) = Wal::open(Arc::new(StdFs), tmp.path(), options).unwrap();
    for record in read_all(&golden("none")) {
        wal.log(&[&record]).unwrap();
    }
    wal.close().unwrap();
    let written = std::fs::read(tmp.path().join("00000000")).unwrap();
    assert!(written == std::fs::read(golden("none/00000000")).unwrap());
}

#[test]
fn a_log_of_prometheus_is_opened_and_written_on() {
    for name in ["none", "snappy", "zstd"] {
        let tmp = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(golden(name)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), tmp.path().join(entry.file_name())).unwrap();
        }
        let (wal, recovery) = Wal::open(Arc::new(StdFs), tmp.path(), Options::default()).unwrap();
        assert_eq!(recovery.report.cut, None);
        wal.append(&[&[1]]).unwrap();
        wal.close().unwrap();
        let records = read_all(tmp.path());
        assert_eq!(records.len(), 17);
        assert_eq!(records[16], [1]);
    }
}
