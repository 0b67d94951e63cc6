//! Chunks written by Prometheus: the same samples give the same bytes, and the bytes the samples.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ferula_chunkenc::{Chunk, Encoding, Error, Sample, SampleBatch, XorAppender};

const CASES: [&str; 13] = [
    "constant",
    "delta_of_delta_buckets",
    "empty",
    "extreme_times",
    "full",
    "jittered_gauge",
    "nan_payloads",
    "one_negative_time",
    "one_sample",
    "random_bits",
    "steady_counter",
    "two_samples",
    "windows",
];

fn golden(name: &str) -> (Chunk, Vec<Sample>) {
    let path = |extension: &str| -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data/xor/v1")
            .join(name)
            .with_extension(extension)
    };
    let data = Bytes::from(fs::read(path("chunk")).unwrap());
    let samples = if name == "full" {
        (0..65_535)
            .map(|i| Sample::new(1_700_000_000_000 + i, (i as f64 / 1000.0).floor()))
            .collect()
    } else {
        let text = fs::read_to_string(path("samples")).unwrap();
        text.lines().map(parse_sample).collect()
    };
    (Chunk { encoding: Encoding::Xor, data }, samples)
}

fn parse_sample(line: &str) -> Sample {
    let (timestamp, bits) = line.split_once(' ').unwrap();
    let bits = u64::from_str_radix(bits, 16).unwrap();
    Sample::new(timestamp.parse().unwrap(), f64::from_bits(bits))
}

fn step_through(chunk: &Chunk) -> Result<Vec<Sample>, Error> {
    let mut iterator = chunk.iter()?;
    let mut samples = Vec::new();
    while let Some(sample) = iterator.next()? {
        samples.push(sample);
    }
    Ok(samples)
}

fn decode(chunk: &Chunk) -> Result<Vec<Sample>, Error> {
    let mut batch = SampleBatch::new();
    chunk.decode_into(&mut batch)?;
    Ok(batch.iter().collect())
}

#[test]
fn the_same_samples_give_the_same_bytes() {
    for name in CASES {
        let (chunk, samples) = golden(name);
        let mut appender = XorAppender::new();
        for sample in samples {
            appender.append(sample.timestamp, sample.value).unwrap();
        }
        assert_eq!(appender.into_chunk(), chunk, "{name}");
    }
}

#[test]
fn the_bytes_give_the_samples() {
    for name in CASES {
        let (chunk, samples) = golden(name);
        assert_eq!(chunk.sample_count().map(usize::from), Ok(samples.len()), "{name}");
        assert_eq!(step_through(&chunk), Ok(samples.clone()), "{name}");
        assert_eq!(decode(&chunk), Ok(samples), "{name}");
    }
}

#[test]
fn seek_finds_the_first_sample_at_or_after() {
    let (chunk, samples) = golden("jittered_gauge");
    for (i, sample) in samples.iter().enumerate() {
        for (timestamp, expected) in
            [(sample.timestamp, Some(*sample)), (sample.timestamp + 1, samples.get(i + 1).copied())]
        {
            assert_eq!(chunk.iter().unwrap().seek(timestamp), Ok(expected));
        }
    }
    let mut iterator = chunk.iter().unwrap();
    assert_eq!(iterator.seek(samples[5].timestamp), Ok(Some(samples[5])));
    assert_eq!(iterator.seek(samples[5].timestamp), Ok(Some(samples[5])));
    assert_eq!(iterator.seek(i64::MIN), Ok(Some(samples[5])), "seeking never goes back");
    let mut rest = SampleBatch::new();
    iterator.decode_into(&mut rest).unwrap();
    assert_eq!(rest.iter().collect::<Vec<_>>(), samples[6..]);
}

#[test]
fn seek_past_the_end_returns_none() {
    let (chunk, _) = golden("constant");
    let mut iterator = chunk.iter().unwrap();
    assert_eq!(iterator.seek(i64::MAX), Ok(None));
    assert_eq!(iterator.next(), Ok(None));
}

#[test]
fn a_cut_tail_is_an_error() {
    for name in CASES.into_iter().filter(|name| !["empty", "full"].contains(name)) {
        let (chunk, _) = golden(name);
        for len in 0..chunk.data.len() {
            let cut = Chunk { encoding: Encoding::Xor, data: chunk.data.slice(..len) };
            assert!(step_through(&cut).is_err(), "{name} cut to {len} bytes");
            assert!(decode(&cut).is_err(), "{name} cut to {len} bytes");
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    for name in CASES.into_iter().filter(|name| *name != "full") {
        let (chunk, _) = golden(name);
        for bit in 0..chunk.data.len() * 8 {
            let mut data = chunk.data.to_vec();
            data[bit / 8] ^= 0x80 >> (bit % 8);
            let flipped = Chunk { encoding: Encoding::Xor, data: data.into() };
            if let Ok(decoded) = decode(&flipped) {
                assert_eq!(step_through(&flipped), Ok(decoded), "{name}, bit {bit}");
            }
        }
    }
}

#[test]
fn unknown_encodings_are_refused() {
    assert_eq!(Encoding::from_byte(Encoding::Xor.to_byte()), Ok(Encoding::Xor));
    for byte in [0, 7, 254] {
        assert_eq!(Encoding::from_byte(byte), Err(Error::UnknownEncoding { found: byte }));
    }
}
