//! How fast are chunks in Prometheus's encodings written and read, and how small are they?
//!
//! `cargo bench -p ferula-benches --bench chunkenc` reports samples per second; the size of each
//! data set is printed once at the start. Chunks hold 120 samples, as in Prometheus.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferula_benches::{Dataset, Random, START_MS, STEP_MS};
use ferula_chunkenc::histogram::{Histogram, Span};
use ferula_chunkenc::{
    Chunk, ChunkAppender, ChunkHistogram, ChunkHistograms, Sample, SampleBatch, Xor2Appender,
    XorAppender,
};

/// Enough chunks that branch predictors cannot learn them, few enough to stay in the cache.
const CHUNKS: u64 = 500;
const SAMPLES_PER_CHUNK: usize = 120;

/// Chunks of histograms are ten times as large.
const HISTOGRAM_CHUNKS: u64 = 50;

fn series(dataset: Dataset) -> Vec<Vec<Sample>> {
    (0..CHUNKS).map(|i| dataset.samples(i, SAMPLES_PER_CHUNK)).collect()
}

fn encode_xor(samples: &[Sample]) -> Chunk {
    let mut appender = XorAppender::new();
    for sample in samples {
        appender.append(sample.timestamp, sample.value).expect("data sets ascend");
    }
    appender.into_chunk()
}

/// Without start timestamps.
fn encode_xor2(samples: &[Sample]) -> Chunk {
    let mut appender = Xor2Appender::new();
    for sample in samples {
        appender.append(0, sample.timestamp, sample.value).expect("data sets ascend");
    }
    appender.into_chunk()
}

/// A sparse histogram of a counter: ten observations between scrapes, in 24 buckets of three spans.
fn histograms(series: u64) -> Vec<(i64, Histogram)> {
    let mut random = Random::new(series);
    let mut counts = [0_i64; 24];
    let mut histogram = Histogram {
        schema: 3,
        zero_threshold: 2_f64.powi(-128),
        positive_spans: vec![Span::new(-20, 6), Span::new(4, 12), Span::new(9, 6)],
        ..Histogram::default()
    };
    let mut timestamp = START_MS;
    let mut next = || {
        timestamp += STEP_MS;
        for _ in 0..10 {
            let [at, ..] = (random.below(24) * random.below(24) / 24).to_le_bytes();
            counts[usize::from(at)] += 1;
            histogram.count += 1;
            histogram.sum += random.below(1_000) as f64 / 1_000.0;
        }
        let before = [0].into_iter().chain(counts);
        histogram.positive_buckets =
            counts.iter().zip(before).map(|(count, before)| count - before).collect();
        (timestamp, histogram.clone())
    };
    (0..SAMPLES_PER_CHUNK).map(|_| next()).collect()
}

fn encode_histograms<H: ChunkHistogram>(samples: &[(i64, H)]) -> Chunk {
    let mut appender = ChunkAppender::new();
    for (timestamp, histogram) in samples {
        appender.append(*timestamp, histogram).expect("data sets ascend");
    }
    appender.into_chunk()
}

/// Measures how fast chunks are written, and read into columns.
fn append_and_decode<S>(
    criterion: &mut Criterion,
    name: &str,
    dataset: &str,
    series: &[Vec<S>],
    encode: impl Fn(&[S]) -> Chunk,
) -> Vec<Chunk> {
    let n_samples = (series.len() * SAMPLES_PER_CHUNK) as u64;
    let chunks: Vec<Chunk> = series.iter().map(|samples| encode(samples)).collect();
    let size: usize = chunks.iter().map(|chunk| chunk.data.len()).sum();
    println!("{name}/{dataset}: {:.3} bytes/sample", size as f64 / n_samples as f64);

    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(n_samples));
    group.bench_function(BenchmarkId::new("append", dataset), |bencher| {
        bencher.iter(|| {
            for samples in series {
                black_box(encode(black_box(samples)));
            }
        });
    });
    group.bench_function(BenchmarkId::new("decode", dataset), |bencher| {
        let mut batch = SampleBatch::new();
        bencher.iter(|| {
            for chunk in &chunks {
                batch.clear();
                chunk.decode_into(&mut batch).expect("written a moment ago");
                black_box(&batch);
            }
        });
    });
    group.finish();
    chunks
}

fn floats(criterion: &mut Criterion, name: &str, encode: impl Fn(&[Sample]) -> Chunk + Copy) {
    for dataset in Dataset::ALL {
        let series = series(dataset);
        let chunks = append_and_decode(criterion, name, dataset.name(), &series, encode);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(CHUNKS * SAMPLES_PER_CHUNK as u64));
        group.bench_function(BenchmarkId::new("step", dataset.name()), |bencher| {
            bencher.iter(|| {
                for chunk in &chunks {
                    let mut samples = chunk.iter().expect("written a moment ago");
                    while let Some(sample) = samples.next().expect("written a moment ago") {
                        black_box(sample);
                    }
                }
            });
        });
        group.finish();
    }
}

fn xor(criterion: &mut Criterion) {
    floats(criterion, "xor", encode_xor);
}

fn xor2(criterion: &mut Criterion) {
    floats(criterion, "xor2", encode_xor2);
}

fn histogram(criterion: &mut Criterion) {
    fn measure<H: ChunkHistogram>(criterion: &mut Criterion, name: &str, series: &[Vec<(i64, H)>]) {
        let encode = |samples: &[(i64, H)]| encode_histograms(samples);
        let chunks = append_and_decode(criterion, name, "sparse_histogram", series, encode);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(HISTOGRAM_CHUNKS * SAMPLES_PER_CHUNK as u64));
        group.bench_function(BenchmarkId::new("step", "sparse_histogram"), |bencher| {
            let mut histogram = H::default();
            bencher.iter(|| {
                for chunk in &chunks {
                    let mut histograms = ChunkHistograms::<H>::new(chunk.encoding, &chunk.data)
                        .expect("written a moment ago");
                    while histograms.next().expect("written a moment ago").is_some() {
                        histograms.copy_to(&mut histogram).expect("a valid layout");
                        black_box(&histogram);
                    }
                }
            });
        });
        group.finish();
    }
    let integers: Vec<_> = (0..HISTOGRAM_CHUNKS).map(histograms).collect();
    let to_float = |(t, histogram): &(i64, Histogram)| (*t, histogram.to_float());
    let floats: Vec<Vec<_>> =
        integers.iter().map(|samples| samples.iter().map(to_float).collect()).collect();
    measure(criterion, "histogram", &integers);
    measure(criterion, "float_histogram", &floats);
}

criterion_group!(benches, xor, xor2, histogram);
criterion_main!(benches);
