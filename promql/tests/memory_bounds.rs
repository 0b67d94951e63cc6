//! Whatever a query asks for, it holds no more memory than it may: queries made at random are run
//! under all kinds of bounds while an allocator counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferula_promql::storage::Queryable;
use ferula_promql::testlang::generate::{QueryGenerator, fill};
use ferula_promql::testlang::{MemoryStorage, TestStorage};
use ferula_promql::{Engine, EngineOptions, Error, Features, Query};

/// The system's allocator, with an account of what is allocated now and was at most.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

fn shrunk(bytes: usize) {
    NOW.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: every call is handed on as it came; what is done beside that touches two counters only and
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        shrunk(layout.size());
        // SAFETY: `memory` came from the methods of this allocator, hence from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size);
        shrunk(layout.size());
        // SAFETY: as for `dealloc`, and the caller keeps the contract of `realloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

/// Runs a query, and tells how much more was allocated meanwhile than before.
fn run(query: &Query) -> (Result<(), Error>, usize) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = query.run();
    let peak = PEAK.load(Ordering::Relaxed);
    (result.map(|_| ()), peak.saturating_sub(before))
}

/// How many queries had an answer, and how many were refused for their memory.
#[derive(Debug, Default)]
struct Outcomes {
    answered: u32,
    refused: u32,
}

fn check(storage: &Arc<dyn Queryable>, seed: u64, n_queries: u32, max_steps: u64) -> Outcomes {
    let engine =
        Engine::new(EngineOptions::default().max_samples(usize::MAX >> 1).features(Features::ALL));
    let mut random = QueryGenerator::new(seed);
    let mut outcomes = Outcomes::default();
    for _ in 0..n_queries {
        let text = random.query();
        let n_steps = 1 + random.below(max_steps);
        // From 1 MiB to 1 GiB, the small ones more often than the large ones.
        let exponent = random.below(10).min(random.below(10));
        let bound = (MIB << exponent) + usize::try_from(random.below(1 << 20)).expect("small");
        let end = i64::try_from(n_steps).expect("small") * 1_000;
        let query = engine.range(Arc::clone(storage), &text, 1_000, end, 1_000);
        let query = query.unwrap_or_else(|error| panic!("{text}: {error}"));
        let (result, peak) = run(&query.with_max_memory_bytes(bound));
        assert!(
            peak <= bound + MIB,
            "{text} over {n_steps} steps took {peak} bytes instead of {bound}: {result:?}"
        );
        match result {
            Ok(()) => outcomes.answered += 1,
            Err(Error::TooMuchMemory { limit_bytes, line, .. }) => {
                assert_eq!((limit_bytes, line), (bound, 1));
                outcomes.refused += 1;
            }
            // What the data make of a query.
            Err(
                Error::DuplicateLabelset
                | Error::DuplicateMatch { .. }
                | Error::ImplicitManyToOne
                | Error::AmbiguousGrouping
                | Error::Parameter(_),
            ) => {}
            Err(other) => panic!("{text}: {other}"),
        }
    }
    outcomes
}

#[test]
fn queries_stay_within_their_memory() {
    let mut storage = MemoryStorage::new();
    fill(&mut storage, 40, 150).unwrap();
    let many_samples = storage.queryable().unwrap();
    // Mostly fast ones, and some that have very many steps.
    let few_steps = check(&many_samples, 1, 1_200, 30);
    let many_steps = check(&many_samples, 2, 80, 20_000);
    let mut storage = MemoryStorage::new();
    fill(&mut storage, 2_000, 3).unwrap();
    let many_series = check(&storage.queryable().unwrap(), 3, 250, 10);
    let all = [few_steps, many_steps, many_series];
    let answered: u32 = all.iter().map(|outcomes| outcomes.answered).sum();
    assert!(answered > 800, "{all:?}");
    assert!(all[1].refused > 5 && all[2].refused > 5, "{all:?}");
}
