//! Blocks in ferula's own format that were written once stay readable, and what is wrong with their
//! damaged twins is told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use common::{labels, options};
use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{FloatHistogram, Histogram, Span};
use ferula_chunkenc::stale::STALE_NAN;
use ferula_tsdb::{Db, Options};

const NAME: &str = "01J8F0ZG3WQ8MT7Y4C2N5KX1AB";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ferula-block/v1")
}

/// Long and short series of floats, with bitmaps, lists and runs in the index; histograms of both
/// kinds; staleness markers.
fn fill(db: &Db) {
    let mut appender = db.appender();
    for n in 0_i32..300 {
        let job = ["api", "db", "web"][usize::try_from(n % 3).unwrap()];
        let labels = labels(&[("__name__", "m"), ("job", job), ("n", &format!("{n:03}"))]);
        for i in 0..if n == 0 { 9000 } else { 40 } {
            let value = match (n, i) {
                (7, 9) => STALE_NAN,
                (8, 10) => f64::from_bits(0xfff8_dead_beef_0001),
                _ => f64::from(n * i % 1000) / 8.0,
            };
            appender.append(&labels, i64::from(i) * 700 + i64::from(n % 5), value).unwrap();
        }
    }
    for i in 0..150 {
        let histogram = Histogram {
            schema: 1,
            count: 3 * i + 2,
            zero_count: 2,
            zero_threshold: 0.001,
            sum: i as f64 / 4.0,
            positive_spans: vec![Span::new(-1, 1), Span::new(3, 1)],
            positive_buckets: vec![i64::try_from(i).unwrap(), i64::try_from(i).unwrap()],
            ..Histogram::default()
        };
        let time = i64::try_from(i).unwrap() * 1000;
        let in_floats: FloatHistogram = histogram.to_float();
        appender.append_histogram(&labels(&[("__name__", "h")]), time, histogram).unwrap();
        appender.append_histogram(&labels(&[("__name__", "hf")]), time, in_floats).unwrap();
    }
    appender.commit().unwrap();
}

/// Everything in a database, a line for each sample.
fn described(db: &Db) -> String {
    let set = db.querier(i64::MIN, i64::MAX).unwrap().select(&[]).unwrap();
    let mut text = String::new();
    let mut batch = SampleBatch::new();
    for index in 0..set.len() {
        batch.clear();
        set.read(index, &mut batch).unwrap();
        writeln!(text, "{}", set.labels(index)).unwrap();
        for at in 0..batch.len() {
            let (time, bits) = (batch.timestamps()[at], batch.values()[at].to_bits());
            match batch.histogram(at) {
                Some(histogram) => writeln!(text, "{time} {histogram:?}").unwrap(),
                None => writeln!(text, "{time} {bits:x}").unwrap(),
            }
        }
    }
    text
}

/// A directory with the golden block.
fn with_golden_block() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let block = dir.path().join(NAME);
    fs::create_dir_all(block.join("chunks")).unwrap();
    for file in ["meta.json", "index", "chunks/000001"] {
        fs::copy(golden().join(file), block.join(file)).unwrap();
    }
    dir
}

fn long_blocks() -> Options {
    let mut options = options();
    options.block_range_ms = 24 * 3600 * 1000;
    options
}

#[test]
fn a_block_of_version_1_is_read() {
    let expected = tempfile::tempdir().unwrap();
    let db = Db::open(expected.path(), long_blocks()).unwrap();
    fill(&db);
    let expected = described(&db);
    let dir = with_golden_block();
    let db = Db::open(dir.path(), long_blocks()).unwrap();
    assert_eq!(db.open_report().quarantined, []);
    let found = described(&db);
    assert!(found == expected, "the block holds what went into it");
    // All of it is verified on the way.
    let mut prometheus = long_blocks();
    prometheus.block_format = ferula_tsdb::BlockFormat::Prometheus;
    drop(db);
    let db = Db::open(dir.path(), prometheus).unwrap();
    assert_eq!(db.convert_blocks().unwrap().len(), 1);
    assert!(described(&db) == expected, "and so does what is made of it");
}

#[test]
fn damaged_twins_are_refused_with_file_and_reason() {
    type Damage = (&'static str, &'static str, fn(&mut Vec<u8>));
    let damages: [Damage; 8] = [
        ("index", "magic number", |bytes| bytes[0] = 0),
        ("index", "version 2 is not supported", |bytes| bytes[4] = 2),
        ("index", "bytes needed", |bytes| bytes.truncate(50)),
        ("index", "checksum", |bytes| bytes.truncate(bytes.len() - 1)),
        ("chunks/000001", "starts with", |bytes| bytes[0] = 0),
        ("chunks/000001", "version 2, expected 1", |bytes| bytes[4] = 2),
        ("chunks/000001", "checksum", |bytes| bytes.truncate(bytes.len() - 1)),
        ("chunks/000001", "bytes needed", |bytes| bytes.truncate(9)),
    ];
    for (file, reason, damage) in damages {
        let dir = with_golden_block();
        let path = dir.path().join(NAME).join(file);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let db = Db::open(dir.path(), long_blocks()).unwrap();
        let [quarantined] = &db.open_report().quarantined[..] else { panic!("{reason}") };
        let text = &quarantined.reason;
        assert!(text.contains(reason) && text.contains(file), "{reason}: {text}");
    }
}

/// Writes the golden block anew. That is for a new version of the format only.
#[test]
#[ignore = "writes into the source tree"]
fn make() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), long_blocks()).unwrap();
    fill(&db);
    let block = dir.path().join(db.compact_head().unwrap()[0].to_string());
    fs::create_dir_all(golden().join("chunks")).unwrap();
    for file in ["index", "chunks/000001"] {
        fs::copy(block.join(file), golden().join(file)).unwrap();
    }
    let json = fs::read_to_string(block.join("meta.json")).unwrap();
    let name = block.file_name().unwrap().to_str().unwrap();
    fs::write(golden().join("meta.json"), json.replace(name, NAME)).unwrap();
}
