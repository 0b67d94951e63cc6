//! The worked examples of `docs/formats/chunks.md` are what the code writes and reads.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::fs;
use std::path::Path;

use ferula_chunkenc::histogram::{Histogram, Span};
use ferula_chunkenc::{
    AggrChunk, Aggregate, Chunk, Encoding, FloatHistogramAppender, HistogramAppender, Sample,
    SampleBatch, Xor2Appender, XorAppender, stale,
};

/// The text between the fences of the block with this tag.
fn block<'a>(page: &'a str, tag: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("```{tag}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/chunks.md");
    fs::read_to_string(path).unwrap()
}

/// The bytes in the block with this tag.
fn bytes(page: &str, tag: &str) -> Vec<u8> {
    let bytes = block(page, tag).split_whitespace();
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// Timestamp, count, zero count, sum and counts of two buckets.
fn histogram(line: &str) -> (i64, Histogram) {
    let fields: Vec<_> = line.split(' ').collect();
    let [count, zero_count] = [fields[1], fields[2]].map(|n| n.parse().unwrap());
    let buckets = [fields[4], fields[5]].map(|n| n.parse::<i64>().unwrap());
    let histogram = Histogram {
        zero_threshold: 2_f64.powi(-128),
        zero_count,
        count,
        sum: fields[3].parse().unwrap(),
        positive_spans: vec![Span::new(0, 2)],
        positive_buckets: vec![buckets[0], buckets[1] - buckets[0]],
        ..Histogram::default()
    };
    (fields[0].parse().unwrap(), histogram)
}

#[test]
fn the_histogram_examples_hold() {
    let page = page();
    let samples: Vec<_> = block(&page, "histograms").lines().map(histogram).collect();
    let mut integers = HistogramAppender::new();
    let mut floats = FloatHistogramAppender::new();
    let mut started = HistogramAppender::with_start_timestamps();
    let starts = [1_699_999_999_000, 1_700_000_010_000];
    for (start, (timestamp, histogram)) in starts.into_iter().zip(&samples) {
        assert_eq!(histogram.validate(), Ok(()));
        started.append_with_start(start, *timestamp, histogram).unwrap();
        integers.append(*timestamp, histogram).unwrap();
        floats.append(*timestamp, &histogram.to_float()).unwrap();
    }
    assert_eq!(integers.as_bytes(), bytes(&page, "histogram-hex"), "{:02x?}", integers.as_bytes());
    assert_eq!(
        floats.as_bytes(),
        bytes(&page, "float-histogram-hex"),
        "{:02x?}",
        floats.as_bytes()
    );

    let data = started.as_bytes();
    assert_eq!(data, bytes(&page, "histogram-st-hex"), "{data:02x?}");

    let chunks = [integers.into_chunk(), floats.into_chunk()];
    let mut integers = chunks[0].histograms().unwrap();
    let mut floats = chunks[1].float_histograms().unwrap();
    for (timestamp, histogram) in &samples {
        assert_eq!(integers.next(), Ok(Some(*timestamp)));
        assert_eq!(floats.next(), Ok(Some(*timestamp)));
        assert!(integers.histogram().unwrap().equals(histogram));
        assert!(floats.histogram().unwrap().equals(&histogram.to_float()));
    }
}

#[test]
fn the_example_with_start_timestamps_holds() {
    let page = page();
    let mut appender = Xor2Appender::new();
    let mut samples = Vec::new();
    for line in block(&page, "started-samples").lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let [start, timestamp] = [fields[0], fields[1]].map(|time| time.parse().unwrap());
        let value =
            if fields[2] == "StaleNaN" { stale::STALE_NAN } else { fields[2].parse().unwrap() };
        appender.append(start, timestamp, value).unwrap();
        samples.push((start, Sample::new(timestamp, value)));
    }
    assert_eq!(appender.as_bytes(), bytes(&page, "xor2-hex"), "{:02x?}", appender.as_bytes());

    let mut batch = SampleBatch::new();
    appender.to_chunk().decode_into(&mut batch).unwrap();
    let starts = (0..batch.len()).map(|i| batch.start_timestamp(i));
    assert_eq!(starts.zip(batch.iter()).collect::<Vec<_>>(), samples);
}

#[test]
fn the_example_of_aggregates_holds() {
    let mut aggregates = AggrChunk::new();
    for (aggregate, value) in [(Aggregate::Count, 20.0), (Aggregate::Sum, 42.0)] {
        let mut appender = XorAppender::new();
        appender.append(1_700_000_299_999, value).unwrap();
        aggregates.set(aggregate, Some(appender.into_chunk()));
    }
    let chunk = aggregates.to_chunk();
    assert_eq!(chunk.data[..], bytes(&page(), "aggr-hex"), "{:02x?}", &chunk.data[..]);
    assert_eq!(AggrChunk::from_chunk(&chunk), Ok(aggregates));
}

#[test]
fn the_worked_example_holds() {
    let page = page();
    let data = bytes(&page, "hex");
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
