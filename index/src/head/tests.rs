use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::MatchOp;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn matcher(op: MatchOp, name: &str, value: &str) -> Matcher {
    Matcher::new(op, name, value).unwrap()
}

#[test]
fn concurrent_appenders_get_one_series() {
    let index = HeadIndex::new();
    let n_new = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..500 {
                    let labels = labels(&[("__name__", "m"), ("i", &i.to_string())]);
                    if index.get_or_create(&labels).unwrap().1 {
                        n_new.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(n_new.into_inner(), 500);
    assert_eq!(index.len(), 500);
}

#[test]
fn a_selection_never_sees_half_a_series() {
    let index = HeadIndex::new();
    let done = AtomicBool::new(false);
    let excluding = [Matcher::equal("a", "1"), matcher(MatchOp::NotEqual, "z", "1")];
    thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..3000 {
                let made = labels(&[("a", "1"), ("i", &i.to_string()), ("z", "1")]);
                let (series, _) = index.get_or_create(&made).unwrap();
                assert!(index.select(&[Matcher::equal("a", "1")]).contains(series));
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            assert!(index.select(&excluding).is_empty());
        }
    });
}

#[test]
fn removed_series_leave_nothing_behind() {
    let index = HeadIndex::new();
    let kept = labels(&[("__name__", "m"), ("pod", "kept")]);
    let (kept_ref, _) = index.get_or_create(&kept).unwrap();
    for round in 0..10 {
        for i in 0..100 {
            let pod = format!("{round}-{i}");
            index.get_or_create(&labels(&[("__name__", "m"), ("pod", &pod), ("x", "y")])).unwrap();
        }
        let churned = index.select(&[Matcher::equal("x", "y")]);
        assert_eq!(index.remove(&churned), 100);
        assert_eq!(index.remove(&churned), 0);
    }
    assert_eq!(index.len(), 1);
    assert_eq!((index.n_label_pairs(), index.n_symbols()), (2, 4));
    assert_eq!(index.label_names(&[]), ["__name__", "pod"]);
    assert_eq!(index.label_values("pod", &[]), ["kept"]);
    assert_eq!(index.get(&kept), Some(kept_ref));
    assert!(index.dictionary.read().pairs_of("x").is_empty());
}

#[test]
fn refs_are_never_given_twice() {
    let index = HeadIndex::new();
    let a = labels(&[("a", "1")]);
    let b = labels(&[("b", "1")]);
    assert_eq!(index.insert(SeriesRef(7), &a).unwrap(), SeriesRef(7));
    assert_eq!(index.insert(SeriesRef(9), &a).unwrap(), SeriesRef(7));
    let taken = index.insert(SeriesRef(7), &b);
    assert!(matches!(taken, Err(Error::SeriesRefTaken { series: SeriesRef(7) })));
    assert!(index.insert(SeriesRef(0), &b).is_err());
    assert_eq!(index.get_or_create(&b).unwrap(), (SeriesRef(8), true));
    index.remove(&[SeriesRef(8)].into_iter().collect());
    assert_eq!(index.get_or_create(&b).unwrap(), (SeriesRef(9), true));
}

#[test]
fn many_series_at_once_are_those_one_by_one() {
    let make = |i: u64| {
        let pod = format!("pod-{}", i / 50);
        let own = if i.is_multiple_of(3) { ("code", i % 7) } else { ("le", i % 11) };
        let own = (own.0, own.1.to_string());
        let i = i.to_string();
        Labels::from_pairs([("__name__", "m"), ("pod", &pod), ("x", &i), (own.0, &own.1)]).unwrap()
    };
    let (one, many) = (HeadIndex::new(), HeadIndex::new());
    let batch: Vec<(SeriesRef, Labels)> = (1..2000).map(|i| (SeriesRef(i), make(i))).collect();
    for (series, labels) in &batch {
        one.insert(*series, labels).unwrap();
    }
    thread::scope(|scope| {
        for part in batch.chunks(300) {
            scope.spawn(|| assert_eq!(many.insert_all(part).unwrap(), []));
        }
    });
    let matchers = [
        vec![],
        vec![Matcher::equal("pod", "pod-7")],
        vec![matcher(MatchOp::Regex, "code", "1|2")],
        vec![matcher(MatchOp::NotEqual, "le", ""), matcher(MatchOp::NotEqual, "pod", "pod-3")],
    ];
    for matchers in matchers {
        assert_eq!(one.sorted(&one.select(&matchers)), many.sorted(&many.select(&matchers)));
    }
    assert!(batch.iter().all(|(series, labels)| many.get(labels) == Some(*series)));
    assert_eq!(many.insert_all(&batch).unwrap(), [], "they are there already");
    let taken = [(SeriesRef(5000), make(5000)), (SeriesRef(7), make(5001))];
    assert!(matches!(many.insert_all(&taken), Err(Error::SeriesRefTaken { series: SeriesRef(7) })));
    assert_eq!((many.len(), many.get(&make(5000))), (2000, Some(SeriesRef(5000))));
}

