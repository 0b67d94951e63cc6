//! What do queries over all that a directory holds take, in time and in memory beside the store's own?
//!
//! ```text
//! target/release/compact build DIR --series 100000 --blocks 12
//! target/release/long_query DIR
//! ```
//!
//! Runs each query `--iterations` times at steps of `--step` over all blocks of the directory, with
//! `--threads` helping ones, and prints a line of JSON for each: the shortest wall time, processor time,
//! and the most anonymous memory above what there was before the query. Without `--query` it asks for sums
//! of rates over windows of several lengths, over the whole time and half of it.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use ferula_promql::storage::Queryable;
use ferula_promql::{Engine, EngineOptions, Features};
use ferula_tsdb::{QueryThreads, ReadOnlyDb};
use serde_json::json;

use ferula_benches::process::{Memory, PeakWatch, cpu_s, versions};

#[derive(Parser)]
struct Args {
    dir: PathBuf,
    /// Asked instead of the usual ones.
    #[arg(long)]
    query: Vec<String>,
    /// Seconds from one step to the next.
    #[arg(long, default_value_t = 15)]
    step: i64,
    #[arg(long, default_value_t = 0)]
    threads: usize,
    #[arg(long, default_value_t = 1)]
    iterations: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let db = ReadOnlyDb::open(&args.dir)?;
    let blocks = db.stats().blocks;
    let start = blocks.iter().map(|meta| meta.mint).min().ok_or("there are no blocks")?;
    let end = blocks.iter().map(|meta| meta.maxt).max().ok_or("there are no blocks")?;
    let storage: Arc<dyn Queryable> = Arc::new(db);
    // Rates of several metrics differ in their names only, which are removed at the end then.
    let mut features = Features::default();
    features.delayed_name_removal = true;
    let mut options = EngineOptions::default().max_samples(usize::MAX).features(features);
    if args.threads > 0 {
        options = options.threads(Arc::new(QueryThreads::new(args.threads)?));
    }
    let engine = Engine::new(options);
    let half = start + (end - start) / 2;
    let asked = args.query.iter().map(|query| (query.clone(), start));
    let rates = |window: &str| {
        format!(r#"sum by (job) (rate({{__name__=~".+_(total|bucket|count|sum)"}}[{window}]))"#)
    };
    let usual = [("5m", half), ("5m", start), ("1h", start)];
    let usual = usual.iter().map(|(window, start)| (rates(window), *start));
    let queries: Vec<_> = if args.query.is_empty() { usual.collect() } else { asked.collect() };
    for (text, start) in queries {
        let (before, peak) = (Memory::now(), PeakWatch::start());
        let cpu_before = cpu_s();
        let mut shortest = f64::INFINITY;
        let mut result = None;
        for _ in 0..args.iterations.max(1) {
            let at = Instant::now();
            let query = engine.range(Arc::clone(&storage), &text, start, end, args.step * 1_000)?;
            result = Some(query.run()?);
            shortest = shortest.min(at.elapsed().as_secs_f64());
        }
        let (cpu, peak) = (cpu_s(), peak.take());
        let stats = result.ok_or("there was no iteration")?.stats;
        println!(
            "{}",
            json!({
                "bench": "long_query",
                "query": text,
                "hours": (end - start) as f64 / 3.6e6,
                "threads": args.threads,
                "versions": versions(),
                "wall_s": shortest,
                "cpu_s": (cpu.0 - cpu_before.0 + cpu.1 - cpu_before.1) / args.iterations.max(1) as f64,
                "series": stats.n_series,
                "samples": stats.samples_read,
                "counted_peak_mib": stats.peak_memory_bytes as f64 / f64::from(1 << 20),
                "anonymous_above_mib":
                    peak.anonymous.saturating_sub(before.anonymous) as f64 / f64::from(1 << 20),
            })
        );
    }
    Ok(())
}
