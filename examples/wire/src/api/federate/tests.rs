use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use ferula_chunkenc::histogram::{CUSTOM_BUCKETS_SCHEMA, Histogram, Span};
use ferula_chunkenc::stale::STALE_NAN;
use ferula_tsdb::{Db, Options};
use prost::Message;
use tower::ServiceExt;

use super::names::Escaping;
use super::*;
use crate::api::router;

/// A store with a few series, and the API over it.
fn api() -> (tempfile::TempDir, Router, i64) {
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
    let now = calendar::now_ms();
    let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied()).unwrap();
    let mut batch = db.appender();
    let up = labels(&[("__name__", "up"), ("instance", "i"), ("odd", "a\"b\\c\nd")]);
    batch.append(&up, now - 30_000, 7.0).unwrap();
    batch.append(&up, now - 20_000, 0.25).unwrap();
    batch.append(&labels(&[("__name__", "up"), ("zone", "own")]), now - 400_000, 1.0).unwrap();
    let gone = labels(&[("__name__", "gone")]);
    batch.append(&gone, now - 3000, 1.0).unwrap();
    batch.append(&gone, now - 2000, STALE_NAN).unwrap();
    batch.append(&labels(&[("__name__", "with.dot"), ("l.x", "1")]), now - 1000, 1e9).unwrap();
    let histogram = |schema, bounds: &[f64]| Histogram {
        counter_reset_hint: CounterResetHint::Unknown,
        schema,
        zero_threshold: if bounds.is_empty() { 0.001 } else { 0.0 },
        zero_count: if bounds.is_empty() { 1 } else { 0 },
        count: if bounds.is_empty() { 6 } else { 5 },
        sum: 12.5,
        positive_spans: vec![Span { offset: 1, length: 1 }, Span { offset: 1, length: 1 }],
        negative_spans: Vec::new(),
        positive_buckets: vec![2, 1],
        negative_buckets: Vec::new(),
        custom_values: bounds.into(),
    };
    batch
        .append_histogram(&labels(&[("__name__", "native")]), now - 1000, histogram(1, &[]))
        .unwrap();
    let own = histogram(CUSTOM_BUCKETS_SCHEMA, &[0.5, 1.0, 2.0]);
    batch.append_histogram(&labels(&[("__name__", "own_bounds")]), now - 1000, own).unwrap();
    batch.commit().unwrap();
    let zone = [("zone".to_owned(), "z".to_owned())];
    let state = ApiState::builder(db).external_labels(zone).build();
    (dir, router(state), now)
}

async fn page(api: &Router, query: &str, accept: &str) -> (u16, String, Vec<u8>) {
    let request = Request::get(format!("/federate?{query}")).header("Accept", accept);
    let response = api.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let kind = parts.headers["content-type"].to_str().unwrap().to_owned();
    (parts.status.as_u16(), kind, body)
}

const EVERYTHING: &str = "match[]=%7B__name__=~%22.%2B%22%7D&match[]=up";

#[tokio::test]
async fn newest_samples_that_are_not_over_are_told_as_text() {
    let (_dir, api, now) = api();
    let (status, kind, body) = page(&api, EVERYTHING, "text/plain;version=0.0.4").await;
    let (at, up) = (now - 1000, now - 20_000);
    let expected = format!(
        r#"# TYPE own_bounds histogram
own_bounds_bucket{{instance="",zone="z",le="0.5"}} 0 {at}
own_bounds_bucket{{instance="",zone="z",le="1"}} 2 {at}
own_bounds_bucket{{instance="",zone="z",le="2"}} 2 {at}
own_bounds_bucket{{instance="",zone="z",le="+Inf"}} 5 {at}
own_bounds_sum{{instance="",zone="z"}} 12.5 {at}
own_bounds_count{{instance="",zone="z"}} 5 {at}
# TYPE up untyped
up{{instance="i",odd="a\"b\\c\nd",zone="z"}} 0.25 {up}
# TYPE with_dot untyped
with_dot{{l_x="1",instance="",zone="z"}} 1e+09 {at}
"#
    );
    assert_eq!((status, String::from_utf8(body).unwrap()), (200, expected));
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
    let (_, kind, body) =
        page(&api, "match[]=%7B%22with.dot%22%7D", "*/*;escaping=allow-utf-8").await;
    let expected = format!(
        "# TYPE \"with.dot\" untyped\n{{\"with.dot\",\"l.x\"=\"1\",instance=\"\",zone=\"z\"}} 1e+09 {at}\n"
    );
    assert_eq!(String::from_utf8(body).unwrap(), expected);
    assert!(kind.ends_with("escaping=allow-utf-8"));
}

