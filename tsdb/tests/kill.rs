//! A process that is killed loses nothing that it had acknowledged.
//!
//! `FERULA_KILLS=1000 cargo test -p ferula-tsdb --test kill` kills it more often.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use common::{all, labels};
use ferula_index::Labels;
use ferula_tsdb::{Db, Options, SyncPolicy};

/// Names the directory that the child writes to.
const DIR_VARIABLE: &str = "FERULA_TSDB_KILL_DIR";

/// The time at which the child goes on.
const FROM_VARIABLE: &str = "FERULA_TSDB_KILL_FROM";

/// How often the child syncs.
const SYNC_VARIABLE: &str = "FERULA_TSDB_KILL_SYNC";

/// How far back the child goes.
const WINDOW_VARIABLE: &str = "FERULA_TSDB_KILL_WINDOW";

/// How often a child is killed.
const N_KILLS: usize = 100;

/// How often in the same directory.
const KILLS_PER_DIR: usize = 20;

/// Threads that write at the same time.
const N_WRITERS: i64 = 4;

/// Length of a block in milliseconds.
const RANGE: i64 = 2000;

/// Time between two batches, of whatever thread, in milliseconds.
const STEP: i64 = 25;

/// How far back samples are taken in every other directory, in milliseconds.
const WINDOW: i64 = 10 * RANGE;

/// How far back a late sample is, in milliseconds: between two others of its series.
const LATE_BY: i64 = STEP * N_WRITERS * 5 / 2;

fn options(sync: SyncPolicy, window: i64) -> Options {
    let builder = Options::builder().sync(sync).block_range_ms(RANGE);
    let builder = builder.out_of_order_window_ms(window);
    // A thread cuts blocks all the time.
    let interval = Duration::from_millis(1);
    builder.wal_segment_bytes(32 << 10).maintenance_interval(Some(interval)).build().unwrap()
}

/// The series and times of the batch at `time`: a series of all writers' batches, one of this writer's,
/// one that comes and goes, with labels that fill the log, and one every other sample of which is late
/// if there is a window.
fn samples_of(time: i64, window: i64) -> [(Labels, i64); 4] {
    let number = time / STEP;
    let is_late = window > 0 && number / N_WRITERS % 2 == 1;
    let late = if is_late { time - LATE_BY } else { time };
    let (writer, churn) = ((number % N_WRITERS).to_string(), (number / 50).to_string());
    [
        (labels(&[("of", "writer"), ("writer", &writer)]), time),
        (labels(&[("of", "batch"), ("writer", &writer), ("n", &(number % 7).to_string())]), time),
        (
            labels(&[
                ("of", "churn"),
                ("writer", &writer),
                ("n", &churn),
                ("pad", &"x".repeat(200)),
            ]),
            time,
        ),
        (labels(&[("of", "late"), ("writer", &writer)]), late),
    ]
}

fn variable(name: &str) -> Option<i64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

/// What the child does: commits batches and tells of each on standard output, until it is killed.
#[test]
fn child() {
    let Some(dir) = env::var_os(DIR_VARIABLE) else { return };
    let from = variable(FROM_VARIABLE).unwrap();
    let is_synced = variable(SYNC_VARIABLE).unwrap() == 1;
    let sync = if is_synced { SyncPolicy::Always } else { SyncPolicy::Never };
    let window = variable(WINDOW_VARIABLE).unwrap();
    let db = Db::open(Path::new(&dir), options(sync, window)).unwrap();
    let next = AtomicI64::new(from);
    thread::scope(|scope| {
        for writer in 0..N_WRITERS {
            let (db, next) = (&db, &next);
            scope.spawn(move || {
                loop {
                    // Times are of one writer each, and go on alike for all of them.
                    let turn = next.fetch_add(STEP * N_WRITERS, Ordering::Relaxed);
                    let time = turn + writer * STEP;
                    let mut batch = db.appender();
                    let appended = samples_of(time, window)
                        .iter()
                        .all(|(series, at)| batch.append(series, *at, time as f64).is_ok());
                    // A thread that the others have left behind is told that it is too late, by the
                    // append or by the commit.
                    let committed = appended.then(|| batch.commit().unwrap());
                    if let Some(committed) = committed.filter(|committed| committed.refused != 4) {
                        assert_eq!((committed.samples, committed.refused), (4, 0));
                        // Not `println!`, which the test harness may keep to itself.
                        writeln!(std::io::stdout(), "committed {time}").unwrap();
                    }
                }
            });
        }
    });
}

