//! How fast are float chunks written and read, and how small are they?
//!
//! `cargo bench -p ferula-benches --bench chunkenc` reports samples per second; the size of each
//! data set is printed once at the start. Chunks hold 120 samples, as in Prometheus.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferula_benches::Dataset;
use ferula_chunkenc::{Chunk, Sample, SampleBatch, XorAppender};

/// Enough chunks that branch predictors cannot learn them, few enough to stay in the cache.
const CHUNKS: u64 = 500;
const SAMPLES_PER_CHUNK: usize = 120;

fn series(dataset: Dataset) -> Vec<Vec<Sample>> {
    (0..CHUNKS).map(|i| dataset.samples(i, SAMPLES_PER_CHUNK)).collect()
}

fn encode(samples: &[Sample]) -> Chunk {
    let mut appender = XorAppender::new();
    for sample in samples {
        appender.append(sample.timestamp, sample.value).expect("data sets ascend");
    }
    appender.into_chunk()
}

fn xor(criterion: &mut Criterion) {
    let n_samples = CHUNKS * SAMPLES_PER_CHUNK as u64;
    for dataset in Dataset::ALL {
        let series = series(dataset);
        let chunks: Vec<Chunk> = series.iter().map(|samples| encode(samples)).collect();
        let size: usize = chunks.iter().map(|chunk| chunk.data.len()).sum();
        println!("xor/{}: {:.3} bytes/sample", dataset.name(), size as f64 / n_samples as f64);

        let mut group = criterion.benchmark_group("xor");
        group.throughput(Throughput::Elements(n_samples));
        group.bench_function(BenchmarkId::new("append", dataset.name()), |bencher| {
            bencher.iter(|| {
                for samples in &series {
                    black_box(encode(black_box(samples)));
                }
            });
        });
        group.bench_function(BenchmarkId::new("decode", dataset.name()), |bencher| {
            let mut batch = SampleBatch::new();
            bencher.iter(|| {
                for chunk in &chunks {
                    batch.clear();
                    chunk.decode_into(&mut batch).expect("written a moment ago");
                    black_box(&batch);
                }
            });
        });
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

criterion_group!(benches, xor);
criterion_main!(benches);
