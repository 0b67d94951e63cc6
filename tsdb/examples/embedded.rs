//! A program that stores its own metrics and asks about them with PromQL, in one process.

use std::error::Error;
use std::sync::Arc;

use ferula_index::Labels;
use ferula_promql::{Engine, EngineOptions, Value};
use ferula_tsdb::{Db, Options};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("ferula-embedded-{}", std::process::id()));
    let db = Arc::new(Db::open(&dir, Options::default())?);

    // Ten minutes of two counters, one sample every 15 seconds.
    let start = 1_700_000_000_000;
    let counter = |path| {
        Labels::from_pairs([("__name__", "requests_total"), ("job", "shop"), ("path", path)])
    };
    let (cart, search) = (counter("/cart")?, counter("/search")?);
    for i in 0..=40_i32 {
        let mut batch = db.appender();
        batch.append(&cart, start + i64::from(i) * 15_000, f64::from(i * 30))?;
        batch.append(&search, start + i64::from(i) * 15_000, f64::from(i * 45))?;
        batch.commit()?;
    }

    let engine = Engine::new(EngineOptions::default());
    let query = "sum by (job) (rate(requests_total[5m]))";
    let result = engine.instant(Arc::clone(&db) as _, query, start + 600_000)?.run()?;
    let Value::Vector(vector) = result.value else { return Err("expected a vector".into()) };
    for sample in &vector {
        println!("{} {} requests per second", sample.labels, sample.value);
    }
    assert!(vector.len() == 1 && (vector[0].value - 5.0).abs() < 1e-9, "2 and 3 per second");
    db.close()?;
    Ok(std::fs::remove_dir_all(&dir)?)
}
