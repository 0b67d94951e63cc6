//! The worked examples of `docs/formats/columnar.md` are what the code writes and reads.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::fs;
use std::path::Path;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::columnar::{ColumnarChunk, ColumnarEncoder};
use ferula_chunkenc::stale::STALE_NAN;

/// The text between the fences of the block with this tag.
fn block<'a>(page: &'a str, tag: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("```{tag}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/columnar.md");
    fs::read_to_string(path).unwrap()
}

/// The bytes in the block with this tag.
fn bytes(page: &str, tag: &str) -> Vec<u8> {
    let bytes = block(page, tag).split_whitespace();
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn the_worked_example_holds() {
    let page = page();
    let (times, values): (Vec<i64>, Vec<f64>) = block(&page, "samples")
        .lines()
        .map(|line| {
            let (time, value) = line.split_once(' ').unwrap();
            let value = if value == "NaN" { STALE_NAN } else { value.parse().unwrap() };
            (time.parse::<i64>().unwrap(), value)
        })
        .unzip();
    let mut data = Vec::new();
    ColumnarEncoder::new().encode(&times, &values, None, &mut data).unwrap();
    assert_eq!(data, bytes(&page, "hex"), "{data:02x?}");

    let mut batch = SampleBatch::new();
    ColumnarChunk::parse(&data).unwrap().decode_into(&mut batch).unwrap();
    assert_eq!(batch.timestamps(), times);
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(batch.values()), bits(&values));
}
