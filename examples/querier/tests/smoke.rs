//! The querier over what another program wrote.

use ferula_index::Labels;
use ferula_tsdb::{Db, Options};
use ferula_wire::testing::{Program, failure, wait};

const QUERIER: &str = env!("CARGO_BIN_EXE_querier");

fn append(db: &Db, timestamp: i64) {
    let labels =
        Labels::from_pairs([("__name__", "torches"), ("place", "gate")]).expect("valid labels");
    let mut appender = db.appender();
    appender.append(&labels, timestamp, 3.0).expect("the sample is accepted");
    appender.commit().expect("the log can be written");
}

#[test]
fn what_is_written_meanwhile_is_seen() {
    let data = tempfile::tempdir().expect("a directory");
    let db = Db::open(data.path(), Options::default()).expect("a new store");
    append(&db, 1_700_000_000_000);
    let querier = Program::start(QUERIER, data.path(), &["--reload-every", "1"]);
    let count = "count_over_time(torches[1h] @ 1700000060)";
    assert_eq!(querier.value(count), Some(1.0));
    append(&db, 1_700_000_001_000);
    querier.wait_for(count, 2.0);
    assert_ne!(
        querier
            .client
            .post(format!("{}/api/v1/write", querier.url))
            .send()
            .expect("an answer")
            .status(),
        204
    );
    db.close().expect("the log can be synced");
    assert_eq!(querier.terminate().0.code(), Some(0));
}

#[test]
fn a_missing_directory_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, messages) = failure(QUERIER, &dir.path().join("nothing"), &[]);
    assert_eq!(code, Some(1), "{messages}");
    assert!(messages.contains("nothing"), "{messages}");
    assert!(!dir.path().join("nothing").exists());
}

#[test]
fn directories_are_one_and_replicas_one_series() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let stores: Vec<Db> = dirs
        .iter()
        .map(|dir| Db::open(dir.path(), Options::default()).expect("a new store"))
        .collect();
    let start = 1_700_000_000_000;
    for (place, db) in stores.iter().enumerate() {
        let mut batch = db.appender();
        let replica = place.to_string();
        let fires = Labels::from_pairs([("__name__", "fires"), ("replica", &*replica)]);
        let own = Labels::from_pairs([("__name__", "own"), ("place", &*replica)]);
        let (fires, own) = (fires.expect("valid labels"), own.expect("valid labels"));
        for i in 0..10 {
            // The first replica has a gap, and the second is a little late.
            if place == 1 || !(4..8).contains(&i) {
                let time = start + i * 10_000 + i64::from(place == 1);
                batch.append(&fires, time, 1.0).expect("the sample is accepted");
            }
        }
        batch.append(&own, start, 2.0).expect("the sample is accepted");
        batch.commit().expect("the log can be written");
    }
    let second = dirs[1].path().to_str().expect("text").to_owned();
    let count = "sum(count_over_time(fires[2m] @ 1700000100))";
    let own = "count(own @ 1700000000)";
    let both =
        Program::start(QUERIER, dirs[0].path(), &["--data", &second, "--log-slow-queries", "0s"]);
    assert_eq!((both.value(count), both.value(own)), (Some(16.0), Some(2.0)));
    let (status, messages) = both.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(messages.contains("slow query") && messages.contains(count), "{messages}");
    let one =
        Program::start(QUERIER, dirs[0].path(), &["--data", &second, "--replica-label", "replica"]);
    // Four of the first, and from the second what comes twice the distance later.
    assert_eq!((one.value(count), one.value("count(fires @ 1700000100)")), (Some(9.0), Some(1.0)));
    assert_eq!(one.value(own), Some(2.0));
    let (status, labels) = one.get("/api/v1/labels");
    assert!(status == 200 && !labels.contains("replica"), "{labels}");
    stores.into_iter().for_each(|db| db.close().expect("the log can be synced"));
}

#[test]
fn what_is_kept_of_queries_gives_way_to_late_samples_and_deletions() {
    let data = tempfile::tempdir().expect("a directory");
    let options = Options::builder().out_of_order_window_ms(36_000_000).build().expect("in bounds");
    let db = Db::open(data.path(), options).expect("a new store");
    let start = 1_700_000_000_000 / 7_200_000 * 7_200_000;
    let put = |place: &str, times: &mut dyn Iterator<Item = i64>| {
        let labels = Labels::from_pairs([("__name__", "torches"), ("place", place)]);
        let labels = labels.expect("valid labels");
        let mut batch = db.appender();
        for time in times {
            batch.append(&labels, time, 1.0).expect("it is accepted");
        }
        batch.commit().expect("the log can be written");
    };
    put("gate", &mut (0..2400).map(|i| start + i * 15_000));
    db.compact_head().expect("blocks can be cut");
    assert!(db.stats().head_from > start + 14_400_000);
    let querier =
        Program::start(QUERIER, data.path(), &["--reload-every", "1", "--query-cache", "10000000"]);
    let (from, to) = (start / 1000, start / 1000 + 36_000);
    let path = format!("/api/v1/query_range?query=count(torches)&start={from}&end={to}&step=15");
    let points = |value: &str| querier.get(&path).1.matches(&format!("\"{value}\"]")).count();
    let first = querier.get(&path);
    assert_eq!((first.0, querier.get(&path)), (200, first));
    assert_eq!(points("2"), 0);
    put("hall", &mut (100..200).map(|i| start + i * 15_000));
    wait("late samples", || (points("2") >= 100).then_some(()));
    let matcher = ferula_index::Matcher::equal("place", "gate");
    for (last, is_more) in [(300, false), (400, true)] {
        // Both leave as many intervals behind.
        let before = points("1");
        db.delete(std::slice::from_ref(&matcher), start + 3_750_000, start + last * 15_000)
            .expect("deleted");
        wait("a deletion", || (points("1") < before).then_some(()));
        assert!(!is_more || points("1") < 2300);
    }
    db.close().expect("the log can be synced");
}
