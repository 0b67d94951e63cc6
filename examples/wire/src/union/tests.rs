use ferula_chunkenc::SampleBatch;
use ferula_promql::{Engine, EngineOptions, Value};

use super::*;
use crate::store::memory::MemoryStore;

/// What a storage has: labels as text, and samples.
fn all(storage: &dyn Queryable, function: &str) -> Vec<(String, Vec<(i64, f64)>)> {
    let querier = storage.querier(TimeRange::ALL).unwrap();
    let mut hints = SelectHints::new(TimeRange::ALL);
    hints.function = function.to_owned();
    let set = querier.select(&[Matcher::equal("__name__", "m")], &hints).unwrap();
    (0..set.len())
        .map(|index| {
            let mut batch = SampleBatch::new();
            set.read(index, &mut batch).unwrap();
            let samples = batch.timestamps().iter().copied().zip(batch.values().iter().copied());
            (set.labels(index).to_string(), samples.collect())
        })
        .collect()
}

fn stores() -> Vec<Arc<dyn Queryable>> {
    let (a, b) = (MemoryStore::new(), MemoryStore::new());
    for i in 0..5 {
        a.put(&[("__name__", "m"), ("job", "x"), ("replica", "a")], i * 10_000, 1.0);
        b.put(&[("__name__", "m"), ("job", "x"), ("replica", "b")], 1 + i * 10_000, 2.0);
    }
    a.put(&[("__name__", "m"), ("job", "y")], 0, 3.0);
    a.put(&[("__name__", "m"), ("job", "y")], 10, 4.0);
    b.put(&[("__name__", "m"), ("job", "y")], 5, 5.0);
    b.put(&[("__name__", "m"), ("job", "y")], 10, 6.0);
    b.put(&[("__name__", "m"), ("job", "z"), ("replica", "b")], 7, 7.0);
    vec![Arc::new(a), Arc::new(b)]
}

#[test]
fn samples_of_all_storages_are_there_once() {
    let union = Union::new(stores(), Merge::Chain, Vec::new());
    let found = all(&union, "");
    let labels: Vec<&str> = found.iter().map(|(labels, _)| labels.as_str()).collect();
    assert_eq!(
        labels,
        [
            r#"{__name__="m", job="x", replica="a"}"#,
            r#"{__name__="m", job="x", replica="b"}"#,
            r#"{__name__="m", job="y"}"#,
            r#"{__name__="m", job="z", replica="b"}"#,
        ]
    );
    assert_eq!(found[2].1, [(0, 3.0), (5, 5.0), (10, 4.0)]);
}

#[test]
fn replicas_become_one_series() {
    let union = Union::new(stores(), Merge::Penalty, vec!["replica".to_owned()]);
    let found = all(&union, "");
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].0, r#"{__name__="m", job="x"}"#);
    assert_eq!(found[0].1, (0..5).map(|i| (i * 10_000, 1.0)).collect::<Vec<_>>());
    assert_eq!(found[2], (r#"{__name__="m", job="z"}"#.to_owned(), vec![(7, 7.0)]));
    let querier = union.querier(TimeRange::ALL).unwrap();
    assert_eq!(querier.label_names(&[]).unwrap(), ["__name__", "job"]);
    assert_eq!(querier.label_values("job", &[]).unwrap(), ["x", "y", "z"]);
    assert_eq!(querier.label_values("replica", &[]).unwrap(), [""; 0]);
}

#[test]
fn queries_see_one_series_and_memory_is_counted() {
    let storage: Arc<dyn Queryable> =
        Arc::new(Union::new(stores(), Merge::Penalty, vec!["replica".to_owned()]));
    let engine = Engine::new(EngineOptions::default());
    let count = engine.instant(storage.clone(), "sum(count_over_time(m{job=\"x\"}[1m]))", 45_000);
    let Value::Vector(vector) = count.unwrap().run().unwrap().value else { panic!("a vector") };
    assert_eq!(vector[0].value, 5.0);
    let newest = engine.instant(storage.clone(), "m", 45_000).unwrap().run().unwrap().value;
    let Value::Vector(vector) = newest else { panic!("a vector") };
    assert_eq!(vector.iter().map(|sample| sample.value).collect::<Vec<_>>(), [1.0, 4.0, 7.0]);
    let small = engine.instant(storage, "m", 45_000).unwrap().with_max_memory_bytes(200);
    assert!(matches!(small.run(), Err(ferula_promql::Error::TooMuchMemory { .. })));
}
