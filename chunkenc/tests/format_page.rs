//! The worked example of `docs/formats/chunks.md` is what the code writes and reads.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::fs;
use std::path::Path;

use ferula_chunkenc::{Chunk, Encoding, Sample, SampleBatch, XorAppender};

/// The text between the fences of the block with this tag.
fn block<'a>(page: &'a str, tag: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("```{tag}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_worked_example_holds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/chunks.md");
    let page = fs::read_to_string(path).unwrap();
    let bytes = block(&page, "hex").split_whitespace();
    let data: Vec<u8> = bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let samples: Vec<Sample> = block(&page, "samples")
        .lines()
        .map(|line| {
            let (timestamp, value) = line.split_once(' ').unwrap();
            Sample::new(timestamp.parse().unwrap(), value.parse().unwrap())
        })
        .collect();

    let mut appender = XorAppender::new();
    for sample in &samples {
        appender.append(sample.timestamp, sample.value).unwrap();
    }
    assert_eq!(appender.as_bytes(), data);

    let mut batch = SampleBatch::new();
    let chunk = Chunk { encoding: Encoding::Xor, data: data.into() };
    chunk.decode_into(&mut batch).unwrap();
    assert_eq!(batch.iter().collect::<Vec<_>>(), samples);
}
