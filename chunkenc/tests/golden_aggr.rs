//! Chunks of aggregates written by Thanos: read, and written again to the same bytes.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::fs;
use std::path::Path;

use bytes::Bytes;
use ferula_chunkenc::{AggrChunk, Aggregate, Chunk, Encoding, Error, SampleBatch};

const CASES: [&str; 5] = ["all", "gauge", "histogram", "none", "only_counter"];

fn file(name: &str) -> Option<Bytes> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/aggr/v1");
    fs::read(dir.join(name)).ok().map(Bytes::from)
}

fn golden(name: &str) -> Chunk {
    Chunk { encoding: Encoding::Aggr, data: file(&format!("{name}.chunk")).unwrap() }
}

#[test]
fn the_parts_are_those_that_thanos_finds() {
    for name in CASES {
        let chunk = golden(name);
        let aggregates = AggrChunk::from_chunk(&chunk).unwrap();
        for aggregate in Aggregate::ALL {
            let expected = file(&format!("{name}.{aggregate}")).map(|part| Chunk {
                encoding: Encoding::from_byte(part[0]).unwrap(),
                data: part.slice(1..),
            });
            assert_eq!(aggregates.get(aggregate), expected.as_ref(), "{name} {aggregate}");
            if let Some(part) = expected {
                let mut batch = SampleBatch::new();
                part.decode_into(&mut batch).unwrap();
                assert_eq!(Ok(batch.len()), part.sample_count().map(usize::from));
            }
        }
        let count = aggregates.get(Aggregate::Count).map_or(0, |part| part.sample_count().unwrap());
        assert_eq!(chunk.sample_count(), Ok(count), "{name}");
        let last = match name {
            "none" => None,
            "only_counter" => Some(1),
            "all" => Some(100),
            _ => Some(99),
        };
        let range = last.map(|last| (1_700_000_000_000, 1_700_000_000_000 + last * 300_000));
        assert_eq!(chunk.time_range(), Ok(range), "{name}");
        assert_eq!(aggregates.to_chunk(), chunk, "{name}");
    }
}

#[test]
fn a_cut_tail_is_an_error() {
    for name in CASES {
        let chunk = golden(name);
        for len in 0..chunk.data.len() {
            let cut = Chunk { encoding: Encoding::Aggr, data: chunk.data.slice(..len) };
            let found = AggrChunk::from_chunk(&cut);
            assert!(matches!(found, Err(Error::Truncated { .. })), "{name} cut to {len} bytes");
        }
    }
}

#[test]
fn parts_are_chunks_of_samples() {
    for found in [0, 7, 255] {
        let data = Bytes::from(vec![1, found, 0, 0, 0, 0, 0]);
        let chunk = Chunk { encoding: Encoding::Aggr, data };
        assert_eq!(AggrChunk::from_chunk(&chunk), Err(Error::UnknownEncoding { found }));
    }
    let chunk = golden("all");
    let wrong = |wanted, found| Error::WrongEncoding { wanted, found };
    let mut batch = SampleBatch::new();
    assert_eq!(chunk.decode_into(&mut batch), Err(wrong(Encoding::Xor, Encoding::Aggr)));
    let aggregates = AggrChunk::from_chunk(&chunk).unwrap();
    let sums = aggregates.get(Aggregate::Sum).unwrap();
    assert_eq!(AggrChunk::from_chunk(sums), Err(wrong(Encoding::Aggr, Encoding::Xor)));
}
