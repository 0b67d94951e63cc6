//! Float chunks, written and read.

use proptest::prelude::*;

use super::*;
use crate::{Sample, SampleBatch};

fn encode(samples: &[Sample]) -> XorAppender {
    let mut appender = XorAppender::new();
    for sample in samples {
        appender.append(sample.timestamp, sample.value).unwrap();
    }
    appender
}

#[test]
fn the_next_sample_of_a_full_chunk_is_refused() {
    let mut appender = XorAppender::new();
    for t in 0..65_535 {
        appender.append(t, 1.0).unwrap();
    }
    let full = appender.as_bytes().to_vec();
    assert_eq!(appender.append(65_535, 1.0), Err(Error::ChunkFull { limit: 65_535 }));
    assert_eq!(appender.as_bytes(), full);
}

#[test]
fn timestamps_must_advance() {
    let mut appender = encode(&[Sample::new(5, 1.0)]);
    let before = appender.as_bytes().to_vec();
    for timestamp in [5, 4, i64::MIN] {
        let refused = Err(Error::OutOfOrder { timestamp, last: 5 });
        assert_eq!(appender.append(timestamp, 2.0), refused);
    }
    assert_eq!(appender.as_bytes(), before);
}

#[test]
fn a_count_beyond_the_data_is_refused() {
    let mut data = encode(&[Sample::new(5, 1.0), Sample::new(6, 1.0)]).as_bytes().to_vec();
    data[1] = 200;
    let refused = Error::SampleCount { size_bytes: data.len(), count: 200, held: 5 };
    assert_eq!(XorDecoder::new(&data).unwrap_err(), refused);
}

#[test]
fn a_window_outside_of_the_value_is_refused() {
    let mut data = encode(&[Sample::new(5, 1.0)]).as_bytes().to_vec();
    data[1] = 2;
    // Delta 1, then a new window of 31 leading zeros and 63 significant bits.
    data.extend_from_slice(&[1, 0b1111_1111, 0b1111_1000, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut batch = SampleBatch::new();
    batch.push(1, 1.0);
    let refused = XorDecoder::new(&data).unwrap().decode_into(&mut batch);
    let expected = Error::ValueWindow { bit: 109, leading: 31, significant: 63 };
    assert_eq!(refused, Err(expected));
    assert_eq!(batch.len(), 1);
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let delta = prop_oneof![
        8 => Just(15_000_i64),
        2 => 1..20_000_i64,
        1 => 1..2_000_000_i64,
        1 => 1..i64::MAX / 512,
    ];
    let value = prop_oneof![
        4 => (0..1000_i32).prop_map(f64::from),
        2 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(crate::stale::STALE_NAN),
        1 => Just(0.1),
    ];
    prop::collection::vec((delta, value), 0..300).prop_map(|steps| {
        let mut timestamp = -1_000_000;
        let mut samples = Vec::new();
        for (delta, value) in steps {
            timestamp += delta;
            samples.push(Sample::new(timestamp, value));
        }
        samples
    })
}

proptest! {
    #[test]
    fn samples_survive(samples in samples()) {
        let appender = encode(&samples);
        let mut batch = SampleBatch::new();
        XorDecoder::new(appender.as_bytes())?.decode_into(&mut batch)?;
        prop_assert_eq!(batch.iter().collect::<Vec<_>>(), samples);
    }

    #[test]
    fn a_resumed_appender_writes_the_same_bytes(samples in samples(), at: prop::sample::Index) {
        let at = at.index(samples.len() + 1);
        let mut resumed = XorAppender::resume(encode(&samples[..at]).as_bytes().to_vec())?;
        prop_assert_eq!(resumed.last(), samples[..at].last().copied());
        for sample in &samples[at..] {
            resumed.append(sample.timestamp, sample.value)?;
        }
        let whole = encode(&samples);
        prop_assert_eq!(resumed.as_bytes(), whole.as_bytes());
    }

    #[test]
    fn a_state_hands_over_what_an_appender_keeps(
        samples in samples(),
        at: prop::sample::Index,
    ) {
        let at = at.index(samples.len() + 1);
        let (mut state, mut bytes) = (XorState::new(), Vec::new());
        for (i, sample) in samples.iter().enumerate() {
            if i == at {
                let chunk = state.to_chunk([&bytes]);
                let (resumed, appended) = XorState::resume(&chunk.data)?;
                prop_assert_eq!(&resumed, &state);
                prop_assert_eq!(appended, &bytes);
            }
            state.append(sample.timestamp, sample.value, &mut bytes)?;
        }
        let parts = [&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]];
        prop_assert_eq!(state.to_chunk(parts), encode(&samples).into_chunk());
    }

    #[test]
    fn any_bytes_decode_or_fail_alike(data: Vec<u8>) {
        let mut one_by_one = Vec::new();
        let stepped = XorDecoder::new(&data).and_then(|mut decoder| {
            while let Some(sample) = decoder.next()? {
                one_by_one.push(sample);
            }
            Ok(())
        });
        let mut batch = SampleBatch::new();
        let at_once = XorDecoder::new(&data).and_then(|d| d.decode_into(&mut batch));
        prop_assert_eq!(stepped.is_ok(), at_once.is_ok());
        if at_once.is_ok() {
            prop_assert_eq!(batch.iter().collect::<Vec<_>>(), one_by_one);
        }
    }
}
