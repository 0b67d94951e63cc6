use std::time::{Duration, Instant};

use ferula_index::Labels;
use ferula_promql::{CancelHandle, Engine};
use ferula_promql::{EngineOptions, Value};
use ferula_tsdb::{Db, Options};

use super::*;

const HOUR_MS: i64 = 3_600_000;

const QUERIES: [&str; 14] = [
    "m",
    "sum(rate(m[5m]))",
    "sum by (job) (m)",
    "m offset 10m",
    "max_over_time(m[30m:1m])",
    "m > 3",
    "absent(none)",
    "count_values(\"v\", round(m / 100))",
    "vector(time())",
    "m{job=\"b\"} / on () group_left () sum(m)",
    "stddev(m)",
    "timestamp(m)",
    "rate(m[1m]) or m",
    "histogram_quantile(0.9, m)",
];

fn put(db: &Db, job: &str, times: impl Iterator<Item = i64>, scale: f64) {
    let labels = Labels::from_pairs([("__name__", "m"), ("job", job)]).unwrap();
    let mut batch = db.appender();
    for time in times {
        // A sample that is too old is refused; the rest stands.
        let _ = batch.append(&labels, time, (time / 15_000 % 977) as f64 * scale);
    }
    batch.commit().unwrap();
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn text_of(series: &[MatrixSeries]) -> String {
    let mut out = Vec::new();
    series.iter().for_each(|series| crate::api::push_series_json(&mut out, series));
    String::from_utf8(out).unwrap()
}

fn plain(
    engine: &Engine,
    storage: &Arc<dyn ferula_promql::storage::Queryable>,
    q: &RangeQuery,
) -> Vec<MatrixSeries> {
    let query = engine.range(storage.clone(), &q.text, q.start, q.end, q.step_ms).unwrap();
    match query.run().unwrap().value {
        Value::Matrix(series) => series,
        other => panic!("{other:?}"),
    }
}

/// Over a store that is written to, out of order as well, cut into blocks, compacted and deleted from.
#[test]
fn answers_are_the_same_with_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::builder().out_of_order_window_ms(5 * HOUR_MS).build().unwrap();
    let db = Arc::new(Db::open(dir.path(), options).unwrap());
    let storage: Arc<dyn ferula_promql::storage::Queryable> = db.clone();
    let engine = Engine::new(EngineOptions::default());
    let counted = db.clone();
    let cache = QueryCache::new(8 << 20, Box::new(move || Settled::of(&counted.stats())));
    let base = 1_700_000_000_000 / HOUR_MS * HOUR_MS;
    let mut hits = 0;
    let mut check = |what: &str, now: i64| {
        for text in QUERIES {
            for (start, step_ms) in
                [(base - HOUR_MS, 60_000), (base + 7_000, 60_000), (base, 15_000)]
            {
                let end = now.min(start + 10_000 * step_ms);
                let (lookback_ms, deadline) = (None, deadline());
                let query = RangeQuery {
                    text: text.to_owned(),
                    start,
                    end,
                    step_ms,
                    lookback_ms,
                    deadline,
                };
                let cancel = CancelHandle::default();
                let found = evaluate(&cache, &engine, &storage, &query, &cancel).unwrap();
                let Some(found) = found else { continue };
                hits += 1;
                let expected = plain(&engine, &storage, &query);
                assert_eq!(
                    text_of(&found.series),
                    text_of(&expected),
                    "{what}: {text} from {start}"
                );
            }
        }
    };
    let scrapes = |from: i64, to: i64| (from..to).map(move |i| base + i * 15_000);
    for round in 0..5 {
        let (from, to) = (round * 480, (round + 1) * 480);
        put(&db, "a", scrapes(from, to), 1.0);
        put(&db, "b", scrapes(from, to).filter(|time| time / 15_000 % 7 != 0), 0.5);
        db.compact_head().unwrap();
        let now = base + to * 15_000;
        check("after a round", now);
        check("again", now);
        // Samples that come late, into what is kept already.
        put(&db, "late", scrapes(to - 1000, to - 900), 3.0);
        check("after late samples", now);
    }
    let now = base + 5 * 480 * 15_000;
    db.compact().unwrap();
    check("after compaction", now);
    for (from, to) in [(100, 200), (100, 300)] {
        let matchers = [ferula_index::Matcher::equal("job", "a")];
        cache.clear();
        db.delete(&matchers, base + from * 15_000, base + to * 15_000).unwrap();
        cache.clear();
        check("after a deletion", now);
    }
    assert!(hits > 300, "{hits}");
    let (len, bytes) = cache.len_and_bytes();
    assert!(len > 10 && bytes <= 8 << 20);
    db.close().unwrap();
}

