//! What does a fleet of millions of series cost the store: memory, time, disk?
//!
//! `cargo run --release -p ferula-benches --bin scale -- --series 1000000 --minutes 120`
//!
//! Scrapes a computed fleet ([`ferula_benches::fleet`]) into a database in this process, log on,
//! in simulated time as fast as it goes, and prints one line of JSON. One scrape of one target is
//! one batch, by ref but for the first. With `--cut` it then goes on appending while a block is
//! cut. With `--open` it measures only how long a directory left by `--leave` takes to open.

mod latency;
mod load;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use ferula_benches::fleet::{Fleet, FleetOptions};
use ferula_chunkenc::SampleBatch;
use ferula_index::Matcher;
use ferula_tsdb::{Db, Options, SyncPolicy};
use serde_json::{Value, json};

use crate::latency::Latencies;
use crate::load::{Maintenance, Scraper, Shared, Timings};
use ferula_benches::process::{Memory, PeakWatch, cpu_s, disk, megabytes, versions};

/// Beginning of a block of two hours.
const EPOCH_MS: i64 = 1_700_006_400_000;

/// How often the database is asked to cut what is due, as its own thread would.
const MAINTENANCE_PAUSE: Duration = Duration::from_secs(1);

/// Feeds a simulated fleet to the store and reports what it costs.
#[derive(Debug, Parser)]
#[command(name = "scale")]
struct Args {
    /// Active series
    #[arg(long, default_value_t = 1_000_000)]
    series: u32,
    /// Series of one target, which are one scrape
    #[arg(long, default_value_t = 1000)]
    series_per_target: u32,
    /// Simulated minutes
    #[arg(long, default_value_t = 120)]
    minutes: u32,
    /// Simulated hours, in place of minutes; memory is reported for each
    #[arg(long)]
    hours_simulated: Option<u32>,
    /// Time between two scrapes of a target
    #[arg(long, default_value = "15s", value_parser = duration_ms)]
    interval: i64,
    /// Share of the series that is replaced per hour, such as 5%
    #[arg(long, default_value = "0%", value_parser = share)]
    churn_per_hour: f64,
    /// Samples of one commit
    #[arg(long, default_value_t = 1000)]
    batch: usize,
    /// Threads that append
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// Samples per second not to be exceeded; as fast as it goes without
    #[arg(long)]
    rate: Option<f64>,
    /// When commits are durable: always, never, or at an interval such as 5s
    #[arg(long, default_value = "5s", value_parser = sync_policy)]
    sync: SyncPolicy,
    /// Time that one block covers
    #[arg(long, default_value = "2h", value_parser = duration_ms)]
    block_range: i64,
    /// How long after the beginning of a block the data begin
    #[arg(long, default_value = "0s", value_parser = duration_ms)]
    phase: i64,
    /// Goes on until a block has been cut, after the report of memory
    #[arg(long)]
    cut: bool,
    /// Series that are read back at the end and compared, evenly spread
    #[arg(long, default_value_t = 100)]
    verify: u32,
    /// Seed of the fleet
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Data directory, which must be empty or missing; a temporary one without
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Ends without closing the database, as a killed process does, and keeps the directory
    #[arg(long, requires = "dir")]
    leave: bool,
    /// Closes the database and keeps the directory
    #[arg(long, requires = "dir", conflicts_with = "leave")]
    keep: bool,
    /// Only opens the data directory and reports how long it takes
    #[arg(long, requires = "dir")]
    open: bool,
}

fn duration_ms(text: &str) -> Result<i64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("expected a number with ms, s, m or h".to_owned()),
    };
    let number: i64 = number.parse().map_err(|_| "expected a number".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "too long".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let (number, of) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.parse::<f64>().map_err(|error| error.to_string())? / of;
    if (0.0..=100.0).contains(&share) { Ok(share) } else { Err("out of bounds".to_owned()) }
}

fn sync_policy(text: &str) -> Result<SyncPolicy, String> {
    match text {
        "always" => Ok(SyncPolicy::Always),
        "never" => Ok(SyncPolicy::Never),
        // The shortest way to say that it is at an interval, which is the default one then.
        "interval" => Ok(Options::default().sync),
        interval => {
            let ms = duration_ms(interval)?;
            Ok(SyncPolicy::Interval(Duration::from_millis(ms.unsigned_abs())))
        }
    }
}

impl Args {
    fn options(&self) -> Result<Options, ferula_tsdb::Error> {
        // Maintenance is done by a thread here, which times it.
        let builder = Options::builder().sync(self.sync).block_range_ms(self.block_range);
        builder.maintenance_interval(None).build()
    }

