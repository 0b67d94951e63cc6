//! How small are blocks, and how fast are they opened, searched and scanned, by their format?
//!
//! `cargo run --release -p ferula-benches --bin blocks -- [OPTIONS]` stores the same series in one
//! block of each format and prints bytes per sample, index and chunks apart, what it took to cut and
//! to rewrite them, and what a scan of all samples takes from the page cache, on one thread.
//! `--recording PATH` takes a recording of real scrapes, else synthetic pods. `--index SERIES` writes
//! nothing but indexes, with one chunk a series, and searches them; with `--dir DIR` the one of
//! Prometheus's format is left there as a block without samples, for others to search. `--scan DIR`
//! scans a database that is there.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use ferula_benches::fleet::{Fleet, FleetOptions};
use ferula_benches::{START_MS, STEP_MS, Series, pods, recording};
use ferula_chunkenc::SampleBatch;
use ferula_index::ferula::{ChunkEntry, ValueBounds};
use ferula_index::postings::Postings;
use ferula_index::{ChunkMeta, ChunkRef, Labels, MatchOp, Matcher, SeriesRef, block, ferula};
use ferula_tsdb::{BlockFormat, Db, Options, SeriesSet, SyncPolicy};

/// So that all samples of a data set go into one block.
const BLOCK_RANGE_MS: i64 = 30 * 24 * 3600 * 1000;

const FORMATS: [BlockFormat; 2] = [BlockFormat::Prometheus, BlockFormat::Ferula];

/// How often something short is measured; the shortest time counts.
const ROUNDS: usize = 7;

#[derive(Parser)]
struct Args {
    /// A recording of scrapes to store instead of pods.
    #[arg(long, value_name = "PATH")]
    recording: Option<PathBuf>,
    /// Pods.
    #[arg(long, default_value_t = 50)]
    targets: usize,
    /// Series of each.
    #[arg(long, default_value_t = 1000)]
    series: usize,
    /// Scrapes of each, 15 seconds apart.
    #[arg(long, default_value_t = 480)]
    scrapes: usize,
    /// Write and search indexes of so many series.
    #[arg(long, value_name = "SERIES")]
    index: Option<u32>,
    /// Where blocks are made, which are removed again but for that of `--index`.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Scan the blocks of this directory.
    #[arg(long, value_name = "DIR")]
    scan: Option<PathBuf>,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(n_series) = args.index {
        return indexes(n_series, args.dir.as_deref());
    }
    if let Some(dir) = &args.scan {
        return scan_existing(dir);
    }
    let series = match &args.recording {
        Some(path) => recording::read(path)?,
        None => pods::series(args.targets, args.series, args.scrapes),
    };
    let dir = args.dir.unwrap_or_else(std::env::temp_dir);
    let dir = dir.join(format!("ferula-blocks-{}", std::process::id()));
    let stored = store(&dir, &series);
    fs::remove_dir_all(&dir)?;
    stored
}

