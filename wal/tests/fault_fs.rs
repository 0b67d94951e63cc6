//! What the fault-injecting file system loses, and what it must not.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::io::ErrorKind;
use std::path::Path;

use ferula_wal::fs::{Fault, FaultFs, File, Fs, OpenMode, Survival};

const SURVIVALS: [fn(u64) -> Survival; 5] = [
    |_| Survival::Nothing,
    |_| Survival::Everything,
    Survival::Prefix,
    Survival::Suffix,
    Survival::Scattered,
];

fn every_survival() -> impl Iterator<Item = Survival> {
    (0..40).flat_map(|seed| SURVIVALS.map(|survival| survival(seed)))
}

fn path() -> &'static Path {
    Path::new("a")
}

fn create(fs: &FaultFs) -> Box<dyn File> {
    let file = fs.open(path(), OpenMode::CreateNew).unwrap();
    fs.sync_dir(Path::new("")).unwrap();
    file
}

#[test]
fn synced_bytes_survive_and_others_vary() {
    let mut found = std::collections::BTreeSet::new();
    for survival in every_survival() {
        let fs = FaultFs::new();
        let file = create(&fs);
        file.write_at(&[1; 1000], 0).unwrap();
        file.sync_data().unwrap();
        file.write_at(&[2; 2000], 1000).unwrap();
        let bytes = fs.crash(survival).read(path()).unwrap();
        assert_eq!(bytes[..1000], [1; 1000], "{survival:?}");
        assert!(bytes[1000..].iter().all(|byte| [0, 2].contains(byte)), "{survival:?}");
        match survival {
            Survival::Nothing => assert_eq!(bytes.len(), 1000),
            Survival::Everything => assert_eq!(bytes[1000..], [2; 2000]),
            _ => {}
        }
        found.insert(bytes);
    }
    assert!(found.len() > 20, "only {} different disks", found.len());
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let disk = || {
        let fs = FaultFs::new();
        let file = create(&fs);
        for i in 0..50 {
            file.write_at(&[7; 300], i * 300).unwrap();
        }
        fs.crash(Survival::Scattered(7)).read(path()).unwrap()
    };
    assert_eq!(disk(), disk());
}

#[test]
fn names_survive_once_their_directory_is_synced() {
    let mut n_lost = 0;
    for survival in every_survival() {
        let fs = FaultFs::new();
        fs.create_dir_all(Path::new("dir")).unwrap();
        fs.sync_dir(Path::new("")).unwrap();
        for name in ["dir/kept", "dir/maybe"] {
            let file = fs.open(Path::new(name), OpenMode::CreateNew).unwrap();
            file.write_at(b"x", 0).unwrap();
            file.sync_data().unwrap();
            if name == "dir/kept" {
                fs.sync_dir(Path::new("dir")).unwrap();
            }
        }
        let after = fs.crash(survival);
        assert_eq!(after.read(Path::new("dir/kept")).unwrap(), b"x");
        n_lost += u32::from(!after.exists(Path::new("dir/maybe")).unwrap());
    }
    assert!(n_lost > 10);
}

#[test]
fn a_rename_leaves_the_old_or_the_new_name() {
    for survival in every_survival() {
        for to in ["b", "dir/b"] {
            let fs = FaultFs::new();
            fs.create_dir_all(Path::new("dir")).unwrap();
            let file = create(&fs);
            file.write_at(b"x", 0).unwrap();
            file.sync_data().unwrap();
            fs.rename(path(), Path::new(to)).unwrap();
            let after = fs.crash(survival);
            let is_old = after.exists(path()).unwrap();
            let is_new = after.exists(Path::new(to)).unwrap();
            assert!(is_old || is_new, "{survival:?}");
            assert!(to != "b" || is_old != is_new, "{survival:?}");
        }
    }
}

#[test]
fn a_failed_sync_drops_what_it_was_to_sync() {
    let fs = FaultFs::new();
    let file = create(&fs);
    file.write_at(b"one", 0).unwrap();
    fs.inject(fs.operations(), Fault::Io);
    file.sync_data().unwrap_err();
    file.write_at(b"two", 3).unwrap();
    file.sync_data().unwrap();
    assert_eq!(fs.read(path()).unwrap(), b"onetwo");
    assert_eq!(fs.crash(Survival::Nothing).read(path()).unwrap(), b"\0\0\0two");
}

#[test]
fn a_full_disk_takes_half_of_a_write() {
    let fs = FaultFs::new();
    let file = create(&fs);
    fs.inject(fs.operations(), Fault::NoSpace);
    assert_eq!(file.write_at(b"abcd", 0).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(fs.read(path()).unwrap(), b"ab");
    file.write_at(b"abcd", 0).unwrap();
}

#[test]
fn a_disk_stays_full_until_space_returns() {
    let fs = FaultFs::new();
    let file = create(&fs);
    file.write_at(b"abcd", 0).unwrap();
    fs.set_full(true);
    let is_full = |error: std::io::Error| error.kind() == ErrorKind::StorageFull;
    assert!(is_full(file.write_at(b"efgh", 4).unwrap_err()));
    assert!(is_full(fs.open(Path::new("b"), OpenMode::CreateNew).unwrap_err()));
    assert!(is_full(fs.create_dir_all(Path::new("dir")).unwrap_err()));
    file.set_len(2).unwrap();
    file.sync_data().unwrap();
    fs.set_full(false);
    file.write_at(b"cd", 2).unwrap();
    assert_eq!(fs.read(path()).unwrap(), b"abcd");
}

#[test]
fn everything_fails_after_a_stop() {
    let fs = FaultFs::new();
    let file = create(&fs);
    fs.inject(fs.operations(), Fault::Stop);
    file.write_at(b"abcd", 0).unwrap_err();
    assert!(fs.is_stopped());
    file.sync_data().unwrap_err();
    fs.rename(path(), Path::new("b")).unwrap_err();
    assert_eq!(fs.crash(Survival::Everything).read(path()).unwrap(), b"abcd");
}

#[test]
fn a_failed_read_is_one_of_its_number() {
    let fs = FaultFs::new();
    create(&fs).write_at(b"abcd", 0).unwrap();
    fs.fail_read(fs.reads());
    fs.read(path()).unwrap_err();
    assert_eq!(fs.read(path()).unwrap(), b"abcd");
}
