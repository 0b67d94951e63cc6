//! A checkpoint stands for what it replaced, less what was not wanted.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::Path;
use std::sync::Arc;

use ferula_chunkenc::histogram::Histogram;
use ferula_index::{Labels, SeriesRef};
use ferula_wal::fs::{FaultFs, Fs, OpenMode, Survival};
use ferula_wal::record::exemplars::RefExemplar;
use ferula_wal::record::histograms::RefHistogram;
use ferula_wal::record::metadata::{MetricType, RefMetadata};
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::samples_v2::RefStartedSample;
use ferula_wal::record::tombstones::Tombstone;
use ferula_wal::record::{
    Record, exemplars, histograms, metadata, samples, samples_v2, series, tombstones,
};
use ferula_wal::{DamageReason, Error, LogReader, Options, SyncPolicy, Wal};

fn dir() -> &'static Path {
    Path::new("wal")
}

fn open(fs: &FaultFs) -> (Wal, Vec<String>) {
    let options = Options::builder().sync(SyncPolicy::Never).build().unwrap();
    let (wal, mut recovery) = Wal::open(Arc::new(fs.clone()), dir(), options).unwrap();
    let mut entries = Vec::new();
    while let Some(record) = recovery.next_record().unwrap() {
        describe(record.decode().unwrap(), &mut entries);
    }
    (wal, entries)
}

fn describe(record: Record<'_>, entries: &mut Vec<String>) {
    match record {
        Record::Series(mut decoder) => {
            while let Some((series, labels)) = decoder.next().unwrap() {
                entries.push(format!("series {series} {labels}"));
            }
        }
        Record::Samples(mut decoder) => {
            while let Some(sample) = decoder.next().unwrap() {
                entries.push(format!("sample {} {}", sample.series, sample.timestamp));
            }
        }
        Record::Tombstones(mut decoder) => {
            while let Some(Tombstone { series, mint, maxt }) = decoder.next().unwrap() {
                entries.push(format!("tombstone {series} {mint} {maxt}"));
            }
        }
        Record::SamplesV2(mut decoder) => {
            while let Some(sample) = decoder.next().unwrap() {
                let started = sample.start_timestamp;
                entries.push(format!("sample {} {started}..{}", sample.series, sample.timestamp));
            }
        }
        Record::Exemplars(mut decoder) => {
            while let Some(exemplar) = decoder.next().unwrap() {
                entries.push(format!("exemplar {} {}", exemplar.series, exemplar.timestamp));
            }
        }
        Record::Metadata(mut decoder) => {
            while let Some(metadata) = decoder.next().unwrap() {
                entries.push(format!("metadata {} {}", metadata.series, metadata.help));
            }
        }
        Record::Histograms(mut decoder) => {
            let kind = decoder.kind();
            while let Some(entry) = decoder.next().unwrap() {
                entries.push(format!("{kind} {} {}", entry.series, entry.timestamp));
            }
        }
        Record::FloatHistograms(mut decoder) => {
            let kind = decoder.kind();
            while let Some(entry) = decoder.next().unwrap() {
                entries.push(format!("{kind} {} {}", entry.series, entry.timestamp));
            }
        }
        Record::Other { kind, bytes } => entries.push(format!("{kind} of {}", bytes.len())),
        _ => unreachable!("no other kinds are logged"),
    }
}

fn log_segment(wal: &Wal, n: u64) {
    let mut record = Vec::new();
    let labels: Vec<Labels> = (0..3)
        .map(|i| Labels::from_pairs([("n", n.to_string()), ("i", i.to_string())]).unwrap())
        .collect();
    let refs = (0..3).map(|i| SeriesRef(10 * n + i));
    series::encode(refs.zip(&labels), &mut record);
    wal.log(&[&record]).unwrap();
    record.clear();
    let timestamps = (0..3).map(|i| i64::try_from(100 * n + i).unwrap());
    let sample = |timestamp| RefSample { series: SeriesRef(10 * n), timestamp, value: 1.0 };
    samples::encode(timestamps.map(sample), &mut record);
    wal.log(&[&record]).unwrap();
    record.clear();
    let maxt = i64::try_from(100 * n + 1).unwrap();
    let tombstone = Tombstone { series: SeriesRef(10 * n), mint: 0, maxt };
    tombstones::encode([tombstone], &mut record);
    wal.append(&[&record, &[200, 1, 2]]).unwrap();
    wal.rotate().unwrap();
}

