//! After a failed write or sync the log acknowledges nothing, says why, and goes on when it can: with
//! everything that was logged, once and in order. A crash on the way loses nothing acknowledged.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ferula_wal::fs::{Fault, FaultFs, Fs, Survival};
use ferula_wal::{Compression, Error, LogReader, Options, PAGE_BYTES, SyncPolicy, Wal};

const N_BATCHES: u32 = 14;

fn dir() -> &'static Path {
    Path::new("wal")
}

fn options(sync: SyncPolicy) -> Options {
    Options::builder()
        .segment_bytes(3 * PAGE_BYTES as u64)
        .compression(Compression::None)
        .sync(sync)
        .build()
        .unwrap()
}

fn open(fs: &FaultFs, sync: SyncPolicy) -> Result<Wal, Error> {
    Ok(Wal::open(Arc::new(fs.clone()), dir(), options(sync))?.0)
}

/// Batch number `n`: a few records of which each tells batch, place and count.
fn batch(n: u32) -> Vec<Vec<u8>> {
    let n_records = 1 + n % 3;
    let record = |i: u32| {
        let len = [20_000, 500, 40_000, PAGE_BYTES - 7, 40][n as usize % 5];
        let mut record = vec![200];
        [n, i, n_records].iter().for_each(|field| record.extend_from_slice(&field.to_be_bytes()));
        record.resize(len, if n.is_multiple_of(2) { 0 } else { 0xa5 });
        record
    };
    (0..n_records).map(record).collect()
}

/// Batches that were acknowledged, and batches that were logged.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    acknowledged: u32,
    logged: u32,
    n_refused: u32,
    is_closed: bool,
}

