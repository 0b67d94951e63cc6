//! The rules of the workspace that a compiler does not check: which crate may depend on which,
//! what stays out of the library crates, the licences of everything that is linked, and what
//! stands at the top of the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, PackageId};

/// Each crate with the crates of the family it may depend on. `bench` and `fuzz` may use all.
const ARROWS: [(&str, &[&str]); 11] = [
    ("ferula-chunkenc", &[]),
    ("ferula-index", &["ferula-chunkenc"]),
    ("ferula-wal", &["ferula-chunkenc", "ferula-index"]),
    ("ferula-promql", &["ferula-chunkenc", "ferula-index"]),
    ("ferula-tsdb", &["ferula-chunkenc", "ferula-index", "ferula-wal", "ferula-promql"]),
    ("ferula-wire", LIBRARIES),
    ("ferula-scraper", PROGRAM),
    ("ferula-receiver", PROGRAM),
    ("ferula-querier", PROGRAM),
    ("ferula-demo", PROGRAM),
    ("ferula-tool", PROGRAM),
];

const LIBRARIES: &[&str] =
    &["ferula-chunkenc", "ferula-index", "ferula-wal", "ferula-promql", "ferula-tsdb"];

const PROGRAM: &[&str] = &[
    "ferula-chunkenc",
    "ferula-index",
    "ferula-wal",
    "ferula-promql",
    "ferula-tsdb",
    "ferula-wire",
];

/// Runtimes, servers and configuration formats: matters of the programs.
const NOT_IN_LIBRARIES: [&str; 8] =
    ["tokio", "axum", "hyper", "reqwest", "tonic", "prost", "serde_yaml_ng", "tracing-subscriber"];

/// What a crate brings that has threads, clocks, files or randomness of its own: matters of the
/// callers of the engine, which runs in a browser, too.
const NOT_IN_ENGINE: [&str; 11] = [
    "rayon",
    "crossbeam",
    "threadpool",
    "rand",
    "getrandom",
    "fastrand",
    "memmap2",
    "tempfile",
    "chrono",
    "time",
    "rustix",
];

const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

const TOP_FOLDERS: [&str; 9] =
    ["benches", "chunkenc", "docs", "examples", "fuzz", "index", "promql", "tsdb", "wal"];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .exec()
        .expect("cargo metadata runs in this workspace")
}

/// Names of everything that is linked into `root`, development and build dependencies left out.
fn linked(metadata: &Metadata, root: &PackageId) -> BTreeSet<String> {
    linked_without(metadata, root, "\0")
}

/// The same without packages whose names begin with `prefix`, and what only they bring.
fn linked_without(metadata: &Metadata, root: &PackageId, prefix: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("metadata is resolved");
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut seen = BTreeSet::from([root]);
    let mut pending = vec![root];
    while let Some(id) = pending.pop() {
        for dep in &nodes[id].deps {
            let is_linked = dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            let is_left_out = metadata[&dep.pkg].name.starts_with(prefix);
            if is_linked && !is_left_out && seen.insert(&dep.pkg) {
                pending.push(&dep.pkg);
            }
        }
    }
    seen.remove(root);
    seen.into_iter().map(|id| metadata[id].name.to_string()).collect()
}

#[test]
fn dependency_arrows_never_turn_back() {
    let metadata = metadata();
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    for package in metadata.workspace_packages() {
        if *package.name == "ferula-benches" {
            continue;
        }
        let allowed = allowed
            .get(package.name.as_str())
            .unwrap_or_else(|| panic!("{} has no place in the order of crates", package.name));
        for name in linked(&metadata, &package.id) {
            assert!(
                !name.starts_with("ferula-") || allowed.contains(&name.as_str()),
                "{} must not depend on {name}",
                package.name
            );
        }
    }
}

#[test]
fn libraries_bring_no_runtime() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        if !LIBRARIES.contains(&package.name.as_str()) {
            continue;
        }
        let linked = linked(&metadata, &package.id);
        for name in NOT_IN_LIBRARIES {
            assert!(!linked.contains(name), "{} must not bring {name}", package.name);
        }
    }
}

#[test]
fn the_engine_runs_anywhere() {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let engine = packages.iter().find(|package| *package.name == "ferula-promql");
    let engine = engine.expect("the engine is in this workspace");
    // Other members of the workspace turn the feature `arrow` on, which is not meant to run anywhere.
    let linked = linked_without(&metadata, &engine.id, "arrow-");
    assert!(linked.contains("ferula-index"));
    for name in NOT_IN_ENGINE {
        assert!(!linked.contains(name), "the engine must not bring {name}");
    }
}

#[test]
fn licences_are_permissive() {
    for package in &metadata().packages {
        let Some(licence) = &package.license else {
            panic!("{} {} states no licence", package.name, package.version);
        };
        // Old manifests write "MIT/Apache-2.0". An expression passes if each of its "AND" parts
        // offers a choice we accept.
        let accepted = licence.replace('/', " OR ").split(" AND ").all(|part| {
            part.split(" OR ").any(|one| LICENCES.contains(&one.trim_matches(&['(', ')', ' '][..])))
        });
        assert!(accepted, "{} {} is under {licence}", package.name, package.version);
    }
}

#[test]
fn top_of_the_tree_is_as_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders: BTreeSet<String> = std::fs::read_dir(root)
        .expect("the workspace is readable")
        .map(|entry| entry.expect("its entries are"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target" && name != "ferula-data")
        .collect();
    assert_eq!(folders, TOP_FOLDERS.map(str::to_owned).into_iter().collect());
}
