//! `ferula bench`: a short measurement of this machine: appending by ref, cutting blocks, a query.
//!
//! A store with its defaults, log included, in a directory of its own that is removed at the end. Each
//! number is one run: it tells the order of magnitude on this machine, and nothing about another one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use ferula_index::{Labels, SeriesRef};
use ferula_promql::{Engine, EngineOptions};
use ferula_tsdb::{Db, Options};
use ferula_wire::cli::{self, Failure};
use serde::Serialize;

use crate::Outcome;
use crate::output::{self, Output, bytes_text};

/// Between two samples of a series.
const STEP_MS: i64 = 15_000;

/// The query that is measured.
const QUERY: &str = "sum by (job) (rate(requests_total[1m]))";

/// Flags of `ferula bench`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Where the store is made, which decides on the disk that is measured; the system's directory for
    /// temporary files if absent.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Series.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    series: u32,

    /// Samples of each series, 15 s apart.
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    samples: u32,

    #[command(flatten)]
    output: Output,
}

/// What was measured.
#[derive(Serialize)]
struct Measured {
    series: u32,
    samples: u64,
    append_seconds: f64,
    append_samples_per_second: f64,
    cut_seconds: f64,
    block_bytes: u64,
    block_bytes_per_sample: f64,
    query_seconds: f64,
    query_samples_per_second: f64,
}

/// Measures, and writes the numbers to standard output.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    let parent = flags.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = parent.join(format!("ferula-bench-{}", std::process::id()));
    let named = |error: io::Error| -> Failure { format!("{}: {error}", dir.display()).into() };
    fs::create_dir(&dir).map_err(named)?;
    let measured = measure(flags, &dir);
    // The measurement counts; what is left of it is the lesser evil.
    let removed = fs::remove_dir_all(&dir).map_err(named);
    let measured = measured?;
    removed?;
    match flags.output.json {
        true => output::write_json(&measured)?,
        false => write(&mut io::stdout().lock(), &measured)?,
    }
    Ok(Outcome::Done)
}

fn measure(flags: &Flags, dir: &Path) -> Result<Measured, Failure> {
    let db = Arc::new(Db::open(dir, Options::builder().maintenance_interval(None).build()?)?);
    let n_samples = u64::from(flags.series) * u64::from(flags.samples);
    let start_ms = cli::now_ms() - i64::from(flags.samples) * STEP_MS;
    let mut refs: Vec<SeriesRef> = Vec::new();
    let start = Instant::now();
    for at in 0..i64::from(flags.samples) {
        let time = start_ms + at * STEP_MS;
        let mut batch = db.appender();
        for n in 0..flags.series {
            let value = (at * i64::from(n % 100 + 1)) as f64;
            match refs.get(n as usize) {
                Some(series) => batch.append_ref(*series, time, value)?,
                None => refs.push(batch.append(&labels(n)?, time, value)?),
            }
        }
        batch.commit()?;
    }
    let append = start.elapsed();
    let start = Instant::now();
    db.compact_head()?;
    let cut = start.elapsed();
    let block_bytes = db.stats().block_bytes;

    let engine = Engine::new(EngineOptions::default());
    let end_ms = start_ms + (i64::from(flags.samples) - 1) * STEP_MS;
    let start = Instant::now();
    engine.range(Arc::clone(&db) as _, QUERY, start_ms, end_ms, STEP_MS)?.run()?;
    let query = start.elapsed();
    db.close()?;
    let rate = |time: Duration| n_samples as f64 / time.as_secs_f64().max(1e-9);
    Ok(Measured {
        series: flags.series,
        samples: n_samples,
        append_seconds: append.as_secs_f64(),
        append_samples_per_second: rate(append),
        cut_seconds: cut.as_secs_f64(),
        block_bytes,
        block_bytes_per_sample: block_bytes as f64 / n_samples as f64,
        query_seconds: query.as_secs_f64(),
        query_samples_per_second: rate(query),
    })
}

fn labels(n: u32) -> Result<Labels, ferula_index::Error> {
    let (job, instance, path) = (n % 10, n / 10 % 100, n / 1000);
    let (job, instance) = (format!("job-{job}"), format!("10.0.0.{instance}:9090"));
    Labels::from_pairs([
        ("__name__", "requests_total"),
        ("instance", &instance),
        ("job", &job),
        ("path", &format!("/api/{path}")),
    ])
}

fn write(out: &mut impl Write, measured: &Measured) -> io::Result<()> {
    let Measured { series, samples, .. } = measured;
    writeln!(out, "{series} series, {samples} samples, one thread, one run of each")?;
    writeln!(
        out,
        "append  {:>8.3} s  {:>12.0} samples/s, log included",
        measured.append_seconds, measured.append_samples_per_second
    )?;
    writeln!(
        out,
        "cut     {:>8.3} s  {:>12} of blocks, {:.2} bytes per sample with the index",
        measured.cut_seconds,
        bytes_text(measured.block_bytes),
        measured.block_bytes_per_sample
    )?;
    writeln!(
        out,
        "query   {:>8.3} s  {:>12.0} samples/s, {QUERY} at every step",
        measured.query_seconds, measured.query_samples_per_second
    )
}
