//! How long does compacting two-hour blocks take, and how much memory?
//!
//! ```text
//! cargo build --release -p ferula-benches --bin compact
//! target/release/compact build DIR --series 100000 --blocks 12
//! target/release/compact convert DIR
//! target/release/compact run DIR [--one] [--check] [--format prometheus]
//! ```
//!
//! `build` writes blocks of a fleet into an empty directory, as Prometheus lays them out: a copy of
//! the directory is what another program is given to compare. `convert` makes blocks of ferula's
//! format of them. `run` compacts them in place until
//! nothing is due, by threes, or at once into one, and reports as JSON. What is read was best read
//! before, so that both contenders find it in the page cache.

mod build;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use ferula_chunkenc::SampleBatch;
use ferula_tsdb::{BlockFormat, Db, Options};
use serde_json::{Value, json};

use ferula_benches::process::{PeakWatch, cpu_s, disk, versions};

const BLOCK_RANGE_MS: i64 = 2 * 60 * 60 * 1000;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes blocks into a directory that is empty or does not exist.
    Build {
        dir: PathBuf,
        /// Series of each block.
        #[arg(long, default_value_t = 20_000)]
        series: u32,
        /// Number of blocks of two hours.
        #[arg(long, default_value_t = 12)]
        blocks: u32,
        /// Time between two samples of a series, in milliseconds.
        #[arg(long, default_value_t = 15_000)]
        interval: i64,
        /// Share of the targets that are replaced per hour.
        #[arg(long, default_value_t = 0.0)]
        churn: f64,
    },
    /// Writes all blocks anew that are not in ferula's format.
    Convert { dir: PathBuf },
    /// Compacts what is in a directory.
    Run {
        dir: PathBuf,
        /// Makes one block of all but the newest, rather than by threes.
        #[arg(long)]
        one: bool,
        /// Reads everything before and after, and fails if it differs.
        #[arg(long)]
        check: bool,
        /// The format that is written: `ferula` or `prometheus`.
        #[arg(long, value_parser = format, default_value_t)]
        format: BlockFormat,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let report = match Args::parse().command {
        Command::Build { dir, series, blocks, interval, churn } => {
            build::build(&dir, series, blocks, interval, churn)?
        }
        Command::Convert { dir } => convert(&dir)?,
        Command::Run { dir, one, check, format } => run(&dir, one, check, format)?,
    };
    println!("{report}");
    Ok(())
}

fn format(name: &str) -> Result<BlockFormat, String> {
    BlockFormat::from_name(name).ok_or_else(|| "not a format of blocks".to_owned())
}

fn convert(dir: &Path) -> Result<Value, Box<dyn Error>> {
    let db = Db::open(dir, Options::builder().maintenance_interval(None).build()?)?;
    let (start, cpu_before) = (Instant::now(), cpu_s());
    let made = db.convert_blocks()?;
    let (took, cpu) = (start.elapsed(), cpu_s());
    db.close()?;
    Ok(json!({
        "bench": "compact convert",
        "made": made.len(),
        "convert_s": seconds(took),
        "cpu_s": { "user": cpu.0 - cpu_before.0, "system": cpu.1 - cpu_before.1 },
        "disk": disk(dir),
    }))
}

fn run(dir: &Path, one: bool, check: bool, format: BlockFormat) -> Result<Value, Box<dyn Error>> {
    let start = Instant::now();
    let max_block_range_ms = BLOCK_RANGE_MS * if one { 3 } else { 27 };
    let options = Options::builder()
        .block_range_ms(if one { BLOCK_RANGE_MS * 4 } else { BLOCK_RANGE_MS })
        .max_block_range_ms(max_block_range_ms * if one { 4 } else { 1 })
        .block_format(format)
        .maintenance_interval(None);
    let db = Db::open(dir, options.build()?)?;
    let open_s = start.elapsed();
    let before = if check { Some(digest(&db)?) } else { None };
    let (disk_before, peak, cpu_before) = (disk(dir), PeakWatch::start(), cpu_s());
    let start = Instant::now();
    let made = db.compact()?;
    let (took, cpu, peak) = (start.elapsed(), cpu_s(), peak.take());
    let after = if check { Some(digest(&db)?) } else { None };
    if before != after {
        return Err("the samples are not what they were".into());
    }
    let stats = db.stats();
    let levels: Vec<Value> = stats
        .blocks
        .iter()
        .map(|meta| json!({ "level": meta.compaction.level, "series": meta.stats.num_series, "samples": meta.stats.num_samples, "chunks": meta.stats.num_chunks }))
        .collect();
    db.close()?;
    Ok(json!({
        "bench": "compact run",
        "command": std::env::args().collect::<Vec<_>>().join(" "),
        "versions": versions(),
        "open_s": seconds(open_s),
        "compact_s": seconds(took),
        "cpu_s": { "user": cpu.0 - cpu_before.0, "system": cpu.1 - cpu_before.1 },
        "peak": peak.to_json(),
        "made": made.len(),
        "disk_before": disk_before,
        "disk": disk(dir),
        "blocks": levels,
        "digest": after.map(|(series, samples, sum)| json!([series, samples, format!("{sum:016x}")])),
    }))
}

/// Numbers of series and samples, and a sum over all of them.
fn digest(db: &Db) -> Result<(usize, usize, u64), Box<dyn Error>> {
    let series = db.querier(i64::MIN, i64::MAX)?.select(&[])?;
    let (mut n_samples, mut sum) = (0, 0_u64);
    let mut batch = SampleBatch::new();
    for index in 0..series.len() {
        batch.clear();
        series.read(index, &mut batch)?;
        n_samples += batch.len();
        let mut of_series = series.labels(index).stable_hash();
        for sample in batch.iter() {
            let bits = sample.timestamp.cast_unsigned() ^ sample.value.to_bits().rotate_left(17);
            of_series = (of_series ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        sum = sum.rotate_left(1) ^ of_series;
    }
    Ok((series.len(), n_samples, sum))
}

/// A time in seconds with three decimals.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
