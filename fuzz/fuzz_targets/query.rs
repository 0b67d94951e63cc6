//! Queries: any text is refused or evaluated within the limits, twice to the same result.
#![no_main]

use std::sync::{Arc, LazyLock};

use ferula_chunkenc::SampleBatch;
use ferula_index::Labels;
use ferula_promql::testlang::{MemoryStorage, TestStorage};
use ferula_promql::{Engine, EngineOptions, Features};
use libfuzzer_sys::fuzz_target;

/// Time between the samples of the storage, in milliseconds.
const STEP_MS: i64 = 15_000;

static STORAGE: LazyLock<MemoryStorage> = LazyLock::new(|| {
    let mut storage = MemoryStorage::new();
    for n in 0..12_u32 {
        let (name, job) = (["m", "n", "b_bucket"][n as usize % 3], ["x", "y"][n as usize / 6]);
        let le = ["0.1", "1", "5", "+Inf"][n as usize / 3];
        let pairs = [("__name__", name), ("job", job), ("le", le)];
        let labels = Labels::from_pairs(pairs).expect("short labels");
        let mut samples = SampleBatch::new();
        for i in 0..40_u32 {
            samples.push(i64::from(i) * STEP_MS, f64::from(i * (n + 1) % 50));
        }
        storage.append(&labels, &samples).expect("in order");
    }
    storage
});

fuzz_target!(|text: &str| {
    // Time limits would make the outcome depend on the machine; the one on samples is met first.
    let options =
        EngineOptions::default().max_samples(20_000).timeout_ms(20_000).features(Features::ALL);
    let engine = Engine::new(options);
    let storage = Arc::new(STORAGE.clone());
    if let Ok(query) = engine.instant(storage.clone(), text, 20 * STEP_MS) {
        let results = [query.run(), query.run()].map(|result| format!("{result:?}"));
        assert_eq!(results[0], results[1], "{text:?}");
    }
    if let Ok(query) = engine.range(storage, text, 0, 40 * STEP_MS, 4 * STEP_MS) {
        let _ = query.run();
    }
});
