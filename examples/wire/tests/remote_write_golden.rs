//! Requests that Prometheus's own code encoded (`golden/`) are stored whole, in both versions.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::stale::is_stale;
use ferula_index::Matcher;
use ferula_tsdb::{Db, Options};
use ferula_wire::remote::{Receiver, Version};
use ferula_wire::store::Store;
use ferula_wire::telemetry::Registry;

const NOW: i64 = 1_700_000_000_000;

/// What is stored of a request: a line for each sample.
fn stored(db: &Db) -> Vec<String> {
    let querier = db.querier(NOW - 10_000, NOW + 10_000).unwrap();
    let series = querier.select(&[]).unwrap();
    let mut lines = Vec::new();
    for index in 0..series.len() {
        let mut batch = SampleBatch::new();
        series.read(index, &mut batch).unwrap();
        let labels = series.labels(index);
        assert_eq!((labels.get("job"), labels.get("utf8.name")), (Some("golden"), Some("ü")));
        let name = labels.metric_name();
        let starts = batch.start_timestamps();
        for (place, time) in batch.timestamps().iter().enumerate() {
            let start = starts.get(place).filter(|start| **start != 0);
            let start = start.map(|start| format!(" since {}", start - NOW)).unwrap_or_default();
            let value = match batch.histogram(place) {
                Some(histogram) => histogram.to_string(),
                None if is_stale(batch.values()[place]) => "stale".to_owned(),
                None => batch.values()[place].to_string(),
            };
            lines.push(format!("{name} {}{start} {value}", time - NOW));
        }
    }
    lines.sort();
    lines
}

fn receive(version: Version, body: &[u8]) -> (tempfile::TempDir, Arc<Db>) {
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
    let receiver = Receiver::new(Arc::clone(&db) as Arc<dyn Store>, &Registry::new());
    let receipt = receiver.receive(version, body, NOW).unwrap();
    let n_floats = if version == Version::V2 { 3 } else { 2 };
    assert!(receipt.is_success(version), "{receipt}");
    assert_eq!((receipt.appended, receipt.histograms, receipt.repeated), (n_floats, 4, 0));
    assert_eq!((receipt.exemplars, receipt.invalid_exemplars), (2, 0));
    (dir, db)
}

/// What both requests hold, but for starts and the gauge of 2.0.
fn expected(since: &str) -> Vec<String> {
    let latency = "[-1,-0.8408964152537144):2, [-1e-128,1e-128]:3, (0.5,0.5946035575013605]:4, \
                   (0.5946035575013605,0.7071067811865475]:3, \
                   (1.414213562373095,1.6817928305074288]:5";
    vec![
        "custom_seconds 0 {count:6, sum:3.5, [-Inf,0.1]:1, (0.1,1]:2, (1,+Inf]:3}".to_owned(),
        "custom_seconds 1000 stale".to_owned(),
        format!("latency_seconds 0{since} {{count:17, sum:-12.25, {latency}}}"),
        format!("requests_total 0{since} 1.5"),
        format!("requests_total 1000{since} 2.5"),
        "size_bytes 0 {count:4, sum:9.75, [-0.001,0.001]:0.5, (1,4]:1.5, (4,16]:2}".to_owned(),
    ]
}

#[test]
fn a_request_of_1_is_stored_whole() {
    let (_dir, db) = receive(Version::V1, include_bytes!("data/remote_write/v1/request.snappy"));
    assert_eq!(stored(&db), expected(""));
    let metadata = db.metadata(Some("requests_total")).unwrap();
    assert_eq!(metadata[0].metadata[0].help, "Requests.");
}

#[test]
fn a_request_of_2_is_stored_whole() {
    let (_dir, db) = receive(Version::V2, include_bytes!("data/remote_write/v2/request.snappy"));
    let mut expected = expected(" since -5000");
    expected.push("temperature 0 21.5".to_owned());
    assert_eq!(stored(&db), expected);
    let latency = &db.metadata(Some("latency_seconds")).unwrap()[0].metadata[0];
    assert_eq!((latency.help.as_str(), latency.unit.as_str()), ("Latency.", "seconds"));
    let exemplars = db.exemplars(&[[Matcher::equal("job", "golden")]], NOW, NOW).unwrap();
    let of = |index: usize| (exemplars[index].labels.metric_name(), &exemplars[index].exemplars);
    for (index, metric) in [(0, "latency_seconds"), (1, "requests_total")] {
        let (name, found) = of(index);
        assert_eq!((name, found.len(), found[0].value), (metric, 1, 0.5));
        assert_eq!(found[0].labels.get("trace_id"), Some("4bf92f35"));
    }
}
