//! This engine beside Prometheus's own: samples and queries made at random, and every answer
//! compared: values, series, errors, warnings and infos.
//!
//! The peer is a Go program in `peer/`, built if there is Go, or named by `FERULA_PROMQL_PEER`.
//! `FERULA_PEER_EVALS=200000 FERULA_PEER_SEED=7 cargo test --release -p ferula-promql --test
//! differential -- --nocapture` runs for longer, over other samples. Differences are shrunk and
//! printed as scripts.

mod answer;
mod case;
mod data;
mod known;
mod peer;
mod reading;
mod shrink;

use std::collections::BTreeMap;

use ferula_promql::testlang::generate::QueryGenerator;

use answer::Difference;
use case::{Case, storage};
use data::{Data, METRICS};
use known::Pair;
use peer::Peer;

/// Queries over the same samples.
const QUERIES_OF_DATA: usize = 250;

/// Differences that are shrunk and printed.
const MAX_REPORTS: usize = 10;

fn number_from_env(name: &str, default: usize) -> usize {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

fn started() -> Option<Peer> {
    match Peer::start() {
        Ok(peer) => Some(peer),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}

#[test]
fn answers_are_those_of_prometheus() {
    let Some(mut peer) = started() else { return };
    let n_evals = number_from_env("FERULA_PEER_EVALS", 2_000);
    let seed = number_from_env("FERULA_PEER_SEED", 1) as u64;
    let mut reports = Vec::new();
    let mut explained: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut n_done, mut n_failed) = (0, 0);
    let mut round = 0;
    while n_done < n_evals && reports.len() < MAX_REPORTS {
        let mut random = QueryGenerator::wide(seed << 32 | round, METRICS);
        round += 1;
        let data = Data::random(&mut random);
        let storage = storage(&data);
        peer.load(&data);
        let mut other_data = false;
        for _ in 0..QUERIES_OF_DATA.min(n_evals - n_done) {
            if std::mem::take(&mut other_data) {
                peer.load(&data);
            }
            let case = Case::random(&mut random, &data);
            peer.ask(&case);
            let ours = case.run(&storage);
            let theirs = peer.outcome(&case);
            n_done += 1;
            if n_done % 10_000 == 0 {
                println!("{n_done} evaluations, {} differences", reports.len());
            }
            let Some(theirs) = theirs else {
                *explained.entry("what never ends in Prometheus").or_default() += 1;
                other_data = true;
                continue;
            };
            n_failed += usize::from(theirs.class().is_some());
            let Some(difference) = ours.difference(&theirs, case.is_ordered()) else { continue };
            let pair = Pair { case: &case, storage: &storage, ours: &ours, theirs: &theirs };
            if let Some(reason) = known::reason(&pair, &difference) {
                *explained.entry(reason).or_default() += 1;
                continue;
            }
            other_data = true;
            let first = format!("{case:?}: {difference}");
            reports.push(report(&mut peer, data.clone(), case) + &first);
        }
    }
    println!("seed {seed}: {n_done} evaluations, {n_failed} errors, explained: {explained:?}");
    if let (Ok(path), false) = (std::env::var("FERULA_PEER_REPORT"), reports.is_empty()) {
        std::fs::write(path, reports.join("\n")).expect("the report can be written");
    }
    assert!(reports.is_empty(), "{}", reports.join("\n"));
}

/// What differs, and how, as small as it can be made.
fn report(peer: &mut Peer, data: Data, case: Case) -> String {
    let mut compare = |data: &Data, case: &Case| -> Option<Difference> {
        let storage = storage(data);
        peer.load(data);
        peer.ask(case);
        let ours = case.run(&storage);
        let theirs = peer.outcome(case)?;
        let difference = ours.difference(&theirs, case.is_ordered())?;
        let pair = Pair { case, storage: &storage, ours: &ours, theirs: &theirs };
        known::reason(&pair, &difference).is_none().then_some(difference)
    };
    let first = compare(&data, &case);
    let is_alike = |a: &Difference| {
        first.as_ref().is_none_or(|b| std::mem::discriminant(a) == std::mem::discriminant(b))
    };
    let (data, case) =
        shrink::shrink(data, case, |data, case| compare(data, case).as_ref().is_some_and(is_alike));
    let difference = compare(&data, &case).map(|difference| difference.to_string());
    let difference = difference.unwrap_or_default();
    format!("\n{}\n{}\n# flags {}: {difference}\n", data.script(), case.script(), case.flags)
}