fn names(fs: &FaultFs) -> Vec<String> {
    fs.list(dir()).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_checkpoint_keeps_what_is_wanted() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs);
    for n in 1..=3 {
        log_segment(&wal, n);
    }
    let report = wal.checkpoint(1, 201, |series| series.0 % 10 != 1).unwrap();
    assert_eq!((report.n_entries, report.n_dropped, report.n_segments), (16, 2 + 4 + 1, 2));
    assert_eq!(names(&fs), ["00000002", "00000003", "checkpoint.00000001"]);
    let wanted = [
        r#"series 10 {i="0", n="1"}"#,
        r#"series 12 {i="2", n="1"}"#,
        "type 200 of 3",
        r#"series 20 {i="0", n="2"}"#,
        r#"series 22 {i="2", n="2"}"#,
        "sample 20 201",
        "sample 20 202",
        "tombstone 20 0 201",
        "type 200 of 3",
    ];
    wal.close().unwrap();
    let (wal, entries) = open(&fs);
    assert_eq!(entries[..9], wanted);
    assert_eq!(entries.len(), 9 + 8);

    // The next one reads the one before, and a repeated one changes nothing.
    let report = wal.checkpoint(2, 202, |series| series.0 != 12).unwrap();
    assert_eq!((report.n_entries, report.n_dropped), (17, 1 + 1 + 1));
    assert_eq!(wal.checkpoint(2, 999, |_| false).unwrap(), Default::default());
    assert_eq!(wal.checkpoint(0, 999, |_| false).unwrap(), Default::default());
    wal.close().unwrap();
    let (_, entries) = open(&fs);
    assert_eq!(entries.len(), 14);
    assert_eq!(names(&fs), ["00000003", "checkpoint.00000002"]);
}

#[test]
fn a_checkpoint_keeps_what_is_wanted_of_every_record_type() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs);
    let stamps = [(1, 99), (2, 99), (1, 100), (2, 100), (3, 101)];
    let log = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut record = Vec::new();
        encode(&mut record);
        wal.log(&[&record]).unwrap();
    };
    log(&|buf| {
        let sample = |(series, timestamp)| RefStartedSample {
            series: SeriesRef(series),
            start_timestamp: 50,
            timestamp,
            value: 1.0,
        };
        samples_v2::encode(stamps.map(sample), buf);
    });
    log(&|buf| {
        let exemplar = |(series, timestamp)| RefExemplar {
            series: SeriesRef(series),
            timestamp,
            value: 1.0,
            labels: Labels::empty(),
        };
        exemplars::encode(&stamps.map(exemplar), buf);
    });
    let exponential = Histogram { count: 1, zero_count: 1, ..Histogram::default() };
    let custom = Histogram { schema: -53, custom_values: [1.0].into(), ..Histogram::default() };
    // Of a schema that only a later version knows.
    let unknown = Histogram { schema: 99, ..Histogram::default() };
    let of = |histogram| {
        stamps.map(|(series, timestamp)| RefHistogram {
            series: SeriesRef(series),
            start_timestamp: 0,
            timestamp,
            histogram,
        })
    };
    log(&|buf| assert_eq!(histograms::encode(of(&exponential), buf), 0));
    log(&|buf| histograms::encode_custom(of(&custom), buf));
    log(&|buf| histograms::encode_v2(of(&exponential), buf));
    log(&|buf| assert_eq!(histograms::encode(of(&unknown), buf), 0));
    let float = exponential.to_float();
    log(&|buf| {
        let entries = of(&exponential).map(|RefHistogram { series, timestamp, .. }| RefHistogram {
            series,
            start_timestamp: 0,
            timestamp,
            histogram: &float,
        });
        assert_eq!(histograms::encode(entries, buf), 0);
    });
    let describe_metadata = |series, help: &'static str| RefMetadata {
        series: SeriesRef(series),
        metric_type: MetricType::Counter,
        unit: "".into(),
        help: help.into(),
    };
    for helps in [["old", "old", "gone"], ["new", "old", "gone"]] {
        log(&|buf| {
            let entries = [1, 2, 3].into_iter().zip(helps);
            metadata::encode(entries.map(|(n, help)| describe_metadata(n, help)), buf);
        });
    }
    wal.rotate().unwrap();
    let report = wal.checkpoint(0, 100, |series| series.0 != 3).unwrap();
    // Of each record two samples are too old and one is of a series that goes. Of the metadata
    // three are of it or older than others, and so on.
    assert_eq!((report.n_entries, report.n_dropped), (7 * 5 + 6, 7 * 3 + 4));
    wal.close().unwrap();
    let (_, entries) = open(&fs);
    let mut wanted = vec!["sample 1 50..100".to_owned(), "sample 2 50..100".to_owned()];
    wanted.extend(["exemplar 1 100".to_owned(), "exemplar 2 100".to_owned()]);
    for kind in ["histograms", "custom histograms", "histograms v2", "float histograms"] {
        wanted.extend([format!("{kind} 1 100"), format!("{kind} 2 100")]);
    }
    wanted.extend(["metadata 1 new".to_owned(), "metadata 2 old".to_owned()]);
    assert_eq!(entries, wanted);
    let dir = dir().join("checkpoint.00000000");
    let mut reader = LogReader::open(Arc::new(fs.clone()), &dir).unwrap();
    let mut sizes = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        sizes.push((record.bytes[0], record.bytes.len()));
    }
    // The histograms that nobody understands are still there.
    assert_eq!(sizes.iter().filter(|(kind, _)| *kind == 7).count(), 2);
}

