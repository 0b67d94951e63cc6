//! A real file system runs full: the log refuses, is read all the while, and goes on when there is
//! space again.
//!
//! It takes a small `tmpfs`, which only root may mount; without it the test is skipped and says so.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ferula_wal::fs::StdFs;
use ferula_wal::{Compression, Error, LogReader, Options, PAGE_BYTES, SyncPolicy, Wal};

/// A file system of one mebibyte, unmounted when dropped.
struct Small {
    path: PathBuf,
}

impl Small {
    fn mount(path: &Path) -> Result<Self, String> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "ferula-wal-test"])
            .arg(path)
            .output()
            .map_err(|error| error.to_string())?;
        if !mount.status.success() {
            return Err(String::from_utf8_lossy(&mount.stderr).trim().to_owned());
        }
        Ok(Self { path: path.to_path_buf() })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).status();
    }
}

fn record(n: u32) -> Vec<u8> {
    let mut record = vec![200];
    record.extend_from_slice(&n.to_be_bytes());
    record.resize(5_000 + n as usize, 7);
    record
}

/// Checks that the log holds the first records, and returns how many.
fn n_records(dir: &Path) -> u32 {
    let mut reader = LogReader::open(Arc::new(StdFs), dir).unwrap();
    let mut n = 0;
    loop {
        match reader.next_record() {
            Ok(Some(read)) => assert!(read.bytes == record(n), "record {n}"),
            // The end of one that is being written, or of the log.
            Ok(None) | Err(Error::Damaged { .. }) => return n,
            Err(error) => panic!("{error}"),
        }
        n += 1;
    }
}

#[test]
fn a_log_on_a_full_disk_goes_on_when_there_is_space() {
    let tmp = tempfile::tempdir().unwrap();
    let small = match Small::mount(tmp.path()) {
        Ok(small) => small,
        Err(reason) => {
            println!("skipped: no tmpfs can be mounted: {reason}");
            return;
        }
    };
    for sync in [SyncPolicy::Always, SyncPolicy::Never] {
        let ballast = small.path.join("ballast");
        std::fs::write(&ballast, vec![1; 600 << 10]).unwrap();
        let dir = small.path.join("wal");
        let options = Options::builder()
            .segment_bytes(4 * PAGE_BYTES as u64)
            .compression(Compression::None)
            .sync(sync)
            .build()
            .unwrap();
        let (wal, _) = Wal::open(Arc::new(StdFs), &dir, options.clone()).unwrap();
        let mut n = 0;
        let refused = loop {
            match wal.append(&[&record(n)]) {
                Ok(_) => n += 1,
                Err(error) => break error,
            }
        };
        assert!(refused.is_storage_full(), "{refused:?}");
        assert!(n > 20, "{n}");
        assert!(wal.try_resume().unwrap_err().is_storage_full());
        assert_eq!(n_records(&dir), n);
        // The one that was refused is in doubt if it was logged, and then it is there for good.
        std::fs::remove_file(&ballast).unwrap();
        wal.try_resume().unwrap();
        let again = n_records(&dir);
        assert!((n..=n + 1).contains(&again), "{again} of {n}");
        for n in again..again + 50 {
            wal.append(&[&record(n)]).unwrap();
        }
        wal.close().unwrap();
        let (wal, recovery) = Wal::open(Arc::new(StdFs), &dir, options).unwrap();
        assert_eq!(recovery.report.cut, None);
        assert_eq!(n_records(&dir), again + 50);
        drop(wal);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