#[test]
fn few_series_are_looked_at_instead_of_many_values() {
    let index = HeadIndex::new();
    for i in 0..1000 {
        let (name, i) = (if i % 100 == 0 { "few" } else { "many" }, i.to_string());
        let bare = [("__name__", name), ("job", "a"), ("x", &*i)];
        let made = labels(if i.len() == 3 && i.ends_with("00") { &bare[..2] } else { &bare });
        index.get_or_create(&made).unwrap();
    }
    let select = |op, value| {
        let matchers = [Matcher::equal("__name__", "few"), matcher(op, "x", value)];
        index.label_values("x", &matchers).len() as u64 + 100 * index.select(&matchers).len()
    };
    assert_eq!(select(MatchOp::Regex, ".+"), 101, "of the two series one has the label");
    assert_eq!(select(MatchOp::Regex, ".*"), 201);
    assert_eq!(select(MatchOp::NotEqual, ""), 101);
    assert_eq!(select(MatchOp::NotRegex, ".*0"), 100);
    assert_eq!(select(MatchOp::NotRegex, "[1-9].*"), 201);
}

#[test]
fn the_largest_of_each_kind_are_counted() {
    let index = HeadIndex::new();
    for i in 0..60 {
        let (name, pod) = (["a", "b", "b"][i % 3], format!("pod-{}", i / 6));
        let made = labels(&[("__name__", name), ("pod", &pod), ("x", &i.to_string())]);
        index.get_or_create(&made).unwrap();
    }
    let gone = index.select(&[Matcher::equal("pod", "pod-0")]);
    index.remove(&gone);
    let counts = |list: &[Count]| -> Vec<(String, u64)> {
        list.iter().map(|entry| (entry.name.clone(), entry.count)).collect()
    };
    let of = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let found = index.cardinality(2);
    assert_eq!((found.n_series, found.n_label_names, found.n_label_pairs), (54, 3, 2 + 9 + 54));
    assert_eq!(counts(&found.series_by_metric), of(&[("b", 36), ("a", 18)]));
    assert_eq!(counts(&found.values_by_label), of(&[("x", 54), ("pod", 9)]));
    assert_eq!(counts(&found.value_bytes_by_label), of(&[("__name__", 11 * 54), ("pod", 10 * 54)]));
    assert_eq!(counts(&found.series_by_pair), of(&[("__name__=b", 36), ("__name__=a", 18)]));
    assert_eq!(found.index_bytes_by_label[0].name, "x");
    let all = index.cardinality(100);
    assert_eq!(counts(&all.series_by_label), of(&[("__name__", 54), ("pod", 54), ("x", 54)]));
    assert_eq!((all.series_by_pair.len(), all.series_by_pair[3].count), (65, 6));
    assert_eq!(index.cardinality(0).series_by_pair, []);
}

#[derive(Clone, Debug)]
enum Step {
    Create(Labels),
    Insert(Vec<Labels>),
    Remove(Vec<Labels>),
    Select(Vec<Matcher>),
}

#[test]
fn labels_of_many_series_come_in_their_order() {
    let index = HeadIndex::new();
    let make = |i: usize| {
        let many = ["x", "y", "z"].map(|name| (name, i.to_string()));
        Labels::from_pairs(many.into_iter().take(i % 4).chain([("i", i.to_string())])).unwrap()
    };
    let made: Vec<(SeriesRef, Labels)> =
        (0..1000).map(|i| (index.get_or_create(&make(i)).unwrap().0, make(i))).collect();
    let gone: Postings = made.iter().map(|(series, _)| *series).filter(|s| s.0 % 5 == 0).collect();
    index.remove(&gone);
    let (refs, labels): (Vec<SeriesRef>, Vec<Labels>) = made.into_iter().rev().unzip();
    let expected: Vec<Option<Labels>> = (refs.iter().zip(labels))
        .map(|(series, labels)| (!gone.contains(*series)).then_some(labels))
        .collect();
    assert_eq!(index.labels_of(&refs), expected);
    assert_eq!(index.labels_of(&[]), []);
}

fn label_set() -> impl Strategy<Value = Labels> {
    let pair = ("[abc]", "(x|y|xy|)");
    prop::collection::btree_map(pair.0, pair.1, 0..4)
        .prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual]);
    let regex_op = prop::sample::select(vec![MatchOp::Regex, MatchOp::NotRegex]);
    let pattern = prop::sample::select(vec!["x|y", "x.*", ".*", ".+", "", "|x", ".*y", "x?"]);
    prop_oneof![
        (op, "[abcd]", "(x|y|xy|)").prop_map(|(op, name, value)| matcher(op, &name, &value)),
        (regex_op, "[abcd]", pattern).prop_map(|(op, name, value)| matcher(op, &name, value)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => label_set().prop_map(Step::Create),
        1 => prop::collection::vec(label_set(), 0..8).prop_map(Step::Insert),
        1 => prop::collection::vec(label_set(), 1..4).prop_map(Step::Remove),
        3 => prop::collection::vec(any_matcher(), 0..4).prop_map(Step::Select),
    ]
}