fn store(dir: &Path, series: &[Series]) -> Result<()> {
    let n_samples: usize = series.iter().map(|series| series.samples.len()).sum();
    println!("{} series, {n_samples} samples", series.len());
    println!(
        "{:>10} {:>9} {:>9} {:>9} {:>8} {:>8} {:>9} {:>12} {:>12}",
        "format",
        "index",
        "chunks",
        "B/sample",
        "cut s",
        "again s",
        "open ms",
        "scan M/s",
        "again M/s"
    );
    for format in FORMATS {
        let dir = dir.join(format.as_str());
        let options = Options::builder()
            .sync(SyncPolicy::Never)
            .maintenance_interval(None)
            .block_range_ms(BLOCK_RANGE_MS)
            .max_block_range_ms(BLOCK_RANGE_MS)
            .block_format(format)
            .build()?;
        let db = Db::open(&dir, options.clone())?;
        append(&db, series)?;
        let (cut, _) = timed(|| db.compact_head())?;
        // Nothing that is there is deleted, but the block is written again.
        let first = series.first().ok_or("no series")?;
        let first_time = first.samples.first().ok_or("no samples")?.timestamp;
        let matchers = first.labels.iter().map(|(name, value)| Matcher::equal(name, value));
        let (index, chunks) = sizes(&dir)?;
        db.delete(&matchers.collect::<Vec<_>>(), first_time, first_time)?;
        let (again, _) = timed(|| db.clean_tombstones())?;
        db.close()?;
        let (open, db) = timed(|| Db::open(&dir, options.clone()))?;
        let (once, found) = scan(&db)?;
        assert_eq!(found, n_samples - 1, "all is read that was stored");
        let mut best = once;
        for _ in 0..ROUNDS {
            best = best.min(scan(&db)?.0);
        }
        let rate = |elapsed: Duration| n_samples as f64 / elapsed.as_secs_f64() / 1e6;
        println!(
            "{:>10} {index:>9} {chunks:>9} {:>9.3} {:>8.2} {:>8.2} {:>9.2} {:>12.0} {:>12.0}",
            format.as_str(),
            (index + chunks) as f64 / n_samples as f64,
            cut.as_secs_f64(),
            again.as_secs_f64(),
            open.as_secs_f64() * 1e3,
            rate(once),
            rate(best),
        );
        db.close()?;
        fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

/// Scans what is in a directory a few times and prints the rates, in millions of samples a second.
fn scan_existing(dir: &Path) -> Result<()> {
    let db = Db::open_read_only(dir)?;
    let set = db.querier(i64::MIN, i64::MAX)?.select(&[])?;
    for _ in 0..ROUNDS {
        let (elapsed, found) = scan_set(&set)?;
        println!("{found} samples, {:.0} M/s", found as f64 / elapsed.as_secs_f64() / 1e6);
    }
    Ok(())
}

fn append(db: &Db, series: &[Series]) -> Result<()> {
    for Series { labels, samples } in series {
        let labels =
            Labels::from_pairs(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
        let mut appender = db.appender();
        for sample in samples {
            appender.append(&labels, sample.timestamp, sample.value)?;
        }
        appender.commit()?;
    }
    Ok(())
}

/// Bytes of index and chunks of all blocks in a directory.
fn sizes(dir: &Path) -> Result<(u64, u64)> {
    let (mut index, mut chunks) = (0, 0);
    for entry in fs::read_dir(dir)? {
        let block = entry?.path();
        if block.join("meta.json").exists() {
            index += fs::metadata(block.join("index"))?.len();
            for segment in fs::read_dir(block.join("chunks"))? {
                chunks += segment?.metadata()?.len();
            }
        }
    }
    Ok((index, chunks))
}

/// Reads all samples; how long that takes without selecting the series, and how many there are.
fn scan(db: &Db) -> Result<(Duration, usize)> {
    scan_set(&db.querier(i64::MIN, i64::MAX)?.select(&[])?)
}

fn scan_set(set: &SeriesSet) -> Result<(Duration, usize)> {
    let mut batch = SampleBatch::new();
    let mut found = 0;
    let (elapsed, ()) = timed(|| {
        for index in 0..set.len() {
            batch.clear();
            set.read(index, &mut batch)?;
            found += batch.len();
        }
        Ok::<(), ferula_tsdb::Error>(())
    })?;
    Ok((elapsed, found))
}

fn timed<T, E>(
    work: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<(Duration, T), E> {
    let start = Instant::now();
    let done = work()?;
    Ok((start.elapsed(), done))
}

/// The series of a fleet, sorted.
fn fleet(n_series: u32) -> Vec<Labels> {
    let series_per_target = 1000.min(n_series.max(1));
    let n_targets = n_series.div_ceil(series_per_target);
    let fleet = Fleet::new(FleetOptions {
        seed: 1,
        n_targets,
        series_per_target,
        start_ms: START_MS,
        interval_ms: STEP_MS,
        churn_per_hour: 0.0,
    });
    let of_target = |target| (0..series_per_target).map(move |series| (target, series));
    let mut labels: Vec<Labels> = (0..n_targets)
        .flat_map(of_target)
        .map(|(target, series)| fleet.labels(target, 0, series))
        .collect();
    labels.sort_unstable();
    labels
}

/// Leaves an index as a block of Prometheus's format that has no samples.
fn leave_index(dir: &Path, index: &[u8]) -> Result<()> {
    let name = "01HF8ZGJ400000000000000000";
    let block = dir.join(name);
    fs::create_dir_all(block.join("chunks"))?;
    fs::write(block.join("index"), index)?;
    let description = serde_json::json!({
        "ulid": name,
        "minTime": START_MS,
        "maxTime": START_MS + 480 * STEP_MS + 15_000,
        "stats": {},
        "compaction": { "level": 1, "sources": [name] },
        "version": 1,
    });
    Ok(fs::write(block.join("meta.json"), description.to_string())?)
}

fn indexes(n_series: u32, dir: Option<&Path>) -> Result<()> {
    let all = fleet(n_series);
    let mut symbols: Vec<&str> = all
        .iter()
        .flat_map(|labels| labels.iter().flat_map(|(name, value)| [name, value]))
        .collect();
    symbols.sort_unstable();
    symbols.dedup();
    let mut own = ferula::IndexWriter::new(Vec::new(), &symbols)?;
    let mut other = block::IndexWriter::new(Vec::new(), &symbols)?;
    for (at, labels) in (0_u64..).zip(&all) {
        let mint = START_MS + i64::try_from(at % 15_000)?;
        let meta = ChunkMeta {
            mint,
            maxt: mint + 479 * STEP_MS,
            chunk: ChunkRef(((at / 100) << 30) | (at % 100)),
        };
        let bounds = ValueBounds::of(&[at as f64, (at * 7) as f64]);
        own.add_series(labels, &[ChunkEntry { meta, n_samples: 480, bounds }])?;
        // Four chunks of 120 samples each.
        let quarter = |chunk: u64| ChunkMeta {
            mint: mint + i64::try_from(chunk).unwrap_or_default() * 120 * STEP_MS,
            maxt: mint + (i64::try_from(chunk).unwrap_or_default() * 120 + 119) * STEP_MS,
            chunk: ChunkRef(((at / 500_000) << 32) | ((4 * at + chunk) % 2_000_000 * 250)),
        };
        other.add_series(labels, &[0, 1, 2, 3].map(quarter))?;
    }
    let (own, other) = (own.finish()?, other.finish()?);
    let per_series = |len: usize| len as f64 / all.len() as f64;
    println!("{} series", all.len());
    println!("ferula     {:>11} bytes, {:.1} a series", own.len(), per_series(own.len()));
    println!("prometheus {:>11} bytes, {:.1} a series", other.len(), per_series(other.len()));
    if let Some(dir) = dir {
        leave_index(dir, &other)?;
    }
    let (own, other) = (Bytes::from(own), Bytes::from(other));
    let open = |work: &dyn Fn() -> bool| {
        let times = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed()
        });
        times.min().unwrap_or_default().as_secs_f64() * 1e6
    };
    let own_open = open(&|| ferula::IndexReader::open(own.clone()).is_ok());
    let other_open = open(&|| block::IndexReader::open(other.clone()).is_ok());
    println!("open       {own_open:.1} µs, prometheus {other_open:.0} µs");
    let (own, other) = (ferula::IndexReader::open(own)?, block::IndexReader::open(other)?);
    for (section, size) in own.section_sizes() {
        println!("           {size:>11} {section}");
    }
    searches(&own, &other)
}

/// Label name, operator and value of a matcher.
type Test<'a> = (&'a str, MatchOp, &'a str);

fn searches(own: &ferula::IndexReader, other: &block::IndexReader) -> Result<()> {
    use MatchOp::{Equal, NotEqual, Regex};
    let cases: [(&str, &[Test<'_>]); 7] = [
        ("job", &[("job", Equal, "api")]),
        ("job, pods a and b", &[("job", Equal, "api"), ("pod", Regex, "a.*|b.*")]),
        ("job, pods by letters", &[("job", Equal, "search"), ("pod", Regex, "s.*1.*|s.*2.*")]),
        ("pods by letters", &[("pod", Regex, "a.*|c.*")]),
        ("metric", &[("__name__", Equal, "up")]),
        ("metric, any pod", &[("__name__", Equal, "up"), ("pod", Regex, ".+")]),
        ("not a job", &[("job", NotEqual, "api")]),
    ];
    println!(
        "{:24} {:>9} {:>11} {:>11} {:>11} {:>11}",
        "µs", "found", "select", "prometheus", "labels", "prometheus"
    );
    for (text, matchers) in cases {
        let matchers = matchers
            .iter()
            .map(|(name, op, value)| Matcher::new(*op, name, value))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let (found, own_us) = best(|| own.select(&matchers))?;
        let (other_found, other_us) = best(|| other.select(&matchers))?;
        assert_eq!(found.len(), other_found.len(), "both find the same");
        let few = |found: &Postings| found.iter().take(20_000).collect::<Vec<SeriesRef>>();
        let (some, other_some) = (few(&found), few(&other_found));
        let mut chunks = Vec::new();
        let (_, own_labels) = best(|| {
            let mut cursor = own.cursor();
            some.iter().try_for_each(|series| cursor.series(*series, &mut chunks).map(drop))
        })?;
        let (_, other_labels) = best(|| {
            other_some.iter().try_for_each(|series| other.series(*series, &mut chunks).map(drop))
        })?;
        println!(
            "{text:24} {:>9} {own_us:>11.1} {other_us:>11.1} {own_labels:>11.1} {other_labels:>11.1}",
            found.len()
        );
    }
    Ok(())
}

/// What `work` returns, and the shortest time that it takes, in microseconds.
fn best<T, E>(
    mut work: impl FnMut() -> std::result::Result<T, E>,
) -> std::result::Result<(T, f64), E> {
    let (mut shortest, mut done) = timed(&mut work)?;
    for _ in 0..ROUNDS {
        let (elapsed, again) = timed(&mut work)?;
        (shortest, done) = (shortest.min(elapsed), again);
    }
    Ok((done, shortest.as_secs_f64() * 1e6))
}
