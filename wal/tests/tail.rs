//! A tail returns what a log holds while it is written: each batch whole, once, and in order, across
//! segments, checkpoints, crashes and its own restarts.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ferula_wal::fs::{Fault, FaultFs, Fs, OpenMode, StdFs, Survival};
use ferula_wal::{
    Compression, DamageReason, Error, LogTail, Options, PAGE_BYTES, SyncPolicy, TailPosition,
    TailStart, Wal,
};

fn dir() -> &'static Path {
    Path::new("wal")
}

fn options(compression: Compression) -> Options {
    Options::builder()
        .segment_bytes(3 * PAGE_BYTES as u64)
        .compression(compression)
        .sync(SyncPolicy::Never)
        .build()
        .unwrap()
}

fn open(fs: &FaultFs) -> Wal {
    Wal::open(Arc::new(fs.clone()), dir(), options(Compression::None)).unwrap().0
}

fn tail(fs: &FaultFs, start: TailStart) -> Result<LogTail, Error> {
    LogTail::open(Arc::new(fs.clone()), dir(), start)
}

/// Batch number `n`: records of which each tells batch, place and count.
fn batch(n: u32) -> Vec<Vec<u8>> {
    let n_records = 1 + n % 3;
    let record = |i: u32| {
        let len = [13, 500, 40_000, PAGE_BYTES - 7, 40, 20][n as usize % 6];
        let mut record = vec![200];
        [n, i, n_records].iter().for_each(|field| record.extend_from_slice(&field.to_be_bytes()));
        record.resize(len, if n.is_multiple_of(2) { 0 } else { 0xa5 });
        record
    };
    (0..n_records).map(record).collect()
}

fn log(wal: &Wal, batches: std::ops::Range<u32>) {
    for n in batches {
        let batch = batch(n);
        let records: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        wal.append(&records).unwrap();
    }
}

/// What has been read: batches, in order.
#[derive(Debug, Default)]
struct Seen {
    n: u32,
    place: usize,
}

impl Seen {
    /// Reads until there is nothing yet; returns the number of whole batches so far.
    fn read(&mut self, tail: &mut LogTail) -> Result<u32, Error> {
        while let Some(record) = tail.next_record()? {
            let expected = batch(self.n);
            assert!(
                record.bytes == expected[self.place],
                "record {} of batch {}",
                self.place,
                self.n
            );
            self.place += 1;
            if self.place == expected.len() {
                (self.n, self.place) = (self.n + 1, 0);
            }
        }
        assert_eq!(self.place, 0, "half of batch {} was returned", self.n);
        Ok(self.n)
    }
}

#[test]
fn a_log_is_followed_while_a_thread_writes_it() {
    const N_BATCHES: u32 = 600;
    for compression in [Compression::None, Compression::Zstd] {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("wal");
        let (wal, _) = Wal::open(Arc::new(StdFs), &dir, options(compression)).unwrap();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                log(&wal, 0..N_BATCHES);
                is_done.store(true, Ordering::Release);
            });
            let mut tail = LogTail::open(Arc::new(StdFs), &dir, TailStart::Beginning).unwrap();
            let mut seen = Seen::default();
            loop {
                let was_done = is_done.load(Ordering::Acquire);
                if seen.read(&mut tail).unwrap() == N_BATCHES {
                    break;
                }
                assert!(!was_done, "{} batches are missing", N_BATCHES - seen.n);
                // Now and then another tail takes over.
                if seen.n % 7 == 3 {
                    let position = tail.position().unwrap();
                    tail = LogTail::open(Arc::new(StdFs), &dir, TailStart::At(position)).unwrap();
                }
            }
            let segment = tail.position().unwrap().segment;
            assert!(segment > 20 || compression != Compression::None, "{segment}");
        });
    }
}

