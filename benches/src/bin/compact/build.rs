//! Writing blocks without a store: chunks, index and description, by the layout alone.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use ferula_benches::fleet::{Fleet, FleetOptions};
use ferula_chunkenc::XorAppender;
use ferula_chunkenc::cursor::{crc32c, put_uvarint};
use ferula_index::block::IndexWriter;
use ferula_index::{ChunkMeta, ChunkRef, Labels};
use serde_json::{Value, json};

use crate::BLOCK_RANGE_MS;

const SERIES_PER_TARGET: u32 = 500;

const CHUNK_SAMPLES: u16 = 120;

/// 2023-11-15, at a border of all ranges up to a day.
const START_MS: i64 = 1_700_006_400_000;

const SEGMENT_BYTES: u64 = 512 << 20;

/// Names of blocks, which differ in the last character.
const NAME: &str = "01HF8ZGJ4000000000000000";

/// What a block has of a series: its chunks with their first and last times.
type Chunks = Vec<(i64, i64, Vec<u8>)>;

/// Writes blocks into `dir`.
pub(crate) fn build(
    dir: &Path,
    n_series: u32,
    n_blocks: u32,
    interval_ms: i64,
    churn_per_hour: f64,
) -> Result<Value, Box<dyn Error>> {
    fs::create_dir_all(dir)?;
    if fs::read_dir(dir)?.next().is_some() {
        return Err(format!("{} is not empty", dir.display()).into());
    }
    let fleet = Fleet::new(FleetOptions {
        seed: 1,
        n_targets: n_series.div_ceil(SERIES_PER_TARGET),
        series_per_target: SERIES_PER_TARGET,
        start_ms: START_MS,
        interval_ms,
        churn_per_hour,
    });
    let n_rounds = u32::try_from(BLOCK_RANGE_MS / interval_ms)?;
    let mut n_samples = 0;
    for block in 0..n_blocks {
        let rounds = block * n_rounds..(block + 1) * n_rounds;
        let mut series = Vec::new();
        for target in 0..fleet.options().n_targets {
            series.extend(of_target(&fleet, target, rounds.clone())?);
        }
        series.sort_by(|(a, _), (b, _)| a.cmp(b));
        n_samples += write(dir, block, &series, u64::from(n_rounds))?;
    }
    Ok(json!({ "bench": "compact build", "blocks": n_blocks, "samples": n_samples }))
}

/// The series of a target in a range of rounds.
fn of_target(
    fleet: &Fleet,
    target: u32,
    rounds: std::ops::Range<u32>,
) -> Result<Vec<(Labels, Chunks)>, Box<dyn Error>> {
    let generation = fleet.generation(target, rounds.start);
    let mut values = Vec::new();
    let mut open: Vec<(i64, XorAppender)> = Vec::new();
    let mut found: Vec<(Labels, Chunks)> = (0..SERIES_PER_TARGET)
        .map(|series| (fleet.labels(target, generation, series), Vec::new()))
        .collect();
    for round in rounds {
        let time = fleet.time_ms(target, round);
        fleet.scrape(target, generation, round, &mut values);
        open.resize_with(values.len(), || (time, XorAppender::new()));
        for ((value, (mint, appender)), (_, chunks)) in values.iter().zip(&mut open).zip(&mut found)
        {
            appender.append(time, *value)?;
            if appender.sample_count() == CHUNK_SAMPLES {
                chunks.push((*mint, time, appender.as_bytes().to_vec()));
                (*mint, *appender) = (time, XorAppender::new());
            }
            if appender.sample_count() == 0 {
                *mint = fleet.time_ms(target, round + 1);
            }
        }
    }
    for ((mint, appender), (_, chunks)) in open.iter().zip(&mut found) {
        if let Some(last) = appender.last() {
            chunks.push((*mint, last.timestamp, appender.as_bytes().to_vec()));
        }
    }
    Ok(found)
}

/// Writes a block and returns how many samples it has.
fn write(
    dir: &Path,
    block: u32,
    series: &[(Labels, Chunks)],
    n_rounds: u64,
) -> Result<u64, Box<dyn Error>> {
    let name = format!("{NAME}{}", ulid_digits(block));
    let dir = dir.join(&name);
    fs::create_dir_all(dir.join("chunks"))?;
    let symbols: BTreeSet<&str> = series
        .iter()
        .flat_map(|(labels, _)| labels)
        .flat_map(|(name, value)| [name, value])
        .collect();
    let file = BufWriter::new(fs::File::create(dir.join("index"))?);
    let mut index = IndexWriter::new(file, symbols)?;
    let mut segments = Segments { dir: &dir, n: 0, len: 0, out: None };
    let mut n_chunks = 0;
    for (labels, chunks) in series {
        let mut metas = Vec::new();
        for (mint, maxt, data) in chunks {
            let chunk = segments.write(data)?;
            metas.push(ChunkMeta { mint: *mint, maxt: *maxt, chunk });
        }
        n_chunks += metas.len();
        index.add_series(labels, &metas)?;
    }
    index.finish()?.flush()?;
    segments.out.map_or(Ok(()), |mut out| out.flush())?;
    let n_samples = n_rounds * series.len() as u64;
    let meta = json!({
        "ulid": name,
        "minTime": START_MS + i64::from(block) * BLOCK_RANGE_MS,
        "maxTime": START_MS + i64::from(block + 1) * BLOCK_RANGE_MS,
        "stats": {
            "numSamples": n_samples,
            "numFloatSamples": n_samples,
            "numSeries": series.len(),
            "numChunks": n_chunks,
        },
        "compaction": { "level": 1, "sources": [name] },
        "version": 1,
    });
    fs::write(dir.join("meta.json"), serde_json::to_vec_pretty(&meta)?)?;
    fs::write(dir.join("tombstones"), [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0])?;
    Ok(n_samples)
}

/// Two digits of the alphabet of block names.
fn ulid_digits(n: u32) -> String {
    let digit = |n: u32| char::from_digit(n % 10, 10).unwrap_or('0');
    [digit(n / 10), digit(n)].iter().collect()
}

/// Chunk segments that are written front to back.
struct Segments<'a> {
    dir: &'a Path,
    n: u64,
    len: u64,
    out: Option<BufWriter<fs::File>>,
}

impl Segments<'_> {
    fn write(&mut self, data: &[u8]) -> Result<ChunkRef, Box<dyn Error>> {
        if self.out.is_none() || self.len + data.len() as u64 + 16 > SEGMENT_BYTES {
            if let Some(mut out) = self.out.take() {
                out.flush()?;
            }
            self.n += 1;
            let file = fs::File::create(self.dir.join(format!("chunks/{:06}", self.n)))?;
            let mut out = BufWriter::with_capacity(1 << 20, file);
            out.write_all(&[0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0])?;
            (self.out, self.len) = (Some(out), 8);
        }
        let at = ChunkRef((self.n - 1) << 32 | self.len);
        let mut bytes = Vec::with_capacity(data.len() + 8);
        put_uvarint(&mut bytes, data.len() as u64);
        let covered = bytes.len();
        bytes.push(1);
        bytes.extend_from_slice(data);
        let checksum = crc32c(&bytes[covered..]);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        if let Some(out) = &mut self.out {
            out.write_all(&bytes)?;
        }
        self.len += bytes.len() as u64;
        Ok(at)
    }
}
