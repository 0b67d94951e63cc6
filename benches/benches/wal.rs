//! How fast are samples logged, and how fast are they read back?
//!
//! `append`: one batch of 1,000 samples is encoded, logged and handed to the operating system, which
//! is not made to sync (`SyncPolicy::Never`); by compression. `replay`: a log of a million samples in
//! such batches is read and decoded. One thread; a temporary directory of the system.
//!
//! Run with `cargo bench -p ferula-benches --bench wal`.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferula_index::SeriesRef;
use ferula_wal::fs::StdFs;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::{Record, samples};
use ferula_wal::{Compression, LogReader, Options, SyncPolicy, Wal};

const BATCH: u32 = 1_000;

const COMPRESSIONS: [(&str, Compression); 3] =
    [("none", Compression::None), ("snappy", Compression::Snappy), ("zstd", Compression::Zstd)];

fn open(dir: &Path, compression: Compression) -> Wal {
    let options = Options::builder().sync(SyncPolicy::Never).compression(compression).build();
    let (wal, _) =
        Wal::open(Arc::new(StdFs), dir, options.expect("valid options")).expect("a new log");
    wal
}

/// One scrape of 1,000 counters that grow at rates of their own.
fn batch(scrape: u32) -> impl Iterator<Item = RefSample> {
    let timestamp = 1_700_000_000_000 + i64::from(scrape) * 15_000;
    (0..BATCH).map(move |i| {
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
        samples::encode(batch(scrape), &mut record);
        wal.append(&[&record]).expect("the log takes it");
    }
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    for (name, compression) in COMPRESSIONS {
        let tmp = tempfile::tempdir().expect("a temporary directory");
        let wal = open(tmp.path(), compression);
        let mut record = Vec::new();
        let mut scrape = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                record.clear();
                samples::encode(batch(scrape), &mut record);
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
                    if let Record::Samples(mut samples) = record.decode().expect("a record") {
                        while let Some(sample) = samples.next().expect("a sample") {
                            sum += black_box(sample).value;
                        }
                    }
                }
                sum
            });
        });
    }
}

criterion_group!(benches, append, replay);
criterion_main!(benches);
