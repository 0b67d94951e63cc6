//! A data directory of which one file is any bytes: it opens, sets the block aside, or is refused;
//! everything else is read, and opening once more finds the same.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::cursor::crc32c;
use ferula_index::Labels;
use ferula_tsdb::{Db, Error, Options, SyncPolicy};
use ferula_wal::fs::{FaultFs, Fs, OpenMode, Survival};
use libfuzzer_sys::fuzz_target;

const DIR: &str = "/data";

/// A sound directory with blocks, tombstones and a log, and the paths of its files.
static SOUND: LazyLock<(FaultFs, Vec<String>)> = LazyLock::new(|| {
    let fs = FaultFs::new();
    write(&fs).expect("no fault was injected");
    let fs = fs.crash(Survival::Everything);
    let mut files = Vec::new();
    let mut pending = vec![DIR.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs.list(Path::new(&dir)).expect("a directory") {
            let path = format!("{dir}/{}", entry.name);
            let list = if entry.is_dir { &mut pending } else { &mut files };
            list.push(path);
        }
    }
    files.retain(|file| !file.ends_with("/lock"));
    // Files that a sound directory need not have.
    let more = ["chunks_head/000001", "chunk_snapshot.000001.0000000000/00000000", "wbl/00000000"];
    files.extend(more.map(|file| format!("{DIR}/{file}")));
    files.sort();
    (fs, files)
});

fn options() -> Options {
    let builder = Options::builder().sync(SyncPolicy::Never).block_range_ms(60_000);
    builder.maintenance_interval(None).build().expect("valid options")
}

fn write(fs: &FaultFs) -> Result<(), Error> {
    let db = Db::open_with(Arc::new(fs.clone()), DIR, options())?;
    for n in 0..20_i64 {
        let mut batch = db.appender();
        for series in 0..4 {
            let labels =
                Labels::from_pairs([("__name__", "m"), ("n", ["a", "b", "c", "d"][series])]);
            let labels = labels.expect("short labels");
            batch.append(&labels, n * 10_000, n as f64).expect("in order");
        }
        batch.commit()?;
    }
    db.maintain()?;
    db.delete(&[ferula_index::Matcher::equal("n", "b")], 0, 30_000)?;
    db.close()
}

/// What a directory holds, and how many blocks are set aside.
fn read(fs: &FaultFs) -> Result<(String, usize), Error> {
    let db = Db::open_with(Arc::new(fs.clone()), DIR, options())?;
    let found = db.querier(i64::MIN, i64::MAX)?.select(&[])?;
    let mut content = String::new();
    let mut batch = SampleBatch::new();
    for index in 0..found.len() {
        batch.clear();
        let read = found.read(index, &mut batch).is_ok();
        content +=
            &format!("{} {read} {:?}\n", found.labels(index), batch.iter().collect::<Vec<_>>());
    }
    let n_aside = db.open_report().quarantined.len();
    let _ = db.querier(0, 100_000)?.label_names(&[]);
    let _ = (db.stats(), db.maintain(), db.compact());
    db.close()?;
    Ok((content, n_aside))
}

/// Corrects the checksum at the end of a file whose first bytes it does not cover.
fn mend(data: &mut [u8], from: usize) {
    if let Some(at) = data.len().checked_sub(4).filter(|at| *at >= from) {
        let crc = crc32c(&data[from..at]);
        data[at..].copy_from_slice(&crc.to_be_bytes());
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[number, how], bytes)) = data.split_first_chunk::<2>() else { return };
    let (sound, files) = &*SOUND;
    let path = &files[usize::from(number) % files.len()];
    let fs = sound.crash(Survival::Everything);
    // Either all of the file is new, or a part of a sound one.
    let mut content = fs.read(Path::new(path)).unwrap_or_default();
    if how & 1 == 0 || content.is_empty() {
        content = bytes.to_vec();
    } else if let Some((&[at, long], bytes)) = bytes.split_first_chunk::<2>() {
        let at = usize::from(u16::from_le_bytes([at, long])) % content.len();
        content.truncate(if how & 2 == 0 { content.len() } else { at });
        for (n, byte) in bytes.iter().enumerate() {
            match content.get_mut(at + n) {
                Some(found) => *found ^= byte,
                None => content.push(*byte),
            }
        }
    }
    if how & 4 != 0 {
        mend(&mut content, if path.ends_with("tombstones") { 5 } else { 0 });
    }
    let _ = fs.create_dir_all(Path::new(path).parent().expect("a file in a directory"));
    let file = fs.open(Path::new(path), OpenMode::Truncate).expect("no fault was injected");
    file.write_at(&content, 0).expect("no fault was injected");
    drop(file);
    if read(&fs).is_ok() {
        // The first time may have repaired something, or made blocks of others.
        let second = read(&fs).expect("what was opened opens again");
        let third = read(&fs).expect("what was opened opens again");
        assert_eq!(second, third);
    }
});
