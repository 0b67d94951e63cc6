//! Directories that Prometheus wrote: what of them is not served here is reported, and nothing of
//! it is lost.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{RANGE, all, commit, labels, options, sample, scrape, short_blocks};
use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, SeriesRef};
use ferula_tsdb::Db;
use ferula_wal::fs::StdFs;
use ferula_wal::record::mmap_markers::{self, MmapMarker};
use ferula_wal::record::samples::{self, RefSample};
use ferula_wal::record::tombstones::{self, Tombstone};
use ferula_wal::record::{Record, series};
use ferula_wal::{LogReader, Wal};

/// Writes a log of these records.
fn write_log(dir: &Path, records: &[Vec<u8>]) {
    let options = ferula_wal::Options::default();
    let (wal, _) = Wal::open(Arc::new(StdFs), dir.join("wal"), options).unwrap();
    for record in records {
        wal.append(&[record]).unwrap();
    }
    wal.close().unwrap();
}

fn series_record(of: &[(u64, &Labels)]) -> Vec<u8> {
    let mut record = Vec::new();
    series::encode(of.iter().map(|(series, labels)| (SeriesRef(*series), *labels)), &mut record);
    record
}

fn samples_record(series: u64, times: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let mut record = Vec::new();
    let series = SeriesRef(series);
    let sample = |timestamp| RefSample { series, timestamp, value: 1.0 };
    samples::encode(times.into_iter().map(sample), &mut record);
    record
}

fn tombstone_record(series: u64, mint: i64, maxt: i64) -> Vec<u8> {
    let mut record = Vec::new();
    tombstones::encode([Tombstone { series: SeriesRef(series), mint, maxt }], &mut record);
    record
}

fn times(db: &Db) -> Vec<Vec<i64>> {
    let times = |(_, samples): (Labels, Vec<ferula_chunkenc::Sample>)| {
        samples.iter().map(|sample| sample.timestamp).collect()
    };
    all(db).into_iter().map(times).collect()
}

#[test]
fn series_of_records_that_are_not_served_stay_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    // A series of records of a type that nobody knows yet: they name it.
    let histogram = labels(&[("__name__", "h")]);
    let mut opaque = vec![200];
    opaque.extend_from_slice(&77_u64.to_be_bytes());
    opaque.extend_from_slice(&[0; 20]);
    write_log(dir.path(), &[series_record(&[(77, &histogram)]), opaque.clone()]);

    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(db.open_report().skipped_records, 1);
    scrape(&db, 50, 0, 5 * RANGE);
    db.maintain().unwrap();
    db.close().unwrap();
    let wal = dir.path().join("wal");
    assert!(common::names(&wal).iter().any(|name| name.starts_with("checkpoint.")));
    let mut log = LogReader::open(Arc::new(StdFs), &wal).unwrap();
    let (mut is_known, mut is_kept) = (false, false);
    while let Some(record) = log.next_record().unwrap() {
        match record.decode().unwrap() {
            Record::Series(mut entries) => {
                while let Some((series, labels)) = entries.next().unwrap() {
                    is_known |= series == SeriesRef(77) && labels == histogram;
                }
            }
            Record::Other { bytes, .. } => is_kept |= bytes == opaque,
            _ => {}
        }
    }
    assert!(is_kept, "the record is there");
    assert!(is_known, "and so is its series");
}

#[test]
fn refs_at_the_end_of_all_harm_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [last, far, near] = ["last", "far", "near"].map(|name| labels(&[("a", name)]));
    let records = [
        series_record(&[(u64::MAX, &last), (u64::MAX - 1, &far), (3, &near)]),
        samples_record(u64::MAX, [10, 20]),
        samples_record(u64::MAX - 1, [10, 20]),
        samples_record(3, [15, 25]),
    ];
    write_log(dir.path(), &records);
    for n in 0..3_u16 {
        let db = Db::open(dir.path(), options()).unwrap();
        // No store hands out the very last one, so what has it is left out.
        let report = db.open_report();
        assert!(report.skipped_records == 1 || report.from_snapshot);
        // New ones neither take those refs nor end at them.
        for i in 0..3 {
            let new = labels(&[("new", &format!("{n} {i}"))]);
            commit(&db, &new, &[sample(30, 1.0)]);
        }
        for series in [&last, &far] {
            commit(&db, series, &[sample(100 + i64::from(n), 1.0)]);
        }
        let since: Vec<i64> = (100..=100 + i64::from(n)).collect();
        let mut found = times(&db);
        found.retain(|times| times[0] != 30);
        assert_eq!(found, [[vec![10, 20], since.clone()].concat(), since, vec![15, 25]]);
        assert_eq!(all(&db).len(), 3 + 3 * (1 + usize::from(n)));
    }
}

#[test]
fn what_the_log_says_is_deleted_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (labels(&[("a", "1")]), labels(&[("a", "2")]));
    write_log(
        dir.path(),
        &[
            series_record(&[(1, &a), (2, &b)]),
            samples_record(1, (0..500).map(|i| i * 10)),
            samples_record(2, [10, 20, 30]),
            // From the middle of a chunk to the middle of another.
            tombstone_record(1, 1_005, 3_000),
            tombstone_record(2, i64::MIN, i64::MAX),
            // Of nothing.
            tombstone_record(9, i64::MIN, i64::MAX),
            samples_record(2, [40]),
        ],
    );
    let mut expected: Vec<i64> = (0..500).map(|i| i * 10).collect();
    expected.retain(|t| !(1_005..=3_000).contains(t));
    let db = Db::open(dir.path(), options()).unwrap();
    assert_eq!(times(&db), [expected.clone(), vec![40]]);
    assert_eq!(db.open_report().skipped_records, 0);
    commit(&db, &a, &[sample(5_000, 1.0)]);
    expected.push(5_000);
    db.compact_head().unwrap();
    assert_eq!(times(&db), [expected.clone(), vec![40]]);
    drop(db);
    assert_eq!(times(&Db::open(dir.path(), options()).unwrap()), [expected, vec![40]]);
}

