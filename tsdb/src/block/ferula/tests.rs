//! Blocks that are converted to the other format and back, and blocks that are not what they should
//! be.

use std::path::Path;
use std::sync::Arc;

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
use ferula_chunkenc::stale::STALE_NAN;
use ferula_chunkenc::{
    AggrChunk, Aggregate, Appended, Chunk, ChunkAppender, ChunkHistogram, SampleBatch,
    Xor2Appender, XorAppender,
};
use ferula_index::ferula::{ChunkEntry, IndexReader, IndexWriter, ValueBounds};
use ferula_index::{ChunkMeta, Labels, Matcher};
use ferula_wal::fs::StdFs;
use proptest::prelude::*;
use ulid::Ulid;

use super::digest::{Digest, Summed};
use crate::block::{
    Block, BlockFormat, BlockMeta, BlockWriter, ColumnValues, Depth, EncodedChunk, StoredChunk,
};
use crate::compact::{Compaction, Control};
use crate::error::{BlockFault, Error};

/// End of the blocks made here.
const MAXT: i64 = 1 << 50;

fn labels(n: usize) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &format!("{n:03}"))]).unwrap()
}

fn write_block(
    parent: &Path,
    name: u128,
    format: BlockFormat,
    series: &[Vec<EncodedChunk>],
    segment_bytes: u64,
) -> Arc<Block> {
    let texts: Vec<String> = (0..series.len()).map(|n| format!("{n:03}")).collect();
    let mut symbols: Vec<&str> = texts.iter().map(String::as_str).collect();
    symbols.extend(["__name__", "m", "n"]);
    symbols.sort_unstable();
    let ulid = Ulid(name);
    let symbols = symbols.into_iter();
    let mut writer =
        BlockWriter::create(&StdFs, parent, ulid, format, symbols, segment_bytes).unwrap();
    for (n, chunks) in series.iter().enumerate() {
        writer.add(&labels(n), chunks.clone()).unwrap();
    }
    let describe = |stats| BlockMeta::of_head(ulid, -MAXT, MAXT, stats);
    Arc::new(writer.finish(Depth::Samples, describe).unwrap().publish().unwrap())
}

/// Compacts a block into one of another format.
fn convert(parent: &Path, name: u128, source: &Arc<Block>, format: BlockFormat) -> Arc<Block> {
    let sources = [Arc::clone(source)];
    let compaction = Compaction {
        fs: &StdFs,
        parent,
        ulid: Ulid(name),
        format,
        chunk_segment_bytes: 1 << 20,
        sources: &sources,
        control: &Control::default(),
    };
    Arc::new(compaction.run().unwrap().unwrap().publish().unwrap())
}

/// What a sample is, down to the last bit and hint.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Float(i64, i64, u64),
    Histogram(i64, i64, Digest, bool),
    Opaque(ChunkMeta, Chunk),
}

fn seen_histograms<H: ChunkHistogram + Summed>(
    mut histograms: ferula_chunkenc::ChunkHistograms<'_, H>,
    is_integer: bool,
    seen: &mut Vec<Seen>,
) {
    while let Some(time) = histograms.next().unwrap() {
        let digest = Digest::of_histograms(&[histograms.histogram().unwrap()], None);
        seen.push(Seen::Histogram(time, histograms.start_timestamp(), digest, is_integer));
    }
}

fn seen_of(meta: &ChunkMeta, chunk: StoredChunk, seen: &mut Vec<Seen>) {
    use ferula_chunkenc::Encoding;
    match chunk {
        StoredChunk::Encoded(chunk) => match chunk.encoding {
            Encoding::Aggr => {
                let meta = ChunkMeta { chunk: ferula_index::ChunkRef(0), ..*meta };
                seen.push(Seen::Opaque(meta, chunk));
            }
            Encoding::Histogram | Encoding::HistogramSt => {
                seen_histograms(chunk.histograms().unwrap(), true, seen);
            }
            Encoding::FloatHistogram | Encoding::FloatHistogramSt => {
                seen_histograms(chunk.float_histograms().unwrap(), false, seen);
            }
            _ => {
                let mut samples = chunk.iter().unwrap();
                while let Some(sample) = samples.next().unwrap() {
                    let (start, value) = (samples.start_timestamp(), sample.value.to_bits());
                    seen.push(Seen::Float(sample.timestamp, start, value));
                }
            }
        },
        StoredChunk::Paged(paged) => {
            let values = paged.values(0..paged.n_samples()).unwrap();
            let samples = paged.times().unwrap().into_iter().zip(values);
            seen.extend(samples.map(|(time, value)| Seen::Float(time, 0, value.to_bits())));
        }
        StoredChunk::Columns(columns) => {
            for (at, &time) in columns.times.iter().enumerate() {
                let start = columns.starts.as_ref().map_or(0, |starts| starts[at]);
                seen.push(match &columns.values {
                    ColumnValues::Floats(values) => Seen::Float(time, start, values[at].to_bits()),
                    ColumnValues::Histograms(values) => {
                        let digest = Digest::of_histograms(&values[at..=at], None);
                        Seen::Histogram(time, start, digest, true)
                    }
                    ColumnValues::FloatHistograms(values) => {
                        let digest = Digest::of_histograms(&values[at..=at], None);
                        Seen::Histogram(time, start, digest, false)
                    }
                });
            }
        }
    }
}

