//! The worked example of `docs/formats/ferula-block.md` is what the code writes, and what it reads.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::{all, labels, options, sample};
use ferula_tsdb::{BlockFormat, Db};

/// What the blocks with this tag hold.
fn block(page: &str, tag: &str) -> String {
    let fence = format!("```{tag}\n");
    page.split(&fence).skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

/// Bytes as the page has them, which is as many in a line as belong together.
fn words(hex: &str) -> Vec<String> {
    hex.split_whitespace().map(str::to_owned).collect()
}

fn hex(bytes: &[u8]) -> Vec<String> {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_worked_example_holds() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats");
    let page = fs::read_to_string(pages.join("ferula-block.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    let mut appender = db.appender();
    for (job, first) in [("api", 0.5), ("node", 20.0)] {
        let labels = labels(&[("__name__", "up"), ("job", job)]);
        for (at, step) in [(1000, 0.0), (2000, 0.25), (3000, 0.5)] {
            appender.append(&labels, at, first + step).unwrap();
        }
    }
    appender.commit().unwrap();
    let written = all(&db);
    assert_eq!(written[0].1[1], sample(2000, 0.75));
    let name = db.compact_head().unwrap()[0].to_string();
    let block_dir = dir.path().join(&name);
    assert_eq!(options().block_format, BlockFormat::Ferula);
    let written_files = ["index", "chunks/000001"].map(|file| {
        let bytes = fs::read(block_dir.join(file)).unwrap();
        hex(&bytes)
    });
    assert_eq!(written_files, ["index", "segment"].map(|tag| words(&block(&page, tag))));
    let json = block(&page, "json").replace("01J8F0ZG3WQ8MT7Y4C2N5KX1AB", &name);
    assert_eq!(fs::read_to_string(block_dir.join("meta.json")).unwrap(), json);
    assert_eq!(all(&db), written);
}
