//! `ferula backup`, `restore` and `clone` lose nothing.

mod common;

use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};

use common::{
    RANGE_MS, START_MS, blocks, content, ferula, flip, json, labels, options, path, store,
};
use ferula_tsdb::BlockFormat::{Ferula, Prometheus};
use ferula_tsdb::Db;

#[test]
fn a_backup_holds_blocks_and_head_and_is_restored() {
    for format in [Ferula, Prometheus] {
        let dir = store(format);
        let before = content(dir.path());
        let expected = ferula(&["dump", path(&dir)]).1;
        let other = tempfile::tempdir().unwrap();
        let backup = other.path().join("backups/one");
        let name = backup.to_str().unwrap();
        let report = json(0, &["backup", path(&dir), name, "--json"]);
        assert_eq!(report["blocks"].as_array().map(Vec::len), Some(3), "two, and the head");
        assert_eq!(report["linked_files"].as_u64(), Some(8));
        assert_eq!(blocks(&backup).len(), 3);
        assert!(!backup.join("wal").exists());
        assert_eq!(ferula(&["dump", name]).1, expected);
        assert_eq!(content(dir.path()), before);
        // All blocks are of one kind, for whoever reads those of the store.
        let listed = json(0, &["list", name, "--json"]);
        for block in listed["blocks"].as_array().unwrap() {
            assert_eq!(block["ferula"].is_null(), format == Prometheus, "{block}");
        }
        let (code, _, err) = ferula(&["backup", path(&dir), name]);
        assert_eq!(code, Some(1));
        assert!(err.contains("not empty"), "{err}");

        let restored = tempfile::tempdir().unwrap();
        let (code, out, err) = ferula(&["restore", name, path(&restored)]);
        assert_eq!((code, out.lines().count(), err.as_str()), (Some(0), 3, ""));
        // It is written on where it ends.
        let db = Db::open(restored.path(), options(format)).unwrap();
        let mut batch = db.appender();
        let up = labels(&[("__name__", "up"), ("job", "gate")]);
        batch.append(&up, START_MS + 2 * RANGE_MS + RANGE_MS * 3 / 4, 1.0).unwrap();
        batch.commit().unwrap();
        db.close().unwrap();
        let n_lines = ferula(&["dump", path(&restored)]).1.lines().count();
        assert_eq!(n_lines, expected.lines().count() + 1);
        assert_eq!(ferula(&["dump", name]).1, expected, "the backup stays what it is");
    }
}

