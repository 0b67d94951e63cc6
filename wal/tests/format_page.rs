//! The worked example of `docs/formats/wal.md` is what this crate writes and reads.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::Path;
use std::sync::Arc;

use ferula_index::{Labels, SeriesRef};
use ferula_wal::fs::{FaultFs, Fs};
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::{Record, samples, series};
use ferula_wal::{Compression, LogReader, Options, Wal};

/// Bytes of the example: the `hex` block of the page, each line up to its comment.
fn example() -> Vec<u8> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/wal.md");
    let page = std::fs::read_to_string(page).unwrap();
    let block = page.split("```hex\n").nth(1).unwrap().split("```").next().unwrap();
    block
        .lines()
        .flat_map(|line| line.split('#').next().unwrap().split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn sample(timestamp: i64, value: f64) -> RefSample {
    RefSample { series: SeriesRef(1), timestamp, value }
}

#[test]
fn the_example_is_written() {
    let fs = FaultFs::new();
    let options = Options::builder().compression(Compression::None).build().unwrap();
    let (wal, _) = Wal::open(Arc::new(fs.clone()), "wal", options).unwrap();
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "api")]).unwrap();
    let mut records = [Vec::new(), Vec::new(), Vec::new()];
    series::encode([(SeriesRef(1), &labels)], &mut records[0]);
    samples::encode([sample(1_700_000_000_000, 1.0)], &mut records[1]);
    samples::encode(
        [sample(1_700_000_015_000, 0.0), sample(1_700_000_030_000, 1.0)],
        &mut records[2],
    );
    wal.append(&[&records[0], &records[1]]).unwrap();
    wal.append(&[&records[2]]).unwrap();
    let written = fs.read(Path::new("wal/00000000")).unwrap();
    let hex: Vec<String> = written.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written, example(), "written: {}", hex.join(" "));
}

#[test]
fn the_example_is_read() {
    let fs = FaultFs::new();
    fs.create_dir_all(Path::new("wal")).unwrap();
    let file = fs.open(Path::new("wal/00000000"), ferula_wal::fs::OpenMode::CreateNew).unwrap();
    file.write_at(&example(), 0).unwrap();
    let mut reader = LogReader::open(Arc::new(fs), Path::new("wal")).unwrap();
    let (mut n_series, mut n_samples) = (0, 0);
    while let Some(record) = reader.next_record().unwrap() {
        match record.decode().unwrap() {
            Record::Series(mut entries) => {
                while entries.next().unwrap().is_some() {
                    n_series += 1;
                }
            }
            Record::Samples(mut entries) => {
                while entries.next().unwrap().is_some() {
                    n_samples += 1;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((n_series, n_samples), (1, 3));
}