#[test]
fn ranges_that_would_lose_something_are_refused() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs);
    log_segment(&wal, 1);
    log_segment(&wal, 2);
    let early = wal.checkpoint(2, 0, |_| true);
    assert!(matches!(early, Err(Error::CheckpointRange { through: 2, current: 2 })));
    wal.checkpoint(0, 0, |_| true).unwrap();
    let gap = wal.truncate_before(2);
    assert!(matches!(gap, Err(Error::TruncateRange { segment: 2, checkpoint: 0 })));
    wal.truncate_before(1).unwrap();
    wal.close().unwrap();
    assert_eq!(open(&fs).1.len(), 16);
}

#[test]
fn truncation_keeps_the_current_segment() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs);
    for n in 1..=3 {
        log_segment(&wal, n);
    }
    wal.truncate_before(2).unwrap();
    assert_eq!(names(&fs), ["00000002", "00000003"]);
    wal.truncate_before(99).unwrap();
    assert_eq!(names(&fs), ["00000003"]);
    let fs = fs.crash(Survival::Nothing);
    assert_eq!(names(&fs), ["00000003"]);
    open(&fs);
}

#[test]
fn damage_in_a_checkpoint_is_refused() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs);
    log_segment(&wal, 1);
    wal.checkpoint(0, 0, |_| true).unwrap();
    wal.close().unwrap();
    let path = dir().join("checkpoint.00000000").join("00000000");
    fs.open(&path, OpenMode::Write).unwrap().write_at(b"x", 20).unwrap();
    let (_wal, mut recovery) = Wal::open(Arc::new(fs.clone()), dir(), Options::default()).unwrap();
    let error = recovery.next_record().unwrap_err();
    let Error::Damaged { file, offset: 0, reason: DamageReason::Checksum { .. } } = error else {
        panic!("{error}");
    };
    assert_eq!(file, path);
    fs.remove_file(&path).unwrap();
    let missing = Wal::open(Arc::new(fs.clone()), dir(), Options::default());
    assert!(matches!(missing, Err(Error::MissingSegment { missing: 0, .. })));
}

#[test]
fn unfinished_checkpoints_are_removed() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs);
    log_segment(&wal, 1);
    wal.close().unwrap();
    fs.create_dir_all(&dir().join("checkpoint.00000000.tmp")).unwrap();
    let half = dir().join("checkpoint.00000000.tmp").join("00000000");
    fs.open(&half, OpenMode::CreateNew).unwrap();
    let (_wal, entries) = open(&fs);
    assert_eq!(entries.len(), 8);
    assert_eq!(names(&fs), ["00000000", "00000001"]);
}

#[test]
fn metadata_that_was_said_last_stays_last() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs);
    // A series that was made anew as 2 and is known by its first ref again since a restart.
    for (n, help) in [(1, "first"), (2, "second"), (1, "third")] {
        let said = RefMetadata {
            series: SeriesRef(n),
            metric_type: MetricType::Gauge,
            unit: "".into(),
            help: help.into(),
        };
        let mut record = Vec::new();
        metadata::encode([said], &mut record);
        wal.log(&[&record]).unwrap();
    }
    wal.rotate().unwrap();
    wal.checkpoint(0, 0, |_| true).unwrap();
    wal.close().unwrap();
    assert_eq!(open(&fs).1, ["metadata 2 second", "metadata 1 third"]);
}

#[test]
fn a_series_that_stays_for_its_exemplars_keeps_nothing_else() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs);
    let labels = Labels::from_pairs([("a", "b")]).unwrap();
    let said = RefMetadata {
        series: SeriesRef(1),
        metric_type: MetricType::Gauge,
        unit: "".into(),
        help: "old".into(),
    };
    let exemplar = |timestamp| RefExemplar {
        series: SeriesRef(1),
        timestamp,
        value: 1.0,
        labels: Labels::default(),
    };
    let mut records = [const { Vec::new() }; 4];
    series::encode([(SeriesRef(1), &labels)], &mut records[0]);
    let sample = RefSample { series: SeriesRef(1), timestamp: 200, value: 1.0 };
    samples::encode([sample], &mut records[1]);
    exemplars::encode(&[exemplar(50), exemplar(60)], &mut records[2]);
    metadata::encode([said], &mut records[3]);
    for record in &records {
        wal.log(&[record]).unwrap();
    }
    wal.rotate().unwrap();
    let kept = |exemplar: &RefExemplar| exemplar.timestamp == 60;
    wal.checkpoint_with_exemplars(0, 100, |_| false, |_| true, kept).unwrap();
    wal.close().unwrap();
    assert_eq!(open(&fs).1, [format!("series 1 {labels}"), "exemplar 1 60".to_owned()]);
}