impl Outcome {
    /// Tries until it works, but not for ever.
    fn retry<T>(&mut self, mut step: impl FnMut() -> Result<T, Error>) -> Option<T> {
        for _ in 0..12 {
            match step() {
                Ok(done) => return Some(done),
                Err(Error::Stopped { .. }) => self.n_refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        None
    }
}

/// Logs batches, trying again whatever fails; stops where it fails for good.
fn work(wal: &Wal) -> Outcome {
    let mut outcome = Outcome::default();
    for n in 0..N_BATCHES {
        let batch = batch(n);
        let records: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        // Every fourth is logged whatever happens, once that was promised.
        let lsn = if n % 4 == 3 {
            let Some(reserved) = outcome.retry(|| wal.reserve()) else { return outcome };
            Some(reserved.log(&records).unwrap())
        } else {
            outcome.retry(|| wal.log(&records))
        };
        let Some(lsn) = lsn else { return outcome };
        outcome.logged = n + 1;
        // Some batches wait for the next one to be committed with it.
        if n % 3 != 1 {
            if outcome.retry(|| wal.commit(lsn)).is_none() {
                return outcome;
            }
            outcome.acknowledged = n + 1;
        }
        if n % 6 == 5 {
            if outcome.retry(|| wal.rotate()).is_none() {
                return outcome;
            }
            outcome.acknowledged = n + 1;
        }
    }
    outcome.is_closed = outcome.retry(|| wal.close()).is_some();
    outcome
}

/// Reads the log and returns the number of batches in it, which are in order and whole.
fn n_batches(fs: &FaultFs, context: &str) -> u32 {
    let opened = Wal::open(Arc::new(fs.clone()), dir(), options(SyncPolicy::Always));
    let (_wal, mut recovery) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
    let (mut n, mut place) = (0, 0);
    loop {
        let record = match recovery.next_record() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(error) => panic!("{context}: {error}"),
        };
        let expected = batch(n);
        assert!(record.bytes == expected[place], "{context}: record {place} of batch {n}");
        place += 1;
        if place == expected.len() {
            (n, place) = (n + 1, 0);
        }
    }
    assert_eq!(place, 0, "{context}: half of batch {n} is visible");
    n
}

fn total_operations(sync: SyncPolicy) -> u64 {
    let fs = FaultFs::new();
    let outcome = work(&open(&fs, sync).unwrap());
    assert!(outcome.is_closed && outcome.n_refused == 0);
    fs.operations()
}

/// Faults from an operation on, and how many in a row.
fn faults() -> impl Iterator<Item = (Fault, u64)> {
    [Fault::Io, Fault::NoSpace, Fault::Lost]
        .into_iter()
        .flat_map(|fault| [1, 2, 5].map(|n| (fault, n)))
}

fn inject(fs: &FaultFs, from: u64, (fault, n): (Fault, u64)) {
    (from..from + n).for_each(|operation| fs.inject(operation, fault));
}

#[test]
fn a_log_goes_on_after_failures_with_everything_that_was_logged() {
    for sync in [SyncPolicy::Always, SyncPolicy::Never] {
        let (mut n_resumed, mut n_given_up) = (0, 0);
        for operation in 0..total_operations(sync) {
            for faults in faults() {
                let context = format!("{sync:?}: {faults:?} at {operation}");
                let fs = FaultFs::new();
                let Ok(wal) = ({
                    inject(&fs, operation, faults);
                    open(&fs, sync)
                }) else {
                    continue;
                };
                let outcome = work(&wal);
                drop(wal);
                if outcome.is_closed {
                    n_resumed += u32::from(outcome.n_refused > 0);
                    // Everything is durable, and the file system is as after any shutdown.
                    let found = n_batches(&fs.crash(Survival::Nothing), &context);
                    assert_eq!(found, N_BATCHES, "{context}");
                } else {
                    // Without syncs there is nothing to read back what the kernel dropped.
                    assert_eq!((sync, faults.0), (SyncPolicy::Never, Fault::Lost), "{context}");
                    n_given_up += 1;
                }
            }
        }
        assert!(n_resumed > 100, "{n_resumed}");
        assert_eq!(n_given_up > 0, sync == SyncPolicy::Never);
    }
}

#[test]
fn a_crash_while_the_log_goes_on_loses_nothing_acknowledged() {
    let survivals =
        [Survival::Nothing, Survival::Prefix(1), Survival::Suffix(2), Survival::Scattered(3)];
    let faults = [(Fault::Io, 1), (Fault::NoSpace, 2), (Fault::Lost, 2)];
    let sync = SyncPolicy::Always;
    for operation in 0..total_operations(sync) {
        for faults in faults {
            for stop in 1..4 {
                let fs = FaultFs::new();
                inject(&fs, operation, faults);
                fs.inject(operation + faults.1 + stop - 1, Fault::Stop);
                let Ok(wal) = open(&fs, sync) else { continue };
                let outcome = work(&wal);
                drop(wal);
                for survival in survivals {
                    let context =
                        format!("{faults:?} at {operation}, stop {stop} later, {survival:?}");
                    let crashed = fs.crash(survival);
                    let n = n_batches(&crashed, &context);
                    let Outcome { acknowledged, logged, .. } = outcome;
                    assert!((acknowledged..=logged).contains(&n), "{context}: {n} {outcome:?}");
                    assert_eq!(n_batches(&crashed, &context), n, "{context}");
                }
            }
        }
    }
}

#[test]
fn a_stopped_log_says_why_and_refuses_until_there_is_space() {
    let fs = FaultFs::new();
    let wal = open(&fs, SyncPolicy::Always).unwrap();
    wal.append(&[b"first"]).unwrap();
    assert!(wal.failure().is_none());
    let full = fs.operations()..fs.operations() + 7;
    full.clone().for_each(|operation| fs.inject(operation, Fault::NoSpace));
    let in_doubt = wal.log(&[b"in doubt", b"with it"]).unwrap();
    let refusals = [
        wal.commit(in_doubt).unwrap_err(),
        wal.log(&[b"refused"]).unwrap_err(),
        wal.commit(in_doubt).unwrap_err(),
        wal.sync().unwrap_err(),
        wal.rotate().unwrap_err(),
        wal.try_resume().unwrap_err(),
        wal.close().unwrap_err(),
    ];
    assert_eq!(fs.operations(), full.end, "each of them tried");
    for error in refusals {
        assert!(error.is_storage_full(), "{error:?}");
        let Error::Stopped { cause } = error else { panic!("{error}") };
        assert_eq!(cause.to_string(), "cannot write wal/00000000");
    }
    assert!(wal.failure().is_some_and(|cause| cause.is_storage_full()));
    // What is in the log is read all the while, and what is in doubt is not half there.
    let mut reader = LogReader::open(Arc::new(fs.clone()), dir()).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().bytes, b"first");
    assert!(matches!(reader.next_record(), Err(Error::Damaged { .. })));

    wal.commit(in_doubt).unwrap();
    assert!(wal.failure().is_none());
    wal.append(&[b"last"]).unwrap();
    let mut reader = LogReader::open(Arc::new(fs.crash(Survival::Nothing)), dir()).unwrap();
    for expected in [&b"first"[..], b"in doubt", b"with it", b"last"] {
        assert_eq!(reader.next_record().unwrap().unwrap().bytes, expected);
    }
    assert_eq!(reader.next_record().unwrap(), None);
}

