//! Stops a workload at each of its operations, with torn, lost and reordered writes, and looks at
//! what is read back: nothing acknowledged is lost, batches are whole, and together they are a prefix
//! of what was logged. Opening once more changes nothing.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::Path;
use std::sync::Arc;

use ferula_wal::fs::{Fault, FaultFs, Survival};
use ferula_wal::{Compression, Error, Options, PAGE_BYTES, SyncPolicy, Wal};

const SEEDS: u64 = 4;

fn dir() -> &'static Path {
    Path::new("data/wal")
}

fn survivals() -> Vec<Survival> {
    let mut survivals = vec![Survival::Nothing, Survival::Everything];
    for seed in 0..SEEDS {
        survivals.extend([
            Survival::Prefix(seed),
            Survival::Suffix(seed),
            Survival::Scattered(seed),
        ]);
    }
    survivals
}

fn options(sync: SyncPolicy) -> Options {
    Options::builder()
        .segment_bytes(3 * PAGE_BYTES as u64)
        .compression(Compression::None)
        .sync(sync)
        .build()
        .unwrap()
}

/// Batch number `n`: a few records of which each tells batch, place and count.
///
/// The bytes are often zeros, which a lost sector cannot be told from.
fn batch(n: u32) -> Vec<Vec<u8>> {
    let n_records = 1 + n % 3;
    (0..n_records)
        .map(|i| {
            let len = match n % 7 {
                0 => 20_000,
                1 => 500,
                2 => 40_000,
                3 => PAGE_BYTES - 7,
                _ => 40,
            };
            let mut record = vec![200];
            for field in [n, i, n_records] {
                record.extend_from_slice(&field.to_be_bytes());
            }
            record.resize(len, if n.is_multiple_of(2) { 0 } else { 0xa5 });
            record
        })
        .collect()
}

/// Logs batches until something fails; how many were acknowledged, and how many were logged.
struct Outcome {
    acknowledged: u32,
    logged: u32,
}

fn work(wal: &Wal, from: u32, to: u32) -> Outcome {
    let mut outcome = Outcome { acknowledged: from, logged: from };
    for n in from..to {
        let batch = batch(n);
        let records: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        // An odd batch waits for the next one to be committed with it.
        let Ok(lsn) = wal.log(&records) else { return outcome };
        outcome.logged = n + 1;
        if n % 3 != 1 {
            if wal.commit(lsn).is_err() {
                return outcome;
            }
            outcome.acknowledged = n + 1;
        }
        if n % 11 == 10 {
            if wal.rotate().is_err() {
                return outcome;
            }
            outcome.acknowledged = n + 1;
            // It drops nothing, so what is read back stays the same. A failure leaves the log as
            // it was, and a stop is noticed by the next batch.
            let _ = wal.checkpoint(wal.current_segment() - 1, i64::MIN, |_| true);
        }
    }
    outcome
}

/// Opens the log, checks what is read back, and returns the number of batches.
fn replay(fs: &FaultFs, sync: SyncPolicy) -> Result<(Wal, u32), Error> {
    let (wal, mut recovery) = Wal::open(Arc::new(fs.clone()), dir(), options(sync))?;
    let mut n = 0;
    let mut place = 0;
    while let Some(record) = recovery.next_record()? {
        let expected = batch(n);
        assert_eq!(record.bytes, expected[place], "record {place} of batch {n}");
        place += 1;
        if place == expected.len() {
            (n, place) = (n + 1, 0);
        }
    }
    assert_eq!(place, 0, "half of batch {n} is visible");
    Ok((wal, n))
}

/// Everything that may be found after `outcome` is checked, then work goes on and is checked too.
fn check_recovery(crashed: &FaultFs, outcome: &Outcome, sync: SyncPolicy, context: &str) -> u32 {
    let (wal, n) = replay(crashed, sync).unwrap_or_else(|error| panic!("{context}: {error}"));
    if sync == SyncPolicy::Always {
        assert!(n >= outcome.acknowledged, "{context}: {n} of {}", outcome.acknowledged);
    }
    assert!(n <= outcome.logged, "{context}: {n} of {} logged", outcome.logged);
    drop(wal);
    let (wal, again) = replay(crashed, sync).unwrap();
    assert_eq!(again, n, "{context}: the second opening differs");
    assert_eq!(work(&wal, n, n + 4).logged, n + 4, "{context}");
    wal.sync().unwrap();
    drop(wal);
    // What goes on after a recovery is as safe as before it.
    let (wal, more) = replay(&crashed.crash(Survival::Nothing), sync)
        .unwrap_or_else(|error| panic!("{context}: going on: {error}"));
    assert_eq!(more, n + 4, "{context}");
    drop(wal);
    n
}

fn total_operations(sync: SyncPolicy, n_batches: u32) -> u64 {
    let fs = FaultFs::new();
    let (wal, _) = Wal::open(Arc::new(fs.clone()), dir(), options(sync)).unwrap();
    assert_eq!(work(&wal, 0, n_batches).logged, n_batches);
    wal.close().unwrap();
    fs.operations()
}

fn walk(sync: SyncPolicy) {
    const N_BATCHES: u32 = 18;
    let total = total_operations(sync, N_BATCHES);
    let mut n_cut = 0;
    for stop in 0..=total {
        for survival in survivals() {
            let fs = FaultFs::new();
            fs.inject(stop, Fault::Stop);
            let outcome = match Wal::open(Arc::new(fs.clone()), dir(), options(sync)) {
                Ok((wal, _)) => work(&wal, 0, N_BATCHES),
                Err(_) => Outcome { acknowledged: 0, logged: 0 },
            };
            let context = format!("{sync:?}, stop at {stop}, {survival:?}");
            let n = check_recovery(&fs.crash(survival), &outcome, sync, &context);
            n_cut += u32::from(n < outcome.logged);
        }
    }
    assert!(n_cut > 0, "no crash lost anything, so nothing was tested");
}

#[test]
fn acknowledged_batches_survive_with_every_commit_synced() {
    walk(SyncPolicy::Always);
}

#[test]
fn batches_are_a_prefix_without_syncs() {
    walk(SyncPolicy::Never);
}

#[test]
fn a_crash_during_recovery_loses_nothing_more() {
    const N_BATCHES: u32 = 9;
    let sync = SyncPolicy::Always;
    let total = total_operations(sync, N_BATCHES);
    for stop in (0..=total).step_by(2) {
        for seed in 0..3 {
            let fs = FaultFs::new();
            fs.inject(stop, Fault::Stop);
            let outcome = match Wal::open(Arc::new(fs.clone()), dir(), options(sync)) {
                Ok((wal, _)) => work(&wal, 0, N_BATCHES),
                Err(_) => Outcome { acknowledged: 0, logged: 0 },
            };
            let crashed = fs.crash(Survival::Scattered(seed));
            for second in 0..12 {
                let again = crashed.crash(Survival::Everything);
                again.inject(second, Fault::Stop);
                drop(replay(&again, sync));
                let context = format!("stop at {stop}, seed {seed}, then at {second}");
                let survival = Survival::Scattered(seed + 100);
                check_recovery(&again.crash(survival), &outcome, sync, &context);
            }
        }
    }
}