/// All samples of a block, by streaming.
fn content(block: &Block) -> Result<Vec<(Labels, Vec<Seen>)>, Error> {
    let mut found = Vec::new();
    let mut chunks = Vec::new();
    let (mut cursor, mut stream) = (block.cursor(), block.stream(&StdFs));
    for series in &block.select(&[])? {
        let labels = cursor.series(series, &mut chunks)?;
        let mut seen = Vec::new();
        for meta in &chunks {
            seen_of(meta, stream.read(meta)?, &mut seen);
        }
        found.push((labels, seen));
    }
    Ok(found)
}

/// All samples of a block from `mint` to `maxt` as a query reads them.
fn queried(block: &Block, mint: i64, maxt: i64) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let mut chunks = Vec::new();
    let mut cursor = block.cursor();
    for series in &block.select(&[Matcher::equal("__name__", "m")])? {
        let labels = cursor.series(series, &mut chunks)?;
        let mut batch = SampleBatch::new();
        for meta in chunks.iter().filter(|meta| meta.mint <= maxt && mint <= meta.maxt) {
            block.read(meta, mint, maxt, &mut batch)?;
        }
        for at in 0..batch.len() {
            let (time, value) = (batch.timestamps()[at], batch.values()[at].to_bits());
            let (start, histogram) = (batch.start_timestamp(at), batch.histogram(at));
            found.push(format!("{labels} {time} {value:x} {start} {histogram:?}"));
        }
    }
    Ok(found)
}

fn floats(times: &[i64], values: &[f64], starts: Option<&[i64]>) -> EncodedChunk {
    let chunk = match starts {
        None => {
            let mut appender = XorAppender::new();
            for (time, value) in times.iter().zip(values) {
                appender.append(*time, *value).unwrap();
            }
            appender.into_chunk()
        }
        Some(starts) => {
            let mut appender = Xor2Appender::new();
            for ((time, value), start) in times.iter().zip(values).zip(starts) {
                appender.append(*start, *time, *value).unwrap();
            }
            appender.to_chunk()
        }
    };
    EncodedChunk { mint: times[0], maxt: times[times.len() - 1], chunk }
}

fn encode<H: ChunkHistogram>(
    times: &[i64],
    starts: Option<&[i64]>,
    histograms: &[H],
) -> Vec<EncodedChunk> {
    let mut appender = match starts {
        None => ChunkAppender::<H>::new(),
        Some(_) => ChunkAppender::<H>::with_start_timestamps(),
    };
    let mut chunks = Vec::new();
    let mut first = 0;
    for (at, histogram) in histograms.iter().enumerate() {
        let start = starts.map_or(0, |starts| starts[at]);
        let appended = appender.append_with_start(start, times[at], histogram).unwrap();
        if let Appended::Cut { finished, .. } = appended {
            chunks.push(EncodedChunk { mint: times[first], maxt: times[at - 1], chunk: finished });
            first = at;
        }
    }
    let (mint, maxt) = (times[first], times[times.len() - 1]);
    chunks.push(EncodedChunk { mint, maxt, chunk: appender.into_chunk() });
    chunks
}

