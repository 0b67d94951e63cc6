//! The API over a database: what is written by remote write is there when it is asked for, and
//! still there after the database was closed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use ferula_tsdb::{Db, Options};
use ferula_wire::api::{self, ApiState};
use prost::Message;
use tower::ServiceExt;

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    metric_type: i32,
    #[prost(string, tag = "2")]
    family: String,
    #[prost(string, tag = "4")]
    help: String,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    let label = |(n, v): &(&str, &str)| Label { name: (*n).into(), value: (*v).into() };
    let sample = |&(timestamp, value): &(i64, f64)| Sample { value, timestamp };
    TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: samples.iter().map(sample).collect(),
        exemplars: Vec::new(),
    }
}

fn api(db: &Arc<Db>) -> Router {
    let state = ApiState::builder(db.clone()).store(db.clone()).notes(db.clone());
    api::router(state.enable_remote_write(true).build())
}

async fn send(api: &Router, request: Request<Body>) -> (u16, String) {
    let response = api.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn write(api: &Router, timeseries: Vec<TimeSeries>) -> (u16, String) {
    write_with(api, timeseries, Vec::new()).await
}

async fn write_with(
    api: &Router,
    timeseries: Vec<TimeSeries>,
    metadata: Vec<Metadata>,
) -> (u16, String) {
    let message = WriteRequest { timeseries, metadata }.encode_to_vec();
    let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();
    send(api, Request::post("/api/v1/write").body(Body::from(body)).unwrap()).await
}

async fn query(api: &Router, query: &str) -> String {
    let path = format!("/api/v1/query?{query}");
    let (status, body) = send(api, Request::get(path).body(Body::empty()).unwrap()).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn what_was_written_is_answered_before_and_after_closing() {
    let dir = tempfile::tempdir().unwrap();
    let expected = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"a","job":"x"},"values":[[1,"1"],[2,"2.5"],[3,"NaN"]]}]}}"#;
    {
        let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
        let api = api(&db);
        let first = series(&[("__name__", "a"), ("job", "x")], &[(1000, 1.0), (2000, 2.5)]);
        assert_eq!(write(&api, vec![first]).await, (204, String::new()));
        let mixed = vec![
            series(&[("job", "x"), ("__name__", "a")], &[(3000, f64::NAN), (2500, 1.0)]),
            series(&[("__name__", "a"), ("job", &"v".repeat(100_000))], &[(3000, 1.0)]),
        ];
        let (status, reason) = write(&api, mixed).await;
        assert_eq!(status, 400);
        let start = "2 of 3 samples refused: 1 out of order, 1 with invalid labels; first: ";
        assert!(reason.starts_with(start), "{reason}");
        assert_eq!(query(&api, "query=a[5s]&time=5").await, expected);
        db.close().unwrap();
    }
    let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
    assert_eq!(query(&api(&db), "query=a[5s]&time=5").await, expected);
    db.close().unwrap();
}

#[tokio::test]
async fn a_closed_store_is_the_senders_reason_to_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
    let api = api(&db);
    db.close().unwrap();
    let request = vec![series(&[("__name__", "a")], &[(1000, 1.0)])];
    let (status, reason) = write(&api, request).await;
    assert_eq!((status, reason.as_str()), (500, "cannot store samples: the database is closed\n"));
}

#[tokio::test]
async fn a_snapshot_can_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
    let state = ApiState::builder(db.clone())
        .store(db.clone())
        .data_dir(dir.path())
        .enable_admin(true)
        .enable_remote_write(true);
    let api = api::router(state.build());
    let samples = vec![series(&[("__name__", "a")], &[(1000, 1.0), (2000, 2.0)])];
    assert_eq!(write(&api, samples).await.0, 204);
    let request = Request::post("/api/v1/admin/tsdb/snapshot").body(Body::empty()).unwrap();
    let (status, answer) = send(&api, request).await;
    assert_eq!(status, 200, "{answer}");
    let name = answer.split('"').nth(9).unwrap();
    let snapshot = dir.path().join("snapshots").join(name);
    let blocks: Vec<_> = snapshot.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(blocks.len(), 1);
    assert!(blocks[0].join("meta.json").is_file());
    db.close().unwrap();

    let copy = Arc::new(Db::open(&snapshot, Options::default()).unwrap());
    let expected = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"a"},"values":[[1,"1"],[2,"2"]]}]}}"#;
    assert_eq!(query(&self::api(&copy), "query=a[5s]&time=5").await, expected);
    copy.close().unwrap();
}

