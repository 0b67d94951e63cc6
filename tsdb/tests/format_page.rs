//! The worked examples of `docs/formats/block.md` and `tombstones.md` are what the code writes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::{commit, in_format, labels, options, sample};
use ferula_tsdb::{BlockFormat, Db};

/// What the block with this tag holds.
fn block<'a>(page: &'a str, tag: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("```{tag}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_worked_example_holds() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats");
    let page = fs::read_to_string(pages.join("block.md")).unwrap();
    let of_tombstones = fs::read_to_string(pages.join("tombstones.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), in_format(options(), BlockFormat::Prometheus)).unwrap();
    let samples = [sample(1000, 1.0), sample(2000, 1.0), sample(3000, 2.0)];
    commit(&db, &labels(&[("__name__", "up")]), &samples);
    let name = db.compact_head().unwrap()[0].to_string();
    let read = |file: &str| fs::read(dir.path().join(&name).join(file)).unwrap();

    let expected: Vec<&str> = block(&page, "segment").split_whitespace().collect();
    assert_eq!(hex(&read("chunks/000001")), expected.join(" "));
    assert_eq!(hex(&read("tombstones")), block(&of_tombstones, "tombstones").trim());
    let expected = block(&page, "json").replace("01J8F0ZG3WQ8MT7Y4C2N5KX1AB", &name);
    assert_eq!(String::from_utf8(read("meta.json")).unwrap(), expected);
}