fn histogram(counts: &[u8], is_gauge: bool, is_stale: bool) -> Histogram {
    if is_stale {
        return Histogram { sum: STALE_NAN, ..Histogram::default() };
    }
    let buckets: Vec<i64> = counts.iter().map(|count| i64::from(*count)).collect();
    let total: i64 = buckets.iter().sum();
    let deltas = buckets.iter().scan(0, |last, count| {
        let delta = count - *last;
        *last = *count;
        Some(delta)
    });
    Histogram {
        schema: 2,
        zero_threshold: 1e-9,
        zero_count: 1,
        count: total.cast_unsigned() + 1,
        sum: total as f64 / 3.0,
        positive_spans: vec![Span::new(-3, u32::try_from(counts.len()).unwrap())],
        positive_buckets: deltas.collect(),
        counter_reset_hint: match is_gauge {
            true => CounterResetHint::Gauge,
            false => CounterResetHint::Unknown,
        },
        ..Histogram::default()
    }
}

fn aggregated(times: &[i64]) -> EncodedChunk {
    let values: Vec<f64> = times.iter().map(|time| *time as f64).collect();
    let EncodedChunk { mint, maxt, chunk } = floats(times, &values, None);
    let mut parts = AggrChunk::default();
    parts.set(Aggregate::Count, Some(chunk.clone()));
    parts.set(Aggregate::Max, Some(chunk));
    EncodedChunk { mint, maxt, chunk: parts.to_chunk() }
}

/// Chunks of one of all kinds, from steps, values and flags.
fn chunks_of(kind: u8, steps: &[(u16, u64, u8)], from: i64) -> (Vec<EncodedChunk>, i64) {
    let mut time = from;
    let times: Vec<i64> = steps
        .iter()
        .map(|(step, _, _)| {
            time += 1 + i64::from(*step);
            time
        })
        .collect();
    let starts: Vec<i64> = steps
        .iter()
        .zip(&times)
        .map(|((_, _, flags), time)| match flags % 4 {
            0 => 0,
            1 => time - 7,
            _ => from,
        })
        .collect();
    let values: Vec<f64> = steps
        .iter()
        .map(|(_, bits, flags)| match flags % 8 {
            0 => f64::from_bits(*bits),
            1 => STALE_NAN,
            _ => (bits % 1000) as f64 / 10.0,
        })
        .collect();
    let histograms: Vec<Histogram> = steps
        .iter()
        .map(|(_, bits, flags)| {
            let bytes = bits.to_be_bytes();
            let n = 1 + usize::from(flags >> 6);
            histogram(&bytes[..n], kind == 6, flags % 16 == 1)
        })
        .collect();
    let in_floats: Vec<FloatHistogram> = histograms.iter().map(Histogram::to_float).collect();
    let chunks = match kind {
        0 => vec![floats(&times, &values, None)],
        1 => vec![floats(&times, &values, Some(&starts))],
        2 => encode(&times, None, &histograms),
        3 => encode(&times, Some(&starts), &histograms),
        4 => encode(&times, None, &in_floats),
        5 => encode(&times, Some(&starts), &in_floats),
        6 => encode(&times, None, &histograms),
        _ => vec![aggregated(&times)],
    };
    (chunks, time)
}

type Pieces = Vec<(u8, Vec<(u16, u64, u8)>)>;