    fn fleet(&self) -> Fleet {
        let start_ms = EPOCH_MS / self.block_range * self.block_range + self.phase;
        Fleet::new(FleetOptions {
            seed: self.seed,
            n_targets: self.series / self.series_per_target,
            series_per_target: self.series_per_target,
            start_ms,
            interval_ms: self.interval,
            churn_per_hour: self.churn_per_hour,
        })
    }

    fn n_rounds(&self) -> u32 {
        let minutes = self.hours_simulated.map_or(self.minutes, |hours| hours * 60);
        u32::try_from(i64::from(minutes) * 60_000 / self.interval).unwrap_or(u32::MAX).max(1)
    }

    fn rounds_per_minute(&self) -> u32 {
        u32::try_from(60_000 / self.interval).unwrap_or(u32::MAX).max(1)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let temporary = tempfile_dir(&args)?;
    let dir = args.dir.as_deref().unwrap_or(&temporary);
    let report = if args.open { open(&args, dir)? } else { measure(&args, dir)? };
    if !args.keep && !args.leave && !args.open {
        std::fs::remove_dir_all(dir)?;
    }
    println!("{report}");
    if args.leave {
        // What a killed process does not do: unwinding, dropping, closing.
        std::process::exit(0);
    }
    Ok(())
}

/// A directory of this process, or a check of the one given.
fn tempfile_dir(args: &Args) -> Result<PathBuf, Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("ferula-scale-{}", std::process::id()));
    let used = args.dir.as_deref().unwrap_or(&dir);
    if !args.open && used.exists() && used.read_dir()?.next().is_some() {
        return Err(format!("{} is not empty", used.display()).into());
    }
    Ok(dir)
}

/// Measures how long a directory takes to open, and checks what is in it.
fn open(args: &Args, dir: &Path) -> Result<Value, Box<dyn Error>> {
    let peak = PeakWatch::start();
    let (start, cpu_before) = (Instant::now(), cpu_s());
    let db = Db::open(dir, args.options()?)?;
    let (took, cpu) = (start.elapsed(), cpu_s());
    let (now, peak) = (Memory::now(), peak.take());
    let opened = db.open_report();
    let verified = verify(args, &args.fleet(), &db, args.n_rounds())?;
    Ok(json!({
        "bench": "scale --open",
        "command": std::env::args().collect::<Vec<_>>().join(" "),
        "versions": versions(),
        "open_s": seconds(took),
        "cpu_s": { "user": cpu.0 - cpu_before.0, "system": cpu.1 - cpu_before.1 },
        "series": opened.series,
        "samples": opened.samples,
        "records": opened.records,
        "segments": opened.segments,
        "memory": now.to_json(),
        "peak": peak.to_json(),
        "verified_samples": verified,
    }))
}

/// What one simulated minute took, and what memory was after it.
struct Minute {
    wall: Duration,
    samples: u64,
    memory: Memory,
    peak: Memory,
    n_series: u64,
}

fn measure(args: &Args, dir: &Path) -> Result<Value, Box<dyn Error>> {
    let fleet = args.fleet();
    let generator_ns = generator_ns(&fleet);
    let before = Memory::now();
    let db = Db::open(dir, args.options()?)?;
    let shared = Shared {
        fleet: &fleet,
        db: &db,
        batch: args.batch.max(1),
        rate: args.rate,
        n_threads: args.threads.max(1),
        barrier: Barrier::new(args.threads.max(1) as usize + 1),
        rounds: Mutex::new(0..0),
        samples: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        maintenance: Maintenance::default(),
    };
    let mut report = thread::scope(|scope| -> Result<Value, Box<dyn Error>> {
        let maintenance = scope.spawn(|| shared.maintenance.run(shared.db, MAINTENANCE_PAUSE));
        let scrapers: Vec<_> = (0..shared.n_threads)
            .map(|number| {
                let scraper = Scraper::new(&shared, number);
                scope.spawn(|| scraper.run())
            })
            .collect();
        let mut report = drive(args, dir, &shared, before);
        *shared.rounds.lock().expect("no panic") = 0..0;
        shared.barrier.wait();
        let mut timings = Timings::default();
        for scraper in scrapers {
            let of_thread = scraper.join().expect("no panic");
            timings.commit.merge(&of_thread.commit);
            timings.batch.merge(&of_thread.batch);
            timings.batch_in_cut.merge(&of_thread.batch_in_cut);
        }
        shared.maintenance.is_done.store(true, Ordering::Release);
        maintenance.join().expect("no panic");
        let of = |latencies: &Latencies| latencies.to_json();
        report["latency"] = json!({
            "commit": of(&timings.commit),
            "append_and_commit": of(&timings.batch),
            "append_and_commit_while_cutting": of(&timings.batch_in_cut),
        });
        Ok(report)
    })?;
    let n_rounds = u32::try_from(report["rounds"].as_u64().unwrap_or(0))?;
    let cuts = shared.maintenance.cuts.lock().expect("no panic");
    report["cuts"] = cuts
        .iter()
        .map(|cut| json!({ "s": seconds(cut.duration), "blocks": cut.n_blocks }))
        .collect();
    report["generator_ns_per_sample"] = json!(generator_ns);
    report["verified_samples"] = json!(verify(args, &fleet, &db, n_rounds)?);
    report["disk_at_end"] = disk(dir);
    if args.leave {
        std::mem::forget(db);
    } else {
        let start = Instant::now();
        db.close()?;
        report["close_s"] = json!(seconds(start.elapsed()));
    }
    Ok(report)
}

