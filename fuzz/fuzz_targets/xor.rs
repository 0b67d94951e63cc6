//! XOR chunks: arbitrary bytes decode or fail, samples survive.
#![no_main]

use ferula_chunkenc::{Chunk, Encoding, Error, Sample, SampleBatch, XorAppender};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    decode_anything(data);
    encode_anything(data);
});

fn step_through(chunk: &Chunk) -> Result<Vec<Sample>, Error> {
    let mut iterator = chunk.iter()?;
    let mut samples = Vec::new();
    while let Some(sample) = iterator.next()? {
        samples.push(sample);
    }
    Ok(samples)
}

fn decode_anything(data: &[u8]) {
    let chunk = Chunk { encoding: Encoding::Xor, data: data.to_vec().into() };
    let mut batch = SampleBatch::new();
    let at_once = chunk.decode_into(&mut batch);
    let stepped = step_through(&chunk);
    assert_eq!(at_once.is_ok(), stepped.is_ok());
    let Ok(samples) = stepped else {
        assert!(batch.is_empty());
        return;
    };
    assert!(batch.iter().eq(samples.iter().copied()));

    // What was read can be continued, whoever wrote it.
    let mut appender = XorAppender::resume(data.to_vec()).expect("it was read a moment ago");
    assert_eq!(appender.last(), samples.last().copied());
    let next = appender.last().map_or(0, |last| last.timestamp.saturating_add(1));
    if appender.append(next, 1.5).is_ok() {
        let continued = step_through(&appender.to_chunk()).expect("written a moment ago");
        assert_eq!(continued[..samples.len()], samples);
        assert_eq!(continued.last(), Some(&Sample::new(next, 1.5)));
    }
}

fn encode_anything(data: &[u8]) {
    let mut appender = XorAppender::new();
    let mut samples = Vec::new();
    let mut timestamp = -1_i64;
    let mut bits = 0_u64;
    for item in data.chunks_exact(4) {
        // Short inputs must reach both small and large differences.
        let delta = i64::from(item[0]) << (item[1] & 63);
        bits ^= u64::from(item[2]) << (item[3] & 63);
        timestamp = timestamp.wrapping_add(delta);
        let sample = Sample::new(timestamp, f64::from_bits(bits));
        if appender.append(sample.timestamp, sample.value).is_ok() {
            samples.push(sample);
        }
        timestamp = samples.last().map_or(timestamp, |last: &Sample| last.timestamp);
    }
    assert_eq!(step_through(&appender.into_chunk()).expect("written a moment ago"), samples);
}
