//! Float chunks with start timestamps, written and read.

use proptest::prelude::*;

use super::*;
use crate::stale::STALE_NAN;
use crate::{ChunkIterator, Encoding, Sample, SampleBatch};

/// A start timestamp and a sample.
type Started = (i64, Sample);

fn encode(samples: &[Started]) -> Xor2Appender {
    let mut appender = Xor2Appender::new();
    for &(start, sample) in samples {
        appender.append(start, sample.timestamp, sample.value).unwrap();
    }
    appender
}

fn step_through(data: &[u8]) -> Result<Vec<Started>, Error> {
    let mut iterator = ChunkIterator::new(Encoding::Xor2, data)?;
    let mut samples = Vec::new();
    while let Some(sample) = iterator.next()? {
        samples.push((iterator.start_timestamp(), sample));
    }
    Ok(samples)
}

fn decode(data: &[u8]) -> Result<Vec<Started>, Error> {
    let mut batch = SampleBatch::new();
    batch.push(0, 0.0);
    let result = ChunkIterator::new(Encoding::Xor2, data)?.decode_into(&mut batch);
    if result.is_err() {
        assert!(batch.len() == 1 && !batch.has_start_timestamps());
    }
    result?;
    batch.remove(0..1);
    Ok(batch.iter().enumerate().map(|(i, sample)| (batch.start_timestamp(i), sample)).collect())
}

#[test]
fn a_state_takes_48_bytes() {
    assert_eq!(size_of::<Xor2State>(), 48);
}

#[test]
fn no_sample_hands_over_more_than_announced() {
    let mut state = Xor2State::new();
    let mut bytes = Vec::new();
    let mut most = 0;
    let mut value_bits = 0x5555_5555_5555_5555;
    let mut start = i64::MAX;
    for timestamp in [i64::MIN, 0, 1, i64::MAX - 20, i64::MAX - 19, i64::MAX] {
        let before = bytes.len();
        state.append(start, timestamp, f64::from_bits(value_bits), &mut bytes).unwrap();
        most = most.max(bytes.len() - before);
        value_bits = !value_bits;
        start = !start;
    }
    assert!((26..=Xor2State::MAX_APPENDED_BYTES).contains(&most), "{most}");
}

#[test]
fn a_start_that_the_header_cannot_tell_fills_the_chunk() {
    let regular: Vec<Started> = (0..127).map(|t| (0, Sample::new(t, 1.0))).collect();
    let mut data = encode(&regular).as_bytes().to_vec();
    // Another writer might not have noted the start timestamp of sample 127.
    data[1] = 129;
    let mut appender = Xor2Appender::resume(data).unwrap();
    let before = appender.as_bytes().to_vec();
    assert_eq!(appender.append(7, 1000, 1.0), Err(Error::ChunkFull { limit: 129 }));
    assert_eq!(appender.as_bytes(), before);
    appender.append(0, 1000, 1.0).unwrap();
    assert_eq!(step_through(appender.as_bytes()).unwrap().last().unwrap().0, 0);
}

fn samples() -> impl Strategy<Value = Vec<Started>> {
    let delta = prop_oneof![
        8 => Just(15_000_i64),
        2 => 1..20_000_i64,
        1 => 1..2_000_000_i64,
        1 => 1..i64::MAX / 512,
    ];
    let value = prop_oneof![
        4 => (0..1000_i32).prop_map(f64::from),
        2 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(STALE_NAN),
        1 => Just(0.1),
    ];
    let start = prop_oneof![20 => Just(None), 1 => (-50_000..50_000_i64).prop_map(Some),
        1 => any::<i64>().prop_map(Some)];
    prop::collection::vec((delta, value, start), 0..300).prop_map(|steps| {
        let mut timestamp = -1_000_000;
        let mut start = 0;
        let mut samples = Vec::new();
        for (delta, value, change) in steps {
            timestamp += delta;
            start = change.unwrap_or(start);
            samples.push((start, Sample::new(timestamp, value)));
        }
        samples
    })
}

proptest! {
    #[test]
    fn samples_survive(samples in samples()) {
        let appender = encode(&samples);
        prop_assert_eq!(step_through(appender.as_bytes())?, samples.clone());
        prop_assert_eq!(decode(appender.as_bytes())?, samples);
    }

    #[test]
    fn a_resumed_appender_writes_the_same_bytes(samples in samples(), at: prop::sample::Index) {
        let at = at.index(samples.len() + 1);
        let mut resumed = Xor2Appender::resume(encode(&samples[..at]).as_bytes().to_vec())?;
        prop_assert_eq!(resumed.last(), samples[..at].last().map(|(_, sample)| *sample));
        for &(start, sample) in &samples[at..] {
            resumed.append(start, sample.timestamp, sample.value)?;
        }
        let whole = encode(&samples);
        prop_assert_eq!(resumed.as_bytes(), whole.as_bytes());
    }

    #[test]
    fn any_bytes_decode_or_fail_alike(data: Vec<u8>) {
        let stepped = step_through(&data);
        let at_once = decode(&data);
        prop_assert_eq!(stepped.is_ok(), at_once.is_ok());
        prop_assert_eq!(stepped.ok(), at_once.ok());
    }
}