#[test]
fn work_that_nobody_waits_for_ends_soon() {
    let index = HeadIndex::new();
    let mut refs = Vec::new();
    for i in 0..3_000 {
        let labels = Labels::from_pairs([("job", "a"), ("pod", &format!("p{i}"))]).unwrap();
        refs.push(index.get_or_create(&labels).unwrap().0);
    }
    let matchers = [matcher(MatchOp::Regex, "pod", ".*9.*")];
    // However often it is asked, the work ends with the next question.
    let n_asked = Cell::new(0_u32);
    let last = Cell::new(0);
    let go_on = || {
        n_asked.set(n_asked.get() + 1);
        n_asked.get() <= last.get()
    };
    let work = |n: u32| {
        n_asked.set(0);
        last.set(n);
        let pace = Pace::new(&go_on);
        (index.select_paced(&matchers, &pace).is_some(), index.order_paced(&refs, &pace).is_some())
    };
    assert_eq!(work(u32::MAX), (true, true));
    let n_all = n_asked.get();
    // 3,000 values, as many series and pairs, asked about at least every 256 of them.
    assert!(n_all > 3 * 3_000 / 256, "{n_all}");
    for n in (0..n_all).step_by(n_all as usize / 20) {
        assert!(work(n) != (true, true));
        assert_eq!(n_asked.get(), n + 1);
    }
}

proptest! {
    #[test]
    fn order_is_that_of_the_labels(
        sets in prop::collection::vec(
            prop::collection::btree_map("[ab_Z]{1,2}", "[abz]{1,3}", 0..7), 0..60
        ),
        gone in prop::collection::btree_set(0..60_usize, 0..5),
    ) {
        let index = HeadIndex::new();
        let mut made = Vec::new();
        for pairs in sets {
            let labels = Labels::from_pairs(pairs)?;
            let (series, is_new) = index.get_or_create(&labels)?;
            made.extend(is_new.then_some((labels, series)));
        }
        let refs: Vec<SeriesRef> = made.iter().rev().map(|(_, series)| *series).collect();
        let gone: Postings = refs.iter().enumerate()
            .filter(|(at, _)| gone.contains(at)).map(|(_, series)| *series).collect();
        index.remove(&gone);
        made.retain(|(_, series)| !gone.contains(*series));
        made.sort_unstable();
        let ordered = index.order(&refs).into_iter().map(|at| refs[at as usize]);
        prop_assert!(ordered.eq(made.iter().map(|(_, series)| *series)));
        let all: Postings = refs.into_iter().collect();
        let symbols: BTreeSet<&str> =
            made.iter().flat_map(|(labels, _)| labels).flat_map(|(n, v)| [n, v]).collect();
        prop_assert!(index.symbols_of(&all).iter().eq(symbols));
        prop_assert_eq!(index.sorted(&all), made);
    }

    #[test]
    fn the_index_behaves_like_a_map(steps in prop::collection::vec(step(), 1..60)) {
        let index = HeadIndex::new();
        let mut model: BTreeMap<Labels, SeriesRef> = BTreeMap::new();
        let mut next_ref = 1000;
        for step in steps {
            match step {
                Step::Create(labels) => {
                    let (series, is_new) = index.get_or_create(&labels)?;
                    next_ref = next_ref.max(series.0 + 1);
                    prop_assert_eq!(is_new, !model.contains_key(&labels));
                    prop_assert_eq!(*model.entry(labels).or_insert(series), series);
                }
                Step::Insert(which) => {
                    let refs = next_ref..;
                    let batch: Vec<(SeriesRef, Labels)> = refs.map(SeriesRef).zip(which).collect();
                    next_ref += batch.len() as u64 + 3;
                    let mut known = Vec::new();
                    for (series, labels) in batch.clone() {
                        let stands = *model.entry(labels).or_insert(series);
                        if stands != series {
                            known.push((series, stands));
                        }
                    }
                    prop_assert_eq!(index.insert_all(&batch)?, known);
                }
                Step::Remove(which) => {
                    let refs: Postings = which.iter().filter_map(|l| model.remove(l)).collect();
                    prop_assert_eq!(index.remove(&refs), refs.len());
                }
                Step::Select(matchers) => {
                    let passes = |labels: &Labels| {
                        let value = |name| labels.get(name).unwrap_or_default();
                        matchers.iter().all(|m| m.matches(value(m.name())))
                    };
                    let expected: Vec<(Labels, SeriesRef)> =
                        model.clone().into_iter().filter(|(labels, _)| passes(labels)).collect();
                    prop_assert_eq!(index.sorted(&index.select(&matchers)), expected.clone());

                    let names: BTreeSet<&str> =
                        expected.iter().flat_map(|(labels, _)| labels.iter().map(|p| p.0)).collect();
                    prop_assert!(index.label_names(&matchers).iter().eq(names));
                    let values: BTreeSet<&str> =
                        expected.iter().filter_map(|(labels, _)| labels.get("a")).collect();
                    prop_assert!(index.label_values("a", &matchers).iter().eq(values));
                }
            }
        }
        prop_assert_eq!(index.len(), model.len() as u64);
    }
}