#[test]
fn a_block_of_out_of_order_samples_covers_nothing_of_the_log() {
    let late = labels(&[("came", "late")]);
    for hint in ["from-out-of-order", "from-stale-series", "from-selected-series"] {
        let (source, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let db = Db::open(source.path(), options()).unwrap();
        commit(&db, &late, &[sample(20_000, 1.0), sample(50_000, 2.0)]);
        let block = db.snapshot(copy.path()).unwrap()[0].to_string();

        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), options()).unwrap();
        scrape(&db, 2, 0, 40_000);
        let mut expected = all(&db);
        drop(db);
        fs::rename(copy.path().join(&block), dir.path().join(&block)).unwrap();
        let meta = dir.path().join(&block).join("meta.json");
        let json = fs::read_to_string(&meta).unwrap();
        let hinted = format!("\"level\": 1,\n\t\t\"hints\": [\"{hint}\"],");
        fs::write(&meta, json.replace("\"level\": 1,", &hinted)).unwrap();

        let db = Db::open(dir.path(), options()).unwrap();
        assert_eq!(db.open_report().covered_samples, 0);
        expected.push((late.clone(), vec![sample(20_000, 1.0), sample(50_000, 2.0)]));
        expected.sort_by(|(a, _), (b, _)| a.cmp(b));
        assert_eq!(all(&db), expected);
        commit(&db, &late, &[sample(40_000, 3.0)]);
        db.compact_head().unwrap();
        assert_eq!(all(&db).len(), 3);
    }
}

#[test]
fn a_log_of_out_of_order_samples_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let late = labels(&[("came", "late")]);
    write_log(
        dir.path(),
        &[
            series_record(&[(1, &late)]),
            samples_record(1, [100_000]),
            // Prometheus logs them here too, where they do not fit.
            samples_record(1, [50_000, 40_000]),
            // A series that was made anew has two refs.
            series_record(&[(2, &late)]),
        ],
    );
    let mut marker = Vec::new();
    mmap_markers::encode([MmapMarker { series: SeriesRef(1), chunk: 0 }], &mut marker);
    let mut lost = Vec::new();
    mmap_markers::encode([MmapMarker { series: SeriesRef(1), chunk: 1 << 32 | 8 }], &mut lost);
    let records =
        [marker, samples_record(1, [50_000, 40_000]), lost, samples_record(2, [60_000, 45_000])];
    let wbl_options = ferula_wal::Options::default();
    let (wbl, _) = Wal::open(Arc::new(StdFs), dir.path().join("wbl"), wbl_options).unwrap();
    for record in &records {
        wbl.append(&[record]).unwrap();
    }
    wbl.append(&[&samples_record(9, [1])]).unwrap();
    wbl.close().unwrap();
    let expected = [vec![40_000, 45_000, 50_000, 60_000, 100_000]];
    let db = Db::open_read_only(dir.path()).unwrap();
    assert_eq!(db.open_report().out_of_order_samples, 4);
    for _ in 0..3 {
        let db = Db::open(dir.path(), options()).unwrap();
        assert_eq!(times(&db), expected);
    }
}

#[test]
fn a_log_of_prometheus_gives_its_start_timestamps() {
    const START: i64 = 1_700_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/start_timestamps/v1");
    fs::create_dir(dir.path().join("wal")).unwrap();
    fs::copy(data.join("00000000"), dir.path().join("wal/00000000")).unwrap();
    let start_of = |kind: &str, i: i64| match kind {
        "plain" => 0,
        "mixed" if i % 3 == 0 => 0,
        _ => START + i / 40 * 600_000 - 1,
    };
    let check = |db: &Db| {
        let found = db.querier(i64::MIN, i64::MAX).unwrap().select(&[]).unwrap();
        assert_eq!(found.len(), 5);
        for index in 0..found.len() {
            let (labels, mut batch) = (found.labels(index), SampleBatch::new());
            found.read(index, &mut batch).unwrap();
            let kind = labels.get("kind").unwrap();
            assert_eq!(batch.len(), 300, "{kind}");
            for (i, sample) in (0..).zip(batch.iter()) {
                assert_eq!(sample.timestamp, START + 15_000 * i);
                let place = usize::try_from(i).unwrap();
                assert_eq!(batch.start_timestamp(place), start_of(kind, i), "{kind} at {i}");
                match batch.histogram(place) {
                    Some(found) => assert_eq!((found.count, found.sum), (i as f64 + 1.0, i as f64)),
                    None => assert_eq!(sample.value, i as f64, "{kind}"),
                }
            }
        }
    };
    let db = Db::open(dir.path(), options()).unwrap();
    assert_eq!((db.open_report().skipped_records, db.open_report().cut_bytes), (0, 0));
    check(&db);
    db.compact_head().unwrap();
    check(&db);
}
