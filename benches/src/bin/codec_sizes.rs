//! How small are chunks, by codec and kind of series?
//!
//! `cargo run --release -p ferula-benches --bin codec_sizes -- [RECORDING]` prints bytes per sample
//! of each named data set, of synthetic pods, and of a recording of real scrapes: raw, as XOR
//! chunks of 120 samples, those under zstd in groups of 64 KiB, as columnar chunks each on its own,
//! and in pages that share columns of times. Behind it stands how the columns were written, and
//! for the sets of many metrics where the bytes are.

use std::collections::BTreeMap;
use std::path::Path;

use ferula_benches::{Dataset, Series, pods, recording};
use ferula_chunkenc::columnar::{
    ColumnarEncoder, Page, PageWriter, TimeTable, TimeTableWriter, ValueKind,
};
use ferula_chunkenc::{Sample, XorAppender};

const XOR_SAMPLES: usize = 120;
const ZSTD_GROUP_BYTES: usize = 64 * 1024;
const ZSTD_LEVEL: i32 = 3;
const PAGE_BYTES: [usize; 2] = [16 * 1024, 64 * 1024];
const SERIES_OF_DATASET: u64 = 100;
/// Two hours at 15 seconds.
const SAMPLES: usize = 480;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    println!("bytes per sample");
    println!(
        "{:18} {:>9} {:>5} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "set", "samples", "raw", "XOR", "zstd", "alone", "16 KiB", "64 KiB", "times"
    );
    for dataset in Dataset::ALL {
        let series: Vec<Series> = (0..SERIES_OF_DATASET)
            .map(|i| Series { labels: Vec::new(), samples: dataset.samples(i, SAMPLES) })
            .collect();
        report(dataset.name(), &series, 0)?;
    }
    report("pods", &pods::series(50, 1000, SAMPLES), 12)?;
    if let Some(path) = std::env::args().nth(1) {
        report("recording", &recording::read(Path::new(&path))?, 12)?;
    }
    Ok(())
}

fn report(name: &str, series: &[Series], n_metrics: usize) -> Result<()> {
    let n_samples: usize = series.iter().map(|series| series.samples.len()).sum();
    let per_sample = |size: usize| size as f64 / n_samples as f64;
    let (xor, zstd) = xor_sizes(series)?;
    let mut encoder = ColumnarEncoder::new();
    let mut alone = 0;
    let mut data = Vec::new();
    for Series { samples, .. } in series {
        let (times, values) = columns(samples);
        data.clear();
        encoder.encode(&times, &values, None, &mut data)?;
        alone += data.len();
    }
    let [small, large] = PAGE_BYTES.map(|size| paged(series, size));
    let (small, large) = (small?, large?);
    println!(
        "{name:18} {n_samples:9} {:5.1} {:7.3} {:7.3} {:7.3} {:7.3} {:7.3} {:7.4}",
        16.0,
        per_sample(xor),
        per_sample(zstd),
        per_sample(alone),
        per_sample(small.pages + small.times),
        per_sample(large.pages + large.times),
        per_sample(large.times),
    );
    let kinds: Vec<String> = large.kinds.iter().map(|(kind, n)| format!("{kind:?} {n}")).collect();
    println!(
        "    {} series in {} pages, {} of them under zstd, {} columns of times; {}",
        series.len(),
        large.n_pages,
        large.n_compressed,
        large.n_times,
        kinds.join(", ")
    );
    let mut metrics: Vec<_> = large.metrics.into_iter().collect();
    metrics.sort_by_key(|(_, (bytes, _))| std::cmp::Reverse(*bytes));
    for ((metric, kind), (bytes, n)) in metrics.into_iter().take(n_metrics) {
        let share = bytes as f64 / n as f64;
        println!("    {:.4} of it {metric} ({kind:?}), {share:.3} each", per_sample(bytes));
    }
    Ok(())
}

fn columns(samples: &[Sample]) -> (Vec<i64>, Vec<f64>) {
    samples.iter().map(|sample| (sample.timestamp, sample.value)).unzip()
}

fn xor_sizes(series: &[Series]) -> Result<(usize, usize)> {
    let (mut xor, mut zstd) = (0, 0);
    let mut group = Vec::new();
    for samples in series.iter().flat_map(|series| series.samples.chunks(XOR_SAMPLES)) {
        let mut appender = XorAppender::new();
        for sample in samples {
            appender.append(sample.timestamp, sample.value)?;
        }
        xor += appender.as_bytes().len();
        group.extend_from_slice(appender.as_bytes());
        if group.len() >= ZSTD_GROUP_BYTES {
            zstd += zstd::bulk::compress(&group, ZSTD_LEVEL)?.len();
            group.clear();
        }
    }
    zstd += zstd::bulk::compress(&group, ZSTD_LEVEL)?.len();
    Ok((xor, zstd))
}

#[derive(Default)]
struct Paged {
    pages: usize,
    times: usize,
    n_pages: usize,
    n_compressed: usize,
    n_times: usize,
    kinds: BTreeMap<ValueKind, usize>,
    /// Bytes before compression and samples, by metric and kind.
    metrics: BTreeMap<(String, ValueKind), (usize, usize)>,
}

fn paged(series: &[Series], page_bytes: usize) -> Result<Paged> {
    let mut table = TimeTableWriter::new();
    let mut writer = PageWriter::new();
    let mut paged = Paged::default();
    let mut pending = Vec::new();
    let finish = |writer: &mut PageWriter, pending: &mut Vec<Vec<f64>>, paged: &mut Paged| {
        let mut page = Vec::new();
        writer.finish(&mut page);
        check(&page, pending)?;
        pending.clear();
        paged.pages += page.len();
        paged.n_pages += 1;
        paged.n_compressed += usize::from(page[1]);
        Ok::<(), Box<dyn std::error::Error>>(())
    };
    for Series { labels, samples } in series {
        let (times, values) = columns(samples);
        let before = writer.size_bytes();
        let (_, kind) = writer.push(table.add(&times)?, &values, None)?;
        *paged.kinds.entry(kind).or_default() += 1;
        let name = labels.iter().find(|(name, _)| name == "__name__").map(|(_, name)| name.clone());
        let metric = paged.metrics.entry((name.unwrap_or_default(), kind)).or_default();
        metric.0 += writer.size_bytes() - before;
        metric.1 += samples.len();
        pending.push(values);
        if writer.size_bytes() >= page_bytes {
            finish(&mut writer, &mut pending, &mut paged)?;
        }
    }
    finish(&mut writer, &mut pending, &mut paged)?;
    let mut times = Vec::new();
    table.write(&mut times);
    TimeTable::parse(&times)?;
    (paged.times, paged.n_times) = (times.len(), table.len());
    Ok(paged)
}

/// Reads the page again and compares every value, so that no size stands for anything lost.
fn check(page: &[u8], written: &[Vec<f64>]) -> Result<()> {
    let page = Page::parse(page)?;
    let mut reader = page.reader();
    let mut values = Vec::new();
    for (chunk, written) in written.iter().enumerate() {
        values.resize(written.len(), 0.0);
        reader.decode(chunk, 0..written.len(), &mut values)?;
        let is_same = values.iter().map(|v| v.to_bits()).eq(written.iter().map(|v| v.to_bits()));
        assert!(is_same, "chunk {chunk} is read as it was written");
    }
    Ok(())
}
