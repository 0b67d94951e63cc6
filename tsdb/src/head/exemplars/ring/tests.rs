use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn labels(series: u64) -> Labels {
    Labels::from_pairs([("series", series.to_string())]).unwrap()
}

fn exemplar(timestamp: i64, value: f64, trace: &str) -> Exemplar {
    Exemplar::new(timestamp, value, Labels::from_pairs([("trace", trace)]).unwrap())
}

fn add(ring: &mut Ring, series: u64, exemplar: Exemplar) -> Result<Offer, ExemplarError> {
    let offered = Logged { logged_as: SeriesRef(series), exemplar };
    ring.add(SeriesRef(series), || Some(labels(series)), offered, BatchId(1))
}

fn times(ring: &Ring, series: u64) -> Vec<i64> {
    let found = ring.between(&labels(series), i64::MIN, i64::MAX, BatchId(1));
    found.iter().map(|exemplar| exemplar.timestamp).collect()
}

/// Keeps exemplars in the order in which they came, and looks at all of them for everything.
struct Model {
    capacity: usize,
    window_ms: i64,
    kept: VecDeque<(u64, Exemplar)>,
}

impl Model {
    fn of(&self, series: u64) -> Vec<&Exemplar> {
        let of_series = self.kept.iter().filter(|(of, _)| *of == series);
        let mut of_series: Vec<_> = of_series.map(|(_, exemplar)| exemplar).collect();
        of_series.sort_by_key(|exemplar| exemplar.timestamp);
        of_series
    }

    /// Whether it is taken; `None` if it is refused.
    fn add(&mut self, series: u64, offered: &Exemplar) -> Option<bool> {
        let of_series = self.of(series);
        if let Some(newest) = of_series.last() {
            if *newest == offered {
                return Some(false);
            }
            let behind = newest.timestamp - offered.timestamp;
            let order = |exemplar: &Exemplar| (exemplar.value, exemplar.labels.clone());
            if (behind == 0 && order(offered) < order(newest))
                || (behind > 0 && behind >= self.window_ms)
            {
                return None;
            }
            if behind > 0 && of_series.iter().any(|e| e.timestamp == offered.timestamp) {
                return Some(false);
            }
        }
        if self.kept.len() == self.capacity {
            self.kept.pop_front();
        }
        self.kept.push_back((series, offered.clone()));
        Some(true)
    }
}

proptest! {
    #[test]
    fn a_ring_keeps_what_a_list_would(
        capacity in 1_usize..12,
        window_ms in prop_oneof![Just(0), 1_i64..12],
        offered in prop::collection::vec((0_u64..5, 0_i64..20, 0_u8..3, 0_u8..3), 0..120),
    ) {
        let mut ring = Ring::new(capacity, window_ms);
        let mut model = Model { capacity, window_ms, kept: VecDeque::new() };
        for (series, timestamp, value, trace) in offered {
            let offered = exemplar(timestamp, f64::from(value), &trace.to_string());
            let expected = model.add(series, &offered);
            let checked = ring.check(SeriesRef(series), &offered);
            let found = add(&mut ring, series, offered);
            prop_assert_eq!(&checked, &found);
            prop_assert_eq!(found.ok().map(|offer| offer == Offer::New), expected);
            for series in 0..5 {
                let found = ring.between(&labels(series), i64::MIN, i64::MAX, BatchId(1));
                let expected: Vec<Exemplar> = model.of(series).into_iter().cloned().collect();
                prop_assert_eq!(found, expected);
            }
            let all: Vec<_> = ring.iter().map(|(l, e)| (l.clone(), e.exemplar.clone())).collect();
            let expected = model.kept.iter().map(|(series, e)| (labels(*series), e.clone()));
            prop_assert_eq!(&all, &expected.collect::<Vec<_>>());
        }
        // What is written down makes the same ring again.
        let mut again = Ring::new(capacity, window_ms);
        for (labels, logged) in ring.iter() {
            again.restore(labels, logged.clone());
        }
        for series in 0..5 {
            prop_assert_eq!(times(&again, series), times(&ring, series));
        }
        prop_assert_eq!((again.len(), again.n_series()), (ring.len(), ring.n_series()));
        prop_assert_eq!(again.label_bytes, ring.label_bytes);
    }
}

#[test]
fn a_series_that_came_anew_has_its_exemplars() {
    let mut ring = Ring::new(10, 0);
    add(&mut ring, 1, exemplar(10, 1.0, "a")).unwrap();
    let anew =
        |timestamp| Logged { logged_as: SeriesRef(7), exemplar: exemplar(timestamp, 1.0, "b") };
    let late = ring.add(SeriesRef(7), || Some(labels(1)), anew(5), BatchId(1));
    assert_eq!(late, Err(ExemplarError::OutOfOrder { timestamp: 5, newest: 10 }));
    ring.add(SeriesRef(7), || Some(labels(1)), anew(20), BatchId(1)).unwrap();
    assert_eq!(times(&ring, 1), [10, 20]);
    assert_eq!(ring.by_ref.len(), 1, "its old ref is gone");
    assert_eq!(ring.check(SeriesRef(1), &exemplar(0, 0.0, "")), Ok(Offer::New));
}

#[test]
fn nothing_is_seen_before_its_batch() {
    let mut ring = Ring::new(10, 0);
    add(&mut ring, 1, exemplar(10, 1.0, "a")).unwrap();
    let later = Logged { logged_as: SeriesRef(1), exemplar: exemplar(20, 1.0, "b") };
    ring.add(SeriesRef(1), || None, later, BatchId(2)).unwrap();
    assert_eq!(times(&ring, 1), [10]);
    let all = ring.between(&labels(1), i64::MIN, i64::MAX, BatchId(2));
    assert_eq!(all.len(), 2);
    assert_eq!(ring.between(&labels(1), 11, 30, BatchId(2)), all[1..]);
    assert_eq!(ring.between(&labels(1), 0, 10, BatchId(2)), all[..1]);
}

#[test]
fn room_grows_no_further_than_the_capacity() {
    let mut ring = Ring::new(100, 0);
    assert_eq!(ring.size_bytes(), 0);
    for timestamp in 0..1000_i64 {
        add(&mut ring, 1 + timestamp.unsigned_abs() % 7, exemplar(timestamp, 1.0, "t")).unwrap();
    }
    assert_eq!((ring.len(), ring.entries.capacity()), (100, 100));
    assert!(ring.size_bytes() < 100 * 128, "{}", ring.size_bytes());
    let mut none = Ring::new(0, 0);
    assert_eq!(add(&mut none, 1, exemplar(1, 1.0, "t")), Err(ExemplarError::Disabled));
}
