//! How fast does the head take samples by ref, the log included?
//!
//! `cargo bench -p ferula-benches --bench head`
//!
//! One thread and policy `Never`: the log is written but not synced. Each iteration is one batch of
//! one sample per series, as a scrape brings them, on series whose first chunks are full, so that
//! chunks are cut at the rate at which they fill up. Blocks are cut in between, off the clock.
//!
//! `wide` has a hundred times as many series, of which each batch has the next ten thousand: none of
//! what it needs is near when it comes by. Its chunks are not filled first.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferula_benches::{Dataset, STEP_MS};
use ferula_chunkenc::Sample;
use ferula_index::{Labels, SeriesRef};
use ferula_tsdb::{Compression, Db, Options, SyncPolicy};

/// Series of one batch.
const N_SERIES: usize = 10_000;

/// Series of a wide head.
const N_WIDE_SERIES: usize = 1_000_000;

/// Batches before the clock starts: more than one full chunk for every series.
const N_WARM_UP: usize = 250;

/// Samples that are made beforehand and repeated, with times that go on.
const N_SAMPLES: usize = 480;

struct Load {
    db: Db,
    refs: Vec<SeriesRef>,
    /// One column of samples per scrape of all series.
    columns: Vec<Vec<Sample>>,
    n_batches: usize,
}

impl Load {
    fn new(dir: &std::path::Path, n_series: usize, dataset: Dataset, log: Compression) -> Self {
        let options = Options::builder()
            .sync(SyncPolicy::Never)
            .maintenance_interval(None)
            .wal_compression(log)
            .build()
            .expect("valid options");
        let db = Db::open(dir, options).expect("an empty directory");
        let mut columns = vec![Vec::new(); N_SAMPLES];
        for series in 0..N_SERIES {
            let samples = dataset.samples(series as u64, N_SAMPLES);
            for (column, sample) in columns.iter_mut().zip(samples) {
                column.push(sample);
            }
        }
        let mut load = Self { db, refs: Vec::new(), columns, n_batches: 0 };
        for batch in 0..n_series / N_SERIES {
            load.create_series(batch);
        }
        load
    }

    fn warm_up(mut self, n_batches: usize) -> Self {
        for _ in 0..n_batches {
            self.commit_batch();
        }
        self
    }

    fn create_series(&mut self, number: usize) {
        let mut batch = self.db.appender();
        for (i, sample) in self.columns[0].iter().enumerate() {
            let series = number * N_SERIES + i;
            let labels = Labels::from_pairs([
                ("__name__", format!("metric_{}", series % 50)),
                ("instance", format!("host-{}", series / 50)),
                ("job", "bench".to_owned()),
            ]);
            let labels = labels.expect("a valid label set");
            let appended = batch.append(&labels, sample.timestamp, sample.value);
            self.refs.push(appended.expect("in order"));
        }
        batch.commit().expect("a log that works");
        self.n_batches += 1;
    }

    /// How often all series were scraped.
    fn n_scrapes(&self) -> usize {
        self.n_batches * N_SERIES / self.refs.len()
    }

    fn commit_batch(&mut self) {
        let n_scrapes = self.n_scrapes();
        let round = i64::try_from(n_scrapes / N_SAMPLES).expect("few rounds");
        let later = round * STEP_MS * i64::try_from(N_SAMPLES).expect("few samples");
        let start = self.n_batches * N_SERIES % self.refs.len();
        let mut batch = self.db.appender();
        let refs = &self.refs[start..start + N_SERIES];
        for (series, sample) in refs.iter().zip(&self.columns[n_scrapes % N_SAMPLES]) {
            let appended = batch.append_ref(*series, sample.timestamp + later, sample.value);
            appended.expect("in order");
        }
        black_box(batch.commit().expect("a log that works"));
        self.n_batches += 1;
    }

    fn run(&mut self, n_batches: u64) -> Duration {
        let mut taken = Duration::ZERO;
        for _ in 0..n_batches {
            let start = Instant::now();
            self.commit_batch();
            taken += start.elapsed();
            if (self.n_batches * N_SERIES).is_multiple_of(self.refs.len() * N_SAMPLES) {
                self.db.maintain().expect("a disk with room");
            }
        }
        taken
    }
}

fn append_by_ref(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append_by_ref");
    group.throughput(Throughput::Elements(N_SERIES as u64));
    let cases = [
        ("steady_counter", Dataset::SteadyCounter, Compression::Zstd),
        ("jittered_gauge", Dataset::JitteredGauge, Compression::Zstd),
        ("jittered_gauge, log not compressed", Dataset::JitteredGauge, Compression::None),
    ];
    for (name, dataset, compression) in cases {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let load = Load::new(dir.path(), N_SERIES, dataset, compression);
        let mut load = load.warm_up(N_WARM_UP);
        group.bench_function(name, |bencher| bencher.iter_custom(|n| load.run(n)));
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let load = Load::new(dir.path(), N_WIDE_SERIES, Dataset::JitteredGauge, Compression::Zstd);
    let mut load = load.warm_up(2 * N_WIDE_SERIES / N_SERIES);
    group.bench_function("jittered_gauge, wide", |bencher| bencher.iter_custom(|n| load.run(n)));
    group.finish();
}

criterion_group!(benches, append_by_ref);
criterion_main!(benches);
