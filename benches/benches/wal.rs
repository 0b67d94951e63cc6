//! How fast are samples logged, and how fast are they read back?
//!
//! `append`: one batch of 1,000 or 2,000 samples is encoded, logged and handed to the operating system,
//! which is not made to sync (`SyncPolicy::Never`); by compression. `replay`: a log of a million samples
//! in batches of 1,000 is read and decoded, by one thread, or read by one and decompressed and decoded by
//! another (`ahead`); `read` is what the first of those two does. A temporary directory of the system.
//!
//! Run with `cargo bench -p ferula-benches --bench wal`.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferula_index::SeriesRef;
use ferula_wal::fs::StdFs;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::{Record, samples};
use ferula_wal::{Compression, LogReader, Options, PackedRecord, SyncPolicy, Unpacker, Wal};

const BATCH: u32 = 1_000;

const COMPRESSIONS: [(&str, Compression); 3] =
    [("none", Compression::None), ("snappy", Compression::Snappy), ("zstd", Compression::Zstd)];

fn open(dir: &Path, compression: Compression) -> Wal {
    let options = Options::builder().sync(SyncPolicy::Never).compression(compression).build();
    let (wal, _) =
        Wal::open(Arc::new(StdFs), dir, options.expect("valid options")).expect("a new log");
    wal
}

/// One scrape of counters that grow at rates of their own.
fn batch(scrape: u32, n_series: u32) -> impl Iterator<Item = RefSample> {
    let timestamp = 1_700_000_000_000 + i64::from(scrape) * 15_000;
    (0..n_series).map(move |i| {
        let rate = i.wrapping_mul(2_654_435_761) >> 20;
        let value = f64::from(rate) * f64::from(scrape);
        RefSample { series: SeriesRef(u64::from(i) + 1), timestamp, value }
    })
}

/// Logs scrapes.
fn log_scrapes(wal: &Wal, n_scrapes: u32) {
    let mut record = Vec::new();
    for scrape in 0..n_scrapes {
        record.clear();
        samples::encode(batch(scrape, BATCH), &mut record);
        wal.append(&[&record]).expect("the log takes it");
    }
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    for n_series in [BATCH, 2 * BATCH] {
        group.throughput(Throughput::Elements(u64::from(n_series)));
        for (name, compression) in COMPRESSIONS {
            let tmp = tempfile::tempdir().expect("a temporary directory");
            let wal = open(tmp.path(), compression);
            let mut record = Vec::new();
            let mut scrape = 0;
            group.bench_function(BenchmarkId::new(name, n_series), |bencher| {
                bencher.iter(|| {
                    record.clear();
                    samples::encode(batch(scrape, n_series), &mut record);
                    scrape += 1;
                    let lsn = wal.append(&[&record]).expect("the log takes it");
                    // Keeps the disk from filling up, a segment at a time.
                    if scrape % 10_000 == 0 {
                        wal.truncate_before(wal.current_segment()).expect("old segments go");
                    }
                    lsn
                });
            });
        }
    }
}

/// Adds up the samples of a record, so that they are decoded.
fn sum_of(record: &[u8]) -> f64 {
    let mut sum = 0.0;
    if let Record::Samples(mut samples) = Record::decode(record).expect("a record") {
        while let Some(sample) = samples.next().expect("a sample") {
            sum += black_box(sample).value;
        }
    }
    sum
}

/// Reads a log here, and decompresses and decodes it on another thread.
fn sum_ahead(dir: &Path) -> f64 {
    let (sender, receiver) = sync_channel::<PackedRecord>(64);
    let (spare_sender, spare_receiver) = sync_channel::<PackedRecord>(64);
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let mut unpacker = Unpacker::default();
            let mut sum = 0.0;
            for packed in receiver {
                sum += sum_of(packed.unpack(&mut unpacker).expect("the log is whole").bytes);
                // The reader may be done.
                let _ = spare_sender.try_send(packed);
            }
            sum
        });
        let mut reader = LogReader::open(Arc::new(StdFs), dir).expect("the log opens");
        let mut packed = PackedRecord::default();
        while reader.next_packed(&mut packed).expect("the log is whole") {
            let spare = spare_receiver.try_recv().unwrap_or_default();
            sender.send(std::mem::replace(&mut packed, spare)).expect("the worker is there");
        }
        drop(sender);
        worker.join().expect("the worker does not panic")
    })
}

fn replay(criterion: &mut Criterion) {
    const SCRAPES: u32 = 1_000;
    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Elements(u64::from(SCRAPES * BATCH)));
    group.sample_size(10);
    for (name, compression) in COMPRESSIONS {
        let tmp = tempfile::tempdir().expect("a temporary directory");
        let wal = open(tmp.path(), compression);
        log_scrapes(&wal, SCRAPES);
        wal.close().expect("the log closes");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut reader =
                    LogReader::open(Arc::new(StdFs), tmp.path()).expect("the log opens");
                let mut sum = 0.0;
                while let Some(record) = reader.next_record().expect("the log is whole") {
                    sum += sum_of(record.bytes);
                }
                sum
            });
        });
        group.bench_function(BenchmarkId::new(name, "ahead"), |bencher| {
            bencher.iter(|| sum_ahead(tmp.path()));
        });
        group.bench_function(BenchmarkId::new(name, "read"), |bencher| {
            bencher.iter(|| {
                let mut reader =
                    LogReader::open(Arc::new(StdFs), tmp.path()).expect("the log opens");
                let mut packed = PackedRecord::default();
                let mut n_bytes = 0;
                while reader.next_packed(&mut packed).expect("the log is whole") {
                    n_bytes += packed.packed_bytes();
                }
                n_bytes
            });
        });
    }
}

criterion_group!(benches, append, replay);
criterion_main!(benches);
