//! Blocks of every kind of sample, compacted.

use std::sync::Arc;

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
use ferula_chunkenc::{
    AggrChunk, Aggregate, Chunk, Encoding, FloatHistogramAppender, HistogramAppender, SampleBatch,
    Xor2Appender, XorAppender,
};
use ferula_index::Matcher;
use ferula_wal::fs::StdFs;

use super::*;
use crate::block::{Depth, EncodedChunk, StoredChunk};

fn labels(value: &str) -> ferula_index::Labels {
    ferula_index::Labels::from_pairs([("__name__", "m"), ("n", value)]).unwrap()
}

fn floats(times: impl IntoIterator<Item = i64>, value: f64) -> EncodedChunk {
    let times: Vec<i64> = times.into_iter().collect();
    let mut appender = XorAppender::new();
    for time in &times {
        appender.append(*time, value).unwrap();
    }
    let (mint, maxt) = (times[0], times[times.len() - 1]);
    EncodedChunk { mint, maxt, chunk: appender.into_chunk() }
}

fn histogram(count: u64, hint: CounterResetHint) -> Histogram {
    Histogram {
        counter_reset_hint: hint,
        count,
        sum: count as f64,
        positive_spans: vec![Span::new(0, 1)],
        positive_buckets: vec![i64::try_from(count).unwrap()],
        ..Histogram::default()
    }
}

fn histograms(counts: &[(i64, u64)], hint: CounterResetHint) -> EncodedChunk {
    let mut appender = HistogramAppender::new();
    for (time, count) in counts {
        appender.append(*time, &histogram(*count, hint)).unwrap();
    }
    let (mint, maxt) = (counts[0].0, counts[counts.len() - 1].0);
    EncodedChunk { mint, maxt, chunk: appender.into_chunk() }
}

/// Writes a block from 0 to 1000 of series and their chunks.
fn block(parent: &Path, name: u128, series: &[(&str, Vec<EncodedChunk>)]) -> Arc<Block> {
    let mut symbols = vec!["__name__", "m", "n"];
    symbols.extend(series.iter().map(|(value, _)| *value));
    symbols.sort_unstable();
    symbols.dedup();
    let format = BlockFormat::Prometheus;
    let (ulid, segment) = (Ulid(name), 1 << 20);
    let mut writer =
        BlockWriter::create(&StdFs, parent, ulid, format, symbols.into_iter(), segment).unwrap();
    for (value, chunks) in series {
        writer.add(&labels(value), chunks.clone()).unwrap();
    }
    let describe = |stats| BlockMeta::of_head(ulid, 0, 1000, stats);
    Arc::new(writer.finish(Depth::Chunks, describe).unwrap().publish().unwrap())
}

/// Compacts blocks; `None` if nothing is left.
fn compact(parent: &Path, sources: &[Arc<Block>]) -> Option<Block> {
    let control = Control::default();
    let compaction = Compaction {
        fs: &StdFs,
        parent,
        ulid: Ulid(99),
        format: BlockFormat::Prometheus,
        chunk_segment_bytes: 1 << 20,
        sources,
        control: &control,
    };
    let written = compaction.run().unwrap();
    let progress = control.progress();
    assert!(progress.is_none(), "only its owner says that it runs");
    written.map(|written| written.publish().unwrap())
}

/// The chunks of a series, or of all.
fn chunks_of(block: &Block, value: Option<&str>) -> Vec<Chunk> {
    let matchers: Vec<Matcher> = value.iter().map(|value| Matcher::equal("n", value)).collect();
    let mut found = Vec::new();
    let mut metas = Vec::new();
    for series in &block.select(&matchers).unwrap() {
        block.cursor().series(series, &mut metas).unwrap();
        found.extend(metas.iter().map(|meta| match block.stream(&StdFs).read(meta).unwrap() {
            StoredChunk::Encoded(chunk) => chunk,
            _ => panic!("a block of Prometheus has no columns"),
        }));
    }
    found
}

fn samples(chunks: &[Chunk]) -> Vec<(i64, f64)> {
    let mut batch = SampleBatch::new();
    for chunk in chunks {
        chunk.iter().unwrap().decode_into(&mut batch).unwrap();
    }
    batch.iter().map(|sample| (sample.timestamp, sample.value)).collect()
}

fn counts(chunk: &Chunk) -> Vec<(i64, u64, CounterResetHint)> {
    let mut histograms = chunk.histograms().unwrap();
    let mut found = Vec::new();
    while let Some(time) = histograms.next().unwrap() {
        let histogram = histograms.histogram().unwrap();
        found.push((time, histogram.count, histogram.counter_reset_hint));
    }
    found
}