#[tokio::test]
async fn other_forms_are_given_to_those_who_ask() {
    let (_dir, api, now) = api();
    let (_, kind, body) =
        page(&api, "match[]=up", "application/openmetrics-text;version=1.0.0").await;
    let seconds = format!("{}.{:03}", (now - 20_000) / 1000, (now - 20_000) % 1000);
    let seconds = seconds.trim_end_matches(".000");
    let expected = format!(
        "# TYPE up unknown\nup{{instance=\"i\",odd=\"a\\\"b\\\\c\\nd\",zone=\"z\"}} 0.25 {seconds}\n# EOF\n"
    );
    assert_eq!(String::from_utf8(body).unwrap(), expected);
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    // Prometheus has no OpenMetrics here, so whoever takes text, too, gets that.
    let both = "application/openmetrics-text;q=0.9,text/plain;q=0.1";
    assert!(page(&api, "match[]=up", both).await.1.starts_with("text/plain"));

    let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let (_, kind, body) = page(&api, EVERYTHING, protobuf).await;
    assert!(kind.starts_with("application/vnd.google.protobuf; proto="), "{kind}");
    let mut rest = &body[..];
    let mut families = Vec::new();
    while !rest.is_empty() {
        families.push(Family::decode_length_delimited(&mut rest).unwrap());
    }
    let names: Vec<(&str, i32)> = families.iter().map(|f| (f.name.as_str(), f.kind)).collect();
    assert_eq!(names, [("native", 4), ("own_bounds", 4), ("up", 3), ("with_dot", 3)]);
    let native = families[0].metric[0].histogram.as_ref().unwrap();
    let spans: Vec<_> = native.positive_span.iter().map(|s| (s.offset, s.length)).collect();
    assert_eq!((native.schema, native.count, native.zero_count), (1, 6.0, 1.0));
    assert_eq!((spans, &native.positive_count[..]), (vec![(1, 1), (1, 1)], &[2.0, 3.0][..]));
    let own = families[1].metric[0].histogram.as_ref().unwrap();
    let buckets: Vec<_> = own.bucket.iter().map(|b| (b.bound, b.count)).collect();
    assert_eq!(buckets, [(0.5, 0.0), (1.0, 2.0), (2.0, 2.0)]);
    let up = &families[2].metric[0];
    assert_eq!((up.untyped.as_ref().unwrap().value, up.timestamp), (0.25, now - 20_000));
    assert_eq!(up.label[1].value, "a\"b\\c\nd");
}

#[tokio::test]
async fn bad_selectors_are_told_as_text() {
    let (_dir, api, _) = api();
    let (status, kind, body) = page(&api, "match[]=up(", "").await;
    assert_eq!((status, kind.starts_with("text/plain")), (400, true));
    assert!(String::from_utf8(body).unwrap().contains("parse error"));
    assert_eq!(page(&api, "", "").await.2, b"");
    assert_eq!(page(&api, &"match[]=up&".repeat(1001), "").await.0, 400);
}

#[test]
fn names_are_escaped_as_asked() {
    for (escaping, name, expected) in [
        (Escaping::Underscores, "a.b-ü", "a_b__"),
        (Escaping::Underscores, "9a", "_a"),
        (Escaping::Dots, "a.b_c", "a_dot_b__c"),
        (Escaping::Values, "a.b_c", "U__a_2e_b__c"),
        (Escaping::Values, "plain_name", "plain_name"),
        (Escaping::AllowUtf8, "a.b", "a.b"),
    ] {
        assert_eq!(escaping.apply(name), expected);
    }
}

#[derive(Message)]
struct Family {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<Pair>,
    #[prost(message, optional, tag = "5")]
    untyped: Option<Untyped>,
    #[prost(int64, tag = "6")]
    timestamp: i64,
    #[prost(message, optional, tag = "7")]
    histogram: Option<HistogramMessage>,
}

#[derive(Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Message)]
struct Untyped {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Message)]
struct HistogramMessage {
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(double, tag = "4")]
    count: f64,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "8")]
    zero_count: f64,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<SpanMessage>,
    #[prost(double, repeated, packed = "false", tag = "14")]
    positive_count: Vec<f64>,
}

#[derive(Message)]
struct Bucket {
    #[prost(double, tag = "2")]
    bound: f64,
    #[prost(double, tag = "4")]
    count: f64,
}

#[derive(Message)]
struct SpanMessage {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}