/// Lets a child write until it has acknowledged so many batches, kills it, and returns the times of
/// all that it acknowledged.
fn write_and_kill(
    dir: &Path,
    from: i64,
    (sync, window): (bool, i64),
    n_acknowledged: usize,
) -> Vec<i64> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(DIR_VARIABLE, dir)
        .env(FROM_VARIABLE, from.to_string())
        .env(SYNC_VARIABLE, i64::from(sync).to_string())
        .env(WINDOW_VARIABLE, window.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((_, time)) = line.split_once("committed ") {
            acknowledged.push(time.parse().unwrap());
        }
        // What it says while it dies counts, so the rest is read too.
        if acknowledged.len() == n_acknowledged {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= n_acknowledged, "the child ended by itself");
    acknowledged
}

/// Opens the directory and checks what is there; returns the newest time, and how many samples were
/// late.
fn check(dir: &Path, window: i64, acknowledged: &BTreeSet<i64>, context: &str) -> (i64, usize) {
    let db = Db::open(dir, options(SyncPolicy::Never, window)).unwrap();
    assert_eq!(db.open_report().quarantined, [], "{context}");
    let mut found: BTreeMap<i64, Vec<(Labels, i64)>> = BTreeMap::new();
    for (labels, samples) in all(&db) {
        for sample in samples {
            #[expect(clippy::cast_possible_truncation, reason = "times, compared below")]
            let batch = sample.value as i64;
            found.entry(batch).or_default().push((labels.clone(), sample.timestamp));
        }
    }
    let mut n_late = 0;
    for (time, samples) in &found {
        let mut expected = samples_of(*time, window);
        expected.sort();
        assert_eq!(samples[..], expected, "{context}: half a batch at {time}");
        n_late += samples.iter().filter(|(_, at)| at != time).count();
    }
    let lost: Vec<_> = acknowledged.iter().filter(|time| !found.contains_key(time)).collect();
    assert!(lost.is_empty(), "{context}: lost {lost:?}");
    (*found.last_key_value().unwrap().0, n_late)
}

fn kill_many_times(n_kills: usize, sync: bool) {
    let mut random = 0x5eed_u64;
    let (mut blocks, mut n_late) = (0, 0);
    for start in (0..n_kills).step_by(KILLS_PER_DIR) {
        let dir = tempfile::tempdir().unwrap();
        let window = if (start / KILLS_PER_DIR).is_multiple_of(2) { WINDOW } else { 0 };
        let (mut from, mut acknowledged) = (0, BTreeSet::new());
        for kill in start..n_kills.min(start + KILLS_PER_DIR) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let n = 1 + usize::try_from((random >> 33) % 120).unwrap();
            acknowledged.extend(write_and_kill(dir.path(), from, (sync, window), n));
            let context = format!("kill {kill}");
            let (newest, late) = check(dir.path(), window, &acknowledged, &context);
            n_late += late;
            // In a later turn of the writers.
            from = (newest / (STEP * N_WRITERS) + 1) * STEP * N_WRITERS;
        }
        let names = common::names(dir.path());
        blocks += names.iter().filter(|name| name.starts_with("01")).count();
    }
    assert!(blocks > n_kills / 20, "blocks are cut meanwhile: {blocks}");
    assert!(n_late > n_kills, "samples are late: {n_late}");
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    let n_kills = variable("FERULA_KILLS").map_or(N_KILLS, |n| usize::try_from(n).unwrap());
    kill_many_times(n_kills, true);
}

/// What a commit wrote is with the operating system when it returns, whatever the policy.
#[test]
fn a_process_that_never_syncs_loses_nothing_by_being_killed() {
    kill_many_times(KILLS_PER_DIR, false);
}