fn pieces() -> impl Strategy<Value = Vec<Pieces>> {
    let step = (any::<u16>(), any::<u64>(), any::<u8>());
    let piece = (0..8_u8, prop::collection::vec(step, 1..40));
    prop::collection::vec(prop::collection::vec(piece, 1..6), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn blocks_convert_and_back_with_nothing_changed(pieces in pieces()) {
        let dir = tempfile::tempdir().unwrap();
        let series: Vec<Vec<EncodedChunk>> = pieces
            .iter()
            .map(|pieces| {
                let mut from = -1000;
                let mut chunks = Vec::new();
                for (kind, steps) in pieces {
                    let (more, to) = chunks_of(*kind, steps, from);
                    chunks.extend(more);
                    from = to;
                }
                chunks
            })
            .collect();
        let original = write_block(dir.path(), 1, BlockFormat::Prometheus, &series, 1 << 20);
        let expected = content(&original).unwrap();
        let direct = write_block(dir.path(), 2, BlockFormat::Ferula, &series, 1 << 20);
        prop_assert_eq!(&content(&direct).unwrap(), &expected);
        let converted = convert(dir.path(), 3, &original, BlockFormat::Ferula);
        prop_assert_eq!(&content(&converted).unwrap(), &expected);
        let back = convert(dir.path(), 4, &converted, BlockFormat::Prometheus);
        prop_assert_eq!(&content(&back).unwrap(), &expected);
        let again = convert(dir.path(), 5, &converted, BlockFormat::Ferula);
        prop_assert_eq!(&content(&again).unwrap(), &expected);
        let counts = |block: &Block| {
            let stats = &block.meta().stats;
            (stats.num_samples, stats.num_float_samples, stats.num_histogram_samples, stats.num_series)
        };
        prop_assert_eq!(counts(&converted), counts(&original));
        prop_assert_eq!(counts(&back), counts(&original));
    }

    #[test]
    fn queries_see_the_same_in_both(pieces in pieces(), from in -2000_i64..200_000, len in 0_i64..400_000) {
        let dir = tempfile::tempdir().unwrap();
        let series: Vec<Vec<EncodedChunk>> = pieces
            .iter()
            .map(|pieces| {
                let mut from = -1000;
                let mut chunks = Vec::new();
                // Downsampled data is not read this way.
                for (kind, steps) in pieces.iter().filter(|(kind, _)| *kind < 7) {
                    let (more, to) = chunks_of(*kind, steps, from);
                    chunks.extend(more);
                    from = to;
                }
                chunks
            })
            .collect();
        let original = write_block(dir.path(), 1, BlockFormat::Prometheus, &series, 1 << 20);
        let own = write_block(dir.path(), 2, BlockFormat::Ferula, &series, 1 << 20);
        for (mint, maxt) in [(i64::MIN, i64::MAX), (from, from + len), (from, from)] {
            prop_assert_eq!(queried(&own, mint, maxt).unwrap(), queried(&original, mint, maxt).unwrap());
        }
    }
}

/// Buckets of histograms, and a gauge behind each, from a number of a sample on.
fn bucket_series(from: i64, n: i64, gone: usize) -> Vec<Vec<EncodedChunk>> {
    let counts = |histogram: i64, bucket: i64, at: i64| {
        let mix = |n: i64| (n.wrapping_mul(0x1e37_79b9_7f4a_7c15) >> 40).rem_euclid(5);
        (0..=bucket).map(|of| 100 * at + mix(histogram * 64 + of + at * 4096)).sum::<i64>()
    };
    let mut series = Vec::new();
    for histogram in 0..40 {
        for bucket in 0..10 {
            let values: Vec<f64> =
                (from..from + n).map(|at| counts(histogram, bucket, at) as f64).collect();
            series.push(values);
        }
        series.push((from..from + n).map(|at| (at + histogram) as f64 / 7.0).collect());
    }
    let times: Vec<i64> = (from..from + n).map(|at| at * 15_000).collect();
    let mut chunks: Vec<Vec<EncodedChunk>> = series
        .iter()
        .map(|values| {
            let parts = times.chunks(120).zip(values.chunks(120));
            parts.map(|(times, values)| floats(times, values, None)).collect()
        })
        .collect();
    // Some series are not there, so that distances are others, and one has a hole.
    chunks.iter_mut().skip(gone).step_by(17).for_each(Vec::clear);
    chunks[gone + 1].remove(1);
    chunks
}

fn compact(dir: &Path, name: u128, sources: &[Arc<Block>], format: BlockFormat) -> Arc<Block> {
    let compaction = Compaction {
        fs: &StdFs,
        parent: dir,
        ulid: Ulid(name),
        format,
        chunk_segment_bytes: 1 << 20,
        sources,
        control: &Control::default(),
    };
    Arc::new(compaction.run().unwrap().unwrap().publish().unwrap())
}

#[test]
fn compaction_copies_columns_and_keeps_every_bit() {
    let dir = tempfile::tempdir().unwrap();
    let originals: Vec<Arc<Block>> = (0..6_u8)
        .map(|at| {
            let series = bucket_series(i64::from(at) * 480, 480, at.into());
            write_block(dir.path(), 10 + u128::from(at), BlockFormat::Prometheus, &series, 1 << 20)
        })
        .collect();
    let own: Vec<Arc<Block>> = (20..)
        .zip(&originals)
        .map(|(name, block)| convert(dir.path(), name, block, BlockFormat::Ferula))
        .collect();
    let expected = content(&compact(dir.path(), 30, &originals, BlockFormat::Prometheus)).unwrap();
    let once = compact(dir.path(), 31, &own, BlockFormat::Ferula);
    assert_eq!(content(&once).unwrap(), expected);
    crate::block::verify::verify(&StdFs, &once, Depth::Samples).unwrap();
    let again: Vec<Arc<Block>> = [&own[..3], &own[3..]]
        .into_iter()
        .zip(32..)
        .map(|(sources, name)| compact(dir.path(), name, sources, BlockFormat::Ferula))
        .collect();
    let twice = compact(dir.path(), 34, &again, BlockFormat::Ferula);
    assert_eq!(content(&twice).unwrap(), expected);
    crate::block::verify::verify(&StdFs, &twice, Depth::Samples).unwrap();
    assert_eq!(queried(&twice, 0, i64::MAX).unwrap(), queried(&once, 0, i64::MAX).unwrap());
    let some = |block: &Block| queried(block, 700 * 15_000, 1200 * 15_000).unwrap();
    assert_eq!(some(&twice), some(&once));
    assert_eq!(
        content(&convert(dir.path(), 35, &twice, BlockFormat::Prometheus)).unwrap(),
        expected
    );

    // One chunk of a series, and no larger than if all were written anew.
    let (mut chunks, mut n_chunks) = (Vec::new(), 0);
    for series in &twice.select(&[]).unwrap() {
        twice.cursor().series(series, &mut chunks).unwrap();
        n_chunks += chunks.len();
    }
    assert_eq!(n_chunks, expected.len());
    let merged = compact(dir.path(), 36, &originals, BlockFormat::Ferula);
    let size = |block: &Block| std::fs::metadata(block.dir().join("chunks/000001")).unwrap().len();
    assert!(size(&twice) < size(&merged) * 115 / 100, "{} {}", size(&twice), size(&merged));
}

/// A block of long series in several segments, with samples of all kinds.
fn varied(dir: &Path) -> Arc<Block> {
    let mut series: Vec<Vec<EncodedChunk>> = (0..8_i64)
        .map(|n| {
            let chunk = |from: i64| {
                let times: Vec<i64> = (from..from + 120).map(|i| i * 15_000 + n % 3).collect();
                // Of three bytes each, so that there are several pages.
                let mixed = |time: &i64| {
                    let bits = (time + n).wrapping_mul(0x1e37_79b9_7f4a_7c15);
                    ((bits >> 29) ^ bits).wrapping_mul(0x3f58_476d_1ce4_e5b9) >> 40
                };
                let values: Vec<f64> = times.iter().map(|time| mixed(time) as f64).collect();
                floats(&times, &values, None)
            };
            (0..if n < 2 { 100 } else { 20 }).map(|at| chunk(at * 120)).collect()
        })
        .collect();
    let steps: Vec<(u16, u64, u8)> = (0_u8..100).map(|i| (7, u64::from(i) << 56, i / 4)).collect();
    series.extend((0..8).map(|kind| chunks_of(kind, &steps, 0).0));
    write_block(dir, 1, BlockFormat::Ferula, &series, 8_000)
}

#[test]
fn long_series_become_long_chunks_in_several_segments() {
    let dir = tempfile::tempdir().unwrap();
    let block = varied(dir.path());
    let segments = std::fs::read_dir(block.dir().join("chunks")).unwrap().count();
    assert!(segments > 2, "{segments}");
    let mut chunks = Vec::new();
    let mut cursor = block.cursor();
    let first = block.select(&[]).unwrap().first().unwrap();
    cursor.series(first, &mut chunks).unwrap();
    // 12,000 samples at 15 seconds: cut at 32 hours, of which there are 50.
    assert_eq!(chunks.len(), 2);
    assert_eq!((chunks[0].mint, chunks[1].mint), (0, 32 * 3_600_000));
    // As a query reads them, from several threads.
    let all = queried(&block, i64::MIN, i64::MAX);
    assert!(all.is_err(), "downsampled data is not read this way");
}

/// Writes the index of a block anew, with what `change` makes of what it says of its chunks.
fn rewrite_index(dir: &Path, change: impl Fn(&mut ChunkEntry)) {
    let file = dir.join("index");
    let index = IndexReader::open(std::fs::read(&file).unwrap().into()).unwrap();
    let mut symbols = Vec::new();
    index.for_each_symbol(|text| symbols.push(text.to_owned())).unwrap();
    let mut writer = IndexWriter::new(Vec::new(), &symbols).unwrap();
    for series in &index.select(&[]).unwrap() {
        let labels = index.series(series, &mut Vec::new()).unwrap();
        let mut entries = index.cursor().chunks(series).unwrap().to_vec();
        entries.iter_mut().for_each(&change);
        writer.add_series(&labels, &entries).unwrap();
    }
    std::fs::write(&file, writer.finish().unwrap()).unwrap();
}

#[test]
fn an_index_that_tells_other_values_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let values: Vec<f64> = (0..1000).map(|i| f64::from(i * 7 % 31) / 10.0).collect();
    let times: Vec<i64> = (0..1000).map(|i| i * 15_000).collect();
    let parts = times.chunks(100).zip(values.chunks(100));
    let chunks = parts.map(|(times, values)| floats(times, values, None)).collect();
    let block = write_block(dir.path(), 1, BlockFormat::Ferula, &[chunks], 1 << 20);
    let verify = |change: &dyn Fn(&mut ValueBounds), n: u32| {
        rewrite_index(block.dir(), |entry| {
            entry.n_samples += n;
            change(entry.bounds.as_mut().unwrap());
        });
        let found = [Depth::Chunks, Depth::Samples].map(|depth| {
            let block = Block::open(&StdFs, block.dir().to_path_buf()).unwrap();
            crate::block::verify::verify(&StdFs, &block, depth)
        });
        rewrite_index(block.dir(), |entry| {
            entry.n_samples -= n;
            entry.bounds = ValueBounds::of(&values);
        });
        found
    };
    let as_is = verify(&|_| {}, 0);
    assert!(as_is.iter().all(Result::is_ok), "{as_is:?}");
    let changes: [&dyn Fn(&mut ValueBounds); 5] = [
        &|bounds| bounds.first = 0.5,
        &|bounds| bounds.last += 0.1,
        &|bounds| bounds.min = -0.1,
        &|bounds| bounds.max = 2.9,
        &|bounds| bounds.max = f64::NAN,
    ];
    for change in changes {
        for found in verify(change, 0) {
            let refused = found.unwrap_err();
            let Error::Block { fault: BlockFault::ChunkBounds { .. }, .. } = refused else {
                panic!("{refused}");
            };
        }
    }
    for found in verify(&|_| {}, 1) {
        let refused = found.unwrap_err();
        let Error::Block { fault: BlockFault::ChunkRange { .. }, .. } = refused else {
            panic!("{refused}");
        };
    }
}

