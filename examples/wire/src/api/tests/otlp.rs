//! OTLP: what senders are told.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};

use super::{api_with, get, send};
use crate::api::{ApiState, router};
use crate::otlp::OtlpOptions;

/// A request of OTLP to `api`.
async fn send_otlp(
    api: &Router,
    kind: &str,
    encoding: Option<&str>,
    body: &[u8],
) -> (u16, HeaderMap, String) {
    let mut request = Request::post("/api/v1/otlp/v1/metrics").header("Content-Type", kind);
    if let Some(encoding) = encoding {
        request = request.header("Content-Encoding", encoding);
    }
    let (status, headers, body) = send(api, request.body(Body::from(body.to_vec())).unwrap()).await;
    (status.as_u16(), headers, body)
}

/// A message within a message, as its field `number`.
fn nest(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    out.push(u8::try_from(len).unwrap());
    out.extend_from_slice(bytes);
    out
}

/// A request with the gauge `name`, whose points have these times in milliseconds and no attributes.
fn otlp_gauge(resource: &[u8], name: &[u8], times: &[u64]) -> Vec<u8> {
    let points = times.iter().flat_map(|time| {
        let time = (time * 1_000_000).to_le_bytes();
        nest(1, &[&b"\x19"[..], &time, b"\x21\0\0\0\0\0\0\xf0\x3f"].concat())
    });
    let gauge = nest(5, &points.collect::<Vec<u8>>());
    let metrics = nest(2, &nest(2, &[nest(1, name), gauge].concat()));
    nest(1, &[nest(1, resource), metrics].concat())
}

#[tokio::test]
async fn otlp_is_answered_by_status() {
    const KIND: &str = "application/x-protobuf";
    let api = api_with(|builder| builder.otlp(OtlpOptions::default()));
    let good = otlp_gauge(b"", b"otlp.gauge", &[1000]);
    let off = super::api();
    assert_eq!(send_otlp(&off, KIND, None, &good).await.0, 404);
    let (status, headers, body) = send_otlp(&api, KIND, None, &good).await;
    assert_eq!((status, &*body), (200, ""));
    assert_eq!(headers["Content-Type"], KIND);
    let (_, body) = get(&api, "/api/v1/query?query=otlp_gauge&time=1").await;
    assert!(body.contains(r#"[1,"1"]"#), "{body}");

    let zstd = zstd::bulk::compress(&good, 1).unwrap();
    let snappy = snap::raw::Encoder::new().compress_vec(&good).unwrap();
    let bomb = zstd::stream::encode_all(&*vec![0; 33 << 20], 1).unwrap();
    let mut latin = good.clone();
    let at = latin.windows(4).position(|name| name == b"otlp").unwrap();
    latin[at] = 0xe9;
    for (kind, encoding, body, status, text) in [
        ("application/x-protobuf; charset=utf-8", Some("zstd"), &zstd, 200, ""),
        (KIND, Some("snappy"), &snappy, 200, ""),
        (KIND, Some("gzip"), &zstd, 400, "invalid gzip body"),
        (KIND, Some("br"), &good, 415, "unsupported compression: br"),
        ("text/plain", None, &good, 415, "unsupported content type: text/plain"),
        ("", None, &good, 415, "unsupported content type"),
        (KIND, Some("zstd"), &bomb, 413, "exceeds the limit of 33554432 bytes"),
        ("application/json", None, &b"{\"resourceMetrics\":[]}".to_vec(), 200, "{}"),
        (
            "application/json",
            None,
            &good,
            400,
            r#"{"code":3,"message":"invalid OTLP request: invalid JSON"#,
        ),
        ("application/json", None, &vec![b' '; 9 << 20], 413, "too large"),
        (KIND, None, &latin, 400, "Metric at offset 0: string is not valid UTF-8"),
        (KIND, None, &good[..good.len() - 1].to_vec(), 400, "unexpected end"),
    ] {
        let (found, _, body) = send_otlp(&api, kind, encoding, body).await;
        assert_eq!(found, status, "{kind} {encoding:?}: {body}");
        assert!(body.contains(text), "{body}");
    }
}

#[tokio::test]
async fn otlp_points_that_are_refused_are_told() {
    const KIND: &str = "application/x-protobuf";
    let api = api_with(|builder| builder.otlp(OtlpOptions::default()));
    // The last one lies in the far future, the one before it before another.
    let request = otlp_gauge(b"", b"g", &[1000, 2000, 1500, 9_999_999_999_999]);
    let (status, _, body) = send_otlp(&api, KIND, None, &request).await;
    assert_eq!(status, 200);
    let expected = "2 of 4 data points refused; first: sample at 1500 is out of order, the series is \
                    at 2000, series {__name__=\"g\"}";
    assert!(body.ends_with(expected), "{body}");
    let (status, _, body) = send_otlp(&api, KIND, None, &otlp_gauge(b"", b"___ ", &[1])).await;
    assert_eq!(status, 200);
    assert!(body.contains("resulted in empty name"), "{body}");
}

#[tokio::test]
async fn otlp_labels_do_not_grow_without_bounds() {
    // A service of 60 KB is said of each of 3,000 points.
    let name = nest(1, b"service.name");
    let value = nest(2, &nest(1, &vec![b'x'; 60_000]));
    let resource = nest(1, &[name, value].concat());
    let times: Vec<u64> = (1..3000).collect();
    let request = otlp_gauge(&resource, b"g", &times);
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(ferula_tsdb::Db::open(dir.path(), ferula_tsdb::Options::default()).unwrap());
    let api = router(ApiState::builder(db.clone()).store(db).otlp(OtlpOptions::default()).build());
    let (status, _, body) = send_otlp(&api, "application/x-protobuf", None, &request).await;
    assert_eq!(status, 413);
    assert!(body.contains("labels of more than 134217728 bytes"), "{body}");
}

#[tokio::test]
async fn otlp_without_room_is_to_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut limits = ferula_tsdb::Limits::default();
    limits.series = 1;
    let options = ferula_tsdb::Options::builder().limits(limits).build().unwrap();
    let db = Arc::new(ferula_tsdb::Db::open(dir.path(), options).unwrap());
    let api = router(ApiState::builder(db.clone()).store(db).otlp(OtlpOptions::default()).build());
    for (name, status) in [(b"a", 200), (b"b", 503), (b"a", 200)] {
        let request = otlp_gauge(b"", name, &[1000]);
        let (found, headers, body) =
            send_otlp(&api, "application/x-protobuf", None, &request).await;
        assert_eq!(found, status, "{body}");
        assert_eq!(headers.contains_key("Retry-After"), status == 503);
    }
}
