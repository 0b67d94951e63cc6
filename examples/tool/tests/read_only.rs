//! Commands that only look at a directory write nothing into it and take no lock, system call by system
//! call. `strace` is looked for in `PATH`; without it, or where it may not trace, the test is skipped
//! and says so.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;

use common::{content, path, store};
use ferula_tsdb::BlockFormat::{Ferula, Prometheus};

#[test]
fn nothing_is_opened_for_writing_or_locked() {
    for format in [Ferula, Prometheus] {
        let dir = store(format);
        let other = tempfile::tempdir().expect("a directory");
        let backup = other.path().join("backup");
        let backup = backup.to_str().expect("a plain path");
        let before = content(dir.path());
        let commands: [&[&str]; 6] = [
            &["list", path(&dir)],
            &["query", path(&dir), "up"],
            &["analyze", path(&dir)],
            &["verify", path(&dir)],
            &["dump", path(&dir)],
            &["backup", path(&dir), backup],
        ];
        for arguments in commands {
            let trace = other.path().join("trace");
            let traced = Command::new("strace")
                .args(["-f", "-qq", "-s", "4096", "-o"])
                .arg(&trace)
                .args(["-e", "trace=%file,flock,fcntl,ftruncate"])
                .arg(env!("CARGO_BIN_EXE_ferula"))
                .args(arguments)
                .output();
            let Ok(traced) = traced.map(|output| output.status.success()) else {
                println!("skipped: no strace in PATH");
                return;
            };
            let calls = std::fs::read_to_string(&trace).unwrap_or_default();
            if !traced || !calls.contains("execve") {
                println!("skipped: strace may not trace here");
                return;
            }
            assert!(calls.contains(path(&dir)), "{arguments:?}");
            for call in calls.lines() {
                assert!(!call.contains("flock("), "{call}");
                // What is linked has its first name there, and that stays.
                let is_link = call.contains("link(") && !call.contains("unlink");
                let changes =
                    ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "rename", "unlink", "mkdir"];
                let is_change = changes.iter().any(|word| call.contains(word));
                assert!(
                    !call.contains(path(&dir)) || is_link || !is_change,
                    "{arguments:?}: {call}"
                );
            }
        }
        assert_eq!(content(dir.path()), before);
    }
}
