//! Prometheus's own test scripts and the project's, over samples in memory.
//!
//! `FERULA_PROMQL_VERBOSE=1 cargo test -p ferula-promql --test promqltest -- --nocapture` says why
//! evaluations fail; `FERULA_UPDATE_BASELINE=1` records what passes.

use std::path::Path;

use ferula_promql::Engine;
use ferula_promql::testlang::suite::Suite;
use ferula_promql::testlang::{MemoryStorage, engine_options};

#[test]
fn scripts_pass_as_often_as_before() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let baseline = Path::new("promql/tests/data/promqltest-baseline.txt");
    let suite = Suite::from_env(root, baseline);
    let engine = Engine::new(engine_options());
    let outcome = suite.run(&engine, &mut MemoryStorage::new()).unwrap();
    assert!(outcome.losses.is_empty(), "lost: {:#?}", outcome.losses);
}