#[test]
fn chunks_that_follow_each_other_are_copied() {
    let dir = tempfile::tempdir().unwrap();
    let counter = histograms(&[(600, 1), (610, 2)], CounterResetHint::Unknown);
    let mut appender = FloatHistogramAppender::new();
    appender.append(700, &FloatHistogram::default()).unwrap();
    let float_histogram = EncodedChunk { mint: 700, maxt: 700, chunk: appender.into_chunk() };
    let of_a = [floats(0..100, 1.0), floats(100..150, 2.0), counter, float_histogram];
    let [first, second, third, fourth] = of_a.clone();
    let sources = [
        block(dir.path(), 1, &[("a", vec![first, third]), ("c", vec![floats(5..9, 0.5)])]),
        block(dir.path(), 2, &[("a", vec![second, fourth]), ("b", vec![floats(5..9, 0.25)])]),
    ];
    let made = compact(dir.path(), &sources).unwrap();
    assert_eq!(chunks_of(&made, Some("a")), of_a.map(|chunk| chunk.chunk));
    assert_eq!(samples(&chunks_of(&made, Some("b"))).len(), 4);
    let stats = &made.meta().stats;
    assert_eq!((stats.num_series, stats.num_chunks, stats.num_samples), (3, 6, 161));
    assert_eq!((stats.num_float_samples, stats.num_histogram_samples), (158, 3));
    let compaction = &made.meta().compaction;
    assert_eq!((compaction.level, &compaction.sources[..]), (2, &[Ulid(1), Ulid(2)][..]));
    assert_eq!(compaction.parents.len(), 2);
}

#[test]
fn an_unchanged_block_of_prometheus_is_written_byte_by_byte() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/prometheus-block/v1");
    let source = Arc::new(Block::open(&StdFs, golden.clone()).unwrap());
    assert_eq!((source.meta().stats.num_series, source.meta().stats.num_samples), (10, 4800));
    let dir = tempfile::tempdir().unwrap();
    let written = compact(dir.path(), &[source]).unwrap();
    for file in ["index", "chunks/000001", "tombstones"] {
        let [expected, found] =
            [golden.as_path(), written.dir()].map(|dir| std::fs::read(dir.join(file)));
        assert!(expected.unwrap() == found.unwrap(), "{file}");
    }
}

#[test]
fn of_overlapping_chunks_the_first_source_wins() {
    let dir = tempfile::tempdir().unwrap();
    let sources = [
        block(dir.path(), 1, &[("a", vec![floats((0..300).step_by(2), 1.0)])]),
        block(dir.path(), 2, &[("a", vec![floats((0..300).step_by(3), 2.0), floats([400], 2.0)])]),
        block(dir.path(), 3, &[("a", vec![floats(299..303, 3.0), floats([400], 2.0)])]),
    ];
    let made = compact(dir.path(), &sources).unwrap();
    let chunks = chunks_of(&made, None);
    let expected: Vec<(i64, f64)> = (0..300)
        .filter(|t| t % 2 == 0 || t % 3 == 0)
        .map(|t| (t, if t % 2 == 0 { 1.0 } else { 2.0 }))
        .chain((299..303).map(|t| (t, 3.0)))
        .chain([(400, 2.0)])
        .collect();
    assert_eq!(samples(&chunks), expected);
    let sizes: Vec<u16> = chunks.iter().map(|chunk| chunk.sample_count().unwrap()).collect();
    assert_eq!(sizes, [120, 80, 4, 1], "cut to the usual size; what is the same twice is copied");
}

#[test]
fn deleted_samples_are_left_out_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let untouched = floats(200..300, 3.0);
    let source = block(
        dir.path(),
        1,
        &[
            ("a", vec![floats(0..100, 1.0), floats(100..200, 2.0), untouched.clone()]),
            ("b", vec![floats(0..10, 1.0)]),
        ],
    );
    let selected = source.select(&[Matcher::equal("n", "a")]).unwrap();
    let source = source.delete(&StdFs, &selected, 50, 199).unwrap().unwrap();
    let selected = source.select(&[Matcher::equal("n", "b")]).unwrap();
    let source = source.delete(&StdFs, &selected, i64::MIN, i64::MAX).unwrap().unwrap();
    assert!(source.delete(&StdFs, &selected, 0, 5).unwrap().is_none(), "it is already");
    assert_eq!(source.meta().stats.num_tombstones, 2);
    let made = compact(dir.path(), &[Arc::new(source)]).unwrap();
    let chunks = chunks_of(&made, None);
    assert_eq!(chunks[1], untouched.chunk);
    let expected = (0..50).map(|t| (t, 1.0)).chain((200..300).map(|t| (t, 3.0)));
    assert_eq!(samples(&chunks), expected.collect::<Vec<_>>());
    assert_eq!(made.meta().stats.num_series, 1);
    assert!(made.tombstones().is_empty());

    let all = made.select(&[]).unwrap();
    let gone = made.delete(&StdFs, &all, 0, 999).unwrap().unwrap();
    assert!(compact(dir.path(), &[Arc::new(gone)]).is_none());
    let left = std::fs::read_dir(dir.path()).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains(".tmp")), "{names:?}");
}

