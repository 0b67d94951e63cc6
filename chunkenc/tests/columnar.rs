//! Columnar chunks keep every bit, in whole and in part, and refuse what is malformed.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use ferula_chunkenc::columnar::{ColumnarChunk, ColumnarEncoder, MAX_SAMPLES, ValueKind};
use ferula_chunkenc::stale::{NORMAL_NAN, STALE_NAN, is_stale};
use ferula_chunkenc::{Error, SampleBatch};
use proptest::prelude::*;

const START: i64 = 1_700_000_000_000;

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// SplitMix64.
fn scramble(i: u64) -> u64 {
    let z = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn regular(n: usize) -> Vec<i64> {
    (0..n).map(|i| START + i64::try_from(i).unwrap() * 15_000).collect()
}

fn encode(times: &[i64], values: &[f64], starts: Option<&[i64]>) -> (Vec<u8>, ValueKind) {
    let mut data = Vec::new();
    let kind = ColumnarEncoder::new().encode(times, values, starts, &mut data).unwrap();
    (data, kind)
}

/// Encodes, decodes in whole and in part, and compares all; returns size and kind.
fn round_trip(times: &[i64], values: &[f64]) -> (usize, ValueKind) {
    let (data, kind) = encode(times, values, None);
    let chunk = ColumnarChunk::parse(&data).unwrap();
    let mut batch = SampleBatch::new();
    batch.push(-1, 0.5);
    chunk.decode_into(&mut batch).unwrap();
    assert_eq!(&batch.timestamps()[1..], times);
    assert_eq!(bits(&batch.values()[1..]), bits(values), "{kind:?}");

    let n = times.len();
    for range in [0..1, n / 3..n / 2, n / 2..n, n - 1..n, 0..n / 2, n / 4..n.min(n / 4 + 1)] {
        let mut part = SampleBatch::new();
        chunk.decode_indexes(range.clone(), &mut part).unwrap();
        assert_eq!(part.timestamps(), &times[range.clone()]);
        assert_eq!(bits(part.values()), bits(&values[range.clone()]));
        if !range.is_empty() {
            let (mint, maxt) = (times[range.start], times[range.end - 1]);
            assert_eq!(chunk.range_of(mint, maxt), Ok(range.clone()));
            let mint = if range.start == 0 { i64::MIN } else { times[range.start - 1] + 1 };
            let maxt = if range.end == n { i64::MAX } else { times[range.end] - 1 };
            assert_eq!(chunk.range_of(mint, maxt), Ok(range));
        }
    }

    let stats = chunk.stats();
    assert_eq!(stats.count, n);
    assert_eq!((stats.first_timestamp, stats.last_timestamp), (times[0], times[n - 1]));
    let known = stats.values;
    assert_eq!(known.first.to_bits(), values[0].to_bits());
    assert_eq!(known.last.to_bits(), values[n - 1].to_bits());
    let numbers = || values.iter().copied().filter(|value| !value.is_nan());
    if numbers().next().is_none() {
        assert!(known.min.is_nan() && known.max.is_nan());
    } else {
        assert_eq!(known.min, numbers().fold(f64::INFINITY, f64::min));
        assert_eq!(known.max, numbers().fold(f64::NEG_INFINITY, f64::max));
    }
    assert_eq!(known.n_nan, n - numbers().count());
    assert_eq!(known.n_stale, values.iter().filter(|&&value| is_stale(value)).count());
    (data.len(), kind)
}

#[test]
fn each_kind_of_column_is_chosen_where_it_fits() {
    let times = regular(3000);
    let of = |f: &dyn Fn(u32) -> f64| -> (f64, ValueKind) {
        let values: Vec<f64> = (0..3000).map(f).collect();
        let (size, kind) = round_trip(&times, &values);
        (size as f64 / 3000.0, kind)
    };
    let random = |i: u32| scramble(i.into());
    let (size, kind) = of(&|_| 0.1 + 0.2);
    assert!(kind == ValueKind::Constant && size < 0.02, "{size}");
    let (size, kind) = of(&|i| f64::from(i * 7));
    assert!(kind == ValueKind::Decimal && size < 0.03, "{size}");
    let (size, kind) = of(&|i| (random(i) % 256) as f64 / 100.0);
    assert!(kind == ValueKind::Decimal && size < 1.05, "{size}");
    let (size, kind) = of(&|i| f64::from(i).sqrt());
    assert!(kind == ValueKind::Bits && size < 6.5, "{size}");
    let (size, kind) = of(&|i| [1.0 / 3.0, -2e20, 1.0 / 7.0][(random(i) >> 40) as usize % 3]);
    assert!(kind == ValueKind::Dictionary && size < 0.3, "{size}");
    let (size, kind) = of(&|i| {
        f64::from_bits(random(i) >> 12 | 1023 << 52).copysign(if i % 3 == 0 { -1.0 } else { 1.0 })
    });
    assert!(kind == ValueKind::Split && size < 6.8, "{size}");
}

#[test]
fn odd_values_are_kept_bit_for_bit() {
    let odd = [
        STALE_NAN,
        NORMAL_NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
        f64::from_bits(u64::MAX),
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        0.0,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        9_007_199_254_740_993.0,
        0.1 + 0.2,
    ];
    for value in odd {
        round_trip(&[START], &[value]);
        round_trip(&regular(3), &[value; 3]);
        for at in [0, 1, 700, 1023, 1024, 1999] {
            let mut values: Vec<f64> = (0..2000).map(|i| f64::from(i % 100) / 10.0).collect();
            values[at] = value;
            round_trip(&regular(2000), &values);
            let mut constant = vec![42.0; 2000];
            constant[at] = value;
            round_trip(&regular(2000), &constant);
        }
    }
    let all: Vec<f64> = odd.iter().copied().cycle().take(1500).collect();
    round_trip(&regular(1500), &all);
    round_trip(&regular(2), &[f64::INFINITY, f64::NEG_INFINITY]);
}

#[test]
fn start_timestamps_are_kept() {
    let times = regular(2000);
    let starts: Vec<i64> =
        times.iter().map(|t| if *t < times[900] { 0 } else { START + 7 }).collect();
    let values = vec![1.5; 2000];
    let (data, _) = encode(&times, &values, Some(&starts));
    let chunk = ColumnarChunk::parse(&data).unwrap();
    assert_eq!(chunk.starts(0..9999), Ok(Some(starts.clone())));
    assert_eq!(chunk.starts(899..901), Ok(Some(starts[899..901].to_vec())));
    let mut batch = SampleBatch::new();
    batch.push(1, 1.0);
    chunk.decode_indexes(890..910, &mut batch).unwrap();
    assert_eq!(batch.len(), 21);
    assert!(batch.start_timestamp(10) == 0 && batch.start_timestamp(11) == START + 7);
    let (data, _) = encode(&times, &values, None);
    assert_eq!(ColumnarChunk::parse(&data).unwrap().starts(0..1), Ok(None));
}

#[test]
fn columns_that_do_not_fit_are_refused() {
    let mut encoder = ColumnarEncoder::new();
    let mut out = vec![7];
    let mut encode = |times: &[i64], values: &[f64]| encoder.encode(times, values, None, &mut out);
    assert_eq!(encode(&[], &[]), Err(Error::ColumnLength { found: 0, limit: MAX_SAMPLES }));
    assert_eq!(encode(&[1, 2], &[0.0]), Err(Error::ColumnLength { found: 1, limit: 2 }));
    assert_eq!(encode(&[2, 2], &[0.0; 2]), Err(Error::OutOfOrder { timestamp: 2, last: 2 }));
    let long = regular(MAX_SAMPLES + 1);
    assert!(matches!(encode(&long, &vec![0.0; long.len()]), Err(Error::ColumnLength { .. })));
    assert_eq!(out, [7]);
}

fn read_all(data: &[u8]) {
    if let Ok(chunk) = ColumnarChunk::parse(data) {
        let mut batch = SampleBatch::new();
        if chunk.decode_into(&mut batch).is_err() {
            assert!(batch.is_empty());
        }
        let _ = chunk.stats();
        let _ = chunk.range_of(START + 100, START + 1_000_000);
        let _ = chunk.decode_indexes(3..50, &mut batch);
        let _ = chunk.starts(0..10);
    }
}

#[test]
fn corrupted_chunks_never_panic() {
    let random = scramble;
    let columns: [&dyn Fn(u64) -> f64; 6] = [
        &|_| 1.5,
        &|i| (i * i % 1000) as f64 / 100.0,
        &|i| if i == 30 { STALE_NAN } else { (i / 3) as f64 },
        &|i| (i as f64).sqrt(),
        &|i| [1.0 / 3.0, 2e20][(random(i) >> 60) as usize % 2],
        &|i| f64::from_bits(random(i)),
    ];
    for (at, column) in columns.iter().enumerate() {
        for n in [40, 1100] {
            let times: Vec<i64> = (0..n).map(|i| START + (i * 15_000 + i * i % 7) as i64).collect();
            let values: Vec<f64> = (0..n).map(column).collect();
            let (data, _) = encode(&times, &values, (at == 0).then_some(&times));
            let step = data.len() / 200 + 1;
            for cut in (0..data.len()).step_by(step) {
                read_all(&data[..cut]);
            }
            for bit in (0..data.len() * 8).step_by(step) {
                let mut twin = data.clone();
                twin[bit / 8] ^= 1 << (bit % 8);
                read_all(&twin);
            }
        }
    }
    let (mut data, _) = encode(&regular(3), &[1.0, 2.0, 3.0], None);
    data[0] = 2;
    assert!(matches!(ColumnarChunk::parse(&data), Err(Error::Columnar { offset: 0, .. })));
}

/// Values of many kinds: whatever a series may hold.
fn any_values() -> impl Strategy<Value = Vec<f64>> {
    let decimal = (-1_000_000_i64..1_000_000, 0..6_i32)
        .prop_map(|(int, exponent)| int as f64 / 10_f64.powi(exponent));
    let value = prop_oneof![
        4 => decimal,
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(STALE_NAN),
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(f64::INFINITY), Just(1e300)],
        2 => (0..5_u32).prop_map(f64::from),
    ];
    (prop::collection::vec(value, 1..40), 1..60_usize, 0..4_u32).prop_map(|(seed, times, mode)| {
        let mut total = 0.0;
        let repeated = seed.iter().copied().cycle().take(seed.len() * times);
        repeated
            .map(|value| match mode {
                0 => value,
                1 => {
                    total += if value.is_finite() { value.abs() } else { 1.0 };
                    total
                }
                2 => (value * 8.0).trunc() / 8.0,
                _ => value.trunc(),
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn samples_survive(values in any_values(), jitter in prop::collection::vec(0..50_i64, 1..20)) {
        let late = jitter.iter().cycle();
        let times: Vec<i64> =
            (0..values.len()).zip(late).map(|(i, late)| START + i as i64 * 1000 + late).collect();
        round_trip(&times, &values);
    }

    #[test]
    fn any_times_survive(steps in prop::collection::vec((1..i64::MAX, 0..63_u32), 1..50)) {
        let mut time = i64::MIN;
        let mut times = vec![];
        for (step, narrow) in steps {
            times.push(time);
            match time.checked_add((step >> narrow).max(1)) {
                Some(next) => time = next,
                None => break,
            }
        }
        let values = vec![1.0; times.len()];
        let (data, _) = encode(&times, &values, None);
        let mut batch = SampleBatch::new();
        ColumnarChunk::parse(&data).unwrap().decode_into(&mut batch).unwrap();
        prop_assert_eq!(batch.timestamps(), &times[..]);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut data in prop::collection::vec(any::<u8>(), 2..300)) {
        data[0] = 1;
        data[1] &= 1;
        read_all(&data);
    }
}