#[test]
fn what_was_acknowledged_before_is_in_the_backup_of_a_store_that_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(Ferula);
    options.block_range_ms = 60_000;
    options.wal_segment_bytes = 32 << 10;
    let db = Db::open(dir.path(), options).unwrap();
    let series: Vec<_> = (0..5).map(|n| labels(&[("n", &n.to_string())])).collect();
    let acknowledged = AtomicI64::new(0);
    let n_backups = std::thread::scope(|scope| {
        let backups = scope.spawn(|| {
            let targets = tempfile::tempdir().unwrap();
            let mut n = 0;
            while acknowledged.load(Ordering::Acquire) < 1200 {
                let target = targets.path().join(n.to_string());
                let name = target.to_str().unwrap();
                let before = acknowledged.load(Ordering::Acquire);
                let (code, _, err) = ferula(&["backup", path(&dir), name]);
                assert_eq!((code, err.as_str()), (Some(0), ""));
                let backup = Db::open_read_only(&target).unwrap();
                let querier = backup.querier(i64::MIN, i64::MAX).unwrap();
                let found = querier.select(&[]).unwrap();
                let mut lens = Vec::new();
                for index in 0..found.len() {
                    let mut batch = ferula_chunkenc::SampleBatch::new();
                    found.read(index, &mut batch).unwrap();
                    assert!(
                        batch
                            .timestamps()
                            .iter()
                            .copied()
                            .eq((0..).map(|i| i * 1000).take(batch.len()))
                    );
                    lens.push(i64::try_from(batch.len()).unwrap());
                }
                assert!(
                    lens.iter().all(|len| *len == lens[0] && *len >= before),
                    "{before}: {lens:?}"
                );
                n += 1;
            }
            n
        });
        for time in 0..1200 {
            let mut batch = db.appender();
            for series in &series {
                batch.append(series, time * 1000, time as f64).unwrap();
            }
            batch.commit().unwrap();
            acknowledged.store(time + 1, Ordering::Release);
            if time % 20 == 0 {
                db.maintain().unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        backups.join().unwrap()
    });
    assert!(n_backups > 1, "{n_backups}");
}

#[test]
fn a_clone_is_the_directory_once_more() {
    let dir = store(Ferula);
    let target = tempfile::tempdir().unwrap();
    let report = json(0, &["clone", path(&dir), path(&target), "--json"]);
    assert_eq!(report["not_linked"], serde_json::Value::Null);
    let relative = |of: &tempfile::TempDir| {
        let all = content(of.path()).into_iter();
        all.map(|(file, bytes)| (file.strip_prefix(of.path()).unwrap().to_path_buf(), bytes))
            .collect::<Vec<_>>()
    };
    assert_eq!(relative(&target), relative(&dir));
    // The log and the snapshot of the head are used; writing to one leaves the other alone.
    let before = content(dir.path());
    let db = Db::open(target.path(), options(Ferula)).unwrap();
    assert!(db.open_report().from_snapshot);
    db.compact_head().unwrap();
    db.compact().unwrap();
    db.close().unwrap();
    assert_eq!(content(dir.path()), before);

    let db = Db::open(dir.path(), options(Ferula)).unwrap();
    let other = target.path().join("other");
    let (code, _, err) = ferula(&["clone", path(&dir), other.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(err.contains("in use") && !other.exists(), "{err}");
    drop(db);
}

#[test]
fn a_damaged_backup_is_not_restored() {
    let dir = store(Prometheus);
    let other = tempfile::tempdir().unwrap();
    let [backup, target] = ["backup", "target"].map(|name| other.path().join(name));
    let [backup_name, target_name] = [&backup, &target].map(|path| path.to_str().unwrap());
    ferula(&["backup", path(&dir), backup_name]);
    let file = blocks(&backup)[2].join("chunks/000001");
    flip(&file, 200);
    let (code, _, err) = ferula(&["restore", backup_name, target_name]);
    assert_eq!(code, Some(3));
    assert!(err.contains(file.to_str().unwrap()) && !target.exists(), "{err}");
}

#[test]
fn damaged_blocks_are_told_and_left_out() {
    let dir = store(Ferula);
    let damaged = &blocks(dir.path())[0];
    flip(&damaged.join("meta.json"), 0);
    let other = tempfile::tempdir().unwrap();
    for command in ["backup", "clone"] {
        let target = other.path().join(command);
        let (code, _, err) = ferula(&[command, path(&dir), target.to_str().unwrap()]);
        assert_eq!(code, Some(3));
        assert!(err.contains(damaged.to_str().unwrap()), "{err}");
        assert_eq!(blocks(&target).len(), if command == "clone" { 1 } else { 2 });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn another_file_system_gets_copies_and_a_word() {
    use std::os::unix::fs::MetadataExt;

    let dir = store(Ferula);
    let device = |path: &std::path::Path| fs::metadata(path).map(|found| found.dev()).ok();
    let shared = std::path::Path::new("/dev/shm");
    if device(shared).is_none() || device(shared) == device(dir.path()) {
        println!("skipped: /dev/shm is no other file system");
        return;
    }
    let target = tempfile::tempdir_in(shared).unwrap();
    let (code, _, err) = ferula(&["backup", path(&dir), path(&target)]);
    assert_eq!(code, Some(0));
    assert!(err.contains("8 files") && err.contains("copied"), "{err}");
    assert_eq!(ferula(&["dump", path(&target)]).1, ferula(&["dump", path(&dir)]).1);
}