#[test]
fn overlapping_histograms_stay_what_they_are() {
    use CounterResetHint::{Gauge, NotReset, Unknown};
    let dir = tempfile::tempdir().unwrap();
    let sources = [
        block(
            dir.path(),
            1,
            &[
                ("a", vec![histograms(&[(10, 5), (30, 7), (50, 9)], Unknown)]),
                ("b", vec![histograms(&[(10, 5), (30, 3)], Gauge)]),
                ("c", vec![histograms(&[(10, 5), (30, 6)], Unknown)]),
            ],
        ),
        block(
            dir.path(),
            2,
            &[
                (
                    "a",
                    vec![histograms(&[(20, 6)], Unknown), histograms(&[(40, 1), (50, 2)], Unknown)],
                ),
                ("b", vec![histograms(&[(20, 4)], Gauge)]),
                ("c", vec![floats([20, 30], 1.5)]),
            ],
        ),
    ];
    let made = compact(dir.path(), &sources).unwrap();
    let of_a: Vec<_> = chunks_of(&made, Some("a")).iter().map(counts).collect();
    // A reset is found out by the one who encodes.
    assert_eq!(of_a.len(), 2, "{of_a:?}");
    let times: Vec<(i64, u64)> = of_a.iter().flatten().map(|(t, count, _)| (*t, *count)).collect();
    assert_eq!(times, [(10, 5), (20, 6), (30, 7), (40, 1), (50, 9)]);
    assert_eq!(of_a[0][1].2, NotReset);
    let of_b: Vec<_> = chunks_of(&made, Some("b")).iter().map(counts).collect();
    assert_eq!(of_b, [[(10, 5, Gauge), (20, 4, Gauge), (30, 3, Gauge)]]);
    // Floats and histograms of one series stay apart, and none is lost.
    let of_c = chunks_of(&made, Some("c"));
    let encodings: Vec<Encoding> = of_c.iter().map(|chunk| chunk.encoding).collect();
    assert_eq!(encodings, [Encoding::Histogram, Encoding::Xor, Encoding::Histogram]);
    assert_eq!(counts(&of_c[2])[0], (30, 6, Unknown));
    assert_eq!(made.meta().stats.num_histogram_samples, 5 + 3 + 2);
}

#[test]
fn start_timestamps_are_kept_and_what_is_downsampled_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let with_starts = |times: std::ops::Range<i64>, start: i64| {
        let mut appender = Xor2Appender::new();
        for time in times.clone() {
            appender.append(start, time, 1.0).unwrap();
        }
        let (mint, maxt) = (times.start, times.end - 1);
        EncodedChunk { mint, maxt, chunk: appender.to_chunk() }
    };
    let mut aggregates = AggrChunk::new();
    aggregates.set(Aggregate::Count, Some(floats([700, 800], 3.0).chunk));
    let aggregated = EncodedChunk { mint: 700, maxt: 800, chunk: aggregates.to_chunk() };
    let copied = with_starts(200..210, 150);
    let of_a = vec![with_starts(0..100, -5), copied.clone(), aggregated.clone()];
    let sources = [
        block(dir.path(), 1, &[("a", of_a)]),
        block(dir.path(), 2, &[("a", vec![floats(90..110, 2.0)])]),
    ];
    let made = compact(dir.path(), &sources).unwrap();
    let chunks = chunks_of(&made, None);
    assert_eq!(chunks[1..], [copied.chunk, aggregated.chunk]);
    let mut batch = SampleBatch::new();
    chunks[0].decode_into(&mut batch).unwrap();
    let starts: Vec<i64> = (0..batch.len()).map(|index| batch.start_timestamp(index)).collect();
    assert_eq!(starts, [vec![-5; 100], vec![0; 10]].concat());
}

#[test]
fn a_cancelled_compaction_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sources = [block(dir.path(), 1, &[("a", vec![floats(0..10, 1.0)])])];
    let control = Control::default();
    control.cancel();
    let compaction = Compaction {
        fs: &StdFs,
        parent: dir.path(),
        ulid: Ulid(99),
        format: BlockFormat::Prometheus,
        chunk_segment_bytes: 1 << 20,
        sources: &sources,
        control: &control,
    };
    assert!(matches!(compaction.run(), Err(Error::Closed)));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
