//! A block that cannot be read is set aside with the reason; the rest serves.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{RANGE, all, in_format, read, scrape, short_blocks};
use ferula_tsdb::{BlockFormat, Db, Error};

const FORMATS: [BlockFormat; 2] = [BlockFormat::Ferula, BlockFormat::Prometheus];

/// A directory with three blocks and some samples in the log; returns the second block.
fn with_blocks(dir: &Path, format: BlockFormat) -> PathBuf {
    let db = Db::open(dir, in_format(short_blocks(), format)).unwrap();
    scrape(&db, 3, 0, 4 * RANGE);
    let blocks = db.maintain().unwrap();
    assert_eq!(blocks.len(), 3);
    dir.join(blocks[1].to_string())
}

/// Samples per series that are left when the second block is not read.
const LEFT: usize = 3 * 60;

fn n_samples(db: &Db) -> Vec<usize> {
    all(db).iter().map(|(_, samples)| samples.len()).collect()
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

#[test]
fn blocks_that_do_not_open_are_set_aside() {
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 9] = [
        ("cannot inspect", |block| fs::remove_file(block.join("meta.json")).unwrap()),
        ("meta.json: malformed", |block| fs::write(block.join("meta.json"), "{").unwrap()),
        ("version 7, expected 1", |block| {
            let file = block.join("meta.json");
            let json = fs::read_to_string(&file).unwrap();
            fs::write(&file, json.replace("\"version\": 1", "\"version\": 7")).unwrap();
        }),
        ("format spiral version 3 is not known", |block| {
            let file = block.join("meta.json");
            let mut json: serde_json::Value =
                serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            json["ferula"] = serde_json::json!({"format": "spiral", "version": 3});
            fs::write(&file, json.to_string()).unwrap();
        }),
        ("cannot open", |block| flip(&block.join("index"), 0)),
        ("checksum", |block| {
            let len = fs::metadata(block.join("index")).unwrap().len();
            flip(&block.join("index"), usize::try_from(len).unwrap() - 1);
        }),
        ("starts with", |block| flip(&block.join("chunks/000001"), 2)),
        ("cannot list", |block| fs::remove_dir_all(block.join("chunks")).unwrap()),
        ("checksum", |block| flip(&block.join("tombstones"), 6)),
    ];
    for ((reason, damage), format) in damages.iter().flat_map(|d| FORMATS.map(|f| (*d, f))) {
        let dir = tempfile::tempdir().unwrap();
        let block = with_blocks(dir.path(), format);
        damage(&block);
        let db = Db::open(dir.path(), short_blocks()).unwrap();
        let [quarantined] = &db.open_report().quarantined[..] else { panic!("{reason}") };
        assert_eq!(quarantined.dir, block);
        assert!(quarantined.reason.contains(reason), "{reason}: {}", quarantined.reason);
        assert_eq!(n_samples(&db), [LEFT; 3], "{reason}");
        assert_eq!(db.stats().blocks.len(), 2);
        assert_eq!(db.stats().quarantined.len(), 1);
        assert!(block.exists(), "it stays for whoever looks after it");
        drop(db);
        // Mended, it serves again.
        let db = Db::open_read_only(dir.path()).unwrap();
        assert_eq!(db.stats().quarantined.len(), 1);
    }
}

#[test]
fn a_block_under_a_wrong_name_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let block = with_blocks(dir.path(), BlockFormat::default());
    let wrong = dir.path().join("01ARZ3NDEKTSV4RRFFQ69G5FAV");
    fs::rename(&block, &wrong).unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(db.open_report().quarantined[0].dir, wrong);
    assert_eq!(n_samples(&db), [LEFT; 3]);
}

#[test]
fn a_block_that_fails_while_it_is_read_is_not_read_again() {
    FORMATS.into_iter().for_each(fails_while_it_is_read);
}

fn fails_while_it_is_read(format: BlockFormat) {
    let dir = tempfile::tempdir().unwrap();
    let block = with_blocks(dir.path(), format);
    let segment = block.join("chunks/000001");
    flip(&segment, 40);
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(db.open_report().quarantined, []);
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    let series = querier.select(&[]).unwrap();
    let mut batch = ferula_chunkenc::SampleBatch::new();
    let failed = series.read(0, &mut batch).unwrap_err();
    let is_located = matches!(&failed, Error::Chunk { file, offset: 8, .. } if *file == segment);
    assert!(is_located, "{failed:?}");
    assert_eq!(n_samples(&db), [LEFT; 3]);
    let stats = db.stats();
    assert_eq!((stats.blocks.len(), &stats.quarantined[0].dir), (2, &block));
    assert!(stats.quarantined[0].reason.contains("checksum"), "{}", stats.quarantined[0].reason);
    // What is intact is read by who selected it before.
    let rest = db.querier(0, RANGE - 1).unwrap();
    assert_eq!(read(&rest).len(), 3);
}

