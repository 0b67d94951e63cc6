//! One suite for every file system: what the contracts of `Fs` and `File` promise without faults.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::io::ErrorKind;
use std::path::Path;

use ferula_wal::fs::{FaultFs, Fs, Metadata, OpenMode, StdFs};

#[test]
fn the_real_file_system_conforms() {
    let tmp = tempfile::tempdir().unwrap();
    conforms(&StdFs, tmp.path());
    assert!(StdFs.os_path(tmp.path()).is_some());
}

#[test]
fn the_fault_injecting_file_system_conforms() {
    let fs = FaultFs::new();
    fs.create_dir_all(Path::new("/root")).unwrap();
    conforms(&fs, Path::new("/root"));
    assert!(fs.os_path(Path::new("/root")).is_none());
}

fn conforms(fs: &dyn Fs, root: &Path) {
    files_are_read_and_written_at_offsets(fs, &root.join("files"));
    open_modes_differ(fs, &root.join("modes"));
    names_change(fs, &root.join("names"));
    directories_nest(fs, &root.join("dirs"));
    removed_files_stay_open(fs, &root.join("removed"));
}

fn names(fs: &dyn Fs, dir: &Path) -> Vec<String> {
    fs.list(dir).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn create(fs: &dyn Fs, path: &Path, bytes: &[u8]) {
    let file = fs.open(path, OpenMode::CreateNew).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
}

fn files_are_read_and_written_at_offsets(fs: &dyn Fs, dir: &Path) {
    fs.create_dir_all(dir).unwrap();
    let path = dir.join("a");
    let file = fs.open(&path, OpenMode::CreateNew).unwrap();
    assert_eq!(file.len().unwrap(), 0);
    file.write_at(b"hello", 3).unwrap();
    file.write_at(b"J", 3).unwrap();
    assert_eq!(fs.read(&path).unwrap(), b"\0\0\0Jello");
    let other = fs.open(&path, OpenMode::Read).unwrap();
    let mut buf = [9; 16];
    assert_eq!(other.read_at(&mut buf, 4).unwrap(), 4);
    assert_eq!(&buf[..5], b"ello\x09");
    assert_eq!(other.read_at(&mut buf, 8).unwrap(), 0);
    assert_eq!(other.read_at(&mut buf, 99).unwrap(), 0);
    let short = other.read_exact_at(&mut buf[..5], 4);
    assert_eq!(short.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.set_len(5).unwrap();
    file.set_len(7).unwrap();
    file.sync_data().unwrap();
    assert_eq!(fs.read(&path).unwrap(), b"\0\0\0Je\0\0");
    assert_eq!(fs.metadata(&path).unwrap(), Metadata { len: 7, is_dir: false });
    file.write_at(b"", 100).unwrap();
    assert_eq!(file.len().unwrap(), 7);
    assert!(other.write_at(b"x", 0).is_err());
}

fn open_modes_differ(fs: &dyn Fs, dir: &Path) {
    fs.create_dir_all(dir).unwrap();
    let path = dir.join("a");
    for mode in [OpenMode::Read, OpenMode::Write] {
        assert_eq!(fs.open(&path, mode).unwrap_err().kind(), ErrorKind::NotFound);
    }
    for mode in [OpenMode::CreateNew, OpenMode::Truncate] {
        let orphan = fs.open(&dir.join("none").join("a"), mode);
        assert_eq!(orphan.unwrap_err().kind(), ErrorKind::NotFound);
    }
    fs.open(&path, OpenMode::Truncate).unwrap().write_at(b"abc", 0).unwrap();
    let taken = fs.open(&path, OpenMode::CreateNew);
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let file = fs.open(&path, OpenMode::Write).unwrap();
    assert_eq!(file.len().unwrap(), 3);
    assert_eq!(fs.open(&path, OpenMode::Truncate).unwrap().len().unwrap(), 0);
    assert_eq!(file.len().unwrap(), 0);
}

fn names_change(fs: &dyn Fs, dir: &Path) {
    fs.create_dir_all(dir).unwrap();
    create(fs, &dir.join("a"), b"A");
    create(fs, &dir.join("b"), b"B");
    fs.rename(&dir.join("a"), &dir.join("b")).unwrap();
    assert_eq!(names(fs, dir), ["b"]);
    assert_eq!(fs.read(&dir.join("b")).unwrap(), b"A");
    let gone = fs.rename(&dir.join("a"), &dir.join("c"));
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    fs.hard_link(&dir.join("b"), &dir.join("a")).unwrap();
    fs.open(&dir.join("a"), OpenMode::Write).unwrap().write_at(b"C", 0).unwrap();
    assert_eq!(fs.read(&dir.join("b")).unwrap(), b"C");
    let taken = fs.hard_link(&dir.join("b"), &dir.join("a"));
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
    fs.remove_file(&dir.join("b")).unwrap();
    assert_eq!(fs.remove_file(&dir.join("b")).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(fs.exists(&dir.join("a")).unwrap());
    assert!(!fs.exists(&dir.join("b")).unwrap());
    fs.sync_dir(dir).unwrap();
}

fn directories_nest(fs: &dyn Fs, dir: &Path) {
    let deep = dir.join("x").join("y");
    fs.create_dir_all(&deep).unwrap();
    fs.create_dir_all(&deep).unwrap();
    create(fs, &deep.join("f"), b"1");
    create(fs, &dir.join("x").join("g"), b"2");
    assert_eq!(names(fs, &dir.join("x")), ["g", "y"]);
    assert!(fs.list(&dir.join("x")).unwrap()[1].is_dir);
    assert!(fs.metadata(&deep).unwrap().is_dir);
    let full = fs.remove_dir(&dir.join("x"));
    assert_eq!(full.unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    fs.create_dir_all(&dir.join("empty")).unwrap();
    fs.rename(&dir.join("x"), &dir.join("empty")).unwrap();
    assert_eq!(names(fs, dir), ["empty"]);
    assert_eq!(fs.read(&dir.join("empty").join("y").join("f")).unwrap(), b"1");
    fs.create_dir_all(&dir.join("other")).unwrap();
    let onto_full = fs.rename(&dir.join("other"), &dir.join("empty"));
    assert_eq!(onto_full.unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    fs.remove_dir_all(&dir.join("empty")).unwrap();
    fs.remove_dir(&dir.join("other")).unwrap();
    assert_eq!(names(fs, dir), [""; 0]);
    assert_eq!(fs.list(&dir.join("x")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs.sync_dir(&dir.join("x")).unwrap_err().kind(), ErrorKind::NotFound);
}

fn removed_files_stay_open(fs: &dyn Fs, dir: &Path) {
    fs.create_dir_all(dir).unwrap();
    let path = dir.join("a");
    create(fs, &path, b"kept");
    let file = fs.open(&path, OpenMode::Write).unwrap();
    fs.remove_file(&path).unwrap();
    let mut buf = [0; 4];
    file.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"kept");
    file.write_at(b"more", 4).unwrap();
    assert_eq!(file.len().unwrap(), 8);
}