/// Without the cache this is an error, as in Prometheus; parts of it are none.
#[test]
fn series_that_clash_at_different_times_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
    let mut batch = db.appender();
    for (name, steps) in [("one", 0..2000), ("two", 8000..10_000)] {
        let labels = Labels::from_pairs([("__name__", name)]).unwrap();
        for step in steps {
            batch.append(&labels, step * 15_000, 1.0).unwrap();
        }
    }
    batch.commit().unwrap();
    let storage: Arc<dyn ferula_promql::storage::Queryable> = db.clone();
    let engine = Engine::new(EngineOptions::default());
    let cache = QueryCache::new(1 << 20, Box::new(|| Settled { before: i64::MAX, version: 0 }));
    for text in ["rate({__name__=~\"one|two\"}[5m])", "rate(({__name__=~\"one|two\"})[5m:15s])"] {
        let query = RangeQuery {
            text: text.to_owned(),
            start: 0,
            end: 150_000_000,
            step_ms: 60_000,
            lookback_ms: None,
            deadline: deadline(),
        };
        let whole = engine.range(storage.clone(), text, 0, query.end, query.step_ms).unwrap().run();
        assert!(matches!(whole, Err(ferula_promql::Error::DuplicateLabelset)), "{whole:?}");
        let found = evaluate(&cache, &engine, &storage, &query, &CancelHandle::default()).unwrap();
        assert!(found.is_none(), "{text}");
    }
    db.close().unwrap();
}

/// Texts of queries are kept, too, and clients make them.
#[test]
fn long_texts_take_room() {
    let cache = QueryCache::new(1 << 20, Box::new(|| Settled { before: i64::MAX, version: 0 }));
    for part in 0..100 {
        let text: Arc<str> = format!("{}{part}", " ".repeat(100_000)).into();
        let key = Key { text, step_ms: 1, phase_ms: 0, lookback_ms: 0, part };
        let empty = PartAnswer { series: Vec::new(), warnings: Vec::new(), infos: Vec::new() };
        cache.put(key, (0, 0), Arc::new(empty));
    }
    let (len, bytes) = cache.len_and_bytes();
    assert!(len == 10 && bytes <= 1 << 20, "{len} {bytes}");
}

#[test]
fn what_depends_on_more_than_earlier_samples_is_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
    put(&db, "a", (0..10_000).map(|i| i * 15_000), 1.0);
    let storage: Arc<dyn ferula_promql::storage::Queryable> = db.clone();
    let engine = Engine::new(EngineOptions::default());
    let cache = QueryCache::new(1 << 20, Box::new(|| Settled { before: i64::MAX, version: 0 }));
    for (text, is_cut) in [
        ("m", true),
        ("m @ 10", false),
        ("m @ start()", false),
        ("m offset -1m", false),
        ("rate(m[1m] offset 1m)", true),
        ("rate(m[step()])", false),
        ("topk(1, m)", false),
        ("max_over_time(m[1h:] @ end())", false),
        ("max_over_time(m[1h:])", true),
        // Series that differ in their names are the same without them, whenever they are there.
        ("rate({job=\"a\"}[5m])", false),
        ("sum(rate({__name__=~\"m|n\"}[5m]))", false),
        ("max_over_time((m or n)[1h:])", false),
        ("max_over_time(label_replace(m, \"__name__\", \"$1\", \"job\", \"(.*)\")[1h:])", false),
        ("{job=\"a\"}", true),
        ("m or n", true),
    ] {
        let text = text.to_owned();
        let (start, end, step_ms) = (0, 100_000_000, 60_000);
        let query =
            RangeQuery { text, start, end, step_ms, lookback_ms: None, deadline: deadline() };
        let found = evaluate(&cache, &engine, &storage, &query, &CancelHandle::default()).unwrap();
        assert_eq!(found.is_some(), is_cut, "{}", query.text);
    }
    // Little room: what was used longest ago makes place.
    let (len, bytes) = cache.len_and_bytes();
    assert!(len > 0 && bytes <= 1 << 20);
    let cancelled = CancelHandle::default();
    cancelled.cancel();
    let query = RangeQuery {
        text: "m + 1".to_owned(),
        start: 0,
        end: 100_000_000,
        step_ms: 60_000,
        lookback_ms: None,
        deadline: deadline(),
    };
    let ended = evaluate(&cache, &engine, &storage, &query, &cancelled);
    assert!(matches!(ended, Err(ferula_promql::Error::Cancelled)));
    db.close().unwrap();
}
