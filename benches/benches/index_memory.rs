//! How many bytes does the index of a head take for each series, and how fast does it take them in?
//!
//! `cargo bench -p ferula-benches --bench index_memory -- 1000000 [fleet|unique|churn|block] [threads] [single]`
//!
//! Prints one line of JSON. Bytes are anonymous resident memory over what the process had before,
//! the allocator's overhead included. `fleet` inserts targets of a thousand series with ten labels,
//! `unique` gives each series a label value of its own, and `churn` replaces every target twice and
//! removes what was replaced; `block` then writes an index file of it to nowhere, and tells what that
//! takes beside the index. A target is inserted at once, or series by series with `single`. The
//! parts are what the index says of itself; speed is per second of processor time, all threads
//! together.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ferula_benches::fleet::{Fleet, FleetOptions};
use ferula_index::block::IndexWriter;
use ferula_index::head::HeadIndex;
use ferula_index::postings::Postings;
use ferula_index::{ChunkMeta, ChunkRef, Labels, SeriesRef};

/// Series of one target.
const TARGET_SERIES: usize = 1_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let arg = |at: usize| args.get(at).map(String::as_str);
    let n_series: usize = arg(0).map_or(100_000, |n| n.parse().expect("a number of series"));
    let kind = arg(1).unwrap_or("fleet");
    let n_threads: usize = arg(2).map_or(1, |n| n.parse().expect("a number of threads"));
    let n_targets = n_series.div_ceil(TARGET_SERIES);

    let before = resident_bytes();
    let index = HeadIndex::new();
    let options = FleetOptions {
        seed: 1,
        n_targets: u32::try_from(n_targets).expect("a number of targets"),
        series_per_target: u32::try_from(TARGET_SERIES).expect("a small number"),
        start_ms: 0,
        interval_ms: 15_000,
        churn_per_hour: 0.0,
    };
    let load = Load {
        fleet: Fleet::new(options),
        index: &index,
        is_unique: kind == "unique",
        is_single: arg(3) == Some("single"),
        next: AtomicU64::new(1),
    };
    let insert_s = load.insert(n_targets, 0, n_threads);
    let mut peak = resident_bytes();
    if kind == "churn" {
        for life in 1..=2 {
            load.insert(n_targets, life, n_threads);
            peak = peak.max(resident_bytes());
            load.remove_life(n_targets, life - 1);
        }
    }
    let bytes = resident_bytes().saturating_sub(before);
    if kind == "block" {
        write_block(&index);
    }
    let n = index.len();
    let memory = index.memory();
    let per_series = |bytes: u64| bytes as f64 / n as f64;
    println!(
        "{{\"kind\":\"{kind}\",\"series\":{n},\"threads\":{n_threads},\"pairs\":{},\
         \"bytes_per_series\":{:.1},\"peak_per_series\":{:.1},\"symbols\":{:.1},\"label_pairs\":{:.1},\
         \"series_table\":{:.1},\"by_hash\":{:.1},\"postings\":{:.1},\"series_per_cpu_s\":{:.0}}}",
        index.n_label_pairs(),
        per_series(bytes),
        per_series(peak.saturating_sub(before)),
        per_series(memory.symbols_bytes),
        per_series(memory.pairs_bytes),
        per_series(memory.series_bytes),
        per_series(memory.by_hash_bytes),
        per_series(memory.postings_bytes),
        (n_targets * TARGET_SERIES) as f64 / insert_s,
    );
}

struct Load<'a> {
    index: &'a HeadIndex,
    fleet: Fleet,
    is_unique: bool,
    is_single: bool,
    next: AtomicU64,
}

impl Load<'_> {
    /// Inserts all targets and returns the processor time that the index took for it.
    fn insert(&self, n_targets: usize, life: usize, n_threads: usize) -> f64 {
        let next_target = AtomicUsize::new(0);
        let run = || {
            let mut seconds = 0.0;
            let mut batch: Vec<(SeriesRef, Labels)> = Vec::new();
            loop {
                let number = next_target.fetch_add(1, Ordering::Relaxed);
                if number >= n_targets {
                    return seconds;
                }
                batch.clear();
                self.fill(&mut batch, number, life);
                let start = cpu_seconds();
                if self.is_single {
                    for (series, labels) in &batch {
                        self.index.insert(*series, labels).expect("a new ref");
                    }
                } else {
                    self.index.insert_all(&batch).expect("new refs");
                }
                seconds += cpu_seconds() - start;
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|t| t.join().expect("no panic")).sum()
        })
    }

    fn fill(&self, batch: &mut Vec<(SeriesRef, Labels)>, number: usize, life: usize) {
        let first = self.next.fetch_add(TARGET_SERIES as u64, Ordering::Relaxed);
        let to_u32 = |n: usize| u32::try_from(n).expect("a small number");
        for of_target in 0..TARGET_SERIES {
            let series = SeriesRef(first + of_target as u64);
            let labels = self.fleet.labels(to_u32(number), to_u32(life), to_u32(of_target));
            let labels = if self.is_unique {
                let id = series.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let id = format!("{id:016x}-{id:016x}");
                Labels::from_pairs(labels.iter().chain([("uid", id.as_str())]))
                    .expect("names differ")
            } else {
                labels
            };
            batch.push((series, labels));
        }
    }

    /// Removes what was inserted in one life; refs were given in the order of lives.
    fn remove_life(&self, n_targets: usize, life: usize) {
        let n = (n_targets * TARGET_SERIES) as u64;
        let first = 1 + life as u64 * n;
        for start in (first..first + n).step_by(10 * TARGET_SERIES) {
            let end = (start + 10 * TARGET_SERIES as u64).min(first + n);
            let gone: Postings = (start..end).map(SeriesRef).collect();
            assert_eq!(self.index.remove(&gone), end - start);
        }
    }
}

/// Writes the index file of a block of everything, each series with one chunk.
fn write_block(index: &HeadIndex) {
    let (before, start) = (resident_bytes(), cpu_seconds());
    let all = index.select(&[]);
    let n = all.len();
    let symbols = index.symbols_of(&all);
    let mut writer = IndexWriter::new(std::io::sink(), symbols).expect("a place to write to");
    let series = index.ordered(&all);
    let ordered_s = cpu_seconds() - start;
    let ordered_bytes = resident_bytes().saturating_sub(before);
    for (at, (labels, _)) in (8..).zip(series) {
        let chunk = ChunkMeta { mint: 0, maxt: 7_200_000, chunk: ChunkRef(at * 200) };
        writer.add_series(&labels, &[chunk]).expect("in order");
    }
    let bytes = resident_bytes().saturating_sub(before);
    writer.finish().expect("a place to write to");
    println!(
        "{{\"kind\":\"write\",\"series\":{n},\"order_per_series\":{:.1},\"bytes_per_series\":{:.1},\
         \"order_s\":{ordered_s:.2},\"series_per_cpu_s\":{:.0}}}",
        ordered_bytes as f64 / n as f64,
        bytes as f64 / n as f64,
        n as f64 / (cpu_seconds() - start),
    );
}

/// How long this thread has been running on a processor, so that other programs do not count.
fn cpu_seconds() -> f64 {
    let stats = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stats.split(' ').next().and_then(|first| first.parse().ok());
    nanoseconds.unwrap_or(0.0) / 1e9
}

/// Anonymous resident memory of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
