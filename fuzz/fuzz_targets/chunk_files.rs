//! Opens a database whose files of full chunks are any bytes, or chunks of any bytes under right
//! checksums: it opens, once more with the same samples, and never has fewer than its log vouches
//! for where the files were found damaged.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use ferula_chunkenc::cursor::{crc32c, put_u64_be, put_uvarint};
use ferula_chunkenc::{Sample, SampleBatch};
use ferula_index::Labels;
use ferula_tsdb::{Db, Options, SyncPolicy};
use ferula_wal::fs::{FaultFs, Fs, OpenMode};
use libfuzzer_sys::fuzz_target;

type Content = Vec<(Labels, Vec<Sample>)>;

const LOG: &str = "/data/wal/00000000";

/// A log of three series, and what a database has that is made of it alone.
static BASE: LazyLock<(Vec<u8>, Content)> = LazyLock::new(|| {
    let fs = FaultFs::new();
    let db = open(&fs);
    for t in 0..200 {
        let mut batch = db.appender();
        for series in ["1", "2", "3"] {
            let labels = Labels::from_pairs([("series", series)]).expect("it is valid");
            batch.append(&labels, t * 10, (t % 7) as f64).expect("it is in order");
        }
        batch.commit().expect("no fault was injected");
    }
    let content = all(&db).expect("no fault was injected");
    (fs.read(Path::new(LOG)).expect("it was written"), content)
});

fn open(fs: &FaultFs) -> Db {
    let options = Options::builder().sync(SyncPolicy::Never).maintenance_interval(None);
    let options = options.head_snapshot(false).build().expect("they are valid");
    Db::open_with(Arc::new(fs.clone()), "/data", options).expect("the log is whole")
}

fn all(db: &Db) -> Result<Content, ferula_tsdb::Error> {
    let series = db.querier(i64::MIN, i64::MAX)?.select(&[])?;
    let read = |index| {
        let mut batch = SampleBatch::new();
        series.read(index, &mut batch)?;
        Ok((series.labels(index).clone(), batch.iter().collect()))
    };
    (0..series.len()).map(read).collect()
}

/// Chunks with what `bytes` say, under right checksums.
fn chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0];
    while let [series, mint, span, encoding, len, rest @ ..] = bytes {
        let (data, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        bytes = rest;
        let start = file.len();
        put_u64_be(&mut file, u64::from(*series));
        put_u64_be(&mut file, u64::from(*mint) * 10);
        put_u64_be(&mut file, u64::from(*mint) * 10 + u64::from(*span) * 10);
        file.push(*encoding);
        put_uvarint(&mut file, data.len() as u64);
        file.extend_from_slice(data);
        let checksum = crc32c(&file[start..]);
        file.extend_from_slice(&checksum.to_be_bytes());
    }
    file
}

fuzz_target!(|input: (bool, Vec<u8>)| {
    let (is_checked, bytes) = input;
    let fs = FaultFs::new();
    let put = |path: &str, bytes: &[u8]| {
        let path = Path::new(path);
        fs.create_dir_all(path.parent().expect("it has one")).expect("a new directory");
        let file = fs.open(path, OpenMode::CreateNew).expect("a new file");
        file.write_at(bytes, 0).expect("no fault was injected");
    };
    put(LOG, &BASE.0);
    put("/data/chunks_head/000001", &if is_checked { chunks(&bytes) } else { bytes });
    let db = open(&fs);
    let content = all(&db);
    if db.open_report().loaded_chunks == 0 {
        let content = content.as_ref().expect("it is made of the log");
        assert_eq!(*content, BASE.1);
    }
    drop(db);
    let db = open(&fs);
    assert_eq!(db.open_report().chunk_file_failure, None);
    match (all(&db), content) {
        (Ok(again), Ok(before)) => assert_eq!(again, before),
        (again, before) => assert!(again.is_err() && before.is_err()),
    }
});
