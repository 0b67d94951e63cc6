//! How many bytes does the index of a head take for each series, and how fast does it take them in?
//!
//! `cargo bench -p ferula-benches --bench index_memory -- 1000000 [fleet|unique|churn] [threads]`
//!
//! Prints one line of JSON. Bytes are anonymous resident memory over what the process had before,
//! the allocator's overhead included. `fleet` inserts targets of a thousand series with ten labels,
//! `unique` gives each series a label value of its own, and `churn` replaces every target twice and
//! removes what was replaced.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use ferula_benches::fleet::{TARGET_SERIES, Target};
use ferula_index::head::HeadIndex;
use ferula_index::postings::Postings;
use ferula_index::{Labels, SeriesRef};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let arg = |at: usize| args.get(at).map(String::as_str);
    let n_series: usize = arg(0).map_or(100_000, |n| n.parse().expect("a number of series"));
    let kind = arg(1).unwrap_or("fleet");
    let n_threads: usize = arg(2).map_or(1, |n| n.parse().expect("a number of threads"));
    let n_targets = n_series.div_ceil(TARGET_SERIES);

    let before = resident_bytes();
    let index = HeadIndex::new();
    let load = Load { index: &index, is_unique: kind == "unique", next: AtomicU64::new(1) };
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
    let n = index.len();
    println!(
        "{{\"kind\":\"{kind}\",\"series\":{n},\"threads\":{n_threads},\"pairs\":{},\"bytes_per_series\":{:.1},\"peak_per_series\":{:.1},\"series_per_s\":{:.0}}}",
        index.n_label_pairs(),
        bytes as f64 / n as f64,
        peak.saturating_sub(before) as f64 / n as f64,
        (n_targets * TARGET_SERIES) as f64 / insert_s,
    );
}

struct Load<'a> {
    index: &'a HeadIndex,
    is_unique: bool,
    next: AtomicU64,
}

impl Load<'_> {
    /// Inserts all targets and returns how long the index took for it, on the slowest thread.
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
                let start = Instant::now();
                for (series, labels) in &batch {
                    self.index.insert(*series, labels).expect("a new ref");
                }
                seconds += start.elapsed().as_secs_f64();
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|t| t.join().expect("no panic")).fold(0.0, f64::max)
        })
    }

    fn fill(&self, batch: &mut Vec<(SeriesRef, Labels)>, number: usize, life: usize) {
        let first = self.next.fetch_add(TARGET_SERIES as u64, Ordering::Relaxed);
        Target::new(number, life).for_each(|pairs| {
            let series = SeriesRef(first + batch.len() as u64);
            let labels = if self.is_unique {
                let id = series.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let id = format!("{id:016x}-{id:016x}");
                Labels::from_pairs(pairs.iter().copied().chain([("uid", id.as_str())]))
            } else {
                Labels::from_pairs(pairs.iter().copied())
            };
            batch.push((series, labels.expect("names differ")));
        });
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

/// Anonymous resident memory of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
