use super::*;

fn batch(samples: &[(i64, f64)]) -> SampleBatch {
    let mut batch = SampleBatch::new();
    samples.iter().for_each(|(time, value)| batch.push(*time, *value));
    batch
}

fn merged(replicas: &[&[(i64, f64)]], are_counters: bool) -> Vec<(i64, f64)> {
    let replicas: Vec<SampleBatch> = replicas.iter().map(|samples| batch(samples)).collect();
    let out = merge(&replicas, are_counters);
    out.timestamps().iter().copied().zip(out.values().iter().copied()).collect()
}

#[test]
fn one_replica_stays_as_it_is() {
    let samples: &[(i64, f64)] = &[(0, 1.0), (7, 0.5), (8, 2.0)];
    assert_eq!(merged(&[samples], false), samples);
    assert_eq!(merged(&[samples, &[]], false), samples);
    assert_eq!(merged(&[&[], samples], false), samples);
    assert_eq!(merged(&[&[], &[]], false), []);
    assert_eq!(merged(&[], false), []);
}

#[test]
fn the_pace_is_that_of_one_replica() {
    let a: Vec<(i64, f64)> = (0..10).map(|i| (10_000 + i * 10_000, 1.0)).collect();
    let b: Vec<(i64, f64)> = (0..10).map(|i| (10_001 + i * 10_000, 2.0)).collect();
    assert_eq!(merged(&[&a, &b], false), a);
    // Whoever comes first is followed.
    assert_eq!(merged(&[&b, &a], false), a);
    assert_eq!(merged(&[&a, &a, &b], false), a);
}

#[test]
fn a_gap_is_filled_by_the_other_replica() {
    // By the definition: after 10000 the second has to be at 15001 or later; each further sample lets
    // it wait for twice the distance of the last two.
    let a = [(10_000, 1.0), (20_000, 1.0), (30_000, 1.0), (80_000, 1.0), (90_000, 1.0)];
    let b = [
        (10_001, 2.0),
        (20_001, 2.0),
        (30_001, 2.0),
        (40_001, 2.0),
        (50_001, 2.0),
        (60_001, 2.0),
        (70_001, 2.0),
        (80_001, 2.0),
        (90_001, 2.0),
    ];
    // The first is followed up to 30000, and the second may come from 50001 on; it is followed then, as the
    // first has nothing until 80000, and the first has to wait for twice 10000 after each.
    let expected = [
        (10_000, 1.0),
        (20_000, 1.0),
        (30_000, 1.0),
        (50_001, 2.0),
        (60_001, 2.0),
        (70_001, 2.0),
        (80_001, 2.0),
        (90_001, 2.0),
    ];
    assert_eq!(merged(&[&a, &b], false), expected);
}

#[test]
fn a_replica_that_ends_is_followed_by_the_other_after_its_penalty() {
    let a = [(0, 1.0), (10, 1.0), (20, 1.0)];
    let b = [(1, 2.0), (11, 2.0), (21, 2.0), (31, 2.0), (41, 2.0), (51, 2.0)];
    // The first penalty is five seconds: nothing of the second comes within it.
    assert_eq!(merged(&[&a, &b], false), a);
    let late = [(0, 1.0), (10_000, 1.0), (20_000, 1.0)];
    let b: Vec<(i64, f64)> = (0..7).map(|i| (1 + i * 10_000, 2.0)).collect();
    let expected =
        [(0, 1.0), (10_000, 1.0), (20_000, 1.0), (40_001, 2.0), (50_001, 2.0), (60_001, 2.0)];
    assert_eq!(merged(&[&late, &b], false), expected);
}

#[test]
fn a_change_of_replicas_does_not_make_a_counter_fall() {
    let a = [(10_000, 20.0), (20_000, 30.0), (30_000, 40.0)];
    let b = [(10_001, 18.0), (20_001, 28.0), (30_001, 38.0), (50_001, 39.0), (60_001, 45.0)];
    let expected = [(10_000, 20.0), (20_000, 30.0), (30_000, 40.0), (50_001, 40.0), (60_001, 46.0)];
    assert_eq!(merged(&[&a, &b], true), expected);
    let plain = [(10_000, 20.0), (20_000, 30.0), (30_000, 40.0), (50_001, 39.0), (60_001, 45.0)];
    assert_eq!(merged(&[&a, &b], false), plain);
}

#[test]
fn resets_of_a_counter_are_added_back_and_staleness_stays() {
    let stale = ferula_chunkenc::stale::STALE_NAN;
    let a = [(0, 10.0), (10_000, 4.0), (20_000, 6.0), (30_000, stale), (40_000, 1.0)];
    let out = merge(&[batch(&a), batch(&[])], true);
    let bits: Vec<u64> = out.values().iter().map(|v| v.to_bits()).collect();
    let expected = [10.0, 14.0, 16.0, stale, 17.0].map(f64::to_bits);
    assert_eq!(bits, expected);
}

#[test]
fn hints_of_histograms_are_dropped_where_the_replica_changes() {
    let histogram = |hint| {
        let counter_reset_hint = hint;
        Arc::new(FloatHistogram { counter_reset_hint, ..FloatHistogram::default() })
    };
    let (mut a, mut b) = (SampleBatch::new(), SampleBatch::new());
    for time in [0, 10_000, 20_000] {
        a.push_histogram(time, histogram(CounterResetHint::NotReset));
    }
    for time in [1, 40_001, 50_001] {
        b.push_histogram(time, histogram(CounterResetHint::NotReset));
    }
    let out = merge(&[a, b], false);
    let hints: Vec<_> = (0..out.len())
        .map(|i| (out.timestamps()[i], out.histogram(i).expect("one").counter_reset_hint))
        .collect();
    use CounterResetHint::{NotReset, Unknown};
    let expected = [
        (0, Unknown),
        (10_000, NotReset),
        (20_000, NotReset),
        (40_001, Unknown),
        (50_001, NotReset),
    ];
    assert_eq!(hints, expected);
}

/// What the algorithm promises, over many pairs of replicas.
#[test]
fn samples_come_from_the_replicas_in_order_and_nothing_is_too_close() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    for _ in 0..500 {
        let mut replica = |mark: f64| {
            let mut time = i64::try_from(random(10_000)).expect("small");
            let mut samples = Vec::new();
            for _ in 0..random(40) {
                samples.push((time, mark));
                let gap = if random(8) == 0 { 60_000 } else { 10_000 };
                time += gap + i64::try_from(random(50)).expect("small");
            }
            samples
        };
        let (a, b) = (replica(1.0), replica(2.0));
        let out = merged(&[&a, &b], false);
        assert!(out.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(out.iter().all(|sample| a.contains(sample) || b.contains(sample)));
        assert_eq!(out.is_empty(), a.is_empty() && b.is_empty());
        // A change takes at least as long as a sample of the replica left behind, or five seconds.
        for pair in out.windows(2).filter(|pair| pair[0].1 != pair[1].1) {
            assert!(pair[1].0 - pair[0].0 > 5000, "{a:?} {b:?} {out:?}");
        }
    }
}
