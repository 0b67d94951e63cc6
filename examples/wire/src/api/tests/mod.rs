mod finding;
mod otlp;
mod queries;
mod read;
mod slow;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use tower::ServiceExt;

use super::*;
use crate::pressure::Pressure;
use crate::store::memory::MemoryStore;

/// An API over a store with a few series around time zero.
fn api() -> Router {
    api_with(|builder| builder)
}

fn api_with(change: impl FnOnce(ApiBuilder) -> ApiBuilder) -> Router {
    let store = Arc::new(MemoryStore::new());
    for i in 0..10 {
        store.put(&[("__name__", "up"), ("job", "a")], i * 60_000, 1.0);
        store.put(&[("__name__", "up"), ("job", "b<c")], i * 60_000, 0.5);
        store.put(&[("__name__", "with.dot"), ("label.dot", "x")], i * 60_000, 2.0);
    }
    router(change(ApiState::builder(store.clone()).store(store)).build())
}

async fn send(api: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
    let response = api.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(api: &Router, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (status, _, body) = send(api, request).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn parameters_are_refused_in_the_words_of_prometheus() {
    let api = api();
    let range = "/api/v1/query_range?query=up";
    for (path, message) in [
        (
            "/api/v1/query?query=up&time=x".to_owned(),
            r#"invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp"#,
        ),
        (
            "/api/v1/query?query=up&timeout=x".to_owned(),
            r#"invalid parameter \"timeout\": cannot parse \"x\" to a valid duration"#,
        ),
        (
            "/api/v1/query?query=up&limit=x".to_owned(),
            r#"invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax"#,
        ),
        (
            "/api/v1/query?query=up&limit=-1".to_owned(),
            r#"invalid parameter \"limit\": limit must be non-negative"#,
        ),
        (
            "/api/v1/query?query=up&lookback_delta=x".to_owned(),
            r#"error parsing lookback delta duration: cannot parse \"x\" to a valid duration"#,
        ),
        (
            range.to_owned(),
            r#"invalid parameter \"start\": cannot parse \"\" to a valid timestamp"#,
        ),
        (
            format!("{range}&start=0"),
            r#"invalid parameter \"end\": cannot parse \"\" to a valid timestamp"#,
        ),
        (
            format!("{range}&start=1&end=0&step=1"),
            r#"invalid parameter \"end\": end timestamp must not be before start time"#,
        ),
        (
            format!("{range}&start=0&end=1"),
            r#"invalid parameter \"step\": cannot parse \"\" to a valid duration"#,
        ),
        (
            format!("{range}&start=0&end=1&step=0"),
            r#"invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
        ),
        (
            format!("{range}&start=0&end=1&step=-1"),
            r#"invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
        ),
        (
            format!("{range}&start=0&end=11001&step=1"),
            r#"exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"#,
        ),
        ("/api/v1/series".to_owned(), "no match[] parameter provided"),
        (
            "/api/v1/labels?start=x".to_owned(),
            r#"invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp"#,
        ),
        ("/api/v1/status/tsdb?limit=0".to_owned(), "limit must be a positive number"),
        ("/api/v1/status/tsdb?limit=10001".to_owned(), "limit must not exceed 10000"),
    ] {
        let expected =
            format!(r#"{{"status":"error","errorType":"bad_data","error":"{message}"}}"#);
        assert_eq!(get(&api, &path).await, (400, expected), "{path}");
    }
}

#[tokio::test]
async fn labels_and_their_values_are_listed() {
    let api = api();
    for (path, data) in [
        ("/api/v1/labels", r#"["__name__","job","label.dot"]"#),
        ("/api/v1/labels?start=10000&end=20000", "[]"),
        ("/api/v1/labels?start=20&end=10", "[]"),
        ("/api/v1/label/job/values", r#"["a","b\u003cc"]"#),
        ("/api/v1/label/U__label_2e_dot/values", r#"["x"]"#),
        ("/api/v1/label/none/values", "[]"),
        ("/api/v1/metadata", "{}"),
        ("/api/v1/rules", r#"{"groups":[]}"#),
        ("/api/v1/alerts", r#"{"alerts":[]}"#),
        ("/api/v1/scrape_pools", r#"{"scrapePools":[]}"#),
        ("/api/v1/targets", r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}"#),
    ] {
        let expected = format!(r#"{{"status":"success","data":{data}}}"#);
        assert_eq!(get(&api, path).await, (200, expected), "{path}");
    }
    let unreadable =
        r#"{"status":"error","errorType":"bad_data","error":"invalid label name: \"a\\xff/\""}"#;
    assert_eq!(get(&api, "/api/v1/label/a%FF%2f/values").await, (400, unreadable.to_owned()));
    let (status, body) = get(&api, &format!("/api/v1/series?{}", "match[]=up&".repeat(1001))).await;
    assert!(status == 400 && body.contains("more than 1000 selectors"), "{body}");
    let limited =
        r#"{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}"#;
    assert_eq!(get(&api, "/api/v1/labels?limit=1").await, (200, limited.to_owned()));
}

#[tokio::test]
async fn status_tells_what_the_head_holds() {
    let (_, body) = get(&api(), "/api/v1/status/tsdb?limit=1").await;
    assert_eq!(
        body,
        r#"{"status":"success","data":{"headStats":{"numSeries":3,"numLabelPairs":5,"chunkCount":0,"minTime":0,"maxTime":540000},"seriesCountByMetricName":[{"name":"up","value":2}],"labelValueCountByLabelName":[{"name":"__name__","value":2}],"memoryInBytesByLabelName":[{"name":"__name__","value":42}],"seriesCountByLabelValuePair":[{"name":"__name__=up","value":2}]}}"#
    );
}

#[tokio::test]
async fn forms_and_addresses_are_read_alike() {
    let api = api();
    let request = Request::post("/api/v1/labels?limit=2")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(Body::from("limit=1&start=0"))
        .unwrap();
    let (status, _, body) = send(&api, request).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.starts_with(r#"{"status":"success","data":["__name__"],"warnings""#), "{body}");
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let readiness = Readiness::pending();
    let api = api_with(|builder| builder.app_name("Test").readiness(readiness.clone()));
    assert_eq!(get(&api, "/-/healthy").await, (200, "Test is Healthy.\n".to_owned()));
    assert_eq!(get(&api, "/-/ready").await, (503, "Service Unavailable".to_owned()));
    assert_eq!(get(&api, "/api/v1/labels").await, (503, "Service Unavailable".to_owned()));
    readiness.set(true);
    assert_eq!(get(&api, "/-/ready").await, (200, "Test is Ready.\n".to_owned()));
    let not_found = (404, "404 page not found\n".to_owned());
    assert_eq!(get(&api, "/api/v1/nothing").await, not_found);
    assert_eq!(get(&api, "/nothing").await, not_found);
    let not_allowed = (405, "Method Not Allowed\n".to_owned());
    assert_eq!(get(&api, "/api/v1/write").await, not_allowed);
    assert_eq!(get(&api, "/api/v1/query_exemplars?query=1").await, (204, String::new()));

    let (status, page) = get(&api, "/metrics").await;
    assert_eq!(status, 200);
    let counted = r#"ferula_http_requests_total{code="200",handler="/-/ready"} 1"#;
    assert!(page.contains(counted), "{page}");
}

#[tokio::test]
async fn pages_of_other_origins_may_read() {
    let api = api();
    let request = Request::get("/api/v1/labels").header("Origin", "http://x").body(Body::empty());
    let (_, headers, _) = send(&api, request.unwrap()).await;
    assert_eq!(headers["access-control-allow-origin"], "*");
    let request = Request::options("/api/v1/query").header("Origin", "http://x");
    let (status, headers, _) = send(&api, request.body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(headers["access-control-allow-methods"], "GET, POST, OPTIONS");
    assert!(headers.get_all("vary").iter().any(|value| value == "Origin"));

    let only = ferula_index::matcher::CaptureRegex::new(r"https?://(a|b)\.example").unwrap();
    let api = api_with(|builder| builder.cors_origin(only));
    for (origin, is_allowed) in [
        ("http://a.example", true),
        ("https://b.example", true),
        ("http://a.example.evil", false),
        ("xhttp://a.example", false),
        ("null", false),
    ] {
        let request = Request::get("/api/v1/labels").header("Origin", origin).body(Body::empty());
        let (_, headers, _) = send(&api, request.unwrap()).await;
        let allowed = headers.get("access-control-allow-origin").map(|v| v.to_str().unwrap());
        assert_eq!(allowed, is_allowed.then_some(origin));
    }
}

#[tokio::test]
async fn a_server_is_ended_only_where_allowed() {
    let put = || Request::put("/-/quit").body(Body::empty()).unwrap();
    let (status, _, body) = send(&api(), put()).await;
    assert_eq!((status.as_u16(), body.as_str()), (403, "Lifecycle API is not enabled."));
    let quit = Quit::default();
    let api = api_with(|builder| builder.quit(Some(quit.clone())));
    assert_eq!(get(&api, "/-/quit").await.0, 405);
    let (status, _, body) = send(&api, put()).await;
    assert_eq!((status.as_u16(), body.as_str()), (200, "Requesting termination... Goodbye!"));
    quit.asked().await;
    let (_, _, body) = send(&api, put()).await;
    assert_eq!(body, "Termination already in progress.");
}

#[tokio::test]
async fn paths_lead_nowhere_else() {
    let api = api();
    for path in [
        "/api/v1/../../etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/etc/passwd",
        "//api/v1/labels",
        "/api/v1//labels",
        "/api/v1/labels/",
        "/api/v1/labels/..",
        "/api/v1/label/job/values/../values",
        "/API/v1/labels",
        "/api/v1",
        "/api/v1/admin/tsdb",
        "/debug/pprof/../../metrics",
        "/debug/pprof/nothing",
    ] {
        let (status, body) = get(&api, path).await;
        assert!(status == 404 && body.len() < 50, "{path} {status} {body}");
    }
    // What stands for a slash within a name is part of the name.
    let (status, body) = get(&api, "/api/v1/label/..%2f..%2fetc%2fpasswd/values").await;
    assert_eq!((status, body.as_str()), (200, r#"{"status":"success","data":[]}"#));
}

#[tokio::test]
async fn the_program_tells_what_it_is() {
    let build = BuildInformation { version: "1.2".to_owned(), ..BuildInformation::default() };
    let api = api_with(|builder| builder.build_information(build));
    let fields = r#"{"version":"1.2","revision":"","branch":"","buildUser":"","buildDate":"","goVersion":""}"#;
    assert_eq!(get(&api, "/version").await, (200, format!("{fields}\n")));
    let (_, body) = get(&api, "/api/v1/status/buildinfo").await;
    assert_eq!(body, format!(r#"{{"status":"success","data":{fields}}}"#));
    let (_, body) = get(&api, "/api/v1/status/tsdb/blocks").await;
    assert_eq!(body, r#"{"status":"success","data":{"blocks":[]}}"#);
    assert_eq!(get(&api, "/api/v1/notifications/live").await, (204, String::new()));
    let (_, body) = get(&api, "/api/v1/features").await;
    for feature in [
        r#""api":{"admin":false,"#,
        r#""lifecycle":false"#,
        r#""search_fuzz_alg_jarowinkler":true"#,
        r#""promql_operators":{"!=":true,"!~":true"#,
        r#"">=":true"#,
        r#""limitk":false"#,
        r#""absent_over_time":true"#,
        r#""mad_over_time":false"#,
    ] {
        assert!(body.contains(feature), "{feature} {body}");
    }
    let pattern = "/api/v1/status/self_metrics?metric_name_pattern=ferula_http_request.*";
    let (status, body) = get(&api, pattern).await;
    let all: serde_json::Value = serde_json::from_str(&body).unwrap();
    let [durations, requests] = &all["data"].as_array().unwrap()[..] else { panic!("{body}") };
    assert_eq!(
        (status, &durations["type"], &requests["type"]),
        (200, &"HISTOGRAM".into(), &"COUNTER".into())
    );
    let first = &durations["metric"][0];
    assert_eq!(first["label"][0]["name"], "handler");
    assert_eq!(first["histogram"]["sampleCount"], "1");
    assert_eq!(first["histogram"]["bucket"].as_array().unwrap().len(), 10);
    let (status, body) = get(&api, "/api/v1/status/self_metrics?metric_name_pattern=(").await;
    assert!(status == 400 && body.contains("invalid metric_name_pattern: "), "{body}");
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    let request = Request::get("/api/v1/status/flags").header("Accept-Encoding", "gzip");
    let api = api_with(|builder| builder.flags([("flag".to_owned(), "value".repeat(100))]));
    let response = api.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert!(body.len() < 200 && body.starts_with(b"\x1f\x8b"));
}

#[tokio::test]
async fn snapshots_are_made_only_where_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let request = || {
        let request = Request::post("/api/v1/admin/tsdb/snapshot");
        request.body(Body::empty()).unwrap()
    };
    let (status, _, body) = send(&api(), request()).await;
    let expected = r#"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#;
    assert_eq!((status.as_u16(), body.as_str()), (500, expected));

    let api = api_with(|builder| builder.enable_admin(true).data_dir(dir.path()));
    let (status, _, body) = send(&api, request()).await;
    assert_eq!(status, StatusCode::OK);
    let name = body
        .strip_prefix(r#"{"status":"success","data":{"name":""#)
        .and_then(|rest| rest.strip_suffix("\"}}"))
        .unwrap();
    assert_eq!(name.len(), "20260102T150405Z-0123456789abcdef".len());
    let blocks = dir.path().join("snapshots").join(name);
    assert!(blocks.join("01BX5ZZKBKACTAV9WEVGEMMVRZ").is_dir());
}

#[tokio::test]
async fn series_are_deleted_only_where_allowed() {
    let post = |path: &str| {
        let request = Request::post(format!("/api/v1/admin/tsdb/{path}"));
        request.body(Body::empty()).unwrap()
    };
    for path in ["delete_series?match[]=up", "clean_tombstones"] {
        let (status, _, body) = send(&api(), post(path)).await;
        assert!(status.as_u16() == 500 && body.contains("admin APIs disabled"), "{body}");
    }
    let api = api_with(|builder| builder.enable_admin(true));
    for (path, problem) in [
        ("delete_series", "no match[] parameter provided"),
        ("delete_series?match[]=up&match[]=%7B", "invalid parameter \\\"match[]\\\""),
        ("delete_series?match[]=up&start=x", "invalid parameter \\\"start\\\""),
    ] {
        let (status, _, body) = send(&api, post(path)).await;
        assert!(status.as_u16() == 400 && body.contains(problem), "{path}: {body}");
    }
    let series = || async {
        let request = Request::get("/api/v1/series?match[]=%7B__name__=~%22.%2B%22%7D");
        send(&api, request.body(Body::empty()).unwrap()).await.2
    };
    let before = series().await;
    assert!(before.contains("\"up\""), "{before}");
    let (status, _, body) = send(&api, post("delete_series?match[]=up")).await;
    assert_eq!((status.as_u16(), body.as_str()), (204, ""));
    assert!(!series().await.contains("\"up\""));
    let (status, _, body) = send(&api, post("clean_tombstones")).await;
    assert!(status.as_u16() == 500 && body.contains("closed"), "{body}");
}

#[tokio::test]
async fn remote_write_is_answered_by_status() {
    let off = api();
    let on = api_with(|builder| builder.enable_remote_write(true));
    // One series, __name__="a", with the sample 1 at time 1000000.
    let message =
        b"\x0a\x1c\x0a\x0d\x0a\x08__name__\x12\x01a\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x01";
    let good = snap::raw::Encoder::new().compress_vec(message).unwrap();
    let write = |kind: &'static str, encoding: &'static str, body: &[u8]| {
        Request::post("/api/v1/write")
            .header("Content-Type", kind)
            .header("Content-Encoding", encoding)
            .body(Body::from(body.to_vec()))
            .unwrap()
    };
    let v1 = "application/x-protobuf";
    assert_eq!(send(&off, write(v1, "snappy", &good)).await.0.as_u16(), 404);
    let v1_named = "application/x-protobuf;proto=prometheus.WriteRequest";
    assert_eq!(send(&on, write(v1, "snappy", &good)).await.0.as_u16(), 204);
    assert_eq!(send(&on, write(v1_named, "snappy", &good)).await.0.as_u16(), 204);
    let bare = Request::post("/api/v1/write").body(Body::from(good.clone())).unwrap();
    assert_eq!(send(&on, bare).await.0.as_u16(), 204);

    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    let v3 = "application/x-protobuf;proto=io.prometheus.write.v3.Request";
    for (kind, encoding, status) in [
        (v3, "snappy", 415),
        ("application/x-protobuf;proto", "snappy", 415),
        ("application/json", "snappy", 415),
        (v1, "deflate", 415),
        (v1, "identity", 415),
        (v2, "gzip, snappy", 415),
    ] {
        assert_eq!(send(&on, write(kind, encoding, &good)).await.0.as_u16(), status, "{kind}");
    }
    let (status, _, body) = send(&on, write(v1, "snappy", b"\xff\xff\xff\xff\xff")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.starts_with("invalid snappy block"), "{body}");
    let zstd = zstd::bulk::compress(message, 1).unwrap();
    assert_eq!(send(&on, write(v1, "zstd", &zstd)).await.0.as_u16(), 204);
    let (status, _, body) = send(&on, write(v1, "gzip", &zstd)).await;
    assert!(status.as_u16() == 400 && body.starts_with("invalid gzip body: "), "{body}");
    let bomb = zstd::stream::encode_all(&*vec![0; 33 << 20], 1).unwrap();
    let (status, _, body) = send(&on, write(v1, "zstd", &bomb)).await;
    assert_eq!((status.as_u16(), &*body), (413, "request exceeds the limit of 33554432 bytes\n"));
    let (status, _, body) = send(&on, write(v1, "snappy", b"\xff\xff\xff\xff\x0f")).await;
    assert_eq!(status.as_u16(), 413, "{body}");
    let broken = snap::raw::Encoder::new().compress_vec(&message[..20]).unwrap();
    let (status, _, body) = send(&on, write(v1, "snappy", &broken)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body, "invalid write request: WriteRequest at offset 2: unexpected end\n");
}

#[tokio::test]
async fn bodies_that_announce_too_much_are_not_read() {
    let api = api_with(|builder| builder.enable_remote_write(true));
    let write = |body: Body| Request::post("/api/v1/write").body(body).unwrap();
    let mut announced = write(Body::empty());
    announced.headers_mut().insert("Content-Length", "40000000".parse().unwrap());
    assert_eq!(send(&api, announced).await.0.as_u16(), 413);
}

#[tokio::test]
async fn writers_are_turned_away_while_there_is_no_memory() {
    for (limit, expected) in [(1, 503), (u64::MAX, 204)] {
        let api = api_with(|builder| {
            builder.enable_remote_write(true).pressure(Pressure::reading_from(limit, || Some(1)))
        });
        let golden = include_bytes!("../../../tests/data/remote_write/v1/request.snappy");
        let request = Request::post("/api/v1/write").body(Body::from(&golden[..])).unwrap();
        let (status, headers, body) = send(&api, request).await;
        assert_eq!(status.as_u16(), expected, "{body}");
        assert_eq!(headers.contains_key("Retry-After"), expected == 503);
    }
}

#[tokio::test]
async fn what_finds_no_room_is_to_be_sent_again() {
    let mut limits = ferula_tsdb::Limits::default();
    limits.series = 3;
    let options = ferula_tsdb::Options::builder().limits(limits).build().unwrap();
    let v1 = include_bytes!("../../../tests/data/remote_write/v1/request.snappy");
    let v2 = include_bytes!("../../../tests/data/remote_write/v2/request.snappy");
    for (kind, golden) in [("", &v1[..]), (";proto=io.prometheus.write.v2.Request", &v2[..])] {
        let dir = tempfile::tempdir().unwrap();
        let db = Arc::new(ferula_tsdb::Db::open(dir.path(), options.clone()).unwrap());
        let api = router(ApiState::builder(db.clone()).store(db).enable_remote_write(true).build());
        let request = Request::post("/api/v1/write")
            .header("Content-Type", format!("application/x-protobuf{kind}"))
            .body(Body::from(golden))
            .unwrap();
        let (status, headers, body) = send(&api, request).await;
        assert_eq!(status.as_u16(), 503, "{body}");
        assert_eq!(headers.get("Retry-After").unwrap(), "10");
        assert!(body.contains("the head has 3 series and takes no more"), "{body}");
        // What there was room for is stored.
        let query = "/api/v1/query?query=count({job=%22golden%22})&time=1700000000";
        let (status, body) = get(&api, query).await;
        assert!(status == 200 && body.contains(r#""3""#), "{body}");
    }
}

#[tokio::test]
async fn senders_of_remote_write_2_are_told_what_was_written() {
    let api = api_with(|builder| builder.enable_remote_write(true));
    let write = |body: &[u8]| {
        Request::post("/api/v1/write")
            .header("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
            .header("Content-Encoding", "snappy")
            .header("X-Prometheus-Remote-Write-Version", "2.0.0")
            .body(Body::from(body.to_vec()))
            .unwrap()
    };
    let written = |headers: &HeaderMap| {
        ["Samples", "Histograms", "Exemplars"].map(|what| {
            let name = format!("X-Prometheus-Remote-Write-{what}-Written");
            headers.get(name).map(|count| count.to_str().unwrap().to_owned())
        })
    };
    let counts = |counts: [&str; 3]| counts.map(|count| Some(count.to_owned()));
    let golden = include_bytes!("../../../tests/data/remote_write/v2/request.snappy");
    let (status, headers, _) = send(&api, write(golden)).await;
    assert_eq!((status.as_u16(), written(&headers)), (204, counts(["3", "4", "2"])));

    // Partly stored: `a` at time 1 is, the series without a name is not.
    let message = b"\x22\0\x22\x08__name__\x22\x01a\
        \x2a\x11\x0a\x02\x01\x02\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x01\
        \x2a\x11\x0a\x02\x02\x02\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x01";
    let partial = snap::raw::Encoder::new().compress_vec(message).unwrap();
    let (status, headers, body) = send(&api, write(&partial)).await;
    assert_eq!((status.as_u16(), written(&headers)), (400, counts(["1", "0", "0"])), "{body}");
    assert!(body.contains("no metric name"), "{body}");

    // Nothing is stored of what cannot be read.
    let broken = snap::raw::Encoder::new().compress_vec(&message[..50]).unwrap();
    let (status, headers, body) = send(&api, write(&broken)).await;
    assert_eq!((status.as_u16(), written(&headers)), (400, counts(["0", "0", "0"])), "{body}");

    // A request of 1.0 that is announced as one of 2.0 holds nothing.
    let old = include_bytes!("../../../tests/data/remote_write/v1/request.snappy");
    let (status, headers, _) = send(&api, write(old)).await;
    assert_eq!((status.as_u16(), written(&headers)), (204, counts(["0", "0", "0"])));
}