/// Lets the scrapers run minute by minute, and reports what is seen from outside.
fn drive(args: &Args, dir: &Path, shared: &Shared<'_>, before: Memory) -> Value {
    let n_rounds = args.n_rounds();
    let mut minutes: Vec<Minute> = Vec::new();
    let watch = PeakWatch::start();
    let started = Instant::now();
    let cpu_before = cpu_s();
    let mut round = 0;
    while round < n_rounds {
        let end = (round + args.rounds_per_minute()).min(n_rounds);
        minutes.push(run_minute(shared, round..end, &watch));
        progress(args, end, &minutes);
        round = end;
    }
    let (wall, cpu) = (started.elapsed(), cpu_s());
    let memory = Memory::now();
    let stats = shared.db.stats();
    let options = shared.fleet.options();
    let n_active = u64::from(options.n_targets) * u64::from(options.series_per_target);
    let generator = n_active * 8;
    let of_store = memory.anonymous.saturating_sub(before.anonymous).saturating_sub(generator);
    let samples = shared.samples.load(Ordering::Relaxed);
    let rates = || minutes.iter().map(|minute| minute.samples as f64 / minute.wall.as_secs_f64());
    let peak = |of: fn(&Minute) -> u64| minutes.iter().map(of).max().unwrap_or(0);
    let hours: Vec<Value> = minutes.chunks(60).zip(1..).map(hour_json).collect();
    let mut report = json!({
        "bench": "scale",
        "command": std::env::args().collect::<Vec<_>>().join(" "),
        "versions": versions(),
        "unix_time_s": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
        "series": n_active,
        "head_series": stats.n_series,
        "head_chunks": stats.n_chunks,
        "samples": samples,
        "wall_s": seconds(wall),
        "samples_per_s": {
            "mean": (samples as f64 / wall.as_secs_f64()).round(),
            "slowest_minute": rates().fold(f64::INFINITY, f64::min).round(),
            "slowest_minute_but_the_first":
                rates().skip(1).fold(f64::INFINITY, f64::min).round(),
        },
        "first_minute_s": minutes.first().map(|minute| seconds(minute.wall)),
        "cpu_s": { "user": round2(cpu.0 - cpu_before.0), "system": round2(cpu.1 - cpu_before.1) },
        "samples_per_cpu_s":
            (samples as f64 / (cpu.0 + cpu.1 - cpu_before.0 - cpu_before.1)).round(),
        "memory": memory.to_json(),
        "memory_of_head": memory_of_head(shared.db),
        "memory_before": before.to_json(),
        "peak": {
            "anonymous_mb": megabytes(peak(|minute| minute.peak.anonymous)),
            "file_mb": megabytes(peak(|minute| minute.peak.file)),
        },
        "generator_mb": megabytes(generator),
        "bytes_per_series": of_store.checked_div(n_active),
        "disk": disk(dir),
        "hours": hours,
    });
    let n_cuts = || shared.maintenance.cuts.lock().expect("no panic").len();
    let n_cuts_before = n_cuts();
    // A block is due when the head spans one and a half ranges; the rest is time to cut it in.
    let limit = u32::try_from(args.block_range * 3 / args.interval).unwrap_or(u32::MAX);
    let limit = limit.saturating_add(n_rounds);
    let n_minutes = minutes.len();
    while args.cut && n_cuts() == n_cuts_before && round < limit {
        let end = round + args.rounds_per_minute();
        minutes.push(run_minute(shared, round..end, &watch));
        progress(args, end, &minutes);
        round = end;
    }
    let later = &minutes[n_minutes..];
    let rates = later.iter().map(|minute| minute.samples as f64 / minute.wall.as_secs_f64());
    if !later.is_empty() {
        report["cut_phase"] = json!({
            "minutes": later.len(),
            "slowest_minute": rates.fold(f64::INFINITY, f64::min).round(),
            "peak_anonymous_mb":
                megabytes(later.iter().map(|minute| minute.peak.anonymous).max().unwrap_or(0)),
            "memory": Memory::now().to_json(),
            "disk": disk(dir),
        });
    }
    report["refused"] = json!(shared.refused.load(Ordering::Relaxed));
    report["rounds"] = json!(round);
    report
}

