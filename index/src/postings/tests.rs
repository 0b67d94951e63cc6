use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Sets on both sides of the limit, dense and sparse, beyond 32 bits too.
fn refs() -> impl Strategy<Value = BTreeSet<u64>> {
    let number = prop_oneof![0..200_u64, 0..100_000_u64, (1 << 40)..(1_u64 << 40) + 50];
    prop::collection::btree_set(number, 0..200)
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
fn a_list_becomes_a_map_and_shrinks_back() {
    let mut set = Postings::new();
    for n in 0..100 {
        assert!(set.insert(SeriesRef(n)));
        assert!(!set.insert(SeriesRef(n)));
    }
    assert!(matches!(set.repr, Repr::Map(_)));
    for n in 10..100 {
        assert!(set.remove(SeriesRef(n)));
        assert!(!set.remove(SeriesRef(n)));
    }
    set.shrink();
    assert!(matches!(set.repr, Repr::List(_)));
    assert_eq!(set, (0..10).map(SeriesRef).collect());
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
    }
}
