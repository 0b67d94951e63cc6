//! Chunks, index and engine bring no thread, clock, file or randomness of their own, so that they run
//! wherever their caller does, `wasm32-unknown-unknown` included. `workspace.rs` says the same of what they
//! link.

use std::path::Path;

/// What would reach around the caller.
const OUTSIDE: [&str; 17] = [
    "thread::spawn",
    "thread::scope",
    "thread::sleep",
    "thread::Builder",
    "available_parallelism",
    "Instant",
    "SystemTime",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "io::stdin",
    "io::stdout",
    "io::stderr",
    "println",
    "RandomState",
    "extern \"C\"",
];

fn walk(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).expect("the sources are readable") {
        let path = entry.expect("and so is each of them").path();
        // Tests may do what they like, and the runner of test scripts reads these from files.
        let is_of_tests = |name: &std::ffi::OsStr| name == "testlang" || name == "tests.rs";
        if path.file_name().is_some_and(is_of_tests) {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("sources are text");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let reaches = |outside: &&&str| match outside.contains([':', ' ']) {
                true => line.contains(**outside),
                false => words.contains(*outside),
            };
            if let Some(outside) = OUTSIDE.iter().find(reaches) {
                found.push(format!("{}: {outside}: {line}", path.display()));
            }
        }
    }
}

#[test]
fn nothing_reaches_around_the_caller() {
    let mut found = Vec::new();
    for source in ["chunkenc/src", "index/src", "promql/src"] {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(source), &mut found);
    }
    assert_eq!(found, [""; 0]);
}
