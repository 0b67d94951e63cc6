//! What a query tells of itself before and after it is run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ferula_promql::testlang::generate::fill;
use ferula_promql::testlang::{MemoryStorage, TestStorage};
use ferula_promql::{Clock, Engine, EngineOptions, Features, Query};

/// A clock that moves on whenever it is looked at.
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

fn query(text: &str) -> Query {
    let mut storage = MemoryStorage::new();
    fill(&mut storage, 40, 100).expect("memory takes all");
    let clock = Arc::new(Ticking(AtomicU64::new(0)));
    let options = EngineOptions::default().features(Features::ALL).clock(clock);
    let engine = Engine::new(options.timeout_ms(u64::MAX));
    let storage = storage.queryable().expect("memory is readable");
    engine.range(storage, text, 0, 1_200_000, 60_000).expect("parses")
}

#[test]
fn explanations_tell_series_samples_and_memory() {
    let text = "sum by (a)\n  (rate(c_total[5m])) / 2";
    let explained = query(text).explain().unwrap();
    let shown = explained.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "operator  sum by (a) (rate(c_total[5m])) / 2  series=3");
    assert_eq!(lines[1], "  aggregation  sum by (a) (rate(c_total[5m]))  series=3");
    assert!(lines[2].starts_with("    range function  rate(c_total[5m])  series=40 samples≈"));
    assert_eq!(lines[3], "  number  2  series=0");
    assert!(lines[4].starts_with("steps=21 memory≈"), "{shown}");
    // About 81 samples of each series lie in the range, less those left out.
    let estimate = explained.parts[2].n_samples;
    assert!((2_500..3_300).contains(&estimate), "{estimate}");
    let peak = query(text).run().unwrap().stats.peak_memory_bytes;
    assert!(explained.memory_bytes * 4 > peak && explained.memory_bytes < peak * 4, "{shown}");
}

#[test]
fn analyses_tell_what_was_done() {
    let analysed = query("topk(2, max_over_time(g[5m])) + on (i) group_right () c_total").analyze();
    let analysed = analysed.unwrap();
    let parts = &analysed.parts;
    let kinds: Vec<(usize, &str)> = parts.iter().map(|part| (part.depth, part.kind)).collect();
    let expected = [
        (0, "operator"),
        (1, "aggregation"),
        (2, "number"),
        (2, "range function"),
        (1, "selector"),
    ];
    assert_eq!(kinds, expected);
    assert_eq!((parts[3].n_series, parts[4].n_series), (40, 40));
    let read = parts[3].n_samples + parts[4].n_samples;
    assert_eq!(read, analysed.summary.stats.samples_read);
    assert!(parts[3].n_values > 700 && parts[1].n_values < 50, "{analysed}");
    assert!(parts[0].time_ms > parts[3].time_ms && parts[3].time_ms > 0, "{analysed}");
    assert!(analysed.to_string().lines().count() == 6);
}
