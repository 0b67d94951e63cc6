//! The page in a real browser: clicks, keys and what comes of them, over a store with markup in a label
//! value.
//!
//! `FERULA_CHROMIUM` names the browser, or `chromium` is looked for in `PATH`, and `node` runs the
//! script; without one of them the test is skipped and says so. `FERULA_SCREENSHOTS` names a
//! directory that screenshots are kept in.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use ferula_index::Labels;
use ferula_tsdb::{Db, Options};
use ferula_wire::testing::Program;

const QUERIER: &str = env!("CARGO_BIN_EXE_querier");

fn in_path(variable: &str, program: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).or_else(|| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
    })
}

#[test]
fn a_person_can_use_it() {
    let (chromium, node) = (in_path("FERULA_CHROMIUM", "chromium"), in_path("FERULA_NODE", "node"));
    let (Some(chromium), Some(node)) = (chromium, node) else {
        println!("skipped: no chromium in FERULA_CHROMIUM or PATH, or no node");
        return;
    };
    let data = tempfile::tempdir().expect("a directory");
    let db = Db::open(data.path(), Options::default()).expect("a new store");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let now = i64::try_from(now).expect("in reach");
    let mut batch = db.appender();
    for (place, scale) in [("gate", 1.0), ("hall", 2.5), ("<img src=x onerror=window.ran=1>", 4.0)]
    {
        let labels = Labels::from_pairs([("__name__", "torches"), ("place", place)]);
        let labels = labels.expect("valid labels");
        for i in 0..120 {
            let height = 10.0 + scale * (f64::from(i) / 9.0 + scale).sin() + scale;
            let time = now - 900_000 + i64::from(i) * 7_500;
            batch.append(&labels, time, height).expect("the sample is accepted");
        }
    }
    batch.commit().expect("the log can be written");
    let querier = Program::start(QUERIER, data.path(), &[]);
    let own = tempfile::tempdir().expect("a directory");
    let shots = env::var_os("FERULA_SCREENSHOTS").map_or(own.path().to_owned(), PathBuf::from);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/page/page.mjs");
    // Node 20 has the protocol of browsers behind a flag, later ones without.
    let output = Command::new(node)
        .args(["--experimental-websocket", "--no-warnings"])
        .arg(script)
        .arg(chromium)
        .arg(&querier.url)
        .arg(shots)
        .output()
        .expect("node can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{problems}");
    assert!(text.lines().count() > 30, "{text}\n{problems}");
    db.close().expect("the log can be synced");
}
