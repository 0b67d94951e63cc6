//! Postings: any sequence of operations gives what it gives on ordered sets.
#![no_main]

use std::collections::BTreeSet;

use ferula_index::SeriesRef;
use ferula_index::postings::Postings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut sets = [Postings::new(), Postings::new()];
    let mut models = [BTreeSet::new(), BTreeSet::new()];
    for item in data.chunks_exact(4) {
        let at = usize::from(item[0] & 1);
        let number = u64::from(u16::from_be_bytes([item[1], item[2]])) << (item[3] % 48);
        let [this, other] = if at == 0 { [0, 1] } else { [1, 0] };
        let (right, right_model) = (sets[other].clone(), models[other].clone());
        let (set, model) = (&mut sets[this], &mut models[this]);
        match item[0] >> 1 & 7 {
            0 => assert_eq!(set.remove(SeriesRef(number)), model.remove(&number)),
            1 => {
                set.unite(&right);
                model.extend(&right_model);
            }
            2 => {
                set.intersect(&right);
                model.retain(|n| right_model.contains(n));
            }
            3 => {
                set.subtract(&right);
                model.retain(|n| !right_model.contains(n));
            }
            4 => {
                for n in number..number + u64::from(item[3]) {
                    assert_eq!(set.insert(SeriesRef(n)), model.insert(n));
                }
            }
            5 => {
                set.remove_from(SeriesRef(number));
                model.split_off(&number);
            }
            _ => assert_eq!(set.insert(SeriesRef(number)), model.insert(number)),
        }
    }
    for (set, model) in sets.iter().zip(&models) {
        assert!(set.iter().map(|series| series.0).eq(model.iter().copied()));
        assert_eq!(set.len(), model.len() as u64);
    }
    assert_eq!(sets[0].is_disjoint(&sets[1]), models[0].is_disjoint(&models[1]));
});
