//! Chunks of aggregates: arbitrary bytes come apart or are refused, parts stay what they are.
#![no_main]

use ferula_chunkenc::{AggrChunk, Aggregate, Chunk, Encoding, SampleBatch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let chunk = Chunk { encoding: Encoding::Aggr, data: data.to_vec().into() };
    let _ = chunk.sample_count();
    let Ok(aggregates) = AggrChunk::from_chunk(&chunk) else { return };
    let written = aggregates.to_chunk();
    assert!(written.data.len() <= data.len());
    assert_eq!(AggrChunk::from_chunk(&written), Ok(aggregates.clone()));
    for part in Aggregate::ALL.into_iter().filter_map(|aggregate| aggregates.get(aggregate)) {
        let _ = part.decode_into(&mut SampleBatch::new());
    }
});