#[tokio::test]
async fn exemplars_and_metadata_are_answered_before_and_after_closing() {
    let dir = tempfile::tempdir().unwrap();
    let exemplars = [
        (
            "query_exemplars?query=sum(rate(b_bucket[1m]))%2Ba&start=0&end=9",
            r#"[{"seriesLabels":{"__name__":"a"},"exemplars":[{"labels":{"trace_id":"y"},"value":"0.25","timestamp":1.002}]},{"seriesLabels":{"__name__":"b_bucket"},"exemplars":[{"labels":{"trace_id":"x"},"value":"NaN","timestamp":1},{"labels":{"trace_id":"y"},"value":"2","timestamp":2.500}]}]"#,
        ),
        ("query_exemplars?query=b_bucket&start=2.501&end=9", "[]"),
        (
            "query_exemplars?query=b_bucket&start=2.5&end=2.5",
            r#"[{"seriesLabels":{"__name__":"b_bucket"},"exemplars":[{"labels":{"trace_id":"y"},"value":"2","timestamp":2.500}]}]"#,
        ),
        (
            "metadata",
            r#"{"a":[{"type":"gauge","unit":"","help":"An A."}],"b":[{"type":"histogram","unit":"","help":"A B."}]}"#,
        ),
        ("metadata?metric=b", r#"{"b":[{"type":"histogram","unit":"","help":"A B."}]}"#),
        ("metadata?limit=1", r#"{"a":[{"type":"gauge","unit":"","help":"An A."}]}"#),
        ("metadata?metric=b_bucket", "{}"),
        ("metadata?limit=0", "{}"),
    ];
    let check = async |api: &Router| {
        for (path, expected) in exemplars {
            let request = Request::get(format!("/api/v1/{path}")).body(Body::empty()).unwrap();
            let (status, body) = send(api, request).await;
            let expected = format!(r#"{{"status":"success","data":{expected}}}"#);
            assert_eq!((status, body), (200, expected), "{path}");
        }
    };
    {
        let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
        let api = api(&db);
        let exemplar = |trace: &str, timestamp, value| Exemplar {
            labels: vec![Label { name: "trace_id".to_owned(), value: trace.to_owned() }],
            value,
            timestamp,
        };
        let mut a = series(&[("__name__", "a")], &[(1000, 1.0)]);
        a.exemplars = vec![exemplar("y", 1002, 0.25), exemplar("late", 1001, 0.25)];
        let mut b = series(&[("__name__", "b_bucket")], &[(1000, 1.0)]);
        b.exemplars = vec![exemplar("x", 1000, f64::NAN), exemplar("y", 2500, 2.0)];
        let more = series(&[("__name__", "b_count")], &[(1000, 1.0)]);
        let said = |metric_type, family: &str, help: &str| Metadata {
            metric_type,
            family: family.to_owned(),
            help: help.to_owned(),
        };
        let metadata = vec![said(2, "a", "An A."), said(3, "b", "A B."), said(1, "c", "A C.")];
        assert_eq!(write_with(&api, vec![a, b, more], metadata).await, (204, String::new()));
        check(&api).await;
        db.close().unwrap();
    }
    let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
    check(&api(&db)).await;
    db.close().unwrap();
    let read = Arc::new(Db::open_read_only(dir.path()).unwrap());
    check(&api::router(ApiState::builder(read.clone()).notes(read).build())).await;
}
