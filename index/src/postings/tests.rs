use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Sets on both sides of the limit, dense and sparse, in runs, beyond 32 bits too.
fn refs() -> impl Strategy<Value = BTreeSet<u64>> {
    let number = prop_oneof![0..200_u64, 0..100_000_u64, (1 << 40)..(1_u64 << 40) + 50];
    let run = (prop_oneof![0..300_u64, 60_000..70_000_u64], prop_oneof![0..10_u64, 0..9_000_u64]);
    prop_oneof![
        2 => prop::collection::btree_set(number, 0..200),
        1 => run.clone().prop_map(|(first, len)| (first..first + len).collect()),
        1 => prop::collection::vec(run, 0..4).prop_map(|runs| {
            runs.into_iter().flat_map(|(first, len)| first..first + len).collect()
        }),
    ]
}

fn postings(refs: &BTreeSet<u64>) -> Postings {
    refs.iter().copied().map(SeriesRef).collect()
}

fn united(a: &Postings, b: &Postings) -> Postings {
    let mut out = a.clone();
    out.unite(b);
    out
}

fn intersected(a: &Postings, b: &Postings) -> Postings {
    let mut out = a.clone();
    out.intersect(b);
    out
}

fn subtracted(a: &Postings, b: &Postings) -> Postings {
    let mut out = a.clone();
    out.subtract(b);
    out
}

#[test]
fn a_set_takes_the_form_that_fits() {
    let mut set = Postings::new();
    for n in 0..1000 {
        assert!(set.insert(SeriesRef(n)));
        assert!(!set.insert(SeriesRef(n)));
    }
    assert_eq!(set.heap_bytes(), 0, "numbers in sequence take nothing");
    assert!(set.remove(SeriesRef(0)) && set.remove(SeriesRef(999)));
    assert!(matches!(set.repr, Repr::Run { first: 1, len: 998 }));
    for n in (1..999).filter(|n| n % 100 != 0) {
        assert!(set.remove(SeriesRef(n)));
        assert!(!set.remove(SeriesRef(n)));
    }
    assert!(matches!(set.repr, Repr::Map(_)));
    set.shrink();
    assert!(matches!(set.repr, Repr::List(_)));
    assert_eq!(set, (1..10).map(|n| SeriesRef(100 * n)).collect());
    set.remove_from(SeriesRef(101));
    set.shrink();
    assert!(matches!(set.repr, Repr::Run { first: 100, len: 1 }));
}

#[test]
fn the_largest_number_is_one_too() {
    for start in [0, 3] {
        let mut set = Postings::new();
        let numbers = [u64::MAX - 2, u64::MAX - 1, u64::MAX];
        for n in &numbers[..start] {
            set.insert(SeriesRef(*n));
        }
        for n in numbers {
            set.insert(SeriesRef(n));
        }
        assert!(set.iter().map(|series| series.0).eq(numbers));
        set.shrink();
        assert_eq!((set.len(), set.last()), (3, Some(SeriesRef(u64::MAX))));
        assert_eq!(set, Postings::from_ascending(numbers.to_vec()));
    }
}

proptest! {
    #[test]
    fn operations_are_those_of_sets(a in refs(), b in refs()) {
        let (x, y) = (postings(&a), postings(&b));
        prop_assert_eq!(united(&x, &y), postings(&(&a | &b)));
        prop_assert_eq!(intersected(&x, &y), postings(&(&a & &b)));
        prop_assert_eq!(subtracted(&x, &y), postings(&(&a - &b)));
        prop_assert_eq!(x.is_disjoint(&y), a.is_disjoint(&b));
        prop_assert_eq!(x.len(), a.len() as u64);
        prop_assert_eq!(x.first(), a.first().copied().map(SeriesRef));
        prop_assert_eq!(x.last(), a.last().copied().map(SeriesRef));
    }

    #[test]
    fn set_laws_hold(a in refs(), b in refs(), c in refs()) {
        let (a, b, c) = (postings(&a), postings(&b), postings(&c));
        prop_assert_eq!(united(&a, &b), united(&b, &a));
        prop_assert_eq!(intersected(&a, &b), intersected(&b, &a));
        prop_assert_eq!(
            intersected(&a, &united(&b, &c)),
            united(&intersected(&a, &b), &intersected(&a, &c))
        );
        prop_assert_eq!(
            subtracted(&a, &united(&b, &c)),
            intersected(&subtracted(&a, &b), &subtracted(&a, &c))
        );
        prop_assert_eq!(united(&intersected(&a, &b), &subtracted(&a, &b)), a);
    }

    #[test]
    fn refs_come_in_order_from_anywhere(a in refs(), from: u16) {
        let set = postings(&a);
        let from = u64::from(from) % 300;
        let mut iter = set.iter();
        iter.advance_to(SeriesRef(from));
        let rest: Vec<_> = iter.map(|series| series.0).collect();
        prop_assert_eq!(rest, a.range(from..).copied().collect::<Vec<_>>());
        let mut cut = set.clone();
        cut.remove_from(SeriesRef(from));
        prop_assert_eq!(cut, postings(&a.range(..from).copied().collect()));
        prop_assert!(a.iter().all(|&n| set.contains(SeriesRef(n))));
        let mut shrunk = set.clone();
        shrunk.shrink();
        prop_assert_eq!(shrunk, set);
    }

    #[test]
    fn ranges_are_many_numbers(a in refs(), first in 0..10_000_u64, len in 0..9_000_u64) {
        let mut set = postings(&a);
        set.insert_range(first..first + len);
        let expected: BTreeSet<u64> = a.into_iter().chain(first..first + len).collect();
        prop_assert_eq!(set.len(), expected.len() as u64);
        prop_assert_eq!(set, postings(&expected));
    }
}
