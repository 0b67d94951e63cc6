//! The worked example of `docs/formats/index.md` is what the code writes and Prometheus wrote.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::fs;
use std::path::Path;

use ferula_index::block::{IndexReader, IndexWriter};
use ferula_index::{ChunkMeta, Labels};

fn read(path: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What the blocks with this tag hold.
fn blocks<'a>(page: &'a str, tag: &str) -> Vec<&'a str> {
    let fence = format!("```{tag}\n");
    page.split(&fence).skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

fn describe(labels: &Labels, chunks: &[ChunkMeta]) -> String {
    let chunks = chunks.iter().map(|c| format!(" {}..{}@{}", c.mint, c.maxt, c.chunk.0));
    format!("{labels}{}\n", chunks.collect::<String>())
}

#[test]
fn the_worked_example_holds() {
    let page = String::from_utf8(read("../docs/formats/index.md")).unwrap();
    let hex = blocks(&page, "hex").concat();
    let bytes = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap());
    let data: Vec<u8> = bytes.collect();
    assert_eq!(data, read("tests/data/index/v2/small.index"));

    let index = IndexReader::open(data.clone().into()).unwrap();
    let symbols: Vec<&str> = index.symbols().collect::<Result<_, _>>().unwrap();
    let mut writer = IndexWriter::new(Vec::new(), symbols).unwrap();
    let mut described = String::new();
    let mut chunks = Vec::new();
    for series in &index.select(&[]).unwrap() {
        let labels = index.series(series, &mut chunks).unwrap();
        described += &describe(&labels, &chunks);
        assert_eq!(writer.add_series(&labels, &chunks).unwrap(), series);
    }
    assert_eq!(described, blocks(&page, "series").concat());
    assert_eq!(writer.finish().unwrap(), data);
}
