//! Directories that cannot be written to, and file systems that are full, through the real program.
//!
//! Both are mounts in a mount namespace of the test's own: the test runs itself once more under
//! `unshare`. Where that is not allowed, which mostly means without root, it is skipped and says so.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{content, ferula, json, labels, options, path, store};
use ferula_tsdb::BlockFormat::{Ferula, Prometheus};
use ferula_tsdb::{Db, Retention};

/// Set for the test that runs in a namespace of its own.
const INSIDE: &str = "FERULA_TEST_MOUNTS";

/// Whether this is the process that may mount; runs the test `name` in one otherwise.
fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let probe =
        Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("skipped: nothing can be mounted here");
        return false;
    }
    let test = std::env::current_exe().expect("the path of the test");
    let mut command = Command::new("unshare");
    command.arg("-m").arg(test).args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    let output = command.output().expect("it could be started before");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

fn mount(arguments: &[&str]) {
    let output = Command::new("mount").args(arguments).output().expect("it can be started");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_read_only_mount_is_read_while_another_program_writes() {
    if !is_inside("a_read_only_mount_is_read_while_another_program_writes") {
        return;
    }
    for format in [Ferula, Prometheus] {
        let (dir, view, elsewhere) = (store(format), temp(), temp());
        let name = path(&view);
        mount(&["--bind", path(&dir), name]);
        mount(&["-o", "remount,bind,ro", name]);
        assert!(fs::write(view.path().join("new"), "").is_err(), "it is read-only");
        let db = Db::open(dir.path(), options(format)).expect("the store");
        let append = |time| {
            let mut batch = db.appender();
            batch.append(&labels(&[("__name__", "late")]), time, 1.0).expect("it is accepted");
            batch.commit().expect("the log can be written");
        };
        let end = common::START_MS + 3 * common::RANGE_MS;
        append(end);
        let expected = ferula(&["dump", path(&dir)]).1;
        assert!(expected.contains("late"), "{expected}");
        let backup = elsewhere.path().join("backup");
        for arguments in [
            &["list", name][..],
            &["analyze", name],
            &["verify", name],
            &["query", name, "count(requests)", "--time", "1700000100"],
        ] {
            let (code, out, err) = ferula(arguments);
            assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}: {out}");
        }
        assert_eq!(ferula(&["dump", name]), (Some(0), expected.clone(), String::new()));
        // It is another file system as far as links are concerned.
        let backup = backup.to_str().expect("a plain path");
        let (code, _, err) = ferula(&["backup", name, backup]);
        assert_eq!(code, Some(0), "{err}");
        assert!(err.contains("were copied"), "{err}");
        assert_eq!(ferula(&["dump", backup]).1, expected);
        // What is written, cut and compacted from now on is seen, too.
        append(end + 1000);
        db.compact_head().expect("blocks can be cut");
        db.compact().expect("blocks can be compacted");
        let (code, out, err) = ferula(&["dump", name]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert_eq!(out.lines().filter(|line| line.contains("late")).count(), 2);
        // Work on it is refused, and the reason told.
        for arguments in [&["compact", name][..], &["delete", name, "--match", "late"]] {
            let (code, _, err) = ferula(arguments);
            assert_eq!(code, Some(1), "{arguments:?}");
            assert!(err.contains("Read-only file system") && err.contains(name), "{err}");
        }
    }
}

#[test]
fn nothing_is_lost_on_a_full_disk() {
    if !is_inside("nothing_is_lost_on_a_full_disk") {
        return;
    }
    for (format, other) in [(Ferula, "prometheus"), (Prometheus, "ferula")] {
        let source = store(format);
        let disk = temp();
        let name = path(&disk);
        mount(&["-t", "tmpfs", "-o", "size=8m", "none", name]);
        copy_dir(source.path(), disk.path());
        let until = ((common::START_MS + common::RANGE_MS / 2) / 1000).to_string();
        let deletion = ["delete", name, "--match", r#"{path=~".*/1"}"#, "--max-time", &until];
        assert_eq!(ferula(&deletion).0, Some(0));
        let expected = ferula(&["dump", name]).1;
        assert!(expected.lines().count() > 10_000);

        let mut full_while_writing_blocks = 0;
        for room in (0..).map(|step| step * 8192) {
            let filler = fill(disk.path(), room);
            let mut failures = 0;
            for command in [
                &["compact", name, "--block-format", other][..],
                &["compact", name, "--tombstones"],
                &["convert", name, "--to", other],
                &["compact", name, "--head"],
            ] {
                let (code, _, err) = ferula(command);
                if code != Some(0) {
                    failures += 1;
                    assert_eq!(code, Some(1), "{command:?} with {room} bytes: {err}");
                    assert!(err.contains("No space left"), "{command:?} with {room} bytes: {err}");
                    assert!(err.contains(name), "it says where: {err}");
                    full_while_writing_blocks += usize::from(err.contains(".tmp-for-creation"));
                }
                assert!(ferula(&["dump", name]).1 == expected, "{command:?} with {room} bytes");
            }
            fs::remove_file(filler).expect("it can be removed");
            json(0, &["verify", name, "--json"]);
            if failures == 0 {
                break;
            }
        }
        assert!(full_while_writing_blocks > 2, "{full_while_writing_blocks}");
        let left = fs::read_dir(disk.path()).expect("a directory");
        let left: Vec<PathBuf> = left.map(|entry| entry.expect("an entry").path()).collect();
        assert!(!left.iter().any(|path| path.to_string_lossy().contains(".tmp-for")), "{left:?}");
    }
}

#[test]
fn blocks_go_until_the_rest_fits_into_its_part_of_the_disk() {
    if !is_inside("blocks_go_until_the_rest_fits_into_its_part_of_the_disk") {
        return;
    }
    let disk = temp();
    let disk_bytes = 256 << 10;
    mount(&["-t", "tmpfs", "-o", "size=256k", "none", path(&disk)]);
    copy_dir(store(Prometheus).path(), disk.path());
    let blocks_within = |percent| {
        let mut options = options(Prometheus);
        options.retention = Retention::default().disk_percent(percent);
        options.head_snapshot = false;
        let db = Db::open(disk.path(), options).expect("the store");
        db.compact().expect("blocks can be removed");
        db.stats().blocks.iter().map(|block| block.ulid).collect::<Vec<_>>()
    };
    let both = blocks_within(100);
    let used: usize = content(disk.path()).iter().map(|(_, bytes)| bytes.len()).sum();
    let percent = u8::try_from(used * 100 / disk_bytes).expect("it fits");
    assert_eq!((blocks_within(percent + 1), both.len()), (both.clone(), 2));
    assert_eq!(blocks_within(percent), both[1..], "of {used} bytes {percent} % are kept");
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn copy_dir(from: &Path, to: &Path) {
    for (file, bytes) in content(from) {
        let to = to.join(file.strip_prefix(from).expect("it is in there"));
        fs::create_dir_all(to.parent().expect("it has one")).expect("there is room");
        fs::write(to, bytes).expect("there is room");
    }
}

/// Fills the file system of a directory but for `room` bytes with a file, and returns its path.
fn fill(dir: &Path, room: u64) -> PathBuf {
    let filler = dir.join("filler");
    let file = fs::File::create(&filler).expect("a name takes no room");
    let page = vec![1; 4096];
    while std::io::Write::write_all(&mut &file, &page).is_ok() {}
    let len = file.metadata().expect("it is there").len();
    file.set_len(len.saturating_sub(room)).expect("it can be cut");
    filler
}