#[test]
fn a_chunk_of_another_kind_does_not_take_its_block_out_of_service() {
    // As if the first series of a block held chunks of a kind that nobody knows.
    let encoding = 0x7f;
    let dir = tempfile::tempdir().unwrap();
    let block = with_blocks(dir.path(), BlockFormat::Prometheus);
    let segment = block.join("chunks/000001");
    let mut bytes = fs::read(&segment).unwrap();
    let mut cursor = ferula_chunkenc::cursor::Cursor::new(&bytes[8..]);
    let len = usize::try_from(cursor.uvarint().unwrap()).unwrap();
    let start = 8 + cursor.offset();
    bytes[start] = encoding;
    let checksum = ferula_chunkenc::cursor::crc32c(&bytes[start..=start + len]);
    bytes[start + len + 1..start + len + 5].copy_from_slice(&checksum.to_be_bytes());
    fs::write(&segment, bytes).unwrap();

    let db = Db::open(dir.path(), short_blocks()).unwrap();
    for _ in 0..2 {
        let series = db.querier(i64::MIN, i64::MAX).unwrap().select(&[]).unwrap();
        let mut batch = ferula_chunkenc::SampleBatch::new();
        let failed = series.read(0, &mut batch).unwrap_err();
        assert!(matches!(failed, Error::Chunk { .. }), "{failed:?}");
        batch.clear();
        series.read(1, &mut batch).unwrap();
        assert_eq!(batch.len(), 4 * 60);
    }
    assert_eq!(db.stats().quarantined, []);
}

#[test]
fn unfinished_directories_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let block = with_blocks(dir.path(), BlockFormat::default());
    let leftovers = [".tmp-for-creation", ".tmp-for-deletion"].map(|suffix| {
        let path = dir.path().join(format!("01ARZ3NDEKTSV4RRFFQ69G5FAV{suffix}"));
        fs::create_dir_all(path.join("chunks")).unwrap();
        fs::copy(block.join("meta.json"), path.join("meta.json")).unwrap();
        path
    });
    let checkpoint = dir.path().join("wal/checkpoint.00000099.tmp");
    fs::create_dir_all(&checkpoint).unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(db.open_report().removed, leftovers);
    assert!(leftovers.iter().all(|path| !path.exists()) && !checkpoint.exists());
    assert_eq!(n_samples(&db), [4 * 60; 3]);
}

#[test]
fn what_prometheus_deleted_stays_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let block = with_blocks(dir.path(), BlockFormat::Prometheus);
    let before = {
        let db = Db::open(dir.path(), short_blocks()).unwrap();
        all(&db)
    };
    // Refs in a block are offsets divided by 16: the first series follows the symbols.
    let index = fs::read(block.join("index")).unwrap();
    let toc = index.len() - 52;
    let series = u64::from_be_bytes(index[toc + 8..toc + 16].try_into().unwrap()).div_ceil(16);
    // The first series from 70,000 on, the whole of its block from the second on.
    let mut body = Vec::new();
    ferula_chunkenc::cursor::put_uvarint(&mut body, series);
    ferula_chunkenc::cursor::put_varint(&mut body, 70_000);
    ferula_chunkenc::cursor::put_varint(&mut body, 200_000);
    let mut bytes = vec![0x01, 0x30, 0xba, 0x30, 1];
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&ferula_chunkenc::cursor::crc32c(&body).to_be_bytes());
    fs::write(block.join("tombstones"), bytes).unwrap();

    let db = Db::open(dir.path(), short_blocks()).unwrap();
    let after = all(&db);
    assert_eq!(after[1..], before[1..]);
    let is_kept = |t: i64| !(70_000..2 * RANGE).contains(&t);
    let expected: Vec<_> =
        before[0].1.iter().copied().filter(|sample| is_kept(sample.timestamp)).collect();
    assert_eq!(after[0].1, expected);
    assert_eq!(expected.len(), 4 * 60 - 50);
}