#[test]
fn a_reservation_holds_over_a_failure() {
    let segment = |fs: &FaultFs| fs.list(dir()).unwrap().len();
    // The log stops between the two, for a write; for a segment that has to be made; not at all.
    for n_faults in [0, 1, 3] {
        let fs = FaultFs::new();
        let wal = open(&fs, SyncPolicy::Always).unwrap();
        wal.append(&[&[1; 90_000]]).unwrap();
        let reserved = wal.reserve().unwrap();
        (0..n_faults).for_each(|i| fs.inject(fs.operations() + i, Fault::NoSpace));
        if n_faults == 1 {
            assert!(wal.append(&[b"refused"]).is_err());
        }
        // There is no room for this in the first segment.
        let lsn = reserved.log(&[&[2; 50_000]]).unwrap();
        assert_eq!(wal.failure().is_some(), n_faults > 0);
        if n_faults == 3 {
            assert!(wal.commit(lsn).unwrap_err().is_storage_full());
            assert!(wal.reserve().unwrap_err().is_storage_full());
        }
        wal.commit(lsn).unwrap();
        wal.close().unwrap();
        assert!(matches!(wal.reserve(), Err(Error::Closed)));
        assert_eq!(segment(&fs), if n_faults == 0 { 2 } else { 1 });
        let mut reader = LogReader::open(Arc::new(fs.crash(Survival::Nothing)), dir()).unwrap();
        assert_eq!(reader.next_record().unwrap().unwrap().bytes.len(), 90_000);
        let last = if n_faults == 1 { b"refused".to_vec() } else { vec![2; 50_000] };
        assert!(reader.next_record().unwrap().unwrap().bytes == last);
    }
}

#[test]
fn a_batch_is_taken_for_a_segment_that_cannot_be_made_yet() {
    let fs = FaultFs::new();
    let wal = open(&fs, SyncPolicy::Always).unwrap();
    wal.append(&[&[1; 90_000]]).unwrap();
    let reserved = [wal.reserve().unwrap(), wal.reserve().unwrap()];
    // Padding and a sync complete the segment, then the next one is to be made.
    (2..6).for_each(|i| fs.inject(fs.operations() + i, Fault::NoSpace));
    let [first, second] = reserved;
    first.log(&[&[2; 50_000]]).unwrap();
    let lsn = second.log(&[&[3; 50_000]]).unwrap();
    while wal.commit(lsn).is_err() {}
    assert_eq!(wal.current_segment(), 1);
    wal.close().unwrap();
    let mut reader = LogReader::open(Arc::new(fs.crash(Survival::Nothing)), dir()).unwrap();
    for (segment, byte) in [(0, 1), (1, 2), (1, 3)] {
        let record = reader.next_record().unwrap().unwrap();
        assert_eq!((record.segment, record.bytes[0]), (segment, byte));
    }
}

#[test]
fn threads_that_find_the_log_stopped_share_an_attempt() {
    let fs = FaultFs::new();
    let wal = open(&fs, SyncPolicy::Always).unwrap();
    let first = fs.operations();
    (first..first + 50).for_each(|operation| fs.inject(operation, Fault::Io));
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let wal = &wal;
            scope.spawn(move || {
                let lsn = loop {
                    match wal.log(&[&[1, thread]]) {
                        Ok(lsn) => break lsn,
                        Err(error) => assert!(matches!(error, Error::Stopped { .. })),
                    }
                };
                while let Err(error) = wal.commit(lsn) {
                    assert!(matches!(error, Error::Stopped { .. }), "{error}");
                }
            });
        }
    });
    let mut reader = LogReader::open(Arc::new(fs.crash(Survival::Nothing)), dir()).unwrap();
    let mut threads = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        threads.push(record.bytes[1]);
    }
    threads.sort_unstable();
    assert_eq!(threads, [0, 1, 2, 3]);
}

#[test]
fn the_thread_that_syncs_at_an_interval_goes_on_by_itself() {
    let fs = FaultFs::new();
    let wal = open(&fs, SyncPolicy::Interval(Duration::from_millis(1))).unwrap();
    let next = fs.operations();
    [1, 2, 3].iter().for_each(|later| fs.inject(next + later, Fault::Io));
    wal.log(&[b"record"]).unwrap();
    // Nobody but the thread writes: it finds that the sync fails, then the write, and goes on.
    while fs.operations() < next + 6 || wal.failure().is_some() {
        std::thread::yield_now();
    }
    let mut reader = LogReader::open(Arc::new(fs.crash(Survival::Nothing)), dir()).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().bytes, b"record");
}

#[test]
fn a_segment_that_cannot_be_made_does_not_keep_the_log_from_closing() {
    let fs = FaultFs::new();
    let wal = open(&fs, SyncPolicy::Always).unwrap();
    wal.append(&[b"record"]).unwrap();
    // Padding and a sync complete the segment, then the next one is made.
    let next = fs.operations() + 2;
    (next..next + 100).for_each(|operation| fs.inject(operation, Fault::NoSpace));
    assert!(wal.rotate().unwrap_err().is_storage_full());
    assert!(wal.append(&[b"refused"]).unwrap_err().is_storage_full());
    wal.close().unwrap();
    assert!(matches!(wal.try_resume(), Err(Error::Closed)));
    let names: Vec<String> = fs.list(dir()).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["00000000"]);
}
