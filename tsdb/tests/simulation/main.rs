//! Deterministic simulation: seeded workloads on a machine that fails, stops and loses what was not
//! synced. Every acknowledged sample is there afterwards, and every acknowledged exemplar that later
//! ones have not displaced, and the newest metadata of a series, none is invented, no half batch is
//! visible, and opening once more changes nothing.
//!
//! A failing seed is replayed by
//! `FERULA_SIM_SEED=n cargo test -p ferula-tsdb --test simulation -- --nocapture`. A long run is
//! `FERULA_SIM_SCHEDULES=200000 cargo test --release -p ferula-tsdb --test simulation seeded`, from
//! the seed `FERULA_SIM_FIRST` on, over as many threads as `FERULA_SIM_THREADS` says.

mod faults;
mod machine;
mod model;
mod noted;
mod workload;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ferula_wal::fs::Survival;

use crate::machine::{Tally, run, run_with};
use crate::workload::Schedule;

/// Schedules of the short run.
const SHORT_SCHEDULES: u64 = 400;

/// Workloads of the short run that are stopped at some of their operations.
const SHORT_STOPPED: u64 = 3;

/// Operations of each of them that are stopped at, evenly spread. A long run stops at all of them.
const SHORT_STOPS: u64 = 30;

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs a schedule; a panic is a failure like others.
fn outcome(schedule: &Schedule) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| run(schedule))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// Leaves out steps as long as the schedule still fails.
fn shrink(mut schedule: Schedule) -> (Schedule, String) {
    let mut failure = outcome(&schedule).err().unwrap_or_default();
    let mut size = schedule.ops.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < schedule.ops.len() {
            let mut shorter = schedule.clone();
            shorter.ops.drain(at..(at + size).min(schedule.ops.len()));
            match outcome(&shorter) {
                Err(text) => (schedule, failure) = (shorter, text),
                Ok(_) => at += size,
            }
        }
        size /= 2;
    }
    (schedule, failure)
}

fn report(schedule: Schedule, failure: &str) -> String {
    let seed = schedule.seed;
    let (short, short_failure) = shrink(schedule);
    format!(
        "seed {seed}: {failure}\n\
         replay: FERULA_SIM_SEED={seed} cargo test -p ferula-tsdb --test simulation -- --nocapture\n\
         shrunk: {short_failure}\n{:?}\n{:#?}",
        short.config, short.ops
    )
}

#[test]
fn seeded_schedules_lose_nothing() {
    if let Some(seed) = variable("FERULA_SIM_SEED") {
        let schedule = Schedule::new(seed);
        match outcome(&schedule) {
            Ok(tally) => println!("seed {seed}: {tally:?}"),
            Err(failure) => panic!("{}", report(schedule, &failure)),
        }
        return;
    }
    let n = variable("FERULA_SIM_SCHEDULES").unwrap_or(SHORT_SCHEDULES);
    let first = variable("FERULA_SIM_FIRST").unwrap_or(0);
    let n_threads = variable("FERULA_SIM_THREADS").unwrap_or(1);
    let is_long = n > SHORT_SCHEDULES;
    let (next, n_failed) = (AtomicU64::new(first), AtomicU64::new(0));
    let work = || {
        let mut sum = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + n {
                return sum;
            }
            if is_long && (seed - first) % 10_000 == 9999 {
                println!(
                    "{} schedules, {} failed",
                    seed - first + 1,
                    n_failed.load(Ordering::Relaxed)
                );
            }
            match outcome(&Schedule::new(seed)) {
                Ok(tally) => sum = sum.with(&tally),
                Err(failure) => {
                    // The first is shown in whole, some more by their seeds.
                    match n_failed.fetch_add(1, Ordering::Relaxed) {
                        0 => eprintln!("{}", report(Schedule::new(seed), &failure)),
                        1..50 => eprintln!("seed {seed}: {failure}"),
                        _ => {}
                    }
                }
            }
        }
    };
    let sum = thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .fold(Tally::default(), |sum, tally| sum.with(&tally))
    });
    println!("{n} schedules, seeds {first}..{}: {sum:?}", first + n);
    assert_eq!(n_failed.into_inner(), 0, "schedules failed");
}

/// A workload without other faults, stopped at one operation of the file system after the other: at
/// each in a long run, at some in the short one.
#[test]
fn stopped_at_operations_in_turn() {
    let long = variable("FERULA_SIM_STOPPED");
    let n = long.unwrap_or(SHORT_STOPPED);
    let first = variable("FERULA_SIM_FIRST").unwrap_or(0);
    let mut n_schedules = 0;
    for seed in first..first + n {
        let schedule = Schedule::without_faults(seed);
        let tally = run(&schedule).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        let step = if long.is_some() { 1 } else { tally.operations.div_ceil(SHORT_STOPS).max(1) };
        for operation in
            (seed % step..tally.operations).step_by(usize::try_from(step).expect("small"))
        {
            for survival in [
                Survival::Nothing,
                Survival::Everything,
                Survival::Prefix(operation),
                Survival::Suffix(operation),
                Survival::Scattered(operation),
            ] {
                n_schedules += 1;
                if let Err(failure) = run_with(&schedule, Some((operation, survival))) {
                    panic!("seed {seed}, stopped at {operation}, {survival:?}: {failure}");
                }
            }
        }
    }
    println!("{n_schedules} schedules of {n} workloads");
}

impl Tally {
    fn with(self, other: &Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            openings: self.openings + other.openings,
            crashes: self.crashes + other.crashes,
            acknowledged: self.acknowledged + other.acknowledged,
            failed_commits: self.failed_commits + other.failed_commits,
            blocks: self.blocks + other.blocks,
            late: self.late + other.late,
        }
    }
}