#[test]
fn every_byte_that_is_missing_keeps_its_batch_back() {
    let fs = FaultFs::new();
    let wal = open(&fs);
    let mut ends = vec![0];
    for n in [0, 1, 4, 5, 3, 10] {
        let batch = batch(n);
        wal.append(&batch.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        ends.push(fs.metadata(&dir().join("00000000")).unwrap().len);
    }
    let bytes = fs.read(&dir().join("00000000")).unwrap();
    // Written by somebody else, in steps that end anywhere; zeros may be seen before the bytes.
    for (step, is_extended) in [(1, false), (7, true), (997, false), (5000, true)] {
        let other = FaultFs::new();
        other.create_dir_all(dir()).unwrap();
        let file = other.open(&dir().join("00000000"), OpenMode::CreateNew).unwrap();
        let mut tail = tail(&other, TailStart::Beginning).unwrap();
        let mut n_records = 0;
        let mut written = 0;
        while written < bytes.len() {
            // The long records take long, and nothing happens within them.
            let far = ends.iter().all(|&end| end.abs_diff(written as u64) > 100);
            let end = bytes.len().min(written + if far { step.max(61) } else { step });
            if is_extended {
                file.set_len((end + 9) as u64).unwrap();
            }
            file.write_at(&bytes[written..end], written as u64).unwrap();
            written = end;
            while tail.next_record().unwrap().is_some() {
                n_records += 1;
            }
            // Zeros that stand for what is not written may be what will be written.
            let zeros = if is_extended { &bytes[written..bytes.len().min(end + 9)] } else { &[] };
            let n_right = zeros.iter().take_while(|&&byte| byte == 0).count();
            let whole = ends.iter().rposition(|&end| end <= (written + n_right) as u64).unwrap();
            let expected: usize = [1, 2, 2, 3, 1, 2][..whole].iter().sum();
            assert_eq!(n_records, expected, "{written} bytes in steps of {step}");
            assert_eq!(tail.position().unwrap(), TailPosition { segment: 0, offset: ends[whole] });
        }
        assert_eq!(n_records, 11);
    }
}

#[test]
fn a_tail_goes_on_at_every_position_of_another() {
    let fs = FaultFs::new();
    let wal = open(&fs);
    log(&wal, 0..12);
    let mut first = tail(&fs, TailStart::Beginning).unwrap();
    let mut positions = vec![(first.position().unwrap(), Seen::default())];
    let mut seen = Seen::default();
    while first.next_record().unwrap().is_some() {
        seen.place += 1;
        if seen.place == batch(seen.n).len() {
            seen = Seen { n: seen.n + 1, place: 0 };
        }
        // In the middle of a batch a later tail begins with all of it.
        positions.push((first.position().unwrap(), Seen { n: seen.n, place: 0 }));
    }
    assert_eq!(positions.len(), 1 + 24);
    for (position, mut seen) in positions {
        let mut later = tail(&fs, TailStart::At(position)).unwrap();
        assert_eq!(seen.read(&mut later).unwrap(), 12);
    }
    let mut end = tail(&fs, TailStart::End).unwrap();
    assert_eq!(end.next_record().unwrap(), None);
    log(&wal, 12..15);
    assert_eq!(Seen { n: 12, place: 0 }.read(&mut end).unwrap(), 15);
}

#[test]
fn a_log_that_does_not_exist_yet_is_waited_for() {
    let fs = FaultFs::new();
    fs.create_dir_all(dir()).unwrap();
    for start in [TailStart::Beginning, TailStart::End] {
        let mut tail = tail(&fs, start).unwrap();
        assert_eq!(tail.next_record().unwrap(), None);
        assert_eq!(tail.position(), Some(TailPosition { segment: 0, offset: 0 }));
    }
    let mut tail = tail(&fs, TailStart::Beginning).unwrap();
    log(&open(&fs), 0..3);
    assert_eq!(Seen::default().read(&mut tail).unwrap(), 3);
}

#[test]
fn a_checkpoint_comes_first_and_then_what_follows() {
    let fs = FaultFs::new();
    let wal = open(&fs);
    let mut early = tail(&fs, TailStart::Beginning).unwrap();
    let mut seen = Seen::default();
    log(&wal, 0..10);
    seen.read(&mut early).unwrap();
    let from = wal.rotate().unwrap();
    wal.checkpoint(from - 1, i64::MIN, |_| true).unwrap();
    log(&wal, 10..13);
    // One that had come to the end misses nothing.
    assert_eq!(seen.read(&mut early).unwrap(), 13);
    let mut late = tail(&fs, TailStart::Beginning).unwrap();
    assert_eq!(late.position(), None);
    assert!(late.next_record().unwrap().unwrap().is_checkpoint);
    let mut late = tail(&fs, TailStart::Beginning).unwrap();
    assert_eq!(Seen::default().read(&mut late).unwrap(), 13);
    assert_eq!(late.position(), early.position());
}

#[test]
fn a_tail_that_is_too_slow_is_told_so() {
    let fs = FaultFs::new();
    let wal = open(&fs);
    log(&wal, 0..20);
    let mut slow = tail(&fs, TailStart::Beginning).unwrap();
    slow.next_record().unwrap().unwrap();
    let position = slow.position().unwrap();
    let current = wal.current_segment();
    assert!(current > 2);
    wal.truncate_before(current).unwrap();
    // What it has open is read to its end.
    let missing = loop {
        match slow.next_record() {
            Ok(Some(record)) => assert_eq!(record.segment, 0),
            Ok(None) => panic!("not at the end"),
            Err(error) => break error,
        }
    };
    let Error::MissingSegment { missing: 1, next, .. } = missing else { panic!("{missing}") };
    assert_eq!(next, current);
    let again = slow.next_record();
    assert!(matches!(again, Err(Error::MissingSegment { missing: 1, .. })));
    let gone = tail(&fs, TailStart::At(position));
    assert!(matches!(gone, Err(Error::MissingSegment { missing: 0, .. })));
    tail(&fs, TailStart::Beginning).unwrap().next_record().unwrap().unwrap();
}

#[test]
fn what_a_crash_took_is_reported_and_what_it_left_is_followed() {
    let fs = FaultFs::new();
    let wal = open(&fs);
    log(&wal, 0..1);
    wal.sync().unwrap();
    let mut before = tail(&fs, TailStart::Beginning).unwrap();
    Seen::default().read(&mut before).unwrap();
    let durable = before.position().unwrap();
    log(&wal, 1..2);
    let mut ahead = tail(&fs, TailStart::Beginning).unwrap();
    assert_eq!(Seen::default().read(&mut ahead).unwrap(), 2);
    let lost = ahead.position().unwrap();
    let crashed = fs.crash(Survival::Nothing);
    let error = tail(&crashed, TailStart::At(lost)).unwrap_err();
    let Error::PositionLost { offset, len, .. } = error else { panic!("{error}") };
    assert_eq!((offset, len), (lost.offset, durable.offset));
    // From what was durable on it is the log that is recovered.
    let mut after = tail(&crashed, TailStart::At(durable)).unwrap();
    assert_eq!(after.next_record().unwrap(), None);
    log(&open(&crashed), 1..4);
    assert_eq!(Seen { n: 1, place: 0 }.read(&mut after).unwrap(), 4);
}

#[test]
fn a_torn_write_is_waited_for_until_the_log_goes_on_or_is_recovered() {
    let fs = FaultFs::new();
    let wal = open(&fs);
    let mut tail = tail(&fs, TailStart::Beginning).unwrap();
    let mut seen = Seen::default();
    log(&wal, 0..4);
    assert_eq!(seen.read(&mut tail).unwrap(), 4);
    // Half of a batch, for lack of space; then all of it.
    fs.inject(fs.operations(), Fault::NoSpace);
    let torn = batch(4);
    let lsn = wal.log(&torn.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    assert!(wal.commit(lsn).unwrap_err().is_storage_full());
    assert_eq!(seen.read(&mut tail).unwrap(), 4);
    wal.commit(lsn).unwrap();
    assert_eq!(seen.read(&mut tail).unwrap(), 5);
    // Half of one whose writer ends; the next one cuts it off.
    fs.inject(fs.operations(), Fault::NoSpace);
    assert!(wal.append(&[&[7; 300]]).is_err());
    drop(wal);
    assert_eq!(seen.read(&mut tail).unwrap(), 5);
    log(&open(&fs), 5..9);
    assert_eq!(seen.read(&mut tail).unwrap(), 9);
}

#[test]
fn damage_before_a_later_segment_is_refused() {
    let fs = FaultFs::new();
    let wal = open(&fs);
    log(&wal, 0..2);
    wal.rotate().unwrap();
    let path: PathBuf = dir().join("00000000");
    fs.open(&path, OpenMode::Write).unwrap().write_at(b"x", 30).unwrap();
    let mut tail = tail(&fs, TailStart::Beginning).unwrap();
    tail.next_record().unwrap().unwrap();
    // Nothing is in the later segment: its writer may be about to repair the one before.
    assert_eq!(tail.next_record().unwrap(), None);
    log(&wal, 2..3);
    for _ in 0..2 {
        let error = tail.next_record().unwrap_err();
        let Error::Damaged { file, reason, .. } = error else { panic!("{error}") };
        assert_eq!((&file, matches!(reason, DamageReason::Checksum { .. })), (&path, true));
    }
}

#[test]
fn a_record_that_does_not_decompress_is_refused_at_once() {
    let fs = FaultFs::new();
    let wal = open(&fs);
    // One that pretends to be compressed: bit 4 of its header is not under the checksum.
    wal.append(&[&[200; 40]]).unwrap();
    fs.open(&dir().join("00000000"), OpenMode::Write).unwrap().write_at(&[0x11], 0).unwrap();
    let mut tail = tail(&fs, TailStart::Beginning).unwrap();
    for _ in 0..2 {
        let error = tail.next_record().unwrap_err();
        assert!(
            matches!(error, Error::Damaged { offset: 0, reason: DamageReason::Compression, .. }),
            "{error}"
        );
    }
}
