//! Columnar chunks, pages and time tables: arbitrary bytes decode or fail, samples survive.
#![no_main]

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::columnar::{
    ColumnarChunk, ColumnarEncoder, Page, PageWriter, TimeRef, TimeTable, TimeTableWriter,
};
use ferula_chunkenc::histogram::{FloatHistogram, Histogram};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    decode_chunk(data);
    decode_histograms(data);
    decode_page(data);
    decode_times(data);
    encode_anything(data);
});

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn decode_chunk(data: &[u8]) {
    let Ok(chunk) = ColumnarChunk::parse(data) else { return };
    let n = chunk.stats().count;
    let mut whole = SampleBatch::new();
    let decoded = chunk.decode_into(&mut whole);
    assert_eq!(whole.len(), if decoded.is_ok() { n } else { 0 });
    let mut part = SampleBatch::new();
    let range = n / 3..n - n / 4;
    if chunk.decode_indexes(range.clone(), &mut part).is_ok() && decoded.is_ok() {
        assert_eq!(part.timestamps(), &whole.timestamps()[range.clone()]);
        assert_eq!(bits(part.values()), bits(&whole.values()[range]));
    }
    let _ = chunk.starts(0..n);
    let _ = chunk.range_of(0, 1 << 40);
}

fn decode_histograms(data: &[u8]) {
    let Ok(chunk) = ColumnarChunk::parse(data) else { return };
    let mut read: Vec<(i64, Histogram)> = Vec::new();
    if chunk.decode_histograms(0..100, &mut read).is_err() {
        return;
    }
    // What was read can be written again, whoever wrote it, if its times ascend.
    let (times, histograms): (Vec<i64>, Vec<Histogram>) = read.into_iter().unzip();
    let mut again = Vec::new();
    let mut encoder = ColumnarEncoder::new();
    if encoder.encode_histograms(&times, &histograms, None, &mut again).is_ok() {
        let chunk = ColumnarChunk::parse(&again).expect("written a moment ago");
        let mut read: Vec<(i64, Histogram)> = Vec::new();
        chunk.decode_histograms(0..100, &mut read).expect("written a moment ago");
        assert!(read.into_iter().map(|(_, histogram)| histogram).eq(histograms));
    }
}

fn decode_page(data: &[u8]) {
    let Ok(page) = Page::parse(data) else { return };
    let mut reader = page.reader();
    for chunk in 0..page.len().min(50) {
        let n = usize::from(page.times(chunk).expect("there is one").count);
        let mut values = vec![0.0; n];
        let first = page.reader().decode(chunk, 0..n, &mut values);
        let mut again = vec![0.0; n];
        if reader.decode(chunk, 0..n, &mut again).is_ok() && first.is_ok() {
            assert_eq!(bits(&again), bits(&values));
        }
        let part = n / 2..n.min(n / 2 + 30);
        let _ = page.histograms::<Histogram>(chunk, part.clone(), &mut Vec::new());
        let _ = page.histograms::<FloatHistogram>(chunk, part, &mut Vec::new());
        let _ = page.stats(chunk);
        let _ = page.starts(chunk, 0..n);
    }
}

fn decode_times(data: &[u8]) {
    let Ok(table) = TimeTable::parse(data) else { return };
    for column in 0..u32::try_from(table.len()).expect("of four bytes each").min(50) {
        let _ = table.bounds(TimeRef { column, start: 0, count: 5 });
        let _ = table.decode(column);
    }
}

/// Values of decimals, integers, floats and oddities, as the bytes say.
fn values_of(data: &[u8]) -> Vec<f64> {
    let mut total = 0.0;
    let value = |item: &[u8]| {
        let int = f64::from(i16::from_le_bytes([item[1], item[2]]));
        total += int;
        match item[0] % 8 {
            0 | 1 => int,
            2 => int / 10.0,
            3 => int / 10_000.0,
            4 => total,
            5 => total / 100.0,
            6 => f64::from_bits((u64::from(item[1]) << (item[2] & 63)).wrapping_neg()),
            _ => f64::from_bits(u64::from(item[1]) << (item[2] & 63) | 0x3ff << 52),
        }
    };
    data.chunks_exact(3).map(value).take(8000).collect()
}

fn encode_anything(data: &[u8]) {
    let values = values_of(data);
    if values.is_empty() {
        return;
    }
    let late = data.iter().cycle();
    let times: Vec<i64> =
        (0..).zip(late).take(values.len()).map(|(i, &late)| i * 1000 + i64::from(late)).collect();
    let mut chunk = Vec::new();
    ColumnarEncoder::new().encode(&times, &values, None, &mut chunk).expect("times ascend");
    let mut batch = SampleBatch::new();
    let chunk = ColumnarChunk::parse(&chunk).expect("written a moment ago");
    chunk.decode_into(&mut batch).expect("written a moment ago");
    assert_eq!(batch.timestamps(), times);
    assert_eq!(bits(batch.values()), bits(&values));

    // The same columns twice and a shifted one share a page.
    let shifted: Vec<f64> = values.iter().map(|value| value + 3.0).collect();
    let columns = [&values, &shifted, &values];
    let mut table = TimeTableWriter::new();
    let mut writer = PageWriter::new();
    for values in columns {
        let times = table.add(&times).expect("times ascend");
        writer.push(times, values, None).expect("columns have one length");
    }
    let mut page = Vec::new();
    writer.finish(&mut page);
    let page = Page::parse(&page).expect("written a moment ago");
    let mut reader = page.reader();
    for (chunk, values) in columns.into_iter().enumerate() {
        let mut read = vec![0.0; values.len()];
        reader.decode(chunk, 0..values.len(), &mut read).expect("written a moment ago");
        assert_eq!(bits(&read), bits(values));
    }
}
