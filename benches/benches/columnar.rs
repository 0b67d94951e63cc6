//! How fast are columnar chunks written and read, and how small are they?
//!
//! `cargo bench -p ferula-benches --bench columnar` reports samples per second, times and values
//! together; the size of each data set is printed once at the start. Chunks hold the 480 samples of
//! two hours, or as many as a chunk may.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferula_benches::Dataset;
use ferula_chunkenc::columnar::{ColumnarChunk, ColumnarEncoder, MAX_SAMPLES};
use ferula_chunkenc::{Chunk, SampleBatch, XorAppender};

/// Samples of two hours at 15 seconds, and of the longest chunk.
const LENGTHS: [usize; 2] = [480, MAX_SAMPLES];
/// Samples in all: enough chunks that branch predictors cannot learn them, few enough to stay in
/// the cache.
const N_SAMPLES: usize = 120_000;

struct Columns {
    times: Vec<i64>,
    values: Vec<f64>,
}

fn series(dataset: Dataset, length: usize) -> Vec<Columns> {
    (0..N_SAMPLES.div_ceil(length) as u64)
        .map(|i| {
            let samples = dataset.samples(i, length);
            let times = samples.iter().map(|sample| sample.timestamp).collect();
            Columns { times, values: samples.iter().map(|sample| sample.value).collect() }
        })
        .collect()
}

fn encode(encoder: &mut ColumnarEncoder, columns: &Columns, out: &mut Vec<u8>) {
    let Columns { times, values } = columns;
    encoder.encode(times, values, None, out).expect("data sets ascend");
}

fn encode_xor(columns: &Columns) -> Chunk {
    let mut appender = XorAppender::new();
    for (&time, &value) in columns.times.iter().zip(&columns.values) {
        appender.append(time, value).expect("data sets ascend");
    }
    appender.into_chunk()
}

fn columnar(criterion: &mut Criterion) {
    let mut encoder = ColumnarEncoder::new();
    for (dataset, length) in Dataset::ALL.into_iter().flat_map(|set| LENGTHS.map(|n| (set, n))) {
        let series = series(dataset, length);
        let n_samples = series.len() * length;
        let chunks: Vec<Vec<u8>> = series
            .iter()
            .map(|columns| {
                let mut data = Vec::new();
                encode(&mut encoder, columns, &mut data);
                data
            })
            .collect();
        let size: usize = chunks.iter().map(Vec::len).sum();
        let name = format!("{}/{length}", dataset.name());
        println!("columnar/{name}: {:.3} bytes/sample", size as f64 / n_samples as f64);

        let mut group = criterion.benchmark_group("columnar");
        group.throughput(Throughput::Elements(n_samples as u64));
        group.bench_function(BenchmarkId::new("encode", &name), |bencher| {
            let mut data = Vec::new();
            bencher.iter(|| {
                for columns in &series {
                    data.clear();
                    encode(&mut encoder, black_box(columns), &mut data);
                    black_box(&data);
                }
            });
        });
        let mut batch = SampleBatch::new();
        group.bench_function(BenchmarkId::new("decode", &name), |bencher| {
            bencher.iter(|| {
                for data in &chunks {
                    batch.clear();
                    let chunk = ColumnarChunk::parse(black_box(data)).expect("written before");
                    chunk.decode_into(&mut batch).expect("written a moment ago");
                    black_box(&batch);
                }
            });
        });
        let xor: Vec<Chunk> = series.iter().map(encode_xor).collect();
        group.bench_function(BenchmarkId::new("decode_xor", &name), |bencher| {
            bencher.iter(|| {
                for chunk in &xor {
                    batch.clear();
                    black_box(chunk).decode_into(&mut batch).expect("written a moment ago");
                    black_box(&batch);
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, columnar);
criterion_main!(benches);
