//! XOR2 chunks: arbitrary bytes decode or fail, samples and their start timestamps survive.
#![no_main]

use ferula_chunkenc::{Chunk, Encoding, Error, Sample, SampleBatch, Xor2Appender};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    decode_anything(data);
    encode_anything(data);
});

/// Start timestamps and samples.
fn step_through(chunk: &Chunk) -> Result<Vec<(i64, Sample)>, Error> {
    let mut iterator = chunk.iter()?;
    let mut samples = Vec::new();
    while let Some(sample) = iterator.next()? {
        samples.push((iterator.start_timestamp(), sample));
    }
    Ok(samples)
}

fn decode_anything(data: &[u8]) {
    let chunk = Chunk { encoding: Encoding::Xor2, data: data.to_vec().into() };
    let mut batch = SampleBatch::new();
    let at_once = chunk.decode_into(&mut batch);
    let stepped = step_through(&chunk);
    assert_eq!(at_once.is_ok(), stepped.is_ok());
    let Ok(samples) = stepped else {
        assert!(batch.is_empty() && !batch.has_start_timestamps());
        return;
    };
    let starts = (0..batch.len()).map(|i| batch.start_timestamp(i));
    assert!(starts.zip(batch.iter()).eq(samples.iter().copied()));

    // What was read can be continued, whoever wrote it.
    let mut appender = Xor2Appender::resume(data.to_vec()).expect("it was read a moment ago");
    assert_eq!(appender.last(), samples.last().map(|(_, sample)| *sample));
    let next = appender.last().map_or(0, |last| last.timestamp.saturating_add(1));
    if appender.append(12, next, 1.5).is_ok() {
        let continued = step_through(&appender.to_chunk()).expect("written a moment ago");
        assert_eq!(continued[..samples.len()], samples);
        assert_eq!(continued.last(), Some(&(12, Sample::new(next, 1.5))));
    }
}

fn encode_anything(data: &[u8]) {
    let mut appender = Xor2Appender::new();
    let mut samples: Vec<(i64, Sample)> = Vec::new();
    let mut timestamp = -1_i64;
    let mut bits = 0_u64;
    let mut start = 0_i64;
    for item in data.chunks_exact(6) {
        // Short inputs must reach both small and large differences.
        let delta = i64::from(item[0]) << (item[1] & 63);
        bits ^= u64::from(item[2]) << (item[3] & 63);
        start ^= i64::from(item[4]) << (item[5] & 63);
        let value =
            if item[3] == 255 { ferula_chunkenc::stale::STALE_NAN } else { f64::from_bits(bits) };
        let sample = Sample::new(timestamp.wrapping_add(delta), value);
        if appender.append(start, sample.timestamp, sample.value).is_ok() {
            samples.push((start, sample));
            timestamp = sample.timestamp;
        }
    }
    assert_eq!(step_through(&appender.into_chunk()).expect("written a moment ago"), samples);
}