fn run_minute(shared: &Shared<'_>, rounds: std::ops::Range<u32>, watch: &PeakWatch) -> Minute {
    let before = shared.samples.load(Ordering::Relaxed);
    *shared.rounds.lock().expect("no panic") = rounds;
    let start = Instant::now();
    shared.barrier.wait();
    shared.barrier.wait();
    Minute {
        wall: start.elapsed(),
        samples: shared.samples.load(Ordering::Relaxed) - before,
        memory: Memory::now(),
        peak: watch.take(),
        n_series: if shared.fleet.options().churn_per_hour > 0.0 {
            shared.db.stats().n_series
        } else {
            0
        },
    }
}

/// Tells how far it is, on standard error, every ten simulated minutes.
fn progress(args: &Args, round: u32, minutes: &[Minute]) {
    if let Some(minute) = minutes.last().filter(|_| minutes.len() % 10 == 1) {
        eprintln!(
            "round {round} of {}: {:.0} samples/s, {} MB anonymous",
            args.n_rounds(),
            minute.samples as f64 / minute.wall.as_secs_f64(),
            megabytes(minute.memory.anonymous),
        );
    }
}

fn hour_json((minutes, hour): (&[Minute], u32)) -> Value {
    let samples: u64 = minutes.iter().map(|minute| minute.samples).sum();
    let wall: Duration = minutes.iter().map(|minute| minute.wall).sum();
    let last = minutes.last();
    json!({
        "hour": hour,
        "samples_per_s": (samples as f64 / wall.as_secs_f64()).round(),
        "anonymous_mb": last.map(|minute| megabytes(minute.memory.anonymous)),
        "peak_anonymous_mb":
            megabytes(minutes.iter().map(|minute| minute.peak.anonymous).max().unwrap_or(0)),
        "head_series": last.map(|minute| minute.n_series).filter(|n| *n > 0),
    })
}

/// What the database says of the memory that its head takes, by part, in MB.
fn memory_of_head(db: &Db) -> Value {
    let usage = db.memory();
    json!({
        "series": megabytes(usage.series_bytes),
        "open_chunks": megabytes(usage.open_chunk_bytes),
        "spare_chunks": megabytes(usage.spare_chunk_bytes),
        "chunk_lists": megabytes(usage.chunk_list_bytes),
        "full_chunks": megabytes(usage.full_chunk_bytes),
        "chunk_files": megabytes(usage.chunk_file_bytes),
        "index": megabytes(usage.index.total_bytes()),
        "unpublished": megabytes(usage.unpublished_bytes),
        "batches": megabytes(usage.batch_bytes),
        "total": megabytes(usage.total_bytes()),
    })
}

/// What computing one sample costs, in nanoseconds.
fn generator_ns(fleet: &Fleet) -> f64 {
    let mut values = Vec::new();
    let start = Instant::now();
    for round in 0..1000 {
        fleet.scrape(0, 0, round, &mut values);
        std::hint::black_box(&values);
    }
    round2(start.elapsed().as_secs_f64() * 1e9 / (1000 * values.len().max(1)) as f64)
}

/// Reads some series back whole and compares them with what was appended; returns how many samples
/// that were.
fn verify(args: &Args, fleet: &Fleet, db: &Db, n_rounds: u32) -> Result<usize, Box<dyn Error>> {
    let options = fleet.options();
    let querier = db.querier(i64::MIN, i64::MAX)?;
    let n_series = options.n_targets * options.series_per_target;
    let step = n_series / args.verify.clamp(1, n_series);
    let (mut read, mut values, mut verified) = (SampleBatch::new(), Vec::new(), 0);
    for number in (0..args.verify.min(n_series)).map(|n| n * step + n % 97 % step.max(1)) {
        let (target, series) =
            (number / options.series_per_target, number % options.series_per_target);
        let generation = fleet.generation(target, n_rounds - 1);
        let labels = fleet.labels(target, generation, series);
        let matchers: Vec<Matcher> =
            labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let found = querier.select(&matchers)?;
        if found.len() != 1 {
            return Err(format!("{} series {labels}", found.len()).into());
        }
        read.clear();
        found.read(0, &mut read)?;
        let first = (0..n_rounds).find(|round| fleet.generation(target, *round) == generation);
        let rounds = first.unwrap_or(0)..n_rounds;
        if read.len() != rounds.len() {
            return Err(format!("{labels}: {} samples of {}", read.len(), rounds.len()).into());
        }
        for (round, sample) in rounds.zip(read.iter()) {
            fleet.scrape(target, generation, round, &mut values);
            let value = values[series as usize];
            if sample.timestamp != fleet.time_ms(target, round)
                || sample.value.to_bits() != value.to_bits()
            {
                return Err(format!("{labels}: {sample:?}, appended {value}").into());
            }
            verified += 1;
        }
    }
    Ok(verified)
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

fn round2(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
