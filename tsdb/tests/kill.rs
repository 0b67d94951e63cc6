//! A process that is killed loses nothing that it had acknowledged.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{RANGE, all, labels};
use ferula_tsdb::{Db, Options, SyncPolicy};

/// Names the directory that the child writes to.
const DIR_VARIABLE: &str = "FERULA_TSDB_KILL_DIR";

fn options(sync: SyncPolicy) -> Options {
    let builder = Options::builder().sync(sync).block_range_ms(RANGE);
    // A thread cuts blocks all the time.
    let interval = std::time::Duration::from_millis(1);
    builder.wal_segment_bytes(32 << 10).maintenance_interval(Some(interval)).build().unwrap()
}

fn series_of(n: usize) -> [ferula_index::Labels; 2] {
    [labels(&[("a", "always")]), labels(&[("a", &format!("now_and_then_{}", n / 50))])]
}

/// What the child does: commits batches and tells of each on standard output, until it is killed.
#[test]
fn child() {
    let Some(dir) = env::var_os(DIR_VARIABLE) else { return };
    let db = Db::open(Path::new(&dir), options(SyncPolicy::Never)).unwrap();
    for n in 0.. {
        let mut batch = db.appender();
        for series in series_of(n) {
            batch.append(&series, 1000 * n as i64, n as f64).unwrap();
        }
        batch.commit().unwrap();
        // Not `println!`, which the test harness may keep to itself.
        writeln!(std::io::stdout(), "committed {n}").unwrap();
    }
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    for acknowledged in [1, 77, 400, 1200] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(DIR_VARIABLE, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let last = format!("committed {acknowledged}");
        assert!(lines.map(Result::unwrap).any(|line| line.ends_with(&last)), "no {last}");
        child.kill().unwrap();
        child.wait().unwrap();

        let db = Db::open(dir.path(), options(SyncPolicy::Never)).unwrap();
        assert_eq!(db.open_report().quarantined, []);
        let content = all(&db);
        let mut counts = vec![0; content.iter().map(|(_, samples)| samples.len()).max().unwrap()];
        for sample in content.iter().flat_map(|(_, samples)| samples) {
            let n = usize::try_from(sample.timestamp / 1000).unwrap();
            assert_eq!(sample.value, n as f64);
            counts[n] += 1;
        }
        assert!(counts.len() > acknowledged, "{} of {acknowledged}", counts.len());
        assert!(counts.iter().all(|count| *count == 2), "half a batch: {counts:?}");
    }
}
