//! What was written by earlier versions is written the same and read.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::columnar::{
    ColumnarChunk, ColumnarEncoder, Page, PageWriter, TimeTable, TimeTableWriter,
};
use ferula_chunkenc::histogram::{FloatHistogram, Histogram, Span};
use ferula_chunkenc::stale::STALE_NAN;

const START: i64 = 1_700_000_000_000;

/// SplitMix64.
fn scramble(i: u64) -> u64 {
    let z = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn check(name: &str, data: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/columnar/v1").join(name);
    if !path.exists() && std::env::var_os("FERULA_WRITE_GOLDEN").is_some() {
        fs::write(&path, data).unwrap();
    }
    let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(golden == data, "{name}: {} bytes, {} in the file", data.len(), golden.len());
}

fn times(n: u64, jitter: u64) -> Vec<i64> {
    (0..n).map(|i| START + (i * 15_000 + scramble(i) % jitter) as i64).collect()
}

/// A counter of events, about three at a time.
fn counter(n: u64, seed: u64) -> Vec<f64> {
    let mut total = 0;
    let mut next = |i| {
        total += (0..12).filter(|k| scramble(seed + i * 12 + k).is_multiple_of(4)).count();
        total as f64
    };
    (0..n).map(&mut next).collect()
}

type Case<'a> = (&'a str, u64, u64, &'a dyn Fn(u64) -> f64);

#[test]
fn chunks_are_written_as_ever() {
    // Name, number of samples, what times are late by at most, and the values.
    let values: [Case<'_>; 8] = [
        ("constant", 100, 1, &|_| 0.25),
        ("constant_with_marker", 100, 1, &|i| if i == 60 { STALE_NAN } else { 7.0 }),
        ("decimals", 1500, 20, &|i| ((scramble(i) % 1000) as f64 - 300.0) / 100.0),
        ("line", 1500, 1, &|i| 1e9 + 4096.0 * i as f64),
        ("binned", 1100, 1, &|i| (scramble(i).leading_zeros() * 3) as f64),
        ("bits", 40, 1, &|i| (i as f64).sqrt()),
        ("dictionary", 300, 1, &|i| {
            [1.0 / 3.0, -2e20, 1e-9 / 7.0][usize::try_from(scramble(i) % 3).unwrap()]
        }),
        ("split", 40, 1, &|i| {
            f64::from_bits(scramble(i) >> 12 | (scramble(i) & 1) << 63 | 1 << 61)
        }),
    ];
    for (name, n, jitter, value) in values {
        let times = times(n, jitter);
        let values: Vec<f64> = (0..n).map(value).collect();
        let starts: Vec<i64> = vec![START - 1; times.len()];
        let starts = (name == "line").then_some(&starts[..]);
        let mut data = Vec::new();
        let kind = ColumnarEncoder::new().encode(&times, &values, starts, &mut data).unwrap();
        check(&format!("{name}.chunk"), &data);

        let mut batch = SampleBatch::new();
        ColumnarChunk::parse(&data).unwrap().decode_into(&mut batch).unwrap();
        let is_same =
            batch.values().iter().map(|v| v.to_bits()).eq(values.iter().map(|v| v.to_bits()));
        assert!(is_same && batch.timestamps() == times, "{name}: {kind:?}");
    }
}

#[test]
fn histograms_are_written_as_ever() {
    let counts = counter(200, 99);
    let histograms: Vec<Histogram> = counts
        .iter()
        .enumerate()
        .map(|(i, &count)| Histogram {
            schema: if i < 150 { 2 } else { -53 },
            count: i as u64,
            sum: if i == 40 { STALE_NAN } else { count },
            positive_spans: vec![Span::new(-2, 2), Span::new(3, if i < 60 { 1 } else { 2 })],
            positive_buckets: (0..if i < 60 { 3 } else { 4 }).map(|k| i as i64 * k).collect(),
            custom_values: if i < 150 { Arc::default() } else { Arc::from([0.5, 1.5]) },
            ..Histogram::default()
        })
        .collect();
    let floats: Vec<FloatHistogram> = histograms.iter().map(Histogram::to_float).collect();
    let times = times(200, 1);
    let mut encoder = ColumnarEncoder::new();
    let mut data = Vec::new();
    encoder.encode_histograms(&times, &histograms, None, &mut data).unwrap();
    check("histograms.chunk", &data);
    let mut read: Vec<(i64, Histogram)> = Vec::new();
    ColumnarChunk::parse(&data).unwrap().decode_histograms(0..200, &mut read).unwrap();
    assert!(read.into_iter().map(|(_, histogram)| histogram).eq(histograms));

    data.clear();
    encoder.encode_histograms(&times, &floats, None, &mut data).unwrap();
    check("float_histograms.chunk", &data);
    let mut read: Vec<(i64, FloatHistogram)> = Vec::new();
    ColumnarChunk::parse(&data).unwrap().decode_histograms(0..200, &mut read).unwrap();
    assert!(read.into_iter().map(|(_, histogram)| histogram).eq(floats));
}

#[test]
fn pages_and_time_tables_are_written_as_ever() {
    let mut table = TimeTableWriter::new();
    let mut writer = PageWriter::new();
    let mut written = Vec::new();
    let mut cumulative = vec![0.0; 60];
    for bucket in 0..5 {
        let own = counter(60, bucket * 1000);
        cumulative.iter_mut().zip(own).for_each(|(total, own)| *total += own);
        let times = table.add(&times(60, 5)).unwrap();
        writer.push(times, &cumulative, None).unwrap();
        written.push(cumulative.clone());
    }
    let late = times(200, 9);
    let values: Vec<f64> = (0..200).map(|i| scramble(i) as f64).collect();
    writer.push(table.add(&late).unwrap(), &values, Some(&late)).unwrap();
    written.push(values);
    writer.push(table.add(&late[150..]).unwrap(), &counter(50, 7), None).unwrap();
    written.push(counter(50, 7));
    let mut page = Vec::new();
    writer.finish(&mut page);
    assert_eq!(page[1], 0, "zstd does not pay");
    check("seven.page", &page);
    let mut times = Vec::new();
    table.write(&mut times);
    check("two.times", &times);

    let page = Page::parse(&page).unwrap();
    let table = TimeTable::parse(&times).unwrap();
    let mut reader = page.reader();
    for (chunk, written) in written.iter().enumerate() {
        let mut values = vec![0.0; written.len()];
        reader.decode(chunk, 0..written.len(), &mut values).unwrap();
        assert_eq!(&values, written);
    }
    assert_eq!(table.bounds(page.times(6).unwrap()), Ok((late[150], late[199])));
}