/// Reads everything that there is in a block.
fn read_all(dir: &Path) -> Result<usize, Error> {
    let block = Block::open(&StdFs, dir.to_path_buf())?;
    let n = content(&block)?.iter().map(|(_, seen)| seen.len()).sum();
    crate::block::verify::verify(&StdFs, &block, Depth::Samples)?;
    Ok(n)
}

#[test]
fn damage_in_any_file_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let block = varied(dir.path());
    let at = block.dir().to_path_buf();
    let expected = read_all(&at).unwrap();
    assert!(expected > 2 * 12_000 + 6 * 2400);
    for file in ["index", "chunks/000001", "chunks/000002"] {
        let path = at.join(file);
        let bytes = std::fs::read(&path).unwrap();
        let replace = |bytes: &[u8]| {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
        };
        let len = bytes.len();
        let ends = (0..len.min(20)).chain(len - 120.min(len)..len);
        for place in ends.chain((0..len).step_by(1 + len / 80)) {
            // The padding of a segment is not covered.
            if file.starts_with("chunks") && (5..8).contains(&place) {
                continue;
            }
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            replace(&flipped);
            let refused = read_all(&at).unwrap_err();
            let text = refused.to_string_with_causes();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(refused.is_of_data() && text.contains(name), "{place}: {text}");
            replace(&bytes[..place]);
            assert!(read_all(&at).unwrap_err().is_of_data(), "cut to {place}");
        }
        replace(&bytes);
        assert_eq!(read_all(&at).unwrap(), expected);
        std::fs::rename(&path, at.join("away")).unwrap();
        assert!(read_all(&at).is_err(), "{file} is missing");
        std::fs::rename(at.join("away"), &path).unwrap();
    }
    let path = at.join("chunks/000001");
    for (place, byte) in [(0, 0x85), (4, 2)] {
        let mut wrong = std::fs::read(&path).unwrap();
        wrong[place] = byte;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, &wrong).unwrap();
        let refused = read_all(&at).unwrap_err();
        assert!(matches!(refused, Error::Magic { .. } | Error::Version { .. }), "{refused:?}");
        wrong[place] = if place == 0 { 0xfe } else { 1 };
        std::fs::write(&path, &wrong).unwrap();
    }
}
