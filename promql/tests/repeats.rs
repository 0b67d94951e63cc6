//! What stands in a query more than once is computed once, and said of each place.

use std::sync::Arc;

use ferula_promql::storage::Queryable;
use ferula_promql::testlang::generate::{QueryGenerator, fill};
use ferula_promql::testlang::{MemoryStorage, TestStorage};
use ferula_promql::{Engine, EngineOptions, Error, Features, QueryResult};

fn storage() -> Arc<dyn Queryable> {
    let mut storage = MemoryStorage::new();
    fill(&mut storage, 40, 100).expect("memory takes all");
    storage.queryable().expect("memory is readable")
}

fn run(storage: &Arc<dyn Queryable>, text: &str) -> Result<QueryResult, Error> {
    let engine = Engine::new(EngineOptions::default().features(Features::ALL));
    engine.range(Arc::clone(storage), text, 0, 1_200_000, 60_000)?.run()
}

#[test]
fn aggregations_are_computed_once() {
    let storage = storage();
    let n_samples = |text: &str| run(&storage, text).unwrap().stats.samples_read;
    let once = n_samples("sum by (a) (rate(c_total[5m]))");
    assert!(once > 1_000, "{once}");
    let thrice = "sum by (a) (rate(c_total[5m])) / (sum by (a) (rate(c_total[5m])) + 1)
        or sum by (a) (rate(c_total[5m]))";
    assert_eq!(n_samples(thrice), once);
    // At steps of their own they are others.
    let elsewhere = "sum by (a) (rate(c_total[5m]))
        + max_over_time(sum by (a) (rate(c_total[5m]))[2m:30s])";
    assert!(n_samples(elsewhere) > once);
}

#[test]
fn what_is_said_points_to_each_place() {
    let storage = storage();
    let said = |text: &str| -> Vec<String> { run(&storage, text).unwrap().annotations.infos(text) };
    let once = said("sum by (a) (rate(g[5m]))");
    assert_eq!(once.len(), 1, "{once:?}");
    assert!(once[0].ends_with("(1:18)"), "{once:?}");
    let all = said(
        "count(sum by (a) (rate(g[5m]))) / count(sum by (a) (rate(g[5m])))
            + sum(sum by (a) (rate(g[5m])))",
    );
    let places: Vec<&str> = all.iter().filter_map(|text| text.rsplit(' ').next()).collect();
    assert_eq!(places, ["(1:24)", "(1:58)", "(2:36)"], "{all:?}");
}

#[test]
fn answers_are_those_of_parts_by_themselves() {
    let storage = storage();
    let mut n_compared = 0;
    for seed in 0..400 {
        let query = QueryGenerator::new(seed).query();
        let Ok(alone) = run(&storage, &format!("group without () ({query})")) else { continue };
        let repeated = "group without () (_) or group without () (_)".replace('_', &query);
        let repeated = run(&storage, &repeated).unwrap();
        assert_eq!(format!("{:?}", alone.value), format!("{:?}", repeated.value), "{query}");
        n_compared += 1;
    }
    assert!(n_compared > 200, "{n_compared}");
}
