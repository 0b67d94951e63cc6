//! The example runs and finds what it stored.

#![cfg(feature = "promql")]

#[path = "../examples/embedded.rs"]
mod embedded;

#[test]
fn the_example_answers_its_own_query() {
    embedded::main().unwrap();
}
