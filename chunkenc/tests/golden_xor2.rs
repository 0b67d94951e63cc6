//! Chunks of encoding 4 written by Prometheus: the same samples give the same bytes, and the bytes
//! the samples.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::fs;
use std::path::Path;

use ferula_chunkenc::{Chunk, Encoding, Sample, SampleBatch, Xor2Appender};

const CASES: [&str; 21] = [
    "constant",
    "delta_of_delta_buckets",
    "delta_starts",
    "empty",
    "extreme_times",
    "first_stale",
    "jittered_gauge",
    "nan_payloads",
    "one_sample",
    "one_sample_started",
    "random_bits",
    "restarts",
    "second_starts",
    "start_buckets",
    "started_constant",
    "starts_127",
    "starts_late",
    "steady_counter",
    "two_samples",
    "two_samples_started",
    "windows",
];

/// A chunk and what is in it: start timestamps and samples.
fn golden(name: &str) -> (Chunk, Vec<(i64, Sample)>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/xor2/v1");
    let data = fs::read(dir.join(name).with_extension("chunk")).unwrap();
    let text = fs::read_to_string(dir.join(name).with_extension("samples")).unwrap();
    let samples = text.lines().map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        let bits = u64::from_str_radix(fields[2], 16).unwrap();
        let sample = Sample::new(fields[1].parse().unwrap(), f64::from_bits(bits));
        (fields[0].parse().unwrap(), sample)
    });
    (Chunk { encoding: Encoding::Xor2, data: data.into() }, samples.collect())
}

#[test]
fn the_same_samples_give_the_same_bytes() {
    for name in CASES {
        let (chunk, samples) = golden(name);
        let mut appender = Xor2Appender::new();
        for (start, sample) in samples {
            appender.append(start, sample.timestamp, sample.value).unwrap();
        }
        assert_eq!(appender.into_chunk(), chunk, "{name}");
    }
}

#[test]
fn the_bytes_give_the_samples() {
    for name in CASES {
        let (chunk, samples) = golden(name);
        assert_eq!(chunk.sample_count().map(usize::from), Ok(samples.len()), "{name}");
        let mut stepped = Vec::new();
        let mut iterator = chunk.iter().unwrap();
        while let Some(sample) = iterator.next().unwrap() {
            stepped.push((iterator.start_timestamp(), sample));
        }
        assert_eq!(stepped, samples, "{name}");
        let mut batch = SampleBatch::new();
        chunk.decode_into(&mut batch).unwrap();
        let starts = (0..batch.len()).map(|i| batch.start_timestamp(i));
        assert_eq!(starts.zip(batch.iter()).collect::<Vec<_>>(), samples, "{name}");
    }
}
